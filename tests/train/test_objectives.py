"""Every objective against arithmetic done by hand, and the limits that the papers claim."""

import functools
import math

import pytest
import torch

from redistill.errors import OperatorError
from redistill.train.coefficients import is_linear, step_loss, token_coefficients
from redistill.train.objectives import (
    OBJECTIVES,
    Losses,
    Ragged,
    measures_asked,
    needs_lengths,
    needs_mismatched,
    needs_pairs,
    needs_reference,
    needs_reference_logps,
    needs_teacher,
    redi,
    sft,
    simpo,
    symmetric,
    trains_critic,
)
from redistill.train.objectives.likelihood import redi_bounded, unlikelihood
from redistill.train.objectives.preference import cpo_simpo, dpo, dpo_norm, dpop, ipo, irpo, nca, orpo
from redistill.train.objectives.unpaired import asymre, kto, topr

from .conftest import batch_of

# two pairs: chosen -6 over 3 tokens (mean -2) and -4 over 4 (-1); rejected -10 over 5 (-2) and -6 over 2 (-3)
CHOSEN, CHOSEN_TOKENS = torch.tensor([-6.0, -4.0], dtype=torch.float64), torch.tensor([3.0, 4.0], dtype=torch.float64)
REJECTED, REJECTED_TOKENS = (
    torch.tensor([-10.0, -6.0], dtype=torch.float64),
    torch.tensor([5.0, 2.0], dtype=torch.float64),
)
PAIRS = (CHOSEN, REJECTED, CHOSEN_TOKENS, REJECTED_TOKENS)
LOGPS = torch.tensor([-6.0, -10.0, -4.0, -6.0], dtype=torch.float64)  # as the step holds them: chosen, rejected, ...
TOKENS = torch.tensor([3.0, 5.0, 4.0, 2.0], dtype=torch.float64)
ONES = torch.ones(2, dtype=torch.float64)
# the reference: log-ratios +1 and -1 on chosen, -1 and +1 on rejected, so the margins are 2 and -2
REFERENCE = (torch.tensor([-7.0, -3.0]).double(), torch.tensor([-9.0, -7.0]).double())


def two_pairs(row_weights=ONES, **more):
    """The same two pairs as a step holds them, each token at its sequence's mean."""
    owners = torch.repeat_interleave(torch.arange(4), TOKENS.long())
    more = {"logps": (LOGPS / TOKENS)[owners], **more}
    return batch_of([3, 5, 4, 2], ["chosen", "rejected"] * 2, row_weights=row_weights, **more)


def sequence_coefficients(objective, batch):
    """One coefficient a sequence, where all its tokens have the same."""
    found = token_coefficients(objective, [], batch).split(batch.counts.long().tolist())
    assert all(torch.equal(part, part[:1].expand_as(part)) for part in found)
    return torch.stack([part[0] for part in found])


def mean(found):
    return float(found.losses.sum() / found.weights.sum())


def test_redi_is_mean_chosen_loss_plus_weighted_mean_rejected_logp():
    # pair 1: 2 + .8 * -2 = .4; pair 2: 1 + .8 * -3 = -1.4; mean -.5
    assert mean(redi(*PAIRS, rejected_weight=0.8)) == pytest.approx(-0.5, abs=1e-12)


def test_redi_at_weight_zero_is_sequence_averaged_sft_on_chosen():
    assert mean(redi(*PAIRS, rejected_weight=0.0)) == mean(sft(CHOSEN, CHOSEN_TOKENS, aggregation="sequence")) == 1.5


def test_symmetric_is_redi_at_weight_one():
    # pair 1: 2 - 2 = 0; pair 2: 1 - 3 = -2; mean -1
    assert mean(symmetric(*PAIRS)) == mean(redi(*PAIRS, rejected_weight=1.0)) == -1.0


def test_sft_by_token_divides_by_all_tokens_of_the_step():
    # (6 + 4) / (3 + 4), where by sequence it is (2 + 1) / 2
    assert mean(sft(CHOSEN, CHOSEN_TOKENS)) == pytest.approx(10 / 7, abs=1e-12)


