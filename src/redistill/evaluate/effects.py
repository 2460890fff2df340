"""Where two students differ: on hard or easy problems, in long or short answers, and on which problems exactly.

    a, b = read_table(groups_a), read_table(groups_b)         {problem id: Row(hits, tokens)}, light enough for any run
    by_difficulty(a, b)["bins"]     ->  [{"label": "hard (below a third solved)", "difference": 0.02, ...}, ...]
    flipped(a, b)                   ->  (["p1f0..."], ["p77a..."])       problems that only a, only b solves

A problem's difficulty and length are pooled over both students, so neither is favoured, and are read off the samples with
even numbers while the effect is measured on those with odd numbers: the same samples in both places would make the hard
problems show no effect by construction.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from redistill.errors import OperatorError
from redistill.evaluate.intervals import difference_interval
from redistill.evaluate.metrics import is_correct
from redistill.records import Group
from redistill.verify.relevance import has_gold

ENOUGH = 2  # samples a problem of each student, one half to sort the problems and one to measure


@dataclass(frozen=True, slots=True)
class Row:
    """One student's samples of one problem in the order of their numbers: 1 or 0 each, and their lengths in tokens."""

    hits: tuple[int, ...]
    tokens: tuple[int | None, ...]


def read_table(groups: Iterable[Group]) -> dict[str, Row]:
    """The rows of the problems that have a gold answer, by id; the texts are let go."""
    table = {}
    for group in groups:
        if has_gold(group.problem):
            traces = sorted(group.traces, key=lambda t: t.sampling["sample_index"])
            table[group.problem.id] = Row(tuple(map(is_correct, traces)), tuple(t.num_tokens for t in traces))
    return table


Tables = tuple[Mapping[str, Row], Mapping[str, Row]]


def by_difficulty(a: Mapping[str, Row], b: Mapping[str, Row]) -> dict[str, Any]:
    """The difference of pass@1, a minus b, on problems of which below a third, up to two thirds, and more of the even
    samples are right."""
    if not _enough((a, b)):
        return {"bins": [], "note": "needs two samples a problem of both: one half says how hard a problem is."}
    shares = {id: float(np.mean(a[id].hits[::2] + b[id].hits[::2])) for id in a}
    labels = ("hard (below a third solved)", "middling", "easy (above two thirds solved)")
    place = {id: 0 if share < 1 / 3 else 1 if share <= 2 / 3 else 2 for id, share in shares.items()}
    return {"bins": _bins((a, b), labels, place), "note": _SPLIT}


def by_length(a: Mapping[str, Row], b: Mapping[str, Row]) -> dict[str, Any]:
    """The same on three equal parts of the problems by the mean length of the even samples' answers, in tokens."""
    known = {id for id in a if None not in a[id].tokens and None not in b[id].tokens}
    if len(known) < len(a) or len(a) < 3:
        return {"bins": [], "note": "needs the length of every answer in tokens, and three problems."}
    step = 2 if _enough((a, b)) else 1
    lengths = {id: float(np.mean([*a[id].tokens[::step], *b[id].tokens[::step]])) for id in a}
    ranked = sorted(lengths, key=lambda id: (lengths[id], id))
    place = {id: 3 * rank // len(ranked) for rank, id in enumerate(ranked)}
    parts = [[lengths[id] for id in ranked if place[id] == part] for part in range(3)]
    names = ("short", "middling", "long")
    labels = [f"{name} ({min(part):,.0f} to {max(part):,.0f} tokens)" for name, part in zip(names, parts)]
    note = _SPLIT if step == 2 else "With one sample a problem, length and effect are those of the same answers."
    return {"bins": _bins((a, b), labels, place), "note": note}


def flipped(a: Mapping[str, Row], b: Mapping[str, Row]) -> tuple[list[str], list[str]]:
    """Ids of problems that only a, and that only b, solves in more than half of its samples."""
    solved = [{id for id, row in table.items() if 2 * sum(row.hits) > len(row.hits)} for table in (a, b)]
    return sorted(solved[0] - solved[1]), sorted(solved[1] - solved[0])


def in_common(a: Mapping[str, Any], b: Mapping[str, Any], names: tuple[str, str]) -> list[str]:
    """Ids of the problems that both have. OperatorError where there is none."""
    ids = sorted(a.keys() & b.keys())
    if not ids:
        raise OperatorError(f"{names[0]} and {names[1]} share no problem; compare them on the same benchmark.")
    return ids


_SPLIT = "Sorted by the samples with even numbers, measured on those with odd numbers."


def _enough(tables: Tables) -> bool:
    return all(len(row.hits) >= ENOUGH for table in tables for row in table.values())


def _bins(tables: Tables, labels: Sequence[str], place: Mapping[str, int]) -> list[dict[str, Any]]:
    """One line a bin; empty bins are left out. Measured on odd samples where there are enough, else on all."""
    a, b = tables
    odd = slice(1, None, 2) if _enough(tables) else slice(None)
    found = []
    for bin, label in enumerate(labels):
        ids = sorted(id for id in a if place[id] == bin)
        if not ids:
            continue
        means = np.array([[np.mean(a[id].hits[odd]), np.mean(b[id].hits[odd])] for id in ids])
        differences = means[:, 0] - means[:, 1]
        interval = difference_interval(differences)
        line = {
            "label": label,
            "num_problems": len(ids),
            "a": float(means[:, 0].mean()),
            "b": float(means[:, 1].mean()),
        }
        found.append({**line, "difference": float(differences.mean()), "interval95": interval})
    return found
