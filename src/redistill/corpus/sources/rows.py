"""Rows of files -> Groups, with everything counted on the way: what a row cannot give, and what nobody asked it for.

    read_groups(path, parse)     rows -> parse(row_id, row) -> Group, or Dropped where parse raises RowError

Which columns a row has and nobody asks for is noted, so that a misspelt `spans` is said and not lost; and so is a generation
that cannot be read among others that can:

    with taking_notes() as notes: ...   ->   notes.unread == {"span": 12, "generations[].foo": 12}, notes.lost == [LostTrace(...)]
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redistill.corpus.sources.files import read_rows, resolve
from redistill.records import Dropped, Group, Trace

MAX_UNREAD, MAX_NAME = 1_000, 200  # names, and characters of one: a file may have new ones in every row
MAX_SAMPLE_BYTES = 32 * 2**20  # of rows that many layouts are tried on
MAX_LOOKED_AT, MAX_BYTES_LOOKED_AT = 20_000, 128 * 2**20  # rows of a file, and their size, that a sample is spread over
MAX_SHOWN = 80  # characters of a value in a sentence


class RowError(Exception):
    """A row, or a generation, that cannot be used: a short stable word, and a sentence that names the column and says what
    to write."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class LostTrace:
    """A generation of a row that was kept: its id ("file:row#place"), and why it cannot be used."""

    id: str
    reason: str
    detail: str


@dataclass(slots=True)
class Notes:
    """What was noticed while rows were read: columns with a value that nobody asked for, by how many rows that became groups
    hold them, and the generations that were lost; the reader of `lost` empties it."""

    unread: Counter[str] = field(default_factory=Counter)
    lost: list[LostTrace] = field(default_factory=list)


_NOTES: ContextVar[Notes | None] = ContextVar("notes", default=None)
_SAMPLE: ContextVar[Sequence[tuple[str, Any]] | None] = ContextVar("sample", default=None)


@contextmanager
def taking_notes() -> Iterator[Notes]:
    """Notes on the rows that are read meanwhile."""
    notes = Notes()
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)


@contextmanager
def sample_instead(rows: Sequence[tuple[str, Any]]) -> Iterator[None]:
    """Sources read these rows meanwhile, whatever their file holds: `init` tries many on the same few."""
    token = _SAMPLE.set(rows)
    try:
        yield
    finally:
        _SAMPLE.reset(token)


