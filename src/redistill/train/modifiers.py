"""What changes how strongly single tokens, rows or lengths count, whatever the objective. Small pure functions.

    modifiers: [shared-prefix-mask, {name: divergence-window, window: 64, decay: 0.5}, {name: nll-anchor, alpha: 0.2}]

A modifier's parameter names say where it enters:

    chosen_ids, rejected_ids        one pair's completion tokens -> TokenWeights: weight w_t multiplies log-prob t in the
      (and *_token_logps,           sequence sum (of the student and of the reference alike; of token-level losses, the
       *_weights)                   token's loss). Several multiply. |y| stays the count of all tokens, so what is masked
                                    is simply gone; with `renormalise` it becomes the sum of the weights (of their absolute
                                    values), so what is left is pushed harder. A side with nothing left counts as log-prob 0
                                    over 1 token.
    ids, token_logps, weights,      the same of one sequence -> SequenceWeights; works on examples and on both sides of pairs
      critic_scores, side
    chosen_tokens, rejected_tokens  the step's counts -> the counts that the objective divides by
    chosen_logps, or anything of    the step's log-probs, unmodified -> a loss a row, added to the objective's
      a reference model, divergences,
      entropies

To add one: a function, a line in MODIFIERS, a hand-worked test, a line in docs/objectives.md.
"""

import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from redistill.errors import OperatorError
from redistill.model.token_credit import Form, credit
from redistill.train.objectives import (
    MEASURED,
    Objective,
    Ragged,
    name_of,
    needs_behaviour,
    needs_lengths,
    needs_pairs,
    needs_reference,
    needs_scores,
    quantities_of,
)
from redistill.train.token_batch import Side


class TokenWeights(NamedTuple):
    """The weight of each completion token of one pair, and whether |y| becomes their sum."""

    chosen: Tensor  # (chosen tokens,)
    rejected: Tensor  # (rejected tokens,)
    renormalise: bool

    @property
    def factors(self) -> tuple[Tensor, ...]:
        """The weights, sequence by sequence."""
        return self.chosen, self.rejected


class SequenceWeights(NamedTuple):
    """The weight of each completion token of one sequence, and whether |y| becomes their sum."""

    weights: Tensor  # (tokens,)
    renormalise: bool

    @property
    def factors(self) -> tuple[Tensor, ...]:
        """The weights, sequence by sequence."""
        return (self.weights,)


Modifier = Callable[..., Any]

# --- weights of tokens --------------------------------------------------------------------------------------------


def shared_prefix(chosen_ids: Tensor, rejected_ids: Tensor) -> int:
    """How many tokens two completions share from their start."""
    least = min(len(chosen_ids), len(rejected_ids))
    return int((chosen_ids[:least] == rejected_ids[:least]).long().cumprod(0).sum())


def shared_prefix_mask(chosen_ids: Tensor, rejected_ids: Tensor, *, renormalise: bool = False) -> TokenWeights:
    """Neither raise nor lower the opening that both completions share: there the pair says nothing, and the net weight
    1/|y_w| - a/|y_l| is negative wherever |y_l| < a |y_w|."""
    prefix = shared_prefix(chosen_ids, rejected_ids)
    chosen, rejected = torch.ones(len(chosen_ids)).double(), torch.ones(len(rejected_ids)).double()
    chosen[:prefix] = 0.0
    rejected[:prefix] = 0.0
    return TokenWeights(chosen, rejected, renormalise)


