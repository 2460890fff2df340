"""The actions of sampled answers as token values: which attempt or verification each token belongs to, and its advantage.

    rows = action_rows(job.advantage, groups, sampled, tokenizer, prefill)    per answer: (action (T,), advantage (T,)), or a reason

Answers are cut at the characters of their text and mapped onto the sampled token ids: to encode the text again might give other
tokens than the student chose. A token that holds the end of one part and the beginning of the next belongs to the next.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from redistill.records import Group, Sampled, Trace
from redistill.text.segments import CUES, SOLVES, UNKNOWN, Cues, Segment, segments
from redistill.train.action_advantages import Action, Tallies, Trajectory, actions, running_tallies

NONE = -1.0  # the action of a token that belongs to none


def is_of_actions(advantage: Callable[..., Any]) -> bool:
    """True when the advantage is of the actions of answers, not of whole answers or single tokens."""
    return getattr(advantage, "func", advantage) is actions


def option_of(advantage: Callable[..., Any], name: str) -> Any:
    """An option of the advantage as bound, or its default."""
    plain = getattr(advantage, "func", advantage)
    return getattr(advantage, "keywords", {}).get(name, inspect.signature(plain).parameters[name].default)


def cues_of(advantage: Callable[..., Any]) -> Cues:
    """The words that part the actions."""
    return CUES[option_of(advantage, "cues")]


def is_cut(advantage: Callable[..., Any], trace: Trace) -> bool:
    """True for an answer that its length limit cut and that counts as wrong there."""
    return trace.finish_reason == "length" and option_of(advantage, "cut") == "wrong"


def trajectories_of(advantage: Callable[..., Any], groups: Sequence[Group]) -> list[list[Trajectory | str]]:
    """Each answer of each problem as a trajectory, or the reason why it is none: `unparsed:REASON`, `goes_on_after_right`,
    `too_many_actions`. With level `outcome` an answer that the grammar refuses has its own verdict as its only attempt."""
    return [[_trajectory(advantage, trace) for trace in group.traces] for group in groups]


def _trajectory(advantage: Callable[..., Any], trace: Trace) -> Trajectory | str:
    outcome_level = option_of(advantage, "level") == "outcome"
    cut = is_cut(advantage, trace)
    parts = segments(trace.completion, cues=cues_of(advantage), cut=cut)
    if isinstance(parts, str):
        return [Action("solve", _right(trace), cut=cut)] if outcome_level else f"unparsed:{parts}"
    values = iter(span.value for span in trace.spans[SOLVES])
    parsed = [_action(part, values) for part in parts]
    parsed[-1] = parsed[-1]._replace(cut=cut)
    if outcome_level:
        return parsed
    kept = option_of(advantage, "after_right")
    if kept != "keep" and (end := _end_of_truth(parsed)) < len(parsed):
        if kept == "reject":
            return "goes_on_after_right"
        parsed = parsed[:end]
    return "too_many_actions" if len(parsed) > option_of(advantage, "max_actions") else parsed


def _right(trace: Trace) -> bool | None:
    return {"correct": True, "incorrect": False, "no_answer": False}.get(str(trace.verdict.outcome))


def _action(part: Segment, values: Any) -> Action:
    if part.kind == "solve":
        value = next(values)
        return Action("solve", None if value == UNKNOWN else value == 1)
    says = {"correct": True, "incorrect": False}.get(part.verdict or "")
    return Action("verify", says, part.verdict is not None)


def _end_of_truth(trajectory: Sequence[Action]) -> int:
    """How many actions there are up to the first right attempt that is verified as right; all where there is none."""
    for place in range(1, len(trajectory), 2):
        if trajectory[place - 1].value is True and trajectory[place].value is True:
            return place + 1
    return len(trajectory)


def action_rows(
    advantage: Callable[..., Any],
    groups: Sequence[Group],
    sampled: Sequence[Sampled],
    tokenizer: Any,
    prefill: str,
    running: Mapping[str, Sequence[float]] | None = None,
) -> list[tuple[np.ndarray, np.ndarray] | str]:
    """(action, advantage) of each token of each answer, in the order of `sampled`; or why the answer is not a row. running: the
    tallies of the baseline of that name, this round's among them."""
    trajectories = trajectories_of(advantage, groups)
    whole = [[None if isinstance(one, str) else one for one in answers] for answers in trajectories]
    bound = functools.partial(advantage, _running=running) if running is not None else advantage
    advantages = [values for here in bound(whole) for values in here]
    flat = [(trace, one) for group, answers in zip(groups, trajectories, strict=True) for trace, one in zip(group.traces, answers, strict=True)]  # fmt: skip
    return [
        one if isinstance(one, str) else _on_tokens(advantage, trace, of, values, tokenizer, prefill)
        for (trace, one), of, values in zip(flat, sampled, advantages, strict=True)
    ]


def tallies(advantage: Callable[..., Any], groups: Sequence[Group], before: Mapping[str, Any]) -> Tallies | None:
    """The sums that the baseline `running` needs after this round; None for another baseline."""
    if option_of(advantage, "baseline") != "running" or option_of(advantage, "level") == "outcome":
        return None
    trajectories = trajectories_of(advantage, groups)
    whole = [[None if isinstance(one, str) else one for one in answers] for answers in trajectories]
    return running_tallies(whole, before, undecided=option_of(advantage, "undecided"))


def _on_tokens(
    advantage: Callable[..., Any], trace: Trace, sampled: Sampled, values: Sequence[float], tokenizer: Any, prefill: str
) -> tuple[np.ndarray, np.ndarray]:
    count = len(sampled.token_ids)
    if option_of(advantage, "level") == "outcome":
        return np.zeros(count), np.full(count, values[0])
    parts = segments(trace.completion, cues=cues_of(advantage), cut=is_cut(advantage, trace))
    assert not isinstance(parts, str)
    starts = [token_at(part.start - len(prefill), sampled.token_ids, tokenizer) for part in parts]
    ends = [*starts[1:], count]  # the end of turn belongs to the last action
    action, of = np.full(count, NONE), np.zeros(count)
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if place < len(values):
            action[start:end], of[start:end] = place, values[place]
    return action, of


def token_at(character: int, ids: Sequence[int], tokenizer: Any) -> int:
    """The number of tokens whose text ends at this character of the decoded text or before it: the token that holds the character
    is the next one. 0 for a character of the prefill."""
    low, high = 0, len(ids)
    while low < high:  # the text of the first n tokens grows with n
        middle = (low + high + 1) // 2
        text = tokenizer.decode(list(ids[:middle]), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        low, high = (middle, high) if len(text) <= character else (low, middle - 1)
    return max(low, 0) if character > 0 else 0
