"""The stored answers of finished runs once more: two students on the same problems, or other verifiers on the same answers.

    compare_runs(Path("runs/a"), Path("runs/b"))   ->  [{"benchmark": "math-500", "sentence": "No difference ...", ...}]
    regrade(Path("runs/x"), {"exact": Plugin(name="exact")})   ->  tables of who agrees with whom

No model is needed and nothing of the run changes: findings are written beside, in `compare/` of the first run and in
`regraded/VERIFIER/STUDENT/BENCHMARK/`, laid out as `evaluate/`; the run's page finds them there. The answers that a training stage
sampled are judged too where they are asked for by the name ROLLOUTS: `regraded/VERIFIER/STAGE/_rollouts/`, a shard a round, without
scores, because they are not a benchmark.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from redistill.config.differences import differing_paths
from redistill.config.tables import LimitSettings, Plugin
from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.evaluate.compare import (
    Agreement,
    by_difficulty,
    by_length,
    flipped,
    in_common,
    paired_difference,
    read_table,
)
from redistill.evaluate.self_correction import PER_PROBLEM
from redistill.evaluate.stage import verifiers_of, write_scores
from redistill.io.atomic import read_json, read_yaml, sha256_file, write_json
from redistill.io.executors import cores
from redistill.io.fingerprints import fingerprint
from redistill.io.parquet import read_records
from redistill.io.progress import bar
from redistill.io.stage_folder import StageFolder, check_layout
from redistill.pipeline.closure import code_of
from redistill.pipeline.stages import WORKER
from redistill.records import Group, Outcome, Trace
from redistill.report.unscored import why_unscored
from redistill.safety.paths import check_links
from redistill.text.segments import CUES, SOLVES, VERIFICATIONS
from redistill.verify.pool import VerifierPool
from redistill.verify.segments import with_segments
from redistill.verify.stage import judged, verified_shard

MAX_TEXT = 4_000  # characters of an answer kept with a flip, from its end
UNSHOWN = ("engine",)  # settings that say how, not what was asked
ROLLOUTS = "_rollouts"  # in place of a benchmark: no benchmark may be called so, because such a name begins with a letter or digit
Scored = tuple[str, str, Path]  # student, benchmark, folder of its answers


def scored_answers(run: Path, verifier: str | None = None) -> list[Scored]:
    """Whose answers are scored in a run, or in a re-grading of it. OperatorError where there is no such run or re-grading, and where
    nothing is scored."""
    if not run.is_dir():
        raise OperatorError(f"there is no run folder at {run}.")
    check_links(run)
    check_layout(run)
    root = run / "regraded" / verifier if verifier else run / "evaluate"
    if verifier and not root.is_dir():
        known = [p.name for p in sorted((run / "regraded").glob("*")) if p.is_dir()]
        raise OperatorError(f"{run} was not regraded by {verifier!r}{did_you_mean(verifier, known)}")
    answers = [(path.parts[-3], path.parts[-2], path.parent) for path in sorted(root.glob("*/*/scores.json"))]
    if not answers and (why := why_unscored(run)):
        raise OperatorError(f"{run} holds no scores: {why}")
    if not answers:
        raise OperatorError(f"{run} holds no scores; run `redistill evaluate`, or its recipe to the stage `evaluate`.")
    return answers


# --- two students on the same problems ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Side:
    """One student of one run. `verifier`: a re-grading of the run instead of its own verdicts; benchmarks: those that are scored, with
    their folders."""

    run: Path
    student: str
    verifier: str | None
    benchmarks: Mapping[str, Path]


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
        raise OperatorError(f"both sides are {a.student} of {a.run}; give another run, or --student A:B.")
    both = [name for name in a.benchmarks if name in b.benchmarks]
    for wanted in benchmarks or ():
        if wanted not in both:
            raise OperatorError(f"no benchmark {wanted!r} is scored on both sides{did_you_mean(wanted, both)}")
    if not both:
        raise OperatorError(
            f"no benchmark is scored on both sides: {a.run} has {', '.join(a.benchmarks)}, {b.run} has {', '.join(b.benchmarks)}."
        )
    return [_compared(a, b, name, common=common) for name in benchmarks or both]


def kept_in(run_a: Path, rows: list[dict[str, Any]]) -> Path:
    """The file in the first run's folder `compare/` for these findings."""
    name = re.sub(r"[^A-Za-z0-9._@-]+", "-", f"{rows[0]['a']}--{rows[0]['b']}")
    return run_a / "compare" / f"{name}.json"


