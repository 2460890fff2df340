"""The Dockerfile copies files that are there, lets them through .dockerignore, and takes the torch that constraints.txt pins."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINES = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]


def copied():
    return [name for line in LINES if line.startswith("COPY ") for name in line.split()[1:-1]]


def test_what_is_copied_is_there_and_not_ignored():
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied() and all((ROOT / name).exists() and name in let_through for name in copied())


def test_what_the_build_of_the_wheel_reads_is_copied():
    text = (ROOT / "pyproject.toml").read_text()
    wanted = {
        "pyproject.toml",
        "src",
        *re.findall(r'readme = "([^"]+)"', text),
        *re.findall(r'license-files = \["([^"]+)"\]', text),
    }
    assert wanted <= set(copied())


def test_one_torch_is_pinned_and_taken_from_there():
    assert len(re.findall(r"^torch==[\d.]+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)) == 1
    assert any("grep '^torch==' constraints.txt" in line for line in LINES)


def test_the_image_does_not_run_as_root():
    assert LINES.index("USER redistill") < next(n for n, line in enumerate(LINES) if line.startswith("ENTRYPOINT"))
