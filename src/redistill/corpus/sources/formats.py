"""One data file -> its rows, streamed: text of one object per line, JSON, CSV, Parquet and Arrow.

    read_file(Path("a.csv"))     ->  (0, {"problem": "1+1?", "answer": "2"}), (1, "bad_csv"), ...

Text may be UTF-8, or UTF-16 or UTF-32 (by its byte order mark, or by its zeros), with line ends of any system. What a file
holds decides, not its suffix alone: a JSON array in a `.jsonl` and lines in a `.json` are read for what they are. Memory
does not grow with the file, but for a single JSON value that holds all rows, which is bounded.
"""

import codecs
import contextlib
import csv
import functools
import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from redistill.corpus.sources import columns, splits
from redistill.errors import OperatorError
from redistill.safety.limits import trial
from redistill.text.nesting import nested_too_deep, parsed

Row = dict[str, Any] | str
TEXT_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
ROW_SUFFIXES = (
    *(kind + packed for kind in TEXT_SUFFIXES for packed in ("", ".gz", ".zst")),
    ".parquet",
    ".arrow",
)
MAX_LINE_BYTES = 64 * 2**20  # decompressed; the longest row of a million R1 traces is far below, a gzip bomb far above
MAX_DECODED_BYTES = 4 * 2**30  # of memory for decoding a batch; a page of zeros can claim 2 GiB of 2 MB
MAX_DECODE_SECONDS = 24 * 3600  # of CPU for decoding a file: no bound but for one that never ends
_BATCH_ROWS = 64  # rows decoded at a time: a row of long traces can hold a megabyte
_PARQUET_BUFFER = 2**20  # read as it is decoded: without it Arrow takes in a whole column of a row group first
_BLOCK = 2**20
_COMPRESSION = {".gz": "gzip", ".zst": "zstd"}
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"  # of Arrow's streaming format
_DELIMITERS = ",\t;|"
# How a single JSON object that holds all rows calls its list; beside a split's name, by which one is chosen.
_WRAPPERS = frozenset(("data", "rows", "examples", "instances", "samples", "items", "records", "results"))


def read_file(path: Path, split: str | None = None) -> Iterator[tuple[int, Row]]:
    """(place, row or its reason) of a file on disk. OperatorError where it ends before its format does."""
    if path.suffix.lower() in _COMPRESSION and path.stat().st_size == 0:
        raise OperatorError(f"{path} is empty, so it is not a {path.suffix} file: truncated; download it again.")
    with cut_short(str(path)):
        if path.suffix.lower() == ".parquet":
            yield from enumerate(_parquet_rows(path))
        elif path.suffix.lower() == ".arrow":
            yield from enumerate(_arrow_rows(path))
        else:
            # Arrow's streams refuse a gzip or zstd file that stops before its end mark; zstandard's own reader does not.
            packed = _COMPRESSION.get(path.suffix.lower())
            with io.BufferedReader(pa.input_stream(str(path), compression=packed), _BLOCK) as file:
                yield from read_text(file, path.name, str(path), split)


@contextlib.contextmanager
def cut_short(name: str) -> Iterator[None]:
    """Turns what the readers of a format raise into a sentence."""
    try:
        yield
    except (OSError, EOFError, pa.ArrowException, csv.Error, UnicodeError) as error:
        why = " ".join(str(error).split())[:200]
        raise OperatorError(
            f"{name} cannot be read to the end ({why}): truncated or corrupt; download it again."
        ) from error


def read_text(file: io.BufferedReader, name: str, shown: str, split: str | None = None) -> Iterator[tuple[int, Row]]:
    """The same of an open, decompressed text file; `name` says the kind, `shown` is how a sentence calls the file."""
    kind = re.sub(r"\.(gz|zst)$", "", name.lower()).rpartition(".")[2]
    file = _as_utf8(file)
    if kind in ("csv", "tsv"):
        yield from enumerate(_csv_rows(file, kind, shown))
        return
    start = file.peek(_BLOCK)[:_BLOCK].removeprefix(codecs.BOM_UTF8).lstrip()
    line, ended, after = start.partition(b"\n")
    # one object per line, unless the first line is no whole object, or a `.json` holds nothing beside it
    spread = (
        re.fullmatch(rb"\{\s*", line) if kind != "json" else not after.strip() or not isinstance(_parse(line), dict)
    )
    if start.startswith(b"[") and not (ended and _is_scalar_list(line)):
        yield from _array_rows(file, shown)
    elif start.startswith(b"{") and spread and (ended or kind == "json"):
        yield from _object_rows(file, shown, split)
    else:
        yield from ((place, row) for place, row in enumerate(map(_parse, _lines(file))) if row is not None)


