"""Does the recipe that `redistill init` is about to write make any row? Tried on the file's beginning, as `redistill plan` does.

    empty = empty_streams(text, "mine.jsonl")       {"pairs": "no pair was made from 40 problems (40 no_wrong_trace): ..."}

A file whose traces all are wrong, end in no answer that can be read, or are longer than the student's context makes a recipe without
a mistake in it and a run that stops at its third stage; this says so before there is a recipe.
"""

import tempfile
from pathlib import Path

from redistill.config.parsing import parse_recipe
from redistill.config.yaml_text import read_text
from redistill.io.progress import say
from redistill.model import loading
from redistill.pipeline.plan import make_plan, stage_stream
from redistill.select.empty import explain_empty
from redistill.tools.estimate.sample import look

_UNITS = {"examples": "trace", "pairs": "problem", "labelled": "trace"}


def empty_streams(text: str, where: str) -> dict[str, str]:
    """Stream of rows that a stage of the recipe trains on and that would be empty -> why, a sentence. Nothing of a student on the
    hub, which is not fetched for this. OperatorError where the sources' rows cannot be rendered for the student."""
    recipe = parse_recipe(read_text(text, where), where)
    if loading.is_on_hub(recipe.student):
        return {}
    say("init     trying the recipe on the first traces, as `redistill plan` does")
    plan = make_plan(recipe)
    with tempfile.TemporaryDirectory(prefix="redistill-init-") as nothing:
        looked = look(plan, Path(nothing) / recipe.name, command="init")
    empty = {}
    for name in dict.fromkeys(stage_stream(plan, stage) for stage in recipe.train):
        if name not in looked.streams:
            continue
        lengths = looked.streams[name].lengths
        if not len(lengths):
            dropped = looked.dropped[name]
            account = {"in": sum(dropped.values()), "kept": 0, "dropped": dropped, "unit": _UNITS[name]}
            empty[name] = explain_empty({"accounts": {name: account}})
        elif lengths.max(axis=1).min() > plan.context:
            empty[name] = (
                f"none of the {len(lengths)} {name} fits into the student's context of {plan.context:,} tokens (the shortest has "
                f"{lengths.max(axis=1).min():,}, prompt included): use a student with a longer context, or shorter traces."
            )
    return empty