def keep(run_a: Path, rows: list[dict[str, Any]]) -> Path:
    """Write the findings into the first run's folder `compare/` and return the file."""
    path = kept_in(run_a, rows)
    try:
        write_json(path, rows)
    except OSError as error:
        raise OperatorError(f"the comparison could not be saved to {path}: {error.strerror}.") from error
    return path


def _side(run: Path, student: str | None, verifier: str | None) -> Side:
    answers = scored_answers(run, verifier)
    known = list(dict.fromkeys(student for student, _, _ in answers))
    if student is None and len(known) > 1:
        raise OperatorError(f"{run} has several students: {', '.join(known)}; choose with --student NAME (or A:B).")
    if student is not None and student not in known:
        raise OperatorError(f"{run} has no scores of {student!r}{did_you_mean(student, known)}")
    chosen = student or known[0]
    return Side(run, chosen, verifier, {benchmark: folder for who, benchmark, folder in answers if who == chosen})


def _compared(a: Side, b: Side, benchmark: str, *, common: bool) -> dict[str, Any]:
    names = _names(a, b)
    stage_dirs = [StageFolder(side.benchmarks[benchmark], "") for side in (a, b)]
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
    difference = paired_difference(hits[0], hits[1], names=names)
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
        **difference,
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
    texts = {}
    for group in groups:
        if group.problem.id in wanted:
            right = [t for t in group.traces if t.verdict.outcome is Outcome.correct]
            solves = 2 * len(right) > len(group.traces)
            shown = right[0] if solves else next(t for t in group.traces if t not in right)
            texts[group.problem.id] = {
                "statement": group.problem.statement,
                "gold": group.problem.answer,
                "correct": len(right),
                "samples": len(group.traces),
                **_shown(shown),
            }
    return texts


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


# --- other verifiers on the same answers ----------------------------------------------------------------------------------


def label_of(plugin: Plugin) -> str:
    """A verifier's name for folders and tables: its own, and its options where it has some."""
    options = "".join(f"-{key}={value}" for key, value in plugin.options.items())
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", plugin.name + options)[:100]


def regrade(
    run: Path,
    verifiers: Mapping[str, Plugin],
    *,
    students: list[str] | None = None,
    benchmarks: list[str] | None = None,
    limits: LimitSettings | None = None,
) -> list[dict[str, Any]]:
    """Judge the stored answers by each verifier, write its scores beside, and return how all of them agree.

    Finished shards are skipped. OperatorError where the run has no answers, or none of a named student or benchmark.
    """
    for label, plugin in verifiers.items():
        verifiers_of(plugin, f"--verifier {label}")  # a slip is said before any work
    rows = []
    for student, benchmark, folder in _wanted(run, students, benchmarks):
        stage_dir = StageFolder(folder, "")
        scores = _rollout_facts(run, student) if benchmark == ROLLOUTS else read_json(stage_dir.folder / "scores.json")
        sides = {_old_name(scores, verifiers): stage_dir}
        for label, plugin in verifiers.items():
            sides[label] = _regraded(
                run, label, plugin, (student, benchmark), stage_dir, scores, limits or LimitSettings()
            )
        for (a, answers_a), (b, answers_b) in combinations(sides.items(), 2):
            table = Agreement(a, b)
            for one, other in zip(answers_a.read("groups"), answers_b.read("groups"), strict=True):
                for trace, again in zip(one.traces, other.traces, strict=True):
                    table.add(one.problem, trace, again)
            rows.append({"student": student, "benchmark": benchmark, **table.to_json()})
    path = run / "regraded" / "agreement.json"
    kept = [old for old in (read_json(path) if path.exists() else []) if not any(_same(old, new) for new in rows)]
    write_json(path, [*kept, *rows])
    return rows


