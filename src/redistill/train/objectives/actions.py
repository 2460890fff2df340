"""S2R's policy gradient: one ratio for each action of an answer, an action being an attempt or a verification.

    actions(token_logps, advantages, actions, behaviour_token_logps, reference_token_logps, tokens, clip=0.2, kl=0.05)

The token value `action` numbers a row's actions 0, 1, 2, ..., -1 on tokens that belong to none; `advantage` is the same on all
tokens of an action. With one action a row this is the sequence-level objective (outcome rewards), with one a segment the
process-level one. Source: S2R, arXiv 2502.12853, section 3.2.
"""

import functools
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from redistill.train.objectives.calling import Losses, Objective, Ragged

Of = Literal["sum", "mean"]
MOST_NATS = 10.0  # of a log ratio either way, as in the released code: its exponential stays finite


def actions(
    token_logps: Ragged,
    advantages: Ragged,
    actions: Ragged,
    behaviour_token_logps: Ragged | None,
    reference_token_logps: Ragged | None,
    tokens: Tensor,
    *,
    clip: Annotated[float, Field(ge=0, le=1)] = 0.2,
    kl: Annotated[float, Field(ge=0)] = 0.05,
    kl_of: Of = "sum",
    ratio_of: Of = "sum",
) -> Losses:
    """-min(r A, clip(r, 1 - clip, 1 + clip) A) of each action, the mean over all actions of the step.

    All (tokens,) of all rows; tokens: (rows,). r = pi / pi_behaviour of the action: of all its tokens (ratio_of `sum`, the
    probability of the action), or their geometric mean (`mean`, the released code). A is the action's advantage less kl times
    log pi_behaviour / pi_reference, summed over its tokens (kl_of `sum`) or their mean (`mean`, the code's offline form): S2R's KL
    is part of the advantage and has no gradient of its own. None for behaviour_token_logps: the student has not moved since
    it answered, so r = 1; None for reference_token_logps: kl is 0 and nothing is compared.
    """
    here = actions.values >= 0
    rows, logps = token_logps.rows[here], token_logps.values[here]
    weights = token_logps.weights[here].to(logps)
    numbered = actions.values[here].long()
    width = int(numbered.max()) + 1 if len(numbered) else 1  # any above the largest number tells the rows apart
    numbers, action = torch.unique(rows * width + numbered, return_inverse=True)
    counts = torch.zeros(len(numbers)).to(logps).index_add(0, action, torch.ones_like(logps))

    def by_action(values: Tensor, of: Of) -> Tensor:
        sums = values.new_zeros(len(numbers)).index_add(0, action, weights * values)
        return sums / counts if of == "mean" else sums

    before = logps.detach() if behaviour_token_logps is None else behaviour_token_logps.values[here]
    ratio = by_action(logps - before, ratio_of).clamp(-MOST_NATS, MOST_NATS).exp()
    plain = torch.zeros_like(counts).index_add(0, action, advantages.values[here]) / counts
    if reference_token_logps is not None:
        plain = plain - kl * by_action(before - reference_token_logps.values[here], kl_of).detach()
    gains = torch.minimum(ratio * plain, ratio.clamp(1 - clip, 1 + clip) * plain)
    row_of = torch.div(numbers, width, rounding_mode="floor")
    zeros = torch.zeros(len(tokens)).to(logps)
    return Losses(zeros.index_add(0, row_of, -gains), zeros.index_add(0, row_of, torch.ones_like(gains)))


def without_reference(objective: Objective) -> Objective:
    """`actions` with kl 0, which compares with no reference, without that input; any other objective is itself."""
    options = objective.keywords if isinstance(objective, functools.partial) else {}
    if (
        getattr(objective, "func", objective) is not actions
        or options.get("kl") != 0
        or "reference_token_logps" in options
    ):
        return objective
    return functools.partial(actions, **options, reference_token_logps=None)


def where_it_has_not_moved(objective: Objective) -> Objective:
    """`actions` of a student that answered as it is now."""
    options = objective.keywords if isinstance(objective, functools.partial) else {}
    return functools.partial(actions, **{**options, "behaviour_token_logps": None})
