"""One shard of groups -> examples, pairs, dev, and books that balance."""

import inspect
import zlib
from functools import partial

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redistill.config.parsing import parse_recipe
from redistill.config.tables import PARTS
from redistill.io.stage_folder import Shard, StageFolder
from redistill.records import (
    FINAL,
    Example,
    Group,
    Image,
    Outcome,
    Pair,
    Span,
    Verdict,
    make_problem,
    make_trace,
)
from redistill.select import explain_empty
from redistill.select.bind import bind_pairings
from redistill.select.filters import completion_length, prompt_length, repetition
from redistill.select.pairing import PAIRINGS, certain, near_miss
from redistill.select.pairing import random as random_pairing
from redistill.select.stage import select_shard, sides_against_labels
from redistill.select.task import BoundFilter, SelectTask
from redistill.text.prompts import TEMPLATES, render
from tiny_recipe import RECIPE

ALL = frozenset(PARTS)


def group(number, *outcomes, answer="4", words=3):
    """Problem `number` with one trace an outcome: `words` words each, or as many as the outcome says ("correct:7"); one
    that its length limit cut says so ("correct:7:cut"). Trace i is by teacher i."""
    problem = make_problem(f"Question {number}", answer=answer)
    traces = []
    for i, spec in enumerate(outcomes):
        outcome, length, end = [*spec.split(":"), "", ""][:3]
        text = " ".join([f"t{i}"] + ["word"] * (int(length or words) - 1))
        finish = "length" if end == "cut" else "stop"
        verdicts = {FINAL: Verdict(Outcome(outcome))}
        traces.append(make_trace(problem.id, text, author=f"a{i}", finish_reason=finish, verdicts=verdicts))
    return Group(problem, tuple(traces))


def encode_words(texts):
    """One token a word: a number of its letters."""
    return [[zlib.crc32(word.encode()) % 10**6 for word in text.split()] for text in texts]


def select(groups, dev=(), pairing=certain, most=None, most_prompt=None, bound_filters=(), **options):
    """The stage with words for tokens; problems whose ids are in `dev` are held out; `most` tokens a completion."""
    lengths = [
        BoundFilter(partial(prompt_length, most=most_prompt), ALL),
        BoundFilter(partial(completion_length, most=most), ALL),
    ]
    return select_shard(
        groups,
        SelectTask(
            render=lambda p: render(p, TEMPLATES["bare"]),
            encode=encode_words,
            is_dev=lambda problem: problem.id in dev,
            pairing=pairing,
            bound_filters=[*lengths, *bound_filters],
            **options,
        ),
    )


def records(shard: Shard, stream):
    return list(shard.records[stream][1])


def reasons(shard: Shard, account):
    return dict(shard.accounts[account].dropped)


def test_right_traces_become_examples_and_the_rest_leaves_its_outcome():
    shard = select([group(1, "correct", "incorrect", "correct", "timeout")])
    assert [e.completion[:2] for e in records(shard, "examples")] == ["t0", "t2"]
    assert reasons(shard, "examples") == {"not_correct:incorrect": 1, "not_correct:timeout": 1}
    assert [(p.chosen[:2], p.rejected[:2]) for p in records(shard, "pairs")] == [("t0", "t1")]


def test_a_problem_without_traces_gives_no_pair_and_may_be_held_out():
    alone, held_out, usual = (
        Group(make_problem("Alone", answer="1"), ()),
        Group(make_problem("Dev", answer="2"), ()),
        group(1, "correct", "incorrect"),
    )
    for pairing in (certain, near_miss, random_pairing):
        shard = select(
            [alone, held_out, usual], dev={held_out.problem.id}, pairing=pairing, policies={"certain": certain}
        )
        assert (
            reasons(shard, "pairs") == {"no_correct_trace": 1, "held_out_for_dev": 1}
            and len(records(shard, "pairs")) == 1
        )
        assert records(shard, "dev") == [held_out.problem]
        assert [len(group.traces) for group in records(shard, "groups")] == [0, 0, 2]


def test_spans_notes_pictures_and_scores_go_through_select():
    problem = make_problem("Q", answer="4", images=(Image("a.png", "0" * 64),), metadata={"k": 1})
    fields = {
        "spans": {"steps": (Span(0, 2, 1.0),)},
        "notes": {"critic": "x"},
        "verdicts": {FINAL: Verdict(Outcome.correct, score=0.5)},
    }
    (kept,) = records(select([Group(problem, (make_trace(problem.id, "t0 word", **fields),))]), "groups")
    assert kept.problem == problem and {name: getattr(kept.traces[0], name) for name in fields} == fields


