"""Each source on a few rows: what becomes a group, what is dropped and why."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redistill.config.binding import bind, options_of
from redistill.config.tables import Plugin
from redistill.corpus import SOURCES
from redistill.corpus.sources.rows import taking_notes
from redistill.io.schemas import from_row, to_row
from redistill.records import Dropped, Group, Image, Outcome, Span, make_problem


def read(folder: Path, source: str, rows: Iterable[Any], **options: Any) -> list[Any]:
    """The source's groups, and the bare reason in the place of a dropped row."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    bound = bind(SOURCES, Plugin(name=source, options={"path": str(path), **options}), "corpus.sources")
    found = list(bound())
    for index, item in enumerate(found):
        assert isinstance(item, Group | Dropped)
        if isinstance(item, Dropped):
            assert (item.id, item.stage) == (f"rows.jsonl:{index}", "corpus")
        else:
            assert item.problem.source_row == f"rows.jsonl:{index}"
    return [item.reason if isinstance(item, Dropped) else item for item in found]


def outcomes(group: Group, name: str) -> list[str | None]:
    return [trace.verdicts[name].outcome.value if name in trace.verdicts else None for trace in group.traces]


# --- traces -------------------------------------------------------------------------------------------------------


def test_traces_carry_author_label_prediction_and_score(tmp_path: Path) -> None:
    generations = [
        {"text": "so 4", "teacher": "a", "correct": True, "pred": "4", "score": 1, "finish_reason": "stop"},
        {"text": "so 5", "teacher": "b", "correct": False, "pred": None, "score": float("nan")},
        {"text": "hm", "teacher": "c", "correct": None, "score": True, "finish_reason": "tool_calls"},
    ]
    row = {"problem": "2+2?", "answer": 4, "source": "mine", "generations": generations}
    (group,) = read(tmp_path, "traces", [row], unknown_finish="length")
    assert group.problem == make_problem("2+2?", answer="4", source="mine", source_row="rows.jsonl:0")
    assert [t.author for t in group.traces] == ["a", "b", "c"]
    assert outcomes(group, "teacher_label") == ["correct", "incorrect", None]
    assert [t.verdicts["teacher_label"].extracted for t in group.traces[:2]] == ["4", None]
    assert [dict(t.scores) for t in group.traces] == [{"score": 1.0}, {}, {}]
    assert [t.finish_reason for t in group.traces] == ["stop", "length", None]  # stated, unstated, of another kind
    assert [t.sampling["sample_index"] for t in group.traces] == [0, 1, 2]


def test_traces_drops_each_malformed_row_for_its_reason(tmp_path: Path) -> None:
    good = {"problem": "2+2?", "generations": [{"text": "4"}]}
    cases: list[tuple[Any, str]] = [
        ([1, 2], "not_an_object"),
        ({"generations": [{"text": "4"}]}, "missing_column"),
        ({"problem": "2+2?"}, "missing_column"),
        ({"problem": "2+2?", "generations": [{"teacher": "a"}]}, "missing_column"),
        ({**good, "problem": 7}, "wrong_type"),
        ({**good, "problem": ["2+2?"]}, "wrong_type"),
        ({**good, "problem": " \n"}, "empty_statement"),
        ({**good, "problem": None}, "empty_statement"),
        ({**good, "answer": ["4", "5"]}, "several_answers"),
        ({**good, "answer": {"a": 1, "b": 2}}, "wrong_type"),
        ({**good, "answer": float("inf")}, "wrong_type"),
        ({**good, "source": {}}, "wrong_type"),
        ({**good, "generations": "4"}, "wrong_type"),
        ({**good, "generations": [4]}, "wrong_type"),
        ({**good, "generations": [{"text": 4}]}, "wrong_type"),
        ({**good, "generations": [{"text": "4", "correct": "perhaps"}]}, "bad_label"),
        ({**good, "generations": [{"text": "4", "correct": 0.5}]}, "bad_label"),
        ({**good, "generations": []}, "no_generations"),
        ({**good, "generations": None}, "no_generations"),
    ]
    assert read(tmp_path, "traces", [row for row, _ in cases]) == [reason for _, reason in cases]


