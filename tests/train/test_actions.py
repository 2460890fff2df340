"""S2R's advantages and its objective by hand: rewards of attempts and verifications, baselines, one ratio for each action."""

import functools
import itertools
import random

import numpy as np
import pytest
import torch

from redistill.records import FINAL, Group, Outcome, Sampled, Verdict, make_problem, make_trace
from redistill.text.segments import CUES, segments, write
from redistill.train.action_advantages import Action, actions, outcome_reward, rewards_of, running_tallies
from redistill.train.action_rows import action_rows, tallies, token_at, trajectories_of
from redistill.train.advantages import leave_one_out
from redistill.train.coefficients import is_linear, step_loss, token_coefficients, vanishes_without_advantage
from redistill.train.objectives import OBJECTIVES, needs_behaviour, needs_reference, on_policy, without_reference
from redistill.verify.segments import with_segments

from .conftest import batch_of, tiny_student
from .rollout_cases import HerePool
from .test_self_correction_rows import STUDENT

COMPACT = CUES["compact"]
objective = OBJECTIVES["actions"]
DOUBLE = {"dtype": torch.float64}


def S(right):
    return Action("solve", right)


def V(says, said=True):
    return Action("verify", says, said)


# --- rewards ----------------------------------------------------------------------------------------------------------


def test_an_attempt_is_rewarded_for_being_right_and_a_verification_for_being_true():
    # wrong, called wrong; wrong, called right; right, called right; right, called wrong
    assert rewards_of([S(False), V(False)], undecided="drop") == [-1.0, 1.0]
    assert rewards_of([S(False), V(True)], undecided="drop") == [-1.0, -1.0]
    assert rewards_of([S(True), V(True)], undecided="drop") == [1.0, 1.0]
    assert rewards_of([S(True), V(False)], undecided="drop") == [1.0, -1.0]


def test_what_nobody_can_say_earns_nothing_unless_the_option_says_incorrect():
    one = [S(None), V(True), S(False), V(None), S(True), V(None, said=False)]
    assert rewards_of(one, undecided="drop") == [None, None, -1.0, None, 1.0, None]
    # an attempt nobody could judge is wrong; "cannot be verified" says incorrect, which is true of a wrong attempt; the last
    # verification says nothing, which is read as correct
    assert rewards_of(one, undecided="incorrect") == [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]
    # a verification without a verdict in the middle is read as incorrect
    assert rewards_of([S(True), V(None, said=False), S(True), V(True)], undecided="incorrect")[1] == -1.0
    # the last one says that it cannot tell, which is not the same as nothing
    assert rewards_of([S(True), Action("verify", None)], undecided="incorrect") == [1.0, -1.0]
    assert outcome_reward([S(True), V(True), S(None)], undecided="drop") is None
    assert outcome_reward([S(True), V(True), S(None)], undecided="incorrect") == -1.0


# --- advantages -------------------------------------------------------------------------------------------------------

RIGHT, MENDED = [S(True), V(True)], [S(False), V(False), S(True), V(True)]
FOOLED, LOST = [S(False), V(True)], [S(True), V(False), S(False), V(False)]


def test_the_baseline_of_a_context_by_hand():
    # attempts first: +1, -1, -1, +1: mean 0. After +: 1 and -1: mean 0. After -: 1 and -1: mean 0. After -+: 1; after +-: -1.
    found = actions([[RIGHT, MENDED], [FOOLED, LOST]])
    assert found == [[[1.0, 1.0], [-1.0, 1.0, 0.0, 0.0]], [[-1.0, -1.0], [1.0, -1.0, 0.0, 0.0]]]


def test_outcome_rewards_are_compared_with_the_other_answers_to_the_problem():
    found = actions([[RIGHT, FOOLED, LOST], [MENDED, RIGHT]], level="outcome")
    # +1, -1, -1: 1 + 1; -1 - 0; -1 - 0. All right: 0
    assert found == [[[2.0], [-1.0], [-1.0]], [[0.0], [0.0]]]
    rewards = torch.tensor([[1.0, -1.0, -1.0]])
    assert [one[0] for one in found[0]] == leave_one_out(rewards, torch.ones(1, 3).bool())[0].tolist()
    with_unknown = actions([[RIGHT, [S(None), V(True)], FOOLED, None]], level="outcome")
    assert with_unknown == [[[2.0], [0.0], [-2.0], []]]
    assert actions([[RIGHT]], level="outcome") == [[[0.0]]]


