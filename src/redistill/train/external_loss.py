"""Our objectives as the loss of another trainer: an answer's token log-probs in, its share of the step's loss out.

    redi = objective_of("redi", {"rejected_weight": 0.8})
    losses, weights = answer_losses(redi, [logps_1, logps_2], [advantages_1, advantages_2])
    (losses / weights).sum() / rows                       what a trainer lowers that divides by its rows

`redistill export` writes files that call these functions inside verl, prime-rl and tinker. Such a trainer hands over single
answers with advantages, in micro-batches that part the answers to a problem, so an objective of pairs is taken apart: where
its loss is a sum of a term of the chosen and a term of the rejected answer (REDI, TOPR and others), every answer brings
its own term, weighted so that the sum is that of all pairs of a right and a wrong answer to one problem.
"""

import functools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from redistill.config.binding import bind
from redistill.config.tables import Plugin
from redistill.train.coefficients import token_coefficients
from redistill.train.objectives import (
    OBJECTIVES,
    Losses,
    Objective,
    needs_mismatched,
    needs_pairs,
    needs_values,
    row_losses,
)
from redistill.train.token_batch import Side, TokenBatch

Kind = Literal["advantages", "examples", "pairs"]


def objective_of(name: str, options: Mapping[str, Any]) -> Objective:
    """The objective of a recipe: its name and its options. OperatorError where there is none, or it has no such option."""
    return bind(OBJECTIVES, Plugin(name=name, options=dict(options)), "objective")


def kind_of(objective: Objective) -> Kind:
    """What an objective reads: answers with advantages, right answers alone, or pairs of a right and a wrong answer."""
    if needs_pairs(objective):
        return "pairs"
    return "advantages" if "advantage" in needs_values([objective]) else "examples"


# --- each answer's loss -----------------------------------------------------------------------------------------------


def answer_losses(
    objective: Objective,
    logps: Sequence[Tensor],
    advantages: Sequence[Tensor],
    behaviour: Sequence[Tensor] | None = None,
) -> Losses:
    """Losses and weights of answers, (answers,) fp64 on the CPU, differentiable in `logps`.

    logps, advantages, behaviour: of each answer (tokens,), its own tokens only; behaviour is under the policy that sampled
    it. An objective of pairs reads the sign of an answer's advantage (right above 0, wrong below) and weighs the answer's
    term by its size; it must be separable. Where it compares with a reference, that is the sampling policy: the author of
    the answers, as in TOPR's paper.
    """
    if not needs_pairs(objective):
        batch = _batch(logps, [Side.single] * len(logps), range(len(logps)), advantages, behaviour)
        losses = row_losses(objective, batch, torch.ones_like(batch.ids, dtype=torch.float64), _tokens(batch))
        if kind_of(objective) == "examples":
            return Losses(losses.losses * _sizes(advantages), losses.weights)
        return losses
    sizes = _sizes(advantages)
    nothing = torch.zeros(1, dtype=torch.float64)  # the other side of each pair: one token, certain, without a gradient
    sequences, sides, policies = list[Tensor](), list[Side](), list[Tensor]()
    for place, (own, size) in enumerate(zip(logps, sizes.tolist(), strict=True)):
        sequences += [own, nothing]
        sides += [Side.chosen, Side.rejected] if size > 0 else [Side.rejected, Side.chosen]
        policies += [own.detach() if behaviour is None else behaviour[place], nothing]
    rows = [place for place in range(len(logps)) for _ in range(2)]
    batch = _batch(sequences, sides, rows, None, policies)
    losses = row_losses(objective, batch, torch.ones_like(batch.ids, dtype=torch.float64), _tokens(batch))
    return Losses(losses.losses * sizes.abs(), losses.weights)


def pair_losses(
    objective: Objective,
    chosen: Sequence[Tensor],
    rejected: Sequence[Tensor],
    reference_chosen: Sequence[Tensor] | None = None,
    reference_rejected: Sequence[Tensor] | None = None,
) -> Losses:
    """Losses and weights of pairs, (pairs,) fp64 on the CPU, where a trainer hands over both sides at once: any objective
    of pairs but one that wants other rows' completions."""

    def turns(one: Sequence[Tensor], other: Sequence[Tensor]) -> list[Tensor]:
        return [side for pair in zip(one, other, strict=True) for side in pair]

    reference = None
    if reference_chosen is not None and reference_rejected is not None:
        reference = turns(reference_chosen, reference_rejected)
    rows = [place for place in range(len(chosen)) for _ in range(2)]
    batch = _batch(turns(chosen, rejected), [Side.chosen, Side.rejected] * len(chosen), rows, None, reference)
    return row_losses(objective, batch, torch.ones_like(batch.ids, dtype=torch.float64), _tokens(batch))


def _batch(
    logps: Sequence[Tensor],
    sides: Sequence[Side],
    rows: Sequence[int],
    advantages: Sequence[Tensor] | None,
    other: Sequence[Tensor] | None,
) -> TokenBatch:
    """other: log-probs of the model that the answers are compared with, as reference and as sampling policy."""
    counts = torch.tensor([len(own) for own in logps], dtype=torch.float64)
    compared = _joined(logps).detach() if other is None else _joined(other).detach()
    numbers = torch.as_tensor(list(rows))
    return TokenBatch(
        ids=torch.zeros(int(counts.sum()), dtype=torch.long),
        counts=counts,
        row=numbers,
        side=torch.tensor([int(side) for side in sides]),
        group=torch.zeros_like(numbers),
        row_weights=torch.ones(len(set(numbers.tolist())), dtype=torch.float64),
        logps=_joined(logps),
        reference_logps=compared,
        behaviour_logps=compared,
        values={} if advantages is None else {"advantage": _joined(advantages).detach()},
    )


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([torch.zeros(0, dtype=torch.float64), *(part.cpu().double() for part in parts)])