def test_first_keeps_one_example_a_problem_as_the_paper_does():
    shard = select([group(1, "incorrect", "correct", "correct")], examples="first")
    assert [e.completion[:2] for e in records(shard, "examples")] == ["t1"]
    assert reasons(shard, "examples") == {"not_correct:incorrect": 1, "not_the_first_correct": 1}


@pytest.mark.parametrize(("examples", "taken"), [("all", ["t1", "t3"]), ("first", ["t1"])])
def test_a_right_trace_that_was_cut_is_no_example_and_not_the_first(examples, taken):
    """Its answer stands before the cut, and then it stops in the middle: the student would learn to stop there."""
    shard = select([group(1, "correct:3:cut", "correct", "incorrect:3:cut", "correct")], examples=examples)
    assert [e.completion[:2] for e in records(shard, "examples")] == taken
    others = {"not_the_first_correct": 1} if examples == "first" else {}
    assert reasons(shard, "examples") == {"truncated": 1, "not_correct:incorrect": 1, **others}
    assert {d.id: d.reason for d in shard.dropped}[group(1, "correct:3").traces[0].id] == "truncated"


@pytest.mark.parametrize(("examples", "taken"), [("all", ["t0", "t1", "t3"]), ("first", ["t0"])])
def test_a_right_trace_that_was_cut_is_an_example_where_the_recipe_keeps_it(examples, taken):
    shard = select(
        [group(1, "correct:3:cut", "correct", "incorrect:3:cut", "correct")], examples=examples, keep_truncated=True
    )
    assert [e.completion[:2] for e in records(shard, "examples")] == taken
    others = {"not_the_first_correct": 2} if examples == "first" else {}
    assert reasons(shard, "examples") == {"not_correct:incorrect": 1, **others}


@pytest.mark.parametrize(
    ("written", "own", "others", "paper"),
    [({}, False, False, True), ({"truncated_correct": "keep"}, True, True, True),
     ({"pairing": "redi-paper"}, True, True, True), ({"pairing": "redi-paper", "truncated_correct": "drop"}, False, False, False)],
)  # fmt: skip
def test_pairings_are_told_what_the_recipe_says_of_right_traces_that_were_cut(written, own, others, paper):
    recipe = parse_recipe({**RECIPE, "select": written}, "x")
    pairings = bind_pairings(recipe)

    def keeps(name):
        default = inspect.signature(PAIRINGS[name]).parameters["_keep_truncated"].default
        return pairings[name].keywords.get("_keep_truncated", default)

    assert keeps(recipe.select.pairing.name) is own and keeps("random") is others and keeps("redi-paper") is paper
    again = parse_recipe(recipe.model_dump(mode="json"), "again").select
    assert again == recipe.select and again.truncated_correct == ("keep" if own else "drop")


def test_a_problem_whose_right_traces_were_all_cut_gives_no_example():
    for examples in ("all", "first"):
        shard = select([group(1, "correct:3:cut", "correct:9:cut")], examples=examples)
        assert records(shard, "examples") == [] and reasons(shard, "examples") == {"truncated": 2}


def test_a_held_out_problem_is_neither_example_nor_pair_and_goes_to_dev_when_it_can_be_graded():
    kept, gone, goldless = (
        group(1, "correct", "incorrect"),
        group(2, "correct", "incorrect"),
        group(3, "ungradable", answer=None),
    )
    shard = select([kept, gone, goldless], dev={gone.problem.id, goldless.problem.id})
    assert {e.problem_id for e in records(shard, "examples")} == {kept.problem.id}
    assert {p.problem_id for p in records(shard, "pairs")} == {kept.problem.id}
    assert records(shard, "dev") == [gone.problem]
    assert reasons(shard, "examples") == {"not_correct:incorrect": 1, "held_out_for_dev": 3}
    assert reasons(shard, "pairs") == {"held_out_for_dev": 2}
    assert reasons(shard, "dev") == {"ungradable": 1}


def test_a_completion_is_measured_with_its_end_of_turn_token():
    # 9 words and the end-of-turn token are 10 tokens; 10 words are 11
    groups = [
        group(1, "correct:9", "incorrect:9"),
        group(2, "correct:10", "incorrect:9"),
        group(3, "correct:9", "incorrect:10"),
    ]
    shard = select(groups, most=10)
    assert [e.problem_id for e in records(shard, "examples")] == [groups[0].problem.id, groups[2].problem.id]
    assert reasons(shard, "examples") == {"not_correct:incorrect": 3, "completion_too_long": 1}
    assert [p.problem_id for p in records(shard, "pairs")] == [groups[0].problem.id]
    assert reasons(shard, "pairs") == {"chosen_too_long": 1, "rejected_too_long": 1}


