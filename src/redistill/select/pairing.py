"""Pairing: one Group -> its (chosen, rejected) traces, or the reason why it has none.

    certain(group)   ->  [(right trace, wrong trace)]   or   "only_undecided_wrong"

A pairing sees the whole problem at once; its traces carry the columns of columns.py, so it may go by length. All but
`redi-paper` take only traces that are right or wrong for sure, and none that its length limit cut: a wrong one might still
have come right, and a right one teaches to stop in the middle. The recipe's `select.truncated_correct` lets right cut ones
in (`_keep_truncated`). `certain` and `redi-paper` keep the order of the source; the others give the same pairs whatever the
order, for ties and draws are decided by a hash of seed and trace ids. No pair comes twice. Reasons are stable words that
become rows of the report's funnel.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from redistill.errors import OperatorError
from redistill.records import Group, Outcome, Trace, content_id
from redistill.select.tokens import shared_prefix

Pairs = list[tuple[Trace, Trace]]  # (chosen, rejected), never empty
Pairing = Callable[[Group], Pairs | str]


def certain(group: Group, *, max_pairs: int = 1, _keep_truncated: bool = False) -> Pairs | str:
    """Right traces against traces that are wrong for sure: the default.

    Chosen: joined verdict `correct`. Rejected: joined verdict `incorrect`. Neither was cut off by its length limit: a cut
    wrong trace might still have come right, and pushing it down teaches against text that is not wrong; a cut right one
    ends in the middle, where the student would learn to end.
    Both sides in source order, the shorter one cycled: pair i is (right[i mod R], wrong[i mod W]), up to `max_pairs`
    and no more than the longer side has traces.
    Reasons: `ungradable`, `no_correct_trace`, `only_truncated_correct` (all right ones are cut), `no_incorrect_trace` (all
    are right), `only_truncated_wrong` and `only_undecided_wrong` (there are others, none wrong for sure). OperatorError
    when max_pairs < 1.
    """
    sides = _sides(group, max_pairs, _keep_truncated)
    return sides if isinstance(sides, str) else _cycle(*sides, max_pairs)


def redi_paper(
    group: Group,
    *,
    labels: tuple[str, ...] = ("llama_verification", "math_verify"),
    _keep_truncated: bool = True,
) -> Pairs | str:
    """The published rule: the first trace that all `labels` call correct against the first that they do not.

    Kept to reproduce the paper, poison included: a missing label, a timeout and an unreadable answer all count as
    wrong, so right traces are pushed down, and a trace that is flagged as cut off may stand on either side. It reads the
    verdicts named in `labels`, not the joined one.
    Reasons: `no_correct_trace`, `no_incorrect_trace`; `only_truncated_correct` where the recipe leaves right cut traces
    out. OperatorError when `labels` is empty.
    Source: Xu et al. 2025, arXiv 2505.24850, the preference data; the labels are those of OpenR1-Math-Raw.
    """
    if not labels:
        raise OperatorError("select.pairing.labels is empty; list the verdicts that must all be correct.")
    right = [t for t in group.traces if _all_say_correct(t, labels)]
    wrong = [t for t in group.traces if not _all_say_correct(t, labels)]
    if not right:
        return "no_correct_trace"
    right = [t for t in right if _keep_truncated or t.finish_reason != "length"]
    if not right:
        return "only_truncated_correct"
    return [(right[0], wrong[0])] if wrong else "no_incorrect_trace"


def random(group: Group, *, max_pairs: int = 1, seed: int = 0, _keep_truncated: bool = False) -> Pairs | str:
    """Right and wrong traces in an order drawn by `seed` and their ids, met as in `certain`."""
    sides = _sides(group, max_pairs, _keep_truncated)
    if isinstance(sides, str):
        return sides
    right, wrong = (sorted(side, key=lambda t: _draw(seed, t)) for side in sides)
    return _cycle(right, wrong, max_pairs)


def length_matched(
    group: Group, *, max_pairs: int = 1, max_ratio: float | None = None, seed: int = 0, _keep_truncated: bool = False
) -> Pairs | str:
    """Right and wrong traces of most equal length: the smallest ratio of tokens first, so that length alone tells the two
    sides apart as little as the group allows. Traces come again only when the shorter side is used up.
    max_ratio: longer over shorter; pairs beyond it are left out. Reason of its own: `no_pair_of_like_length`."""
    if max_ratio is not None and not max_ratio >= 1:
        raise OperatorError(f"select.pairing.max_ratio must be 1 or more (got {max_ratio}).")
    sides = _sides(group, max_pairs, _keep_truncated)
    if isinstance(sides, str):
        return sides
    limit = math.inf if max_ratio is None else math.log(max_ratio) + 1e-9  # 11/10 and 1.1 differ in their last bit
    return _nearest(*sides, max_pairs, seed, _length_ratio, limit) or "no_pair_of_like_length"


def shortest_wrong(group: Group, *, max_pairs: int = 1, seed: int = 0, _keep_truncated: bool = False) -> Pairs | str:
    """The shortest wrong traces, each against a right one drawn by `seed`. A short rejected trace has a large weight on
    each of its tokens (weight / length): the harshest push downwards that a group offers."""
    sides = _sides(group, max_pairs, _keep_truncated)
    if isinstance(sides, str):
        return sides
    right, wrong = sides
    wrong = sorted(wrong, key=lambda t: (_tokens(t), _draw(seed, t)))
    return _cycle(sorted(right, key=lambda t: _draw(seed, t)), wrong, max_pairs)


def hardest(group: Group, *, max_pairs: int = 1, seed: int = 0, _keep_truncated: bool = False) -> Pairs | str:
    """The most tempting mistakes: wrong traces by how many wrong traces of the group give the same answer, most first,
    each against a right one drawn by `seed`. A trace whose answer is not known stands alone."""
    sides = _sides(group, max_pairs, _keep_truncated)
    if isinstance(sides, str):
        return sides
    right, wrong = sides
    answers = Counter(_answer(t) for t in wrong)
    wrong = sorted(wrong, key=lambda t: (-answers[_answer(t)], _draw(seed, t)))
    return _cycle(sorted(right, key=lambda t: _draw(seed, t)), wrong, max_pairs)


def all_capped(group: Group, *, max_pairs: int = 8, seed: int = 0, _keep_truncated: bool = False) -> Pairs | str:
    """Every right trace against every wrong one; of more than `max_pairs`, those drawn by `seed` and the ids of both."""
    sides = _sides(group, max_pairs, _keep_truncated)
    if isinstance(sides, str):
        return sides
    return [(right, wrong) for _, right, wrong in _drawn(*sides, seed)[:max_pairs]]


def near_miss(
    group: Group,
    *,
    max_pairs: int = 1,
    seed: int = 0,
    _token_ids: Mapping[str, Sequence[int]],
    _keep_truncated: bool = False,
) -> Pairs | str:
    """Right and wrong traces that say the same for longest: most shared tokens from the start first. Where they part is
    the mistake. Traces come again only when the shorter side is used up. _token_ids: the student's, by trace id."""
    sides = _sides(group, max_pairs, _keep_truncated)
    if isinstance(sides, str):
        return sides
    return _nearest(*sides, max_pairs, seed, lambda a, b: -shared_prefix(_token_ids[a.id], _token_ids[b.id]))


