"""Stage `limit-traces`: at most so many traces per problem, chosen by a hash, so that rich problems do not fill a corpus.

limit_traces([Group(problem, traces_of_43_teachers)], per_problem=8)  ->  the same group with 8 traces
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from redistill.records import Group, Trace, content_id


def limit_traces(groups: Sequence[Group], *, per_problem: Annotated[int, Field(gt=0)], seed: int = 0) -> list[Group]:
    """Each group with at most `per_problem` of its traces, in their order: those with the smallest hash of (seed, id), so
    a smaller limit keeps a part of what a larger one keeps."""
    return [replace(group, traces=_chosen(group, per_problem, seed)) for group in groups]


def _chosen(group: Group, most: int, seed: int) -> tuple[Trace, ...]:
    ranked = sorted(group.traces, key=lambda trace: content_id("", "limit-traces", str(seed), trace.id))
    chosen = {trace.id for trace in ranked[:most]}
    return tuple(trace for trace in group.traces if trace.id in chosen)
