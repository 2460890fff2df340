"""Filters: one side of a row -> why it may not stay, or None.

    select: {filters: [repetition, {name: pass-rate, most: 0.9, on: [completion]}]}
    repetition(Side(part="chosen", ...))   ->   "chosen_repetition"

A side is a trace in its place: the `completion` of an example, or `chosen` or `rejected` of a pair. `on` in a recipe says
which of the three a filter looks at (all, where it is not written). What a filter drops is dropped whole, never
cut: a cut completion teaches the student to stop in the middle. Reasons are stable words that become rows of the
report's funnel. All lengths are tokens of the student; a completion's include the end-of-turn token, because the student
learns to write it.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redistill.config.tables import Part
from redistill.records import Group, Outcome, Trace
from redistill.select.language import foreign_share
from redistill.select.trace_features import pass_rate as pass_rate_of
from redistill.select.trace_features import spread as spread_of
from redistill.text.repetition import LOOP_TIMES, LOOP_WORDS, MAX_SHARE, MIN_WORDS, NGRAM, repeats
from redistill.text.thinking import read_thinking


@dataclass(frozen=True, slots=True)
class Side:
    """One trace in one place of a row; `num_tokens` counts the completion with its end-of-turn token."""

    part: Part
    group: Group
    trace: Trace
    prompt_tokens: int
    num_tokens: int


Filter = Callable[[Side], str | None]


def prompt_length(side: Side, *, least: int = 1, most: int | None = None) -> str | None:
    """Prompts of `least` to `most` tokens: `prompt_too_short`, `prompt_too_long` (the paper: at most 800)."""
    if side.prompt_tokens < least:
        return "prompt_too_short"
    return "prompt_too_long" if most is not None and side.prompt_tokens > most else None


def completion_length(side: Side, *, least: int = 1, most: int | None = None) -> str | None:
    """Completions of `least` to `most` tokens: `PART_too_short`, `PART_too_long` (the paper: at most 19,000)."""
    if side.num_tokens < least:
        return f"{side.part}_too_short"
    return f"{side.part}_too_long" if most is not None and side.num_tokens > most else None


def thinking(side: Side, *, required: bool = True) -> str | None:
    """Thinking that was begun is ended and, with `required`, there is some before `</think>`.

    `PART_unfinished_thinking`: the completion ends inside its thinking. `PART_no_thinking`: no `</think>`, or nothing before
    it. The opening may be missing: templates write it into the prompt. All spellings of the tags count (text/thinking.py).
    """
    thought = read_thinking(side.trace.completion)
    if thought.state == "open":
        return f"{side.part}_unfinished_thinking"
    return f"{side.part}_no_thinking" if required and not thought.thinking.strip() else None


def truncated(side: Side) -> str | None:
    """`PART_truncated`: cut off by its length limit, as its finish reason or its verdict says. A wrong trace that was cut
    might still have come right; a right one teaches the student to stop in the middle."""
    cut = side.trace.finish_reason == "length" or side.trace.verdict.outcome is Outcome.truncated
    return f"{side.part}_truncated" if cut else None


def repetition(
    side: Side,
    *,
    ngram: int = NGRAM,
    max_share: float = MAX_SHARE,
    loop_times: int = LOOP_TIMES,
    loop_words: int = LOOP_WORDS,
    min_words: int = MIN_WORDS,
) -> str | None:
    """`PART_repetition`: more than `max_share` of its words were said before in the same order (in an n-gram of `ngram`
    words), or one phrase follows itself `loop_times` times and fills `loop_words` words. Under `min_words`: never."""
    repeated = repeats(
        side.trace.completion,
        ngram=ngram,
        max_share=max_share,
        loop_times=loop_times,
        loop_words=loop_words,
        min_words=min_words,
    )
    return f"{side.part}_repetition" if repeated else None


def language(
    side: Side, *, allowed: Sequence[str] = ("en",), max_share: float = 0.1, min_probability: float = 0.9
) -> str | None:
    """`PART_other_language`: more than `max_share` of its letters stand in passages of a language not `allowed` (ISO
    639-1), as sure as `min_probability`. Formulas and short passages are of no language."""
    share = foreign_share(side.trace.completion, tuple(allowed), min_probability)
    return f"{side.part}_other_language" if share > max_share else None


_SPECIAL = re.compile(
    r"<[|｜][A-Za-z][\w▁ -]{0,40}[|｜]>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<(?:eos|bos|pad|unk)>"
)


def malformed_tags(side: Side, *, tags: Sequence[str] = ("think", "answer"), special_tokens: bool = True) -> str | None:
    """`PART_malformed_tags`: one of `tags` is nested, stands open at the end, or is closed without having been opened
    (once allowed for the first tag of a completion, which a template may have opened in the prompt).
    `PART_special_token`: the completion spells out a token of a chat format, such as `<|im_end|>` or `</s>`."""
    text = side.trace.completion
    if special_tokens and _SPECIAL.search(text):
        return f"{side.part}_special_token"
    for tag in tags:
        is_open, is_first = False, tag == tags[0]
        for mark in re.findall(rf"</?{re.escape(tag)}>", text):
            opens = not mark.startswith("</")
            if opens == is_open and not (is_first and not opens):
                return f"{side.part}_malformed_tags"
            is_open, is_first = opens, False
        if is_open:
            return f"{side.part}_malformed_tags"
    return None


def no_answer(side: Side) -> str | None:
    """`PART_no_answer`: a verifier found no final answer in it, whatever the joined verdict made of that."""
    missing = {Outcome.no_answer, Outcome.truncated}
    return f"{side.part}_no_answer" if any(v.outcome in missing for v in side.trace.verdicts.values()) else None


def pass_rate(side: Side, *, least: float = 0.0, most: float = 1.0, min_traces: int = 1) -> str | None:
    """`too_hard`, `too_easy`: the share of right traces among the problem's judged ones is below `least` or above `most`.
    Problems with fewer than `min_traces` judged traces stay: their share says little."""
    rate, judged = pass_rate_of(side.group.traces)
    if rate is None or judged < min_traces:
        return None
    if rate < least:
        return "too_hard"
    return "too_easy" if rate > most else None


def spread(
    side: Side, *, least: float = 0.0, most: float = math.inf, best: float = 0.0, min_traces: int = 2
) -> str | None:
    """`spread_too_small`, `spread_too_large`: the standard deviation of the problem's verify scores over their mean is below `least` or
    above `most`; `no_good_score`: the best of them is below `best`.

    A score is that of a graded verifier, else 1 for right and 0 for wrong; who was not judged has none. Problems with fewer than
    `min_traces` scores stay: their spread says little. Source: the sibling reports of arXiv:2503.19633, which drop problems whose
    answers are all alike."""
    mean, deviation, top, count = spread_of(side.group.traces)
    if count < max(1, min_traces):
        return None
    if top < best:
        return "no_good_score"
    ratio = deviation / mean if mean else 0.0
    if ratio < least:
        return "spread_too_small"
    return "spread_too_large" if ratio > most else None


def score(side: Side, *, by: str, least: float = -math.inf, most: float = math.inf) -> str | None:
    """`PART_score_too_low`, `PART_score_too_high`: its score `by` is below `least` or above `most`; `PART_no_score`: it has
    none. With `on: [rejected]` and `least` of a fluency score it keeps negatives that are wrong and yet well written."""
    value = side.trace.scores.get(by)
    if value is None or math.isnan(value):
        return f"{side.part}_no_score"
    return f"{side.part}_score_too_low" if value < least else f"{side.part}_score_too_high" if value > most else None


FILTERS: dict[str, Callable[..., str | None]] = {
    "prompt-length": prompt_length,
    "completion-length": completion_length,
    "thinking": thinking,
    "truncated": truncated,
    "repetition": repetition,
    "language": language,
    "malformed-tags": malformed_tags,
    "no-answer": no_answer,
    "pass-rate": pass_rate,
    "spread": spread,
    "score": score,
}
