"""Which problems and traces stay: by hand, against a plain sort, and with books that balance."""

import random
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fuzzing import drawn
from redistill.config.tables import KeepSettings, SampleSettings
from redistill.io.executors import LocalProcesses
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.records import FINAL, Group, Outcome, Ranked, Verdict, make_problem, make_trace
from redistill.select.filters import Side, score
from redistill.select.keep import Choice, balance, cuts_of, find_cuts, value_of
from redistill.select.pairing import all_capped, best_against_worst, certain
from redistill.select.ranking import rank_pairs_shard, rank_shard, with_cuts
from redistill.select.stage import select_shard
from redistill.select.task import BoundFilter, SelectTask


def group(number, *traces, source="s", metadata=None, answer="4"):
    """Problem `number` with a trace for each (outcome, {score: value}); text t0, t1, ..."""
    problem = make_problem(f"Q{number}", answer=answer, source=source, metadata=metadata)
    made = (
        make_trace(problem.id, f"t{i}", scores=scores, verdicts={FINAL: Verdict(Outcome(outcome))})
        for i, (outcome, scores) in enumerate(traces)
    )
    return Group(problem, tuple(made))


def right(**scores):
    return ("correct", scores)


def wrong(**scores):
    return ("incorrect", scores)


SHARED = {
    "render": lambda problem: problem.statement,
    "encode": lambda texts: [[1]] * len(texts),
    "is_dev": lambda problem: False,
}


def choose(groups, *, keep=None, sample=None, balance_pairs=None, seed=0, examples="all", filters=(), shards=1):
    """The selected shards, after all passes."""
    choice = Choice(
        None if sample is None else SampleSettings(**sample), None if keep is None else KeepSettings(**keep), seed
    )
    pairing = certain if balance_pairs is None else all_capped
    task = SelectTask(**SHARED, pairing=pairing, examples=examples, bound_filters=filters, choice=choice)
    parts = [groups[i::shards] for i in range(shards)]
    ranked = [row for part in parts for row in rank_shard(part, task).records["ranked"][1]]
    task = replace(task, choice=replace(find_cuts(choice, lambda: ranked), balance_pairs=balance_pairs))
    if balance_pairs is not None:
        more_rows = [rank_pairs_shard(part, task).records["ranked"][1] for part in parts]
        task = replace(task, choice=balance(task.choice, lambda: chain.from_iterable(more_rows)))
    return [select_shard(part, task) for part in parts]


def rows(shards, stream="examples"):
    return [row for shard in shards for row in shard.records[stream][1]]


def kept(shards):
    return sorted((row.problem_id, row.completion) for row in rows(shards))


def dropped(shards, account="examples"):
    found = Counter()
    for shard in shards:
        shard.accounts[account].check(account)
        found.update(shard.accounts[account].dropped)
    return dict(found)


def named(groups, *wanted):
    """(problem id, completion) of (problem number, trace number)."""
    return sorted((groups[p].problem.id, f"t{t}") for p, t in wanted)


# --- keep -------------------------------------------------------------------------------------------------------------

GROUPS = [
    group(0, right(q=0.9), right(q=0.2), wrong(q=1.0)),
    group(1, right(q=0.5), wrong(q=0.1), source="other"),
    group(2, right(), right(q=0.7)),
]


def test_the_top_of_the_corpus_is_taken_among_right_traces():
    shards = choose(GROUPS, keep={"by": "q", "top": 2})
    assert kept(shards) == named(GROUPS, (0, 0), (2, 1))
    assert dropped(shards) == {"not_in_top": 2, "no_score": 1, "not_correct:incorrect": 2}
    # the wrong trace of problem 0 is still rejected; problem 1 has lost its only right one
    assert [(p.chosen, p.rejected) for p in rows(shards, "pairs")] == [("t0", "t2")]
    assert dropped(shards, "pairs") == {"not_in_top": 1, "no_incorrect_trace": 1}


