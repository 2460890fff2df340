"""Any row is a group or a reason, any file of all defects at once is accounted for to the row and the trace, and no text
makes what is done in this process, without a worker that could be killed, slow."""

import contextlib
import functools
import itertools
import json
import math
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import redistill.corpus.sources.formats as formats
from fuzzing import JSON, corrupted, drawn
from redistill.config.binding import options_of
from redistill.config.drop_reasons import explain
from redistill.corpus import SOURCES, collect, relate
from redistill.corpus.sources import tags
from redistill.corpus.sources.rows import RowError
from redistill.io.schemas import from_row, to_row
from redistill.io.stage_folder import StageFolder
from redistill.records import Dropped, Group, make_problem
from redistill.select.language import foreign_share
from redistill.text import repetition, statements

TURNS = [
    {"role": "user", "content": "What is 2+2?"},
    {"role": "assistant", "content": "<think>2+2</think><answer>4</answer>"},
]
GOOD: dict[str, dict[str, Any]] = {
    "traces": {"problem": "2+2?", "answer": "4", "source": "s", "task": "t", "question_type": "q", "generations": [
        {"text": "\\boxed{4}", "teacher": "m", "correct": True, "pred": "4", "score": 0.5, "finish_reason": "stop",
         "spans": {"steps": [[0, 3, 1.0], {"start": 8, "end": 10, "value": 0}]}, "notes": {"critic": "ok"}}],
        "images": [{"path": "a/b.png", "sha256": "0" * 64}], "metadata": {"tests": [{"in": 1, "out": None}]}},
    "problems": {"problem": "2+2?", "answer": "4", "source": "s", "question_type": "q",
        "images": [{"path": "a/b.png", "sha256": "0" * 64}], "metadata": {"relevant": ["d1", "d2"]}},
    "openr1-math-raw": {"problem": "2+2?", "answer": "4", "problem_is_valid": "Yes", "source": "o", "question_type": "q",
        "generations": ["a", "b"], "is_reasoning_complete": [True, False],
        "correctness": {"llama_verification": None, "math_verify": [True, False], "math_verify_reparsed_answer": [True, None]}},
    "openr1-math-220k": {"problem": "2+2?", "answer": "4", "source": "o", "question_type": "q", "generations": ["a", "b"],
        "is_reasoning_complete": [True, False], "correctness_math_verify": [True, None], "correctness_llama": None,
        "finish_reasons": ["stop", None], "messages": TURNS},
    "am-deepseek-r1": {"messages": [
        {**TURNS[0], "info": {"source": "s", "reference_answer": "4", "test_case": None}},
        {**TURNS[1], "info": {"think_content": "2+2", "answer_content": "4"}}]},
    "openthoughts": {"system": "x", "conversations": [{"from": "user", "value": "2+2?"}, {"from": "assistant", "value": "<think>a</think> 4"}]},
    "completions": {"prompt": [TURNS[0]], "completions": ["4", "5"], "labels": [True, False], "answer": "4", "source": "s",
        "spans": [{"steps": [[0, 1, 1.0]]}, None], "notes": [None, {"critic": "no"}], "metadata": {"a": 1}},
    "messages": {"messages": TURNS, "answer": "4", "source": "s"},
    "step-judgements": {"input": "2+2 =", "steps": ["2+2 = 5."], "target": "4", "answer": "5", "mistake_index": 0},
    "labelled-steps": {"input": "2+2 =", "steps": ["2+2 = 5."], "target": "4", "answer": "5", "mistake_index": 0},
    "visual-questions": {"image": {"path": "a/b.png", "sha256": "0" * 64}, "question": "<image>2+2?", "answer": "4", "source": "s",
        "choices": ["3", "4"], "task": "sum"},
    "preference": {"prompt": "2+2?", "chosen": TURNS, "rejected": [TURNS[0], {"role": "assistant", "content": "5"}]},
}  # fmt: skip
READERS = sorted(name for name, source in SOURCES.items() if "path" in options_of(source))


def test_every_source_that_reads_files_is_fuzzed_from_a_good_row(tmp_path: Path) -> None:
    assert set(GOOD) == set(READERS)
    for name, row in GOOD.items():
        (tmp_path / "good.jsonl").write_text(json.dumps(row))
        (found,) = SOURCES[name](path=str(tmp_path / "good.jsonl"))
        assert isinstance(found, Group), (name, found)