def test_traces_keeps_listed_tasks_only(tmp_path: Path) -> None:
    row = {"problem": "2+2?", "generations": [{"text": "4"}]}
    found = read(tmp_path, "traces", [{**row, "task": "sums"}, {**row, "task": "logic"}, row], tasks=["sums"])
    assert isinstance(found[0], Group)
    assert found[1:] == ["task_excluded", "task_excluded"]


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    row = {"q": "2+2?", "a": "4", "g": [{"text": "4"}]}
    (group,) = read(tmp_path, "traces", [row], problem_column="q", answer_column="a", generations_column="g")
    assert (group.problem.answer, group.traces[0].completion) == ("4", "4")


def test_lone_surrogates_leave_no_id_behind(tmp_path: Path) -> None:
    row = {"problem": "2+2\ud800?", "generations": [{"text": "4\udfff"}]}
    (group,) = read(tmp_path, "traces", [row])
    assert from_row(Group, to_row(group)) == group
    assert group.problem.id == make_problem(group.problem.statement).id


def test_traces_carry_spans_notes_pictures_and_metadata(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"abc")
    generation = {
        "text": "two plus",
        "spans": {"steps": [[0, 3, 1], {"start": 4, "end": 9, "value": -0.5}], "none": [], "null": None},
        "notes": {"critic": "right", "null": None},
    }
    row = {
        "problem": "2+2?",
        "generations": [generation, {"text": "4"}],
        "images": ["pictures/a.png", {"path": "far.png", "sha256": "0" * 64}],
        "metadata": {"tests": [{"in": "1", "out": [1.5, None]}]},
    }
    (group,) = read(tmp_path, "traces", [row])
    first, second = group.traces
    assert first.spans == {"steps": (Span(0, 3, 1.0), Span(4, 9, -0.5)), "none": ()}  # [8, 9): the end of the turn
    assert first.notes == {"critic": "right"} and (second.spans, second.notes) == ({}, {})
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180-2 B.1
    assert group.problem.images == (Image("pictures/a.png", sha256), Image("far.png", "0" * 64))
    assert group.problem.metadata == row["metadata"]
    assert group.problem.id != make_problem("2+2?").id
    (text_only,) = read(tmp_path, "traces", [{"problem": "2+2?", "generations": [generation]}])
    assert text_only.problem.id == make_problem("2+2?").id and text_only.traces[0].id != first.id


@pytest.mark.parametrize(
    "span",
    [[-1, 3, 1.0], [0, 6, 1.0], [3, 3, 1.0], [3, 2, 1.0], [0, 3], [0, 3, 1.0, 1.0], ["0", 3, 1.0], [0.0, 3, 1.0], [False, 3, 1.0],
     [0, 3, "1"], [0, 3, True], [0, 3, None], [0, 3, float("nan")], [0, 3, float("inf")], [0, 3, 10**400], None, "0-3", {"start": 0, "end": 3},
     {"start": 0, "end": 3, "value": 1, "more": 2}],
)  # fmt: skip
def test_a_span_that_is_none_drops_its_row(tmp_path: Path, span: Any) -> None:
    good = {"problem": "2+2?", "generations": [{"text": "4444", "spans": {"steps": [[0, 5, 1.0], [4, 5, 2]]}}]}
    bad = {"problem": "2+2?", "generations": [{"text": "4444", "spans": {"steps": [[0, 1, 1.0], span]}}]}
    first, reason = read(tmp_path, "traces", [good, bad])
    assert isinstance(first, Group) and reason == "bad_span"