def test_simpo_by_hand_uses_gamma_itself():
    # margins 0 and 2; -log sigmoid(2 m - 1): log(1 + e^1) and log(1 + e^-3)
    by_hand = (math.log1p(math.e) + math.log1p(math.exp(-3))) / 2
    assert mean(simpo(*PAIRS, beta=2.0, gamma=1.0)) == pytest.approx(by_hand, abs=1e-12)


def test_simpo_turns_into_symmetric_as_beta_goes_to_zero():
    # d/dm of -log sigmoid(beta m - gamma) -> -beta sigmoid(gamma): every pair alike, the direction of symmetric
    small = sequence_coefficients(functools.partial(simpo, beta=1e-7, gamma=0.0), two_pairs())
    flat = sequence_coefficients(symmetric, two_pairs())
    assert torch.allclose(small / small.norm(), flat / flat.norm(), atol=1e-6)


def test_redi_coefficients_are_one_over_length_with_sign():
    # d loss / d(-logp) over 2 pairs: 1/(2*3), -.8/(2*5), 1/(2*4), -.8/(2*2)
    found = sequence_coefficients(functools.partial(redi, rejected_weight=0.8), two_pairs())
    assert found.tolist() == pytest.approx([1 / 6, -0.08, 1 / 8, -0.2], abs=1e-12)


def test_a_pair_of_weight_zero_counts_for_nothing():
    only_first = torch.tensor([1.0, 0.0], dtype=torch.float64)
    # pair 1 alone: 2 + .8 * -2 = .4
    assert float(step_loss(redi, [], two_pairs(only_first))) == pytest.approx(0.4, abs=1e-12)
    assert sequence_coefficients(redi, two_pairs(only_first))[2:].tolist() == [0.0, 0.0]


def softplus(x):
    return math.log1p(math.exp(x))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


# --- likelihood ---------------------------------------------------------------------------------------------------


def test_redi_bounded_weighs_the_push_by_the_traces_own_mean_probability():
    # pair 1: 2 + .8 e^(.5 * -2) * -2; pair 2: 1 + .8 e^(.5 * -3) * -3
    by_hand = (2 - 1.6 * math.exp(-1) + 1 - 2.4 * math.exp(-1.5)) / 2
    assert mean(redi_bounded(*PAIRS, rejected_weight=0.8, gamma=0.5)) == pytest.approx(by_hand, abs=1e-12)
    assert mean(redi_bounded(*PAIRS, gamma=0.0)) == mean(redi(*PAIRS))
    assert mean(redi_bounded(*PAIRS)) == mean(redi_bounded(*PAIRS, rejected_weight=0.8, gamma=1.0, detached=True))


@pytest.mark.parametrize(
    "detached,slopes", [(True, [math.exp(-1), math.exp(-1.5)]), (False, [0.0, -0.5 * math.exp(-1.5)])]
)
def test_redi_bounded_detached_never_turns_round_and_attached_stops_at_minus_one_over_gamma(detached, slopes):
    # slope of the rejected term: e^(gamma m) detached, (1 + gamma m) e^(gamma m) attached: 0 at m = -2, reversed at -3
    objective = functools.partial(redi_bounded, rejected_weight=0.8, gamma=0.5, detached=detached)
    found = sequence_coefficients(objective, two_pairs())
    by_hand = [1 / 6, -0.8 * slopes[0] / (2 * 5), 1 / 8, -0.8 * slopes[1] / (2 * 2)]
    assert found.tolist() == pytest.approx(by_hand, abs=1e-12)


