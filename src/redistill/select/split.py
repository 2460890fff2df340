"""Which problems are held out: never trained on, kept for choosing between checkpoints and for scores.

    is_dev("p0123456789abcdef", seed=0, dev_fraction=0.05)   ->  False for about 95 of 100 ids
    held_out(problem, seed=0, dev_fraction=0.05, by="question")     the same of the question that the problem is about
    split_of(recipe, groups)(problem)                        as the recipe says: its exact share, or by the hash alone

The split is by problem, so that no trace of a held-out question is trained on, and it looks at the id and a seed of its own
(`corpus.split_seed`), which is not that of training: seeds of training are compared on the same problems. `split: exact` takes the
problems with the lowest hashes until the share is full, so nearly all keep their side when others are added; `split: hash` takes each
problem by its hash alone, about the share. Where several problems are about one question, such as the steps of its solutions, the
question's id decides for all of them.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

from redistill.config.tables import Recipe
from redistill.errors import OperatorError
from redistill.records import Group, Problem, content_id
from redistill.text.judgements import QUESTION_ID
from redistill.verify.relevance import has_gold

Unit = Literal["problem", "question"]


def rank_of(unit_id: str, seed: int) -> float:
    """Where an id stands in the order in which problems are held out, between 0 and 1."""
    return int(content_id("", "dev", str(seed), unit_id), 16) / 2**64


def is_dev(problem_id: str, *, seed: int, dev_fraction: float) -> bool:
    """True for about `dev_fraction` of all ids, chosen by a hash of (seed, id).

    A larger fraction only adds problems: whatever was held out at 0.05 is still held out at 0.1.
    """
    return rank_of(problem_id, seed) < dev_fraction


def unit_of(problem: Problem, by: Unit) -> str:
    """The id that decides: the problem's own, or that of the question which it is about. A problem that names none is a question of
    its own."""
    return str(problem.metadata.get(QUESTION_ID, problem.id)) if by == "question" else problem.id


def held_out(problem: Problem, *, seed: int, dev_fraction: float, by: Unit = "problem") -> bool:
    """True where the problem is held out by the hash alone.

    by question: the id in its metadata under `question_id` decides, so all problems about a question lie on one side, and on the
    side of the question itself.
    """
    return is_dev(unit_of(problem, by), seed=seed, dev_fraction=dev_fraction)


def _is_among(problem: Problem, *, seed: int, last: float, by: Unit) -> bool:
    """True for a gradable problem that does not stand behind the last one held out."""
    return has_gold(problem) and rank_of(unit_of(problem, by), seed) <= last


def split_of(recipe: Recipe, problems: Callable[[], Iterable[Problem]]) -> Callable[[Problem], bool]:
    """Whether a problem is held out in a run of this recipe. problems: those of the corpus, read only where the share is exact.

    Exact: of the problems (questions) with a gold answer the share, rounded, and one at least; others cannot be scored on and stay in
    training. OperatorError where `corpus.dev_problems` leaves nothing to train on.
    """
    corpus = recipe.corpus
    seed = corpus.split_seed
    if not corpus.holds_out:
        return partial(held_out, seed=seed, dev_fraction=0.0, by=corpus.split_by)
    by_hash = partial(held_out, seed=seed, dev_fraction=corpus.dev_fraction, by=corpus.split_by)
    if corpus.split == "hash":
        return by_hash
    units = {unit_of(problem, corpus.split_by) for problem in problems() if has_gold(problem)}
    wanted = corpus.dev_problems or max(1, round(corpus.dev_fraction * len(units)))
    if corpus.dev_problems and units and wanted >= len(units):
        raise OperatorError(
            f"corpus.dev_problems: {wanted:,} of {len(units):,} problems with a gold answer would be held out, which "
            f"leaves none to train on; lower it."
        )
    ranks = sorted(rank_of(unit, seed) for unit in units)
    last = ranks[wanted - 1] if ranks else -1.0
    return partial(_is_among, seed=seed, last=last, by=corpus.split_by)


def split_key(recipe: Recipe) -> dict[str, Any]:
    """What the split adds to the keys of what depends on it, beside seed, dev_fraction and split_by: nothing for a recipe that splits
    by the hash with the seed of training, as all did before these settings were there."""
    corpus = recipe.corpus
    if corpus.split == "hash" and corpus.split_seed == recipe.seed:
        return {}
    return {"split": [corpus.split, corpus.split_seed, corpus.dev_problems]}


def check_split(recipe: Recipe, groups: Iterable[Group]) -> None:
    """OperatorError where a recipe splits by question and no problem says which question it is about."""
    if recipe.corpus.split_by == "question" and not any(QUESTION_ID in group.problem.metadata for group in groups):
        raise OperatorError(
            f"corpus.split_by: no problem has `{QUESTION_ID}` in its metadata, so each is its own question; leave it "
            f"out, or use the source step-judgements to read labelled steps."
        )
