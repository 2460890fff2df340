"""Every objective and modifier of the package a second time, from the papers' formulas, in fp64 on one pair at a time.

    OBJECTIVES["redi"](pair) -> (loss, weight)           the step's loss is sum(row weight * loss) / sum(row weight * weight)
    MODIFIERS["nll-anchor"](pair, pairs)                 changes a pair's token weights, counts or added loss

Nothing here is imported from redistill.train, so that a slip there is not repeated here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

WINDOW, FLOOR = 3, 0.004  # divergence-window's window and negative-floor's min_probability in these checks


@dataclass
class Side:
    """One completion: its token ids, the student's and the reference's log-probs, spans' weights; weights and count as modified."""

    ids: list[int]
    logps: Tensor  # (T,) fp64, with a graph
    reference: Tensor  # (T,) fp64
    spans: Tensor  # (T,) fp64
    weights: Tensor
    count: Tensor

    @property
    def total(self) -> Tensor:
        """The weighted sum of log-probs."""
        return (self.weights * self.logps).sum()

    @property
    def mean(self) -> Tensor:
        """That over the count."""
        return self.total / self.count

    @property
    def ratio(self) -> Tensor:
        """Log-ratio to the reference, summed."""
        return (self.weights * (self.logps - self.reference)).sum()


@dataclass
class PairOfSides:
    """A row of a step. divergence: KTO's z0, the same in every row of the step."""

    chosen: Side
    rejected: Side
    row_weight: float
    divergence: float
    added: Tensor  # losses that modifiers add


def _neg_log_sigmoid(x: Tensor) -> Tensor:
    return torch.logaddexp(torch.zeros_like(x), -x)


def _log_odds(mean: Tensor) -> Tensor:
    return mean - torch.log(1 - torch.exp(mean))


def _dpo(pair: PairOfSides, beta: float = 0.1) -> Tensor:
    return _neg_log_sigmoid(beta * (pair.chosen.ratio - pair.rejected.ratio))


def _simpo(pair: PairOfSides) -> Tensor:
    return _neg_log_sigmoid(2.0 * (pair.chosen.mean - pair.rejected.mean) - 1.0)


def _topr(pair: PairOfSides) -> Tensor:
    wrong = pair.rejected
    weight = torch.exp((wrong.ratio / wrong.count).detach()).clamp(max=1.0)
    return -pair.chosen.mean + weight * wrong.mean


def _kto(pair: PairOfSides) -> Tensor:
    right = 1 - torch.sigmoid(0.1 * (pair.chosen.ratio - pair.divergence))
    return right + 1 - torch.sigmoid(0.1 * (pair.divergence - pair.rejected.ratio))


def _dpop(pair: PairOfSides) -> Tensor:
    fell = torch.relu(-pair.chosen.ratio)
    return _neg_log_sigmoid(0.3 * (pair.chosen.ratio - pair.rejected.ratio - 50.0 * fell))


def _unlikelihood(pair: PairOfSides) -> Tensor:
    wrong = pair.rejected
    return -pair.chosen.mean - (wrong.weights * torch.log(1 - torch.exp(wrong.logps))).sum() / wrong.count


def _nca(pair: PairOfSides) -> Tensor:
    right, wrong = 0.01 * pair.chosen.ratio, 0.01 * pair.rejected.ratio
    return _neg_log_sigmoid(right) + 0.5 * _neg_log_sigmoid(-right) + 0.5 * _neg_log_sigmoid(-wrong)


# name -> (loss of a pair, weight of a pair); the options are the package's defaults
OBJECTIVES: dict[str, tuple[Callable[[PairOfSides], Tensor], float]] = {
    "redi": (lambda p: -p.chosen.mean + 0.8 * p.rejected.mean, 1.0),
    "symmetric": (lambda p: -p.chosen.mean + p.rejected.mean, 1.0),
    "redi_bounded": (lambda p: -p.chosen.mean + 0.8 * torch.exp(p.rejected.mean.detach()) * p.rejected.mean, 1.0),
    "unlikelihood": (_unlikelihood, 1.0),
    "asymre": (lambda p: -1.1 * p.chosen.mean + 0.9 * p.rejected.mean, 2.0),
    "topr": (_topr, 2.0),
    "kto": (_kto, 2.0),
    "simpo": (_simpo, 1.0),
    "cpo_simpo": (lambda p: _simpo(p) - p.chosen.mean, 1.0),
    "orpo": (
        lambda p: -p.chosen.mean + 0.1 * _neg_log_sigmoid(_log_odds(p.chosen.mean) - _log_odds(p.rejected.mean)),
        1.0,
    ),
    "dpo": (_dpo, 1.0),
    "dpo_norm": (
        lambda p: _neg_log_sigmoid(5.0 * (p.chosen.ratio / p.chosen.count - p.rejected.ratio / p.rejected.count)),
        1.0,
    ),
    "ipo": (lambda p: (p.chosen.ratio - p.rejected.ratio - 5.0) ** 2, 1.0),
    "irpo": (lambda p: _dpo(p) - p.chosen.mean, 1.0),
    "dpop": (_dpop, 1.0),
    "nca": (_nca, 1.0),
}
POLICY = {"reinforce", "grpo", "oreal", "actions"}  # objectives of a student's own answers
ACTION = 3  # tokens of an action here; the last one of an answer may be shorter
EXAMPLES = {"sft"}  # objectives of examples: the mean over all completion tokens of the step