def test_unlikelihood_by_hand_averages_over_each_rejected_traces_tokens():
    # rejected: probabilities .5 and .75, then .5. pair 1: 2 + (log 2 + log 4) / 2; pair 2: 1 + log 2
    logps = torch.tensor([0.5, 0.75, 0.5]).double().log()
    rows = torch.tensor([0, 0, 1])
    lengths = torch.tensor([2.0, 1.0]).double()
    tokens = Ragged(logps, torch.ones(3).double(), rows)
    assert mean(unlikelihood(CHOSEN, CHOSEN_TOKENS, lengths, tokens)) == pytest.approx((3 + 2.5 * math.log(2)) / 2)
    # the second token masked: pair 1 is 2 + log 2 / 2
    masked = Ragged(logps, torch.tensor([1.0, 0.0, 1.0]).double(), rows)
    assert mean(unlikelihood(CHOSEN, CHOSEN_TOKENS, lengths, masked)) == pytest.approx((3 + 1.5 * math.log(2)) / 2)
    assert mean(unlikelihood(CHOSEN, CHOSEN_TOKENS, lengths, tokens, rejected_weight=0.0)) == mean(
        redi(*PAIRS, rejected_weight=0.0)
    )


def test_unlikelihood_stays_finite_on_a_token_that_is_certain():
    certain = Ragged(torch.zeros(1).double(), torch.ones(1).double(), torch.tensor([0]))
    found = unlikelihood(CHOSEN[:1], CHOSEN_TOKENS[:1], torch.ones(1).double(), certain)
    assert mean(found) == pytest.approx(2 - math.log(1e-5))


# --- preference ---------------------------------------------------------------------------------------------------


def test_cpo_simpo_is_simpo_plus_the_mean_nll_of_chosen():
    # mean NLL of chosen: (2 + 1) / 2
    assert mean(cpo_simpo(*PAIRS, alpha=0.5)) == pytest.approx(mean(simpo(*PAIRS)) + 0.75, abs=1e-12)
    assert mean(cpo_simpo(*PAIRS, alpha=0.0)) == mean(simpo(*PAIRS))


@pytest.mark.parametrize("objective", [simpo, cpo_simpo])
def test_gamma_over_beta_is_refused_with_the_gamma_to_write(objective):
    with pytest.raises(OperatorError, match=r"gamma_beta_ratio is not an option.*\(here gamma: 1\)"):
        objective(*PAIRS, beta=2.0, gamma_beta_ratio=0.5)


def test_orpo_by_hand_from_odds():
    # pair 1: p = e^-2 on both sides, ratio of odds 1: 2 + .5 log 2; pair 2: p = e^-1 and e^-3
    chosen, rejected = math.exp(-1), math.exp(-3)
    ratio = (chosen / (1 - chosen)) / (rejected / (1 - rejected))
    by_hand = (2 + 0.5 * math.log(2) + 1 + 0.5 * math.log(1 + 1 / ratio)) / 2
    assert mean(orpo(*PAIRS, lam=0.5)) == pytest.approx(by_hand, abs=1e-12)
    assert mean(orpo(*PAIRS, lam=0.0)) == 1.5


def test_orpo_holds_a_certain_student_at_odds_of_a_million():
    # chosen is certain: log odds 6 log 10; rejected: e^-2 / (1 - e^-2); their difference through the softplus
    odds = math.log(math.exp(-2) / (1 - math.exp(-2)))
    found = mean(orpo(torch.zeros(1).double(), REJECTED[:1], CHOSEN_TOKENS[:1], REJECTED_TOKENS[:1], lam=1e6))
    assert found == pytest.approx(1e6 * softplus(odds - 6 * math.log(10)), rel=1e-8)


def test_dpo_by_hand_and_log_two_where_the_student_is_its_own_reference():
    # margins 2 and -2, beta .5: log(1 + e^-1) and log(1 + e^1)
    found = mean(dpo(CHOSEN, REJECTED, *REFERENCE, beta=0.5))
    assert found == pytest.approx((softplus(-1) + softplus(1)) / 2, abs=1e-12)
    assert mean(dpo(CHOSEN, REJECTED, CHOSEN, REJECTED)) == pytest.approx(math.log(2), abs=1e-12)
    assert mean(dpo_norm(*PAIRS, CHOSEN, REJECTED)) == pytest.approx(math.log(2), abs=1e-12)


