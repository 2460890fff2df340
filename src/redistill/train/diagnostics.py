"""What the guard reads off a step beside its loss: pure measurements, none of them changes the student.

pair_diagnostics(figures)                       negative_prefix_share and top_token_prob of the step's pairs
update_norm(optimizer)                          || theta_new - theta_old || of the step just taken
held_out_figures(policy, rows, numbers, ...)    log-probs of pairs that are not trained on
held_out_targets(policy, objective, rows, ...)  how right a critic is on rows that are not trained on
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from redistill.model.logps import make_pack
from redistill.records import content_id
from redistill.train.coefficients import step_loss, token_weights
from redistill.train.modifiers import Modifier, reads_logps
from redistill.train.objectives import Objective, needs_scores, needs_values
from redistill.train.objectives.implicit import figures_of_critic
from redistill.train.packing import first_fit_decreasing
from redistill.train.rows import Rows
from redistill.train.step import Ranks, Reference, StepFigures, find_token_logps, token_batch
from redistill.train.token_batch import Side

BLOCK = 1 << 20  # weights looked at at a time by `update_norm`: its scratch stays in the cache and costs no memory


def negative_prefix_share(chosen: Tensor, rejected: Tensor) -> float:
    """Share of pairs whose net weight on the prefix that both sides share is negative. chosen, rejected: (pairs,), the
    coefficients d(loss)/d(-logp) of either side's first token.

    A token in both sides is weighted by the sum of their coefficients; for REDI 1/|y_w| - alpha/|y_l|, negative whenever
    |y_l| < alpha |y_w|: such a pair lowers the very tokens that its chosen side should raise.
    """
    return float((chosen + rejected < 0).double().mean())


def top_token_prob(rejected: Tensor) -> float:
    """Mean probability of the likeliest token on rejected completions. rejected: (pairs,), each its completion's mean.

    Pushing a token down moves its mass to the likeliest one (squeezing, Ren & Sutherland 2024, arXiv 2407.10490), so this
    rises when negatives squeeze the distribution.
    """
    return float(rejected.mean())


def pair_diagnostics(figures: StepFigures) -> dict[str, Any]:
    """The diagnostics of one step on pairs, by their names in metrics.jsonl."""
    chosen, rejected = (figures.of(side, figures.coefficients) for side in (Side.chosen, Side.rejected))
    return {
        "negative_prefix_share": negative_prefix_share(chosen, rejected),
        "top_token_prob": top_token_prob(figures.of(Side.rejected, figures.top_probs)),
    }


def update_norm(optimizer: torch.optim.Optimizer, ranks: Ranks | None = None) -> float:
    """|| theta_new - theta_old || over all trained parameters, after an AdamW step; call it before the next one.

    AdamW took theta_new = (1 - lr wd) theta_old - lr u with u = m_hat / (sqrt(v_hat) + eps), so the step follows from
    theta_new and the moments it left: no copy of the weights is kept. Exact up to the rounding of fp32 weights. Where the
    weights are sharded each rank looks at its slices, and `ranks` sums over them.
    """
    total: list[Tensor] = []
    sharded = False
    with torch.no_grad():
        for group in optimizer.param_groups:
            rate, decay, (beta1, beta2) = float(group["lr"]), float(group["weight_decay"]), group["betas"]
            for parameter in group["params"]:
                state = optimizer.state.get(parameter)
                if not state:
                    continue
                bias1, bias2 = 1 - beta1 ** float(state["step"]), math.sqrt(1 - beta2 ** float(state["step"]))
                sharded = sharded or isinstance(parameter, DTensor)
                mine = (_mine(t).to(parameter.device) for t in (parameter, state["exp_avg"], state["exp_avg_sq"]))
                parts = (t.reshape(-1).split(BLOCK) for t in mine)
                for weight, mean, square in zip(*parts, strict=True):
                    move = mean / square.sqrt().add_(group["eps"] * bias2)
                    move.mul_(rate * bias2 / bias1)  # lr u
                    move.add_(weight, alpha=rate * decay)  # (lr u + lr wd theta_new) / (1 - lr wd) is the step
                    total.append(torch.linalg.vector_norm(move).double() / (1 - rate * decay))
    squares = torch.stack(total).square().sum() if total else torch.zeros((), dtype=torch.float64)
    return math.sqrt(float(ranks.sum(squares) if sharded and ranks is not None else squares))


def _mine(tensor: Tensor) -> Tensor:
    """This rank's slice of a sharded tensor; a tensor that is not sharded as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


# --- held-out pairs -------------------------------------------------------------------------------------------------


