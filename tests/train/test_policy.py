"""Policy-gradient objectives: by hand, against autograd on the formulas, and against each other where theory says so."""

import functools

import pytest
import torch

from redistill.errors import OperatorError
from redistill.train.coefficients import step_loss, token_coefficients
from redistill.train.modifiers import in_full, kl, span_weights
from redistill.train.objectives import OBJECTIVES, needs_values, on_policy, sft
from redistill.train.objectives.policy import grpo, reinforce

from .conftest import batch_of

DOUBLE = {"dtype": torch.float64}
COUNTS = [2, 4]
ADVANTAGES = torch.tensor([1.5, 1.5, -0.5, -0.5, -0.5, -0.5], **DOUBLE)
LOGPS = torch.tensor([-1.0, -2.0, -0.5, -0.25, -1.0, -0.25], **DOUBLE)


def step(behaviour=LOGPS, advantages=ADVANTAGES, **more):
    return batch_of(
        COUNTS, ["single"] * 2, logps=LOGPS, behaviour_logps=behaviour, values={"advantage": advantages}, **more
    )


def test_reinforce_by_hand():
    # answer 1: -1.5 * -1.5 = 2.25; answer 2: .5 * -.5 = -.25; mean 1
    assert float(step_loss(reinforce, [], step())) == pytest.approx(1.0, abs=1e-12)
    # by token: (1.5 * 3 - .5 * 2) / 6
    by_token = functools.partial(reinforce, per="token")
    assert float(step_loss(by_token, [], step())) == pytest.approx(3.5 / 6, abs=1e-12)
    # constant 8: (4.5 / 8 - 1 / 8) / 2
    constant = functools.partial(reinforce, per="constant", length=8)
    assert float(step_loss(constant, [], step())) == pytest.approx(3.5 / 16, abs=1e-12)
    # coefficients: A / |y| / rows
    assert token_coefficients(reinforce, [], step()).tolist() == pytest.approx([0.375] * 2 + [-0.0625] * 4, abs=1e-12)


FORMS = [{}, {"ratio": "sequence"}, {"surrogate": "cispo"}, {"per": "token"}, {"per": "constant", "length": 7},
         {"ratio": "sequence", "per": "token"}, {"clip_low": 0.0, "clip_high": 0.0}]  # fmt: skip


@pytest.mark.parametrize("options", FORMS)
def test_at_ratio_one_every_form_of_grpo_has_the_gradient_of_reinforce(options):
    exact = functools.partial(grpo, **options)
    plain = on_policy(exact)
    assert plain.func is reinforce and set(plain.keywords) <= {"per", "length"}
    ours, theirs = (token_coefficients(f, [], step()) for f in (plain, exact))
    if (
        options.get("clip_low") == 0.0
    ):  # at the very edge of the clip autograd may take either side; half of it is taken
        assert torch.allclose(ours.sign(), theirs.sign())
    else:
        assert torch.allclose(ours, theirs, atol=1e-12)


def test_grpo_clips_what_has_gone_far_enough_and_nothing_that_has_to_come_back():
    moved = torch.tensor([0.5, -0.5, 0.5, -0.5, 0.0, 0.0], **DOUBLE)  # log ratio, so ratios 1.65, .61 and 1
    found = token_coefficients(grpo, [], step(behaviour=LOGPS - moved))
    ratio = moved.exp()
    by_hand = ratio * ADVANTAGES / torch.tensor([2.0, 2, 4, 4, 4, 4]) / 2
    by_hand[0] = 0.0  # raised enough already
    by_hand[3] = 0.0  # lowered enough already
    assert found.tolist() == pytest.approx(by_hand.tolist(), abs=1e-12)
    higher = functools.partial(grpo, clip_high=0.7)
    assert token_coefficients(higher, [], step(behaviour=LOGPS - moved))[0].item() == pytest.approx(
        float(ratio[0]) * 1.5 / 4, abs=1e-12
    )


def test_the_ratio_of_an_answer_is_the_geometric_mean_of_its_tokens():
    moved = torch.tensor([0.3, -0.1, 0.2, 0.2, 0.2, -0.2], **DOUBLE)
    found = token_coefficients(functools.partial(grpo, ratio="sequence"), [], step(behaviour=LOGPS - moved))
    ratios = torch.tensor([0.1, 0.1], **DOUBLE).exp()
    by_hand = [float(ratios[0]) * 1.5 / 2 / 2] * 2 + [-float(ratios[1]) * 0.5 / 4 / 2] * 4
    assert found.tolist() == pytest.approx(by_hand, abs=1e-12)


