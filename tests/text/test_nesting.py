"""JSON that is nested deep is refused where it is read, whatever reads it, so that nothing later gives up on it."""

import ast
import json
from pathlib import Path

import pytest

import redistill
from redistill.corpus.sources import SOURCES
from redistill.errors import OperatorError
from redistill.evaluate.benchmarks import read_rows
from redistill.text.nesting import MAX_NESTING, nested_too_deep, parsed

ROOT = Path(redistill.__file__).parent


def nested(levels):
    return "[" * levels + "]" * levels


def test_as_deep_as_the_bound_is_read_and_one_level_more_is_not():
    assert json.dumps(parsed(nested(MAX_NESTING))) == nested(MAX_NESTING)
    for levels in (MAX_NESTING + 1, 900, 100_000):
        with pytest.raises(ValueError, match="nested over 100 levels deep"):
            parsed(nested(levels))
    assert nested_too_deep(json.loads('{"a": ' * 101 + "1" + "}" * 101)) and not nested_too_deep([1] * 1000)


@pytest.mark.parametrize(
    ("name", "levels"),
    [("rows.jsonl", 150), ("rows.jsonl", 500), ("rows.jsonl", 950), ("rows.json", 150), ("rows.json", 500)],
)
def test_a_row_that_is_nested_deep_is_a_reason(tmp_path, levels, name):
    """Of 500 levels pickle gave up when the row's problem was handed to a verifier's worker."""
    row = '{"problem": "1+1", "answer": "2", "metadata": {"a": %s}}'
    rows = [row % nested(levels), row % 1]
    (tmp_path / name).write_text("\n".join(rows) if name.endswith("jsonl") else f"[{','.join(rows)}]")
    dropped, problem = SOURCES["problems"](path=str(tmp_path / name))
    assert dropped.reason == "bad_json" and problem.problem.metadata == {"a": 1}


def test_a_row_of_an_array_whose_end_cannot_be_found_is_one_sentence(tmp_path):
    (tmp_path / "rows.json").write_text(f'[{{"problem": "1+1", "answer": "2", "metadata": {{"a": {nested(5000)}}}}}]')
    with pytest.raises(OperatorError, match=r"nested too deeply to be read; write one row per line \(\.jsonl\)"):
        list(SOURCES["problems"](path=str(tmp_path / "rows.json")))


@pytest.mark.parametrize("levels", [150, 900, 5000])
def test_a_table_in_a_cell_that_is_nested_deep_is_a_reason(tmp_path, levels):
    row = {"problem": "1+1", "answer": "2", "metadata": json.dumps({"a": "x"}).replace('"x"', nested(levels))}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    (dropped,) = SOURCES["problems"](path=str(tmp_path / "rows.jsonl"))
    assert dropped.reason == "wrong_type"


def test_arguments_of_a_tool_call_that_are_nested_deep_are_a_reason(tmp_path):
    call = {"type": "function", "function": {"name": "f", "arguments": f'{{"a": {nested(5000)}}}'}}
    turns = [
        {"role": "user", "content": "1+1"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "2"},
        {"role": "assistant", "content": "2"},
    ]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": turns}))
    (dropped,) = SOURCES["messages"](path=str(tmp_path / "rows.jsonl"))
    assert dropped.reason == "tool_calls"


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_a_benchmark_that_is_nested_deep_is_one_sentence(tmp_path, name):
    text = f'{{"problem": {nested(5000)}}}'
    (tmp_path / name).write_text(text if name.endswith("jsonl") else f"[{text}]")
    with pytest.raises(OperatorError, match="nested over 100 levels deep"):
        list(read_rows(tmp_path / name))


def test_rows_of_others_are_read_by_nothing_else():
    """json.loads on a text of unknown origin raises RecursionError, which callers forget; files beside these read what redistill wrote."""
    own = {
        "corpus/shard.py",
        "corpus/relate.py",
        "evaluate/step_benchmarks.py",
        "retrieval/retrievers.py",
        "retrieval/index.py",
    }
    # one asks whether a line is a row, one reads what it has just written
    own |= {"corpus/sources/formats.py", "corpus/sources/fields.py"}
    for folder in ("corpus", "evaluate", "retrieval"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            calls = [
                ast.unparse(node.func)
                for node in ast.walk(ast.parse(path.read_text("utf-8")))
                if isinstance(node, ast.Call)
            ]
            assert "json.loads" not in calls or str(path.relative_to(ROOT)) in own, path