def test_new_columns_of_another_type_and_pictures_elsewhere_drop_their_row(tmp_path: Path) -> None:
    def row(**columns: Any) -> dict[str, Any]:
        return {"problem": "2+2?", "generations": [{"text": "4"}], **columns}

    def generation(**fields: Any) -> dict[str, Any]:
        return row(generations=[{"text": "4", **fields}])

    (tmp_path / "link.png").symlink_to("/etc/hostname")
    (tmp_path / "folder").mkdir()
    cases: list[tuple[Any, str]] = [
        (generation(spans=[[0, 1, 1.0]]), "wrong_type"),
        (generation(spans={"steps": {"start": 0}}), "wrong_type"),
        (generation(spans="steps"), "wrong_type"),
        (generation(notes="checked"), "wrong_type"),
        (generation(notes={"critic": 5}), "wrong_type"),
        (row(metadata=[1]), "wrong_type"),
        (row(metadata="no table"), "wrong_type"),
        (row(metadata={"x": float("nan")}), "wrong_type"),
        (row(images="a.png"), "wrong_type"),
        (row(images=[5]), "wrong_type"),
        (row(images=[{"sha256": "0" * 64}]), "wrong_type"),
        (row(images=[{"path": "a.png", "sha256": "0" * 63}]), "wrong_type"),
        (row(images=[{"path": "a.png", "sha256": "G" * 64}]), "wrong_type"),
        (row(images=["/etc/hostname"]), "bad_image_path"),
        (row(images=["../rows.jsonl"]), "bad_image_path"),
        (row(images=["folder/../../x.png"]), "bad_image_path"),
        (row(images=["link.png"]), "bad_image_path"),
        (row(images=[{"path": "../a.png", "sha256": "0" * 64}]), "bad_image_path"),  # whoever opens it later, too
        (row(images=[{"path": "/a.png", "sha256": "0" * 64}]), "bad_image_path"),
        (row(images=[""]), "bad_image_path"),
        (row(images=["a\x00b"]), "bad_image_path"),
        (row(images=["none.png"]), "missing_image"),
        (row(images=["folder"]), "missing_image"),
        (row(images=["x" * 5_000]), "missing_image"),
    ]
    assert read(tmp_path, "traces", [row for row, _ in cases]) == [reason for _, reason in cases]


def test_surrogates_of_new_columns_are_cleaned_and_metadata_may_be_json_text(tmp_path: Path) -> None:
    generation = {"text": "4\ud800", "notes": {"a\ud800": "b\udfff"}, "spans": {"\ud800": [[1, 2, 1.0]]}}
    rows = [
        {"problem": "2+2?", "generations": [generation], "metadata": {"\ud800": ["\udfff"]}},
        {"problem": "2+2?", "generations": [generation], "metadata": '{"a": [1]}'},
    ]
    first, second = read(tmp_path, "traces", rows)
    (trace,) = first.traces
    assert (trace.completion, trace.notes, trace.spans) == ("4?", {"a?": "b?"}, {"?": (Span(1, 2, 1.0),)})
    assert first.problem.metadata == {"?": ["?"]} and second.problem.metadata == {"a": [1]}
    assert from_row(Group, to_row(first)) == first


def test_columns_that_nobody_reads_are_counted(tmp_path: Path) -> None:
    row = {
        "problem": "2+2?",
        "level": 5,
        "null": None,
        "generations": [{"text": "4", "span": {}}, {"text": "5", "span": {}}],
    }
    with taking_notes() as notes:
        read(tmp_path, "traces", [row, {**row, "answer": "4"}, {"problem": 7, "dropped": 1}])
    assert notes.unread == {"level": 2, "generations[].span": 4}
    with taking_notes() as notes:
        read(tmp_path, "messages", [{"messages": TURNS_OF_ONE, "uuid": "u"}])
        read(tmp_path, "problems", [{"problem": "2+2?", "level": 5, "generations": []}], keep_columns=["level"])
        read(
            tmp_path, "traces", [{"problem": "2+2?", "generations": [{"text": "4"}], f"c{n}": 1} for n in range(1_500)]
        )
    unread = notes.unread
    assert (unread["uuid"], unread["generations"], unread["level"], len(unread)) == (1, 1, 0, 1_000)
    read(tmp_path, "traces", [row])  # nobody counts: nothing happens
    assert len(unread) == 1_000


TURNS_OF_ONE = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]


# --- problems -----------------------------------------------------------------------------------------------------


def test_problems_are_groups_without_traces(tmp_path: Path) -> None:
    rows = [
        {
            "q": "2+2?",
            "a": 4,
            "source": "s",
            "question_type": "number",
            "id": 17,
            "tests": ["t"],
            "metadata": {"k": 1, "id": 0},
        },
        {"q": "3+3?", "id": "x", "tests": None},
    ]
    options = {"problem_column": "q", "answer_column": "a", "id_column": "id", "keep_columns": ["tests"]}
    first, second = read(tmp_path, "problems", rows, **options)
    assert (first.traces, second.traces) == ((), ())
    made = make_problem("2+2?", answer="4", answer_type="number", source="s", source_row="rows.jsonl:0",
                        metadata={"k": 1, "id": 17, "tests": ["t"]})  # fmt: skip
    assert first.problem == made
    assert (second.problem.source, second.problem.answer) == ("problems", None)
    assert second.problem.metadata == {"id": "x", "tests": None}