def _is_scalar_list(line: bytes) -> bool:
    """True for a whole line that holds a list, but none of objects: a line that is not a row among lines."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return len(line.rstrip()) < _BLOCK and not re.match(rb"\[\s*(\{|$)", line)
    return not any(isinstance(item, dict) for item in value)


# --- encodings and lines --------------------------------------------------------------------------------------------


def _as_utf8(file: io.BufferedReader) -> io.BufferedReader:
    """The file with UTF-16 and UTF-32 as UTF-8, and line ends of a lone CR as LF."""
    start = file.peek(_BLOCK)[:_BLOCK]
    encoding = _encoding(start)
    if encoding:
        return io.BufferedReader(_Recoded(file, codecs.getincrementaldecoder(encoding)()), _BLOCK)
    if b"\r" in start and b"\n" not in start:
        return io.BufferedReader(_Recoded(file, _CarriageReturns()), _BLOCK)
    return file


def _encoding(start: bytes) -> str | None:
    """utf-16 or utf-32 where the file begins like one, else None: UTF-8, or nothing that is text."""
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if re.match(rb"(?:[\x09-\x7e]\x00){2}", start):
        return "utf-16-le"
    return "utf-16-be" if re.match(rb"(?:\x00[\x09-\x7e]){2}", start) else None


class _CarriageReturns:
    """An incremental decoder of UTF-8 bytes, as latin-1 so that nothing is lost, with CR as LF."""

    def decode(self, block: bytes, final: bool = False) -> str:
        return block.replace(b"\r", b"\n").decode("latin-1")


class _Recoded(io.RawIOBase):
    """A binary file as another: decoded block by block and encoded as UTF-8."""

    def __init__(self, file: io.BufferedReader, decoder: Any) -> None:
        super().__init__()
        self._file, self._decoder, self._held, self._after = file, decoder, b"", False
        self._encoding = "latin-1" if isinstance(decoder, _CarriageReturns) else "utf-8"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held and not self._after:
            block = self._file.read(_BLOCK // 4)
            self._after = not block
            text = self._decoder.decode(block, not block)
            if self._encoding == "utf-8":
                text = text.replace("\r\n", "\n").replace("\r", "\n")
            self._held = text.encode(self._encoding, "surrogatepass")
        count = min(len(buffer), len(self._held))
        buffer[:count], self._held = self._held[:count], self._held[count:]
        return count


def _lines(file: io.BufferedReader) -> Iterator[bytes | None]:
    """The lines of a file; None for a line over the bound."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(_BLOCK)
            yield None
        else:
            yield line


def _parse(line: bytes | None) -> Row | None:
    """The row of a line, its reason where it is none, or None for a blank line."""
    if line is None:
        return "line_too_long"
    try:
        text = line.decode("utf-8-sig").strip()
        row = parsed(text) if text else None
    except UnicodeDecodeError:
        return "not_utf8"
    except ValueError:
        return "bad_json"
    return row if isinstance(row, dict) or not text else "not_an_object"


# --- JSON that is not one object per line -----------------------------------------------------------------------------


