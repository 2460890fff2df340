"""How an objective is called: what it needs is read off its parameter names, and its gradient is found by asking it.

    chosen_*, rejected_*             pairs (otherwise `logps` and `tokens` of examples)
    reference_chosen_logps, ...      log-probs of the same completions under a reference model
    rejected_token_logps             token log-probs, as a Ragged
    mismatched_logps                 log-probs of other rows' completions after this row's prompt (KTO's estimate of KL)

A step's sequences lie in the order of its rows; pairs as chosen, rejected, chosen, ...
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Losses(NamedTuple):
    """Per row: what is summed, and what the sum over the step is divided by; each (rows,)."""

    losses: Tensor
    weights: Tensor


class Ragged(NamedTuple):
    """Completion tokens of many rows end to end: a value, a weight and the row's number for each; all (tokens,)."""

    values: Tensor
    weights: Tensor
    rows: Tensor

    def sum_by_row(self, values: Tensor, num_rows: int) -> Tensor:
        """(num_rows,): the sum over each row's tokens of weight * value; `values` (tokens,)."""
        return values.new_zeros(num_rows).index_add(0, self.rows, self.weights.to(values) * values)


Objective = Callable[..., Losses]


# --- what an objective needs, read off the function itself ----------------------------------------------------


def parameters_of(function: Callable[..., Any]) -> set[str]:
    """The names of a function's parameters, also where its options are bound."""
    return set(inspect.signature(function.func if isinstance(function, functools.partial) else function).parameters)


def needs_pairs(objective: Objective) -> bool:
    """True when the objective wants chosen and rejected completions, False when it wants examples."""
    return "chosen_logps" in parameters_of(objective)


def needs_reference(objective: Objective) -> bool:
    """True when the objective compares the student with a reference model."""
    return any(name.startswith("reference_") for name in parameters_of(objective))


def needs_mismatched(objective: Objective) -> bool:
    """True when the objective wants the log-probs of completions that answer another row's prompt."""
    return "mismatched_logps" in parameters_of(objective)


def needs_lengths(objective: Objective) -> bool:
    """True when token counts enter the objective: it averages over a completion's tokens somewhere."""
    return bool({"tokens", "chosen_tokens", "rejected_tokens"} & parameters_of(objective))


# --- calling it ---------------------------------------------------------------------------------------------------


def row_losses(
    objective: Objective, logps: Tensor, tokens: Tensor, known: Mapping[str, Tensor | Ragged] | None = None
) -> Losses:
    """The objective on a step's sequences. logps, tokens: (sequences,); `known` holds, by parameter name, what else it
    asks for (reference log-probs, token log-probs)."""
    if not needs_pairs(objective):
        return objective(logps, tokens)
    offered = {
        "chosen_logps": logps[0::2],
        "rejected_logps": logps[1::2],
        "chosen_tokens": tokens[0::2],
        "rejected_tokens": tokens[1::2],
        **(known or {}),
    }
    asked = parameters_of(objective)
    return objective(**{name: value for name, value in offered.items() if name in asked})


def step_loss(
    objective: Objective,
    logps: Tensor,
    tokens: Tensor,
    row_weights: Tensor,
    known: Mapping[str, Tensor | Ragged] | None = None,
) -> Tensor:
    """The loss of one optimizer step, a scalar: sum(row_weight * loss) / sum(row_weight * weight). fp64 in, fp64 out."""
    found = row_losses(objective, logps, tokens, known)
    return (row_weights * found.losses).sum() / (row_weights * found.weights).sum()


def sequence_coefficients(
    objective: Objective,
    logps: Tensor,
    tokens: Tensor,
    row_weights: Tensor,
    known: Mapping[str, Tensor | Ragged] | None = None,
) -> Tensor:
    """-d(step loss)/d(logps), (sequences,): what each sequence's -logp is multiplied by in the backward pass."""
    leaf = logps.detach().double().requires_grad_(True)
    loss = step_loss(objective, leaf, tokens.double(), row_weights.double(), known)
    (gradient,) = torch.autograd.grad(loss, leaf)
    return -gradient


@functools.lru_cache(maxsize=8)
def is_linear(objective: Objective) -> bool:
    """True when the gradient does not depend on the log-probs, so one pass over the student is enough.

    Found by asking the objective at points of every scale that log-probs come in, so there is no flag to forget. One that
    asks for token or mismatched log-probs needs the first pass in any case.
    """
    if "rejected_token_logps" in parameters_of(objective) or needs_mismatched(objective):
        return False
    tokens = torch.tensor([3.0, 5.0, 7.0, 2.0], dtype=torch.float64)
    weights = torch.ones(2 if needs_pairs(objective) else 4, dtype=torch.float64)
    near = torch.tensor([[-0.3, -0.2, -0.4, -0.1], [-0.1, -0.4, -0.2, -0.3]], dtype=torch.float64)
    # margins of either sign from tenths to tens of thousands: a hinge anywhere between bends somewhere here
    points = [scale * point for scale in (1.0, 10.0, 100.0, 1e3, 1e5) for point in near]
    known: dict[str, Tensor | Ragged] = {
        "reference_chosen_logps": points[1][0::2],
        "reference_rejected_logps": points[1][1::2] - 1,
    }
    found = [sequence_coefficients(objective, p, tokens, weights, known) for p in points]
    return all(torch.allclose(found[0], other, rtol=0, atol=1e-12) for other in found[1:])
