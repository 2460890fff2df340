"""Benchmarks of labelled steps: a critic judges every labelled step, and its first rejected step is held against the label.

    benchmarks: [{name: processbench, file: processbench.jsonl}, {name: prmbench, file: prmbench.jsonl}, {name: dev, kind: steps}]
    scores.json   {..., "steps": {"error_accuracy": ..., "correct_accuracy": ..., "f1": ..., "coin": ..., "by_analyses": ...}}

Steps behind the first error have no label in ProcessBench, and are not asked: a critic that has passed the wrong step is wrong whatever
it says of later ones. PRMBench labels every step, and its own measures stand beside.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from redistill.config.tables import BenchmarkSettings, CriticSettings
from redistill.errors import OperatorError
from redistill.evaluate.benchmarks import benchmark_file, read_rows
from redistill.evaluate.steps import NO_ERROR, first_error, prmbench_scores, process_scores, report_steps
from redistill.io.progress import say
from redistill.records import Group, Problem, content_id, make_problem
from redistill.rollout.step_rewards import step_reward
from redistill.text.figures import percent
from redistill.text.labelled_steps import LAYOUTS, BadSteps, Solution, read_solutions
from redistill.text.step_problems import Judged, judged_solutions, problems_of


def load_solutions(settings: BenchmarkSettings, seed: int = 0) -> list[Solution]:
    """The labelled solutions of a file, at most `max_problems` of them by a hash of (seed, solution).

    OperatorError for a file that cannot be read or holds no labelled steps. Rows that cannot be read are said and left out.
    """
    if settings.file is None:
        raise OperatorError(f"benchmark {settings.name!r} of labelled steps needs `file`, the data set file.")
    if settings.layout != "auto" and settings.layout not in LAYOUTS:
        raise OperatorError(
            f"benchmark {settings.name!r}: layout {settings.layout!r} is not one of {', '.join(LAYOUTS)}."
        )
    solutions, bad = list[Solution](), list[str]()
    path = benchmark_file(settings)
    for at, row in enumerate(read_rows(path)):
        if settings.benchmark is not None and str(row.get("benchmark")) != settings.benchmark:
            continue
        try:
            solutions += read_solutions(row, settings.layout)
        except BadSteps as refusal:
            bad.append(f"{path.name}:{at} {refusal}: {refusal.detail}")
    if not solutions:
        why = f" ({bad[0]})" if bad else ""
        raise OperatorError(f"{settings.file} holds no labelled steps for benchmark {settings.name!r}{why}.")
    if bad:
        say(f"evaluate {settings.name}: {len(bad)} rows cannot be read, the first {bad[0]}")
    if settings.max_problems is not None and len(solutions) > settings.max_problems:
        solutions = sorted(solutions, key=lambda one: content_id("", "subsample", str(seed), *_identity(one)))
        solutions = solutions[: settings.max_problems]
    return solutions


def _identity(solution: Solution) -> tuple[str, ...]:
    return (solution.name, solution.question, *solution.steps)


def step_problems(settings: BenchmarkSettings, *, seed: int, join: str) -> list[Problem]:
    """The problems that a critic is asked: every labelled step, once."""
    return problems_of(load_solutions(settings, seed), join=join)[0]


def questions_of(settings: BenchmarkSettings) -> list[Problem]:
    """What a corpus must not hold: the questions of the solutions."""
    questions = {one.question for one in load_solutions(settings.model_copy(update={"max_problems": None}))}
    return [make_problem(text, source=settings.name, source_row=settings.name) for text in sorted(questions)]


def solutions_asked(settings: BenchmarkSettings, problems: Iterable[Problem], *, seed: int, join: str) -> list[Judged]:
    """The solutions of a benchmark with the ids of their steps' problems; of `dev` those of the problems that were held out."""
    if settings.is_held_out:
        return judged_solutions(problems)
    return problems_of(load_solutions(settings, seed), join=join)[1]


# --- what it comes to -------------------------------------------------------------------------------------------------


