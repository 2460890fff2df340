"""Choosing among samples: every value by hand or by going through all subsets, and the laws that tie it to pass@k and pass@1."""

import itertools
import math
import random
from fractions import Fraction

import pytest

from redistill.config.tables import Plugin, ScorerSettings
from redistill.errors import OperatorError
from redistill.evaluate.choose import (
    AGGREGATES,
    CHOICES,
    bind_choices,
    choose_scores,
    label_of,
    scorers_of,
    value_of,
)
from redistill.evaluate.metrics import pass_at_1, pass_at_k
from redistill.evaluate.scores import score, score_choices
from redistill.evaluate.subsets import (
    MOST_SUBSETS,
    best_over_subsets,
    curve_points,
    weighted_over_subsets,
)
from redistill.records import DECIDED, FINAL, Group, Outcome, Span, Verdict, make_problem, make_trace

majority, best_of_n, weighted_majority = CHOICES["majority"], CHOICES["best-of-n"], CHOICES["weighted-majority"]


def sample(outcome, answer=None, *, scores=None, spans=None, tokens=None, text=""):
    number = next(COUNT)
    verdicts = {FINAL: Verdict(Outcome(outcome), answer)}
    fields = {"scores": scores or {}, "spans": spans or {}, "num_tokens": tokens}
    return make_trace("p", f"{text}{number}", verdicts=verdicts, sampling={"sample_index": number}, **fields)


COUNT = itertools.count()


def by_hand(samples, k, choose):
    """The mean over all subsets of k of (right, undecided), where `choose` lists equally likely picks of a subset: (right, undecided)."""
    right = undecided = Fraction(0)
    subsets = list(itertools.combinations(samples, k))
    for subset in subsets:
        picks = choose(subset)
        if not picks:
            undecided += 1
        for is_right, is_undecided in picks:
            right += Fraction(is_right) / len(picks)
            undecided += Fraction(is_undecided) / len(picks)
    return float(right / len(subsets)), float(undecided / len(subsets))


def judged(trace):
    return int(trace.verdict.outcome is Outcome.correct), int(trace.verdict.outcome not in DECIDED)


def voted(subset):
    """The answers with most votes among samples that have one."""
    counts = {}
    for trace in subset:
        if trace.verdict.extracted is not None:
            counts.setdefault(trace.verdict.extracted, []).append(trace)
    most = max(map(len, counts.values()), default=0)
    return [judged(traces[0]) for traces in counts.values() if len(traces) == most]


def scored(subset):
    known = [trace for trace in subset if "s" in trace.scores]
    best = max((trace.scores["s"] for trace in known), default=None)
    return [judged(trace) for trace in known if trace.scores["s"] == best]


def random_samples(seed, n=7):
    """Samples whose answers, outcomes and scores are drawn; an answer has one outcome, scores come more than once."""
    draw = random.Random(seed)
    outcome_of = {"4": "correct", "5": "incorrect", "6": "disagree", "7": "incorrect"}
    answers = [draw.choice([*outcome_of, None]) for _ in range(n)]
    scores = [draw.choice([{}, {"s": 0.1}, {"s": 0.5}, {"s": 0.9}]) for _ in range(n)]
    return [sample(outcome_of.get(a, "no_answer"), a, scores=s) for a, s in zip(answers, scores)]


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_a_majority_over_subsets_of_five_samples_by_hand():
    # answers 4 4 5 6 -, and 4 is right. k=1: 2/5 right, 1/5 nothing to choose. k=2, ten pairs: {4,4} and twice {4,-} right,
    # {4,5} and {4,6} twice each by half: 1 + 2 + 2 = 5 of 10. k=5: two votes against one and one: right.
    chosen = majority(
        [sample("correct", "4"), sample("incorrect", "5"), sample("correct", "4"), sample("no_answer"), sample("incorrect", "6")]
    )  # fmt: skip
    assert chosen.right[0] == 2 / 5 and chosen.undecided[0] == pytest.approx(1 / 5)
    assert chosen.right[1] == 1 / 2 and chosen.undecided[1] == 0
    # k=3, ten triples: 4 4 x (3) right; 4 5 6 (2) by a third; 4 5 - (2), 4 6 - (2) by half; 5 6 - (1) wrong: (3 + 2/3 + 2) / 10
    assert chosen.right[2] == pytest.approx((3 + 2 / 3 + 2) / 10)
    assert chosen.right[4] == 1.0


