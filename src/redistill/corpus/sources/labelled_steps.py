"""Labelled solutions as traces whose spans say which steps are right: what a process critic with a score head learns from.

    {"input": "(2 + 3) * 4 =", "steps": ["2 + 3 = 6.", "6 * 4 = 24."], "target": "20", "answer": "24", "mistake_index": 0}
    ->  Group(Problem("(2 + 3) * 4 ="), (Trace("2 + 3 = 6.\\n\\n6 * 4 = 24.", spans={"steps": (Span(0, 10, 0.0),)}),))

Each solution becomes a Group of one trace; the same steps as problems for a critic that writes are `step-judgements`. Layouts:
text/labelled_steps.py.
"""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from redistill.corpus.sources.step_judgements import Join, Layout, Splitter, each_solution
from redistill.records import Dropped, Group, Outcome, Span, Verdict, make_problem, make_trace
from redistill.text.judgements import joined_steps
from redistill.text.labelled_steps import Neutral, Reading, Solution

LABEL = "step_labels"  # the verdict that the labels give the whole solution
SPANS = "steps"


def labelled_steps(
    *,
    path: str,
    revision: str | None = None,
    split: str | None = None,
    layout: Layout = "auto",
    steps: Splitter = "blank-line",
    join: Join = "blank-line",
    neutral: Neutral = "right",
    originals: bool = False,
    spans: str = "steps",
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5,
) -> Iterator[Group | Dropped]:
    """Groups of one trace per labelled solution: its steps joined, and spans `steps` with 1 for a right and 0 for a wrong one.

    Steps that nobody judged, such as those behind a first error, have no span. The verdict `step_labels` is incorrect where a step
    is wrong and correct where all steps are right; there is none where some are not judged. Options as of `step-judgements`, but
    of PRM800K the steps that were offered beside the chosen ones are not read. Reasons beside those of every source: `no_steps`,
    `empty_step`, `bad_label`, `unlabelled_step` (no step of the solution is judged).
    """
    reading = Reading(steps, neutral, originals, spans, threshold)
    return each_solution(
        path, layout, reading, lambda row, one: [_group(row, one, join)], revision=revision, split=split
    )


def _group(row: str, solution: Solution, join: str) -> Group | Dropped:
    empty = next((place for place, step in enumerate(solution.steps) if not step.strip()), None)
    if empty is not None:
        return Dropped(row, "corpus", "empty_step", f"step {empty} is empty")
    if all(label is None for label in solution.labels):
        return Dropped(row, "corpus", "unlabelled_step", "no step of the solution has a label")
    completion, ranges = joined_steps(solution.steps, join)
    labelled = zip(ranges, solution.labels, strict=True)
    marks = tuple(Span(start, end, float(label)) for (start, end), label in labelled if label is not None)
    problem = make_problem(solution.question, source=solution.subset or "labelled-steps", source_row=row)
    trace = make_trace(
        problem.id, completion, author=solution.subset, spans={SPANS: marks}, verdicts=_verdict(solution)
    )
    return Group(problem, (trace,))


def _verdict(solution: Solution) -> dict[str, Verdict]:
    if solution.first_error >= 0:
        return {LABEL: Verdict(Outcome.incorrect, reason="wrong_step", verifier=LABEL)}
    if all(solution.labels):
        return {LABEL: Verdict(Outcome.correct, reason="all_steps_right", verifier=LABEL)}
    return {}