def test_a_share_is_rounded_up_and_lowest_may_be_best():
    assert kept(choose(GROUPS, keep={"by": "q", "share": 0.26})) == named(GROUPS, (0, 0), (2, 1))  # 1.04 of 4
    assert kept(choose(GROUPS, keep={"by": "q", "share": 0.25, "best": "lowest"})) == named(GROUPS, (0, 1))
    assert len(kept(choose(GROUPS, keep={"by": "q", "share": 1.0}))) == 4


def test_per_problem_and_per_source():
    assert kept(choose(GROUPS, keep={"by": "q", "top": 1, "per": "problem"})) == named(GROUPS, (0, 0), (1, 0), (2, 1))
    assert kept(choose(GROUPS, keep={"by": "q", "top": 1, "per": "source"})) == named(GROUPS, (0, 0), (1, 0))


def test_at_least_so_much_needs_no_rank():
    shards = choose(GROUPS, keep={"by": "q", "least": 0.5})
    assert kept(shards) == named(GROUPS, (0, 0), (1, 0), (2, 1))
    assert dropped(shards) == {"below_least": 1, "no_score": 1, "not_correct:incorrect": 2}


def test_what_a_filter_drops_takes_no_place():
    not_best = BoundFilter(
        lambda side: "best" if side.trace.scores.get("q") == 0.9 else None, frozenset({"completion"})
    )
    shards = choose(GROUPS, keep={"by": "q", "top": 2}, filters=[not_best])
    assert kept(shards) == named(GROUPS, (1, 0), (2, 1))


def test_the_first_or_the_last_right_trace_is_what_is_ranked():
    assert kept(choose(GROUPS, keep={"by": "q", "top": 1}, examples="last")) == named(GROUPS, (2, 1))
    assert kept(choose(GROUPS, examples="last")) == named(GROUPS, (0, 1), (1, 0), (2, 1))
    assert dropped(choose(GROUPS, examples="last"))["not_the_last_correct"] == 2


SCORES = st.sampled_from([0.0, -0.0, 1.0, 0.25, -3.5, 1e-300, float("inf"), float("nan")]) | st.floats()


@drawn(60)
@given(
    groups=st.lists(st.lists(SCORES | st.none(), max_size=4), min_size=1, max_size=8),
    top=st.integers(1, 12),
    shards=st.integers(1, 3),
    order=st.randoms(use_true_random=False),
    best=st.sampled_from(["highest", "lowest"]),
)
def test_the_top_is_what_a_plain_sort_finds_whatever_the_order_and_the_shards(groups, top, shards, order, best):
    made = [
        group(i, *(right() if value is None else right(q=value) for value in values)) for i, values in enumerate(groups)
    ]
    shards_ = choose(made, keep={"by": "q", "top": top, "best": best}, shards=shards)
    dropped(shards_)
    scored = [t.scores["q"] for g in made for t in g.traces if t.scores.get("q", float("nan")) == t.scores.get("q")]
    wanted = sorted(scored, reverse=best == "highest")[:top]
    found = kept(shards_)
    by_id = {(g.problem.id, t.completion): t.scores.get("q") for g in made for t in g.traces}
    assert sorted(by_id[key] for key in found) == sorted(wanted)
    order.shuffle(made)
    assert kept(choose(made, keep={"by": "q", "top": top, "best": best}, shards=1)) == found


def test_ties_go_by_the_seed():
    tied = [group(i, right(q=1.0)) for i in range(40)]
    chosen = [tuple(kept(choose(tied, keep={"by": "q", "top": 20}, seed=seed))) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2] and all(len(ids) == 20 for ids in chosen)


@drawn(60)
@given(
    keys=st.dictionaries(st.sampled_from("abc"), st.sets(st.integers(0, 2**128 - 1) | st.integers(0, 9))),
    wanted=st.integers(0, 8),
)
def test_a_cut_lets_through_the_smallest_keys(keys, wanted):
    cuts = cuts_of(lambda: [(s, k) for s, found in keys.items() for k in found], lambda count: min(count, wanted))
    for scope, found in keys.items():
        through = [k for k in found if scope not in cuts or k <= cuts[scope]]
        assert sorted(through) == sorted(found)[:wanted]