def test_the_best_of_three_by_a_score_by_hand():
    # the best sample is wrong, the second right, the third wrong: k=2 chooses the second only in {second, third}
    scores = [{"s": 3.0}, {"s": 2.0}, {"s": 1.0}]
    samples = [sample(o, "x", scores=s) for o, s in zip(["incorrect", "correct", "incorrect"], scores)]
    assert best_of_n(samples, by="s").right == [1 / 3, 1 / 3, 0.0]
    assert best_of_n(samples, by="s", best="lowest").right == [1 / 3, 1 / 3, 0.0]  # now the third is best


def test_a_tie_is_split_and_not_given_to_the_first():
    one, other = sample("correct", "4", scores={"s": 1.0}), sample("incorrect", "5", scores={"s": 1.0})
    for samples in ([one, other], [other, one]):
        assert majority(samples).right == [0.5, 0.5]
        assert best_of_n(samples, by="s").right == [0.5, 0.5]
        assert weighted_majority(samples, by="s").right == [0.5, 0.5]


def test_a_weighted_majority_by_hand():
    # 5 has two votes of .2, 4 one of .5: 4 wins wherever it is drawn. k=2: two of the three pairs
    samples = [
        sample("correct", "4", scores={"s": 0.5}),
        *(sample("incorrect", "5", scores={"s": 0.2}) for _ in range(2)),
    ]
    assert weighted_majority(samples, by="s").right == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert majority(samples).right == pytest.approx([1 / 3, 1 / 3, 0.0])


def test_the_shortest_answer_is_one_with_an_answer():
    samples = [sample("no_answer", tokens=1), sample("correct", "4", tokens=5), sample("incorrect", "5", tokens=9)]
    assert CHOICES["shortest"](samples).right[-1] == 1.0
    # of k=1 a third is right, a third wrong, and one draw holds nothing to choose from
    assert CHOICES["shortest"](samples).undecided[0] == pytest.approx(1 / 3)
    assert CHOICES["shortest"](samples, answered=False).right[-1] == 0.0


def test_confidence_is_the_highest_mean_log_prob():
    samples = [
        sample("incorrect", "5", scores={"mean_logprob": -0.9}),
        sample("correct", "4", scores={"mean_logprob": -0.1}),
    ]
    assert CHOICES["confidence"](samples).right == [0.5, 1.0]


def test_steps_become_a_number_by_their_least_product_last_or_mean():
    trace = sample("correct", "4", spans={"process": (Span(0, 1, 0.5), Span(1, 2, 0.25), Span(2, 3, 0.75))}, text="abc")
    found = {name: value_of(trace, "process", name) for name in AGGREGATES}
    assert found == {"min": 0.25, "product": 0.09375, "last": 0.75, "mean": 0.5}
    assert value_of(trace, "process", None) is None and value_of(trace, "other", "min") is None


# --- what could not be judged ----------------------------------------------------------------------------------------------


def test_a_chosen_answer_that_could_not_be_judged_is_undecided_and_not_wrong():
    samples = [sample("disagree", "7", scores={"s": 1.0}), sample("incorrect", "5", scores={"s": 0.0})]
    for chosen in (best_of_n(samples, by="s"), weighted_majority(samples, by="s")):
        assert chosen.right[-1] == 0.0 and chosen.undecided[-1] == 1.0


def test_a_cut_off_sample_does_not_vote():
    samples = [sample("truncated"), sample("truncated"), sample("correct", "4")]
    assert majority(samples).right == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert majority(samples).undecided == pytest.approx([2 / 3, 1 / 3, 0.0])


def test_an_answer_that_was_decided_on_one_sample_is_decided_on_all():
    samples = [sample("timeout", "4"), sample("correct", "4"), sample("incorrect", "5")]
    assert majority(samples).right[-1] == 1.0 and majority(samples).undecided[-1] == 0.0


