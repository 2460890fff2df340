"""What a recipe's `select` table asks for, bound: the sieves a row must pass, and the pairings to compare on paper."""

from functools import partial
from typing import Any

from redistill.config.binding import bind, options_of
from redistill.config.tables import FilterSettings, Plugin, Recipe
from redistill.select import FILTERS, PAIRINGS, BoundFilter


def bind_pairings(recipe: Recipe) -> dict[str, partial[Any]]:
    """Every pairing by name: the recipe's own as it is written, the others with as many pairs a problem as it makes.

    Those of one's own code see every trace; of ours the recipe's own is told whether right traces that were cut may be
    chosen, and the others only where they may: `redi-paper` on paper is as published."""
    keep = recipe.select.truncated_correct == "keep"
    own = bind(PAIRINGS, recipe.select.pairing, "select.pairing")
    most = {"max_pairs": own.keywords["max_pairs"]} if "max_pairs" in own.keywords else {}
    others = {
        name: Plugin(name=name, options=most if "max_pairs" in options_of(function) else {})
        for name, function in PAIRINGS.items()
        if name != recipe.select.pairing.name
    }
    bound = {name: bind(PAIRINGS, plugin, "select.pairing") for name, plugin in others.items()}
    told = {name: partial(pairing, _keep_truncated=True) if keep else pairing for name, pairing in bound.items()}
    if recipe.select.pairing.name in PAIRINGS:
        own = partial(own, _keep_truncated=keep)
    return {recipe.select.pairing.name: own, **told}


def bind_filters(recipe: Recipe, context: int) -> list[BoundFilter]:
    """The two length limits, then the recipe's filters in their order.

    context: tokens that the student can hold; a prompt must leave room for at least one token of answer and the end."""
    limits = recipe.select
    most = min(limits.max_prompt_tokens or context, context - 2)
    settings = [FilterSettings(name="prompt-length", options={"most": most})]
    if limits.max_completion_tokens is not None:
        settings.append(FilterSettings(name="completion-length", options={"most": limits.max_completion_tokens}))
    places = ["select.max_prompt_tokens", "select.max_completion_tokens"][: len(settings)]
    places += [f"select.filters.{i}" for i in range(len(limits.filters))]
    return [
        BoundFilter(bind(FILTERS, filter, where), frozenset(filter.on))
        for where, filter in zip(places, [*settings, *limits.filters], strict=True)
    ]
