"""Right and wrong traces become rows of trial, verification and correction, with truth and masks that a hand can check."""

import random

import pytest

from redistill.config.parsing import parse_recipe
from redistill.config.tables import SelfCorrectionSettings
from redistill.errors import OperatorError
from redistill.records import FINAL, Group, Outcome, Span, Verdict, make_problem, make_trace
from redistill.select import explain_empty
from redistill.select.filters import completion_length
from redistill.select.pairing import certain
from redistill.select.self_correction import attempt_of, rounds
from redistill.select.stage import attempts_of, select_shard
from redistill.select.task import BoundFilter, SelectTask
from redistill.text.segments import CUES, segments
from tiny_recipe import RECIPE

TOY = CUES["compact"]
CHARS = frozenset({"completion"})


def trace(problem, text, outcome, note="", extracted=None, **fields):
    verdict = Verdict(Outcome(outcome), text if extracted is None else extracted)
    notes = {"verification": note} if note else {}
    return make_trace(problem.id, text, notes=notes, finish_reason="stop", **fields).with_verdict(FINAL, verdict)


def toy_group(wrong, right=1, number=0, note_wrong="N", note_right="Y"):
    """A problem with so many distinct wrong traces and right ones, each verified in one character."""
    problem = make_problem(f"Question {number}", answer="7")
    traces = [trace(problem, f"w{i}", "incorrect", f"c{i}{note_wrong}") for i in range(wrong)]
    traces += [trace(problem, f"r{i}", "correct", f"d{i}{note_right}") for i in range(right)]
    return Group(problem, tuple(traces))


def select(*groups, filters=(), seed=0, **settings):
    return select_shard(
        groups,
        SelectTask(
            render=lambda problem: f"Q{problem.statement}\n",
            encode=lambda texts: [list(text.encode()) for text in texts],
            is_dev=lambda problem: False,
            pairing=certain,
            examples=SelfCorrectionSettings(**{"cues": "compact", **settings}),
            bound_filters=filters,
            seed=seed,
        ),
    )


def rows_of(shard):
    return list(shard.records["examples"][1])


# --- the masks, by hand -----------------------------------------------------------------------------------------------