@pytest.mark.parametrize("name", READERS)
def test_any_row_is_a_group_or_a_reason(name: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"

    @drawn(25)
    @given(st.lists(corrupted(GOOD[name]) | JSON, min_size=1, max_size=4))
    def reads(rows: list[Any]) -> None:
        rows = [{}, *rows]  # a file that begins with a list is an array of rows
        path.write_text("\n".join(json.dumps(row) for row in rows))
        found = list(SOURCES[name](path=str(path)))
        if name in ("step-judgements", "labelled-steps"):  # a row can hold several solutions: no row is lost
            ids = [item.id if isinstance(item, Dropped) else item.problem.source_row for item in found]
            assert {id.partition("#")[0] for id in ids} == {f"rows.jsonl:{number}" for number in range(len(rows))}
        else:
            assert len(found) == len(rows)
        for item in found:
            if isinstance(item, Dropped):
                assert re.fullmatch(r"[a-z0-9_]+", item.reason) and explain(item.reason)
            else:
                assert item.problem.statement.strip() and bool(item.traces) == (
                    name not in ("problems", "step-judgements", "visual-questions")
                )
                assert from_row(Group, to_row(item)) == item
                for trace in item.traces:
                    for span in itertools.chain.from_iterable(trace.spans.values()):
                        assert 0 <= span.start < span.end <= len(trace.completion) + 1 and math.isfinite(span.value)

    reads()


@drawn(100)
@given(st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "<|begin_of_thought|>", "<|end_of_solution|>", "a", " ", "\n"]), max_size=9).map("".join))  # fmt: skip
def test_tags_are_parted_or_refused_and_what_is_joined_parts_again(text: str) -> None:
    try:
        thinking, answer = tags.split(text)
    except RowError as refusal:
        assert str(refusal) == "broken_tags"
    else:
        assert tags.split(tags.join(thinking, answer)) == (thinking, answer)


@drawn(150)
@given(st.text(max_size=80) | st.text("{}\\$_^0123456789/.,-+ \n()frac", max_size=60))
def test_any_statement_can_be_spelled_and_compared(text: str) -> None:
    tokens = statements.normal(text)
    assert statements.similarity(text, text) == 1.0
    statements.content(tokens), statements.anchors(tokens), statements.shingles(tokens), statements.answer_key(text)
    relate.statement_line(make_problem(text, answer=text))


# --- a corpus of all defects at once -----------------------------------------------------------------------------------

KINDS = ["good", "good", "same", "copy", "contradiction", "empty_completion", "only_empty", "bad_json", "cut", "not_utf8",
         "not_an_object", "blank", "missing_column", "wrong_type", "empty_statement", "no_generations", "long"]  # fmt: skip
WORDS = [
    "apple",
    "bridge",
    "candle",
    "desert",
    "engine",
    "forest",
    "guitar",
    "hammer",
    "island",
    "jacket",
    "kettle",
    "ladder",
]
LINE_BYTES = 4_000


def line_of(kind: str, number: int) -> bytes:
    """A line of the file; problems have words of their own, for near ones would be counted as duplicated."""
    statement = f"{WORDS[number % 12]} {WORDS[number // 12 % 12]} {number * 7919} number {number}?"
    row: dict[str, Any] = {
        "problem": statement,
        "answer": str(number),
        "generations": [{"text": f"it is {number}"}, {"text": f"no {number}"}],
    }
    plain = {
        "good": row,
        "same": {**row, "generations": [{"text": f"another {number}"}]},  # of a problem that may have come before
        "copy": {**row, "generations": [{"text": f"it is {number}"}, {"text": f"it is {number}"}]},
        "contradiction": {**row, "answer": f"{number + 1}"},
        "empty_completion": {**row, "generations": [{"text": f"it is {number}"}, {"text": " "}]},
        "only_empty": {**row, "generations": [{"text": ""}, {"text": "\n"}]},
        "missing_column": {"answer": "4"},
        "wrong_type": {**row, "problem": 4},
        "empty_statement": {**row, "problem": " "},
        "no_generations": {**row, "generations": []},
        "long": {**row, "padding": "x" * LINE_BYTES},
    }  # fmt: skip
    raw = {
        "bad_json": b"{",
        "cut": json.dumps(row).encode()[:-9],
        "not_utf8": b'{"problem": "\xff"}',
        "not_an_object": b"[1]",
        "blank": b" \t",
    }
    return raw[kind] if kind in raw else json.dumps(plain[kind]).encode()