def some_trajectories(seed=0, problems=30, n=6):
    rng = random.Random(seed)
    return [[[S(rng.random() < 0.5) if p % 2 == 0 else V(rng.random() < 0.6) for p in range(2 * rng.randint(1, 4))] for _ in range(n)] for _ in range(problems)]  # fmt: skip


@pytest.mark.parametrize("baseline", ["context", "accuracy-position", "accuracy-context", "running"])
def test_advantages_sum_to_zero_in_each_group_they_are_compared_in(baseline):
    given = some_trajectories()
    found = actions(given, baseline=baseline, least=1)
    sums, counts = dict[tuple, float](), dict[tuple, int]()
    for answers, here in zip(given, found, strict=True):
        accuracy = sum(one[-2].value for one in answers) / len(answers)
        for one, values in zip(answers, here, strict=True):
            rewards = rewards_of(one, undecided="drop")
            for place, value in enumerate(values):
                key = (place,) if baseline == "accuracy-position" else tuple(rewards[:place])
                key += (min(int(10 * accuracy), 9),) if baseline.startswith("accuracy") else ()
                sums[key] = sums.get(key, 0.0) + value
                counts[key] = counts.get(key, 0) + 1
    assert len(sums) > 5 and max(counts.values()) > 20
    assert max(map(abs, sums.values())) < 1e-12


def test_a_baseline_of_few_actions_is_not_used():
    many = [[RIGHT, FOOLED, LOST, MENDED] * 3]  # twelve first attempts, six of each verification context
    assert actions(many, baseline="accuracy-position")[0][0] == [1.0, 1.0]  # mean 0 of 12; 6+ and 6-: mean 0 of 12
    few = [[RIGHT, RIGHT, FOOLED]]
    assert actions(few, baseline="running")[0] == [[1.0, 1.0], [1.0, 1.0], [-1.0, -1.0]]  # three are fewer than ten
    assert actions(few, baseline="running", least=3)[0][2][0] == pytest.approx(-1 - 1 / 3)
    assert actions(few)[0][2] == [pytest.approx(-4 / 3), 0.0]  # context: whatever there is
    ten = [[[S(True)]] * 9 + [[S(False)]]]
    assert actions(ten, baseline="running")[0][9] == [pytest.approx(-1 - 0.8)]  # ten are enough


