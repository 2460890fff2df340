"""Critics with a score head on benchmarks of labelled steps: each step's score stands where a written critic's P(Yes) would.

    groups = head_judgements(reader, render, solutions, author="prm", line=VERDICT_LINE, join="blank-line")
    groups[0].traces[0].completion   "Verdict: is the Now Step correct (Yes/No)? No"      scores {"p_yes": 0.12}

The head reads a solution once, from left to right, so what it says of a step knows the question and the steps up to it, as a
written critic does. So both kinds are counted, compared and shown by the same code.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from redistill.records import Group, Problem, make_problem, make_trace
from redistill.text.judgements import NO, YES, joined_steps
from redistill.text.labelled_steps import Solution
from redistill.text.step_problems import problems_of

if TYPE_CHECKING:
    from redistill.model.reward_heads import Reader

P_YES = "p_yes"  # the score of a head's verdict on a step


def head_judgements(
    reader: "Reader",
    render: Callable[[Problem], str],
    solutions: Sequence[Solution],
    *,
    author: str,
    line: str,
    join: str,
) -> list[Group]:
    """The problems of all labelled steps, by id, each with one trace: the verdict line with Yes where the step's score is at
    least 1/2, and the score as `p_yes`.

    render: the prompt of a question, as in training. join: what stands between steps. The steps of a solution that is longer than
    the critic's context have empty traces of finish reason `length`, which are undecided.
    """
    problems: dict[str, Problem] = {}
    rows, ids = [], list[list[str]]()
    values: dict[str, float] = {}
    for solution in solutions:
        of_steps, judged = problems_of([solution], join=join)
        problems |= {problem.id: problem for problem in of_steps if problem.id not in problems}
        text, ranges = joined_steps(solution.steps, join)
        for one in judged:
            asked = [ranges[place] for place, _, _ in one.steps]
            encoded = reader.encoding.steps(solution.question, render(make_problem(solution.question)), text, asked)
            if not isinstance(encoded, str):
                rows.append(encoded)
                ids.append([id for _, id, _ in one.steps])
    for names, scores in zip(ids, reader.values(rows), strict=True):
        if not isinstance(scores, str):
            values |= zip(names, scores, strict=True)
    return [_judged(problems[id], values.get(id), author, line) for id in sorted(problems)]


def _judged(problem: Problem, value: float | None, author: str, line: str) -> Group:
    said = "" if value is None else f"{line} {YES if value >= 0.5 else NO}"
    trace = make_trace(
        problem.id,
        said,
        author=author,
        sampling={"sample_index": 0},
        finish_reason="length" if value is None else "stop",
        scores={} if value is None else {P_YES: value},
    )
    return Group(problem, (trace,))
