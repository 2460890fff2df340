"""Whether a stage's objective and modifiers can work, before any model or data; apart from train/stage.py, whose libraries take seconds."""

from collections.abc import Sequence

from redistill.train.coefficients import is_linear, measures_stand_alone
from redistill.train.measures import measures_of
from redistill.train.modifiers import Modifier, check_modifiers
from redistill.train.objectives import Objective, check_options, is_of_package


def check_stage(objective: Objective, modifiers: Sequence[Modifier], where: str) -> None:
    """OperatorError where the objective's options or its modifiers cannot work; costs no model and no data."""
    if is_of_package(objective):
        check_options(objective)
    else:
        is_linear(objective)  # calls it on made-up log-probs, so an option it refuses is refused now
    check_modifiers(objective, modifiers, where)
    if measures_of([objective, *modifiers]):
        measures_stand_alone(objective, tuple(modifiers))