HAND = {
    # attempts of two characters, verifications of three, cues of two: solve|verify and so on, end of turn last
    1: [(0, 2, 1.0), (2, 7, 1.0), (7, 8, 1.0)],
    2: [(0, 2, 0.0), (2, 7, 1.0), (7, 11, 1.0), (11, 16, 1.0), (16, 17, 1.0)],
    3: [(0, 2, 0.0), (2, 7, 1.0), (7, 11, 0.0), (11, 16, 1.0), (16, 20, 1.0), (20, 25, 1.0), (25, 26, 1.0)],
    4: [
        (0, 2, 0.0), (2, 7, 1.0), (7, 11, 0.0), (11, 16, 1.0), (16, 20, 0.0), (20, 25, 1.0), (25, 29, 1.0), (29, 34, 1.0), (34, 35, 1.0),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("k", "wrong", "right"), [(1, 0, 5), (2, 1, 4), (3, 3, 2), (4, 4, 1)])
def test_masks_written_by_hand(k, wrong, right):
    shard = select(toy_group(wrong, right))
    (row,) = rows_of(shard)
    assert row.spans == tuple(Span(*span) for span in HAND[k])
    parts = row.completion.replace("\n!", "|").replace("\n?", "|").split("|")
    assert len(parts) == 2 * k
    assert all(part[0] == "w" for part in parts[0:-2:2]) and parts[-2][0] == "r"
    assert all(part.endswith("N") for part in parts[1:-1:2]) and parts[-1].endswith("Y")
    assert [part.start for part in segments(row.completion, cues=TOY)] == [span.start for span in row.spans[:-1]]
    assert shard.tallies["attempts"] == {str(k): 1}
    assert shard.accounts["examples"].kept == 1 and row.trace_id in {t.id for t in toy_group(wrong, right).traces}


def test_how_many_attempts_follows_from_the_share_of_wrong_traces():
    # of five traces: S2R's table
    assert [rounds(toy_group(wrong, 5 - wrong)) for wrong in range(5)] == [1, 2, 3, 3, 4]
    assert rounds(toy_group(10, 90)) == 2 and rounds(toy_group(60, 40)) == 3 and rounds(toy_group(61, 39)) == 4
    problem = make_problem("?", answer="7")  # what nobody could judge counts on neither side
    cut = tuple(trace(problem, f"x{i}", "truncated") for i in range(9))
    assert rounds(Group(problem, (*cut, trace(problem, "r", "correct")))) == 1


# --- only true verdicts -----------------------------------------------------------------------------------------------


def test_no_false_verdict_survives():
    """Random notes, true, false, unsure and without a verdict: every verification of every row tells the truth."""
    rng = random.Random(0)
    groups, truth = [], dict[str, bool]()
    for number in range(200):
        problem = make_problem(f"Question {number}", answer="7")
        traces = []
        for i in range(6):
            right = rng.random() < 0.4
            text = f"{'r' if right else 'w'}{number}.{i}"
            truth[text] = right
            note = f"c{rng.choice(['Y', 'N', 'U', '', 'NY', 'YN'])}"
            traces.append(trace(problem, text, "correct" if right else "incorrect", note))
        groups.append(Group(problem, tuple(traces)))
    shard = select(*groups)
    seen = 0
    for row in rows_of(shard):
        parts = segments(row.completion, cues=TOY)
        for solve, check in zip(parts[0::2], parts[1::2], strict=True):
            text = row.completion[solve.start : solve.end].strip("\n!")
            assert (check.verdict == "correct") == truth[text]
            seen += 1
    assert seen > 200
    told = shard.tallies["verifications"]
    assert told["false_verdict"] > 100 and told["no_verdict"] > 50 and told["undecided_verdict"] > 50
    assert sum(told.values()) == 1200
    account = shard.accounts["examples"]
    assert account.to_json()["in"] == account.kept + sum(account.dropped.values()) == 1200


@pytest.mark.parametrize(
    ("note", "text", "reason"),
    [
        ("", "r", "no_verification"), ("maybe", "r", "no_verdict"), ("U", "r", "undecided_verdict"), ("N", "r", "false_verdict"),
        ("Y", "a\n!b", "cue_in_text"), ("a\n?bY", "r", "cue_in_text"),
    ],
)  # fmt: skip
def test_why_a_trace_is_no_attempt(note, text, reason):
    problem = make_problem("?", answer="7")
    assert attempt_of(trace(problem, text, "correct", note), "verification", TOY) == reason
    shard = select(Group(problem, (trace(problem, text, "correct", note),)))
    assert rows_of(shard) == [] and dict(shard.accounts["examples"].dropped) == {reason: 1}


def test_an_endpoint_that_only_lies_leaves_nothing_and_one_sentence_says_so():
    shard = select(toy_group(2, 2, note_wrong="Y", note_right="N"))
    assert rows_of(shard) == []
    ledger = {"accounts": {"examples": shard.accounts["examples"].to_json()}}
    assert "4 false_verdict" in explain_empty(ledger) and "redistill show" in explain_empty(ledger)


def test_a_section_of_the_trace_is_taken_out_of_the_attempt():
    problem = make_problem("?", answer="7")
    text = "3+4=7. 7-4=3 so right. So 7"
    made = trace(problem, text, "correct", "7-4=3 so right. Y", spans={"verification": (Span(6, 22, 1.0),)})
    found = attempt_of(made, "verification", TOY)
    assert (found.text, found.verification) == ("3+4=7. So 7", "7-4=3 so right. Y")


# --- which traces -----------------------------------------------------------------------------------------------------


def test_wrong_attempts_have_distinct_answers_and_traces_without_wrong_ones_make_single_attempts():
    problem = make_problem("?", answer="7")
    wrong = [trace(problem, f"w{i}", "incorrect", "N", extracted=" 8 " if i % 2 else "8") for i in range(4)]
    shard = select(
        Group(problem, (*wrong, trace(problem, "r", "correct", "Y"))), toy_group(0, 3, 1), toy_group(0, 1, 2)
    )
    # four wrong traces of five want four attempts; there is one distinct wrong answer
    assert shard.tallies["attempts"] == {"2": 1, "1": 2}
    assert "rows by attempts: 2 of 1 attempt, 1 of 2 attempts; verifications: 9 true, 0 false" in attempts_of(
        {"tallies": shard.tallies}
    )


def test_every_trace_is_accounted_for():
    shard = select(toy_group(5, 3))
    reasons = shard.accounts["examples"].dropped
    assert (shard.accounts["examples"].kept, dict(reasons)) == (
        1,
        {"earlier_attempt": 3, "not_needed": 2, "not_the_last_attempt": 2},
    )  # five of eight are wrong, more than three fifths: four attempts, three of them wrong
    assert not rows_of(select(toy_group(3, 0)))
    assert dict(select(toy_group(3, 0)).accounts["examples"].dropped) == {"no_right_attempt": 3}


def test_filters_look_at_attempts_and_at_the_whole_row():
    short = BoundFilter(lambda side: completion_length(side, most=20), CHARS)
    assert len(rows_of(select(toy_group(1, 4), filters=[short]))) == 1  # 16 characters and the end
    shorter = BoundFilter(lambda side: completion_length(side, most=12), CHARS)
    shard = select(toy_group(1, 4), filters=[shorter])
    assert rows_of(shard) == [] and shard.accounts["examples"].dropped["completion_too_long"] == 1


def test_the_share_that_is_kept_depends_on_the_case():
    easy = [toy_group(0, 2, n) for n in range(300)]
    hard = [toy_group(1, 4, n) for n in range(300, 600)]
    poor = [toy_group(1, 1, n) for n in range(600, 700)]  # wants three attempts, has two
    shard = select(*easy, *hard, *poor, keep={1: 0.24, "full": 0.5})
    kept = {"easy": 0, "hard": 0, "poor": 0}
    for row in rows_of(shard):
        number = int(row.prompt.split()[1])
        kept["easy" if number < 300 else "hard" if number < 600 else "poor"] += 1
    assert 50 < kept["easy"] < 95 and 125 < kept["hard"] < 175 and kept["poor"] == 100
    assert shard.accounts["examples"].dropped["not_drawn"] == 600 - kept["easy"] - kept["hard"]
    assert [r.completion for r in rows_of(select(*easy, keep={1: 0.24}))] == [
        r.completion for r in rows_of(select(*easy, keep={1: 0.24}))
    ]


def test_another_seed_takes_other_attempts():
    texts = {rows_of(select(toy_group(8, 2), seed=seed))[0].completion for seed in range(6)}
    assert len(texts) > 2


def test_controls_leave_out_verifications_or_draw_their_verdicts():
    groups = [toy_group(1, 4, n) for n in range(100)]
    plain = rows_of(select(*groups))
    bare = rows_of(select(*groups, control="no-verifications"))
    assert [row.trace_id for row in bare] == [row.trace_id for row in plain]
    assert all(row.completion in row_.completion and row.spans == () for row, row_ in zip(bare, plain, strict=True))
    coins = [p.verdict for row in rows_of(select(*groups, control="shuffled-verdicts")) for p in segments(row.completion, cues=TOY) if p.verdict]  # fmt: skip
    assert len(coins) == 200 and 70 < coins.count("correct") < 130


# --- a recipe ---------------------------------------------------------------------------------------------------------


def test_a_recipe_names_it_by_a_word_or_a_table():
    short = parse_recipe({**RECIPE, "select": {"examples": "self-correction"}}, "r.yaml")
    assert short.select.examples == SelfCorrectionSettings()
    table = {"name": "self-correction", "keep": {1: 0.2, "full": 0.5}, "cues": "compact"}
    whole = parse_recipe({**RECIPE, "select": {"examples": table}}, "r.yaml")
    assert whole.select.examples.keep == {"1": 0.2, "full": 0.5}
    assert parse_recipe(whole.model_dump(mode="json"), "r.yaml") == whole


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"name": "self-correction", "keep": {2: 0.5}}, "select.examples.keep.2.[key]: input should be '1', 'full' or 'fallback' (got '2')"),
        ({"name": "self-correction", "keep": {1: 2.0}}, "select.examples.keep.1: input should be less than or equal to 1 (got '2.0')"),
        ({"name": "self-correction", "attempts": 0}, "select.examples.attempts: input should be greater than or equal to 1 (got '0')"),
        ({"name": "self-correction", "attempt": 2}, "select.examples.attempt: unknown key"),
        ("some", "select.examples: input should be 'first', 'last' or 'all' (got 'some')"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_table_is_one_sentence(table, said):
    with pytest.raises(OperatorError) as caught:
        parse_recipe({**RECIPE, "select": {"examples": table}}, "r.yaml")
    assert str(caught.value).startswith(f"r.yaml: {said}") and "\n" not in str(caught.value)