def test_dpo_norm_divides_each_log_ratio_by_its_own_length():
    # margins 1/3 + 1/5 = 8/15 and -1/4 - 1/2 = -3/4, beta 5
    by_hand = (softplus(-8 / 3) + softplus(15 / 4)) / 2
    assert mean(dpo_norm(*PAIRS, *REFERENCE)) == pytest.approx(by_hand, abs=1e-12)


def test_ipo_wants_the_margin_at_one_over_two_beta():
    # beta .25: target 2; margins 2 and -2: 0 and 16
    assert mean(ipo(CHOSEN, REJECTED, *REFERENCE, beta=0.25)) == pytest.approx(8.0, abs=1e-12)


def test_irpo_is_dpo_plus_the_mean_nll_of_chosen():
    plain = mean(dpo(CHOSEN, REJECTED, *REFERENCE))
    assert mean(irpo(CHOSEN, REJECTED, CHOSEN_TOKENS, *REFERENCE, alpha=0.2)) == pytest.approx(plain + 0.3, abs=1e-12)
    assert mean(irpo(CHOSEN, REJECTED, CHOSEN_TOKENS, *REFERENCE, alpha=0.0)) == plain


def test_dpop_charges_a_chosen_trace_that_fell_below_the_reference():
    # pair 1: chosen rose, margin 2; pair 2: chosen fell by 1: -2 - 3 * 1 = -5; beta .5
    found = mean(dpop(CHOSEN, REJECTED, *REFERENCE, beta=0.5, lam=3.0))
    assert found == pytest.approx((softplus(-1) + softplus(2.5)) / 2, abs=1e-12)
    assert mean(dpop(CHOSEN, REJECTED, *REFERENCE, beta=0.5, lam=0.0)) == mean(
        dpo(CHOSEN, REJECTED, *REFERENCE, beta=0.5)
    )


def test_nca_by_hand():
    # r_w 1, -1 and r_l -1, 1, beta 1: [s(-1) + s(1)/2 + s(-1)/2] and [s(1) + s(-1)/2 + s(1)/2], s the softplus
    assert mean(nca(CHOSEN, REJECTED, *REFERENCE, beta=1.0)) == pytest.approx(softplus(1) + softplus(-1), abs=1e-12)
    assert mean(nca(CHOSEN, REJECTED, CHOSEN, REJECTED)) == pytest.approx(2 * math.log(2), abs=1e-12)
    # r_w 1 and r_l -2, of the first pair alone: s(-1) + s(1)/2 + s(-2)/2
    alone = nca(CHOSEN[:1], REJECTED[:1], CHOSEN[:1] - 1, REJECTED[:1] + 2, beta=1.0)
    assert mean(alone) == pytest.approx(softplus(-1) + softplus(1) / 2 + softplus(-2) / 2, abs=1e-12)


# --- singles ------------------------------------------------------------------------------------------------------


def test_asymre_is_reward_minus_baseline_times_log_pi():
    # V -.1: pair 1: 1.1 * 2 - .9 * 2 = .4; pair 2: 1.1 * 1 - .9 * 3 = -1.6; over 4 singles
    assert mean(asymre(*PAIRS, baseline=-0.1)) == pytest.approx(-0.3, abs=1e-12)
    # whole traces: 1.1 * 6 - .9 * 10 = -2.4 and 1.1 * 4 - .9 * 6 = -1
    assert mean(asymre(*PAIRS, baseline=-0.1, length_normalised=False)) == pytest.approx(-3.4 / 4, abs=1e-12)


def test_asymre_at_minus_one_ninth_has_the_direction_of_redi_at_point_eight():
    ours = sequence_coefficients(functools.partial(asymre, baseline=-1 / 9), two_pairs())
    redis = sequence_coefficients(functools.partial(redi, rejected_weight=0.8), two_pairs())
    assert torch.allclose(ours / ours.norm(), redis / redis.norm(), atol=1e-12)