def test_problems_drops_each_malformed_row_for_its_reason(tmp_path: Path) -> None:
    cases: list[tuple[Any, str]] = [
        ({"id": 1}, "missing_column"),
        ({"problem": "2+2?"}, "missing_column"),  # its id
        ({"problem": " ", "id": 1}, "empty_statement"),
        ({"problem": ["2+2?"], "id": 1}, "wrong_type"),
        ({"problem": "2+2?", "id": 1, "answer": [1, 2]}, "several_answers"),
        ({"problem": "2+2?", "id": 1, "more": 5}, "wrong_type"),
        ({"problem": "2+2?", "id": 1, "images": ["none.png"]}, "missing_image"),
    ]
    found = read(tmp_path, "problems", [row for row, _ in cases], id_column="id", metadata_column="more")
    assert found == [reason for _, reason in cases]


# --- openr1-math-raw ----------------------------------------------------------------------------------------------

R1 = {
    "problem": "2+2?",
    "solution": "It is 4.",
    "answer": "4",
    "problem_type": "Algebra",
    "question_type": "math-word-problem",
    "problem_is_valid": "Yes",
    "solution_is_valid": "Yes",
    "source": "olympiads",
    "uuid": "u",
    "generations": ["<think>a</think>4", "<think>b</think>5", "<think>c"],
    "is_reasoning_complete": [True, True, False],
    "correctness": {
        "llama_verification": [True, None, False],
        "math_verify": [False, True, True],
        "math_verify_reparsed_answer": [True, False, None],
    },
    "correctness_count": 1,
}


def test_openr1_labels_become_verdicts_and_unknown_is_none(tmp_path: Path) -> None:
    (group,) = read(tmp_path, "openr1-math-raw", [R1])
    assert (group.problem.source, group.problem.answer_type) == ("olympiads", "math-word-problem")
    assert outcomes(group, "llama_verification") == ["correct", None, "incorrect"]
    assert outcomes(group, "math_verify") == ["correct", "incorrect", None]  # the reparsed list, null included
    assert group.traces[0].verdicts["math_verify"].reason == "column `math_verify_reparsed_answer`"
    assert [t.finish_reason for t in group.traces] == ["stop", "stop", "length"]
    assert {t.author for t in group.traces} == {"DeepSeek-R1"}


def test_openr1_a_null_reparsed_list_is_no_label_whatever_the_plain_one_says(tmp_path: Path) -> None:
    labels = {
        "llama_verification": [True, True, None],
        "math_verify": [True, False, None],
        "math_verify_reparsed_answer": None,
    }
    rows = [{**R1, "correctness": labels}]
    (group,) = read(tmp_path, "openr1-math-raw", rows)
    assert outcomes(group, "math_verify") == [None, None, None]
    assert outcomes(group, "llama_verification") == ["correct", "correct", None]
    assert read(tmp_path, "openr1-math-raw", rows, require_labels=["math_verify"]) == ["labels_missing"]


def test_openr1_applies_the_papers_row_filters(tmp_path: Path) -> None:
    rows = [
        {**R1, "problem_is_valid": " yes"},
        {**R1, "problem_is_valid": "Incomplete"},
        {**R1, "problem_is_valid": None},
        {**R1, "source": "cn_k12"},
        {**R1, "correctness": {**R1["correctness"], "llama_verification": None}},  # type: ignore[dict-item]
        {**R1, "correctness": None},
    ]
    paper = {
        "keep_problem_validity": ["Yes"],
        "drop_sources": ["cn_k12"],
        "require_labels": ["llama_verification", "math_verify"],
    }
    found = read(tmp_path, "openr1-math-raw", rows, **paper)
    assert isinstance(found[0], Group)
    assert found[1:] == [
        "problem_not_valid",
        "problem_not_valid",
        "source_excluded",
        "labels_missing",
        "labels_missing",
    ]
    assert all(isinstance(item, Group) for item in read(tmp_path, "openr1-math-raw", rows))


