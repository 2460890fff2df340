"""What every function of the select stage that sees a shard is given: the recipe's choices, bound.

    task = SelectTask(render=..., encode=..., is_dev=..., pairing=certain)
    shard = select_shard(groups, task)

It travels to other processes, so it holds functions that pickle, settings, and nothing of a shard.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redistill.config.tables import LabelledSettings, SelfCorrectionSettings, TokenWeightSettings
from redistill.records import Problem
from redistill.select.filters import Filter
from redistill.select.keep import Choice
from redistill.select.pairing import Pairs
from redistill.select.tokens import Encode


@dataclass(frozen=True, slots=True)
class BoundFilter:
    """A filter with its options bound, and the parts of a row that it looks at."""

    judge: Filter
    on: frozenset[str]


@dataclass(frozen=True)
class SelectTask:
    """How groups become rows.

    `render` makes the prompt, once a problem, so examples and pairs share it to the letter; `encode` gives the student's
    token ids of texts, without special tokens; `is_dev`: which problems are held out; `pairing` has its options bound;
    `examples` is `all`, `first`, `last`, or how rows of self-correction are made; `keep_truncated`: right traces that their
    length limit cut are examples too (`pairing` has this bound by itself); `bound_filters` are tried in their order and the
    first reason counts; `policies` are compared offline, under the same filters; `choice` is what sample and keep leave:
    right traces that it leaves out are in no pair either. `labelled`: where a critic is trained, how its rows are drawn from
    all traces of the sample. `weights`: spans that rows get as weights of their tokens. `every_turn`:
    text/conversations.all_turns bound, where examples of conversations learn all turns of the assistant. `seed` draws.
    """

    render: Callable[[Problem], str]
    encode: Encode
    is_dev: Callable[[Problem], bool]
    pairing: Callable[..., Pairs | str]
    examples: str | SelfCorrectionSettings = "all"
    keep_truncated: bool = False
    bound_filters: Sequence[BoundFilter] = ()
    policies: Mapping[str, Callable[..., Pairs | str]] = field(default_factory=dict)
    choice: Choice | None = None
    labelled: LabelledSettings | None = None
    weights: TokenWeightSettings | None = None
    every_turn: Callable[..., Any] | None = None
    seed: int = 0
