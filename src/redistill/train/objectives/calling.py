"""How an objective is called: what it needs is read off its parameter names, and those arguments are taken from the step.

    logps, tokens                      of each example: the summed log-probs and the count of completion tokens
    chosen_logps, rejected_logps, ...  the same of the two sides of each pair
    token_logps, scores                of each token, as a Ragged
    advantages, weights, targets,      the token values of the batch, as a Ragged
      masks, actions, critic_scores
    groups                             the number of each row's problem
    reference_logps, ...               log-probs under a reference model: `reference_` before the name
    behaviour_token_logps, ...         log-probs under the policy that sampled: `behaviour_` before the name
    teacher_divergences,               of each token, as a Ragged: the divergence of the student's next-token distribution from
      reference_divergences              the teacher's or the reference's (which one: measures.py), and the student's entropy;
    entropies                            the loss must be linear in them
    mismatched_logps                   log-probs of other rows' completions after this row's prompt (KTO's estimate of KL)

`chosen_` or `rejected_` may stand before every quantity of a sequence or a token, behind `reference_` and `behaviour_`:
`reference_rejected_token_logps`. Options of a recipe are keyword-only and never looked up here.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from redistill.errors import OperatorError
from redistill.train.token_batch import Side, TokenBatch


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


# --- what a function needs, read off the function itself --------------------------------------------------------


def inputs_of(function: Callable[..., Any]) -> set[str]:
    """The names of a function's inputs: its parameters without the keyword-only ones, which are options, and without those
    that are bound already (`partial(actions, reference_token_logps=None)` compares with no reference)."""
    plain = function.func if isinstance(function, functools.partial) else function
    bound = function.keywords if isinstance(function, functools.partial) else {}
    parameters = inspect.signature(plain).parameters.values()
    return {p.name for p in parameters if p.kind is not p.KEYWORD_ONLY and p.name not in bound}


def needs_pairs(function: Callable[..., Any]) -> bool:
    """True when an objective or a modifier wants chosen and rejected completions, False when it takes examples."""
    return any(_parts(name).side for name in inputs_of(function))


def needs_reference(objective: Objective) -> bool:
    """True when the objective compares the student with a reference model."""
    return any(name.startswith("reference_") for name in inputs_of(objective))


def needs_reference_logps(function: Callable[..., Any]) -> bool:
    """True when it compares log-probs of tokens with the reference's, not only whole distributions."""
    parts = map(_parts, inputs_of(function))
    return any(p.model == "reference" and p.quantity not in MEASURED for p in parts)


def needs_teacher(function: Callable[..., Any]) -> bool:
    """True when the objective compares the student with a teacher's distributions."""
    return any(_parts(name).model == "teacher" for name in inputs_of(function))


def measures_asked(function: Callable[..., Any]) -> set[tuple[str, str]]:
    """What is to be measured over the vocabulary for it: {("teacher", "divergences"), ("", "entropies")}."""
    return {(p.model, p.quantity) for p in map(_parts, inputs_of(function)) if p.quantity in MEASURED}


def needs_behaviour(objective: Callable[..., Any]) -> bool:
    """True when the objective compares the student with the policy that sampled the completions."""
    return any(_parts(name).model == "behaviour" for name in inputs_of(objective))


def needs_mismatched(objective: Objective) -> bool:
    """True when the objective wants the log-probs of completions that answer another row's prompt."""
    return "mismatched_logps" in inputs_of(objective)


def needs_lengths(objective: Objective) -> bool:
    """True when token counts enter the objective: it averages over a completion's tokens somewhere."""
    return bool({"tokens", "chosen_tokens", "rejected_tokens"} & inputs_of(objective))


def needs_scores(objective: Objective) -> bool:
    """True when the objective is of the outputs of a score head, False when it is of log-probs."""
    return "scores" in quantities_of(objective)


def trains_critic(objective: Objective) -> bool:
    """True when the objective learns labels of right and wrong completions, from scores or from log-probs: what it trains
    answers no problem."""
    return needs_scores(objective) or "target" in needs_values([objective])


def needs_values(functions: Iterable[Callable[..., Any]]) -> set[str]:
    """The token values (their names in `TokenBatch.values`) that objectives and modifiers ask for."""
    asked = {quantity for function in functions for quantity in quantities_of(function)}
    return {_VALUE_OF[name] for name in asked & _VALUE_OF.keys()}