def cross_teacher(group: Group, *, max_pairs: int = 1, seed: int = 0, _keep_truncated: bool = False) -> Pairs | str:
    """Pairs whose two traces are of different teachers, drawn by `seed`; traces of unknown authors are left out.
    Reason of its own: `no_pair_across_teachers`."""
    return _by_teacher(group, max_pairs, seed, _keep_truncated, lambda a, b: a != b, "no_pair_across_teachers")


def same_teacher(group: Group, *, max_pairs: int = 1, seed: int = 0, _keep_truncated: bool = False) -> Pairs | str:
    """Pairs whose two traces are of the same teacher, drawn by `seed`: what tells them apart is right and wrong, not whose
    style. Reason of its own: `no_teacher_right_and_wrong`."""
    return _by_teacher(group, max_pairs, seed, _keep_truncated, lambda a, b: a == b, "no_teacher_right_and_wrong")


def best_against_worst(
    group: Group,
    *,
    by: str,
    best: Literal["highest", "lowest"] = "highest",
    rejected: Literal["worst", "best"] = "worst",
    max_pairs: int = 1,
    seed: int = 0,
    _keep_truncated: bool = False,
) -> Pairs | str:
    """The right traces with the best score `by` against the wrong ones with the worst; ties are drawn by `seed`. `rejected`
    best: against the wrong traces that score best, which are fluent but wrong. `best` lowest: of a score that falls with
    quality. Traces without the score are left out. Reason of its own: `no_score`."""
    sides = _sides(group, max_pairs, _keep_truncated)
    if isinstance(sides, str):
        return sides
    sign = -1.0 if best == "highest" else 1.0
    right, wrong = ([t for t in side if math.isfinite(t.scores.get(by, math.nan))] for side in sides)
    if not right or not wrong:
        return "no_score"
    right.sort(key=lambda t: (sign * t.scores[by], _draw(seed, t)))
    order = sign if rejected == "best" else -sign
    wrong.sort(key=lambda t: (order * t.scores[by], _draw(seed, t)))
    return _cycle(right, wrong, max_pairs)


