"""Who may be chosen and who may be rejected."""

import dataclasses
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redistill.config.binding import bind
from redistill.config.tables import Plugin
from redistill.errors import OperatorError
from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace
from redistill.select.pairing import (
    PAIRINGS,
    all_capped,
    certain,
    cross_teacher,
    hardest,
    length_matched,
    near_miss,
    random,
    redi_paper,
    same_teacher,
    shortest_wrong,
)

PROBLEM = make_problem("What is 2 + 2?", answer="4")


def trace(text, final, *, finish_reason="stop", tokens=1, author="a", answer=None, **labels):
    """A trace with its joined verdict and, where given, the verdicts of named labels."""
    verdicts = {FINAL: Verdict(Outcome(final), answer), **{n: Verdict(Outcome(o)) for n, o in labels.items()}}
    return make_trace(
        PROBLEM.id,
        text,
        author=author,
        finish_reason=finish_reason,
        num_tokens=tokens,
        verdicts=verdicts,
        scores={"tokens": float(tokens)},
    )


def rights(**tokens):
    """Right traces by name with their lengths: rights(a=3, b=5)."""
    return [trace(name, "correct", tokens=n) for name, n in tokens.items()]


def wrongs(**tokens):
    return [trace(name, "incorrect", tokens=n) for name, n in tokens.items()]


def group(*traces):
    return Group(PROBLEM, traces)


def texts(pairs):
    return [(chosen.completion, rejected.completion) for chosen, rejected in pairs]


@pytest.mark.parametrize("outcome", [o for o in Outcome if o not in ("correct", "incorrect")])
def test_undecided_is_never_rejected(outcome):
    reason = certain(group(trace("right", "correct"), trace("who knows", outcome)))
    assert reason == ("only_truncated_wrong" if outcome == "truncated" else "only_undecided_wrong")
    assert texts(certain(group(trace("u", outcome), trace("r", "correct"), trace("w", "incorrect")))) == [("r", "w")]


def test_a_trace_cut_by_its_length_limit_is_never_rejected_even_when_judged_incorrect():
    cut = trace("so far 5", "incorrect", finish_reason="length")
    assert certain(group(trace("right", "correct"), cut)) == "only_truncated_wrong"
    assert texts(certain(group(trace("r", "correct"), cut, trace("w", "incorrect")))) == [("r", "w")]


BOTH = {"llama_verification": "correct", "math_verify": "correct"}


def asked(name):
    """The options that a pairing cannot do without."""
    return {"by": "tokens"} if name == "best-against-worst" else {}


def told(name, group, keep=None):
    """The pairs of a pairing, told what becomes of right traces that were cut; keep None: its own default."""
    tokens = {"_token_ids": {t.id: [1] for t in group.traces}} if name == "near-miss" else {}
    options = asked(name) | ({} if keep is None else {"_keep_truncated": keep})
    return PAIRINGS[name](group, **tokens, **options)


@pytest.mark.parametrize("name", PAIRINGS)
def test_a_right_trace_that_was_cut_is_chosen_only_where_the_recipe_keeps_it(name):
    """Its row would end in the middle, and the student would learn to end there; the paper's rule looks at no such flag."""
    author = "ab"[name == "cross-teacher"]
    wrong = trace("w", "incorrect", author=author, llama_verification="incorrect", math_verify="incorrect")
    cut, whole = trace("cut", "correct", finish_reason="length", **BOTH), trace("whole", "correct", **BOTH)
    alone, both = group(cut, wrong), group(cut, whole, wrong)
    assert told(name, alone, False) == "only_truncated_correct" and texts(told(name, both, False)) == [("whole", "w")]
    assert texts(told(name, alone, True)) == [("cut", "w")]
    assert told(name, alone) == (told(name, alone, True) if name == "redi-paper" else "only_truncated_correct")
    unknown = dataclasses.replace(cut, finish_reason=None)
    assert texts(told(name, group(unknown, wrong))) == [("cut", "w")]


def test_a_right_trace_that_was_cut_is_no_negative_of_the_papers_rule():
    cut = trace("cut", "correct", finish_reason="length", **BOTH)
    assert redi_paper(group(cut, trace("r", "correct", **BOTH)), _keep_truncated=False) == "no_incorrect_trace"


def test_an_unknown_finish_reason_does_not_forbid_a_wrong_trace():
    # most public trace sets do not say how a trace ended
    found = certain(group(trace("r", "correct", finish_reason=None), trace("w", "incorrect", finish_reason=None)))
    assert texts(found) == [("r", "w")]