def quantities_of(function: Callable[..., Any]) -> set[str]:
    """The names of a function's inputs without model and side: {"logps"} of (chosen_logps, reference_chosen_logps)."""
    return {_parts(name).quantity for name in inputs_of(function)}


class _Parts(NamedTuple):
    """A parameter name in its parts: `reference_chosen_logps` is ("reference", "chosen", "logps")."""

    model: str
    side: str
    quantity: str


def _parts(name: str) -> _Parts:
    match = re.match(r"(?:(reference|behaviour|teacher)_)?(?:(chosen|rejected)_)?", name)
    assert match is not None  # it matches the empty text
    return _Parts(match[1] or "", match[2] or "", name[match.end() :])


# --- calling it ---------------------------------------------------------------------------------------------------

_VALUE_OF = {
    "advantages": "advantage",
    "weights": "weight",
    "targets": "target",
    "masks": "mask",
    "actions": "action",
    "critic_scores": "critic_score",
}
_BY_ROW = ("row_weights", "mismatched_logps", "reference_mismatched_logps")
MEASURED = ("divergences", "entropies")  # quantities of whole next-token distributions
_BY_SEQUENCE = ("logps", "tokens", "groups", "token_logps", "scores", *MEASURED, *_VALUE_OF)
_OF_OTHERS = {  # which quantities a model's prefix may stand before
    "reference": ("logps", "token_logps", "divergences"),
    "behaviour": ("logps", "token_logps"),
    "teacher": ("divergences",),
}


def row_losses(objective: Objective, batch: TokenBatch, weights: Tensor, tokens: Tensor) -> Losses:
    """The objective on a step's rows. weights: (T,), what multiplies each token's log-prob; tokens: (S,), the counts that
    the objective divides by."""
    return objective(**arguments(objective, batch, weights, tokens))


def arguments(
    function: Callable[..., Any], batch: TokenBatch, weights: Tensor, tokens: Tensor
) -> dict[str, Tensor | Ragged]:
    """What `function` asks for, by parameter name. OperatorError for a name that no step has, or this one does not."""
    return {name: _argument(name, function, batch, weights, tokens) for name in sorted(inputs_of(function))}


def _argument(
    name: str, function: Callable[..., Any], batch: TokenBatch, weights: Tensor, tokens: Tensor
) -> Tensor | Ragged:
    if name in _BY_ROW:
        return _known(getattr(batch, name), name, function)
    model, side, quantity = _parts(name)
    if quantity not in _BY_SEQUENCE or quantity not in _OF_OTHERS.get(model, _BY_SEQUENCE) or name == "divergences":
        raise OperatorError(
            f"{name_of(function)} asks for {name!r}, which a training step does not have; it has {', '.join(_BY_SEQUENCE)}, "
            f"the same behind chosen_ and rejected_, log-probs behind reference_ and behaviour_, and {', '.join(_BY_ROW)}; "
            "divergences are behind teacher_ and reference_."
        )
    picked = batch.of(Side[side or "single"])
    if quantity == "tokens":
        return tokens[picked]
    if quantity == "groups":
        return batch.group[picked]
    if quantity in MEASURED:
        held = batch.measures.get(f"{model}_{quantity}".lstrip("_"))
    elif quantity in _VALUE_OF:
        held = batch.values.get(_VALUE_OF[quantity])
    elif quantity == "scores":
        held = batch.scores
    else:
        held = {"": batch.logps, "reference": batch.reference_logps, "behaviour": batch.behaviour_logps}[model]
    values = _known(held, name, function)
    if quantity == "logps":
        return batch.by_sequence(weights * values)[picked]
    place = torch.full((len(batch.counts),), -1).index_copy(0, picked, torch.arange(len(picked)))[batch.sequence]
    here = place >= 0
    return Ragged(values[here], weights[here], place[here])


def _known(tensor: Tensor | None, name: str, function: Callable[..., Any]) -> Tensor:
    if tensor is None:
        raise OperatorError(f"{name_of(function)} asks for {name!r}, which these rows do not have.")
    return tensor


def name_of(function: Callable[..., Any]) -> str:
    """The name of an objective or a modifier as a recipe may write it, whether or not its options are bound."""
    return str(getattr(function, "func", function).__name__)