# --- what they share ----------------------------------------------------------------------------------------------


Sides = tuple[Sequence[Trace], Sequence[Trace]]
_LAST: list[
    tuple[Group, bool, Sides | str]
] = []  # the last group's sides, because all pairings that are compared ask for them


def _sides(group: Group, max_pairs: int, keep_truncated: bool) -> Sides | str:
    """(right, wrong for sure), both in source order and not empty, or the reason why there are none. keep_truncated: of the
    right ones also those that their length limit cut."""
    if max_pairs < 1:
        raise OperatorError(f"select.pairing.max_pairs must be 1 or more (got {max_pairs}).")
    for known, kept, sides in _LAST:
        if known is group and kept == keep_truncated:
            return sides
    _LAST[:] = [(group, keep_truncated, _find_sides(group, keep_truncated))]
    return _LAST[0][2]


def _find_sides(group: Group, keep_truncated: bool) -> Sides | str:
    right = [t for t in group.traces if t.verdict.outcome is Outcome.correct]
    wrong = [t for t in group.traces if t.verdict.outcome is Outcome.incorrect and not _is_cut(t)]
    if not right:
        ungradable = [t.verdict.outcome is Outcome.ungradable for t in group.traces]
        return "ungradable" if ungradable and all(ungradable) else "no_correct_trace"
    right = [t for t in right if keep_truncated or t.finish_reason != "length"]
    if not right:
        return "only_truncated_correct"
    if not wrong:
        others = [t for t in group.traces if t.verdict.outcome is not Outcome.correct]
        if not others:
            return "no_incorrect_trace"
        return "only_truncated_wrong" if all(map(_is_cut, others)) else "only_undecided_wrong"
    return right, wrong


def _is_cut(trace: Trace) -> bool:
    return trace.finish_reason == "length" or trace.verdict.outcome is Outcome.truncated


def _cycle(right: Sequence[Trace], wrong: Sequence[Trace], max_pairs: int) -> Pairs:
    count = min(max_pairs, max(len(right), len(wrong)))
    return [(right[i % len(right)], wrong[i % len(wrong)]) for i in range(count)]


def _nearest(
    right: Sequence[Trace],
    wrong: Sequence[Trace],
    max_pairs: int,
    seed: int,
    distance: Callable[[Trace, Trace], float],
    limit: float = math.inf,
) -> Pairs:
    """Pairs by rising distance, none beyond `limit`; no trace of the longer side twice, one of the shorter side again only
    after all others that can be had, so without a limit as many pairs as `certain` gives."""
    every = ((distance(r, w), r, w) for _, r, w in _drawn(right, wrong, seed))
    near = sorted((c for c in every if c[0] <= limit), key=lambda c: c[0])  # stable: ties stay in the drawn order
    return _take(near, len(right) <= len(wrong), max_pairs)


