"""Labelled solutions as problems, one per judged step, and back: which steps of which solution a set of problems is.

    step_problem(solution, 1, ("2 + 3 = 6.",), "6 * 4 = 24.", False)    ->  Problem("Question:\\n...", answer="No", metadata={...})
    judged_solutions(problems)                                         ->  [Judged("", "bigbench-mistake", 3, ((0, "p3...", True), ...))]

Solutions that begin alike share the problems of their first steps. The metadata of each says where it stands by two hashes: `before`, of
the question and the steps before it, and `through`, with the step itself; so solutions are found again by following them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from redistill.records import Problem, content_id, make_problem
from redistill.text.judgements import NO, QUESTION_ID, YES, step_statement
from redistill.text.labelled_steps import Solution, judgements


@dataclass(frozen=True, slots=True)
class Judged:
    """The judged steps of a solution: (place, id of the step's problem, whether it is right), in order. num_steps counts those
    that nobody judged too."""

    name: str
    subset: str
    num_steps: int
    steps: tuple[tuple[int, str, bool], ...]

    @property
    def first_error(self) -> int:
        """The place of the first wrong step, -1 where none is."""
        return next((place for place, _, right in self.steps if not right), -1)


def step_problem(
    solution: Solution,
    place: int,
    previous: Sequence[str],
    step: str,
    label: bool,
    *,
    join: str = "blank-line",
    row: str = "",
) -> Problem:
    """The problem "is this step correct?" of one step of a solution; `row` is where it was read."""
    question = make_problem(solution.question).id
    return make_problem(
        step_statement(solution.question, previous, step, join=join),
        answer=YES if label else NO,
        answer_type="verdict",
        source=solution.subset or "step-judgements",
        source_row=row,
        metadata={
            QUESTION_ID: question,
            "step": place,
            "steps": len(solution.steps),
            "before": content_id("", question, *previous),
            "through": content_id("", question, *previous, step),
        },
    )


def problems_of(solutions: Iterable[Solution], *, join: str = "blank-line") -> tuple[list[Problem], list[Judged]]:
    """The problems of all labelled steps, each once, and the solutions with the ids of theirs."""
    problems, judged = dict[str, Problem](), list[Judged]()
    for solution in solutions:
        steps = list[tuple[int, str, bool]]()
        for place, previous, step, label in judgements(solution):
            if label is None or not step.strip() or place >= len(solution.steps) or step != solution.steps[place]:
                continue
            problem = step_problem(solution, place, previous, step, label, join=join, row=solution.name)
            problems.setdefault(problem.id, problem)
            steps.append((place, problem.id, label))
        if steps:
            judged.append(Judged(solution.name, solution.subset, len(solution.steps), tuple(steps)))
    return list(problems.values()), judged


def judged_solutions(problems: Iterable[Problem]) -> list[Judged]:
    """The solutions whose steps these problems judge, up to the first wrong step of each. Left out are problems without
    the hashes of `step_problem`, and solutions of which a step before the first wrong one is not among them."""
    known = {str(p.metadata["through"]): p for p in problems if {"before", "through", "step"} <= p.metadata.keys()}
    after: dict[str, list[Problem]] = defaultdict(list)
    for problem in sorted(known.values(), key=lambda p: p.id):
        after[str(problem.metadata["before"])].append(problem)
    judged = list[Judged]()
    opened: list[tuple[Problem, ...]] = [
        (problem,) for ends in after.values() for problem in ends if problem.metadata["step"] == 0
    ]
    while opened:
        path = opened.pop()
        last = path[-1]
        nexts = [] if last.answer == NO else after.get(str(last.metadata["through"]), [])
        if nexts:
            opened += [(*path, problem) for problem in nexts]
            continue
        num_steps = int(last.metadata.get("steps", len(path)))
        if last.answer != NO and len(path) < num_steps:  # its end is not among the problems
            continue
        steps = tuple((int(p.metadata["step"]), p.id, p.answer == YES) for p in path)
        judged.append(Judged(last.id, last.source, num_steps, steps))
    return sorted(judged, key=lambda one: one.name)