def spread_rows(path: str, split: str | None, count: int, files: int = 1) -> tuple[list[tuple[str, Any]], Path, bool]:
    """(a sample of about `count` rows, the first file, whether these are all rows).

    Of at most `files` files, evenly spaced, each gives its first rows, where the traces of one problem stand beside each
    other, and about half as many rows spread over what follows, up to MAX_LOOKED_AT rows or MAX_BYTES_LOOKED_AT: labels
    and gold answers may begin later. The sample holds at most MAX_SAMPLE_BYTES.
    """
    paths = resolve(path, split=split)
    taken = paths if len(paths) <= files else [paths[place * len(paths) // files] for place in range(files)]
    share = -(-count // len(taken))
    rows: list[tuple[str, Any]] = []
    whole = len(taken) == len(paths)
    for file in taken:
        sample, complete = _spread(read_rows(file, split), share, MAX_SAMPLE_BYTES // len(taken))
        rows += sample
        whole = whole and complete
    return rows, paths[0], whole


def _spread(rows: Iterable[tuple[str, Any]], count: int, most_bytes: int) -> tuple[list[tuple[str, Any]], bool]:
    """(the first `count` rows and `count / 2` to `count` later ones at equal distances, whether these are all)."""
    first: list[tuple[str, Any]] = []
    later: list[tuple[str, Any, int]] = []  # with its size
    size = seen = kept = 0
    step = 1
    for place, (row_id, row) in enumerate(rows):
        length = len(str(row))
        seen += length
        if (place < count and size + length <= most_bytes) or place == 0:
            first.append((row_id, row))
            size += length
            continue
        if place >= MAX_LOOKED_AT or seen > MAX_BYTES_LOOKED_AT:
            return [*first, *((row_id, row) for row_id, row, _ in later)], False
        if (place - count) % step:
            continue
        later.append((row_id, row, length))
        kept += length
        while later and (len(later) > count or size + kept > most_bytes):
            later, step = later[::2] if len(later) > 1 else [], 2 * step
            kept = sum(length for *_, length in later)
    return [*first, *((row_id, row) for row_id, row, _ in later)], step == 1


@contextmanager
def sample_rows(path: str, split: str | None, count: int) -> Iterator[None]:
    """The source of this path reads only a sample of its rows meanwhile."""
    with sample_instead(spread_rows(path, split, count)[0]):
        yield


def read_groups(
    path: str, parse: "Callable[[str, Row], Group]", *, revision: str | None = None, split: str | None = None
) -> Iterator[Group | Dropped]:
    """One Group or Dropped for every row of every file that `path` names."""
    return read_lists(path, lambda row_id, row: [parse(row_id, row)], revision=revision, split=split)


def read_lists(
    path: str,
    parse: "Callable[[str, Row], Iterable[Group | Dropped]]",
    *,
    revision: str | None = None,
    split: str | None = None,
) -> Iterator[Group | Dropped]:
    """The same where a row holds several problems: all that `parse` makes of it, or one Dropped where it raises RowError."""
    sample = _SAMPLE.get()
    for file in resolve(path, revision, split) if sample is None else [Path(path)]:
        for row_id, row in read_rows(file, split) if sample is None else sample:
            if isinstance(row, str):
                yield Dropped(row_id, "corpus", row)
                continue
            asked = Row(row, file.parent)
            try:
                items = list(parse(row_id, asked))
            except RowError as refusal:
                yield Dropped(row_id, "corpus", str(refusal), refusal.detail)
            else:
                asked.note_unread()
                yield from items


class Row(dict[str, Any]):
    """A row, or a table inside one, that remembers which of its columns were asked for; `folder`: of its data file."""

    def __init__(self, row: Mapping[str, Any], folder: Path) -> None:
        super().__init__(row)
        self.folder, self._asked = folder, set[Any]()

    def __getitem__(self, column: str) -> Any:
        self._asked.add(column)
        return super().__getitem__(column)

    def get(self, column: Any, default: Any = None) -> Any:
        """As of a dict."""
        self._asked.add(column)
        return super().get(column, default)

    def first(self, columns: Sequence[str]) -> tuple[str, Any] | None:
        """(name, value) of the first of these columns that has a value."""
        for column in columns:
            if column in self and dict.__getitem__(self, column) is not None:
                return column, self[column]
        return None

    def inner(self, value: Mapping[str, Any]) -> "Row":
        """A table inside this row."""
        return Row(value, self.folder)

    def note_unread(self, prefix: str = "") -> None:
        """Count the columns with a value that were not asked for, under `prefix`."""
        notes = _NOTES.get()
        if notes is None:
            return
        counts = notes.unread
        for column, value in self.items():
            name = f"{prefix}{str(column)[:MAX_NAME].encode('utf-8', 'replace').decode()}"
            if value is not None and column not in self._asked and (name in counts or len(counts) < MAX_UNREAD):
                counts[name] += 1


def each(row_id: str, values: Sequence[Any], make: Callable[[int, Any], Trace]) -> tuple[Trace, ...]:
    """The traces of the generations that can be read; each of the others is noted as lost. RowError of the first where
    none can be."""
    traces, lost, first = [], [], None
    for index, value in enumerate(values):
        try:
            traces.append(make(index, value))
        except RowError as refusal:
            first = first or refusal
            lost.append(LostTrace(f"{row_id}#{index}", str(refusal), refusal.detail))
    if first is not None and not traces:
        raise first
    if notes := _NOTES.get():
        notes.lost += lost
    return tuple(traces)


def shown(value: Any) -> str:
    """A value in a sentence, cut to a few words."""
    text = " ".join(repr(value).split())
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