def test_cuts_hold_a_few_counters_however_many_keys_there_are():
    """The keys are drawn anew in each pass, so nothing but counters of one digit is held: at most 2**16 per scope."""
    passes = []

    def keys():
        passes.append(0)
        drawn_ = random.Random(0)
        return ((str(i % 2), drawn_.getrandbits(128)) for i in range(20_000))

    cuts = cuts_of(keys, lambda count: 100)
    expected = sorted(k for s, k in keys() if s == "0")
    assert sum(k <= cuts["0"] for k in expected) == 100 and len(passes) - 1 <= 4


# --- sample -----------------------------------------------------------------------------------------------------------


def labelled(count, **shares):
    """`count` problems a label, each label in the metadata."""
    return [group(f"{name}{i}", right(), wrong(), metadata={"level": name}) for name in shares for i in range(count)]


def test_a_rate_keeps_about_its_share_and_a_larger_rate_keeps_more_of_the_same():
    groups = labelled(400, easy=1, hard=1)
    half, most = (
        {row.problem_id for row in rows(choose(groups, sample={"by": "level", "keep": {"easy": rate}}))}
        for rate in (0.3, 0.6)
    )
    assert half < most
    # 120 of 400 expected, standard deviation 9.2: within four of them; all 400 of the value that is not named
    assert 400 + 83 <= len(half) <= 400 + 157
    shards = choose(groups, sample={"by": "level", "keep": {"easy": 0.0, "hard": 1.0}})
    assert dropped(shards) == {"not_in_sample": 400, "not_correct:incorrect": 800} and len(rows(shards)) == 400
    assert dropped(shards, "pairs") == {"not_in_sample": 400}


def test_balanced_keeps_the_same_number_of_each_value_counting_problems_with_an_example():
    groups = [
        *(group(f"y{i}", right(), answer="Yes") for i in range(9)),
        *(group(f"n{i}", right(), answer="No") for i in range(4)),
        *(group(f"w{i}", wrong(), answer="No") for i in range(5)),  # no example comes of these
    ]
    shards = choose(groups, sample={"by": "answer", "keep": "balanced"}, shards=3)
    ids = {row.problem_id for row in rows(shards)}
    assert Counter(g.problem.answer for g in groups if g.problem.id in ids) == {"Yes": 4, "No": 4}
    assert kept(choose(groups, sample={"by": "answer", "keep": "balanced"})) == kept(shards)


def sides(shards):
    return {(p.problem_id, p.chosen_id, p.rejected_id) for shard in shards for p in shard.records["pairs"][1]}


def test_pairs_are_balanced_by_their_number_and_not_by_problems():
    groups = [
        *(group(f"y{i}", right(), wrong(), wrong(), answer="Yes") for i in range(3)),  # six pairs
        *(group(f"n{i}", right(), wrong(), answer="No") for i in range(4)),  # four pairs
        *(group(f"r{i}", right(), answer="No") for i in range(9)),  # none
    ]
    answers = {g.problem.id: g.problem.answer for g in groups}
    shards = choose(groups, balance_pairs="answer", shards=3)
    pairs = [pair for shard in shards for pair in shard.records["pairs"][1]]
    assert Counter(answers[pair.problem_id] for pair in pairs) == {"Yes": 4, "No": 4}
    assert len(rows(shards)) == 16  # examples stay
    account = [shard.accounts["pairs"] for shard in shards]
    assert sum(a.came_in for a in account) == 16 == sum(a.kept + sum(a.dropped.values()) for a in account)
    again = choose(groups[::-1], balance_pairs="answer", shards=2)
    assert sides(again) == sides(shards)
    assert sides(choose(groups, balance_pairs="answer", seed=1)) != sides(shards)


def test_pairs_whose_problem_lacks_the_value_are_counted():
    groups = [group("a", right(), wrong(), metadata={"level": 1}), group("b", right(), wrong())]
    shards = choose(groups, balance_pairs="level")
    assert dropped(shards, "pairs") == {"no_score": 1}


