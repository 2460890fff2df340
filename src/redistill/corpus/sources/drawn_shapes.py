"""Drawn shapes: little images with questions about them, and a procedural teacher who looks, thinks and answers. A toy.

    "How many dots?"                    count     1 to 4 dots on a grid
    "Is the dot left or right?"         side      of the middle
    "Which is bigger, red or blue?"     bigger    two squares

    drawn_shapes(problems=300)  ->  Group(Problem("how many dots?", answer="3", images=(...,)), (right trace, wrong trace))

Everything is decided by the seed, so the same options give the same bytes. The images are PNG files of `size` x `size` pixels.
"""

import io
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from redistill.corpus.sources.fields import image
from redistill.corpus.sources.rows import RowError
from redistill.io.images import pillow
from redistill.records import Dropped, Group, make_problem, make_trace

Task = Literal["count", "side", "bigger"]
AUTHOR = "drawn-shapes"
COLOURS = ("red", "blue", "green", "black")


def drawn_shapes(
    *,
    problems: Annotated[int, Field(gt=0)] = 300,
    tasks: Sequence[Task] = ("count", "side", "bigger"),
    size: Annotated[int, Field(ge=16, le=512)] = 32,
    most: Annotated[int, Field(ge=2, le=9)] = 4,
    wrong: Annotated[int, Field(ge=0, le=3)] = 1,
    seed: int = 0,
) -> Iterator[Group | Dropped]:
    """Groups with one right trace and `wrong` wrong ones, which differ from it in what they claim to see.

    tasks: the kinds of questions, in turn. most: dots of a count."""
    for index in range(problems):
        task = tasks[index % len(tasks)]
        rng = random.Random(f"{seed}:{task}:{index}")
        picture, question, gold, answers = _TASKS[task](rng, size, most)
        row = f"drawn-shapes:{index}"
        try:
            shown = image({"bytes": _png(picture), "path": f"{task}-{index}.png"}, Path())
        except RowError as refusal:
            yield Dropped(row, "corpus", str(refusal), refusal.detail)
            continue
        problem = make_problem(
            question,
            answer=gold,
            source=f"drawn-shapes-{task}",
            source_row=row,
            images=(shown,),
            metadata={"task": task},
        )
        others = rng.sample([answer for answer in answers if answer != gold], min(wrong, len(answers) - 1))
        traces = tuple(
            make_trace(problem.id, said(answer), author=AUTHOR, sampling={"sample_index": place}, finish_reason="stop")
            for place, answer in enumerate([gold, *others])
        )
        yield Group(problem, traces)


def said(answer: str) -> str:
    """The teacher's trace that ends in this answer."""
    return f"<think>i see {answer}</think><answer>{answer}</answer>"


def _count(rng: random.Random, size: int, most: int) -> tuple[Any, str, str, list[str]]:
    picture, pen = _sheet(size)
    step = size // 4
    count = rng.randint(1, most)
    for place in rng.sample(range(16), count):
        x, y = place % 4 * step, place // 4 * step
        pen.ellipse((x + 1, y + 1, x + step - 2, y + step - 2), fill=rng.choice(COLOURS))
    return picture, "how many dots?", str(count), [str(number) for number in range(1, most + 1)]


def _side(rng: random.Random, size: int, most: int) -> tuple[Any, str, str, list[str]]:
    picture, pen = _sheet(size)
    radius, middle = size // 8, size // 2
    left = rng.random() < 0.5
    x = rng.randint(radius, middle - radius - 1) if left else rng.randint(middle + radius + 1, size - radius - 1)
    y = rng.randint(radius, size - radius - 1)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=rng.choice(COLOURS))
    return picture, "is it left or right?", "left" if left else "right", ["left", "right"]


def _bigger(rng: random.Random, size: int, most: int) -> tuple[Any, str, str, list[str]]:
    picture, pen = _sheet(size)
    small = rng.randint(size // 10, size // 6)
    sides = {"red": small, "blue": small + rng.randint(size // 8, size // 5)}
    if rng.random() < 0.5:
        sides = {"red": sides["blue"], "blue": sides["red"]}
    corners = [(size // 16, rng.randint(0, size // 2)), (size // 2 + size // 16, rng.randint(0, size // 2))]
    rng.shuffle(corners)
    for (colour, side), (x, y) in zip(sides.items(), corners, strict=True):
        pen.rectangle((x, y, x + side, y + side), fill=colour)
    return picture, "which is bigger, red or blue?", max(sides, key=lambda colour: sides[colour]), ["red", "blue"]


def _sheet(size: int) -> tuple[Any, Any]:
    pillow()
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (size, size), "white")
    return picture, ImageDraw.Draw(picture)


def _png(picture: Any) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


_TASKS: dict[str, Callable[[random.Random, int, int], tuple[Any, str, str, list[str]]]] = {
    "count": _count,
    "side": _side,
    "bigger": _bigger,
}
