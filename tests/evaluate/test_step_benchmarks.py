"""Benchmarks of labelled steps: hand-made ProcessBench cases, PRMBench's labels, and the averaging of analyses against theory."""

import json
import math
import random
from pathlib import Path

import pytest

from redistill.config.tables import BenchmarkSettings, CriticSettings
from redistill.errors import OperatorError
from redistill.evaluate.stage import problems_to_avoid
from redistill.evaluate.step_benchmarks import load_solutions, sentence_of, solutions_asked, step_problems, step_scores
from redistill.records import Group, make_trace
from redistill.text.labelled_steps import Solution
from redistill.text.step_problems import judged_solutions, problems_of

RIGHT = Solution("1+1+1?", ("1+1=2", "2+1=3"), (True, True), "gsm8k", "gsm8k-0")
WRONG = Solution("1+1+1?", ("1+1=2", "2+1=4", "so 4"), (True, False, None), "gsm8k", "gsm8k-1")
OTHER = Solution("2*3?", ("2*3=5", "so 5"), (False, None), "math", "math-0")
CRITIC = CriticSettings(analyses=2, read="verdict")


def groups_and_votes(problems, votes):
    """Groups with analyses, and P(Yes) by trace id; votes: Now Step -> P(Yes) of each analysis."""
    groups, found = [], {}
    for problem in problems:
        now = problem.statement.rpartition("Now Step:\n")[2]
        traces = [make_trace(problem.id, f"{now} {i}", sampling={"sample_index": i}) for i in range(len(votes[now]))]
        found |= {trace.id: value for trace, value in zip(traces, votes[now], strict=True)}
        groups.append(Group(problem, tuple(traces)))
    return groups, found


def measured(votes, solutions=(RIGHT, WRONG, OTHER), critic=CRITIC):
    problems, judged = problems_of(solutions)
    return step_scores(judged, *groups_and_votes(problems, votes), critic)


def test_solutions_that_begin_alike_share_their_first_problems_and_nothing_behind_an_error_is_asked() -> None:
    problems, judged = problems_of([RIGHT, WRONG, OTHER])
    assert [p.statement.rpartition("\n")[2] for p in problems] == ["1+1=2", "2+1=3", "2+1=4", "2*3=5"]
    assert [(one.first_error, one.num_steps, len(one.steps)) for one in judged] == [(-1, 2, 2), (1, 3, 2), (0, 2, 1)]
    assert judged[0].steps[0] == judged[1].steps[0]


def test_processbench_by_hand() -> None:
    # means: 1+1=2 .75, 2+1=3 .5 (passes: not below), 2+1=4 .25 (found), 2*3=5 .9 (missed)
    votes = {"1+1=2": [1, 0.5], "2+1=3": [0.5, 0.5], "2+1=4": [0.5, 0.0], "2*3=5": [0.9, 0.9]}
    found = measured(votes)
    assert found["correct_accuracy"]["value"] == 1.0 and found["error_accuracy"]["value"] == 0.5
    assert found["f1"]["value"] == pytest.approx(2 / 3)
    assert found["per_solution"] == [
        ["gsm8k-0", "gsm8k", -1, -1],
        ["gsm8k-1", "gsm8k", 1, 1],
        ["math-0", "math", 0, -1],
    ]
    assert found["subsets"]["gsm8k"]["f1"]["value"] == 1.0
    assert found["subsets"]["math"]["f1"]["value"] is None  # no solution without an error there
    # a coin: correct accuracy 1/2; error accuracy the mean of 1/(2*3) and 1/(2*2) = 5/24; f1 = 2ab/(a+b) = 5/17
    assert found["coin"]["f1"] == pytest.approx(5 / 17)
    # the first analyses alone: 2+1=4 at .5 passes, so no error is found
    assert (
        found["by_analyses"]["1"]["error_accuracy"] == 0.0 and found["by_analyses"]["2"]["f1"] == found["f1"]["value"]
    )
    assert "error accuracy 50.0%, correct accuracy 100.0%, F1 66.7% (a coin 29.4%)" in sentence_of(found)


def test_an_early_false_alarm_is_wrong_for_both_kinds() -> None:
    found = measured({"1+1=2": [0, 0], "2+1=3": [1, 1], "2+1=4": [0, 0], "2*3=5": [0, 0]})
    assert (found["correct_accuracy"]["value"], found["error_accuracy"]["value"], found["f1"]["value"]) == (
        0.0,
        0.5,
        0.0,
    )


def test_an_undecided_step_leaves_a_solution_unjudged_unless_an_earlier_one_was_rejected() -> None:
    silent = {"1+1=2": [1, 1], "2+1=3": [None, None], "2+1=4": [None, 0.0], "2*3=5": [0, 0]}
    found = measured(silent)
    assert found["unjudged"] == 2 and found["num_silent_analyses"] == 3
    assert [row[3] for row in found["per_solution"]] == [None, None, 0]
    assert found["correct_accuracy"]["value"] == 0.0 and found["error_accuracy"]["value"] == 0.5
    dropped = measured(silent, critic=CRITIC.model_copy(update={"no_marker": "drop"}))
    assert [row[3] for row in dropped["per_solution"]] == [None, 1, 0]


