"""One record of any file the tool wrote, for a user to read.

one_record(Path("runs/x/select/pairs/part-00000.parquet"), 3)   ->  {"prompt": ..., "chosen": ..., "rejected": ...}
readable(record)                                                ->  text with a heading a field
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from redistill.errors import OperatorError
from redistill.io.atomic import read_json, read_yaml
from redistill.io.parquet import read_records
from redistill.io.schemas import to_row
from redistill.safety.paths import check_content
from redistill.text.nesting import parsed

SHOWN = 60  # characters of what a span covers
MAX_NAMES = 40  # files that are named of a folder
_NUMBER = re.compile(r"-\d{5}(?=\.)")


def one_record(path: Path, number: int) -> dict[str, Any]:
    """Record `number` (negative counts from the end) of a .parquet, a .jsonl, a list in a .json or the tensors of a
    .safetensors; the whole of a table (.json, .done, .yaml) or of a text (.md)."""
    if path.is_dir():
        names = _names(path)
        some = ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
        raise OperatorError(f"{path} is a folder; give one of its files: {some or 'it has none that can be shown'}.")
    check_content(path)
    if not path.is_file():
        raise OperatorError(f"there is no file {path}; the records of a run are its */part-*.parquet files.")
    if path.suffix not in _READERS:
        kinds = ", ".join(_READERS)
        raise OperatorError(
            f"{path} is not a record file; those that can be shown end in {kinds} (a report opens in a browser)."
        )
    return _READERS[path.suffix](path, number)


def _names(folder: Path) -> list[str]:
    """The record files below a folder; numbered ones of one kind once, as `train/grpo/rollouts/groups/part-*.parquet (60)`."""
    files = [p.relative_to(folder) for s in (".parquet", ".jsonl", ".json") for p in folder.rglob(f"*{s}")]
    kinds = Counter(str(p.with_name(_NUMBER.sub("-*", p.name))) for p in files)
    order = sorted(kinds.items(), key=lambda item: (".parquet" not in item[0], item[0]))  # records before tables
    return [name if count == 1 else f"{name} ({count})" for name, count in order]


def _record(path: Path, number: int) -> dict[str, Any]:
    records = read_records(path)
    place = _place(path, number, pq.read_metadata(path).num_rows)
    return to_row(next(itertools.islice(records, place, None)))


def _json(path: Path, number: int) -> dict[str, Any]:
    whole = read_json(path)
    value = whole[_place(path, number, len(whole))] if isinstance(whole, list) else whole
    return value if isinstance(value, dict) else {"record": value}


def _tensor(path: Path, number: int) -> dict[str, Any]:
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            part = file.get_slice(names[_place(path, number, len(names))])
            return {"name": names[number], "dtype": part.get_dtype(), "shape": part.get_shape(), "tensors": len(names)}
    except (OSError, SafetensorError) as error:
        raise OperatorError(f"{path} is not readable as safetensors: {error}.") from error


def _text(path: Path, number: int) -> dict[str, Any]:
    return {"text": path.read_text("utf-8", errors="replace")}


def _line(path: Path, number: int) -> dict[str, Any]:
    try:
        lines = [line for line in path.read_text("utf-8").split("\n") if line.strip()]
        record = parsed(lines[_place(path, number, len(lines))])
    except (OSError, ValueError) as error:
        raise OperatorError(f"{path}: record {number} is not readable as JSON: {error}.") from error
    if not isinstance(record, dict):
        raise OperatorError(f"{path}: record {number} is {type(record).__name__}, not a record (a JSON object).")
    return record


def _place(path: Path, number: int, count: int) -> int:
    if not -count <= number < count:
        raise OperatorError(f"{path} holds {count} records, numbered from 0; there is no record {number}.")
    return number % count


def readable(record: dict[str, Any]) -> str:
    """A group as problem, traces and verdicts with reasons; anything else as a heading a field."""
    if not isinstance(record.get("traces"), list):  # label_noise.json counts traces under this name
        return "\n".join(_field(name, value, record.get(_TEXT_OF.get(name, ""))) for name, value in record.items())
    problem = record["problem"]
    lines = [f"problem {problem['id']}  ({problem['source']} {problem['source_row']})", "", problem["statement"], ""]
    lines += [f"image: {image['path']}  (sha256 {image['sha256']})" for image in problem["images"]]
    lines += [f"gold answer: {problem['answer']}"]
    metadata = json.loads(problem["metadata"])
    lines += [_field("metadata", metadata)] if metadata else []
    lines += [""]
    for index, trace in enumerate(record["traces"]):
        details = [trace["author"], f"finish: {trace['finish_reason']}"]
        details += [f"{trace['num_tokens']} tokens"] if trace["num_tokens"] is not None else []
        lines += [f"--- trace {index}: {trace['id']}  ({', '.join(details)})", "", trace["completion"], ""]
        for v in trace["verdicts"]:
            read = "" if v["extracted"] is None else f", answer read: {v['extracted']!r}"
            reason = f" ({v['reason']})" if v["reason"] else ""
            score = "" if v["score"] is None else f", score {v['score']:g}"
            said = f"    {v['name']}: {v['outcome']}{reason}{score}{read}  [{v['verifier']} {v['verifier_version']}]"
            lines.append(said.rstrip())
        lines += [f"    score {s['name']}: {s['value']:g}" for s in trace["scores"]]
        for spans in trace["spans"]:
            parts = [(span["start"], span["end"], span["value"]) for span in spans["spans"]]
            lines += [f"    {line}" for line in span_lines(spans["name"], parts, trace["completion"])]
        lines += [f"    note {note['name']}: {note['text']}" for note in trace["notes"]] + [""]
    return "\n".join(lines)


def span_lines(name: str, spans: Iterable[tuple[int, int, float]], text: str) -> list[str]:
    """One line per span: `span steps 0-9 = 1: 'two plus '`, the covered text shortened and its line ends written \\n.

    The character after the last is the end-of-turn token. Positions outside the text are shown as they stand.
    """
    return [f"span {name} {start}-{end} = {value:g}: {_covered(start, end, text)}" for start, end, value in spans]


def _covered(start: int, end: int, text: str) -> str:
    if not 0 <= start < end <= len(text) + 1:
        return "outside the text"
    covered = text[start:end]
    shown = covered if len(covered) <= SHOWN else f"{covered[: SHOWN * 2 // 3]} ... {covered[-SHOWN // 3 :]}"
    return " ".join([*([repr(shown)] if shown else []), *(["and the end of the turn"] if end > len(text) else [])])


_TEXT_OF = {"spans": "completion", "chosen_spans": "chosen", "rejected_spans": "rejected"}  # of an example or a pair


def _field(name: str, value: Any, text: Any = None) -> str:
    """A heading and a value; spans of `text` as a line each."""
    if isinstance(text, str) and isinstance(value, list) and value and all(map(_is_span, value)):
        return "\n".join(span_lines(name, [(span["start"], span["end"], span["value"]) for span in value], text))
    if isinstance(value, str) and ("\n" in value or len(value) > 100):
        return f"--- {name}\n\n{value}\n"
    if isinstance(value, list) and value and all(isinstance(number, int | float) for number in value):
        return f"{name}: {json.dumps(value)}"  # token ids and log-probs: one line, not one each
    if isinstance(value, (dict, list)):
        return f"{name}: {json.dumps(value, indent=2, ensure_ascii=False)}"
    return f"{name}: {value}"


def _is_span(value: Any) -> bool:
    """A stored span; a file of somebody else's may use the name for anything."""
    return (
        isinstance(value, dict)
        and value.keys() == {"start", "end", "value"}
        and isinstance(value["start"], int)
        and isinstance(value["end"], int)
        and isinstance(value["value"], int | float)
    )


_READERS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    ".parquet": _record,
    ".jsonl": _line,
    ".json": _json,
    ".done": _json,
    ".yaml": lambda path, number: read_yaml(path),
    ".safetensors": _tensor,
    ".md": _text,
}