def expected(lines: list[tuple[str, int]]) -> tuple[Counter[str], Counter[str]]:
    """What becomes of the rows and of the traces, worked out line by line from the defects alone."""
    rows, traces = Counter[str](), Counter[str]()
    answers: dict[int, str] = {}
    seen: dict[int, set[str]] = {}
    plain = {"cut": "bad_json", "long": "line_too_long"}
    for kind, number in lines:
        if kind == "blank":
            continue
        if kind not in ("good", "same", "copy", "contradiction", "empty_completion", "only_empty"):
            rows[plain.get(kind, kind)] += 1
            continue
        said = {"good": [f"it is {number}", f"no {number}"], "same": [f"another {number}"], "copy": [f"it is {number}"] * 2,
                "contradiction": [f"it is {number}", f"no {number}"], "empty_completion": [f"it is {number}"], "only_empty": []}[kind]  # fmt: skip
        traces["empty_completion"] += {"empty_completion": 1, "only_empty": 2}.get(kind, 0)
        if not said:
            rows["no_generations"] += 1
            continue
        answer = str(number + 1) if kind == "contradiction" else str(number)
        if answers.setdefault(number, answer) != answer:
            rows["conflicting_answer"] += 1
            traces["conflicting_answer"] += len(said)
            continue
        rows["kept"] += 1
        for text in said:
            traces["duplicate_trace" if text in seen.setdefault(number, set()) else "kept"] += 1
            seen[number].add(text)
    return rows, +traces


@drawn(8)
@given(
    lines=st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 11)), min_size=1, max_size=40),
    shards=st.integers(1, 5),
)
def test_a_file_of_all_defects_is_accounted_for_to_the_row_and_the_trace(
    lines: list[tuple[str, int]], shards: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [("good", 11), *lines]  # a corpus without a row is an error, not an account
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "rows.jsonl").write_bytes(b"\n".join(line_of(*line) for line in lines))
    stage_dir = StageFolder(folder / "corpus", "f")
    stage_dir.open()
    source = functools.partial(SOURCES["traces"], path=str(folder / "rows.jsonl"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "MAX_LINE_BYTES", LINE_BYTES)
        accounts = collect(stage_dir, [source], seed=0, num_shards=shards, max_problems=None)["accounts"]
    rows, traces = expected(lines)
    for name, counted in (("rows", rows), ("traces", traces)):
        account = accounts[name]
        assert account["in"] == sum(counted.values())
        assert {"kept": account["kept"], **account["dropped"]} == {"kept": 0, **counted}, name
    groups = [group for path in stage_dir.shard_files("groups") for group in stage_dir.read("groups")][: rows["kept"]]
    assert len({group.problem.id for group in groups}) == len({n for k, n in lines if k in ("good", "same", "copy", "contradiction", "empty_completion")})  # fmt: skip
    reasons = Counter(dropped.reason for dropped in stage_dir.read("dropped"))
    assert reasons == Counter({k: v for k, v in (rows + traces).items() if k != "kept"})


LONG = 150_000  # characters
BAD_TEXTS = {
    "letters": "a" * LONG, "words": "ab " * (LONG // 3), "digits": "1" * LONG, "open braces": "{" * LONG,
    "boxes": "\\boxed{" * (LONG // 7), "fractions": "\\frac{1}" * (LONG // 8), "dollars": "$" * LONG, "blanks": " " * LONG,
    "line ends": "\n" * LONG, "signs": "-" * LONG, "points": "1." * (LONG // 2), "backslashes": "\\" * LONG,
    "accents": "e\u0301\u0323" * (LONG // 3), "wide": "漢" * LONG, "commas": "1,2" * (LONG // 3), "tags": "<think>" * (LONG // 7),
}  # fmt: skip


@pytest.mark.parametrize("text", BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_no_text_holds_up_what_is_done_without_a_worker(text: str) -> None:
    """Quadratic time would be hours here; the alarm ends the test."""

    def late(*_: object) -> None:
        raise TimeoutError("over 60 seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    try:
        tokens = statements.normal(text)
        statements.content(tokens), statements.anchors(tokens), statements.answer_key(text)
        relate.statement_line(make_problem(text, answer=text))
        repetition.repeats(text), repetition.reflections(text), foreign_share(text, ("en",), 0.5)
        with contextlib.suppress(RowError):
            tags.split(text)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