def test_prmbench_labels_every_step_and_has_its_own_measures() -> None:
    solution = Solution("q", ("a", "b", "c"), (True, False, False), "circular", "p")
    votes = {"a": [1, 1], "b": [0, 0], "c": [1, 1]}
    found = measured(votes, [solution])
    # right steps: a said right (TP), c said right though wrong (FP): f1 2/3; wrong steps: b found, c missed: f1 2/3
    assert found["prmbench"]["prm_score"] == pytest.approx(2 / 3)
    assert found["prmbench"]["subsets"]["circular"]["negative_accuracy"] == 0.5
    assert "prmbench" not in measured({"1+1=2": [1, 1], "2+1=3": [1, 1]}, [RIGHT])


def majority(q: float, k: int) -> float:
    """P(more than half of k independent judgements are right), k odd."""
    return sum(math.comb(k, j) * q**j * (1 - q) ** (k - j) for j in range(k // 2 + 1, k + 1))


@pytest.mark.parametrize("q", [0.5, 0.7])
def test_f1_over_analyses_follows_the_binomial_majority_curve_and_is_flat_for_a_coin(q: float) -> None:
    rng = random.Random(0)
    count = (
        1500  # solutions of one step of each kind: error accuracy and correct accuracy are both P(majority is right)
    )
    solutions = [Solution(f"{i}?", (f"s{i}",), (i % 2 == 0,), "", str(i)) for i in range(2 * count)]
    votes = {f"s{i}": [float((rng.random() < q) == (i % 2 == 0)) for _ in range(9)] for i in range(2 * count)}
    problems, judged = problems_of(solutions)
    groups, found = groups_and_votes(problems, votes)
    values = {}
    for k in (1, 3, 9):
        values[k] = step_scores(judged, groups, found, CriticSettings(analyses=k, read="verdict"))["f1"]["value"]
        sigma = math.sqrt(0.25 / (2 * count))
        assert abs(values[k] - majority(q, k)) < 4 * sigma
    if q > 0.5:
        assert values[1] < values[3] < values[9]


# --- files ------------------------------------------------------------------------------------------------------------

ROWS = [
    {"id": "gsm8k-0", "problem": "1+1+1?", "steps": ["1+1=2", "2+1=3"], "final_answer_correct": True, "label": -1},
    {"id": "math-0", "problem": "2*3?", "steps": ["2*3=5", "so 5"], "final_answer_correct": False, "label": 0},
    {"id": "math-1", "problem": "2*3?", "steps": ["2*3=5"], "final_answer_correct": False, "label": 7},
]


def benchmark(tmp_path: Path, rows: list[dict], **settings: object) -> BenchmarkSettings:
    path = tmp_path / "processbench.json"
    path.write_text(json.dumps(rows))
    return BenchmarkSettings(name="processbench", file=str(path), **settings)


def test_a_benchmark_file_is_read_and_rows_that_cannot_be_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    found = load_solutions(benchmark(tmp_path, ROWS))
    assert [one.name for one in found] == ["gsm8k-0", "math-0"]
    assert "1 rows cannot be read, the first processbench.json:2 bad_label" in "".join(capsys.readouterr())
    assert len(load_solutions(benchmark(tmp_path, ROWS, max_problems=1))) == 1
    assert [p.statement for p in problems_to_avoid(benchmark(tmp_path, ROWS))] == ["1+1+1?", "2*3?"]
    assert len(step_problems(benchmark(tmp_path, ROWS), seed=0, join="line")) == 3


def test_a_benchmark_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"holds no labelled steps for benchmark 'processbench'.*missing_column"):
        load_solutions(benchmark(tmp_path, [{"problem": "1+1?", "answer": "2"}]))
    with pytest.raises(OperatorError, match="needs `file`"):
        load_solutions(BenchmarkSettings(name="prmbench"))
    with pytest.raises(OperatorError, match="layout 'x' is not one of"):
        load_solutions(benchmark(tmp_path, ROWS, layout="x"))
    assert not BenchmarkSettings(name="mine", file="f").asks_steps
    assert BenchmarkSettings(name="dev", kind="steps").asks_steps


def test_held_out_steps_are_put_together_to_solutions_again() -> None:
    problems, judged = problems_of([RIGHT, WRONG, OTHER])
    found = judged_solutions(reversed(problems))
    assert {one.steps for one in found} == {one.steps for one in judged}
    assert sorted(one.num_steps for one in found) == [2, 2, 3]
    # a solution of which a step was held back is left out: nobody can say whether it has an error
    assert len(judged_solutions(problems[:1])) == 0
    assert [one.first_error for one in judged_solutions(problems[:2])] == [-1]
    dev = BenchmarkSettings(name="dev", kind="steps")
    assert solutions_asked(dev, problems, seed=0, join="line") == found
