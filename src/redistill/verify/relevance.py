"""Which problems can be judged: those with a gold answer, and those whose metadata names the documents, tests or instructions that decide."""

from redistill.records import Problem

RELEVANT = "relevant"  # in a problem's metadata: ids of documents with grades, or a list of ids
TESTS = "tests"  # and the tests of a program (code_tests.py)
INSTRUCTIONS = "instructions"  # and what an answer's form must be (instructions.py)


def has_gold(problem: Problem) -> bool:
    """True where there is something to judge an answer by."""
    return problem.answer is not None or any(problem.metadata.get(name) for name in (RELEVANT, TESTS, INSTRUCTIONS))
