"""Problems -> Groups of a student's answers, not verified yet."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from redistill.config.tables import LimitSettings
from redistill.io.executors import cores
from redistill.records import Group, Problem
from redistill.rollout.journal import draw
from redistill.rollout.requests import Sample, Sampling, requests_for, traces_of
from redistill.verify.pool import VerifierPool


@dataclass(frozen=True, slots=True)
class EvalConfig:
    """All that scores depend on but the student and the problems. `verifier` names the one of `judge` that decides."""

    engine: Callable[..., list[Sample]]
    render: partial[str]
    judge: Mapping[str, partial[Any]]
    verifier: str
    sampling: Sampling
    seed: int
    limits: LimitSettings

    def pool(self, workers: int | None = None) -> VerifierPool:
        """The workers that judge; close them (`with`)."""
        limits = self.limits
        return VerifierPool(
            self.judge,
            workers=workers or limits.workers or cores(),
            timeout_seconds=limits.timeout_seconds,
            memory_mb=limits.memory_mb,
        )


def answered(
    exam: EvalConfig,
    student: Callable[[], Any],
    problems: Sequence[Problem],
    *,
    author: str,
    journal: Path | None = None,
    tell: Callable[[Sample], None] = lambda sample: None,
) -> Iterator[Group]:
    """The problems with the student's n samples each, not judged yet."""
    n = exam.sampling.n
    asked = [requests_for(p, exam.render(p), exam.sampling, seed=exam.seed) for p in problems]
    flat = [request for requests in asked for request in requests]
    samples = draw(exam.engine, student, flat, exam.sampling, journal=journal, tell=tell)
    for place, (problem, requests) in enumerate(zip(problems, asked)):
        mine = samples[place * n : (place + 1) * n]
        yield Group(problem, traces_of(problem, mine, requests, exam.sampling, author=author))
