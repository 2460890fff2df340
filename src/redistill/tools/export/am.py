"""Export to the layout of AM-DeepSeek-R1-Distilled (arXiv:2503.19633): the examples that a run kept, as messages with notes.

    am.jsonl.zst      {"messages": [{"role": "user", "content": ..., "info": {...}}, {"role": "assistant", ...}]}
    am.parquet        the same rows
    features.py       the columns' types, for `datasets`, which cannot tell them from rows that are mostly null
    manifest.json     rows, SHA-256 of each file, and every ledger of the run: what was dropped, and why

All values of `info` are text or null; tests are JSON in a text. The source `am-deepseek-r1` reads the file back to the same texts.
"""

import io
import json
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from redistill.corpus.sources import tags
from redistill.corpus.sources.rows import RowError
from redistill.errors import OperatorError
from redistill.io.atomic import read_json, sha256_file, write_bytes, write_json
from redistill.io.parquet import read_records
from redistill.io.stage_folder import StageFolder, check_layout
from redistill.records import Example, Group, Problem
from redistill.safety.paths import shell_word
from redistill.text.conversations import conversation_of
from redistill.verify.relevance import TESTS

INFO = ("source", "reference_answer", "test_case", "think_content", "answer_content")
SCHEMA = pa.schema(
    [
        (
            "messages",
            pa.list_(
                pa.struct(
                    [
                        ("role", pa.string()),
                        ("content", pa.string()),
                        ("info", pa.struct([(name, pa.string()) for name in INFO])),
                    ]
                )
            ),
        )
    ]
)
STAGES = ("corpus", "verify", "score", "select")
_BATCH = 256  # rows written at a time


def am(run: Path, out: Path) -> None:
    """Write the run's examples into the folder. OperatorError where it has none yet; one whose tags cannot be identified is counted in the
    manifest and left out."""
    if not (run / "recipe.yaml").exists():
        raise OperatorError(f"{run} is not a run: it has no recipe.yaml; name a folder such as runs/quickstart.")
    check_layout(run)
    selected = StageFolder(run / "select", "")
    if not selected.shard_files("examples"):
        raise OperatorError(f"{run} has no examples yet; run its recipe until select first.")
    dropped: Counter[str] = Counter()
    kept = _write(out, _rows(selected, dropped))
    if not kept:
        raise OperatorError(
            f"{run}: select has kept no example that can be exported; look at `redistill report {shell_word(run)}`."
        )
    text = (resources.files("redistill.tools.export") / "templates" / "am" / "features.py.txt").read_text("utf-8")
    write_bytes(out / "features.py", text.encode())
    readme = (resources.files("redistill.tools.export") / "templates" / "am" / "README.md.txt").read_text("utf-8")
    write_bytes(out / "README.md", readme.replace("%%{rows}", f"{kept:,}").encode())
    files = ("am.jsonl.zst", "am.parquet", "features.py")
    ledgers = {stage: run / stage / "ledger.json" for stage in STAGES}
    write_json(
        out / "manifest.json",
        {
            "rows": kept,
            "files": {
                name: {"sha256": sha256_file(out / name), "bytes": (out / name).stat().st_size} for name in files
            },
            "export": {"unit": "trace", "in": kept + sum(dropped.values()), "kept": kept, "dropped": dict(dropped)},
            "funnel": {stage: read_json(path)["accounts"] for stage, path in ledgers.items() if path.exists()},
        },
    )


def _rows(selected: StageFolder, dropped: Counter[str]) -> Iterator[dict[str, Any]]:
    """A row per example, in the run's order: shard after shard, a problem's together."""
    for groups, examples in zip(selected.shard_files("groups"), selected.shard_files("examples"), strict=True):
        problems = {group.problem.id: group.problem for group in read_records(groups) if isinstance(group, Group)}
        for example in read_records(examples):
            assert isinstance(example, Example)
            try:
                yield row_of(problems[example.problem_id], example.completion)
            except RowError as error:
                dropped[str(error)] += 1


def row_of(problem: Problem, completion: str) -> dict[str, Any]:
    """One row. RowError where thinking and answer cannot be separated, so that the row would read back as another text, and for a
    conversation of several turns, for which the layout has no place."""
    if conversation_of(problem) is not None:
        raise RowError("several_turns", "the layout holds one question and its answer")
    thinking, answer = tags.split(completion)
    content = answer if thinking is None else f"<think>{thinking}</think><answer>{answer}</answer>"
    if tags.split(content) != (thinking, answer):
        raise RowError("broken_tags", "the answer holds tags of its own")
    tests = problem.metadata.get(TESTS)
    test_case = (
        None
        if not tests
        else tests
        if isinstance(tests, str)
        else json.dumps(tests, ensure_ascii=False, sort_keys=True)
    )
    none = dict.fromkeys(INFO)
    asked = {**none, "source": problem.source or None, "reference_answer": problem.answer, "test_case": test_case}
    said = {**none, "source": problem.source or None, "think_content": thinking, "answer_content": answer}
    return {
        "messages": [
            {"role": "user", "content": problem.statement, "info": asked},
            {"role": "assistant", "content": content, "info": said},
        ]
    }


def _write(out: Path, rows: Iterator[dict[str, Any]]) -> int:
    """Both files, row after row; returns how many."""
    count = 0
    compressor = zstandard.ZstdCompressor(level=9, write_checksum=True)
    with (
        open(out / "am.jsonl.zst", "wb") as file,
        compressor.stream_writer(file) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", errors="replace", newline="\n", write_through=True) as lines,
        pq.ParquetWriter(out / "am.parquet", SCHEMA, compression="zstd") as table,
    ):
        held: list[dict[str, Any]] = []
        for row in rows:
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
            held.append(row)
            count += 1
            if len(held) == _BATCH:
                table.write_table(pa.Table.from_pylist(held, SCHEMA))
                held = []
        if held:
            table.write_table(pa.Table.from_pylist(held, SCHEMA))
    return count
