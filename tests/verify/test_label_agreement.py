"""Labels of the data against a verifier: counted by task on both sides, with examples of each kind."""

import pytest

from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace
from redistill.verify.label_agreement import compare_labels, example_lines

# (task, cascade, label, how often)
SEEN = [
    ("simplify", "correct", "incorrect", 5),
    ("expand", "correct", "incorrect", 2),
    ("simplify", "correct", "correct", 7),
    ("palindrome", "incorrect", "correct", 1),
    ("simplify", "incorrect", "incorrect", 4),
    ("simplify", "no_answer", "correct", 3),
    ("simplify", "correct", None, 6),
]


@pytest.fixture
def stage_dir(tmp_path):
    folder = StageFolder(tmp_path / "verify", "x")
    folder.open()
    groups = []
    for number, (task, said, labelled, count) in enumerate(SEEN):
        problem = make_problem(f"problem {number}", answer="7", source="mine", metadata={"task": task})
        traces = []
        for index in range(count):
            trace = make_trace(problem.id, f"trace {number}.{index} ends here")
            trace = trace.with_verdict("cascade", Verdict(Outcome(said), f"a{number}", "why", "cascade", "rules 3"))
            if labelled:
                trace = trace.with_verdict("teacher_label", Verdict(Outcome(labelled), verifier="teacher_label"))
            traces.append(trace.with_verdict(FINAL, Verdict(Outcome.disagree)))
        groups.append(Group(problem, tuple(traces)))
    for index, part in enumerate((groups[:3], groups[3:])):
        folder.finish_shard(index, Shard({"groups": (Group, part)}, {"traces": Account("trace")}, (), {}))
    return folder


def compared(stage_dir, policy="agree"):
    (table,) = compare_labels(stage_dir, labels=["teacher_label"], verifiers=["cascade"], policy=policy)
    return table


def test_both_sides_are_counted_by_task_where_both_decide(stage_dir):
    table = compared(stage_dir)
    assert (table["called_correct"], table["called_incorrect"]) == (14, 5)
    assert (table["label_says_wrong"]["traces"], table["label_says_wrong"]["tasks"]) == (
        7,
        {"simplify": 5, "expand": 2},
    )
    assert (table["label_says_right"]["traces"], table["label_says_right"]["tasks"]) == (1, {"palindrome": 1})


def test_the_sentence_says_how_often_on_which_tasks_and_what_it_means(stage_dir):
    assert compared(stage_dir)["sentence"] == (
        "teacher_label says wrong of 7 of the 14 traces that cascade calls correct (simplify 5, expand 2), and right of 1 of the 5 that it "
        "calls incorrect (palindrome 1); they count as neither right nor wrong."
    )
    assert "write policy agree" in compared(stage_dir, "cascade")["sentence"]


def test_three_examples_of_each_kind_from_different_tasks_first(stage_dir):
    examples = compared(stage_dir)["label_says_wrong"]["examples"]
    assert [e["task"] for e in examples] == ["simplify", "expand", "simplify"]
    assert len({e["trace_id"] for e in examples}) == 3
    assert (examples[1]["gold"], examples[1]["answer"], examples[1]["end"]) == ("7", "a1", "trace 1.0 ends here")
    lines = list(example_lines([compared(stage_dir)]))
    assert len(lines) == 1 + 3 + 1
    assert "cascade incorrect, teacher_label right: palindrome, gold '7', answer 'a3'" in lines[-1]


def test_without_labels_there_is_nothing_to_compare_and_agreement_is_said(stage_dir):
    assert compare_labels(stage_dir, labels=[], verifiers=["cascade"], policy="agree") == []
    (table,) = compare_labels(stage_dir, labels=["cascade"], verifiers=["cascade"], policy="agree")
    assert table["sentence"] == "cascade and cascade agree on all 25 traces that both decide."