def test_openr1_drops_each_malformed_row_for_its_reason(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({**R1, "problem": ""}, "empty_statement"),
        ({**R1, "generations": []}, "no_generations"),
        ({**R1, "generations": [1, 2, 3]}, "wrong_type"),
        ({**R1, "is_reasoning_complete": [True]}, "length_mismatch"),
        ({**R1, "is_reasoning_complete": ["yes", "no", {}]}, "wrong_type"),
        ({**R1, "correctness": {"llama_verification": [True, False]}}, "length_mismatch"),
        ({**R1, "correctness": {"math_verify_reparsed_answer": "no"}}, "wrong_type"),
        ({**R1, "correctness": [True]}, "wrong_type"),
    ]
    assert read(tmp_path, "openr1-math-raw", [row for row, _ in cases]) == [reason for _, reason in cases]
    (group,) = read(
        tmp_path, "openr1-math-raw", [{**R1, "correctness": {"math_verify_reparsed_answer": [True, False, "perhaps"]}}]
    )
    assert outcomes(group, "math_verify") == ["correct", "incorrect"]  # the third alone is lost


# --- messages and preference --------------------------------------------------------------------------------------


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def test_messages_are_one_correct_trace(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "It is "}, {"type": "text", "text": "4"}]
    rows: list[dict[str, Any]] = [
        {"messages": [turn("system", "Be brief."), turn("user", "2+2?"), turn("assistant", parts)], "gold": 4},
        {"messages": [turn("user", "2+2?"), turn("assistant", "4"), turn("user", "3+3?"), turn("assistant", "6")]},
        {"messages": [turn("assistant", "4")]},
        {"messages": [turn("user", "2+2?")]},
        {"messages": [turn("user", "2+2?"), turn("assistant", [{"type": "image"}])]},
        {"messages": ["2+2?", "4"]},
        {"messages": []},
        {},
    ]
    group, several, *reasons = read(tmp_path, "messages", rows, answer_column="gold", author="teacher-7b")
    assert (group.problem.statement, group.problem.answer) == ("2+2?", "4")
    assert [(t.completion, t.author) for t in group.traces] == [("It is 4", "teacher-7b")]
    assert outcomes(group, "teacher_label") == ["correct"]
    assert several.problem.statement == "User: 2+2?\n\nAssistant: 4\n\nUser: 3+3?"
    assert [t.completion for t in several.traces] == ["6"]
    assert read(tmp_path, "messages", rows, conversations=False)[1] == "several_turns"
    assert reasons == [
        "empty_statement",
        "no_generations",
        "wrong_type",
        "wrong_type",
        "no_generations",
        "missing_column",
    ]


def test_preference_labels_chosen_and_rejected(tmp_path: Path) -> None:
    chosen, rejected = [turn("user", "2+2?"), turn("assistant", "4")], [turn("user", "2+2?"), turn("assistant", "5")]
    rows: list[dict[str, Any]] = [
        {"prompt": "2+2?", "chosen": "4", "rejected": "5"},
        {"prompt": [turn("user", "2+2?")], "chosen": chosen[1:], "rejected": rejected[1:]},
        {"chosen": chosen, "rejected": rejected},
        {"chosen": chosen, "rejected": [turn("user", "3+3?"), turn("assistant", "5")]},
        {"chosen": "4", "rejected": "5"},
        {"prompt": "2+2?", "chosen": "4"},
        {"prompt": "", "chosen": "4", "rejected": "5"},
        {"prompt": "2+2?", "chosen": 4, "rejected": 5},
        {"prompt": "2+2?", "chosen": [], "rejected": []},
        {"prompt": "3+3?", "chosen": chosen, "rejected": rejected},
    ]
    found = read(tmp_path, "preference", rows)
    for group in found[:3]:
        assert group.problem.statement == "2+2?"
        assert [t.completion for t in group.traces] == ["4", "5"]
        assert outcomes(group, "teacher_label") == ["correct", "incorrect"]
    assert found[3:] == [
        "prompts_differ",
        "missing_column",
        "missing_column",
        "empty_statement",
        "wrong_type",
        "no_generations",
        "prompts_differ",
    ]


