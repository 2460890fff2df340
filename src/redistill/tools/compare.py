"""Two runs' students on the same problems, from their stored answers; no model is needed.

    compare_runs(Path("runs/a"), Path("runs/b"))   ->  [{"benchmark": "math-500", "sentence": "No difference ...", ...}]

The findings are written beside, in `compare/` of the first run, where its page finds them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.config.differences import differing_paths
from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.evaluate import paired_difference
from redistill.evaluate.effects import by_difficulty, by_length, flipped, in_common, read_table
from redistill.evaluate.self_correction import PER_PROBLEM
from redistill.io.atomic import read_json, write_json
from redistill.io.stage_folder import StageFolder, check_layout
from redistill.records import Group, Outcome, Trace
from redistill.report.unscored import why_unscored
from redistill.safety.paths import check_links

MAX_TEXT = 4_000  # characters of an answer kept with a flip, from its end
UNSHOWN = ("engine",)  # settings that say how, not what was asked


@dataclass(frozen=True, slots=True)
class Side:
    """One student of one run. `verifier`: a re-grading of the run instead of its own verdicts."""

    run: Path
    student: str
    verifier: str | None

    @property
    def folder(self) -> Path:
        """Where its benchmarks lie."""
        root = self.run / "regraded" / self.verifier if self.verifier else self.run / "evaluate"
        return root / self.student

    @property
    def benchmarks(self) -> list[str]:
        """Those that are scored."""
        return sorted(p.parent.name for p in self.folder.glob("*/scores.json"))


def compare_runs(
    run_a: Path,
    run_b: Path,
    *,
    students: tuple[str | None, str | None] = (None, None),
    benchmarks: list[str] | None = None,
    verifier: str | None = None,
    common: bool = False,
) -> list[dict[str, Any]]:
    """One finding a benchmark that both sides have. common: only the problems that both answered, where they differ.

    OperatorError names what is missing: a run, a student, a benchmark, a re-grading, or problems of one side.
    """
    sides = tuple(_side(run, student, verifier) for run, student in zip((run_a, run_b), students))
    a, b = sides
    if a == b:
        raise OperatorError(f"both sides are {a.student} of {a.run}; name another run, or --student A:B.")
    both = [name for name in a.benchmarks if name in b.benchmarks]
    for wanted in benchmarks or ():
        if wanted not in both:
            raise OperatorError(f"no benchmark {wanted!r} is scored on both sides{did_you_mean(wanted, both)}")
    if not both:
        raise OperatorError(
            f"no benchmark is scored on both sides: {a.run} has {', '.join(a.benchmarks)}, {b.run} has {', '.join(b.benchmarks)}."
        )
    return [_compared(a, b, name, common=common) for name in benchmarks or both]


def kept_in(run_a: Path, found: list[dict[str, Any]]) -> Path:
    """The file in the first run's folder `compare/` for these findings."""
    name = re.sub(r"[^A-Za-z0-9._@-]+", "-", f"{found[0]['a']}--{found[0]['b']}")
    return run_a / "compare" / f"{name}.json"


def keep(run_a: Path, found: list[dict[str, Any]]) -> Path:
    """Write the findings into the first run's folder `compare/` and return the file."""
    path = kept_in(run_a, found)
    try:
        write_json(path, found)
    except OSError as error:
        raise OperatorError(f"the comparison could not be kept in {path}: {error.strerror}.") from error
    return path


def _side(run: Path, student: str | None, verifier: str | None) -> Side:
    if not run.is_dir():
        raise OperatorError(f"there is no run folder at {run}.")
    check_links(run)
    check_layout(run)
    root = run / "regraded" / verifier if verifier else run / "evaluate"
    if verifier and not root.is_dir():
        known = [p.name for p in sorted((run / "regraded").glob("*")) if p.is_dir()]
        raise OperatorError(f"{run} was not regraded by {verifier!r}{did_you_mean(verifier, known)}")
    known = sorted({p.parent.parent.name for p in root.glob("*/*/scores.json")})
    if not known and (why := why_unscored(run)):
        raise OperatorError(f"{run} holds no scores: {why}")
    if not known:
        raise OperatorError(f"{run} holds no scores; run `redistill evaluate`, or its recipe to the stage `evaluate`.")
    if student is None and len(known) > 1:
        raise OperatorError(f"{run} has several students: {', '.join(known)}; choose with --student NAME (or A:B).")
    if student is not None and student not in known:
        raise OperatorError(f"{run} has no scores of {student!r}{did_you_mean(student, known)}")
    return Side(run, student or known[0], verifier)


