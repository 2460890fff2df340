"""Every source is tried on a sample, what keeps most is taken, and what stands in the way is one sentence."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from redistill.config.binding import options_of
from redistill.corpus import SOURCES
from redistill.corpus.sources.layouts import SECOND, Survey, survey
from redistill.corpus.sources.rows import spread_rows
from redistill.errors import OperatorError

Q = [f"What is {n}+{n}?" for n in range(6)]
USER = [{"role": "user", "content": question} for question in Q]


def said(text: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def look(tmp_path: Path, rows: list[Any], name: str = "rows.jsonl") -> Survey:
    (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return survey(str(tmp_path / name), SOURCES)


def test_every_source_is_in_the_table_with_what_it_dropped_and_why(tmp_path: Path) -> None:
    rows = [{"prompt": q, "completion": str(2 * n), "label": n % 2 == 0, "uuid": n} for n, q in enumerate(Q)]
    found = look(tmp_path, rows)
    assert (found.best.source, found.best.groups, found.best.right, found.best.wrong) == ("completions", 6, 3, 3)
    assert {layout.source for layout in found.tried} | {"completions"} == {
        name for name, source in SOURCES.items() if "path" in options_of(source) and name not in SECOND
    }
    messages = next(layout for layout in found.tried if layout.source == "messages")
    assert messages.dropped == {"missing_column": 6}
    assert messages.reasons["missing_column"].startswith("rows.jsonl:0: there is no column `messages`; add it")
    assert found.best.unread == found.unread == ("uuid",) and found.whole


def test_one_completion_per_row_of_a_problem_that_is_repeated_makes_pairs(tmp_path: Path) -> None:
    rows = [
        {"problem": q, "answer": str(2 * n), "response": f"\\boxed{{{2 * n + k}}}"}
        for n, q in enumerate(Q)
        for k in (0, 1)
    ]
    found = look(tmp_path, rows).best
    assert (found.source, found.groups, found.repeated, found.contradicted, found.paired) == (
        "completions",
        12,
        6,
        0,
        True,
    )
    assert not look(tmp_path, rows[::2]).best.paired


def test_what_was_cut_off_makes_no_pair_of_labelled_traces(tmp_path: Path) -> None:
    def rows(reason: str) -> list[dict[str, Any]]:
        return [
            {"prompt": q, "completion": f"{k}", "label": k, "finish_reason": ("stop", reason)[1 - k]}
            for q in Q
            for k in (0, 1)
        ]

    assert look(tmp_path, rows("stop")).best.paired
    assert not look(tmp_path, rows("length")).best.paired


def test_golds_that_differ_between_rows_of_a_problem_are_counted(tmp_path: Path) -> None:
    rows = [{"problem": q, "answer": answer, "response": "x"} for q in Q for answer in ("1/2", "\\frac{1}{2}", "4")]
    found = look(tmp_path, rows).best
    assert (found.repeated, found.contradicted, found.contradiction) == (6, 6, "'1/2' and '4'")
    assert look(tmp_path, [row for row in rows if row["answer"] != "4"]).best.contradicted == 0  # two notations of one


def test_a_column_that_is_heard_as_a_label_is_no_gold_answer_and_one_of_golds_is_no_label(tmp_path: Path) -> None:
    labelled = look(tmp_path, [{"prompt": q, "completion": "x", "label": n % 2} for n, q in enumerate(Q)]).best
    assert "answer_column" not in labelled.options and labelled.labels == {"teacher_label": 0.5}
    golds = look(tmp_path, [{"prompt": q, "label": str(34 + n)} for n, q in enumerate(Q)]).best
    assert (golds.source, golds.options["answer_column"], golds.answers) == ("problems", "label", 1.0)


def test_a_human_solution_under_two_names_is_no_gold_answer(tmp_path: Path) -> None:
    rows = [{"problem": q, "solution": "It is 4.", "messages": [turn, said("It is 4.")]} for q, turn in zip(Q, USER)]
    found = look(tmp_path, rows).best
    assert (found.source, found.answers, found.options) == ("messages", 0.0, {})


def test_traces_that_the_template_opened_are_counted(tmp_path: Path) -> None:
    rows = [
        {"prompt": q, "completion": "a</think>4" if n < 4 else "<think>a</think>4", "answer": "4"}
        for n, q in enumerate(Q)
    ]
    assert look(tmp_path, rows).best.unopened == pytest.approx(4 / 6)


def test_files_of_a_folder_are_looked_at_and_a_split_goes_into_the_options(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / "set").mkdir(exist_ok=True)
        look(tmp_path / "set", [{"problem": q, "answer": "4", "generations": ["4"]} for q in Q], f"{split}.jsonl")
    found = survey(str(tmp_path / "set"), SOURCES)
    assert (found.best.rows, found.best.options) == (6, {}) and "not the split test" in found.note
    assert survey(str(tmp_path / "set"), SOURCES, "test").best.options == {"split": "test"}


def test_a_large_file_is_only_looked_into(tmp_path: Path) -> None:
    found = look(tmp_path, [{"problem": f"{n}?", "answer": "4", "generations": ["4"]} for n in range(601)])
    assert (found.best.rows, found.whole) == (301, False)  # 200 first ones, every fourth of the others


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"messages": [said("Hello"), turn]} for turn in USER], r"`messages` is the closest match .*\(no_generations\).*column `messages` has no assistant"),
        ([{"messages": [turn, said(None, tool_calls=[{"id": 1}])]} for turn in USER], r"6 of 6 rows \(tool_calls\).*add the tool's result and the answer after it"),
        ([{"messages": [turn, said("")]} for turn in USER], "every completion in column `messages` is empty"),
        ([{"prompt": q, "completion": "x", "label": 0.7} for q in Q], r"column `label` holds 0\.7, which is neither right nor wrong; write true or false"),
        ([{"problem": q, "answer": ["1", "2"], "generations": ["x"]} for q in Q], r"\(several_answers\).*column `answer` holds 2 answers"),
        ([{"conversations": [{"from": "narrator", "value": q}]} for q in Q], "write user, assistant or system"),
        ([{"a": 1}], r"no source can read its columns \(a\); available layouts: traces, "),
        ([], "has no rows"),
        (["x", "y"], r"none of 2 rows can be read; rows\.jsonl:0 is not a JSON object"),
    ],
)  # fmt: skip
def test_what_nobody_can_read_is_one_sentence_that_names_the_column_and_what_to_write(
    tmp_path: Path, rows: list[Any], words: str
) -> None:
    with pytest.raises(OperatorError, match=words) as caught:
        look(tmp_path, rows)
    assert "\n" not in str(caught.value)


def test_labels_that_begin_late_in_a_long_file_are_seen(tmp_path: Path) -> None:
    """200 first rows without a label and 4,800 with one: `traces` is read with its labels, and the sample is no whole file."""
    rows = [{"problem": f"{i}+1?", "generation": f"It is {i + 1}.", "answer": str(i + 1)} for i in range(5000)]
    for place in range(200, 5000):
        rows[place]["correct"] = place % 2 == 0
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = survey(str(path), SOURCES)
    assert found.best.labels and not found.whole
    assert 300 <= found.best.rows <= 400


def test_a_sample_is_the_first_rows_and_later_ones_at_equal_distances(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(f'{{"n": {i}}}' for i in range(1000)), encoding="utf-8")
    places = [row["n"] for _, row in spread_rows(str(path), None, 100)[0]]
    assert places[:100] == list(range(100))
    gaps = {after - before for before, after in itertools.pairwise(places[100:])}
    assert gaps == {16} and places[-1] > 980
    assert spread_rows(str(path), None, 600)[2]  # 600 first ones, 400 later ones: all


def test_completions_with_labels_that_may_be_steps_of_one_answer_are_pointed_out(tmp_path: Path) -> None:
    steps = [{"prompt": q, "completions": ["First, 1.", "So 2."], "labels": [True, False]} for q in Q]
    assert "stepwise supervision" in look(tmp_path, steps).note
    assert (
        "stepwise" not in look(tmp_path, [{**row, "answer": "2"} for row in steps]).note
    )  # gold answers: whole answers
    assert "stepwise" not in look(tmp_path, [{**row, "completions": ["2"], "labels": [True]} for row in steps]).note


@pytest.mark.parametrize("cell", [["1/2", "0.5"], {"a": 1}, 10**400, "", None, True], ids=lambda cell: str(cell)[:20])
def test_an_odd_cell_does_not_cost_a_column_of_gold_answers(tmp_path: Path, cell: Any) -> None:
    rows = [{"prompt": f"{n}+{n}?", "completion": f"\\boxed{{{2 * n}}}", "gold": 2 * n} for n in range(40)]
    rows[17]["gold"] = cell
    found = look(tmp_path, rows).best
    assert found.options.get("answer_column") == "gold" and found.answers > 0.9 and "gold" not in found.unread


@pytest.mark.parametrize("cell", ["perhaps", 0.5, ["a"], {"a": 1}], ids=str)
def test_an_odd_cell_does_not_cost_a_column_of_labels(tmp_path: Path, cell: Any) -> None:
    rows = [{"prompt": f"{n}+{n}?", "completion": f"\\boxed{{{2 * n}}}", "is_correct": n % 2 == 0} for n in range(40)]
    rows[17]["is_correct"] = cell
    found = look(tmp_path, rows).best
    assert found.labels and found.wrong >= 19 and "is_correct" not in found.unread


def test_a_column_that_most_rows_cannot_be_read_by_is_not_taken(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"{n}+{n}?", "completion": f"\\boxed{{{2 * n}}}", "gold": [n, 2 * n] if n % 2 else n}
        for n in range(40)
    ]
    found = look(tmp_path, rows).best
    assert found.groups == 40 and "gold" in found.unread


def test_a_collection_of_documents_is_named_and_not_read_as_traces(tmp_path: Path) -> None:
    """A folder with only some of its files is read as any other."""
    (tmp_path / "qrels").mkdir()
    rows = [{"problem": "1+1", "answer": "2", "generations": ["2"]}]
    (tmp_path / "corpus.jsonl").write_text(json.dumps(rows[0]))
    assert survey(str(tmp_path), SOURCES).best.source == "traces"
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "a"}))
    (tmp_path / "qrels" / "test.tsv").write_text("q\td\t1\n")
    with pytest.raises(OperatorError, match=r"is a collection for the source queries, which has no traces; docs/"):
        survey(str(tmp_path), SOURCES)
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\n")
    with pytest.raises(OperatorError, match="for the source purchase-history"):
        survey(str(tmp_path), SOURCES)
