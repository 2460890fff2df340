"""Labelled steps as problems: "is this step correct?", with the gold answer Yes or No. What a written critic learns from.

    {"input": "(2 + 3) * 4 =", "steps": ["2 + 3 = 6.", "6 * 4 = 24."], "target": "20", "answer": "24", "mistake_index": 0}
    ->  Problem("Question:\\n(2 + 3) * 4 =\\n\\nPrevious Steps:\\n(none)\\n\\nNow Step:\\n2 + 3 = 6.", answer="No")

Each labelled step becomes a Group without a trace; analyses are its traces, made by `redistill rollout` or by a stage with
rollouts. Source of the method: R-PRM, arXiv 2503.21295. Layouts: text/labelled_steps.py.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Literal

from pydantic import Field

from redistill.corpus.sources.rows import Row, RowError, read_lists
from redistill.records import Dropped, Group
from redistill.text.labelled_steps import BadSteps, Neutral, Reading, Solution, judgements, read_solutions
from redistill.text.step_problems import step_problem

Layout = Literal[
    "auto",
    "prm800k",
    "processbench",
    "processbench-traces",
    "bigbench-mistake",
    "prmbench",
    "math-shepherd",
    "stepwise",
    "spans",
]
Splitter = Literal["blank-line", "line", "sentence", "numbered", "tag"]
Join = Literal["blank-line", "line", "numbered", "none"]


def step_judgements(
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
    max_previous: Annotated[int, Field(ge=0)] | None = None,
) -> Iterator[Group | Dropped]:
    """Groups without traces, one per labelled step; the metadata says of which question and where it stands (text/step_problems.py).

    layout: `auto` goes by the columns; `stepwise` (TRL) and `spans` (traces with spans) share theirs with other files and must be
    named. steps: how a solution that is one text is split. join: what stands between the previous steps. neutral: what PRM800K's
    rating 0 means. originals: of PRMBench also the unaltered solutions, whose steps are all right. spans, threshold: the name of
    the labelled spans, and the value below which one is wrong. max_previous: a step with more steps before it is dropped
    (`too_many_steps`). Reasons beside those of every source: `unlabelled_step` (nobody judged it, such as those behind the first
    error), `empty_step`, `no_steps`, `bad_label`.
    """
    reading = Reading(steps, neutral, originals, spans, threshold)
    return each_solution(
        path, layout, reading, lambda row, one: _items(row, one, join, max_previous), revision=revision, split=split
    )


def each_solution(
    path: str,
    layout: Layout,
    reading: Reading,
    make: Callable[[str, Solution], Iterable[Group | Dropped]],
    *,
    revision: str | None,
    split: str | None,
) -> Iterator[Group | Dropped]:
    """What `make` gives for each labelled solution, called file:row#number, or the reason why a row has none."""

    def parse(row_id: str, row: Row) -> Iterator[Group | Dropped]:
        try:
            solutions = read_solutions(row, layout, reading)
        except BadSteps as refusal:
            raise RowError(str(refusal), refusal.detail) from refusal
        if not solutions:
            raise RowError("no_steps", f"no generation has spans called `{reading.spans}`")
        return (item for number, one in enumerate(solutions) for item in make(f"{row_id}#{number}", one))

    return read_lists(path, parse, revision=revision, split=split)


def _items(row_id: str, solution: Solution, join: str, max_previous: int | None) -> Iterator[Group | Dropped]:
    """A Group or Dropped for every step of a solution, called file:row#solution.place."""
    for number, (place, previous, step, label) in enumerate(judgements(solution)):
        id = f"{row_id}.{number}"
        if label is None:
            yield Dropped(id, "corpus", "unlabelled_step", f"step {place} has no label")
        elif not step.strip():
            yield Dropped(id, "corpus", "empty_step", f"step {place} is empty")
        elif max_previous is not None and len(previous) > max_previous:
            yield Dropped(id, "corpus", "too_many_steps", f"step {place} has {len(previous)} steps before it")
        else:
            yield Group(step_problem(solution, place, previous, step, label, join=join, row=id), ())