def divergence_window(
    chosen_ids: Tensor,
    rejected_ids: Tensor,
    *,
    window: Annotated[int, Field(ge=1)] = 64,
    decay: Annotated[float, Field(ge=0, le=1)] = 0.5,
    renormalise: bool = False,
) -> TokenWeights:
    """Push rejected down where it goes wrong: weight 0 on the shared prefix, 1 on the first `window` tokens after the
    divergence, and `decay` times less on each window after that. Chosen keeps its weights.

    decay 0 keeps the first window alone, decay 1 all tokens after the divergence.
    """
    distance = torch.arange(len(rejected_ids)) - shared_prefix(chosen_ids, rejected_ids)
    faded = torch.pow(torch.tensor(decay).double(), distance.clamp(min=0) // window)
    return TokenWeights(torch.ones(len(chosen_ids)).double(), torch.where(distance < 0, 0.0, faded), renormalise)


def negative_floor(
    chosen_ids: Tensor,
    rejected_token_logps: Tensor,
    *,
    min_probability: Annotated[float, Field(ge=0, le=1)] = 0.01,
    renormalise: bool = False,
) -> TokenWeights:
    """Spare the rejected tokens that the student already finds less likely than `min_probability`: pushing those moves
    mass to the likeliest token and teaches nothing (squeezing, Ren & Sutherland 2024, arXiv 2407.10490)."""
    kept = rejected_token_logps.exp() >= min_probability
    return TokenWeights(torch.ones(len(chosen_ids)).double(), kept.double(), renormalise)


Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _moved(weights: Tensor, ids: Tensor, shuffle: int | None) -> Tensor:
    """The same weights at other tokens, in an order that the seed `shuffle` and the row's own tokens decide; as they are for None. What a
    method gains over this control is due to where its weights stand."""
    if shuffle is None:
        return weights
    # rows of one length share no order: where rows are alike, one order for all would again be a choice of places
    row = zlib.crc32(ids.to("cpu", torch.int64).numpy().tobytes(), shuffle)
    order = torch.randperm(len(weights), generator=torch.Generator().manual_seed(row))
    return weights[order.to(weights.device)]


def span_weights(
    weights: Tensor, ids: Tensor, *, renormalise: bool = False, shuffle: Seed | None = None
) -> SequenceWeights:
    """The weights that rows bring as character spans (Example.spans, Pair.chosen_spans, Pair.rejected_spans): a wrong step
    from a judge, a token weight of cDPO. A token weighs the mean over its characters; what no span covers weighs 1. A
    negative weight turns the token's push round; lengths count its absolute value. shuffle: a seed that moves a row's weights to
    other tokens of the row, in an order of its own for each row, as a control."""
    return SequenceWeights(_moved(weights, ids, shuffle), renormalise)


def token_credit(
    critic_scores: Tensor,
    ids: Tensor,
    side: Side,
    *,
    form: Form = "paper",
    renormalise: bool = False,
    shuffle: Seed | None = None,
) -> SequenceWeights:
    """Each token by how much it has to do with the answer's being right or wrong, by the scores of the stage's `critic` or of the
    one that learns beside it (`rollouts.critic`): right answers (chosen, examples) where the critic says right, wrong ones
    (rejected, answers with a negative advantage) where it says wrong; 0 elsewhere, and everywhere for a critic that has
    learned nothing. shuffle: as of span-weights. Source: Lyu et al. 2025 (OREAL), arXiv 2502.06781, Eq. 10."""
    right, wrong = credit(critic_scores, form=form)
    return SequenceWeights(_moved(wrong if side == Side.rejected else right, ids, shuffle), renormalise)


# --- counts -------------------------------------------------------------------------------------------------------


def aggregation(
    chosen_tokens: Tensor,
    rejected_tokens: Tensor,
    row_weights: Tensor,
    *,
    by: Literal["sequence", "token", "balanced"] = "balanced",
) -> tuple[Tensor, Tensor]:
    """What the sums of log-probs are divided by; (pairs,) each, in and out.

    sequence: the completion's own count, as REDI does, so a long trace's tokens weigh less. token: the mean count of all
    the step's completions, so every token weighs the same, and whichever side is longer weighs more. balanced: the mean
    count of each side by itself, so tokens of one side weigh the same and the sides keep their balance.
    """
    if by == "sequence":
        return chosen_tokens, rejected_tokens
    chosen = (row_weights * chosen_tokens).sum() / row_weights.sum()
    rejected = (row_weights * rejected_tokens).sum() / row_weights.sum()
    if by == "token":
        chosen = rejected = (chosen + rejected) / 2
    return chosen.expand_as(chosen_tokens), rejected.expand_as(rejected_tokens)


# --- added losses -------------------------------------------------------------------------------------------------


def nll_anchor(chosen_logps: Tensor, chosen_tokens: Tensor, *, alpha: float = 1.0) -> Tensor:
    """alpha times the mean NLL of chosen, over all its tokens whatever else is masked: holds the right traces up while
    the objective pulls the two apart. (pairs,). `dpo` with it is `irpo`."""
    return -alpha * chosen_logps / chosen_tokens


def kl(
    token_logps: Ragged,
    reference_token_logps: Ragged,
    tokens: Tensor,
    *,
    beta: Annotated[float, Field(ge=0)] = 0.01,
    estimator: Literal["k1", "k2", "k3", "full"] = "k3",
    to: Literal["reference", "previous"] = "reference",
    per: Literal["sequence", "token"] = "sequence",
    over: Literal["all", "learned"] = "all",
) -> Tensor:
    """beta times an estimate of KL(student | reference) on the row's own tokens, the mean over them: (rows,). Examples only.

    to: the reference, or the policy that sampled the answers, of a stage with rollouts; at the first of a round's updates
    that is the student itself, where k2, k3 and full have a gradient of 0. per: each row over its own tokens, or all tokens
    of the step alike. With d = log pi - log pi_reference of a token that the student sampled: k1 is d, k2 is d^2 / 2, k3 is exp(-d) + d - 1
    (GRPO's; never negative). Schulman 2020, joschu.net/blog/kl-approx.html. k1 as a loss has a gradient of mean zero
    and pulls nowhere: it is there to be compared with. full is not an estimate but the divergence itself at each token, summed
    over the vocabulary; the reference then runs beside the student. over: the mean is over all tokens of the row, or over
    those that its spans give a weight (`learned`), such as all but the wrong attempts of a self-correction row (S2R).
    """
    if estimator == "full" or to == "previous" or over == "learned":
        raise ValueError("a step calls another function in the place of this kl: see `in_full`")
    divergence = _estimated(token_logps, reference_token_logps, estimator)
    return beta * _mean_by_row(divergence, tokens, per)


def kl_on_learned(
    token_logps: Ragged,
    reference_token_logps: Ragged,
    weights: Ragged,
    tokens: Tensor,
    *,
    beta: Annotated[float, Field(ge=0)] = 0.01,
    estimator: Literal["k1", "k2", "k3", "full"] = "k3",
) -> Tensor:
    """What `kl` with `over: learned` is."""
    return beta * _mean_of_learned(_estimated(token_logps, reference_token_logps, estimator), weights, tokens)


def previous_kl(
    token_logps: Ragged,
    behaviour_token_logps: Ragged,
    tokens: Tensor,
    *,
    beta: Annotated[float, Field(ge=0)] = 0.01,
    estimator: Literal["k1", "k2", "k3"] = "k3",
    per: Literal["sequence", "token"] = "sequence",
) -> Tensor:
    """`kl` with `to: previous`: to the policy that sampled the answers (OREAL, arXiv 2502.06781, Eq. 11)."""
    return beta * _mean_by_row(_estimated(token_logps, behaviour_token_logps, estimator), tokens, per)


def full_kl(
    reference_divergences: Ragged,
    tokens: Tensor,
    *,
    beta: Annotated[float, Field(ge=0)] = 0.01,
    per: Literal["sequence", "token"] = "sequence",
) -> Tensor:
    """beta times KL(student || reference) over the whole vocabulary at each of the row's tokens, the mean over them: (rows,).
    What `kl` with `estimator: full` is."""
    return beta * _mean_by_row(reference_divergences, tokens, per)


def _estimated(token_logps: Ragged, others: Ragged, estimator: str) -> Ragged:
    """An estimate of the divergence at each token that the student sampled."""
    apart = token_logps.values - others.values
    estimates = {"k1": apart, "k2": apart**2 / 2, "k3": torch.expm1(-apart) + apart}[estimator]
    return Ragged(estimates, estimates, token_logps.rows)


def full_kl_on_learned(
    reference_divergences: Ragged, weights: Ragged, tokens: Tensor, *, beta: Annotated[float, Field(ge=0)] = 0.01
) -> Tensor:
    """What `kl` with `estimator: full` and `over: learned` is."""
    return beta * _mean_of_learned(reference_divergences, weights, tokens)


def entropy(entropies: Ragged, tokens: Tensor, *, coefficient: float = 0.01) -> Tensor:
    """A bonus for the entropy of the student's next-token distributions: -coefficient times its mean over the row's tokens, in
    nats, (rows,). A negative coefficient sharpens the student. Source: Williams & Peng 1991; Mnih et al. 2016,
    arXiv 1602.01783, section 4."""
    return -coefficient * _mean_by_row(entropies, tokens)


def _mean_by_row(values: Ragged, tokens: Tensor, per: Literal["sequence", "token"] = "sequence") -> Tensor:
    """(rows,): each row's mean over its tokens; by token what a mean over the rows makes the mean over all tokens of."""
    plain = Ragged(values.values, torch.ones_like(values.values), values.rows)
    return plain.sum_by_row(values.values, len(tokens)) / (tokens if per == "sequence" else tokens.mean())


def _mean_of_learned(values: Ragged, weights: Ragged, tokens: Tensor) -> Tensor:
    """The mean over the tokens of each row whose weight is not 0; 0 for a row without any."""
    learned = (weights.values != 0).to(values.values)
    counts = torch.zeros(len(tokens)).to(learned).index_add(0, weights.rows, learned)
    return Ragged(values.values, learned, values.rows).sum_by_row(values.values, len(tokens)) / counts.clamp(min=1)


def in_full(modifier: Modifier) -> Modifier:
    """The modifier that is called in the place of this one: of `kl` with `estimator: full`, which reads distributions and not
    log-probs, `full_kl`; with `to: previous`, which reads log-probs of another policy, `previous_kl`; with `over: learned` one that
    reads the weights of spans; any other is itself. OperatorError for a full divergence from the previous policy, whose distributions
    nobody keeps, and for `over: learned` with `to: previous` or `per: token`."""
    options = dict(getattr(modifier, "keywords", {}))
    if getattr(modifier, "func", modifier) is not kl:
        return modifier
    to_previous, full = options.pop("to", "reference") == "previous", options.get("estimator") == "full"
    learned = options.pop("over", "all") == "learned"
    if to_previous and full:
        raise OperatorError(
            "modifiers: kl with `to: previous` has the log-probs of sampled tokens alone; write `estimator: k3`, or `to: reference`."
        )
    if learned and (to_previous or options.pop("per", "sequence") == "token"):
        raise OperatorError(
            "modifiers: kl with `over: learned` is a mean over a row's weighted tokens, relative to the reference; leave `to` and `per` out."
        )
    if to_previous:
        return functools.partial(previous_kl, **options)
    if full:
        del options["estimator"]
        return functools.partial(full_kl_on_learned if learned else full_kl, **options)
    return functools.partial(kl_on_learned, **options) if learned else modifier


# --- what a modifier works on, read off the function itself -----------------------------------------------------


def weighs_tokens(modifier: Modifier) -> bool:
    """True for a modifier of token weights."""
    return bool(quantities_of(modifier) & {"ids", "token_logps", "weights", "critic_scores"}) and not adds_loss(
        modifier
    )


def reads_critic(modifier: Modifier) -> bool:
    """True when it asks for the scores of a critic."""
    return "critic_scores" in quantities_of(modifier)


def adds_loss(modifier: Modifier) -> bool:
    """True for a modifier that adds a loss."""
    return (
        bool(quantities_of(modifier) & {"logps", *MEASURED}) or needs_reference(modifier) or needs_behaviour(modifier)
    )


def reads_logps(modifier: Modifier) -> bool:
    """True when its weights or its loss depend on the student's token log-probs."""
    return "token_logps" in quantities_of(modifier)


def check_modifiers(objective: Objective, modifiers: Sequence[Modifier], where: str) -> None:
    """OperatorError where a modifier cannot work on this objective, or would do nothing."""
    for modifier in modifiers:
        name = name_of(modifier).replace("_", "-")
        name = {"previous-kl": "kl with `to: previous`", "full-kl": "kl with `estimator: full`"}.get(name, name)
        if needs_scores(objective):
            raise OperatorError(
                f"{where}.modifiers: {name} works on log-probs, and {name_of(objective)} is of scores; leave it out."
            )
        if needs_pairs(modifier) and not needs_pairs(objective):
            raise OperatorError(f"{where}.modifiers: {name} works on pairs, but this objective trains on examples.")
        if adds_loss(modifier) and not needs_pairs(modifier) and needs_pairs(objective):
            raise OperatorError(f"{where}.modifiers: {name} works on examples, but this objective trains on pairs.")
        counts = not weighs_tokens(modifier) and not adds_loss(modifier)
        if not needs_lengths(objective) and (counts or getattr(modifier, "keywords", {}).get("renormalise")):
            option = name if counts else f"{name} with renormalise"
            raise OperatorError(
                f"{where}.modifiers: {option} changes the lengths that an objective divides by, but this one sums "
                f"over whole completions; leave it out, or use an objective of mean log-probs (dpo_norm for dpo)."
            )


MODIFIERS: dict[str, Modifier] = {
    "shared-prefix-mask": shared_prefix_mask,
    "divergence-window": divergence_window,
    "negative-floor": negative_floor,
    "span-weights": span_weights,
    "token-credit": token_credit,
    "aggregation": aggregation,
    "nll-anchor": nll_anchor,
    "kl": kl,
    "entropy": entropy,
}