def test_each_way_of_having_no_pair_has_its_own_word():
    right, wrong = trace("r", "correct"), trace("w", "incorrect")
    assert certain(group()) == "no_correct_trace"
    assert certain(group(wrong)) == "no_correct_trace"
    assert certain(group(right)) == "no_incorrect_trace"
    assert certain(group(trace("a", "ungradable"), trace("b", "ungradable"))) == "ungradable"
    assert certain(group(trace("a", "ungradable"), trace("b", "timeout"))) == "no_correct_trace"
    assert certain(group(right, trace("a", "truncated"), trace("b", "truncated"))) == "only_truncated_wrong"
    assert certain(group(right, trace("a", "truncated"), trace("b", "timeout"))) == "only_undecided_wrong"


def test_first_right_meets_first_wrong_in_the_order_of_the_source():
    g = group(trace("w1", "incorrect"), trace("r1", "correct"), trace("r2", "correct"), trace("w2", "incorrect"))
    assert texts(certain(g)) == [("r1", "w1")]
    assert texts(certain(g, max_pairs=5)) == [("r1", "w1"), ("r2", "w2")]


def test_the_shorter_side_is_cycled_and_no_pair_comes_twice():
    g = group(*(trace(f"r{i}", "correct") for i in range(2)), *(trace(f"w{i}", "incorrect") for i in range(3)))
    assert texts(certain(g, max_pairs=9)) == [("r0", "w0"), ("r1", "w1"), ("r0", "w2")]
    assert texts(certain(g, max_pairs=2)) == [("r0", "w0"), ("r1", "w1")]


def test_the_papers_rule_counts_a_missing_verdict_as_wrong_and_certain_does_not():
    # one label never saw the second trace, so the policy `all` could not join it: the paper pushes it down all the same
    doubly_right = trace("r", "correct", llama_verification="correct", math_verify="correct")
    half_judged = trace("also right", "disagree", math_verify="correct")
    assert texts(redi_paper(group(doubly_right, half_judged))) == [("r", "also right")]
    assert certain(group(doubly_right, half_judged)) == "only_undecided_wrong"


def test_the_papers_rule_takes_a_timeout_for_wrong_and_needs_every_label_for_right():
    slow = trace("slow", "timeout", llama_verification="correct", math_verify="timeout")
    right = trace("r", "correct", llama_verification="correct", math_verify="correct")
    assert texts(redi_paper(group(slow, right))) == [("r", "slow")]
    assert redi_paper(group(slow)) == "no_correct_trace"
    assert redi_paper(group(right)) == "no_incorrect_trace"
    assert texts(
        redi_paper(group(slow, trace("w", "incorrect", llama_verification="incorrect")), labels=("llama_verification",))
    ) == [("slow", "w")]


def test_the_papers_rule_takes_the_first_of_each_side():
    both = {"llama_verification": "correct", "math_verify": "correct"}
    g = group(
        trace("w1", "incorrect"),
        trace("r1", "correct", **both),
        trace("w2", "incorrect"),
        trace("r2", "correct", **both),
    )
    assert texts(redi_paper(g)) == [("r1", "w1")]


def test_options_are_bound_from_a_recipe_and_nonsense_is_refused():
    assert bind(PAIRINGS, Plugin(name="redi-paper", options={"labels": ["a", "b"]}), "select.pairing").keywords == {
        "labels": ("a", "b")
    }
    with pytest.raises(OperatorError, match="max_pair"):
        bind(PAIRINGS, Plugin(name="certain", options={"max_pair": 2}), "select.pairing")
    with pytest.raises(OperatorError, match="max_pairs must be 1 or more"):
        certain(group(), max_pairs=0)
    with pytest.raises(OperatorError, match="labels is empty"):
        redi_paper(group(), labels=())


def test_length_matched_takes_the_smallest_ratio_first_and_spares_what_was_used():
    # ratios: a/x 10/11, a/y 10/40, b/x 30/11, b/y 30/40 -> a with x, then b with y
    g = group(*rights(a=10, b=30), *wrongs(x=11, y=40))
    assert texts(length_matched(g)) == [("a", "x")]
    assert texts(length_matched(g, max_pairs=9)) == [("a", "x"), ("b", "y")]
    # one right, three wrong: each wrong trace once, the nearest first (20/10 before 10/25 before 10/40)
    g = group(*rights(a=10), *wrongs(x=40, y=20, z=25))
    assert texts(length_matched(g, max_pairs=9)) == [("a", "y"), ("a", "z"), ("a", "x")]


