"""Scorer `critic`: a language model judges every step of a trace in writing, so that the first wrong step comes with its reasons.

    score: [{name: critic, model: runs/r-prm/train/dpo/model, analyses: 4}]
    select: {filters: [{name: score, by: critic_first_error, most: -1}]}        # only traces without a rejected step

The mean probability of Yes of each step stands as spans `NAME` on the trace, `NAME_first_error` is the place of the first step below
the threshold (-1: none), and the note `NAME` is an analysis of that step. `NAME_min`, `NAME_mean`, `NAME_last` and `NAME_product` are
scores of all steps: how steps make a score of a trace is not said by the paper (R-PRM, arXiv 2503.21295).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from redistill.config.tables import CriticSettings, PromptText, StudentSettings
from redistill.errors import OperatorError
from redistill.io.api_keys import KEY_ENV, BaseUrl, KeyEnv
from redistill.io.client import Kept
from redistill.io.progress import say
from redistill.records import Group, Problem, Span, Trace
from redistill.rollout.journal import draw
from redistill.rollout.openai_engine import openai_engine
from redistill.rollout.requests import Sampling, Student, requests_for
from redistill.rollout.step_rewards import Analysis, step_reward, yes_probabilities
from redistill.rollout.transformers_engine import transformers_engine
from redistill.score.marks import scored, unscored
from redistill.text.judgements import VERDICT_LINE
from redistill.text.labelled_steps import Solution
from redistill.text.step_problems import step_problem
from redistill.text.steps import steps as split_steps

Share = Annotated[float, Field(ge=0, le=1)]


def critic(
    groups: Sequence[Group],
    *,
    model: str | None = None,
    revision: str | None = None,
    base_url: BaseUrl | None = None,
    analyses: Annotated[int, Field(gt=0)] = 4,
    threshold: Share = 0.5,
    steps: Literal["blank-line", "line", "sentence", "numbered", "tag"] = "blank-line",
    join: Literal["blank-line", "line", "numbered", "none"] = "blank-line",
    template: str = "step-judgement",
    chat: bool = False,
    temperature: Annotated[float, Field(ge=0)] = 0.95,
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95,
    max_new_tokens: Annotated[int, Field(gt=0)] = 3072,
    read: Literal["probability", "verdict"] = "probability",
    line: str = VERDICT_LINE,
    no_marker: Literal["undecided", "append", "drop"] = "undecided",
    first_piece: bool = False,
    max_steps: Annotated[int, Field(gt=0)] | None = None,
    batch_size: Annotated[int, Field(gt=0)] = 128,
    key_env: KeyEnv = KEY_ENV,
    concurrency: Annotated[int, Field(gt=0)] = 32,
    retries: Annotated[int, Field(ge=0)] = 5,
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0,
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None,
    _into: str,
    _seed: int,
    _student: Student | None,
    _all_groups: Callable[[], Iterable[Group]],
    _cache: Path,
    _held: dict[str, Any],
) -> list[Group]:
    """P(Yes) of each step, averaged over its analyses, in this process or by a server of completions (base_url) with log-probs.

    model: the critic, a folder or hub id, or the name the server knows it by; default: the student before training. steps: where a
    step of a trace ends. join, template, chat: how the critic was asked in its training. Temperature, top_p and max_new_tokens are the
    paper's. read, line, no_marker, first_piece, threshold: as in evaluate.critic. max_steps: traces with more are not judged. What a
    server is to be asked is said before the first call. Not scored: `empty`, `too_many_steps`, `undecided` (a step of which the
    analyses say too little comes before any rejected one).
    """
    settings = CriticSettings(
        analyses=analyses,
        threshold=threshold,
        read=read,
        line=line,
        no_marker=no_marker,
        first_piece=first_piece,
        join=join,
    )
    if "critic" not in _held:
        if base_url is not None:
            transport: dict[str, Any] = {"key_env": key_env, "concurrency": concurrency, "retries": retries,
                         "timeout_seconds": timeout_seconds, "requests_per_minute": requests_per_minute}  # fmt: skip
            engine: partial[Any] = partial(openai_engine, base_url=base_url, model=model, **transport)
            _announce(_all_groups(), settings, steps, max_steps, max_new_tokens, base_url, _into)
        else:
            engine = partial(transformers_engine, batch_size=batch_size)
        student = _student_of(model, revision, base_url, _student, _into)
        render, sampling = (
            _renderer(template, chat, student, base_url),
            Sampling(analyses, temperature, top_p, max_new_tokens),
        )
        _held["critic"] = WrittenCritic(engine, student, render, sampling, settings, _seed, steps, join, max_steps)
    at_work: WrittenCritic = _held["critic"]
    if not groups:
        return []
    rows = [at_work.row(group.problem, trace) for group in groups for trace in group.traces]
    asked = {p.id: p for row in rows if _reason(row, max_steps) is None for p in row.problems(join)}
    judged = at_work.judged(asked, _cache)
    marked = iter([_marked(row, _reason(row, max_steps), judged, settings, join, _into) for row in rows])
    return [replace(group, traces=tuple(next(marked) for _ in group.traces)) for group in groups]


@dataclass(frozen=True, slots=True)
class WrittenCritic:
    """A critic that writes, at work: who is asked, how, and where steps end."""

    engine: partial[Any]
    student: Student
    render: Callable[[Problem], str]
    sampling: Sampling
    settings: CriticSettings
    seed: int
    steps: str
    join: str
    max_steps: int | None

    def row(self, problem: Problem, trace: Trace) -> "_Row":
        """A trace with its steps."""
        return _Row(problem, trace, _ranges(trace, self.steps))

    def judged(self, asked: Mapping[str, Problem], cache: Path | None = None) -> "dict[str, _Judged]":
        """What the critic writes of each step's problem, and P(Yes) of each analysis; what was drawn or paid for before is kept in
        the files of `cache`."""
        flat = [
            request
            for problem in asked.values()
            for request in requests_for(problem, self.render(problem), self.sampling, seed=self.seed)
        ]
        journal = None if cache is None else cache.with_suffix(".samples.jsonl")
        samples = draw(self.engine, self.student, flat, self.sampling, journal=journal)
        written = [Analysis(request.prompt, "", sample.text) for request, sample in zip(flat, samples, strict=True)]
        with Kept(cache) as kept:
            probabilities = yes_probabilities(self.engine, self.student, written, self.settings, kept=kept)
        n, counts = self.sampling.n, [sample.num_tokens or 0 for sample in samples]
        return {
            id: _Judged(
                probabilities[at : at + n], [one.completion for one in written[at : at + n]], sum(counts[at : at + n])
            )
            for id, at in zip(asked, range(0, len(flat), n), strict=True)
        }

    def last_steps(self, rows: Sequence[tuple[Problem, Trace]]) -> list[tuple[float | None, int]]:
        """Of each trace the mean P(Yes) of its last step alone, None where it is undecided or the trace is not judged, and the tokens
        that the critic wrote for that."""
        problems: list[Problem | None] = []
        for problem, trace in rows:
            row = self.row(problem, trace)
            problems.append(row.problems(self.join)[-1] if _reason(row, self.max_steps) is None else None)
        judged = self.judged({problem.id: problem for problem in problems if problem is not None})
        values = [None if problem is None else judged[problem.id] for problem in problems]
        return [
            (None, 0) if one is None else (step_reward(one.probabilities, self.settings.no_marker), one.tokens)
            for one in values
        ]


@dataclass(frozen=True, slots=True)
class _Row:
    """A trace to judge: its problem, and the ranges of its steps."""

    problem: Problem
    trace: Trace
    ranges: list[tuple[int, int]]

    def problems(self, join: str) -> list[Problem]:
        """The problem of each step, in order."""
        texts = [self.trace.completion[start:end] for start, end in self.ranges]
        shown = texts if join == "none" else [text.strip("\n") for text in texts]
        solution = Solution(self.problem.statement, tuple(shown), (None,) * len(shown))
        return [step_problem(solution, at, shown[:at], step, True, join=join) for at, step in enumerate(shown)]


@dataclass(frozen=True, slots=True)
class _Judged:
    """P(Yes) of each analysis of a step, None where it says nothing, the analyses, and how many tokens they have."""

    probabilities: Sequence[float | None]
    analyses: Sequence[str]
    tokens: int

    def worst(self) -> str:
        """The analysis that is surest that the step is wrong."""
        values = [math.inf if value is None else value for value in self.probabilities]
        return self.analyses[values.index(min(values))]


def _ranges(trace: Trace, how: str) -> list[tuple[int, int]]:
    return split_steps(trace.completion, how) if trace.completion.strip() else []


def _reason(row: _Row, max_steps: int | None) -> str | None:
    """Why a trace is not judged at all; None where it is."""
    if not row.ranges:
        return "empty"
    return "too_many_steps" if max_steps is not None and len(row.ranges) > max_steps else None


def _marked(
    row: _Row, reason: str | None, judged: dict[str, _Judged], settings: CriticSettings, join: str, into: str
) -> Trace:
    """The trace with what was found of its steps."""
    if reason is not None:
        return unscored(row.trace, into, reason)
    solutions = [judged[problem.id] for problem in row.problems(join)]
    rewards = [step_reward(one.probabilities, settings.no_marker) for one in solutions]
    spans = [
        Span(start, end, reward) for (start, end), reward in zip(row.ranges, rewards, strict=True) if reward is not None
    ]
    first = next((at for at, r in enumerate(rewards) if r is None or r < settings.threshold), -1)
    if first >= 0 and rewards[first] is None:
        return unscored(scored(row.trace, spans={into: spans} if spans else {}), into, "undecided")
    known = [reward for reward in rewards if reward is not None]
    scores = {f"{into}_first_error": float(first)}
    if len(known) == len(rewards):
        scores |= {
            f"{into}_mean": math.fsum(known) / len(known),
            f"{into}_min": min(known),
            f"{into}_last": known[-1],
            f"{into}_product": math.prod(known),
        }
    notes = {into: solutions[first].worst()} if first >= 0 else {}
    return scored(row.trace, scores=scores, spans={into: spans}, notes=notes)


def _announce(
    groups: Iterable[Group],
    settings: CriticSettings,
    steps: str,
    max_steps: int | None,
    tokens: int,
    base_url: str,
    into: str,
) -> None:
    """Say what a server is to be asked before the first call."""
    counts = [len(_ranges(trace, steps)) for group in groups for trace in group.traces]
    if not counts:  # a search opens its critic before there is a text
        return
    judged = sum(count for count in counts if max_steps is None or count <= max_steps)
    calls = judged * settings.analyses
    second = ", and as many of one token for P(Yes)" if settings.read == "probability" else ""
    say(
        f"score    {into}: {judged:,} steps of {len(counts):,} traces; at most {calls:,} calls to {base_url}, each of at most {tokens:,} "
        f"tokens{second}"
    )


def _student_of(
    model: str | None, revision: str | None, base_url: str | None, student: Student | None, into: str
) -> Student:
    """The critic as engines meet it."""
    if base_url is not None:
        return Student(lambda: (None, None), model or "")
    if model is None:
        if student is None:
            raise OperatorError(f"score ({into}): no student is available; set `model`.")
        return student
    named = StudentSettings(model=model, revision=revision)

    def load() -> Any:
        from redistill.model.loading import load_model, load_tokenizer

        try:
            tokenizer = load_tokenizer(named)
            return load_model(named, tokenizer, seed=0), tokenizer
        except OperatorError as error:
            raise OperatorError(str(error).replace("student.model", f"score ({into}): model")) from error

    return Student(load, model, owned=True)


def _renderer(template: str, chat: bool, student: Student, base_url: str | None) -> Callable[[Problem], str]:
    from redistill.model.rendering import renderer

    tokenizer: Any = student()[1] if chat and base_url is None else None
    if chat and base_url is not None:
        raise OperatorError(
            "score (critic): chat needs the tokenizer of a model in this process; write the chat template's text in `template`."
        )
    return renderer(PromptText(template=template, chat=chat), tokenizer)[0]
