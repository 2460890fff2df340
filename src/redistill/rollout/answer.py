"""Problems -> Groups of a student's answers, not verified yet."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from redistill.config.tables import LimitSettings
from redistill.io.executors import cores
from redistill.records import Group, Problem, Trace
from redistill.rollout.journal import draw
from redistill.rollout.requests import Sample, Sampling, requests_for, traces_of
from redistill.verify.pool import VerifierPool

MEAN_LOGPROB = "mean_logprob"  # the score under which a sample's mean log-probability per token is stored


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
    by_likelihood: bool = False  # of problems with options: nothing is drawn, the likeliest option is the answer
    cues: str | None = None  # a name of CUES: answers are cut into attempts and verifications, each attempt judged

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
    eval_config: EvalConfig,
    student: Callable[[], Any],
    problems: Sequence[Problem],
    *,
    author: str,
    journal: Path | None = None,
    tell: Callable[[Sample], None] = lambda sample: None,
) -> Iterator[Group]:
    """The problems with the student's n samples each, not judged yet. Where the sampling finds log-probabilities, a sample has
    the score `mean_logprob`."""
    n = eval_config.sampling.n
    asked = [requests_for(p, eval_config.render(p), eval_config.sampling, seed=eval_config.seed) for p in problems]
    flat = [request for requests in asked for request in requests]
    samples = draw(eval_config.engine, student, flat, eval_config.sampling, journal=journal, tell=tell)
    for place, (problem, requests) in enumerate(zip(problems, asked)):
        mine = samples[place * n : (place + 1) * n]
        traces = traces_of(problem, mine, requests, eval_config.sampling, author=author)
        yield Group(problem, tuple(map(_with_mean_logprob, traces, mine)))


def _with_mean_logprob(trace: Trace, sample: Sample) -> Trace:
    if not sample.logprobs:
        return trace
    return replace(trace, scores={**trace.scores, MEAN_LOGPROB: math.fsum(sample.logprobs) / len(sample.logprobs)})