def test_length_matched_leaves_out_pairs_beyond_the_longest_ratio():
    g = group(*rights(a=10, b=30), *wrongs(x=11, y=40, z=8))  # x/a 1.1, a/z 1.25, y/b 1.33, the others over 2
    assert texts(length_matched(g, max_pairs=9, max_ratio=1.1)) == [("a", "x")]
    assert texts(length_matched(g, max_pairs=9, max_ratio=1.25)) == [("a", "x"), ("a", "z")]
    assert texts(length_matched(g, max_pairs=9, max_ratio=1.34)) == [("a", "x"), ("b", "y"), ("a", "z")]
    assert length_matched(g, max_pairs=9, max_ratio=1.05) == "no_pair_of_like_length"
    assert texts(length_matched(group(*rights(a=10), *wrongs(x=10, y=11)), max_pairs=9, max_ratio=1)) == [("a", "x")]
    # log(15 / 10) and log(1.5) differ in their last bit
    assert texts(length_matched(group(*rights(a=10), *wrongs(x=15)), max_ratio=1.5)) == [("a", "x")]
    for ratio in (0.9, float("nan")):
        with pytest.raises(OperatorError, match="max_ratio must be 1 or more"):
            length_matched(g, max_ratio=ratio)


def test_the_scarce_side_comes_again_only_after_all_of_it_was_used():
    # x (11) is nearest to both; in round one a takes it (10/11 is nearer than 12/11? 11/10=1.100, 12/11=1.091: b takes it)
    g = group(*rights(a=10, b=12, c=13), *wrongs(x=11, y=99))
    assert texts(length_matched(g, max_pairs=9)) == [("b", "x"), ("c", "y"), ("a", "x")]


def test_shortest_wrong_goes_by_tokens():
    g = group(*rights(a=10), *wrongs(x=40, y=20, z=25))
    assert [w for _, w in texts(shortest_wrong(g, max_pairs=9))] == ["y", "z", "x"]


def test_hardest_takes_the_wrong_answer_that_most_give():
    wrong = [trace(t, "incorrect", answer=a) for t, a in [("p", "7"), ("q", "5"), ("r", " 5"), ("s", None), ("t", "5")]]
    found = [w for _, w in texts(hardest(group(*rights(a=1), *wrong), max_pairs=9))]
    assert set(found[:3]) == {"q", "r", "t"} and set(found[3:]) == {"p", "s"}


def test_hardest_counts_wrong_traces_only_and_an_unknown_answer_as_none():
    wrong = [trace(t, "incorrect", answer=a) for t, a in [("p", "7"), ("q", "B"), ("r", "b"), ("s", None), ("t", None)]]
    wrong.append(trace("u", "incorrect"))  # three without an answer do not agree in it
    undecided = [trace(t, "timeout", answer="7") for t in ("v", "w")]
    found = [w for _, w in texts(hardest(group(*rights(a=1), *wrong, *undecided), max_pairs=9))]
    assert set(found[:2]) == {"q", "r"} and set(found[2:]) == {"p", "s", "t", "u"}


def test_near_miss_takes_the_longest_shared_opening_in_tokens():
    g = group(*rights(a=4, b=4), *wrongs(x=4, y=4))
    tokens = dict(zip((t.id for t in g.traces), ([1, 2, 3, 4], [1, 9, 9, 9], [1, 9, 9, 8], [1, 2, 7, 7])))
    assert texts(near_miss(g, _token_ids=tokens)) == [("b", "x")]  # three shared; a with y shares two
    assert texts(near_miss(g, max_pairs=9, _token_ids=tokens)) == [("b", "x"), ("a", "y")]


def test_all_capped_draws_from_every_combination():
    g = group(*rights(a=1, b=1, c=1), *wrongs(x=1, y=1))
    assert len(set(texts(all_capped(g)))) == 6
    assert set(texts(all_capped(g, max_pairs=4))) < set(texts(all_capped(g)))
    drawn = [texts(all_capped(g, max_pairs=1, seed=seed))[0] for seed in range(60)]
    assert len(set(drawn)) == 6  # every combination can be drawn


def test_teachers_are_told_apart_and_unknown_ones_left_out():
    right = [trace("a", "correct", author="A"), trace("b", "correct", author="B"), trace("?", "correct", author="")]
    wrong = [
        trace("x", "incorrect", author="A"),
        trace("y", "incorrect", author=""),
        trace("z", "incorrect", author="A"),
    ]
    g = group(*right, *wrong)
    assert set(texts(same_teacher(g, max_pairs=9))) == {("a", "x"), ("a", "z")}
    assert set(texts(cross_teacher(g, max_pairs=9))) == {("b", "x"), ("b", "z")}
    assert same_teacher(group(right[1], wrong[0])) == "no_teacher_right_and_wrong"
    assert (
        cross_teacher(group(right[0], wrong[0]))
        == cross_teacher(group(right[2], wrong[0]))
        == "no_pair_across_teachers"
    )