def test_nothing_is_chosen_where_no_sample_has_the_score():
    samples = [sample("correct", "4"), sample("correct", "4", scores={"s": 1.0})]
    assert best_of_n(samples, by="s").right == [0.5, 1.0]
    assert best_of_n(samples, by="s").undecided == [0.5, 0.0]


def test_a_verifier_that_hides_the_answer_cannot_be_voted_on_and_says_so():
    samples = [sample("correct"), sample("incorrect", "5")]
    assert majority(samples) == "the verifier does not report the extracted answer"
    assert isinstance(weighted_majority(samples, by="s"), str)
    assert not isinstance(best_of_n(samples, by="s"), str)


# --- laws -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 16, 43])
def test_the_best_by_an_oracle_is_pass_at_k_to_the_bit(n):
    for correct in range(n + 1):
        samples = [sample("correct", "4", scores={"s": 1.0}) for _ in range(correct)]
        samples += [sample("incorrect", "5", scores={"s": 0.0}) for _ in range(n - correct)]
        assert best_of_n(samples, by="s").right == [pass_at_k(n, correct, k=k) for k in curve_points(n)]


@pytest.mark.parametrize("n", [1, 2, 5, 16, 43])
def test_the_best_by_a_constant_is_pass_at_1_to_the_bit(n):
    for correct in range(n + 1):
        outcomes = ["correct"] * correct + ["no_answer"] * (n - correct)
        samples = [sample(o, scores={"s": 0.3}) for o in outcomes]
        assert best_of_n(samples, by="s").right == [pass_at_1(samples)] * len(curve_points(n))


@pytest.mark.parametrize("seed", range(12))
def test_every_choice_is_the_mean_over_all_subsets(seed):
    samples = random_samples(seed)
    vote, best = majority(samples), best_of_n(samples, by="s")
    for place, k in enumerate(curve_points(len(samples))):
        assert (vote.right[place], vote.undecided[place]) == pytest.approx(by_hand(samples, k, voted))
        assert (best.right[place], best.undecided[place]) == pytest.approx(by_hand(samples, k, scored))


@pytest.mark.parametrize("seed", range(6))
def test_a_vote_of_equal_weights_is_a_majority(seed):
    samples = [
        make_trace("p", t.completion, verdicts=t.verdicts, scores={"s": 0.25}) for t in random_samples(seed, n=9)
    ]
    assert weighted_majority(samples, by="s") == majority(samples)
    number_of = [{"4": 0, "5": 1, "6": 2, "7": 3}.get(t.verdict.extracted, -1) for t in samples]
    ks = curve_points(len(samples))
    enumerated, _ = weighted_over_subsets(number_of, [0.25] * 9, [1, 0, 0, 0], ks=ks, seed=0)
    assert enumerated == pytest.approx(majority(samples).right)


def test_the_order_of_the_samples_changes_nothing():
    samples = random_samples(3, n=8)
    mixed = random.Random(0).sample(samples, len(samples))
    for name, options in (("majority", {}), ("best-of-n", {"by": "s"}), ("weighted-majority", {"by": "s"})):
        one, other = (CHOICES[name](some, **options) for some in (samples, mixed))
        assert one.right == pytest.approx(other.right) and one.undecided == pytest.approx(other.undecided)


def test_one_sample_is_every_choice():
    samples = [sample("correct", "4", scores={"s": 0.1, "mean_logprob": -1.0}, tokens=3)]
    for choice in bind_choices([Plugin(name=n, options={"by": "s"} if n in BY else {}) for n in CHOICES], "x").values():
        assert choice(samples).right == [1.0] and choice(samples).undecided == [0.0]


BY = ("best-of-n", "weighted-majority")


def test_a_majority_that_is_not_perfectly_known_counts_by_its_share():
    # the verifier called the answer 4 right on one sample and wrong on the other: right by half; against it one vote for 5
    samples = [sample("correct", "4"), sample("incorrect", "4"), sample("incorrect", "5")]
    assert majority(samples).right == pytest.approx([1 / 3, (0.5 + 0.25 + 0.25) / 3, 0.5])