def test_a_long_prompt_drops_the_examples_and_the_pair():
    shard = select([group(1, "correct", "incorrect")], most_prompt=1)  # "Question 1" is two words
    assert reasons(shard, "examples") == {"not_correct:incorrect": 1, "prompt_too_long": 1}
    assert reasons(shard, "pairs") == {"prompt_too_long": 1}


@pytest.mark.parametrize("wrong", [("incorrect:5", "incorrect:50"), ("incorrect:50", "incorrect:5")])
def test_a_problem_keeps_its_other_pairs_when_one_is_too_long(wrong):
    g = group(1, "correct:5", *wrong)
    shard = select([g], most=20, pairing=lambda g: certain(g, max_pairs=2))
    assert len(records(shard, "pairs")) == 1
    assert shard.accounts["pairs"].to_json() == {"unit": "problem", "in": 1, "kept": 1, "dropped": {}}
    assert shard.tallies["extra_pairs"] == {"rejected_too_long": 1}
    assert [d.reason for d in shard.dropped if d.stage == "select/pairs"] == ["rejected_too_long"]


def test_a_problem_without_a_pair_that_passes_is_dropped_for_its_first_pair():
    # the pairs are (5 words, 50 words), whose wrong side is too long, and (50 words, 5 words), whose right side is
    g = group(1, "correct:5", "correct:50", "incorrect:50", "incorrect:5")
    shard = select([g], most=20, pairing=partial(certain, max_pairs=2))
    assert reasons(shard, "pairs") == {"rejected_too_long": 1} and not shard.tallies["extra_pairs"]


def test_pairs_tell_on_which_side_of_zero_the_shared_opening_is_weighted():
    # with end-of-turn: chosen 10, rejected 8 -> 1/10 - 0.8/8 = 0, not negative; rejected 7 -> 1/10 - 0.8/7 < 0
    # 11 -> 1/10 - 0.8/11 > 0
    lengths = (7, 6, 10)
    shard = select([group(i, "correct:9", f"incorrect:{words}") for i, words in enumerate(lengths)])
    assert shard.tallies["prefix_net_weight"] == {"positive": 2, "negative": 1}


def test_lengths_of_right_and_wrong_traces_are_tallied_in_powers_of_two():
    # tokens with end-of-turn: 4, 8, 7 and 3; the timeout counts on neither side, and what is held out is not trained on
    held_out = group(2, "correct:30", "incorrect:30")
    groups = [group(1, "correct:3", "correct:7", "incorrect:6", "incorrect:2", "timeout:99"), held_out]
    shard = select(groups, dev={held_out.problem.id})
    assert shard.tallies["tokens_correct"] == {"4-7": 1, "8-15": 1}
    assert shard.tallies["tokens_incorrect"] == {"4-7": 1, "2-3": 1}


def test_the_papers_pairing_may_reject_what_the_joined_verdict_left_undecided():
    problem = make_problem("q", answer="4")
    both = {"llama_verification": Verdict(Outcome.correct), "math_verify": Verdict(Outcome.correct)}
    right = make_trace(problem.id, "a", verdicts={**both, FINAL: Verdict(Outcome.correct)})
    unsure = make_trace(problem.id, "b", verdicts={FINAL: Verdict(Outcome.timeout)})
    shard = select([Group(problem, (right, unsure))], pairing=PAIRINGS["redi-paper"])
    assert [(p.chosen, p.rejected) for p in records(shard, "pairs")] == [("a", "b")]


def labelled(number, *specs):
    """A problem whose traces have a joined verdict and the data's own label: "correct/incorrect" is right, labelled wrong."""
    problem = make_problem(f"Question {number}", answer="4")
    traces = []
    for i, spec in enumerate(specs):
        final, _, label = spec.partition("/")
        verdicts = {FINAL: Verdict(Outcome(final)), "cascade": Verdict(Outcome(final), verifier_version="1")}
        if label:
            verdicts["teacher_label"] = Verdict(Outcome(label))
        traces.append(make_trace(problem.id, f"t{i} word", author=f"a{i}", verdicts=verdicts))
    return Group(problem, tuple(traces))


