"""Scorer `perplexity`: how surprised a model is by a completion, given the prompt of its problem.

    score: [perplexity]                                                the student before training
    score: [{name: perplexity, model: Qwen/Qwen2.5-32B}]               another model

A low value is text the model would write itself; a very high one is often broken text. AM-DeepSeek-R1-Distilled drops traces
above a limit (arXiv:2503.19633): `select.filters: [{name: score, by: perplexity, most: 20}]`.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from redistill.config.tables import PromptText, StudentSettings
from redistill.errors import OperatorError
from redistill.records import Group
from redistill.rollout.requests import Student
from redistill.score.marks import scored, unscored

if TYPE_CHECKING:
    from redistill.model.batches import LogProbs


def perplexity(
    groups: Sequence[Group],
    *,
    model: str | None = None,
    revision: str | None = None,
    end_of_turn: bool = False,
    tokens_per_batch: Annotated[int, Field(gt=0)] = 8192,
    _into: str,
    _student: Student | None,
    _prompt: PromptText,
    _held: dict[str, Any],
) -> list[Group]:
    """exp(-mean log-prob per token) of each completion given its rendered prompt; the higher, the more surprising.

    model: a folder or hub id; default: the student before training. end_of_turn: the token that ends the turn counts too.
    tokens_per_batch: packed tokens of one forward pass; it changes no value beyond rounding. The prompt is the one that
    students are trained with. Not scored: `empty` completions, and `too_long` ones for the model's context.
    """
    if "model" not in _held:
        _held["model"] = _opened(model, revision, _student, _prompt, _into)
    render, measured = _held["model"]
    rows: list[tuple[str, str]] = []
    for group in groups:
        prompt = render(group.problem)
        rows += [(prompt, trace.completion) for trace in group.traces]
    losses = iter(measured(rows, end_of_turn=end_of_turn, tokens_per_batch=tokens_per_batch))
    after = []
    for group in groups:
        traces = []
        for trace in group.traces:
            logps = next(losses)
            if isinstance(logps, str):
                traces.append(unscored(trace, _into, logps))
                continue
            mean = math.fsum(logps) / len(logps)
            value = math.exp(-mean) if mean > -700 else math.inf  # a double ends at exp(709)
            traces.append(scored(trace, scores={_into: value}))
        after.append(replace(group, traces=tuple(traces)))
    return after


def _opened(
    model: str | None, revision: str | None, student: Student | None, prompt: PromptText, into: str
) -> "tuple[Any, LogProbs]":
    """(problem -> prompt, the measuring model), loaded."""
    from redistill.model.batches import LogProbs
    from redistill.model.loading import load_model, load_tokenizer
    from redistill.model.rendering import renderer

    if model is None:
        if student is None:
            raise OperatorError(f"score ({into}): no student is available; set `model`.")
        language_model, tokenizer = student()
    else:
        settings = StudentSettings(model=model, revision=revision)
        try:
            tokenizer = load_tokenizer(settings)
            language_model = load_model(settings, tokenizer, seed=0)
        except OperatorError as error:
            raise OperatorError(str(error).replace("student.model", f"score ({into}): model")) from error
    return renderer(prompt, tokenizer)[0], LogProbs(language_model, tokenizer)