def test_many_samples_are_drawn_from_and_the_error_is_as_said():
    # 40 samples, k=10: 847,660,528 subsets. All votes for 4 weigh 1, all for 5 weigh 2, half each: the winner follows how many of
    # each are drawn, a hypergeometric count
    n, k = 40, 10
    answer, weight = [0] * 20 + [1] * 20, [1.0] * 20 + [2.0] * 20
    chance = sum(
        math.comb(20, x) * math.comb(20, k - x) * (1.0 if x > 2 * (k - x) else 0.5 if x == 2 * (k - x) else 0.0)
        for x in range(k + 1)
    ) / math.comb(n, k)
    assert math.comb(n, k) > MOST_SUBSETS
    (found,), (variance,) = weighted_over_subsets(answer, weight, [1, 0], ks=[k], seed=5)
    assert variance > 0 and abs(found - chance) < 4 * math.sqrt(variance)
    assert weighted_over_subsets(answer, weight, [1, 0], ks=[k], seed=5) == ([found], [variance])


def test_large_curves_are_measured_at_doublings():
    assert curve_points(4) == [1, 2, 3, 4]
    assert curve_points(200) == [*range(1, 33), 64, 128, 200]
    assert curve_points(64)[-2:] == [32, 64]


def test_large_numbers_stay_exact():
    assert best_over_subsets([1.0] + [0.0] * 2999, [1] + [0] * 2999, [1500]) == [0.5]


# --- a benchmark -------------------------------------------------------------------------------------------------------------


def table(*rows):
    """{id: samples}; a row is the outcomes of one problem's samples, all with the score 1 where correct."""
    found = {}
    for place, row in enumerate(rows):
        found[f"p{place}"] = [sample(o, a, scores={"s": float(o == "correct")}) for o, a in row]
    return found


RIGHT, WRONG, OTHER = ("correct", "4"), ("incorrect", "5"), ("incorrect", "6")


def test_a_benchmark_has_a_curve_an_interval_and_a_paired_difference_for_each_choice():
    problems = table(*[[RIGHT, WRONG, OTHER]] * 6, *[[RIGHT, RIGHT, WRONG]] * 2)
    found = choose_scores(
        problems, bind_choices([Plugin(name="majority"), Plugin(name="best-of-n", options={"by": "s"})], "x")
    )
    oracle = found["choose"]["best-of-n (by s)"]
    assert [point["value"] for point in oracle["curve"].values()] == pytest.approx(
        [sum(pass_at_k(3, c, k=k) for c in [1] * 6 + [2] * 2) / 8 for k in (1, 2, 3)]
    )
    low, high = oracle["curve"]["2"]["interval95"]
    assert low < oracle["curve"]["2"]["value"] < high and oracle["curve"]["2"]["monte_carlo_error"] is None
    # pass@1 is (6 * 1/3 + 2 * 2/3) / 8 = 5/12; the oracle is right on all; the vote on 6 * 1/3 + 2 = 4 of 8
    assert (
        oracle["against_pass_at_1"]["difference"] == pytest.approx(7 / 12) and oracle["against_pass_at_1"]["is_claimed"]
    )
    assert oracle["against_majority"]["difference"] == pytest.approx(1 / 2)
    assert oracle["against_majority"]["sentence"].startswith("best-of-n (by s) is above majority by 50.0 points")
    assert "against_majority" not in found["choose"]["majority"]
    assert found["per_problem_choose"]["majority"] == pytest.approx(
        {f"p{i}": 1 / 3 if i < 6 else 1.0 for i in range(8)}
    )


def test_a_name_of_steps_without_an_aggregate_is_chosen_by_all_four():
    spans = {"process": (Span(0, 1, 0.5), Span(1, 2, 0.25))}
    problems = {"p0": [sample("correct", "4", spans=spans, text="ab")]}
    found = choose_scores(problems, bind_choices([Plugin(name="best-of-n", options={"by": "process"})], "x"))
    assert list(found["choose"]) == [f"best-of-n (by process, aggregate {name})" for name in AGGREGATES]


