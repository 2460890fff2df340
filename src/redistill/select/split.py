"""Which problems are held out: never trained on, kept for choosing between checkpoints.

    is_dev("p0123456789abcdef", seed=0, dev_fraction=0.05)   ->  False for about 95 of 100 ids
    held_out(problem, seed=0, dev_fraction=0.05, by="question")     the same of the question that the problem is about

The split is by problem, so that no trace of a held-out question is trained on, and it looks at nothing but the id:
a problem keeps its side when others are added, removed, reordered or moved to another shard. Where several problems are about
one question, such as the steps of its solutions, the question's id decides for all of them.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

from redistill.config.tables import Recipe
from redistill.errors import OperatorError
from redistill.records import Group, Problem, content_id
from redistill.text.judgements import QUESTION_ID


def is_dev(problem_id: str, *, seed: int, dev_fraction: float) -> bool:
    """True for about `dev_fraction` of all ids, chosen by a hash of (seed, id).

    A larger fraction only adds problems: whatever was held out at 0.05 is still held out at 0.1.
    """
    return int(content_id("", "dev", str(seed), problem_id), 16) / 2**64 < dev_fraction


def held_out(
    problem: Problem, *, seed: int, dev_fraction: float, by: Literal["problem", "question"] = "problem"
) -> bool:
    """True where the problem is held out.

    by question: the id in its metadata under `question_id` decides, so all problems about a question lie on one side, and on the
    side of the question itself. A problem that names none is a question of its own.
    """
    id = str(problem.metadata.get(QUESTION_ID, problem.id)) if by == "question" else problem.id
    return is_dev(id, seed=seed, dev_fraction=dev_fraction)


def split_of(recipe: Recipe) -> Callable[[Problem], bool]:
    """Whether a problem is held out in a run of this recipe."""
    corpus = recipe.corpus
    return partial(held_out, seed=recipe.seed, dev_fraction=corpus.dev_fraction, by=corpus.split_by)


def check_split(recipe: Recipe, groups: Iterable[Group]) -> None:
    """OperatorError where a recipe splits by question and no problem says which question it is about."""
    if recipe.corpus.split_by == "question" and not any(QUESTION_ID in group.problem.metadata for group in groups):
        raise OperatorError(
            f"corpus.split_by: no problem has `{QUESTION_ID}` in its metadata, so each is a question of its own; leave it out, or read "
            "labelled steps with the source step-judgements."
        )
