"""What a recipe's `select` table asks for, bound: the filters a row must pass, and the pairings to compare offline."""

from collections.abc import Callable
from functools import partial
from typing import Any

from redistill.config.binding import bind, options_of
from redistill.config.tables import FilterSettings, Plugin, Recipe
from redistill.select import FILTERS, PAIRINGS, BoundFilter


def bind_pairings(recipe: Recipe) -> dict[str, partial[Any]]:
    """Every pairing by name: the recipe's own as it is written, the others with as many pairs a problem as it makes.

    Those of one's own code see every trace; of ours the recipe's own gets as an option whether right traces that were cut may be
    chosen, and the others only where they may: `redi-paper` offline is as published."""
    keep = recipe.select.truncated_correct == "keep"
    own = bind(PAIRINGS, recipe.select.pairing, "select.pairing")
    most = {"max_pairs": own.keywords["max_pairs"]} if "max_pairs" in own.keywords else {}
    others = {
        name: Plugin(name=name, options=most if "max_pairs" in options_of(function) else {})
        for name, function in PAIRINGS.items()
        if name != recipe.select.pairing.name and not _asks_for_options(function)
    }
    bound = {name: bind(PAIRINGS, plugin, "select.pairing") for name, plugin in others.items()}
    bound_pairings = {
        name: partial(pairing, _keep_truncated=True) if keep else pairing for name, pairing in bound.items()
    }
    if recipe.select.pairing.name in PAIRINGS:
        own = partial(own, _keep_truncated=keep)
    return {recipe.select.pairing.name: own, **bound_pairings}


def _asks_for_options(function: Callable[..., Any]) -> bool:
    """Whether a pairing cannot be compared offline, because it has an option that only a recipe can give."""
    return any(parameter.default is parameter.empty for parameter in options_of(function).values())


def bind_filters(recipe: Recipe, context: int) -> list[BoundFilter]:
    """The two length limits and the student's own, then the recipe's filters in their order.

    context: tokens that the student can hold; a prompt must leave room for at least one token of answer and the end."""
    select = recipe.select
    sizes = {"prompt": select.max_prompt_tokens, "completion": select.max_completion_tokens}
    bound: dict[str, FilterSettings] = {
        f"select.max_{part}_tokens": FilterSettings(name=f"{part}-length", options={"most": most}, on=select.limits_on)
        for part, most in sizes.items()
        if most is not None
    }
    bound["student"] = FilterSettings(name="prompt-length", options={"most": context - 2})
    bound |= {f"select.filters.{i}": filter for i, filter in enumerate(select.filters)}
    return [BoundFilter(bind(FILTERS, filter, where), frozenset(filter.on)) for where, filter in bound.items()]


def reads_scores(bound: BoundFilter) -> bool:
    """Whether a filter goes by a score that an earlier stage gives a trace."""
    return isinstance(bound.judge, partial) and bound.judge.func is FILTERS["score"]