class _Values:
    """The JSON values of a text, one after the other; commas between them and brackets around them are passed over by
    `skip`. Holds one value at a time."""

    def __init__(self, file: io.BufferedReader, shown: str) -> None:
        self.file, self.shown, self.text, self.at, self.ended, self.read = file, shown, "", 0, False, 0
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()

    def skip(self, signs: str) -> str:
        """Pass over white space and these signs; the next character, "" at the end."""
        while True:
            while self.at < len(self.text):
                if self.text[self.at] not in signs and not self.text[self.at].isspace():
                    return self.text[self.at]
                self.at += 1
            if not self._more(_BLOCK):
                return ""

    def next(self) -> Any:
        """The value that begins here. OperatorError where it is not JSON, or larger than a row may be."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
            except (ValueError, RecursionError) as error:
                unread = len(self.text) - self.at
                if unread > MAX_LINE_BYTES:
                    raise OperatorError(
                        f"{self.shown} holds a JSON value of over {MAX_LINE_BYTES >> 20} MiB; write one row per line (.jsonl)."
                    ) from error
                if not self._more(max(_BLOCK, unread)):  # as much again: the time stays in proportion to the text
                    place = f"character {self.read - unread:,}"
                    raise OperatorError(
                        f"{self.shown} holds a value after {place} that is nested too deeply to be read; write one "
                        f"row per line (.jsonl), so that only such a row is dropped."
                        if isinstance(error, RecursionError)
                        else f"{self.shown} is not JSON after {place} ({error}): truncated or corrupt; download it again."
                    ) from error
                continue
            if end == len(self.text) and not isinstance(value, dict | list | str) and self._more(_BLOCK):
                continue  # a number may go on
            self.at = end
            return value

    def _more(self, count: int) -> bool:
        if self.ended:
            return False
        block = self.file.read(count)
        self.ended = not block
        added = self._decode.decode(block, self.ended)
        self.text, self.at = self.text[self.at :] + added, 0
        self.read += len(added)
        return not self.ended


_DECODER = json.JSONDecoder()


def _as_row(value: Any) -> Row:
    """The value as a row, or the reason why it is none."""
    if not isinstance(value, dict):
        return "not_an_object"
    return "bad_json" if nested_too_deep(value) else value


def _array_rows(file: io.BufferedReader, shown: str) -> Iterator[tuple[int, Row]]:
    """The items of an array, or of several."""
    values = _Values(file, shown)
    place = depth = 0
    while sign := values.skip(","):
        if sign == "[" and depth == 0:
            depth, values.at = 1, values.at + 1
        elif sign == "]" and depth == 1:
            depth, values.at = 0, values.at + 1
        elif depth == 0:
            raise OperatorError(
                f"{shown} begins as a JSON array but does not continue as one; write one row per line (.jsonl)."
            )
        else:
            value = values.next()
            yield place, _as_row(value)
            place += 1
    if depth:
        raise OperatorError(
            f"{shown} cannot be read to the end (a JSON array without its `]`): truncated or corrupt; download it again."
        )


def _object_rows(file: io.BufferedReader, shown: str, split: str | None) -> Iterator[tuple[int, Row]]:
    """The objects of a text, one after the other; of one that holds all rows (`{"data": [...]}`), the rows."""
    values = _Values(file, shown)
    if not values.skip(","):
        return
    first = values.next()
    more = values.skip(",")
    if isinstance(first, dict) and not more and (rows := _wrapped(first, shown, split)) is not None:
        yield from enumerate(map(_as_row, rows))
        return
    yield 0, _as_row(first)
    place = 1
    while more:
        value = values.next()
        yield place, _as_row(value)
        place, more = place + 1, values.skip(",")


def _wrapped(value: dict[str, Any], shown: str, split: str | None) -> list[Any] | None:
    """The rows of an object that holds all of them, under a name for that or under the names of splits; else None."""
    lists = {
        name: rows
        for name, rows in value.items()
        if isinstance(rows, list) and any(isinstance(row, dict) for row in rows)
    }
    of_splits = {name: splits.split_of(Path(name)) for name in lists}
    if lists and len(lists) == len(value) and all(of_splits.values()):
        chosen = split or splits.wanted(sorted({str(found) for found in of_splits.values()}), shown)
        if chosen == splits.ALL:
            return [row for rows in lists.values() for row in rows]
        if chosen not in of_splits.values():
            raise OperatorError(f"{shown} has no split {chosen!r}; it holds {', '.join(sorted(lists))}.")
        return [row for name, rows in lists.items() if of_splits[name] == chosen for row in rows]
    named = [name for name in lists if name.lower() in _WRAPPERS]
    is_row = columns.ASKED & value.keys()  # one problem with its generations, and no wrapper around many
    if len(named) == 1 and len(lists) == 1 and not is_row:
        return list(lists[named[0]])
    as_columns = [
        inner for inner in value.values() if isinstance(inner, dict) and inner and all(key.isdigit() for key in inner)
    ]
    sizes = {
        len(inner) if isinstance(inner, list) and not any(isinstance(one, dict) for one in inner) else 0
        for inner in value.values()
    }
    if (as_columns and len(as_columns) == len(value)) or (len(value) > 1 and len(sizes) == 1 and sizes != {0}):
        raise OperatorError(
            f"{shown} holds columns instead of rows; write one row per line (pandas: to_json(path, orient='records', lines=True))."
        )
    return None


# --- CSV --------------------------------------------------------------------------------------------------------------


def _csv_rows(file: io.BufferedReader, kind: str, shown: str) -> Iterator[Row]:
    """Rows of a table with a head; an empty cell is null, everything else text. A quoted cell may hold line ends."""
    start = file.peek(_BLOCK)[:_BLOCK].split(b"\n", 1)[0].decode("utf-8", "replace")
    delimiter = "\t" if kind == "tsv" else max(_DELIMITERS, key=lambda sign: (start.count(sign), sign == ","))
    csv.field_size_limit(MAX_LINE_BYTES)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="strict", newline="")
    rows = csv.reader(_bounded(text), delimiter=delimiter, strict=True)
    head = next(rows, [])
    if len(set(head)) != len(head) or not any(cell.strip() for cell in head):
        twice = next((cell for cell in head if head.count(cell) > 1), "")
        raise OperatorError(f"{shown}: the first line must name the columns, each once (got {twice!r} twice).")
    count = 0
    try:
        for cells in rows:
            count += 1
            if len(cells) == len(head):
                yield {name: cell if cell else None for name, cell in zip(head, cells)}
            elif cells:
                yield "bad_csv"
    except csv.Error as error:
        raise OperatorError(
            f"{shown} is not CSV after row {count:,} ({error}): truncated, or a cell with a quote, the delimiter or a "
            f"line break is not quoted; rewrite it with a CSV library, or as .jsonl."
        ) from error


def _bounded(text: IO[str]) -> Iterator[str]:
    """The lines of a text, cut where one is longer than the limit for a row; the reader of the table then says so."""
    while line := text.readline(MAX_LINE_BYTES + 1):
        yield line


# --- Parquet and Arrow ----------------------------------------------------------------------------------------------------


def _parquet_rows(path: Path) -> Iterator[Row]:
    def batches(use_threads: bool = True) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(path, buffer_size=_PARQUET_BUFFER) as file:
            yield from file.iter_batches(batch_size=_BATCH_ROWS, use_threads=use_threads)

    _try_decoding(path, path.stat().st_mtime_ns, batches)
    yield from _rows_of(batches())


def _arrow_rows(path: Path) -> Iterator[Row]:
    """`save_to_disk` of datasets writes the streaming format, Feather the one with a footer."""

    def batches(use_threads: bool = True) -> Iterator[pa.RecordBatch]:
        options = pa.ipc.IpcReadOptions(use_threads=use_threads)
        with pa.memory_map(str(path)) as file:
            if file.read(6) == b"ARROW1":
                with pa.ipc.open_file(file, options=options) as footed:
                    yield from (footed.get_batch(number) for number in range(footed.num_record_batches))
            else:
                file.seek(file.size() - len(_END_OF_STREAM))
                if (
                    file.read() != _END_OF_STREAM
                ):  # Arrow itself takes a stream that stops between two batches for whole
                    raise EOFError("no end mark")
                file.seek(0)
                with pa.ipc.open_stream(file, options=options) as stream:
                    yield from stream

    if path.stat().st_size < len(_END_OF_STREAM):
        raise OperatorError(f"{path} is empty, so it is not an .arrow file: truncated; download it again.")
    _try_decoding(path, path.stat().st_mtime_ns, batches)
    yield from _rows_of(itertools.chain.from_iterable(map(_pieces, batches())))


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    return (batch.slice(start, _BATCH_ROWS) for start in range(0, batch.num_rows, _BATCH_ROWS))


def _rows_of(batches: Iterable[pa.RecordBatch]) -> Iterator[Row]:
    for batch in batches:
        large = batch.nbytes > MAX_LINE_BYTES
        for index in range(batch.num_rows):
            row: Row
            one = batch.slice(index, 1)
            if large and one.nbytes > MAX_LINE_BYTES:
                yield "line_too_long"
                continue
            try:
                row = one.to_pylist()[0]
            except UnicodeDecodeError:
                row = "not_utf8"
            yield row


@functools.lru_cache(maxsize=1024)
def _tried(path: Path, changed: int) -> list[str | None]:
    """A place to note what became of trying a file in this state; it holds nothing at first."""
    return []


def _try_decoding(path: Path, changed: int, batches: Callable[[bool], Iterator[pa.RecordBatch]]) -> None:
    """Decode the file once where that cannot fill the memory: what a page or a dictionary unfolds to is known only to the
    decoder. OperatorError where it wants more than MAX_DECODED_BYTES. A damaged file is left to those who read it."""
    noted = _tried(path, changed)
    if not noted:

        def decode() -> None:
            for _ in batches(False):
                pass

        noted.append(trial(decode, seconds=MAX_DECODE_SECONDS, memory_bytes=MAX_DECODED_BYTES))
    if noted[0] is not None:
        raise OperatorError(
            f"{path} decompresses to more than {MAX_DECODED_BYTES / 2**30:g} GiB for {_BATCH_ROWS} rows: a decompression bomb, or pages "
            "far too large; rewrite it with smaller values."
        )