def test_an_action_without_a_reward_has_no_advantage_and_is_no_part_of_a_baseline():
    unknown, right = [S(None), V(True)], [S(True), V(True)]
    assert actions([[unknown, right, FOOLED]])[0] == [[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]


def test_a_running_baseline_is_of_this_round_and_those_before_it():
    first, second = [[RIGHT] * 8], [[FOOLED] * 4]
    after_first = running_tallies(first, {})
    assert after_first == {"": [8.0, 8], "+": [8.0, 8]}
    after = running_tallies(second, after_first)
    assert after == {"": [4.0, 12], "+": [8.0, 8], "-": [-4.0, 4]}
    assert running_tallies(second, {"": [6.0, 8]})[""] == [2.0, 12]
    found = actions(second, baseline="running", _running=after)
    assert found[0][0] == [
        pytest.approx(-1 - 1 / 3),
        -1.0,
    ]  # twelve first attempts; four verifications are fewer than ten


def test_the_bonus_of_the_code_doubles_what_changed_and_what_verifies_right_attempts():
    plain, with_bonus = (
        actions([[MENDED, LOST, RIGHT]], bonus=bonus, baseline="running")[0] for bonus in ("none", "code")
    )
    assert plain == [[-1.0, 1.0, 1.0, 1.0], [1.0, -1.0, -1.0, 1.0], [1.0, 1.0]]
    assert with_bonus == [[-1.0, 1.0, 2.0, 2.0], [1.0, -2.0, -2.0, 1.0], [1.0, 2.0]]
    late = [
        S(False),
        V(False),
        S(False),
        V(False),
        S(True),
        V(True),
    ]  # only the third attempt differs from the one before it
    assert actions([[late]], bonus="code", baseline="running")[0][0] == [-1.0, 1.0, -1.0, 1.0, 2.0, 2.0]


# --- the objective ----------------------------------------------------------------------------------------------------

# two rows: actions of 2 and 1 tokens and one token of none; an action of 2 tokens
ACTION = torch.tensor([0.0, 0, 1, -1, 0, 0], **DOUBLE)
ADVANTAGE = torch.tensor([1.0, 1, -2, 9, 0.5, 0.5], **DOUBLE)
LOGPS = torch.tensor([-1.0, -2, -0.5, -3, -0.25, -1], **DOUBLE)


def step(behaviour=LOGPS, reference=LOGPS, logps=LOGPS, advantage=ADVANTAGE):
    values = {"advantage": advantage, "action": ACTION}
    return batch_of(
        [4, 2], ["single"] * 2, logps=logps, behaviour_logps=behaviour, reference_logps=reference, values=values
    )


def test_the_loss_is_the_mean_over_actions_of_clipped_gains():
    moved = torch.tensor([0.1, 0.2, -0.4, 5.0, 0.05, 0.05], **DOUBLE)
    free = functools.partial(objective, kl=0.0)
    found = float(step_loss(free, [], step(behaviour=LOGPS - moved)))
    # ratios e^.3 (clipped to 1.2), e^-.4 (clipped to .8, and the larger loss -2 * .8 counts), e^.1; the token of none says nothing
    by_hand = -(1.2 * 1 + min(-2 * np.exp(-0.4), -2 * 0.8) + 0.5 * np.exp(0.1)) / 3
    assert found == pytest.approx(by_hand, abs=1e-12)
    mean = functools.partial(objective, kl=0.0, ratio_of="mean")
    by_hand = -(np.exp(0.15) - 2 * max(np.exp(-0.4), 0.8) + 0.5 * np.exp(0.05)) / 3
    assert float(step_loss(mean, [], step(behaviour=LOGPS - moved))) == pytest.approx(by_hand, abs=1e-12)


def test_coefficients_are_equal_within_an_action_and_zero_where_it_is_clipped():
    moved = torch.tensor([0.1, 0.2, 0.1, 5.0, 0.05, 0.05], **DOUBLE)
    found = token_coefficients(functools.partial(objective, kl=0.0), [], step(behaviour=LOGPS - moved))
    by_hand = [0, 0, -2 * np.exp(0.1) / 3, 0, 0.5 * np.exp(0.1) / 3, 0.5 * np.exp(0.1) / 3]
    assert found.tolist() == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize(("kl_of", "apart"), [("sum", [0.5, 0.3, -0.2]), ("mean", [0.25, 0.3, -0.1])])
def test_the_kl_is_part_of_the_advantage(kl_of, apart):
    reference = LOGPS - torch.tensor([0.2, 0.3, 0.3, 7.0, -0.1, -0.1], **DOUBLE)
    held = step(reference=reference)
    found = token_coefficients(functools.partial(objective, kl=0.1, kl_of=kl_of), [], held)
    a, b, c = (A - 0.1 * d for A, d in zip((1.0, -2.0, 0.5), apart, strict=True))
    assert found.tolist() == pytest.approx([a / 3, a / 3, b / 3, 0, c / 3, c / 3], abs=1e-12)


def test_without_options_it_clips_at_a_fifth_and_takes_a_twentieth_of_the_kl():
    """Ratios e^.3, cut to 1.2, e^-.4 and e^.1; of the advantages 1, -2 and .5 the KL takes .05 * .5, .05 * .3 and .05 * -.2."""
    moved = torch.tensor([0.1, 0.2, -0.4, 5.0, 0.05, 0.05], **DOUBLE)
    reference = LOGPS - moved - torch.tensor([0.2, 0.3, 0.3, 7.0, -0.1, -0.1], **DOUBLE)
    by_hand = -(1.2 * 0.975 - 0.8 * 2.015 + 0.51 * np.exp(0.1)) / 3
    found = float(step_loss(objective, [], step(behaviour=LOGPS - moved, reference=reference)))
    assert found == pytest.approx(by_hand, abs=1e-12)


def test_where_the_student_has_not_moved_the_ratio_needs_no_behaviour():
    reference = LOGPS - torch.tensor([0.2, 0.3, 0.3, 7.0, -0.1, -0.1], **DOUBLE)
    for options in ({"kl": 0.0}, {"kl": 0.1}, {"kl": 0.1, "ratio_of": "mean", "kl_of": "mean"}):
        whole = functools.partial(objective, **options)
        plain = on_policy(whole)
        assert needs_behaviour(whole) and not needs_behaviour(plain)
        ours, theirs = (token_coefficients(f, [], step(reference=reference)) for f in (plain, whole))
        assert torch.equal(ours, theirs)


def test_without_kl_there_is_no_reference_and_rows_without_signal_are_not_run():
    free = without_reference(functools.partial(objective, kl=0.0))
    assert needs_reference(objective) and not needs_reference(free)
    assert torch.equal(
        token_coefficients(free, [], step()), token_coefficients(functools.partial(objective, kl=0.0), [], step())
    )
    assert without_reference(functools.partial(objective, kl=0.1)).keywords == {"kl": 0.1}
    assert is_linear(on_policy(free)) and not is_linear(free)
    assert vanishes_without_advantage(free, ()) and not vanishes_without_advantage(objective, ())


def test_a_log_ratio_beyond_ten_nats_stays_finite():
    far = step(behaviour=LOGPS - 100, advantage=-ADVANTAGE)
    assert float(step_loss(functools.partial(objective, kl=0.0), [], far)) == pytest.approx(
        (np.exp(10) * 1 - 2 * 1.2 + 0.5 * np.exp(10)) / 3
    )


# --- answers and their tokens -----------------------------------------------------------------------------------------


def drawn(*texts, outcome="correct", finish=None):
    """A group of answers with judged attempts, and their sampled ids, one token a character and the end of turn."""
    _, tokenizer = tiny_student(STUDENT)
    problem = make_problem("1+1=", answer="2")
    reasons = [finish or "stop", *["stop"] * (len(texts) - 1)]
    traces = [make_trace(problem.id, t, finish_reason=why) for t, why in zip(texts, reasons, strict=True)]
    (group,) = with_segments(HerePool(), [Group(problem, tuple(traces))], "cascade", COMPACT, cut_too=True)
    traces = [t.with_verdict(FINAL, Verdict(Outcome(outcome))) for t in group.traces]
    ids = [[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for text in texts]
    sampled = [Sampled(problem.id, t.id, i, [1], of, [-0.5] * len(of)) for i, (t, of) in enumerate(zip(traces, ids, strict=True))]  # fmt: skip
    return [Group(problem, tuple(traces))], sampled, tokenizer


# HerePool: an attempt is right where its first digit is even
TWO = write(["3;", "4;"], ["7N", "8Y"], COMPACT)
ONE = write(["6;"], ["5N"], COMPACT)


def bound(**options):
    return functools.partial(actions, cues="compact", **options)


def test_every_token_has_the_action_it_belongs_to_and_its_advantage():
    groups, sampled, tokenizer = drawn(TWO, ONE)
    assert TWO == "3;\n?7N\n!4;\n?8Y" and [len(s.token_ids) for s in sampled] == [15, 7]
    (action, advantage), (other, others) = action_rows(bound(), groups, sampled, tokenizer, "")
    assert action.tolist() == [0] * 2 + [1] * 4 + [2] * 4 + [3] * 5  # the end of turn belongs to the last
    assert other.tolist() == [0] * 2 + [1] * 5
    # first attempts: wrong and right, mean 0; each other action is alone in its context
    assert advantage.tolist() == [-1] * 2 + [0] * 13 and others.tolist() == [1] * 2 + [0] * 5


def test_at_outcome_level_an_answer_is_one_action_and_need_not_alternate():
    groups, sampled, tokenizer = drawn(TWO, ONE, "7;", outcome="incorrect")
    found = action_rows(bound(level="outcome"), groups, sampled, tokenizer, "")
    assert all(set(action) == {0.0} for action, _ in found)
    assert [advantage[0] for _, advantage in found] == [1.0, 1.0, -2.0]  # 4 and 6 are right, 7 has its own verdict


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("3;", "unparsed:no_verification"), (f"{TWO}\n!4;", "unparsed:not_verified"), ("\n?7N", "unparsed:no_attempt"),
        (write(["4;", "6;"], ["8Y", "8Y"], COMPACT), "goes_on_after_right"), (write(["3;"] * 11, ["7N"] * 11, COMPACT), "too_many_actions"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_trajectory_is_a_counted_reason(text, reason):
    groups, sampled, tokenizer = drawn(text, ONE)
    assert action_rows(bound(), groups, sampled, tokenizer, "")[0] == reason


def test_twenty_actions_are_not_too_many():
    groups, _, _ = drawn(write(["3;"] * 10, ["7N"] * 10, COMPACT), ONE)
    assert len(trajectories_of(bound(), groups)[0][0]) == 20


def test_what_follows_a_right_attempt_that_was_verified_is_left_out_or_kept_if_the_recipe_says_so():
    text = write(["4;", "6;"], ["8Y", "8Y"], COMPACT)
    groups, sampled, tokenizer = drawn(text, ONE)
    action, advantage = action_rows(bound(after_right="truncate"), groups, sampled, tokenizer, "")[0]
    assert action.tolist() == [0] * 2 + [1] * 4 + [-1] * 9 and advantage[6:].tolist() == [0.0] * 9
    assert len(trajectories_of(bound(after_right="keep"), groups)[0][0]) == 4


@pytest.mark.parametrize(
    ("text", "rewards"),
    [
        ("3;", [-1.0]), ("4;\n?", [1.0, -1.0]), ("4;\n?8", [1.0, -1.0]), ("3;\n?7N\n!4;", [-1.0, 1.0, -1.0]), ("3;\n?7N\n!", [-1.0, 1.0, -1.0]),
    ],
)  # fmt: skip
def test_an_answer_that_was_cut_is_wrong_in_its_last_action_or_left_out(text, rewards):
    for kept in ("wrong", "drop"):
        advantage = bound(cut=kept, baseline="running")
        groups, sampled, tokenizer = drawn(text, ONE, finish="length")
        found = action_rows(advantage, groups, sampled, tokenizer, "")[0]
        if kept == "drop":
            assert isinstance(found, str) or text.endswith("8")
            continue
        action, of = found
        firsts = [int(np.argmax(action == place)) for place in range(len(rewards))]
        assert [of[place] for place in firsts] == rewards  # no context has ten actions, so no baseline counts
    whole = action_rows(bound(level="outcome"), *drawn(text, ONE, finish="length"), "")
    assert [advantage[0] for _, advantage in whole] == [-2.0, 2.0]


def test_the_running_baseline_is_told_apart_from_the_others():
    groups, _, _ = drawn(TWO, ONE)
    assert tallies(bound(), groups, {}) is None
    assert tallies(bound(baseline="running"), groups, {})[""] == [0.0, 2]


def test_a_token_of_several_characters_is_found_by_the_text_before_it():
    class Pieces:
        def decode(self, ids, **options):
            return "".join(["abc", "", "d", "ef"][i] for i in ids)

    ids = [0, 1, 2, 3]
    assert [token_at(c, ids, Pieces()) for c in range(7)] == [0, 0, 0, 2, 3, 3, 4]


def test_segments_of_an_answer_are_judged_one_by_one():
    groups, _, _ = drawn(TWO, "3;")
    first, second = groups[0].traces
    assert [span.value for span in first.spans["solve"]] == [0.0, 1.0]
    assert [span.value for span in first.spans["verification"]] == [0.0, 1.0]
    assert second.notes == {"segments_unread": "no_verification"} and not second.spans
    assert [p.kind for p in segments(TWO, cues=COMPACT)] == ["solve", "verify"] * 2
    assert list(itertools.chain(*[(s.start, s.end) for s in first.spans["solve"]])) == [0, 2, 6, 10]
