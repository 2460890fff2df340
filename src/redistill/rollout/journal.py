"""Every finished sample, stored at once: what is killed goes on where it stopped, and nothing is drawn (or paid) twice.

    samples = draw(engine, student, requests, sampling, journal=Path("runs/x/evaluate/redi/dev/samples.jsonl"))

The file holds one line per finished sample, under a key made of the request and how it is drawn:

    {"key": "s41f0c9...", "text": "2+2 is \\\\boxed{4}", "num_tokens": 9, "finish_reason": "stop", "token_ids": [17, ...], "checksum": "90e1..."}

A last line that a kill cut short, and any line that has changed since, is left out and drawn again. Once a shard is
finished its samples lie in the shard, and the journal can go.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from redistill.io.atomic import mark, unmarked, writing
from redistill.io.progress import say
from redistill.records import content_id
from redistill.rollout.requests import Request, Sample, Sampling
from redistill.text.utf8 import utf8_values


class Journal:
    """The finished samples of a file, read once: for a caller that draws many times, each time by what the last brought."""

    def __init__(self, path: Path) -> None:
        self.path, self.kept = path, _read(path)


def draw(
    engine: Callable[..., list[Sample]],
    student: Callable[[], Any],
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    journal: Path | Journal | None = None,
    tell: Callable[[Sample], None] = lambda sample: None,
) -> list[Sample]:
    """One sample a request, in their order; only those that the journal lacks are asked of the engine.

    tell: called once a sample, in the order in which they finish, the journal's own first.
    """
    keys = [_key(request, sampling) for request in requests]
    book = Journal(journal) if isinstance(journal, Path) else journal
    kept = book.kept if book is not None else {}
    samples = {place: kept[key] for place, key in enumerate(keys) if key in kept}
    for sample in samples.values():
        tell(sample)
    missing = [place for place in range(len(requests)) if place not in samples]
    if not missing:
        return [samples[place] for place in range(len(requests))]
    file: Any = None
    if book is not None:
        with writing(book.path):
            file = open(book.path, "ab", buffering=0)  # noqa: SIM115 - closed below; no buffer: what is written is kept

    def finished(index: int, sample: Sample) -> None:
        if book is not None:
            row = {
                name: value
                for name, value in dataclasses.asdict(sample).items()
                if value not in ((), "") or name == "text"
            }
            line = json.dumps(mark({"key": keys[missing[index]], **row}))
            with writing(book.path):
                _append(file, line.encode() + b"\n")
            book.kept[keys[missing[index]]] = sample
        tell(sample)

    try:
        drawn = engine(student, [requests[place] for place in missing], sampling, _finished=finished)
        if book is not None:
            with writing(book.path):
                os.fsync(file.fileno())
    finally:
        if file is not None:
            file.close()
    samples |= dict(zip(missing, drawn, strict=True))
    return [samples[place] for place in range(len(requests))]


def _append(file: Any, data: bytes) -> None:
    """All of the bytes: where only a part of them fits on the disk, the next write says why."""
    while data:
        data = data[file.write(data) :]


def _key(request: Request, sampling: Sampling) -> str:
    drawn_as: tuple[object, ...] = (sampling.temperature, sampling.top_p, sampling.max_new_tokens, sampling.prefill)
    if sampling.logprobs:  # a sample that was drawn without them has none
        drawn_as += ("logprobs",)
    if sampling.stop:
        drawn_as += (sampling.stop,)
    if request.said or request.limit is not None:
        drawn_as += (request.said, request.limit)
    return content_id("s", request.prompt, str(request.seed), repr(drawn_as))


def _read(path: Path) -> dict[str, Sample]:
    """Key -> sample. The file is cut after its last whole line, so that what is appended stands on a line of its own."""
    if not path.exists():
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    kept: dict[str, Sample] = {}
    lines, damaged = whole.splitlines(), 0
    for line in lines:
        try:
            row = dict[str, Any](unmarked(line) or {})
            key = row.pop("key")
            row |= {name: tuple(row[name]) for name in ("token_ids", "logprobs") if name in row}
            kept[key] = Sample(**utf8_values(row))  # lines of before servers were read by this rule
        except (TypeError, KeyError):
            damaged += 1
    if damaged:
        say(f"corrupt  {path}: {damaged} of {len(lines)} lines are corrupt; those samples are drawn again")
    return kept