def test_values_that_a_sample_names_are_counted_and_some_others():
    shards = choose(GROUPS, sample={"by": "source", "keep": {"nowhere": 0.5}})
    counts = sum((shard.tallies["sampled_values"] for shard in shards), Counter())
    assert sum(counts.values()) == len(GROUPS) and "nowhere" not in counts
    plain = choose(GROUPS, sample={"by": "difficulty", "least": 0})
    assert all("sampled_values" not in shard.tallies for shard in plain)


def test_keep_ranks_what_the_sample_leaves():
    groups = [group(f"y{i}", right(q=float(i)), answer="Yes") for i in range(9)] + [
        group("n", right(q=-1.0), answer="No")
    ]
    shards = choose(groups, sample={"by": "answer", "keep": "balanced"}, keep={"by": "q", "top": 2})
    assert len(rows(shards)) == 2 and dropped(shards) == {"not_in_sample": 8}


def test_difficulty_between_bounds_and_unsolved_problems():
    groups = [group(i, right(difficulty=float(i)), right(difficulty=float(i))) for i in (1, 5, 6, 51)]
    last = groups[-1]
    groups[-1] = replace(last, traces=tuple(replace(t, notes={"unsolved": "after 50"}) for t in last.traces))
    shards = choose(groups, sample={"by": "difficulty", "least": 6})
    assert len(rows(shards)) == 4 and dropped(shards) == {"below_least": 4}
    shards = choose(groups, sample={"by": "difficulty", "least": 6, "unsolved": "drop"})
    assert len(rows(shards)) == 2 and dropped(shards) == {"below_least": 4, "unsolved": 2}
    assert dropped(choose(groups, sample={"by": "difficulty", "most": 5})) == {"above_most": 4}
    assert dropped(choose(GROUPS, sample={"by": "difficulty", "least": 0}))["no_score"] == 5


def test_numbers_fall_into_bins_whose_lower_edge_is_theirs():
    groups = [group(i, right(rate=rate)) for i, rate in enumerate([0.0, 0.2, 0.25, 0.6, 0.75, 1.0])]
    sample = SampleSettings(by="rate", bins=[0.25, 0.75], keep="balanced")
    values = [Choice(sample, None, 0).value(one) for one in groups]
    assert values == ["below 0.25"] * 2 + ["0.25 to 0.75"] * 2 + ["0.75 or more"] * 2
    assert Choice(sample, None, 0).value(group(9, right())) is None
    none_easy = {"by": "rate", "bins": [0.25, 0.75], "keep": {"0.75 or more": 0}, "least": 0.2}
    assert kept(choose(groups, sample=none_easy)) == named(groups, (1, 0), (2, 0), (3, 0))  # least is of the number


def test_problems_of_the_sample_are_listed_with_and_without_a_right_trace():
    groups = [group(i, right(d=i), wrong(d=i)) if i % 2 else group(i, wrong(d=i)) for i in range(6)]
    shards = choose(groups, sample={"by": "d", "least": 3}, shards=2)
    assert {p.id for p in rows(shards, "problems")} == {groups[i].problem.id for i in (3, 4, 5)}
    assert dropped(shards, "problems") == {"below_least": 3}
    assert "problems" not in choose(groups)[0].records


def test_repeated_rows_are_written_often_and_counted_once():
    groups = labelled(2, easy=1, hard=1)
    shards = choose(groups, sample={"by": "level", "repeat": {"hard": 3}})
    assert Counter(row.problem_id for row in rows(shards)) == {g.problem.id: 1 if g.problem.metadata["level"] == "easy" else 3 for g in groups}  # fmt: skip
    assert len(rows(shards, "pairs")) == 8
    assert shards[0].accounts["examples"].kept == 4 and shards[0].tallies["repeated"] == {"hard": 4}