def _take(candidates: Iterable[tuple[Any, Trace, Trace]], right_again: bool, max_pairs: int) -> Pairs:
    """The first candidates that fit, in rounds: in round k a trace of the side that may come again is taken at most k
    times; one of the other side once."""
    left, pairs, used, times, limit = list(candidates), Pairs(), set[str](), Counter[str](), 0
    while left and len(pairs) < max_pairs:
        limit += 1
        for _, right, wrong in left:
            again, once = (right.id, wrong.id) if right_again else (wrong.id, right.id)
            if once not in used and times[again] < limit and len(pairs) < max_pairs:
                pairs.append((right, wrong))
                used.add(once)
                times[again] += 1
        left = [c for c in left if (c[2] if right_again else c[1]).id not in used]
    return pairs


def _by_teacher(
    group: Group, max_pairs: int, seed: int, keep_truncated: bool, fits: Callable[[str, str], bool], reason: str
) -> Pairs | str:
    sides = _sides(group, max_pairs, keep_truncated)
    if isinstance(sides, str):
        return sides
    right, wrong = ([t for t in side if t.author] for side in sides)
    drawn = _drawn(*sides, seed)
    every = [c for c in drawn if c[1].author and c[2].author and fits(c[1].author, c[2].author)]
    return _take(every, len(right) <= len(wrong), max_pairs) or reason


def _length_ratio(first: Trace, second: Trace) -> float:
    return abs(math.log(_tokens(first) / _tokens(second)))


def _tokens(trace: Trace) -> int:
    assert trace.num_tokens, f"{trace.id} has no token count: pairings see traces with columns"
    return trace.num_tokens


def _answer(trace: Trace) -> str:
    """The answer that was read from a trace, white space and case aside; its id where none was."""
    extracted = trace.verdict.extracted
    return trace.id if extracted is None else " ".join(extracted.lower().split())


def _draw(seed: int, trace: Trace) -> str:
    """A number of 16 hex digits that only the seed and the trace decide."""
    return _draw_of_id(seed, trace.id)


@lru_cache(maxsize=4096)  # half of the pairings that are compared draw the same traces
def _draw_of_id(seed: int, id: str) -> str:
    return content_id("", "pairing", str(seed), id)


Drawn = list[tuple[str, Trace, Trace]]
_LAST_DRAWN: list[tuple[Sequence[Trace], Sequence[Trace], int, Drawn]] = []  # half of the pairings ask for the same


def _drawn(right: Sequence[Trace], wrong: Sequence[Trace], seed: int) -> Drawn:
    """(number, right, wrong) of every right trace with every wrong one, by a number that only the seed and both ids decide."""
    for known_right, known_wrong, known_seed, drawn in _LAST_DRAWN:
        if known_right is right and known_wrong is wrong and known_seed == seed:
            return drawn
    every = [(content_id("", "pairing", str(seed), r.id, w.id), r, w) for r in right for w in wrong]
    _LAST_DRAWN[:] = [(right, wrong, seed, sorted(every, key=lambda c: c[0]))]
    return _LAST_DRAWN[0][3]


def _all_say_correct(trace: Trace, labels: Sequence[str]) -> bool:
    return all(name in trace.verdicts and trace.verdicts[name].outcome is Outcome.correct for name in labels)


PAIRINGS: dict[str, Callable[..., Pairs | str]] = {
    "certain": certain,
    "redi-paper": redi_paper,
    "random": random,
    "length-matched": length_matched,
    "shortest-wrong": shortest_wrong,
    "hardest": hardest,
    "all-capped": all_capped,
    "near-miss": near_miss,
    "cross-teacher": cross_teacher,
    "same-teacher": same_teacher,
    "best-against-worst": best_against_worst,
}
