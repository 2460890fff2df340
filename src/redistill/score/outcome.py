"""Scorer `outcome`: an outcome critic says how likely each trace is right, and which of its tokens speak for it and against it.

    score: [{name: outcome, model: runs/critic/train/orm/model}]
    select: {keep: {by: outcome, share: 0.5}, turns: last, weights: {right: outcome_plus, wrong: outcome_minus}}
    train: {redi: {objective: redi, modifiers: [span-weights], ...}}

`NAME` is the sigmoid of the mean score of a completion's tokens. The spans `NAME_plus` and `NAME_minus` are OREAL's weights of the
tokens of a right and of a wrong answer (arXiv 2502.06781, Eq. 10), in sixty-fourths, neighbours of one weight as one span. They are
those of the modifier `token-credit` up to that rounding, kept on the trace: another run, or another student's tokenizer, can read them.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from redistill.config.tables import PromptText
from redistill.errors import OperatorError
from redistill.records import Group, Span, Trace
from redistill.safety.paths import home_path
from redistill.score.marks import scored, unscored

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 64  # of a weight from 0 to 1


def outcome(
    groups: Sequence[Group],
    *,
    model: str,
    revision: str | None = None,
    form: Literal["paper", "running-mean"] = "paper",
    tokens_per_batch: Annotated[int, Field(gt=0)] = 8192,
    _into: str,
    _prompt: PromptText,
    _held: dict[str, Any],
) -> list[Group]:
    """The chance that each trace is right, and what each of its tokens has to do with it, by a critic of the objective `outcome`.

    model: a critic trained here, a folder or hub id. form: weights by a token's own score (`paper`), or by the mean score up to it
    (`running-mean`, as in OREAL's code). Not scored: `empty`, `too_long` for the critic's context, `not_finite`.
    """
    if "read" not in _held:
        _held["read"] = _opened(model, revision, _prompt, _into)
    encode, outputs, offsets = _held["read"]
    rows = [(group.problem, trace) for group in groups for trace in group.traces]
    spoken = [(problem, trace) for problem, trace in rows if trace.completion.strip()]
    results = iter(outputs([encode(problem, trace.completion) for problem, trace in spoken], tokens_per_batch))

    def marked(trace: Trace) -> Trace:
        scores = next(results) if trace.completion.strip() else "empty"
        if isinstance(scores, str):
            return unscored(trace, _into, scores)
        return _weighed(trace, scores, offsets(trace.completion), form, _into)

    return [replace(group, traces=tuple(marked(trace) for trace in group.traces)) for group in groups]


def _weighed(trace: Trace, scores: "Tensor", places: Sequence[tuple[int, int]], form: Any, into: str) -> Trace:
    """The trace with its chance and its tokens' weights. scores: one a token, the end-of-turn token last; places: the tokens'
    characters."""
    from redistill.model.token_credit import credit

    if not scores.isfinite().all():
        return unscored(trace, into, "not_finite")
    plus, minus = (spans_of(weights.tolist(), places, trace.completion) for weights in credit(scores, form=form))
    chance = float(scores.mean().sigmoid())
    return scored(trace, scores={into: chance}, spans={f"{into}_plus": plus, f"{into}_minus": minus})


def spans_of(weights: Sequence[float], places: Sequence[tuple[int, int]], text: str) -> list[Span]:
    """The weights of tokens as spans of characters that cover the text and the end of turn. A character of several tokens has
    their mean; one of none has that of the character before it, which changes no token's weight."""
    sums, counts = [0.0] * (len(text) + 1), [0] * (len(text) + 1)
    for (start, end), weight in zip([*places, (len(text), len(text) + 1)], weights, strict=True):
        for at in range(start, end):
            sums[at] += weight
            counts[at] += 1
    spans: list[Span] = []
    value = 0.0
    for at, (total, count) in enumerate(zip(sums, counts, strict=True)):
        value = round(total / count * STEPS) / STEPS if count else value
        if spans and spans[-1].value == value:
            spans[-1] = Span(spans[-1].start, at + 1, value)
        else:
            spans.append(Span(at, at + 1, value))
    return spans


def _opened(model: str, revision: str | None, prompt: PromptText, into: str) -> tuple[Any, Any, Any]:
    """(problem, completion -> tokens and places), (their rows -> fp64 scores or a reason), (completion -> characters of its tokens)."""
    from redistill.model.loading import completion_offsets
    from redistill.model.rendering import renderer
    from redistill.model.reward_heads import Origin, encode_tokens, open_reader, tokenizer_of
    from redistill.model.score_heads import objective_of

    if objective_of(home_path(model)) == "process":
        raise OperatorError(
            f"score ({into}): model: {model} scores the ends of steps, not every token; name a critic of the objective outcome, or use "
            "the scorer process."
        )
    origin = Origin(model, revision, f"score ({into}): model")
    reader, tokenizer = open_reader("ours", origin), tokenizer_of(origin)
    render = renderer(prompt, tokenizer)[0]

    def outputs(rows: Any, tokens_per_batch: int) -> list[Any]:
        values = reader.model(rows, tokens_per_batch=tokens_per_batch)
        return [one if isinstance(one, str) else one[:, 0].double() for one in values]

    return (
        lambda problem, text: encode_tokens(tokenizer, render(problem), text),
        outputs,
        lambda text: completion_offsets(tokenizer, [text])[0],
    )
