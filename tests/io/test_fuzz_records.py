"""Records go through storage and come back the same; what reads a run's other files takes anything or says so in a sentence."""

import json
import string
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fuzzing import JSON, corrupted, drawn
from redistill.config.parsing import parse_recipe
from redistill.config.tables import BenchmarkSettings
from redistill.config.yaml_text import read_text
from redistill.errors import OperatorError
from redistill.evaluate import load_benchmark
from redistill.io.atomic import write_json
from redistill.io.client import Kept, read_reply
from redistill.io.parquet import read_records, write_records
from redistill.records import (
    Candidate,
    Dropped,
    Example,
    Group,
    Image,
    Match,
    Origin,
    Outcome,
    Pair,
    Problem,
    Span,
    Trace,
    Verdict,
)
from redistill.report.files import RunFiles
from redistill.rollout.journal import _read as read_journal
from redistill.safety.terminal import plain
from redistill.tools.show import one_record, readable
from tiny_recipe import write_layout

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["\x00", "\u202e", "a\r\nb", "\U0010ffff"]
)
NUMBER = st.floats(allow_nan=False) | st.integers(-5, 5).map(float)
WHOLE = st.integers(-(2**63), 2**63 - 1)
MAYBE = st.none() | TEXT
VERDICT = st.builds(Verdict, outcome=st.sampled_from(list(Outcome)), extracted=MAYBE, reason=TEXT, verifier=TEXT, verifier_version=TEXT, seconds=NUMBER, score=st.none() | NUMBER)  # fmt: skip
SPANS = st.lists(st.builds(Span, WHOLE, WHOLE, NUMBER), max_size=2).map(tuple)
METADATA = st.recursive(st.none() | st.booleans() | st.integers() | NUMBER | TEXT,
                        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2), max_leaves=4)  # fmt: skip
PROBLEM = st.builds(
    Problem, id=TEXT, statement=TEXT, answer=MAYBE, answer_type=MAYBE, source=TEXT, source_row=TEXT,
    images=st.lists(st.builds(Image, TEXT, TEXT), max_size=2).map(tuple), metadata=st.dictionaries(TEXT, METADATA, max_size=2),
)  # fmt: skip
TRACE = st.builds(
    Trace, id=TEXT, completion=TEXT, author=TEXT, sampling=st.dictionaries(TEXT, st.none() | st.integers() | TEXT, max_size=2),
    finish_reason=MAYBE, num_tokens=st.none() | WHOLE, verdicts=st.dictionaries(TEXT, VERDICT, max_size=2),
    scores=st.dictionaries(TEXT, NUMBER, max_size=2), spans=st.dictionaries(TEXT, SPANS, max_size=2),
    notes=st.dictionaries(TEXT, TEXT, max_size=2),
)  # fmt: skip
RECORDS = {
    Group: st.builds(Group, PROBLEM, st.lists(TRACE, max_size=2).map(tuple)),
    Problem: PROBLEM,
    Example: st.builds(Example, *[TEXT] * 4, weight=NUMBER, spans=SPANS),
    Pair: st.builds(Pair, *[TEXT] * 6, weight=NUMBER, chosen_spans=SPANS, rejected_spans=SPANS),
    Candidate: st.builds(Candidate, *[TEXT] * 8, *[WHOLE] * 3, TEXT),
    Dropped: st.builds(Dropped, *[TEXT] * 4),
    Origin: st.builds(Origin, *[TEXT] * 7),
    Match: st.builds(Match, *[TEXT] * 4, NUMBER, *[TEXT] * 3),
}


