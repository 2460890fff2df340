"""Conversations of several turns within a run: which text their rows are, and that only what the assistant said is learned."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from redistill.io.stage_folder import StageFolder
from redistill.pipeline.plan import Plan, stage_stream
from redistill.pipeline.stage import Run
from redistill.text.conversations import all_turns
from redistill.train.modifiers import span_weights
from redistill.train.objectives import name_of

TALLY = "conversations"  # in select's ledger: rows whose earlier turns are learned too


def every_turn(plan: Plan) -> Callable[..., Any] | None:
    """What makes one row of all turns of a conversation; None where the last turn alone is learned."""
    chat = plan.render.keywords["chat"]
    if plan.recipe.select.turns == "last" or chat is None:
        return None
    return partial(all_turns, chat=chat, end=str(plan.tokenizer.eos_token))


def modifiers_of(run: Run, stage: str) -> list[Any]:
    """The stage's modifiers, and before them the weights of spans where its examples hold what users and tools said: that has
    weight 0, and lengths count what is learned."""
    listed: list[Any] = run.plan.modifiers[stage]
    if stage_stream(run.plan, stage) != "examples" or any(name_of(one) == "span_weights" for one in listed):
        return listed
    tallies: Mapping[str, Any] = StageFolder(run.folder / "select", "").ledger()["tallies"]
    return [partial(span_weights, renormalise=True), *listed] if tallies.get(TALLY) else listed
