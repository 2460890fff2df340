"""Gold answers: their type, and which of them nobody can grade; found before a trace is judged."""

import pytest

from redistill.records import Group, Outcome, make_problem, make_trace
from redistill.verify import GOLD, VERIFIERS, VerifierPool, answer_type, as_ungradable, check_gold
from redistill.verify.stage import check_golds, judged, verified_shard


@pytest.mark.parametrize(
    ("gold", "kind"),
    [
        ("18", "number"), (r"\frac{3}{4}", "number"), ("$18", "number"), ("12 cm", "number"), ("3:30 PM", "number"), ("28\\%", "number"),
        ("B", "choice"), (r"\textbf{(C)}\ 12", "choice"), ("A, C", "choice"), (r"\begin{pmatrix}1\\2\end{pmatrix}", "matrix"),
        (r"\{1, 2\}", "set"), ("[0, 1)", "interval"), (r"(-\infty, 2]", "interval"), (r"(0,1)\cup(2,3)", "interval"), ("(3, 4)", "tuple"),
        ("x > 3", "inequality"), ("y = 2x + 1", "equation"), ("1, 2, 3", "list"), ("blue", "text"), ("x^2 + 1", "expression"),
        (r"5\sqrt{3}\text{ cm}", "expression"),
    ],
)  # fmt: skip
def test_the_type_of_an_answer_is_read_off_its_form(gold: str, kind: str) -> None:
    assert answer_type(gold) == kind
    found = check_gold(make_problem("?", answer=gold), make_trace("", ""))
    assert (found.outcome, found.extracted) == (Outcome.correct, kind)


@pytest.mark.parametrize(
    ("gold", "reason"),
    [
        (None, "no_gold"),
        ("  ", "no_gold"),
        ("proof", "gold_placeholder"),
        ("Not found.", "gold_placeholder"),
        ("x" * 5000, "gold_too_long"),
        ("Suppose that " + "the sum is even and " * 10 + "so on", "gold_is_prose"),
        (r"\undefined{7", "gold_unreadable"),
        (r"1, 2, \undefined{7", "gold_unreadable"),  # one part of it
        (r"\frac{1}{", "gold_unreadable"),
    ],
)
def test_a_gold_answer_that_nobody_can_grade_says_why(gold: str | None, reason: str) -> None:
    found = check_gold(make_problem("?", answer=gold), make_trace("", ""))
    assert (found.outcome, found.reason) == (Outcome.ungradable, reason)


def test_no_trace_is_judged_against_a_gold_that_cannot_be_graded() -> None:
    """Two traces of the bad problem would be `ungradable` with another reason had a verifier seen them."""
    problems = [
        make_problem("2+2?", answer="4"),
        make_problem("Show it", answer="proof"),
        make_problem("?", answer=r"9^{9^{9^{9}}}"),
    ]
    texts = (r"\boxed{4}", "no answer here")
    groups = [Group(p, tuple(make_trace(p.id, text) for text in texts)) for p in problems]
    verifiers = {"exact": VERIFIERS["exact"], GOLD: check_gold}
    with VerifierPool(verifiers, workers=1, timeout_seconds=1.0, memory_mb=1024) as pool:
        golds = check_golds(pool, groups)
        found = list(judged(pool, groups, "exact", golds=golds))
    outcomes = [[t.verdict.outcome for t in g.traces] for g in found]
    assert outcomes == [["correct", "no_answer"], ["ungradable"] * 2, ["ungradable"] * 2]
    assert [t.verdicts["exact"].reason for t in found[1].traces] == ["gold_placeholder"] * 2
    assert as_ungradable(golds[problems[2].id]).reason in ("gold_timeout", "gold_unreadable")
    assert [g.problem.answer_type for g in found][:2] == ["number", None]
    assert all(
        set(t.verdicts) == {"exact", "final"} for g in found for t in g.traces
    )  # the check is not a verdict on a trace

    shard = verified_shard(found, golds)
    account = shard.accounts["golds"]
    assert (account.came_in, account.kept, account.dropped["gold_placeholder"]) == (3, 1, 1)
    assert shard.tallies["answer_types"] == {"number": 1}
    assert [p.answer for p in shard.records["ungradable"][1]] == ["proof", r"9^{9^{9^{9}}}"]
    assert [d.id for d in shard.dropped] == [p.id for p in problems[1:]]