# --- laws -----------------------------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("assistant")
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["text", "correct", "role", "content", "math_verify", "score", "spans", "notes", "path"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
COLUMNS = ["problem", "answer", "generations", "correctness", "is_reasoning_complete", "messages", "prompt", "chosen"]
COLUMNS += [
    "images",
    "metadata",
    "spans",
    "notes",
    "rejected",
    "source",
    "task",
    "question_type",
    "conversations",
    "completions",
    "labels",
]
ROW = st.dictionaries(st.sampled_from(COLUMNS), JSON, max_size=8)
TURN = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": JSON, "info": JSON})
TURN |= st.fixed_dictionaries({"from": st.sampled_from(["user", "gpt"]), "value": JSON})


TURNS = st.lists(TURN, max_size=3).map(lambda turns: {"messages": turns, "conversations": turns, "prompt": turns})


@pytest.mark.parametrize("source", [name for name, source in SOURCES.items() if "path" in options_of(source)])
@settings(max_examples=25, deadline=None)
@given(rows=st.lists(ROW | TURNS | JSON, min_size=1, max_size=6))
def test_no_row_crashes_a_source_and_none_is_lost(source: str, rows: list[Any]) -> None:
    rows = [{}, *rows]  # a file that begins with a list is an array of rows
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), source, rows)
    assert len(found) == len(rows)
    for item in found:
        if isinstance(item, Group):
            assert from_row(Group, to_row(item)) == item
            assert {v.outcome for t in item.traces for v in t.verdicts.values()} <= {Outcome.correct, Outcome.incorrect}


# --- tags, am-deepseek-r1, openthoughts ---------------------------------------------------------------------------

OPEN_T, CLOSE_T, OPEN_S, CLOSE_S = (
    "<|begin_of_thought|>",
    "<|end_of_thought|>",
    "<|begin_of_solution|>",
    "<|end_of_solution|>",
)
ONE_FORM = "<think>\n2+2=4\n</think>\n\n\\boxed{4}"
TAGGED = {
    "<think>2+2=4</think>\\boxed{4}": ONE_FORM,
    "2+2=4\n</think>\n\n\\boxed{4}": ONE_FORM,
    "[THINK]2+2=4[/THINK]\\boxed{4}": ONE_FORM,
    "<thinking>2+2=4</thinking>\n<response>\\boxed{4}</response>": ONE_FORM,
    "<think>\n2+2=4\n</think>\n\n<answer>\n\\boxed{4}\n</answer>": ONE_FORM,
    f"{OPEN_T}\n\n2+2=4\n\n{CLOSE_T}\n\n{OPEN_S}\n\n\\boxed{{4}}\n\n{CLOSE_S}": ONE_FORM,
    ONE_FORM: ONE_FORM,
    "no tags: \\boxed{4}": "no tags: \\boxed{4}",
    "<answer>\\boxed{4}</answer>": "\\boxed{4}",
    "<think>what is <answer>?</think>4 stands in <answer> tags": "<think>\nwhat is <answer>?\n</think>\n\n4 stands in <answer> tags",
}  # fmt: skip
BROKEN = [
    "<think>2+2",
    "</think>2+2<think>4",
    "<think>a</think>b</think>4",
    "so <think>a</think>4",
    "<think>a</think>",
    "<think>a</think><answer>4",
    "<think>a</think>4</answer>",
    f"{OPEN_T}a{CLOSE_T}{OPEN_S}4",
]


def am_row(content: str, *, info: dict[str, Any] | None = None, own: dict[str, Any] | None = None) -> dict[str, Any]:
    empty = dict.fromkeys(("source", "reference_answer", "test_case", "think_content", "answer_content"))
    asked = {"role": "user", "content": "2+2?", "info": {**empty, **(info or {})}}
    return {"messages": [asked, {"role": "assistant", "content": content, "info": {**empty, **(own or {})}}]}


def thoughts_row(value: str, **columns: Any) -> dict[str, Any]:
    turns = [{"from": "user", "value": "2+2?"}, {"from": "assistant", "value": value}]
    return {"system": "Your role ...", "conversations": turns, **columns}


@pytest.mark.parametrize(("source", "make"), [("am-deepseek-r1", am_row), ("openthoughts", thoughts_row)])
def test_every_way_of_writing_the_tags_becomes_one_and_broken_tags_are_a_reason(
    tmp_path: Path, source: str, make: Any
) -> None:
    found = read(tmp_path, source, [make(text) for text in TAGGED])
    assert [group.traces[0].completion for group in found] == list(TAGGED.values())
    assert read(tmp_path, source, [make(text) for text in BROKEN]) == ["broken_tags"] * len(BROKEN)


