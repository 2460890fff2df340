"""Colours by computation: text can be read on its ground, and right and wrong are told apart by those who see fewer colours,
in light and in dark. Shapes, dashes and words say the same again; this is the second line of defence."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

import redistill.report

STYLE = (Path(redistill.report.__file__).parent / "style.css").read_text("utf-8")
# Machado, Oliveira & Fernandes 2009, severity 1.0, on linear RGB
SIGHT = {
    "full": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def palette(scheme: str) -> dict[str, np.ndarray]:
    """Name -> linear RGB, of a scheme; the dark one overrides the light one."""
    light, _, rest = STYLE.partition("@media (prefers-color-scheme: dark)")
    text = light + (rest[: rest.index("\n}\n")] if scheme == "dark" else "")
    found = {}
    for name, code in re.findall(r"--([\w]+): #([0-9a-f]{6})", text):
        value = np.array([int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)])
        found[name] = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return found


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """WCAG 2: (L1 + .05) / (L2 + .05) of relative luminances."""
    light, dark = sorted((float(c @ [0.2126, 0.7152, 0.0722]) for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* under D65."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb.clip(0, 1)
    t = xyz / [0.9505, 1.0, 1.089]
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_its_ground(scheme: str) -> None:
    colours = palette(scheme)
    for ink, ground in itertools.product(("ink", "quiet", "link"), ("paper", "wash")):
        assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for ground in ("mark", *(f"{way}{n}" for way in ("up", "down") for n in (1, 2, 3, 4))):
        assert contrast(colours["ink"], colours[ground]) >= 4.5, ground
    for line in ("right", "wrong", "kept", *(f"s{n}" for n in range(8))):
        assert contrast(colours[line], colours["paper"]) >= 3.0, line


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHT)
def test_right_and_wrong_rise_and_fall_stay_apart_for_every_sight(scheme: str, sight: str) -> None:
    colours = {name: lab(np.array(SIGHT[sight]) @ rgb) for name, rgb in palette(scheme).items()}
    apart = {("right", "wrong"): 20, ("up4", "down4"): 20, ("up3", "down3"): 15, ("up2", "down2"): 8}
    for (one, other), least in apart.items():
        assert np.linalg.norm(colours[one] - colours[other]) >= least, (one, other)