def _compared(a: Side, b: Side, benchmark: str, *, common: bool) -> dict[str, Any]:
    names = _names(a, b)
    stage_dirs = [StageFolder(side.folder / benchmark, "") for side in (a, b)]
    scores = [read_json(stage_dir.folder / "scores.json") for stage_dir in stage_dirs]
    tables = [read_table(stage_dir.read("groups")) for stage_dir in stage_dirs]
    alone = [len(tables[0].keys() - tables[1].keys()), len(tables[1].keys() - tables[0].keys())]
    if common:
        ids = in_common(tables[0], tables[1], names)
        tables = [{id: table[id] for id in ids} for table in tables]
    hits = [
        {
            "per_problem": {id: list(row.hits) for id, row in table.items()},
            "num_samples": one["num_samples"],
            "per_problem_choose": {
                label: {id: values[id] for id in table}
                for label, values in one.get("per_problem_choose", {}).items()
                if table.keys() <= values.keys()  # a problem without a gold answer is in no score
            },
            **_self_correction_of(one, table),
        }
        for one, table in zip(scores, tables, strict=True)
    ]
    found = paired_difference(hits[0], hits[1], names=names)
    only_a, only_b = flipped(tables[0], tables[1])
    texts = [_texts(stage_dir.read("groups"), {*only_a, *only_b}) for stage_dir in stage_dirs]
    flips = [
        {"problem_id": id, "solved_by": names[side], "a": texts[0][id], "b": texts[1][id]}
        for side, ids in enumerate((only_a, only_b))
        for id in ids
    ]
    return {
        "a": names[0],
        "b": names[1],
        "benchmark": benchmark,
        "verifier": a.verifier,
        "left_out": alone if common else [0, 0],
        **found,
        "pass_at_1": [float(_mean(table)) for table in tables],
        "settings_differ": _differing(scores[0].get("settings", {}), scores[1].get("settings", {})),
        "by_difficulty": by_difficulty(tables[0], tables[1]),
        "by_length": by_length(tables[0], tables[1]),
        "flipped": flips,
    }


def _self_correction_of(scores: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """What was counted of attempts and verifications, of these problems; nothing where nothing was."""
    counts = scores.get(PER_PROBLEM)
    return {} if counts is None else {PER_PROBLEM: {id: counts[id] for id in table if id in counts}}


def _mean(table: dict[str, Any]) -> float:
    return sum(sum(row.hits) / len(row.hits) for row in table.values()) / len(table)


def _names(a: Side, b: Side) -> tuple[str, str]:
    """What the sides are called: the student where that tells them apart, else student@run."""
    if a.student != b.student:
        return a.student, b.student
    return f"{a.student}@{a.run.resolve().name}", f"{b.student}@{b.run.resolve().name}"


def _differing(a: dict[str, Any], b: dict[str, Any]) -> dict[str, list[Any]]:
    shown = [{key: value for key, value in settings.items() if key not in UNSHOWN} for settings in (a, b)]
    return differing_paths(shown)


def _texts(groups: Iterable[Group], wanted: set[str]) -> dict[str, dict[str, Any]]:
    """Of each wanted problem, a sample that shows the side's way: a right one where it solves the problem, else a wrong one."""
    found = {}
    for group in groups:
        if group.problem.id in wanted:
            right = [t for t in group.traces if t.verdict.outcome is Outcome.correct]
            solves = 2 * len(right) > len(group.traces)
            shown = right[0] if solves else next(t for t in group.traces if t not in right)
            found[group.problem.id] = {
                "statement": group.problem.statement,
                "gold": group.problem.answer,
                "correct": len(right),
                "samples": len(group.traces),
                **_shown(shown),
            }
    return found


def _shown(trace: Trace) -> dict[str, Any]:
    text = trace.completion
    return {
        "trace_id": trace.id,
        "outcome": str(trace.verdict.outcome),
        "read": trace.verdict.extracted,
        "reason": trace.verdict.reason,
        "finish_reason": trace.finish_reason,
        "num_tokens": trace.num_tokens,
        "completion_end": text if len(text) <= MAX_TEXT else f"... {text[-MAX_TEXT:]}",
    }
