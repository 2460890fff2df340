"""Scorer `difficulty`: how hard is a problem for this student?

    score: [{name: difficulty, budget: 50, step_end: "\\n\\n"}]          tries until the first right answer, by tree search
    score: [{name: difficulty, how: pass-rate, n: 16}]                   share of its answers that are wrong
    select: {sample: {by: difficulty, least: 6}}                         ThinkLite-VL's cut: solved at the sixth try or later, or never

The student before training answers every problem that is not held out, as evaluation would ask and judge it. All its answers are kept as
traces with their verdicts: right and wrong ones of one problem are pairs. The score stands on every trace of the problem.

Source: ThinkLite-VL (arXiv 2504.07934) for the search, whose rules are in rollout/search.py.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from redistill.errors import OperatorError
from redistill.records import FINAL, Group, Outcome, Problem, Trace
from redistill.rollout.answer import EvalConfig
from redistill.rollout.journal import Journal, draw
from redistill.rollout.requests import Student, requests_for, traces_of
from redistill.rollout.search import Found, SearchSettings, search
from redistill.score.marks import COST, scored, unscored
from redistill.verify.pool import VerifierPool
from redistill.verify.relevance import has_gold
from redistill.verify.stage import judged

UNSOLVED = "unsolved"  # the note of the traces of a problem that the whole budget did not solve; select.sample reads it
STOPPED = "stopped"  # the same where the search was stopped before its budget: nobody knows whether it is unsolved
TRIES = "_tries"  # of the entry in a problem's metadata that says how its difficulty was found
AUTHOR = "base"  # of the answers: the student before training

_UNANSWERED = (Outcome.no_answer, Outcome.truncated)  # certain facts: there is no right answer
_SEARCH_ONLY = ("budget", "stop_after", "children", "step_end", "max_steps", "rule", "duplicates")

_Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True)
class _Measured:
    """Of one problem: its difficulty (None where no answer was decided), the answers drawn, notes for all of its traces, how it was
    found, and what that cost."""

    value: float | None
    traces: Sequence[Trace]
    notes: Mapping[str, str]
    tries: Mapping[str, Any]
    cost: Mapping[str, int]


def difficulty(
    groups: Sequence[Group],
    *,
    how: Literal["mcts", "pass-rate"] = "mcts",
    budget: _Count = 50,
    stop_after: _Count | None = None,
    children: _Count = 3,
    step_end: Annotated[str, Field(min_length=1)] = "\n\n",
    max_steps: _Count = 10,
    rule: Literal["paper", "code"] = "paper",
    duplicates: Literal["keep", "merge"] = "keep",
    n: _Count | None = None,
    temperature: Annotated[float, Field(gt=0)] | None = None,
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None,
    max_new_tokens: _Count | None = None,
    _into: str,
    _seed: int,
    _student: Student | None,
    _config: EvalConfig | None,
    _is_dev: Callable[[Problem], bool],
    _journal: Path,
    _tick: Callable[[int], object],
) -> list[Group]:
    """mcts: the number of the first right try, counted from 1; budget + 1 and the note `unsolved` where none was right.
    pass-rate: the share of n answers that are wrong, with that note where all are.

    stop_after: end a search after so many tries where only a cut matters: a problem that they do not solve gets stop_after + 1 and the note
    `stopped`. children, step_end, max_steps, rule, duplicates: SearchSettings. n: default 8. temperature, top_p: default .5 and .9 (the
    paper's) for mcts, those of evaluate for pass-rate. max_new_tokens: of a step or the rest of an answer, or of an answer; default: evaluate's.

    An answer that could not be judged is no success in a search, and has no part in a pass rate. Not scored: traces of problems held
    out for dev (`held_out_for_dev`), without gold answer (`ungradable`), or of whose answers none could be judged (`undecided`).
    """
    if _student is None or _config is None:
        raise OperatorError(f"score ({_into}): difficulty needs a student; use this scorer in a recipe.")
    options: dict[str, Any] = {"budget": budget, "stop_after": stop_after, "children": children, "step_end": step_end, "max_steps": max_steps, "rule": rule, "duplicates": duplicates}  # fmt: skip
    _check(_into, how, options, n)
    asked = [g.problem for g in groups if has_gold(g.problem) and not _is_dev(g.problem)]
    sample = partial(draw, _config.engine, _student, journal=Journal(_journal))
    with _config.pool() as pool:
        judge = partial(_judged, pool, _config.verifier)
        if how == "mcts":
            settings = SearchSettings(
                temperature=0.5 if temperature is None else temperature,
                top_p=0.9 if top_p is None else top_p,
                max_new_tokens=max_new_tokens or _config.sampling.max_new_tokens,
                prefill=_config.sampling.prefill,
                **options,
            )
            searches = search(
                asked, render=_config.render, sample=sample, judge=judge, settings=settings, seed=_seed, author=AUTHOR,
                tell=lambda problem: _tick(1),
            )  # fmt: skip
            measured = {one.problem.id: _searched(one, settings) for one in searches}
        else:
            chosen: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "max_new_tokens": max_new_tokens}
            sampling = replace(_config.sampling, n=n or 8, **{k: v for k, v in chosen.items() if v is not None})
            measured = _rates(asked, replace(_config, sampling=sampling), sample, judge, _seed, _tick)
    return [_marked(group, measured.get(group.problem.id), _into, _is_dev) for group in groups]


def _check(into: str, how: str, options: Mapping[str, Any], n: int | None) -> None:
    """OperatorError for an option that has no effect."""
    if how == "mcts":
        if n is not None:
            raise OperatorError(f"score ({into}): n belongs to how: pass-rate; a search uses budget.")
        if options["stop_after"] is not None and options["stop_after"] >= options["budget"]:
            raise OperatorError(f"score ({into}): stop_after must be less than budget, or left out.")
        return
    defaults = inspect.signature(difficulty).parameters
    written = [name for name in _SEARCH_ONLY if options[name] != defaults[name].default]
    if written:
        raise OperatorError(f"score ({into}): {written[0]} belongs to how: mcts; how: pass-rate uses n.")


def _judged(pool: VerifierPool, verifier: str, items: Sequence[tuple[Problem, Trace]]) -> list[Trace]:
    groups = judged(pool, [Group(problem, (trace,)) for problem, trace in items], verifier)
    return [group.traces[0] for group in groups]


def _searched(tree: Found, settings: SearchSettings) -> _Measured:
    notes = dict[str, str]()
    if tree.solved_at is None:
        note = UNSOLVED if settings.tries == settings.budget else STOPPED
        notes[note] = f"no right answer in {tree.tries} tries"
    value = settings.tries + 1 if tree.solved_at is None else tree.solved_at
    tries = {
        "how": "mcts", "solved_at": tree.solved_at, "tries": tree.tries, "budget": settings.budget, "children": settings.children,
        "first_steps": tree.first_steps, "undecided": sum(_undecided(t) for t in tree.traces),
    }  # fmt: skip
    return _Measured(float(value), tree.traces, notes, tries, _cost(tree.samples, tree.tokens))


def _rates(
    problems: Sequence[Problem],
    config: EvalConfig,
    sample: Callable[..., Any],
    judge: Callable[..., list[Trace]],
    seed: int,
    tick: Callable[[int], object],
) -> dict[str, _Measured]:
    """The difficulty of each problem by n answers, by its id."""
    sampling = config.sampling
    requests = [requests_for(problem, config.render(problem), sampling, seed=seed) for problem in problems]
    samples = iter(sample([request for mine in requests for request in mine], sampling) if requests else ())
    drawn = []
    for problem, mine in zip(problems, requests, strict=True):
        taken = [next(samples) for _ in mine]
        counts = [one.num_tokens for one in taken]
        tokens = None if None in counts else sum(count or 0 for count in counts)
        drawn.append((problem, traces_of(problem, taken, mine, sampling, author=AUTHOR), tokens))
    verdicts = iter(judge([(problem, trace) for problem, traces, _ in drawn for trace in traces]))
    measured = {}
    for problem, traces, tokens in drawn:
        answers = [next(verdicts) for _ in traces]
        right = sum(trace.verdict.outcome is Outcome.correct for trace in answers)
        undecided = sum(map(_undecided, answers))
        decided = len(answers) - undecided
        notes = {} if right or not decided else {UNSOLVED: f"no right answer in {decided} answers"}
        tries = {"how": "pass-rate", "right": right, "decided": decided, "undecided": undecided}
        value = 1 - right / decided if decided else None
        measured[problem.id] = _Measured(value, answers, notes, tries, _cost(len(answers), tokens))
        tick(1)
    return measured


def _undecided(trace: Trace) -> bool:
    outcome = trace.verdicts[FINAL].outcome
    return outcome not in (Outcome.correct, Outcome.incorrect, *_UNANSWERED)


def _cost(samples: int, tokens: int | None) -> dict[str, int]:
    return {"samples": samples} if tokens is None else {"samples": samples, "tokens": tokens}


def _marked(group: Group, measured: _Measured | None, into: str, is_dev: Callable[[Problem], bool]) -> Group:
    """The group with the answers drawn behind its own, each text once, and what was measured on all of them."""
    if measured is None:
        reason = "held_out_for_dev" if is_dev(group.problem) else "ungradable"
        return replace(group, traces=tuple(unscored(trace, into, reason) for trace in group.traces))
    traces = _once([*group.traces, *measured.traces])
    if measured.value is None:
        traces = [unscored(trace, into, "undecided") for trace in traces]
    else:
        traces = [scored(trace, scores={into: measured.value}, notes=measured.notes) for trace in traces]
    added = {f"{into}{TRIES}": dict(measured.tries), f"{into}{COST}": dict(measured.cost)}
    problem = replace(group.problem, metadata={**group.problem.metadata, **added})
    return Group(problem, tuple(traces))


def _once(traces: Iterable[Trace]) -> list[Trace]:
    unique = dict[str, Trace]()
    for trace in traces:
        unique.setdefault(trace.id, trace)
    return list(unique.values())
