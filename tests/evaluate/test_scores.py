"""A student's scores, by hand, and what must never be scored."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redistill.errors import OperatorError
from redistill.evaluate.scores import score
from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace

ANSWERS = {"correct": "4", "incorrect": "5"}


def group(number, *outcomes, indices=None, finish_reason="stop", num_tokens=10, answer="4"):
    """Problem `number`; sample i has outcome i."""
    problem = make_problem(f"Question {number}", answer=answer)
    indices = range(len(outcomes)) if indices is None else indices
    traces = [
        make_trace(
            problem.id,
            f"sample {i}: {outcome}",
            sampling={"sample_index": i},
            finish_reason=finish_reason,
            num_tokens=num_tokens,
            verdicts={FINAL: Verdict(Outcome(outcome), ANSWERS.get(outcome))},
        )
        for i, outcome in zip(indices, outcomes)
    ]
    return Group(problem, tuple(traces))


C, W = "correct", "incorrect"


def test_both_standard_errors_by_hand():
    # samples:      0  1        problem means
    # problem 1     1  1        1
    # problem 2     1  0        1/2
    # problem 3     0  0        0
    # columns      2/3 1/3      mean 1/2
    found = score([group(1, C, C), group(2, C, W), group(3, W, W)], n=2)["pass_at_1"]
    assert found["value"] == pytest.approx(0.5)
    # std of (2/3, 1/3), ddof 1: sqrt(2 * (1/6)**2 / 1) = sqrt(1/18); over sqrt(2) samples: 1/6
    assert found["sem_over_sample_columns"] == pytest.approx(1 / 6)
    # std of (1, 1/2, 0), ddof 1: sqrt((1/4 + 0 + 1/4) / 2) = 1/2; over sqrt(3) problems
    assert found["sem_over_problems"] == pytest.approx(0.5 / math.sqrt(3))


def test_a_spread_that_one_sample_or_one_problem_cannot_show_is_none_and_not_0():
    one_sample = score([group(1, C), group(2, W)], n=1)["pass_at_1"]
    assert one_sample["sem_over_sample_columns"] is None and one_sample["sem_over_problems"] == pytest.approx(0.5)
    one_problem = score([group(1, C, W)], n=2)["pass_at_1"]
    assert one_problem["sem_over_problems"] is None and one_problem["interval95"] is None


def test_pass_at_k_is_given_for_every_k_up_to_n():
    found = score([group(1, C, W, W, W, W, W), group(2, W, W, W, W, W, W)], n=6)["pass_at_k"]
    # one correct of six: pass@k = k/6 on the first problem, 0 on the second
    assert {k: v["value"] for k, v in found.items()} == pytest.approx({str(k): k / 12 for k in range(1, 7)})
    assert all(v["interval95"][0] <= v["value"] <= v["interval95"][1] for v in found.values())


def test_the_rates_share_out_every_sample_and_no_undecided_one_scores():
    found = score([group(1, C, W, "timeout", "no_answer"), group(2, "truncated", "disagree", C, C)], n=4)
    assert found["pass_at_1"]["value"] == found["rates"]["correct"] == 3 / 8
    assert found["rates"] == {
        "correct": 3 / 8, "incorrect": 1 / 8, "no_answer": 1 / 8, "truncated": 1 / 8, "timeout": 1 / 8,
        "ungradable": 0.0, "disagree": 1 / 8,
    }  # fmt: skip
    assert found["no_answer_rate"] == 1 / 8
    assert sorted(found["per_problem"].values()) == [[0, 0, 1, 1], [1, 0, 0, 0]]


def test_truncation_is_counted_by_how_the_sample_ended_and_tokens_only_where_known():
    ended = [group(2, W, num_tokens=None), group(3, W, num_tokens=None)]
    found = score([group(1, C, finish_reason="length", num_tokens=30), *ended], n=1)
    assert found["truncation_rate"] == pytest.approx(1 / 3) and found["mean_tokens"] == 30
    assert score([group(1, C, num_tokens=None)], n=1)["mean_tokens"] is None


def spoken(number, index, text, outcome=W, strict=None, tokens=10, read=None):
    """One sample with this text; `strict`: the outcome of the strict parse, `read`: what the lenient one read."""
    verdicts = {FINAL: Verdict(Outcome(outcome), read)}
    if strict is not None:
        verdicts["strict"] = Verdict(Outcome(strict), read if strict in ANSWERS else None)
    problem = make_problem(f"Question {number}", answer="4")
    return problem, make_trace(
        problem.id, text, sampling={"sample_index": index}, finish_reason="stop", num_tokens=tokens, verdicts=verdicts
    )


def of(*spoken_samples):
    """Groups of samples, the samples of a problem together."""
    problems = {p.id: p for p, _ in spoken_samples}
    return [Group(p, tuple(t for q, t in spoken_samples if q.id == p.id)) for p in problems.values()]


def test_unfinished_thinking_and_repetition_are_read_off_the_text():
    texts = ["<think>2+2", "<think>2+2</think> 4", "2+2 is 4", "so it is. " * 40]
    found = score(of(*(spoken(1, i, text) for i, text in enumerate(texts))), n=4)
    assert found["unfinished_thinking_rate"] == 1 / 4 and found["repetition_rate"] == 1 / 4


def test_the_strict_parse_stands_beside_the_lenient_one():
    samples = [
        spoken(1, 0, "\\boxed{4}", C, strict=C, read="4"),
        spoken(1, 1, "The answer is 4", C, strict="no_answer", read="4"),
        spoken(2, 0, "The answer is 5", W, strict="no_answer", read="5"),
        spoken(2, 1, "I give up", "no_answer", strict="no_answer"),
    ]
    found = score(of(*samples), n=2)
    assert found["pass_at_1"]["value"] == 0.5 and found["strict"]["pass_at_1"]["value"] == 0.25
    assert found["strict"]["only_lenient_finds_an_answer"] == 0.5  # "The answer is", twice; nobody reads "I give up"
    assert score([group(1, C)], n=1)["strict"] is None


def test_tokens_an_answer_by_what_the_answer_came_to():
    samples = [
        spoken(1, 0, "a", C, tokens=10),
        spoken(1, 1, "b", C, tokens=20),
        spoken(2, 0, "c", W, tokens=100),
        spoken(2, 1, "d", "truncated", tokens=30),
    ]
    found = score(of(*samples), n=2)
    assert found["mean_tokens"] == found["tokens"]["all"]["mean"] == 40
    assert found["tokens"]["all"]["p50"] == 25 and found["tokens"]["correct"]["mean"] == 15
    # 90% of the way from 10, 20, 30, 100: 30 + 0.7 * 70
    assert found["tokens"]["all"]["p90"] == pytest.approx(79) and found["tokens"]["not_correct"]["mean"] == 65


def test_a_problem_without_gold_is_left_out_and_counted():
    found = score([group(1, C, W), group(2, "ungradable", "ungradable", answer=None)], n=2)
    assert (found["num_problems"], found["num_ungradable"], found["pass_at_1"]["value"]) == (1, 1, 0.5)
    with pytest.raises(OperatorError, match=r"none of .* is gradable"):
        score([group(2, "ungradable", answer=None)], n=1)


def test_gibberish_that_nobody_can_grade_does_not_shrink_the_benchmark():
    found = score([group(1, C, C), group(2, "ungradable", C)], n=2)
    assert (found["num_problems"], found["num_ungradable"], found["pass_at_1"]["value"]) == (2, 0, 0.75)


@pytest.mark.parametrize(
    "bad, said",
    [
        (group(2, C, C, C, indices=[0, 1, 4]), "lacks sample_index 2, 3, has unexpected sample_index 4"),
        (group(2, C, C, C), "lacks sample_index 3"),
        (group(2, C, C, C, C, indices=[0, 1, 1, 2]), "lacks sample_index 3, repeats sample_index 1"),
        (group(2, C, C, C, C, C), "has unexpected sample_index 4"),
        (group(2), "lacks sample_index 0, 1, 2, 3"),
        (group(2, C, C, C, C, indices=[None] * 4), "lacks sample_index 0, 1, 2, 3, repeats sample_index None"),
        (group(1, C, C, C, C), "comes twice"),
    ],
)
def test_a_missing_sample_is_an_error_that_names_it_and_never_a_failure_of_the_student(bad, said):
    with pytest.raises(OperatorError) as error:
        score([group(1, C, C, C, C), bad], n=4)
    assert f"{bad.problem.id} {said}" in str(error.value)


def test_many_faults_are_named_by_the_first_few():
    with pytest.raises(OperatorError, match="and 15 more problems") as error:
        score([group(i, C) for i in range(20)], n=2)
    assert str(error.value).count("lacks sample_index 1") == 5
    with pytest.raises(OperatorError, match="and 1 more problems"):
        score([group(i, C) for i in range(6)], n=2)
    with pytest.raises(OperatorError, match=r"lacks sample_index 1\. Run the rollout again"):
        score([group(i, C) for i in range(5)], n=2)


def test_no_samples_are_no_score():
    with pytest.raises(OperatorError, match=r"^evaluate needs n of 1 or more \(got n=0\)\.$"):
        score([group(1)], n=0)


def test_a_vote_is_none_where_the_verifier_keeps_the_answer_to_itself():
    problem = make_problem("q", answer="4")
    silent = make_trace(problem.id, "a", sampling={"sample_index": 0}, verdicts={FINAL: Verdict(Outcome.correct)})
    found = score([Group(problem, (silent,)), group(1, C)], n=1)
    assert found["majority_at_n"] == {"value": None, "interval95": None}
    assert found["pass_at_1"]["value"] == 1.0


def test_the_scores_are_plain_json():
    found = score([group(1, C, W), group(2, W, "timeout")], n=2)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


tables = st.integers(1, 5).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from([C, W, "no_answer", "timeout"]), min_size=n, max_size=n), min_size=1, max_size=6
    )
)


@settings(max_examples=40, deadline=None)
@given(tables, st.randoms())
def test_laws_of_any_table_of_samples(table, random):
    n = len(table[0])
    groups = [group(i, *outcomes) for i, outcomes in enumerate(table)]
    found = score(groups, n=n)
    by_k = [v["value"] for _, v in sorted(found["pass_at_k"].items(), key=lambda item: int(item[0]))]
    assert by_k == sorted(by_k)  # more tries never hurt
    assert by_k[0] == pytest.approx(found["pass_at_1"]["value"])
    assert by_k[-1] == pytest.approx(sum(C in outcomes for outcomes in table) / len(table))
    assert found["all_correct_at_n"]["value"] <= found["pass_at_1"]["value"] + 1e-12
    assert sum(found["rates"].values()) == pytest.approx(1)
    random.shuffle(groups)
    turned = [Group(g.problem, tuple(random.sample(g.traces, n))) for g in groups]
    assert score(turned, n=n) == found  # neither the order of problems nor that of samples matters


def scored(number, *graded):
    """A problem without a gold answer, whose relevant documents are known, with samples of these (outcome, score)."""
    problem = make_problem(f"find {number}", metadata={"relevant": ["d1"]})
    traces = [
        make_trace(problem.id, f"{number} {index}", sampling={"sample_index": index}, verdicts={FINAL: Verdict(Outcome(outcome), score=value)})
        for index, (outcome, value) in enumerate(graded)
    ]  # fmt: skip
    return Group(problem, tuple(traces))


def test_scores_of_a_graded_verifier_are_averaged_by_problem():
    groups = [scored(1, ("correct", 1.0), ("disagree", 0.5)), scored(2, ("no_answer", 0.0), ("timeout", None))]
    found = score(groups, n=2)
    assert found["mean_score"]["value"] == pytest.approx((0.75 + 0.0) / 2) and found["num_ungradable"] == 0
    by_problem = {group.problem.id: values for group, values in zip(groups, ([1.0, 0.5], [0.0, 0.0]))}
    assert found["per_problem_scores"] == by_problem


def test_without_a_graded_verifier_there_is_no_mean_score():
    for groups in ([scored(1, ("correct", None)), scored(2, ("no_answer", None))], [scored(1, ("no_answer", None))]):
        found = score(groups, n=1)
        assert found["mean_score"] == {"value": None, "interval95": None} and "per_problem_scores" not in found
