"""What a step of training lowers: pure functions of sequence log-probabilities and lengths.

An objective takes what it names (sums of token log-probs, token counts, values of single tokens) and returns for each row
(an example or a pair) a loss and a weight; the step's loss is sum(losses) / sum(|weights|) over the whole optimizer step,
across micro-batches and ranks. Its parameter names say what it needs (calling.py). The options of a recipe are its
keyword-only arguments.

    redi(chosen_logps, rejected_logps, chosen_tokens, rejected_tokens, rejected_weight=0.8)

To add one: a function in likelihood.py, preference.py, unpaired.py, policy.py, distillation.py, scores.py or implicit.py, a line in OBJECTIVES, a
hand-worked test, a line in docs/objectives.md.
"""

import inspect
from collections.abc import Callable
from typing import Any

from redistill.train.objectives.actions import actions, without_reference
from redistill.train.objectives.calling import (
    MEASURED,
    Losses,
    Objective,
    Ragged,
    arguments,
    inputs_of,
    measures_asked,
    name_of,
    needs_behaviour,
    needs_lengths,
    needs_mismatched,
    needs_pairs,
    needs_reference,
    needs_reference_logps,
    needs_scores,
    needs_teacher,
    needs_values,
    quantities_of,
    row_losses,
    trains_critic,
)
from redistill.train.objectives.distillation import distill
from redistill.train.objectives.implicit import implicit
from redistill.train.objectives.likelihood import redi, redi_bounded, sft, symmetric, unlikelihood
from redistill.train.objectives.policy import check_length, grpo, on_policy, oreal, reinforce
from redistill.train.objectives.preference import (
    check_margin,
    cpo_simpo,
    dpo,
    dpo_norm,
    dpop,
    ipo,
    irpo,
    nca,
    orpo,
    simpo,
)
from redistill.train.objectives.scores import outcome, process
from redistill.train.objectives.unpaired import asymre, kto, topr

OBJECTIVES: dict[str, Objective] = {
    "sft": sft,
    "redi": redi,
    "symmetric": symmetric,
    "redi_bounded": redi_bounded,
    "unlikelihood": unlikelihood,
    "asymre": asymre,
    "topr": topr,
    "kto": kto,
    "simpo": simpo,
    "cpo_simpo": cpo_simpo,
    "orpo": orpo,
    "dpo": dpo,
    "dpo_norm": dpo_norm,
    "ipo": ipo,
    "irpo": irpo,
    "dpop": dpop,
    "nca": nca,
    "reinforce": reinforce,
    "grpo": grpo,
    "actions": actions,
    "oreal": oreal,
    "outcome": outcome,
    "process": process,
    "implicit": implicit,
    "distill": distill,
}
# of a critic that learns beside the student that samples
CRITIC_OBJECTIVES: dict[str, Objective] = {"outcome": outcome, "implicit": implicit}

# what an objective refuses of options that are right one by one; it asks the same when it is called
_OPTION_CHECKS: dict[Callable[..., Any], Callable[..., None]] = {
    simpo: check_margin,
    reinforce: check_length,
    grpo: check_length,
}


def is_of_package(objective: Objective) -> bool:
    """True for an objective of this package, False for a user's own."""
    return getattr(objective, "func", objective) in OBJECTIVES.values()


def check_options(objective: Objective) -> None:
    """OperatorError where an objective of this package refuses its options together. Computes nothing."""
    function = getattr(objective, "func", objective)
    check = _OPTION_CHECKS.get(function)
    if check is None:
        return
    written, parameters = getattr(objective, "keywords", {}), inspect.signature(function).parameters
    check(**{name: written.get(name, parameters[name].default) for name in inspect.signature(check).parameters})


__all__ = [
    "CRITIC_OBJECTIVES",
    "MEASURED",
    "OBJECTIVES",
    "Losses",
    "Objective",
    "Ragged",
    "arguments",
    "check_options",
    "distill",
    "inputs_of",
    "is_of_package",
    "measures_asked",
    "name_of",
    "needs_behaviour",
    "needs_lengths",
    "needs_mismatched",
    "needs_pairs",
    "needs_reference",
    "needs_reference_logps",
    "needs_scores",
    "needs_teacher",
    "needs_values",
    "on_policy",
    "quantities_of",
    "redi",
    "row_losses",
    "sft",
    "simpo",
    "symmetric",
    "trains_critic",
    "without_reference",
]