def test_without_options_a_pairing_makes_one_pair_and_draws_by_seed_0():
    """Of nine right and nine wrong traces, all alike but for their ids."""
    right, same = ([trace(f"{side}{i}", o) for i in range(9)] for side, o in (("r", "correct"), ("w", "incorrect")))
    other = [dataclasses.replace(one, author="b") for one in same]
    for name, pairing in PAIRINGS.items():
        if name in ("certain", "redi-paper"):
            continue
        g = group(*right, *(other if name == "cross-teacher" else same))
        pairing = partial(
            pairing, **asked(name), **({"_token_ids": {t.id: [1] for t in g.traces}} if name == "near-miss" else {})
        )
        count = 8 if name == "all-capped" else 1
        assert pairing(g) == pairing(g, max_pairs=count, seed=0) != pairing(g, max_pairs=count, seed=1), name
        assert len(pairing(g)) == count, name


def test_of_two_sides_of_one_size_the_right_traces_come_again():
    g = group(*rights(a=10, b=100), *wrongs(x=10, y=11))  # b is like neither
    assert texts(length_matched(g, max_pairs=9, max_ratio=1.2)) == [("a", "x"), ("a", "y")]


def test_another_seed_draws_other_pairs():
    g = group(*rights(**{f"a{i}": 1 for i in range(9)}), *wrongs(**{f"x{i}": 1 for i in range(9)}))
    for policy in (random, all_capped, shortest_wrong, hardest):
        assert policy(g, seed=0) == policy(g, seed=0)
        assert len({texts(policy(g, seed=seed))[0] for seed in range(20)}) > 5


# --- laws -----------------------------------------------------------------------------------------------------

many_traces = st.lists(
    st.tuples(
        st.sampled_from([o.value for o in Outcome] + ["correct", "incorrect"] * 6),
        st.integers(1, 40),
        st.sampled_from(["", "A", "B"]),
        st.sampled_from([None, "5", "7"]),
        st.lists(st.integers(0, 1), max_size=4),
    ),
    max_size=12,
)


def drawn(name, rows, max_pairs):
    """(pairing with its options, group) of made-up traces; every label a paper's rule may ask for is the joined verdict."""
    traces = [
        trace(str(i), o, tokens=n, author=author, answer=answer, llama_verification=o, math_verify=o)
        for i, (o, n, author, answer, _) in enumerate(rows)
    ]
    options = {"_token_ids": {t.id: row[4] for t, row in zip(traces, rows)}} if name == "near-miss" else {}
    options |= asked(name) | ({} if name == "redi-paper" else {"max_pairs": max_pairs})
    return partial(PAIRINGS[name], **options), traces


@pytest.mark.parametrize("name", [n for n in PAIRINGS if n != "redi-paper"])
@settings(max_examples=40, deadline=None)
@given(many_traces, st.integers(1, 9), st.randoms(use_true_random=False))
def test_a_pairing_is_certain_makes_no_pair_twice_and_keeps_its_cap(name, rows, max_pairs, rng):
    pairing, traces = drawn(name, rows, max_pairs)
    found = pairing(group(*traces))
    baseline = certain(group(*traces), max_pairs=max_pairs)
    if isinstance(found, str):
        assert found == baseline or found.startswith("no_")
        return
    assert not isinstance(baseline, str) and 1 <= len(found) <= max_pairs
    assert all(c.verdict.outcome == "correct" and r.verdict.outcome == "incorrect" for c, r in found)
    assert len({(c.id, r.id) for c, r in found}) == len(found)
    if name in ("random", "length-matched", "shortest-wrong", "hardest", "near-miss"):
        assert len(found) == len(baseline)  # as many pairs, so that policies can be compared
    if name != "certain":  # whose order is the source's
        shuffled = traces[:]
        rng.shuffle(shuffled)
        assert pairing(group(*shuffled)) == found


@pytest.mark.parametrize("name", PAIRINGS)
def test_every_pairing_gives_pairs_of_the_group_or_a_reason(name):
    right = trace("r", "correct", llama_verification="correct", math_verify="correct")
    wrong = trace("w", "incorrect", llama_verification="incorrect", math_verify="incorrect")
    right, wrong = (
        dataclasses.replace(right, author="A"),
        dataclasses.replace(wrong, author="AB"[name == "cross-teacher"]),
    )
    tokens = {"_token_ids": {right.id: [1], wrong.id: [2]}} if name == "near-miss" else {}
    assert texts(PAIRINGS[name](group(right, wrong), **tokens, **asked(name))) == [("r", "w")]
    assert isinstance(PAIRINGS[name](group(), **tokens, **asked(name)), str)
