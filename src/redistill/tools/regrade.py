"""Stored answers judged by other verifiers, without drawing them again.

    regrade(Path("runs/x"), {"exact": Plugin(name="exact")})   ->  tables of who agrees with whom

Everything is written beside, `regraded/VERIFIER/STUDENT/BENCHMARK/`, laid out as `evaluate/`; the verdicts of the run stay. The
answers that a training stage sampled are judged too where they are asked for by the name ROLLOUTS: `regraded/VERIFIER/STAGE/_rollouts/`, a
shard a round, without scores, for they are no benchmark.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from redistill.config.tables import LimitSettings, Plugin
from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.evaluate.agreement import Agreement
from redistill.evaluate.stage import verifiers_of, write_scores
from redistill.io.atomic import read_json, read_yaml, sha256_file, write_json
from redistill.io.executors import cores
from redistill.io.fingerprints import fingerprint
from redistill.io.parquet import read_records
from redistill.io.progress import bar
from redistill.io.stage_folder import StageFolder, check_layout
from redistill.pipeline.closure import code_of
from redistill.pipeline.stages import WORKER
from redistill.records import Group
from redistill.report.unscored import why_unscored
from redistill.safety.paths import check_links
from redistill.text.segments import CUES, SOLVES, VERIFICATIONS
from redistill.verify.pool import VerifierPool
from redistill.verify.segments import with_segments
from redistill.verify.stage import judged, verified_shard

ROLLOUTS = (
    "_rollouts"  # in place of a benchmark; no benchmark may be called so, for such a name begins with a letter or digit
)


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
    check_links(run)
    check_layout(run)
    stage_dirs = _rooms(run, students, benchmarks)
    found = []
    for student, benchmark, stage_dir in stage_dirs:
        scores = _rollout_facts(run, student) if benchmark == ROLLOUTS else read_json(stage_dir.folder / "scores.json")
        sides = {_old_name(scores, verifiers): stage_dir}
        for label, plugin in verifiers.items():
            sides[label] = _regraded(
                run, label, plugin, (student, benchmark), stage_dir, scores, limits or LimitSettings()
            )
        for (a, room_a), (b, room_b) in combinations(sides.items(), 2):
            table = Agreement(a, b)
            for one, other in zip(room_a.read("groups"), room_b.read("groups"), strict=True):
                for trace, again in zip(one.traces, other.traces, strict=True):
                    table.add(one.problem, trace, again)
            found.append({"student": student, "benchmark": benchmark, **table.to_json()})
    path = run / "regraded" / "agreement.json"
    kept = [old for old in (read_json(path) if path.exists() else []) if not any(_same(old, new) for new in found)]
    write_json(path, [*kept, *found])
    return found


def _same(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return all(old[key] == new[key] for key in ("student", "benchmark", "a", "b"))


def _rooms(run: Path, students: list[str] | None, benchmarks: list[str] | None) -> list[tuple[str, str, StageFolder]]:
    found = [(p.parts[-3], p.parts[-2], p.parent) for p in sorted(run.glob("evaluate/*/*/scores.json"))]
    if benchmarks and ROLLOUTS in benchmarks:
        found += [(p.parts[-3], ROLLOUTS, p.parent) for p in sorted(run.glob("train/*/rollouts/ledger.json"))]
    if not found and (why := why_unscored(run)):
        raise OperatorError(f"{run} holds no scored answers: {why}")
    if not found:
        raise OperatorError(f"{run} holds no scored answers; run `redistill evaluate`, or its recipe to `evaluate`.")
    for wanted, place, what in ((students, 0, "student"), (benchmarks, 1, "benchmark")):
        known = sorted({str(row[place]) for row in found})
        for name in wanted or ():
            if name not in known:
                raise OperatorError(f"{run} has no answers of {what} {name!r}{did_you_mean(name, known)}")
        found = [row for row in found if not wanted or row[place] in wanted]
    return [(student, benchmark, StageFolder(folder, "")) for student, benchmark, folder in found]


def _rollout_facts(run: Path, stage: str) -> dict[str, Any]:
    """What scores.json says of an evaluation, of a stage's own answers: the settings they were judged with."""
    recipe = read_yaml(run / "recipe.yaml")
    evaluate = recipe.get("evaluate") or {}
    verifier = (((recipe.get("train") or {}).get(stage) or {}).get("rollouts") or {}).get("verifier")
    anchors = evaluate.get("strict_anchors")
    return {"settings": {"verifier": verifier or evaluate.get("verifier"), "strict_anchors": anchors}}


def _old_name(scores: Mapping[str, Any], verifiers: Mapping[str, Plugin]) -> str:
    """The run's own verifier; told apart from a new one of the same name."""
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
    facts: dict[str, Any] = {"model": student, "benchmark": benchmark, "settings": settings, "verifier": label}
    recipe = read_yaml(run / "recipe.yaml") if (run / "recipe.yaml").exists() else {}
    chosen = (recipe.get("evaluate") or {}).get("choose") or []
    choose = [Plugin.model_validate(choice) for choice in chosen]
    write_scores(stage_dir, n=scores["num_samples"], choose=choose, word=f"regrade ({label})", **facts)
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