def test_a_problem_has_the_value_of_its_traces_or_its_own():
    with_notes = [make_trace("p", str(i), notes={"label": name}) for i, name in enumerate(["hard", "easy", "easy"])]
    assert value_of(Group(make_problem("Q"), tuple(with_notes)), "label") == "easy"
    assert value_of(group(1, right(d=2.0), wrong(d=3.0)), "d") == "2.5"
    assert value_of(group(1, right(d=6.0), wrong()), "d") == "6"
    assert value_of(group(1, metadata={"level": 3}), "level") == "3"
    assert (value_of(group(1, answer="Yes"), "answer"), value_of(group(1), "level")) == ("Yes", None)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (partial(KeepSettings, by="q"), "write one of `top`, `share` and `least`"),
        (partial(KeepSettings, by="q", top=1, share=0.5), "write one of `top`, `share` and `least`"),
        (partial(KeepSettings, by="q", least=1, per="problem"), "no effect with `least`"),
        (partial(SampleSettings, by="q"), "write `keep`, `least`, `most`, `repeat` or `unsolved: drop`"),
        (partial(SampleSettings, by="q", keep={True: 0.5}), "quote true and false"),
        (partial(SampleSettings, by="q", bins=[1.0], least=1), "`bins` has no effect without"),
        (partial(SampleSettings, by="q", bins=[2, 1], keep="balanced"), "edges of `bins` must increase"),
        (
            partial(SampleSettings, by="q", bins=[1], keep={"below 2": 0.5}),
            "no bin 'below 2'; the bins are \"below 1\"",
        ),
        (partial(SampleSettings, by="q", keep={"a": 1.5}), "less than or equal to 1"),
    ],
)
def test_settings_without_sense_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        settings()


def test_whole_numbers_name_values():
    assert SampleSettings(by="d", keep={1: 0.5, 2.0: 0.1}).keep == {"1": 0.5, "2": 0.1}


# --- the two passes on disk -------------------------------------------------------------------------------------------


def test_the_first_pass_is_made_once_and_its_cuts_are_those_of_all_shards(tmp_path):
    before = StageFolder(tmp_path / "verify", "v")
    before.open()
    made = [group(i, right(q=float(i)), wrong()) for i in range(12)]
    for index in range(3):
        before.finish_shard(index, Shard({"groups": (Group, made[index::3])}, {"traces": Account("trace")}))
    before.finish(3)
    stage_dir = StageFolder(tmp_path / "select", "s")
    task = SelectTask(**SHARED, pairing=certain, choice=Choice(None, KeepSettings(by="q", top=5), 0))
    found = with_cuts(task, stage_dir, before, LocalProcesses(1))
    shards = [select_shard(made[i::3], found) for i in range(3)]
    assert kept(shards) == named(made, *((i, 0) for i in range(7, 12)))
    ranked = list(StageFolder(stage_dir.folder / "ranked", "s").read("ranked"))
    assert len(ranked) == 12 and isinstance(ranked[0], Ranked)

    def again(texts):
        raise AssertionError("the first pass is there")

    task = replace(task, encode=again)
    assert with_cuts(task, stage_dir, before, LocalProcesses(1)).choice == found.choice
    uncut = replace(task, choice=Choice(None, None, 0))
    assert with_cuts(uncut, stage_dir, before, LocalProcesses(1)) is uncut


# --- by a score: the filter and the pairing ---------------------------------------------------------------------------


def test_the_filter_score():
    one = group(0, right(q=0.5))
    side = Side("rejected", one, one.traces[0], 1, 1)
    assert score(side, by="q") is None
    assert score(side, by="q", least=0.6) == "rejected_score_too_low"
    assert score(side, by="q", most=0.4) == "rejected_score_too_high"
    assert score(side, by="p") == "rejected_no_score"


def test_best_against_worst():
    one = group(0, right(q=0.2), right(q=0.9), right(), wrong(q=0.8), wrong(q=0.1), wrong())

    def made(**options):
        found = best_against_worst(one, by="q", **options)
        return found if isinstance(found, str) else [(a.completion, b.completion) for a, b in found]

    assert made() == [("t1", "t4")]
    assert made(rejected="best") == [("t1", "t3")]  # fluent but wrong
    assert made(best="lowest") == [("t0", "t3")]
    assert made(max_pairs=2) == [("t1", "t4"), ("t0", "t3")]
    assert best_against_worst(group(0, right(), wrong(q=1.0)), by="q") == "no_score"
    assert best_against_worst(group(0, right(q=1.0)), by="q") == "no_incorrect_trace"