def _same(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return all(old[key] == new[key] for key in ("student", "benchmark", "a", "b"))


def _wanted(run: Path, students: list[str] | None, benchmarks: list[str] | None) -> list[Scored]:
    """The answers to judge: those of an evaluation, and where they are asked for by name those that a stage sampled."""
    sampled = sorted(run.glob("train/*/rollouts/ledger.json")) if ROLLOUTS in (benchmarks or ()) else []
    drawn = [(path.parts[-3], ROLLOUTS, path.parent) for path in sampled]
    rows = drawn if drawn and not any(run.glob("evaluate/*/*/scores.json")) else [*scored_answers(run), *drawn]
    for wanted, place, what in ((students, 0, "student"), (benchmarks, 1, "benchmark")):
        known = sorted({str(row[place]) for row in rows})
        for name in wanted or ():
            if name not in known:
                raise OperatorError(f"{run} has no answers of {what} {name!r}{did_you_mean(name, known)}")
        rows = [row for row in rows if not wanted or row[place] in wanted]
    return rows


def _rollout_facts(run: Path, stage: str) -> dict[str, Any]:
    """What scores.json says of an evaluation, of a stage's own answers: the settings they were judged with."""
    recipe = read_yaml(run / "recipe.yaml")
    evaluate = recipe.get("evaluate") or {}
    verifier = (((recipe.get("train") or {}).get(stage) or {}).get("rollouts") or {}).get("verifier")
    anchors = evaluate.get("strict_anchors")
    return {"settings": {"verifier": verifier or evaluate.get("verifier"), "strict_anchors": anchors}}


def _old_name(scores: Mapping[str, Any], verifiers: Mapping[str, Plugin]) -> str:
    """The run's own verifier; distinguished from a new one of the same name."""
    name = str(((scores.get("settings") or {}).get("verifier") or {}).get("name") or "stored")
    return f"{name} (stored)" if name in verifiers else name


def _regraded(
    run: Path, label: str, plugin: Plugin, whose: tuple[str, str], source: StageFolder, scores: Mapping[str, Any],
    limits: LimitSettings,
) -> StageFolder:  # fmt: skip
    """The stage of one verifier's verdicts on one student's answers, made shard by shard where it is not there yet."""
    shards, settings = source.shard_files("groups"), dict(scores.get("settings") or {})
    cues = settings.get("self_correction")
    judges = verifiers_of(plugin, f"--verifier {label}", tuple(settings.get("strict_anchors") or ()))
    stage_fingerprint = fingerprint(
        plugin.model_dump(), sorted(judges), [sha256_file(path) for path in shards], limits.timeout_seconds,
        limits.memory_mb, code_of([*judges.values(), VerifierPool, WORKER, *([with_segments] if cues else [])]).modules, code_of([*judges.values()]).libraries,
    )  # fmt: skip
    settings["verifier"] = plugin.model_dump()
    student, benchmark = whose
    stage_dir = StageFolder(run / "regraded" / label / student / benchmark, stage_fingerprint, settings)
    if not stage_dir.is_finished():
        stage_dir.open()
        accounts = source.ledger()["accounts"]
        total = (
            accounts["traces"]["kept"] if "traces" in accounts else None
        )  # of own answers pairs may be what is counted
        with _pool(judges, limits) as pool, bar(label=f"regrade {label}", unit="answer", total=total) as progress:
            for index, path in enumerate(shards):
                if stage_dir.is_done(index):
                    progress.update(sum(len(group.traces) for group in read_records(path)))
                    continue
                groups = list(judged(pool, _unjudged(path), plugin.name, progress.update))
                if cues is not None:
                    groups = with_segments(pool, groups, plugin.name, CUES[cues])
                stage_dir.finish_shard(index, verified_shard(groups))
        stage_dir.finish(len(shards))
    if benchmark == ROLLOUTS:
        return stage_dir
    row: dict[str, Any] = {"model": student, "benchmark": benchmark, "settings": settings, "verifier": label}
    recipe = read_yaml(run / "recipe.yaml") if (run / "recipe.yaml").exists() else {}
    chosen = (recipe.get("evaluate") or {}).get("choose") or []
    choose = [Plugin.model_validate(choice) for choice in chosen]
    write_scores(stage_dir, n=scores["num_samples"], choose=choose, word=f"regrade ({label})", **row)
    return stage_dir


def _unjudged(path: Path) -> Iterator[Group]:
    for group in read_records(path):
        traces = [dataclasses.replace(t, verdicts={}, spans=_without_verdicts(t.spans)) for t in group.traces]
        yield Group(group.problem, tuple(traces))


def _without_verdicts(spans: Mapping[str, Any]) -> dict[str, Any]:
    """The spans that no verifier has written."""
    return {name: found for name, found in spans.items() if name not in (SOLVES, VERIFICATIONS)}


def _pool(judges: Mapping[str, Any], limits: LimitSettings) -> VerifierPool:
    workers = limits.workers or cores()
    return VerifierPool(judges, workers=workers, timeout_seconds=limits.timeout_seconds, memory_mb=limits.memory_mb)