def test_a_scorer_that_also_gives_a_score_of_its_own_is_chosen_by_that_too():
    spans = {"process": (Span(0, 1, 0.5), Span(1, 2, 0.25))}
    problems = {"p0": [sample("correct", "4", spans=spans, scores={"process": 0.4}, text="ab")]}
    found = choose_scores(problems, bind_choices([Plugin(name="best-of-n", options={"by": "process"})], "x"))
    assert next(iter(found["choose"])) == "best-of-n (by process)" and len(found["choose"]) == 5


PRM = {"name": "process", "model": "runs/prm", "into": "prm"}


def test_a_scorer_is_written_out_or_named_by_what_it_writes():
    known = [ScorerSettings.model_validate(one) for one in ("perplexity", PRM)]
    by = [PRM, "prm_mean", "perplexity", "mean_logprob", "premium"]
    choices = [Plugin(name="best-of-n", options={"by": one}) for one in by]
    assert [s.folder for s in scorers_of(choices, known)] == ["prm", "perplexity"]
    assert label_of(choices[0]) == "best-of-n (by prm)"
    assert scorers_of([Plugin(name="majority")], known) == []


def test_two_scorers_of_one_name_and_a_table_that_is_none_are_a_sentence_each():
    choices = [Plugin(name="best-of-n", options={"by": one}) for one in (PRM, {**PRM, "model": "runs/other"})]
    with pytest.raises(OperatorError, match=r"two scorers write prm; give one of them an `into`"):
        scorers_of(choices)
    with pytest.raises(OperatorError, match=r"evaluate\.choose: by: .*name"):
        bind_choices([Plugin(name="best-of-n", options={"by": {"model": "x"}})], "evaluate.choose")


def test_a_choice_that_cannot_be_made_says_why_and_the_others_are_made():
    problems = table([RIGHT, WRONG])
    wanted = [Plugin(name="best-of-n", options={"by": "proces"}), Plugin(name="confidence"), Plugin(name="majority")]
    found = choose_scores(problems, bind_choices(wanted, "x"))["choose"]
    assert found["best-of-n (by proces)"] == {"why": "no sample has a score 'proces'; there are s"}
    assert "mean_logprob" in found["confidence"]["why"]
    assert found["majority"]["curve"]["2"]["value"] == 0.5


def test_weights_below_0_are_refused_with_what_to_write():
    samples = [sample("correct", "4", scores={"s": -0.5}), sample("incorrect", "5", scores={"s": -2.0})]
    assert "write weight: exp" in weighted_majority(samples, by="s")
    assert weighted_majority(samples, by="s", weight="exp").right == [0.5, 1.0]


def test_two_equal_choices_and_an_unknown_one_are_one_sentence_each():
    with pytest.raises(OperatorError, match=r"evaluate\.choose: majority is listed twice"):
        bind_choices([Plugin(name="majority"), Plugin(name="majority")], "evaluate.choose")
    with pytest.raises(OperatorError, match=r"evaluate\.choose: there is no 'majorty'.*majority"):
        bind_choices([Plugin(name="majorty")], "evaluate.choose")
    assert label_of(Plugin(name="best-of-n", options={"by": "s", "best": "lowest"})) == "best-of-n (by s, best lowest)"


def test_scores_hold_the_choices_beside_pass_at_k():
    problem = make_problem("2+2?", answer="4")
    traces = [
        make_trace(problem.id, f"{i}", sampling={"sample_index": i}, verdicts={FINAL: Verdict(Outcome(o), a)})
        for i, (o, a) in enumerate([RIGHT, WRONG, RIGHT])
    ]
    groups = [Group(problem, tuple(traces))]
    choices = bind_choices([Plugin(name="majority")], "x")
    found = score(groups, n=3, choices=choices)
    alone = {name: found[name] for name in ("choose", "per_problem_choose")}
    assert score_choices(groups, n=3, choices=choices) == alone
    assert found["choose"]["majority"]["curve"]["3"]["value"] == 1.0
    assert "choose" not in score(groups, n=3)
