"""The page of `redistill datafree`: datafree.json and the transfer sets in, report.html out.

write_datafree_page(Path("runs/cmi-digits"))  ->  runs/cmi-digits/report.html
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from redistill.io.atomic import read_json, write_bytes
from redistill.report import charts
from redistill.report.blocks import Block, Code, Figure, Picture, Pictures, Table, Tag, Text
from redistill.report.cross_run import line_figure
from redistill.report.render import fitted, render_page
from redistill.report.text import interval, percent

MOST_SHOWN = 100  # images per arm
PER_ROW = 10
SHEET = 340  # CSS pixels a sheet of images is wide
Found = Mapping[str, Any]


def write_datafree_page(folder: Path) -> Path:
    """Write `<folder>/report.html` and return its path. With too many or too large images for a page, fewer are shown."""
    record = read_json(folder / "datafree.json")
    path = folder / "report.html"
    write_bytes(path, fitted(lambda shown: _page(record, folder, shown), MOST_SHOWN, f"the report of {folder}"))
    return path


def _page(record: Found, folder: Path, shown: int) -> str:
    sections = [
        ("Result", _result(record)),
        ("Images", _images(record, folder, shown)),
        ("Losses", _losses(record, folder)),
        ("Reproduce", _again(record)),
    ]
    return render_page(record["name"], sections, kind="data-free distillation")


def _result(record: Found) -> list[Block]:
    """The teacher, and every arm: its images, and its student's accuracy."""
    arms, teacher = record["arms"], record["teacher"]
    blocks: list[Block] = []
    scored = [(name, i, arm) for i, (name, arm) in enumerate(arms.items()) if "accuracy" in arm]
    if scored:
        said = f"The teacher is right on {percent(teacher['accuracy'])}% of {teacher['n']:,} test images"
        blocks.append(Text(f"{said}; it has {teacher['parameters']:,} parameters.", "lead"))
        drawn = [(name, i, arm["accuracy"], arm["interval95"]) for name, i, arm in scored]
        picture = charts.intervals(drawn, "accuracy, %", "Accuracy of every arm's student")
        blocks.append(Figure([("", picture)], "Students on test images, with 95% intervals over images.", single=True))
    else:
        blocks.append(Text("No real images were named (evaluate.data), so no student is scored.", "missing"))
    rows = [_row(name, i, arm) for i, (name, arm) in enumerate(arms.items())]
    blocks.append(Table("Every arm: its transfer set and its student", _HEAD, rows, (1,)))
    blocks.append(
        Text(
            "Diversity is the mean cosine distance of the teacher's last features over all pairs of images, within: over pairs of "
            "one class. As asked: the share of images for which the teacher predicts the class they were made for. Agreement: how often "
            "student and teacher name the same class of a test image. The interval is over test images, not over seeds.",
            "quiet",
        )
    )
    return blocks


_HEAD = (
    "arm", "transfer set", "images", "diversity", "within", "as asked, %", "parameters", "accuracy, %", "95%", "agreement, %",
)  # fmt: skip


def _row(name: str, series: int, arm: Found) -> list[str | Tag | None]:
    kind = arm["mode"] if arm["source"] == "inverted" else arm["source"]
    return [
        Tag(name, series),
        kind,
        f"{arm['images']:,}",
        _digits(arm["diversity"]),
        _digits(arm["diversity_within"]),
        percent(arm["as_asked"]),
        f"{arm['parameters']:,}",
        percent(arm.get("accuracy")),
        interval(arm.get("interval95")),
        percent(arm.get("agreement")),
    ]


def _digits(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _images(record: Found, folder: Path, shown: int) -> list[Block]:
    """A sheet of images per arm, by class."""
    pictures = []
    for name in record["arms"] if shown else ():
        with np.load(folder / "arms" / name / "images.npz", allow_pickle=False) as file:
            pixels, labels = file["images"], file["labels"]
        chosen = _by_class(labels, shown)
        alt = f"{len(chosen)} images of the arm {name}"
        pictures.append(Picture(name, sheet(pixels[chosen]), alt, SHEET))
    caption = (
        f"Up to {shown} images of each transfer set, by the class they were made for where they were made for one."
    )
    return (
        [Pictures(pictures, caption)]
        if pictures
        else [Text("No images are shown: they are too large for the page.", "quiet")]
    )


def _by_class(labels: np.ndarray, most: int) -> list[int]:
    """Row numbers of up to `most` images, the first ones of each class, class after class."""
    classes = np.unique(labels)
    each = max(1, most // len(classes))
    return [int(row) for label in classes for row in np.flatnonzero(labels == label)[:each]][:most]


def sheet(pixels: np.ndarray) -> bytes:
    """Images (N, H, W, C) of bytes as one PNG, ten per row, a line of grey between them."""
    from PIL import Image

    count, height, width, channels = pixels.shape
    rows = -(-count // PER_ROW)
    whole = np.full((rows * (height + 1) + 1, PER_ROW * (width + 1) + 1, channels), 128, dtype=np.uint8)
    for index, image in enumerate(pixels):
        top, left = index // PER_ROW * (height + 1) + 1, index % PER_ROW * (width + 1) + 1
        whole[top : top + height, left : left + width] = image
    written = io.BytesIO()
    Image.fromarray(whole[..., 0] if channels == 1 else whole).save(written, format="PNG", optimize=True)
    return written.getvalue()


def _losses(record: Found, folder: Path) -> list[Block]:
    """The losses of the kept iterates over batches, and the student's loss over epochs."""
    histories = {name: read_json(folder / "arms" / name / "progress.json")["history"] for name in record["arms"]}
    panels = []
    for title, unit, key in (
        ("statistics (bn)", "invert", "bn"),
        ("labels (oh)", "invert", "oh"),
        ("contrast (cr)", "invert", "cr"),
        ("adversarial (adv)", "invert", "adv"),
        ("student", "distill", "loss"),
    ):
        lines = [charts.Line(i, *_line(history, unit, key)) for i, history in enumerate(histories.values())]
        over = "batches" if unit == "invert" else "epochs"
        panels.append((title, f"{title} over {over}", [line for line in lines if len(line.steps) > 1], False))
    legend = [Tag(name, i) for i, name in enumerate(histories)]
    caption = "Losses of the kept images over batches, without their weights; the student's over epochs."
    return line_figure(panels, caption, legend)


def _line(history: Sequence[Found], unit: str, key: str) -> tuple[list[int], list[float]]:
    lines = [line for line in history if line["unit"] == unit and key in line]
    return [line["number"] + 1 for line in lines], [line[key] for line in lines]


def _again(record: Found) -> list[Block]:
    import yaml

    text = "The same command resumes where it stopped and repeats nothing that is finished: redistill datafree, with this recipe."
    return [Text(text), Code("recipe", yaml.safe_dump(record["recipe"], sort_keys=False, allow_unicode=True))]