def test_cispo_keeps_the_gradient_of_clipped_tokens():
    moved = torch.tensor([0.5, 0.0, 0.0, -0.5, 0.0, 0.0], **DOUBLE)
    found = token_coefficients(functools.partial(grpo, surrogate="cispo"), [], step(behaviour=LOGPS - moved))
    assert found[0].item() == pytest.approx(1.2 * 1.5 / 4, abs=1e-12)
    assert found[3].item() == pytest.approx(-0.8 * 0.5 / 8, abs=1e-12)


def test_equal_rewards_give_no_gradient():
    none = torch.zeros(6, **DOUBLE)
    for name in ("reinforce", "grpo"):
        assert token_coefficients(OBJECTIVES[name], [], step(advantages=none)).abs().max() == 0


def test_a_constant_without_a_length_and_a_length_without_it_are_refused():
    for options in ({"per": "constant"}, {"length": 8}):
        with pytest.raises(OperatorError, match="needs `length`"):
            step_loss(functools.partial(reinforce, **options), [], step())


def test_other_objectives_have_no_other_form():
    assert on_policy(sft) is sft


# --- the divergence from a reference ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "by_hand"),
    [("k1", lambda d: d), ("k2", lambda d: d * d / 2), ("k3", lambda d: torch.exp(-d) + d - 1)],
)
@pytest.mark.parametrize(
    ("objective", "per_token"), [(sft, True), (functools.partial(sft, aggregation="sequence"), False)]
)
def test_kl_by_hand(estimator, by_hand, objective, per_token):
    reference = torch.tensor([-1.2, -1.0, -0.5, -2.0, -1.1, -0.2], **DOUBLE)
    held = step(reference_logps=reference)
    added = step_loss(objective, [functools.partial(kl, beta=0.3, estimator=estimator)], held) - step_loss(
        objective, [], held
    )
    values = by_hand(LOGPS - reference)
    mean = values.sum() / 6 if per_token else (values[:2].mean() + values[2:].mean()) / 2
    assert float(added) == pytest.approx(0.3 * float(mean), abs=1e-12)


def test_kl_on_what_is_learned_is_the_mean_over_tokens_with_a_weight():
    """Two rows of 2 and 4 tokens, of which 2 and 1 are learned; the weight's size does not matter."""
    reference = torch.tensor([-1.2, -1.0, -0.5, -2.0, -1.1, -0.2], **DOUBLE)
    weights = torch.tensor([1.0, 0.5, 0, 0, 1, 0], **DOUBLE)
    divergences = torch.tensor([0.4, 0.2, 9, 9, 0.6, 9], **DOUBLE)
    held = batch_of(
        COUNTS, ["single"] * 2, logps=LOGPS, reference_logps=reference, values={"weight": weights},
        measures={"reference_divergences": divergences},
    )  # fmt: skip
    by_sequence = functools.partial(sft, aggregation="sequence")
    plain = float(step_loss(by_sequence, [], held))
    learned = in_full(functools.partial(kl, beta=0.3, over="learned"))
    d = LOGPS - reference
    k3 = torch.exp(-d) + d - 1
    assert float(step_loss(by_sequence, [learned], held)) - plain == pytest.approx(
        0.3 * float(k3[:2].mean() + k3[4]) / 2, abs=1e-12
    )
    full = in_full(functools.partial(kl, beta=0.3, estimator="full", over="learned"))
    assert float(step_loss(by_sequence, [full], held)) - plain == pytest.approx(0.3 * (0.3 + 0.6) / 2, abs=1e-12)
    assert needs_values([full]) == needs_values([learned]) == {"weight"}
    # beside span-weights that renormalise, every learned token has the same share of both losses
    both = [functools.partial(span_weights, renormalise=True), full]
    even = batch_of(
        COUNTS, ["single"] * 2, logps=LOGPS, values={"weight": (weights > 0).double()}, measures={"reference_divergences": divergences}
    )  # fmt: skip
    nll = -float(LOGPS[[0, 1, 4]].mean())
    assert float(step_loss(sft, both, even)) == pytest.approx(nll + 0.3 * (0.4 + 0.2 + 0.6) / 3, abs=1e-12)


def test_kl_of_the_reference_itself_is_zero_with_no_gradient():
    held = step(reference_logps=LOGPS)
    with_it, without = (token_coefficients(reinforce, m, held) for m in ([functools.partial(kl, beta=5.0)], []))
    assert torch.allclose(with_it, without, atol=1e-12)