def test_am_keeps_the_notes_and_labels_only_what_was_checked(tmp_path: Path) -> None:
    tests = '{"inputs": ["1"], "outputs": ["2"]}'
    rows = [
        am_row("<think>a</think>4", info={"source": "openR1", "reference_answer": "4"}),
        am_row("<think>a</think>4", info={"test_case": tests}),
        am_row("<think>a</think>4", own={"source": "dolphin"}),
    ]
    checked, tested, neither = read(tmp_path, "am-deepseek-r1", rows)
    assert [(g.problem.source, g.problem.answer, g.problem.answer_type) for g in (checked, tested, neither)] == [
        ("openR1", "4", None),
        ("am-deepseek-r1", None, "test_case"),
        ("dolphin", None, None),
    ]
    assert [outcomes(g, "teacher_label") for g in (checked, tested, neither)] == [["correct"], ["correct"], [None]]
    assert [dict(g.problem.metadata) for g in (checked, tested, neither)] == [{}, {"tests": tests}, {}]
    assert checked.traces[0].verdicts["teacher_label"].reason == "column `reference_answer`"
    assert read(tmp_path, "am-deepseek-r1", rows, test_cases="as_answer")[1].problem.answer == tests
    assert [outcomes(g, "teacher_label") for g in read(tmp_path, "am-deepseek-r1", rows, label="none")] == [[None]] * 3
    assert outcomes(read(tmp_path, "am-deepseek-r1", rows, label="all")[2], "teacher_label") == ["correct"]


def test_am_takes_the_parts_where_the_text_is_broken_or_empty(tmp_path: Path) -> None:
    parts = {"think_content": "2+2=4", "answer_content": "\\boxed{4}"}
    rows = [
        am_row("<think>2+2=4", own=parts),
        am_row("", own=parts),
        am_row("<think>2+2=4", own={"think_content": "x"}),
    ]
    *whole, refused = read(tmp_path, "am-deepseek-r1", rows)
    assert [group.traces[0].completion for group in whole] == [ONE_FORM, ONE_FORM]
    assert refused == "broken_tags"


def test_am_drops_each_malformed_row_for_its_reason(tmp_path: Path) -> None:
    user, said = am_row("4")["messages"]
    cases: list[tuple[Any, str]] = [
        ({}, "missing_column"),
        ({"messages": "hi"}, "wrong_type"),
        ({"messages": []}, "no_generations"),
        ({"messages": [user]}, "no_generations"),
        ({"messages": [said, user]}, "wrong_type"),
        ({"messages": [user, said, user, said]}, "several_turns"),
        ({"messages": [user, {"role": "assistant"}]}, "wrong_type"),
        ({"messages": [{**user, "info": "x"}, said]}, "wrong_type"),
        ({"messages": [{**user, "info": {"reference_answer": ["4", "5"]}}, said]}, "several_answers"),
        ({"messages": [{**user, "content": " "}, said]}, "empty_statement"),
    ]
    assert read(tmp_path, "am-deepseek-r1", [row for row, _ in cases]) == [reason for _, reason in cases]
    system = {"role": "system", "content": "Be brief."}
    (group,) = read(tmp_path, "am-deepseek-r1", [{"messages": [system, user, {"role": "assistant", "content": "4"}]}])
    assert group.traces[0].completion == "4"  # no info is needed, and system text is left out


def test_openthoughts_in_its_variants(tmp_path: Path) -> None:
    sharegpt = {
        "conversations": [
            {"from": "system", "value": "x"},
            {"from": "human", "value": "2+2?"},
            {"from": "gpt", "value": "4"},
        ],
        "domain": "math",
        "final": 4,
    }
    plain, labelled = read(tmp_path, "openthoughts", [sharegpt, thoughts_row("4")], label="all", answer_column="final")
    assert (plain.problem.statement, plain.problem.source, plain.problem.answer) == ("2+2?", "math", "4")
    assert (labelled.problem.source, labelled.problem.answer) == ("openthoughts", None)
    assert outcomes(labelled, "teacher_label") == ["correct"]
    (unlabelled,) = read(tmp_path, "openthoughts", [thoughts_row("4")])
    assert outcomes(unlabelled, "teacher_label") == [None]
    user, said = thoughts_row("4")["conversations"]
    cases: list[tuple[Any, str]] = [
        ({"conversations": [user]}, "no_generations"),
        ({"conversations": [said]}, "empty_statement"),
        ({"conversations": [user, said, said, user, said]}, "several_turns"),
        ({"conversations": [user, {"from": "function_call", "value": "4"}]}, "tool_calls"),
        ({"conversations": [user, {"from": "narrator", "value": "4"}]}, "unknown_role"),
        ({"conversations": [{"from": "user"}, said]}, "wrong_type"),
        ({"conversations": [{"from": "user", "value": None}, said]}, "empty_statement"),
    ]
    assert read(tmp_path, "openthoughts", [row for row, _ in cases]) == [reason for _, reason in cases]