def step_loss(name: str, pairs: Sequence[PairOfSides]) -> Tensor:
    """The loss of one optimizer step of pairs, fp64."""
    loss_of, weight = OBJECTIVES[name]
    losses = sum(p.row_weight * (loss_of(p) + weight * p.added) for p in pairs)
    return torch.as_tensor(losses) / sum(p.row_weight * weight for p in pairs)


def sft_loss(sides: Sequence[Side]) -> Tensor:
    """The mean NLL of all completion tokens, fp64."""
    return -torch.cat([side.logps for side in sides]).mean()


# --- modifiers ----------------------------------------------------------------------------------------------------


def policy_loss(
    name: str, logps: Sequence[Tensor], advantages: Sequence[Tensor], behaviour: Sequence[Tensor]
) -> Tensor:
    """`reinforce`, `grpo` and `oreal` with their defaults on answers, each (tokens,): the mean over answers of the mean over tokens; of
    oreal one mean over the tokens of right answers (advantages above 0 in all) and one over those of wrong ones. `actions` with the policy
    that sampled as its reference, so that its KL is 0: the mean over actions."""
    if name == "oreal":
        kinds: tuple[list[Tensor], list[Tensor]] = ([], [])
        for lp, a in zip(logps, advantages, strict=True):
            kinds[int(a.sum() > 0)].append(-torch.where(a > 0, 1.0, 0.5 * a) * lp)
        return torch.stack([torch.cat(kind).mean() for kind in kinds if kind]).sum()
    losses = []
    if name == "actions":
        for lp, a, before in zip(logps, advantages, behaviour, strict=True):
            for apart, of in zip((lp - before).split(ACTION), a.split(ACTION), strict=True):
                r = apart.sum().exp()
                losses.append(-torch.minimum(r * of.mean(), r.clamp(0.8, 1.2) * of.mean()))
        return torch.stack(losses).mean()
    for lp, a, before in zip(logps, advantages, behaviour, strict=True):
        if name == "reinforce":
            losses.append(-(a * lp).mean())
        else:  # min(r A, clip(r, .8, 1.2) A)
            r = (lp - before).exp()
            losses.append(-torch.minimum(r * a, r.clamp(0.8, 1.2) * a).mean())
    return torch.stack(losses).mean()


def divergence(logps: Sequence[Tensor], reference: Sequence[Tensor]) -> Tensor:
    """k3 over all tokens of the step: exp(ref - lp) - (ref - lp) - 1."""
    apart = torch.cat([before - lp for lp, before in zip(logps, reference, strict=True)])
    return (apart.exp() - apart - 1).mean()


def _prefix(pair: PairOfSides) -> int:
    shared = 0
    for a, b in zip(pair.chosen.ids, pair.rejected.ids, strict=False):
        if a != b:
            break
        shared += 1
    return shared


def _mask_prefix(pair: PairOfSides, pairs: Sequence[PairOfSides]) -> None:
    for side in (pair.chosen, pair.rejected):  # with renormalise: what is masked is not counted
        kept = torch.tensor([0.0 if t < _prefix(pair) else 1.0 for t in range(len(side.ids))], dtype=torch.float64)
        side.weights, side.count = side.weights * kept, torch.clamp(kept.sum(), min=1.0)


def _fade(pair: PairOfSides, pairs: Sequence[PairOfSides]) -> None:
    start = _prefix(pair)
    faded = [0.0 if t < start else 0.5 ** ((t - start) // WINDOW) for t in range(len(pair.rejected.ids))]
    pair.rejected.weights = pair.rejected.weights * torch.tensor(faded, dtype=torch.float64)


def _floor(pair: PairOfSides, pairs: Sequence[PairOfSides]) -> None:
    pair.rejected.weights = pair.rejected.weights * (pair.rejected.logps.detach().exp() >= FLOOR).double()


def _spans(pair: PairOfSides, pairs: Sequence[PairOfSides]) -> None:
    for side in (pair.chosen, pair.rejected):
        side.weights = side.weights * side.spans


def _balance(pair: PairOfSides, pairs: Sequence[PairOfSides]) -> None:
    if pair is not pairs[0]:
        return  # the counts of all pairs are set at the first
    whole = sum(p.row_weight for p in pairs)
    means = [sum(p.row_weight * getattr(p, side).count for p in pairs) / whole for side in ("chosen", "rejected")]
    for p in pairs:
        p.chosen.count, p.rejected.count = means


def _anchor(pair: PairOfSides, pairs: Sequence[PairOfSides]) -> None:
    pair.added = pair.added - pair.chosen.logps.mean()


# name -> (options that the package's modifier is given, the second implementation)
MODIFIERS: dict[str, tuple[dict[str, object], Callable[[PairOfSides, Sequence[PairOfSides]], None]]] = {
    "shared-prefix-mask": ({"renormalise": True}, _mask_prefix),
    "divergence-window": ({"window": WINDOW}, _fade),
    "negative-floor": ({"min_probability": FLOOR}, _floor),
    "span-weights": ({}, _spans),
    "aggregation": ({}, _balance),
    "nll-anchor": ({}, _anchor),
}