def test_topr_pushes_less_on_a_trace_that_already_fell_and_never_more_than_once():
    # per token: log-ratios -2 + 1.8 = -.2 and -3 + 3.5 = .5, cut to 0: weights e^-.2 and 1; over 4 singles
    by_hand = (2 - 2 * math.exp(-0.2) + 1 - 3) / 4
    assert mean(topr(*PAIRS, REFERENCE[1])) == pytest.approx(by_hand, abs=1e-12)
    # whole traces: log-ratios -1 and 1
    by_hand = (6 - 10 * math.exp(-1) + 4 - 6) / 4
    assert mean(topr(*PAIRS, REFERENCE[1], length_normalised=False)) == pytest.approx(by_hand, abs=1e-12)
    # the weight is a constant: the coefficient is the weight itself
    # a reference of -9 over 5 tokens and -7 over 2 on the rejected sides; chosen is not looked at
    reference = torch.tensor([0.0] * 3 + [-9 / 5] * 5 + [0.0] * 4 + [-7 / 2] * 2, dtype=torch.float64)
    found = sequence_coefficients(topr, two_pairs(reference_logps=reference))
    assert found.tolist() == pytest.approx([1 / 12, -math.exp(-0.2) / 20, 1 / 16, -1 / 8], abs=1e-12)


def test_kto_by_hand_with_the_divergence_of_mismatched_completions():
    # mismatched log-ratios 1 and 3: z0 = 2. beta .5: desirable 1 - s(.5 (r - 2)), r 1 and -1: s(.5), s(1.5);
    # undesirable 1 - s(.5 (2 - r)), r -1 and 1: s(-1.5), s(-.5), each twice
    mismatched, before = torch.tensor([-5.0, -5.0]).double(), torch.tensor([-6.0, -8.0]).double()
    found = mean(kto(CHOSEN, REJECTED, *REFERENCE, mismatched, before, beta=0.5, rejected_weight=2.0))
    assert found == pytest.approx((sigmoid(0.5) + sigmoid(1.5) + 2 * (sigmoid(-1.5) + sigmoid(-0.5))) / 4, abs=1e-12)


def test_kto_does_not_let_the_divergence_fall_below_zero():
    same, lower = torch.zeros(2).double(), torch.ones(2).double()
    clipped = mean(kto(CHOSEN, REJECTED, *REFERENCE, same, lower, rejected_weight=2.0))
    # z0 = 0, beta .1: s(-.1) + s(.1) + 2 (s(-.1) + s(.1)), over 4 singles
    assert clipped == pytest.approx(3 / 4, abs=1e-12)
    assert mean(kto(CHOSEN, REJECTED, CHOSEN, REJECTED, same, same)) == 0.5


# --- options that are not given ---------------------------------------------------------------------------------------

AGAINST = (CHOSEN, REJECTED, REFERENCE[0] + 0.5, REFERENCE[1])  # log-ratios .5 and -1.5 on chosen, -1 and 1 on rejected
MISMATCHED = (torch.tensor([-5.0, -5.0]).double(), torch.tensor([-6.0, -8.0]).double())
# The values of the papers and of docs/objectives.md.
OF_THE_PAPERS = {
    asymre: (PAIRS, {"baseline": -0.1}),
    kto: ((*AGAINST, *MISMATCHED), {"beta": 0.1}),
    simpo: (PAIRS, {"beta": 2.0, "gamma": 1.0}),
    cpo_simpo: (PAIRS, {"beta": 2.0, "gamma": 1.0, "alpha": 1.0}),
    orpo: (PAIRS, {"lam": 0.1}),
    dpo: (AGAINST, {"beta": 0.1}),
    dpo_norm: ((*PAIRS, *AGAINST[2:]), {"beta": 5.0}),
    ipo: (AGAINST, {"beta": 0.1}),
    irpo: ((*AGAINST[:2], CHOSEN_TOKENS, *AGAINST[2:]), {"beta": 0.1, "alpha": 1.0}),
    dpop: (AGAINST, {"beta": 0.3, "lam": 50.0}),
    nca: (AGAINST, {"beta": 0.01}),
}


@pytest.mark.parametrize("objective", OF_THE_PAPERS, ids=lambda objective: objective.__name__)
def test_options_that_are_not_given_are_those_of_the_paper(objective):
    given, options = OF_THE_PAPERS[objective]
    assert mean(objective(*given)) == mean(objective(*given, **options))


