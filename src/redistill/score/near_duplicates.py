"""Scorer `near-duplicates`: problems that say the same in other words, by any sentence encoder, where numbers and answers agree.

    score: [{name: near-duplicates, encoder: model2vec, encoder_model: minishlab/potion-base-8M, threshold: 0.9, priority: [mine, openR1]}]
    select: {filters: [{name: score, by: near-duplicates, most: 0}]}

AM-DeepSeek-R1-Distilled (arXiv:2503.19633) keeps one problem of each close group, by an order of its sources. A cosine alone merges
other problems: measured with a static encoder, a twin with one other number has 0.975 and a true paraphrase 0.50. So two problems are
compared only where their numbers, signs and turning words are the same and no gold answer of theirs differs.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from redistill.records import Group, Problem, content_id
from redistill.rollout.requests import Student
from redistill.score.encoders import Encode, open_encoder
from redistill.score.marks import scored
from redistill.text.statements import anchors, answer_key, is_english, normal


@dataclass(frozen=True, slots=True)
class Repeat:
    """The problem that another one repeats, and the cosine of the two."""

    leader: str
    cosine: float


def near_duplicates(
    groups: Sequence[Group],
    *,
    encoder: Literal["hashing", "student", "model2vec"] = "hashing",
    encoder_model: str | None = None,
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.9,
    priority: list[str] | None = None,
    numbers: Literal["ordered", "any-order"] = "any-order",
    _into: str,
    _student: Student | None,
    _all_groups: Callable[[], Iterable[Group]],
    _held: dict[str, Any],
) -> list[Group]:
    """The cosine of each problem with the one that it repeats, 0 for a problem that repeats none; a note names the other.

    encoder, encoder_model: what turns statements into vectors. threshold: the smallest cosine of a repeat. priority: sources whose
    problems lead, first ones first; others follow, and equal ones go by id. numbers: whether numbers and signs stand in the same order in
    both, or in any. A problem with a gold answer leads one without. What leads repeats no other leader, so a second pass over what is
    left finds nothing.
    """
    if "repeats" not in _held:
        encode = open_encoder(encoder, model=encoder_model, student=_student, where=f"score ({_into}): encoder")
        problems = (group.problem for group in _all_groups())
        _held["repeats"] = find_repeats(problems, encode, threshold=threshold, priority=priority or [], numbers=numbers)
    repeats: dict[str, Repeat] = _held["repeats"]
    return [_marked(group, repeats.get(group.problem.id), _into) for group in groups]


def _marked(group: Group, repeat: Repeat | None, into: str) -> Group:
    notes = {into: repeat.leader} if repeat else {}
    value = repeat.cosine if repeat else 0.0
    return replace(group, traces=tuple(scored(trace, scores={into: value}, notes=notes) for trace in group.traces))


def find_repeats(
    problems: Iterable[Problem], encode: Encode, *, threshold: float, priority: Sequence[str], numbers: str
) -> dict[str, Repeat]:
    """Problem id -> what it repeats, whatever the order of the problems. Memory: a statement per problem that shares its numbers with
    another, and the vectors of one such block."""
    rank = {source: place for place, source in enumerate(priority)}
    blocks: defaultdict[str, dict[str, Problem]] = defaultdict(dict)
    for problem in problems:
        blocks[_block(problem, numbers)][problem.id] = problem
    repeats: dict[str, Repeat] = {}
    for block in blocks.values():
        if len(block) > 1:
            order = sorted(block.values(), key=lambda p: (rank.get(p.source, len(rank)), p.answer is None, p.id))
            repeats |= _repeats_in(order, encode, threshold)
    return repeats


def _block(problem: Problem, numbers: str) -> str:
    """What two problems must share to be compared: their anchors and their pictures."""
    tokens = normal(problem.statement)
    marks = anchors(tokens)
    pictures = [f"\0{image.sha256}" for image in problem.images]
    return content_id("", *(sorted(marks) if numbers == "any-order" and is_english(tokens) else marks), *pictures)


def _repeats_in(order: Sequence[Problem], encode: Encode, threshold: float) -> dict[str, Repeat]:
    """Each problem against the leaders before it: the closest one that it may repeat, else it leads itself."""
    vectors = encode([_words(problem.statement) for problem in order])
    answers = [None if p.answer is None else answer_key(p.answer) for p in order]
    leaders: list[int] = []
    repeats: dict[str, Repeat] = {}
    for place, problem in enumerate(order):
        cosines = vectors[leaders] @ vectors[place] if leaders else np.zeros(0)
        fits = [
            (float(cosine), -leader)
            for cosine, leader in zip(cosines, leaders, strict=True)
            if cosine >= threshold - 1e-6 and _agree(answers[leader], answers[place])
        ]
        if fits:
            cosine, leader = max(fits)
            repeats[problem.id] = Repeat(order[-leader].id, min(1.0, round(cosine, 6)))
        else:
            leaders.append(place)
    return repeats


def _words(statement: str) -> str:
    """What the encoder is given: the statement without its numbers, which are the same in all of a block and would drown the rest."""
    tokens = normal(statement)
    return " ".join(token for token in tokens if not token[0].isdigit()) or " ".join(tokens)


def _agree(one: str | None, other: str | None) -> bool:
    return one is None or other is None or one == other