def hold_out(rows: Rows, count: int, seed: int) -> tuple[list[int], list[int]]:
    """(numbers to train on, numbers held out), both rising: about `count` rows, at most a tenth, by a hash of the prompt. Of
    pairs and of a critic's rows; none of examples.

    The choice looks at nothing but (seed, prompt), so it does not depend on the order of rows, and all pairs of a problem
    are on the same side.
    """
    if Side.chosen not in rows.sides and "target" not in rows.values:
        return list(range(len(rows))), []
    firsts = [rows.sequences_of(row)[0] for row in range(len(rows))]
    starts = [int(rows.starts[first]) for first in firsts]
    ends = [start + int(rows.prompt_tokens[first]) for start, first in zip(starts, firsts, strict=True)]
    return hold_out_prompts(
        [rows.tokens[start:end].tobytes().hex() for start, end in zip(starts, ends, strict=True)], count, seed
    )


def hold_out_prompts(prompts: Sequence[str], count: int, seed: int) -> tuple[list[int], list[int]]:
    """The same of pairs whose prompts are given, each as the hex digits of its int32 tokens."""
    limit = min(count, len(prompts) // 10)
    if limit == 0:
        return list(range(len(prompts))), []
    rows_of: dict[str, list[int]] = {}
    for row, prompt in enumerate(prompts):
        rows_of.setdefault(content_id("", "guard", str(seed), prompt), []).append(row)
    held: set[int] = set()
    for name in sorted(rows_of):
        if len(held) + len(rows_of[name]) > limit:
            break
        held.update(rows_of[name])
    return [n for n in range(len(prompts)) if n not in held], sorted(held)


def held_out_figures(
    policy: nn.Module,
    rows: Rows,
    numbers: Sequence[int],
    *,
    tokens_per_micro_batch: int,
    device: torch.device,
    ranks: Ranks,
) -> dict[str, float]:
    """Mean per-token log-probs of held-out pairs, their margin and top-token probability. Every rank runs as many packs as the others,
    one of them again where it has run out: a sharded policy is gathered by all ranks together."""
    sequences = [number for row in numbers for number in rows.sequences_of(row)]
    tokens = torch.tensor([rows.completion_tokens(n) for n in sequences], dtype=torch.float64)
    bins = first_fit_decreasing([rows.length(n) for n in sequences], tokens_per_micro_batch)
    sums = torch.zeros(2, len(sequences), dtype=torch.float64, device=device)
    with torch.no_grad():
        share = bins[ranks.number :: ranks.count]
        for turn in range(-(-len(bins) // ranks.count)):
            places = share[turn] if turn < len(share) else bins[-1]
            picked = [rows.sequence(sequences[place]) for place in places]
            pack = make_pack(picked, places, [0.0] * len(places)).to(device)
            _, logps, top_logps = policy(pack)
            if turn >= len(share):
                continue
            sums[0].index_add_(0, pack.row_of_target, logps.double())
            sums[1].index_add_(0, pack.row_of_target, top_logps.double().exp())
    logps, top_probs = ranks.sum(sums).cpu() / tokens
    chosen, rejected = map(rows.sides.index, (Side.chosen, Side.rejected))
    logp_of, top_prob_of = logps.view(len(numbers), -1), top_probs.view(len(numbers), -1)  # (pairs, sides)
    chosen_logp, rejected_logp = float(logp_of[:, chosen].mean()), float(logp_of[:, rejected].mean())
    return {
        "held_out_chosen_logp": chosen_logp,
        "held_out_rejected_logp": rejected_logp,
        "held_out_margin": chosen_logp - rejected_logp,
        "held_out_top_token_prob": top_token_prob(top_prob_of[:, rejected]),
    }


def mean_token_weights(rows: Rows, modifiers: Sequence[Modifier], *, most: int = 512) -> dict[str, float]:
    """The mean weight of a token, by side, over the first `most` rows: what modifiers leave of them, those that read the
    student's log-probs not asked."""
    asked = [modifier for modifier in modifiers if not reads_logps(modifier)]
    batch = token_batch(rows, range(min(most, len(rows))), needs_values(asked))
    weights, _ = token_weights(asked, batch)
    sides = batch.side[batch.sequence]
    return {side.name: float(weights[sides == side].mean()) for side in rows.sides}


def held_out_targets(
    policy: nn.Module,
    objective: Objective,
    rows: Rows,
    numbers: Sequence[int],
    *,
    tokens_per_micro_batch: int,
    device: torch.device,
    ranks: Ranks,
    reference: Reference | None = None,
) -> dict[str, float]:
    """A critic's loss on held-out rows, and how right it is about their targets: `held_out_` before the names of
    `critic_figures`; what they have no target for is left out. Every rank must call it."""
    sequences = [rows.sequence(number) for row in numbers for number in rows.sequences_of(row)]
    scores = find_token_logps(
        policy, sequences, tokens_per_micro_batch=tokens_per_micro_batch, device=device, ranks=ranks
    )
    batch = token_batch(rows, numbers, needs_values([objective]), reference)
    batch = batch.with_scores(scores) if needs_scores(objective) else batch.with_logps(scores)
    measures = {"loss": float(step_loss(objective, (), batch)), **figures_of_critic(objective, batch)}
    return {f"held_out_{name}": value for name, value in measures.items() if value is not None}