# --- the registry -------------------------------------------------------------------------------------------------


# Those whose kind was worked out by hand here; one that is added later needs no line.
WORKED_OUT = {
    name: OBJECTIVES[name]
    for name in [
        "sft",
        "redi",
        "symmetric",
        "redi_bounded",
        "unlikelihood",
        "asymre",
        "topr",
        "kto",
        "simpo",
        "cpo_simpo",
        "orpo",
        "dpo",
        "dpo_norm",
        "ipo",
        "irpo",
        "dpop",
        "nca",
    ]
}


def test_linearity_is_found_not_declared():
    assert {name for name, f in WORKED_OUT.items() if is_linear(f)} == {"sft", "redi", "symmetric", "asymre"}


def test_an_objective_says_by_its_names_what_it_needs():
    against = {"dpo", "dpo_norm", "ipo", "irpo", "dpop", "nca", "kto", "topr"}
    assert {name for name, f in WORKED_OUT.items() if needs_reference(f)} == against
    assert {name for name, f in WORKED_OUT.items() if needs_mismatched(f)} == {"kto"}
    assert {name for name, f in WORKED_OUT.items() if not needs_pairs(f)} == {"sft"}
    without_lengths = {"dpo", "ipo", "dpop", "nca", "kto"}
    assert {name for name, f in WORKED_OUT.items() if not needs_lengths(f)} == without_lengths
    of_labels = {"sft": False, "redi": False, "outcome": True, "process": True, "implicit": True}
    assert {name: trains_critic(OBJECTIVES[name]) for name in of_labels} == of_labels


def test_a_divergence_over_the_vocabulary_is_measured_and_needs_no_log_probs_of_the_other_model():
    def pulled(token_logps, reference_divergences): ...

    def taught(teacher_divergences, entropies): ...

    def compared(logps, reference_logps): ...

    of_reference = {needs_reference_logps: {compared}, needs_reference: {pulled, compared}, needs_teacher: {taught}}
    for asks, expected in of_reference.items():
        assert {f for f in (pulled, taught, compared) if asks(f)} == expected
    assert measures_asked(pulled) == {("reference", "divergences")} and measures_asked(compared) == set()
    assert measures_asked(taught) == {("teacher", "divergences"), ("", "entropies")}


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if not needs_teacher(OBJECTIVES[name])])
def test_every_objective_is_lowered_by_raising_what_it_should_raise(name):
    """The contract of the registry: with the student as its own reference, a finite loss, and a positive coefficient on
    every token of right traces, a negative one on every token of wrong traces."""
    objective = OBJECTIVES[name]
    owners = torch.repeat_interleave(torch.arange(4), TOKENS.long())
    logps = (LOGPS / TOKENS)[owners] * torch.linspace(0.8, 1.2, 14, dtype=torch.float64)
    none = torch.zeros(2, dtype=torch.float64) if needs_pairs(objective) else None
    step = batch_of(
        [3, 5, 4, 2], ["chosen", "rejected"] * 2 if needs_pairs(objective) else ["single"] * 4, logps=logps,
        reference_logps=logps, behaviour_logps=logps, scores=logps,
        values={name: torch.ones(14, dtype=torch.float64) for name in ("advantage", "target", "action")},
        mismatched_logps=none, reference_mismatched_logps=none,
    )  # fmt: skip
    coefficients = token_coefficients(objective, [], step)
    assert torch.isfinite(coefficients).all()
    wrong = (owners % 2 == 1) & needs_pairs(objective)
    assert (coefficients[~wrong] > 0).all() and (coefficients[wrong] < 0).all()


@pytest.mark.parametrize("margin", [0.05, 1.0, 10.0, 50.0, 3000.0])
def test_a_hinge_is_never_taken_for_linear_wherever_it_bends(margin):
    def hinge(chosen_logps, rejected_logps, chosen_tokens, rejected_tokens):
        losses = torch.relu(margin - (chosen_logps - rejected_logps))
        return Losses(losses, torch.ones_like(losses))

    assert not is_linear(hinge)