# --- completions --------------------------------------------------------------------------------------------------


def test_completions_with_labels_without_and_in_trls_layout(tmp_path: Path) -> None:
    rows = [
        {"prompt": "2+2?", "completions": ["4", "5", "six"], "labels": [True, False, None], "answer": 4, "source": "s"},
        {"prompt": [{"role": "system", "content": "x"}, {"role": "user", "content": "3+3?"}], "completions": "6"},
    ]
    first, second = read(tmp_path, "completions", rows, author="me")
    assert (first.problem.answer, first.problem.source, second.problem.statement) == ("4", "s", "3+3?")
    assert outcomes(first, "teacher_label") == ["correct", "incorrect", None]
    assert [t.sampling["sample_index"] for t in first.traces] == [0, 1, 2]
    assert [t.completion for t in second.traces] == ["6"] and outcomes(second, "teacher_label") == [None]
    trl = {"prompt": "2+2?", "completion": [{"role": "assistant", "content": "4"}], "label": False}
    (group,) = read(tmp_path, "completions", [trl], completions_column="completion", labels_column="label")
    assert [t.completion for t in group.traces] == ["4"] and outcomes(group, "teacher_label") == ["incorrect"]


def test_completions_carry_spans_notes_and_metadata(tmp_path: Path) -> None:
    row = {
        "prompt": "2+2?",
        "completions": ["4", "5"],
        "spans": [None, {"s": [[0, 2, 0.5]]}],
        "notes": [{"n": "x"}, None],
        "metadata": {"a": 1},
    }
    one = {"prompt": "2+2?", "completions": "4", "spans": {"s": [[0, 1, 1]]}, "notes": {"n": "y"}}
    first, second = read(tmp_path, "completions", [row, one])
    assert [dict(t.spans) for t in first.traces] == [{}, {"s": (Span(0, 2, 0.5),)}]
    assert [dict(t.notes) for t in first.traces] == [{"n": "x"}, {}] and first.problem.metadata == {"a": 1}
    assert second.traces[0].spans == {"s": (Span(0, 1, 1.0),)} and second.traces[0].notes == {"n": "y"}


def test_completions_drops_each_malformed_row_for_its_reason(tmp_path: Path) -> None:
    user, said = {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}
    cases: list[tuple[Any, str]] = [
        ({"completions": ["4"]}, "missing_column"),
        ({"prompt": "2+2?"}, "missing_column"),
        ({"prompt": "2+2?", "completions": []}, "no_generations"),
        ({"prompt": "2+2?", "completions": None}, "no_generations"),
        ({"prompt": "2+2?", "completions": 4}, "wrong_type"),
        ({"prompt": "2+2?", "completions": [4]}, "wrong_type"),
        ({"prompt": "2+2?", "completions": ["4", "5"], "labels": [True]}, "length_mismatch"),
        ({"prompt": "2+2?", "completions": ["4", "5"], "spans": [None]}, "length_mismatch"),
        ({"prompt": "2+2?", "completions": ["4", "5"], "notes": {"a": "b"}}, "length_mismatch"),
        ({"prompt": "2+2?", "completions": ["4"], "spans": [{"s": [[0, 3, 1.0]]}]}, "bad_span"),
        ({"prompt": "2+2?", "completions": ["4"], "labels": ["perhaps"]}, "bad_label"),
        ({"prompt": " ", "completions": ["4"]}, "empty_statement"),
        ({"prompt": [user, said, user], "completions": ["4"]}, "several_turns"),
        ({"prompt": [said], "completions": ["4"]}, "empty_statement"),
        ({"prompt": "2+2?", "completions": [said, user]}, "no_generations"),
    ]
    assert read(tmp_path, "completions", [row for row, _ in cases]) == [reason for _, reason in cases]
