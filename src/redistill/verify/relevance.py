"""Which problems can be judged: those with a gold answer, and those whose metadata says which documents answer them."""

from redistill.records import Problem

RELEVANT = "relevant"  # in a problem's metadata: ids of documents with grades, or a list of ids


def has_gold(problem: Problem) -> bool:
    """True where there is something to judge an answer by."""
    return problem.answer is not None or bool(problem.metadata.get(RELEVANT))