def _tokens(batch: TokenBatch) -> Tensor:
    return batch.counts.clamp(min=1.0)


def _sizes(advantages: Sequence[Tensor]) -> Tensor:
    """(answers,): the advantage of each answer, which all of its tokens share."""
    return torch.tensor([float(own[0]) if len(own) else 0.0 for own in advantages], dtype=torch.float64)


# --- what a whole step is divided by, and which advantages make its sum ours ------------------------------------------


@functools.lru_cache(maxsize=8)
def divides_by(objective: Objective) -> tuple[Literal["rows", "tokens"], float]:
    """What the sum of a step's losses is divided by, and the weight of one of them: ("rows", 1.0) for REDI's pairs,
    ("tokens", 1.0) for SFT. Found by asking. ValueError for an objective that weighs its rows by something else."""
    counts = torch.tensor([3.0, 5.0, 7.0, 2.0], dtype=torch.float64)
    parts = [torch.full((int(count),), -0.5, dtype=torch.float64) for count in counts]
    if needs_pairs(objective):
        weights, counts = pair_losses(objective, parts[::2], parts[1::2]).weights, counts[::2]
    else:
        weights = answer_losses(objective, parts, parts).weights
    for what, shares in (("rows", weights), ("tokens", weights / counts)):
        if torch.allclose(shares, shares[0], rtol=0, atol=1e-12):
            return ("rows" if what == "rows" else "tokens"), float(shares[0])
    raise ValueError("the objective weights rows neither equally nor by their tokens")


@functools.lru_cache(maxsize=8)
def is_separable(objective: Objective) -> bool:
    """True when the loss of a pair is a term of its chosen plus a term of its rejected answer, so that answers can be
    handed over one by one. Found by asking: moving one side, by hundredths to thousands of nats, must leave the gradient of
    the other as it is."""
    if not needs_pairs(objective) or needs_mismatched(objective):
        return False
    draw = torch.Generator().manual_seed(0)

    def point() -> Tensor:
        return -(10.0 ** (6 * torch.rand(5, generator=draw).double() - 2.5))

    def gradient(chosen: Tensor, rejected: Tensor) -> tuple[Tensor, Tensor]:
        batch = _batch(
            [chosen, rejected], [Side.chosen, Side.rejected], [0, 0], None, [-chosen * 0 - 1, -rejected * 0 - 1]
        )
        coefficients = token_coefficients(objective, (), batch)
        return coefficients[:5], coefficients[5:]

    for _ in range(12):
        one, other, moved = point(), point(), point()
        if not torch.allclose(gradient(one, other)[0], gradient(one, moved)[0], rtol=0, atol=1e-12):
            return False
        if not torch.allclose(gradient(other, one)[1], gradient(moved, one)[1], rtol=0, atol=1e-12):
            return False
    return True


def step_advantages(
    objective: Objective,
    rewards: Tensor,
    groups: Sequence[Hashable],
    tokens: Tensor,
    advantage: Any,
) -> Tensor:
    """(answers,) fp64: advantages with which `answer_losses`, summed over a whole step and divided by all of its rows (its
    tokens, where the objective divides by these), is our loss of that step.

    rewards: (answers,), NaN where nobody can say: such an answer has advantage 0 and does not count. groups: the problem of
    each. tokens: (answers,). advantage: of `advantages.py`, asked by an objective of advantages alone. For one of pairs a
    right answer is one that earned more than its problem's mean, and all right answers meet all wrong ones.
    """
    known, rewards = ~rewards.isnan(), rewards.double()
    kind, what = kind_of(objective), divides_by(objective)[0]
    sizes = torch.ones_like(rewards) if what == "rows" else tokens.double()
    if kind == "examples":
        taken = known & (torch.where(known, rewards, 0.0) > 0)
        return torch.where(taken, sizes.sum() / sizes[taken].sum(), 0.0)
    advantages, pairs = torch.zeros_like(rewards), 0
    places: dict[Hashable, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group, []).append(place)
    for mine in map(torch.tensor, places.values()):
        if kind == "advantages":
            advantages[mine] = advantage(torch.where(known, rewards, 0.0)[mine][None], known[mine][None])[0].double()
            continue
        here = mine[known[mine]]
        if not len(here):
            continue
        mean = rewards[here].mean()
        equal = rewards[here].amax() == rewards[here].amin()
        right, wrong = (here[:0], here[:0]) if equal else (here[rewards[here] > mean], here[rewards[here] < mean])
        advantages[right], advantages[wrong] = float(len(wrong)), -float(len(right))
        pairs += len(right) * len(wrong)
    if kind == "pairs":
        return advantages * len(rewards) / max(pairs, 1)
    return advantages * sizes.sum() / sizes[known].sum() if bool(known.any()) else advantages
