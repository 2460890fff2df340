"""Two verifiers on the same answers, counted by hand."""

from redistill.evaluate.compare import MAX_EXAMPLES, Agreement
from redistill.records import FINAL, Outcome, Verdict, make_problem, make_trace

PROBLEM = make_problem("2+2?", answer="4")


def said(outcome, text="x"):
    return make_trace(PROBLEM.id, text, verdicts={FINAL: Verdict(Outcome(outcome), "4", "why")})


def test_agreement_by_hand():
    table = Agreement("cascade", "exact")
    for one, other in [
        ("correct", "correct"),
        ("correct", "ungradable"),
        ("incorrect", "incorrect"),
        ("timeout", "correct"),
    ]:
        table.add(PROBLEM, said(one), said(other))
    found = table.to_json()
    assert (found["num_samples"], found["agree"]) == (4, 0.5)
    assert (found["only_a_correct"], found["only_b_correct"]) == (1, 1)
    assert found["table"] == {
        "correct": {"correct": 1, "ungradable": 1}, "incorrect": {"incorrect": 1}, "timeout": {"correct": 1},
    }  # fmt: skip
    assert [example["outcomes"] for example in found["examples"]] == [["correct", "ungradable"], ["timeout", "correct"]]
    assert found["examples"][0]["exact"] == {"outcome": "ungradable", "read": "4", "reason": "why"}


def test_examples_are_few_and_of_every_kind():
    table = Agreement("a", "b")
    for i in range(50):
        table.add(PROBLEM, said("correct", str(i)), said("incorrect", str(i)))
    table.add(PROBLEM, said("incorrect"), said("correct"))
    assert len(table.examples) == 4 <= MAX_EXAMPLES and table.counts.total() == 51


def test_nothing_compared_claims_nothing():
    assert Agreement("a", "b").to_json()["agree"] is None