def test_sides_of_pairs_that_the_datas_labels_contradict_are_counted_and_said():
    groups = [
        labelled(0, "correct/incorrect", "incorrect/incorrect"),  # a chosen side that is labelled wrong
        labelled(1, "correct/correct", "incorrect/correct"),  # a rejected side that is labelled right
        labelled(2, "correct/incorrect", "incorrect/correct"),  # both
        labelled(3, "correct/correct", "incorrect/incorrect"),
        labelled(4, "correct", "incorrect"),  # no labels: nothing is contradicted
    ]
    shard = select(groups)
    assert shard.tallies["chosen_labelled_wrong"] == {"teacher_label": 2}
    assert shard.tallies["rejected_labelled_right"] == {"teacher_label": 2}
    said = sides_against_labels({"tallies": {name: dict(tally) for name, tally in shard.tallies.items()}})
    assert said == (
        "2 of 5 chosen sides are wrong by teacher_label; 2 of 5 rejected sides are right by teacher_label: "
        "verify.policy agree leaves such traces out"
    )
    agreeing = select([groups[3]])
    assert sides_against_labels({"tallies": {name: dict(tally) for name, tally in agreeing.tallies.items()}}) is None


def test_a_filter_works_on_the_parts_it_is_set_on():
    # the wrong trace is in a loop: as rejected it may go or stay, the examples do not care
    problem = make_problem("q", answer="4")
    right = make_trace(problem.id, "two and two", verdicts={FINAL: Verdict(Outcome.correct)})
    wrong = make_trace(problem.id, "no " * 99, verdicts={FINAL: Verdict(Outcome.incorrect)})
    g = Group(problem, (right, wrong))
    assert reasons(select([g], bound_filters=[BoundFilter(repetition, ALL)]), "pairs") == {"rejected_repetition": 1}
    kept = select([g], bound_filters=[BoundFilter(repetition, frozenset({"completion", "chosen"}))])
    assert [len(records(kept, name)) for name in ("examples", "pairs")] == [1, 1]


def test_the_first_filter_that_objects_is_named_and_each_trace_is_asked_once():
    asked = []

    def bound(side):
        asked.append((side.part, side.trace.id))
        return f"{side.part}_bad" if side.part == "rejected" else None

    g = group(1, "correct", "correct", "incorrect")
    shard = select(
        [g],
        bound_filters=[BoundFilter(bound, ALL)],
        pairing=partial(certain, max_pairs=2),
        policies={"a": certain, "b": certain},
    )
    assert reasons(shard, "pairs") == {"rejected_bad": 1}
    assert len(asked) == len(set(asked)) == 5  # two examples, two chosen, one rejected


def test_every_policy_is_put_on_paper_under_the_same_filters():
    g = group(1, "correct:5", "correct:9", "incorrect:5", "incorrect:50")
    policies = {"certain": partial(certain, max_pairs=2), "random": random_pairing, "near-miss": near_miss}
    shard = select([g], most=20, policies=policies)
    found = records(shard, "candidates")
    (pair,) = records(shard, "pairs")
    assert [(c.policy, c.reason) for c in found if c.policy == "certain"] == [
        ("certain", ""),
        ("certain", "rejected_too_long"),
    ]
    first = found[0]
    assert (first.chosen_id, first.rejected_id) == (pair.chosen_id, pair.rejected_id)
    # 5 words and the end of turn; the traces differ in their first word ("t0", "t2")
    assert (first.chosen_tokens, first.rejected_tokens, first.shared_tokens) == (6, 6, 0)
    assert (first.chosen_author, first.rejected_author) == ("a0", "a2")
    assert {c.policy for c in found} == set(policies)


def test_the_groups_come_again_with_their_columns_held_out_or_not():
    kept, gone = group(1, "correct", "incorrect:9"), group(2, "correct")
    found = records(select([kept, gone], dev={gone.problem.id}), "groups")
    assert [g.problem for g in found] == [kept.problem, gone.problem]
    assert [t.num_tokens for g in found for t in g.traces] == [4, 10, 4]
    assert [t.scores["pass_rate"] for g in found for t in g.traces] == [0.5, 0.5, 1.0]


# --- laws -----------------------------------------------------------------------------------------------------

specs = st.lists(
    st.tuples(st.sampled_from([o.value for o in Outcome]), st.integers(1, 30), st.sampled_from(["", ":cut"])).map(
        lambda s: f"{s[0]}:{s[1]}{s[2]}"
    ),
    max_size=6,
)
groups_of_all_kinds = st.lists(st.tuples(specs, st.sampled_from(["4", None])), max_size=6).map(
    lambda rows: [group(i, *outcomes, answer=answer) for i, (outcomes, answer) in enumerate(rows)]
)
limits = st.one_of(st.none(), st.integers(1, 30))


