"""Small pictures of a problem's images for the page, drawn as squares of colour: no byte of a stored file ever reaches a browser.

    thumbnails(Path("runs/x"), problem)   ->  (Markup('<svg ...>'), ...), empty where the image is not in the run

A picture has at most SIDE squares a side and a colour 32 steps a channel, and neighbours of one colour are one stretch, so it takes
some thousand bytes. Pillow is loaded only where a problem has images.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from redistill.errors import OperatorError
from redistill.io.images import find_image, image_folders, look_in, read_image
from redistill.records import Problem
from redistill.report.text import short, visible

SIDE, SHOWN = 28, 3  # squares a side; pictures of a problem


def thumbnails(run: Path, problem: Problem) -> tuple[Markup, ...]:
    """The first images of a problem that the run holds. One that is damaged is left out, as its name is on the page."""
    if not problem.images:
        return ()
    look_in(*image_folders(run))
    drawn = []
    for image in problem.images[:SHOWN]:
        path = find_image(image.sha256)
        if path is None:
            continue
        try:
            drawn.append(thumbnail(path, image.path))
        except OperatorError:
            continue
    return tuple(drawn)


def thumbnail(path: Path, name: str) -> Markup:
    """One stored image as SVG; `name` is what a screen reader says of it. OperatorError where the file is damaged."""
    picture = read_image(path)
    picture.thumbnail((SIDE, SIDE))
    width, height = picture.size
    runs: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
    for y in range(height):
        row = [tuple(channel & 0xF8 for channel in picture.getpixel((x, y))) for x in range(width)]
        start = 0
        for x in range(1, width + 1):
            if x == width or row[x] != row[start]:
                runs[row[start]].append(f"M{start} {y}h{x - start}v1h{start - x}z")
                start = x
    paths = "".join(f'<path fill="#{_hex(colour)}" d="{"".join(parts)}"/>' for colour, parts in sorted(runs.items()))
    opening = Markup(
        '<svg class="thumbnail" role="img" aria-label="image {}" viewBox="0 0 {} {}" shape-rendering="crispEdges">'
    )
    return opening.format(short(str(visible(name)), 60), width, height) + Markup(paths) + Markup("</svg>")


def _hex(colour: Sequence[int]) -> str:
    return "".join(f"{channel | channel >> 5:02x}" for channel in colour)
