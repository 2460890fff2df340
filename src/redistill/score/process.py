"""Scorer `process`: a process reward model scores every step of a trace, so that the first bad step can be seen.

    score: [{name: process, model: runs/critic/train/prm/model}]                                    a critic of one's own
    score: [{name: process, model: Qwen/Qwen2.5-Math-PRM-7B, layout: qwen-prm, into: qwen}]          a released one
    select: {keep: {by: process, top: 1000}}

Steps stand as spans `NAME` on the trace; `NAME_mean`, `NAME_min`, `NAME_last` and `NAME_product` are scores of them, and `NAME` is
the mean plus `alpha` times the score of the whole (ReasonFlux-PRM, arXiv:2506.18896). Layouts: model/reward_heads.py.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from redistill.config.tables import PromptText
from redistill.errors import OperatorError
from redistill.io.api_keys import KEY_ENV, BaseUrl, KeyEnv
from redistill.io.client import Ask, Kept, Reply, Server, ask
from redistill.records import Group, Problem, Span, Trace
from redistill.score.marks import scored, unscored
from redistill.text.steps import steps as split_steps

if TYPE_CHECKING:
    from redistill.model.reward_heads import Encoded, Encoding

Layout = Literal["ours", "qwen-prm", "math-shepherd", "last-token"]
Split = Literal["blank-line", "line", "sentence", "numbered", "tag", "semicolon"]
_SERVED: tuple[Layout, ...] = ("ours", "qwen-prm")  # what a pooling server has a head for


def process(
    groups: Sequence[Group],
    *,
    model: str,
    layout: Layout = "ours",
    steps: Split = "blank-line",
    alpha: float = 0.0,
    revision: str | None = None,
    base_url: BaseUrl | None = None,
    tokenizer: str | None = None,
    key_env: KeyEnv = KEY_ENV,
    concurrency: Annotated[int, Field(gt=0)] = 16,
    retries: Annotated[int, Field(ge=0)] = 5,
    timeout_seconds: Annotated[float, Field(gt=0)] = 120.0,
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None,
    tokens_per_batch: Annotated[int, Field(gt=0)] = 8192,
    _into: str,
    _prompt: PromptText,
    _held: dict[str, Any],
) -> list[Group]:
    """The chance that each step is right, by a process reward model in this process or on a pooling server.

    layout: how the model is written to and read; `last-token` scores the whole text only. steps: where a step ends. alpha: the
    weight of the score of the whole in NAME. base_url: of a server (vLLM's /pooling) that holds the model with its activation
    on; tokenizer: its folder or hub id, default: model. Not scored: `empty`, `too_long`,
    `marker_not_a_token`, `not_finite` (the model gives no number), `refused` (by the server).
    """
    if "score" not in _held:
        server = None
        if base_url is not None:
            server = Server(base_url, key_env, concurrency, retries, timeout_seconds, requests_per_minute)
        _held["score"] = _opened(model, layout, alpha, revision, server, tokenizer, tokens_per_batch, _prompt, _into)
    judge: StepScores = _held["score"]
    if not groups:
        return []
    rows = [(group.problem, trace) for group in groups for trace in group.traces]
    scores = iter(judge.scores(rows, steps))
    return [replace(g, traces=tuple(_marked(t, next(scores), _into, alpha) for t in g.traces)) for g in groups]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of a trace: the ranges of its steps with their scores, and the score of the whole, where it was asked for."""

    ranges: Sequence[tuple[int, int]]
    values: Sequence[float]
    whole: float | None


def _marked(trace: Trace, result: Found | str, into: str, alpha: float) -> Trace:
    if isinstance(result, str):
        return unscored(trace, into, result)
    values = result.values
    mean = math.fsum(values) / len(values)
    scores = {
        f"{into}_mean": mean,
        f"{into}_min": min(values),
        f"{into}_last": values[-1],
        f"{into}_product": math.prod(values),
    }
    if result.whole is not None:
        scores[f"{into}_whole"] = result.whole
    scores[into] = mean + alpha * (result.whole or 0.0)
    spans = [Span(start, end, value) for (start, end), value in zip(result.ranges, values, strict=True)]
    return scored(trace, scores=scores, spans={into: spans})


class StepScores:
    """A process reward model at work: texts to tokens, tokens to chances, here or on a server."""

    def __init__(self, encoding: "Encoding", values: Any, render: Any, *, whole_text: bool, whole: bool) -> None:
        self.encoding, self.values, self.render = encoding, values, render
        self.whole_text, self.whole = whole_text, whole

    def scores(self, rows: Sequence[tuple[Problem, Trace]], how: str) -> list[Found | str]:
        """Of each trace its steps' chances, or why there are none."""
        asked: list[Encoded] = []
        places: list[tuple[list[tuple[int, int]], int | str]] = []  # ranges, and the number of the row among the asked
        for problem, trace in rows:
            text = trace.completion
            ranges = [(0, len(text))] if self.whole_text and text else split_steps(text, how)
            prompt = self.render(problem)
            encoded = self.encoding.steps(problem.statement, prompt, text, ranges) if ranges else "empty"
            if isinstance(encoded, str):
                places.append((ranges, encoded))
                continue
            places.append((ranges, len(asked)))
            asked.append(encoded)
            if self.whole and self.encoding.whole is not None:
                asked.append(self.encoding.whole(problem.statement, prompt, text))
        values = self.values(asked)
        return [self._of(ranges, at, values) for ranges, at in places]

    def _of(self, ranges: list[tuple[int, int]], at: int | str, outputs: Sequence[Any]) -> Found | str:
        if isinstance(at, str):
            return at
        values, whole = outputs[at], outputs[at + 1] if self.whole else None
        for one in (values, whole):
            if isinstance(one, str):
                return one
        return Found(ranges, values, None if whole is None else whole[0])


def _opened(
    model: str,
    layout: Layout,
    alpha: float,
    revision: str | None,
    server: Server | None,
    tokenizer: str | None,
    tokens_per_batch: int,
    prompt: PromptText,
    into: str,
) -> StepScores:
    from functools import partial

    from redistill.model.loading import load_tokenizer
    from redistill.model.rendering import renderer
    from redistill.model.reward_heads import Origin, encoding_of, open_reader

    where = f"score ({into}): model"
    if alpha and layout not in _SERVED:
        raise OperatorError(
            f"score ({into}): alpha weights a score of the whole answer, which layout {layout} does not have; leave alpha out."
        )
    origin = Origin(model, revision, where)
    if server is None:
        if tokenizer is not None:
            raise OperatorError(f"score ({into}): tokenizer belongs to base_url; a model in this process has its own.")
        reader = open_reader(layout, origin)
        encoding, values = reader.encoding, partial(reader.values, tokens_per_batch=tokens_per_batch)
    else:
        if layout not in _SERVED:
            raise OperatorError(
                f"score ({into}): servers do not support the head of layout {layout}; leave base_url out, or use {' or '.join(_SERVED)}."
            )
        origin = Origin(tokenizer or model, revision, f"score ({into}): tokenizer")
        encoding = encoding_of(layout, origin)
        values = partial(pooled, server, model, encoding, f"score ({into})")

    def render(problem: Problem) -> str:
        return problem.statement

    if layout == "ours":
        render = renderer(prompt, load_tokenizer(origin.settings))[0]
    return StepScores(encoding, values, render, whole_text=layout == "last-token", whole=bool(alpha))


def pooled(
    server: Server, model: str, encoding: "Encoding", where: str, rows: "Sequence[Encoded]"
) -> list[list[float] | str]:
    """The chances at the places of each row, by a server's /pooling route (vLLM), which is sent token ids and answers with a
    list of probabilities per token, or per step where it is set to return these alone (its STEP pooling).

    OperatorError where it answers with another number of them, or with numbers that are not probabilities.
    """
    # the route stands beside /v1, not below it
    asks = [Ask("../pooling", {"model": model, "task": "token_classify", "input": list(ids)}) for ids, _ in rows]
    replies = ask(server, asks, kept=Kept())
    return [_probabilities(reply, row, encoding, where) for reply, row in zip(replies, rows, strict=True)]


def _probabilities(reply: Reply, row: "Encoded", encoding: "Encoding", where: str) -> list[float] | str:
    if reply.refused:
        return "refused"
    ids, places = row
    data = json.loads(reply.text)
    listed = data if isinstance(data, list) else [data]
    table = [one if isinstance(one, list) else [one] for one in listed]
    if len(table) == len(ids):
        table = [table[place] for place in places]
    if len(table) != len(places) or any(len(one) != encoding.outputs for one in table):
        shape = f"{len(listed)} x {len(table[0]) if table else 0}"
        raise OperatorError(
            f"{where}: the server returns {shape} numbers for {len(ids)} tokens with {len(places)} steps, but this "
            f"layout has {encoding.outputs} per token; it serves another kind of model."
        )
    chosen = [one[encoding.chosen] for one in table]
    odd = next((one for one in chosen if isinstance(one, bool) or not isinstance(one, int | float)), None)
    if None in chosen or odd is not None:
        raise OperatorError(
            f"{where}: the server returns {str(odd)[:40]} where a number is expected; it serves another kind of model, or is broken."
        )
    if any(math.isnan(one) for one in chosen):
        return "not_finite"
    values = [float(one) for one in chosen]
    if not all(0 <= value <= 1 for value in values):
        raise OperatorError(
            f"{where}: the server returns raw outputs, not probabilities; start it with the pooler's activation on."
        )
    return values