@settings(max_examples=60, deadline=None)
@given(groups_of_all_kinds, st.sets(st.integers(0, 5)), limits, st.sampled_from(["first", "all"]), st.integers(1, 4))
def test_nothing_is_lost_and_only_certainty_is_taught(groups, dev, limit, examples, max_pairs):
    held_out = {g.problem.id for i, g in enumerate(groups) if i in dev}
    shard = select(groups, held_out, lambda g: certain(g, max_pairs=max_pairs), examples=examples, most=limit)
    for name, account in shard.accounts.items():
        account.check(name)
    assert shard.accounts["examples"].came_in == sum(len(g.traces) for g in groups)
    assert shard.accounts["pairs"].came_in == len(groups)
    assert shard.accounts["dev"].came_in == len(held_out)
    assert shard.accounts["examples"].kept == len(records(shard, "examples"))
    assert shard.accounts["pairs"].kept == len({p.problem_id for p in records(shard, "pairs")})
    outcome = {t.id: t.verdict.outcome for g in groups for t in g.traces}
    cut = {t.id for g in groups for t in g.traces if t.finish_reason == "length"}
    assert all(outcome[e.trace_id] == "correct" for e in records(shard, "examples"))
    assert cut.isdisjoint(e.trace_id for e in records(shard, "examples"))
    assert cut.isdisjoint(p.rejected_id for p in records(shard, "pairs"))
    assert all(
        outcome[p.chosen_id] == "correct" and outcome[p.rejected_id] == "incorrect" for p in records(shard, "pairs")
    )
    assert held_out.isdisjoint(r.problem_id for s in ("examples", "pairs") for r in records(shard, s))
    prompts = {e.problem_id: e.prompt for e in records(shard, "examples")}
    assert all(prompts.get(p.problem_id, p.prompt) == p.prompt for p in records(shard, "pairs"))


@settings(max_examples=30, deadline=None)
@given(groups_of_all_kinds, st.integers(0, 6))
def test_cutting_the_groups_into_shards_changes_nothing(groups, at):
    whole, left, right = select(groups), select(groups[:at]), select(groups[at:])
    for stream in whole.records:
        assert records(whole, stream) == records(left, stream) + records(right, stream)
    for name, tally in whole.tallies.items():
        assert tally == left.tallies[name] + right.tallies[name]


# --- at rest ------------------------------------------------------------------------------------------------------


def load_with_datasets(folder, shards, stream, monkeypatch):
    """The rows of one stream as `datasets` reads the files, offline, after the stage has written these shards."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    stage_dir = StageFolder(folder / "select", "f")
    stage_dir.open()
    for index, groups in enumerate(shards):
        stage_dir.finish_shard(index, select(groups))
    files = [str(path) for path in stage_dir.shard_files(stream)]
    return datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(folder / "cache"))


def test_the_files_load_in_datasets_with_the_columns_of_trl(tmp_path, monkeypatch):
    shards = [[group(1, "correct", "incorrect")], [group(2, "correct", "incorrect")]]
    examples = load_with_datasets(tmp_path, shards, "examples", monkeypatch)
    assert set(examples.column_names) == set(Example.__slots__) >= {"prompt", "completion"}
    assert examples["prompt"][:] == ["Question 1", "Question 2"]
    assert examples["completion"][:] == ["t0 word word"] * 2
    pairs = load_with_datasets(tmp_path, shards, "pairs", monkeypatch)
    assert set(pairs.column_names) == set(Pair.__slots__) >= {"prompt", "chosen", "rejected"}
    assert pairs["chosen"][:] == ["t0 word word"] * 2 and pairs["rejected"][:] == ["t1 word word"] * 2


def test_a_shard_without_pairs_does_not_spoil_the_others_in_datasets(tmp_path, monkeypatch):
    shards = [[group(1, "correct", "incorrect")], [group(2, "timeout")]]
    assert len(load_with_datasets(tmp_path, shards, "pairs", monkeypatch)) == 1


@pytest.mark.parametrize(
    "groups, dev, said",
    [
        ([group(1, "correct", "incorrect")], (), ""),
        ([], (), "there was no trace: check corpus.sources"),
        (
            [group(1, "no_answer", "no_answer", "incorrect")],
            (),
            "3 traces (2 not_correct:no_answer, 1 not_correct:incorrect)",
        ),
        ([group(1, "correct"), group(2, "correct", "timeout")], (), "no pair was made from 2 problems"),
        ([group(1, "correct")], {group(1).problem.id}, "lower corpus.dev_fraction"),
    ],
)
def test_an_empty_stage_says_why_and_what_to_try(tmp_path, groups, dev, said):
    stage_dir = StageFolder(tmp_path / "select", "f")
    stage_dir.open()
    stage_dir.finish_shard(0, select(groups, dev))
    sentence = explain_empty(stage_dir.finish(1))
    assert said in sentence and bool(sentence) == bool(said)