@drawn(40)
@given(
    st.sampled_from(list(RECORDS)).flatmap(lambda kind: st.tuples(st.just(kind), st.lists(RECORDS[kind], max_size=3)))
)
def test_any_record_comes_back_from_its_file_and_can_be_shown(tmp_path_factory, drawn_records) -> None:
    kind, records = drawn_records
    path = tmp_path_factory.getbasetemp() / "round" / "part.parquet"
    assert write_records(path, kind, records) == len(records)
    assert list(read_records(path)) == records
    for number in range(len(records)):
        shown = plain(readable(one_record(path, number)))
        assert not {c for c in shown if not c.isprintable()} - {"\n", "\t"}


REPLY = {
    "choices": [{"message": {"content": "a", "reasoning": None}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2},
}


@drawn(150)
@given(corrupted(REPLY) | JSON)
def test_any_answer_of_a_server_is_a_reply_or_a_known_error(body) -> None:
    try:
        reply = read_reply(body)
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
    ):  # what io/client.py answers with another try
        return
    assert isinstance(reply.text, str)


LINES = st.lists(st.binary(max_size=30) | JSON.map(lambda v: json.dumps(v).encode()) | st.just(b'{"key": "a", "reply": {"text": 1}}'), max_size=4).map(b"\n".join)  # fmt: skip


@drawn(60)
@given(LINES)
def test_journals_with_anything_in_them_give_what_is_whole(tmp_path_factory, data) -> None:
    path = tmp_path_factory.getbasetemp() / "journal.jsonl"
    path.write_bytes(data)
    with Kept(path) as kept:
        assert kept.get("no such") is None
    try:
        assert read_journal(path) == {}
    except OperatorError as error:
        assert "journal.jsonl" in str(error)


ROWS = st.lists(corrupted({"problem": "1+1", "answer": "2", "benchmark": "b"}) | JSON, min_size=1, max_size=3)


@drawn(60)
@given(ROWS)
def test_any_benchmark_file_is_problems_or_a_sentence(tmp_path_factory, rows) -> None:
    path = tmp_path_factory.getbasetemp() / "bench.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    for settings in (BenchmarkSettings(name="mine", file=str(path)), BenchmarkSettings(name="gsm8k", file=str(path)), BenchmarkSettings(name="gpqa-diamond", file=str(path))):  # fmt: skip
        try:
            assert all(problem.statement for problem in load_benchmark(settings))
        except OperatorError as error:
            assert "bench.jsonl" in str(error)


FILES = ["run.json", "corpus/ledger.json", "verify/ledger.json", "select/ledger.json", "select/statistics.json", "evaluate/comparisons.json",
         "evaluate/diagnosis.json", "evaluate/redi/dev/scores.json", "train/redi/ledger.json", "verify/label_noise.json"]  # fmt: skip


@drawn(20)
@given(st.sampled_from(FILES), JSON | st.dictionaries(st.sampled_from(["accounts", "files", "seconds", "scores", "model"]), JSON, max_size=3), st.booleans())  # fmt: skip
def test_a_report_of_any_file_is_a_page_or_a_sentence(tmp_path_factory, name, value, sealed) -> None:
    from redistill.report import write_report

    folder = tmp_path_factory.mktemp("run")
    write_layout(folder)
    (folder / "recipe.yaml").write_text("name: x\ntrain: {redi: {objective: redi}}\n")
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value) if sealed else path.write_text(json.dumps(value))
    try:
        assert write_report(folder).exists() and RunFiles(folder)
    except OperatorError as error:
        assert Path(name).name in str(error)


@drawn(150)
@given(st.text(string.printable + "é\u202e\x00", max_size=50) | st.lists(st.sampled_from(["a: ", "&a ", "*a", "<<: ", "[", "]", "{", "}", "- ", "\n", "!!int ", "1:1", "'", "1e5", "? ", "|", "%YAML", "---"]), max_size=12).map("".join))  # fmt: skip
def test_any_text_is_a_table_or_a_sentence_and_any_table_a_recipe_or_sentences(text) -> None:
    try:
        parse_recipe(read_text(text, "my.yaml"), "my.yaml")
    except OperatorError as error:
        assert str(error).startswith("my.yaml")