def step_scores(
    solutions: Sequence[Judged],
    groups: Iterable[Group],
    probabilities: Mapping[str, float | None],
    critic: CriticSettings,
) -> dict[str, Any]:
    """ProcessBench's measures of a critic with intervals, per subset and beside the coin's; over 1, 2, 4 ... analyses; PRMBench's
    where every step is labelled.

    groups: the step problems with their analyses, probabilities: P(Yes) by trace id. A step's reward is the mean over its analyses;
    the first step below the threshold is the predicted error. A solution with an undecided step before any rejected one is unjudged:
    counted apart, and right for nobody.
    """
    said = {
        group.problem.id: [
            probabilities.get(t.id) for t in sorted(group.traces, key=lambda t: t.sampling["sample_index"])
        ]
        for group in groups
    }
    labels, lengths = [one.first_error for one in solutions], [one.num_steps for one in solutions]
    predicted = _predicted(solutions, said, critic, critic.analyses)
    several = len({one.subset for one in solutions}) > 1
    scores = report_steps(labels, predicted, lengths, subsets=[one.subset for one in solutions] if several else None)
    counts = [k for k in (1, 2, 4, 8, 16, 32, 64) if k < critic.analyses] + [critic.analyses]
    by_analyses = {str(k): process_scores(labels, _predicted(solutions, said, critic, k)) for k in counts}
    scores |= {
        "analyses": critic.analyses,
        "threshold": critic.threshold,
        "read": critic.read,
        "by_analyses": by_analyses,
    }
    scores["num_steps_judged"] = len(said)
    scores["num_silent_analyses"] = sum(value is None for values in said.values() for value in values)
    if prm := _prmbench(solutions, said, critic):
        scores["prmbench"] = prm
    scores["per_solution"] = [
        [one.name, one.subset, label, guess] for one, label, guess in zip(solutions, labels, predicted, strict=True)
    ]
    return json.loads(json.dumps(scores), parse_constant=lambda _: None)  # NaN, of a share over nothing, is null


def _predicted(
    solutions: Sequence[Judged], said: Mapping[str, Sequence[float | None]], critic: CriticSettings, count: int
) -> list[int | None]:
    """The place of the first rejected step of each solution by the first `count` analyses; None for an unjudged one."""
    predicted = list[int | None]()
    for one in solutions:
        rewards = list[float]()
        for _, id, _ in one.steps:
            reward = step_reward(said.get(id, [])[:count], critic.no_marker)
            if reward is None:
                break
            rewards.append(reward)
        at = first_error(rewards, threshold=critic.threshold)
        if at != NO_ERROR:
            predicted.append(one.steps[at][0])
        else:
            predicted.append(NO_ERROR if len(rewards) == len(one.steps) else None)
    return predicted


def _prmbench(
    solutions: Sequence[Judged], said: Mapping[str, Sequence[float | None]], critic: CriticSettings
) -> dict[str, Any] | None:
    """PRMBench's measures over all steps, per kind of error too; None where labels end at the first error."""
    if not any(one.first_error != NO_ERROR and one.steps[-1][0] > one.first_error for one in solutions):
        return None
    rows = list[tuple[str, list[int], list[float]]]()
    for one in solutions:
        rewards = [step_reward(said.get(id, []), critic.no_marker) for _, id, _ in one.steps]
        known = [reward for reward in rewards if reward is not None]
        if len(known) == len(rewards):
            rows.append((one.subset, [at for at, (_, _, right) in enumerate(one.steps) if not right], known))
    scores: dict[str, Any] = {"unjudged": len(solutions) - len(rows)}
    if rows:
        scores |= _measured(rows, critic.threshold)
        scores["subsets"] = {
            name: _measured([row for row in rows if row[0] == name], critic.threshold)
            for name in sorted({row[0] for row in rows})
        }
    return scores


def _measured(rows: Sequence[tuple[str, list[int], list[float]]], threshold: float) -> dict[str, float]:
    return prmbench_scores([wrong for _, wrong, _ in rows], [scores for _, _, scores in rows], threshold=threshold)


def sentence_of(scores: Mapping[str, Any]) -> str:
    """The measures in a line."""

    parts = [f"{word} {percent(scores[key]['value'])}%" for word, key in (("error accuracy", "error_accuracy"), ("correct accuracy", "correct_accuracy"), ("F1", "f1"))]  # fmt: skip
    unjudged = f", {scores['unjudged']} of {scores['num_traces']} solutions unjudged" if scores["unjudged"] else ""
    return f"{', '.join(parts)} (a coin {percent(scores['coin']['f1'])}%){unjudged}"
