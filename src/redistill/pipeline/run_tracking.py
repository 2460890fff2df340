"""What a run gives its trackers (io/tracking.py): each stage's metrics as they come, and the scores at the end.

    with stage_mirror(run, "redi") as mirror: train_stage(..., mirror=mirror)

Which tracker has all of which part is noted in runs/x/tracking/sent.json, so a run that is done again sends what is missing
(a tracker added later, one that failed, the last lines before a kill) and nothing else.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redistill.io.atomic import read_json
from redistill.io.fingerprints import fingerprint
from redistill.io.tracking import Line, Place, TrackerLogger
from redistill.pipeline.stage import Run
from redistill.train.guard_state import read_lines


@contextmanager
def stage_mirror(run: Run, stage: str) -> Iterator[TrackerLogger]:
    """The trackers of a stage that trains; closed however it ends, and marked as synced where it ends well."""
    mirror = _of_stage(run, stage)
    try:
        yield mirror
    finally:
        mirror.close()
    mirror.mark_synced()


def mirror_finished(run: Run, stage: str) -> None:
    """Give a finished stage's metrics to those trackers that have not had them."""
    stage_folder = run.folder / "train" / stage
    back = stage_folder / "guard.json"
    attempt = len(read_json(back)["rollbacks"]) if back.exists() else 0
    _send(_of_stage(run, stage), read_lines(stage_folder / "metrics.jsonl"), attempt)


def mirror_scores(run: Run) -> None:
    """Give the trackers the score of every student: redi/dev/pass_at_1, one line of the part `scores`."""
    line: dict[str, Any] = {"step": 0}
    for benchmark in run.recipe.evaluate.benchmarks:
        for student in run.plan.scored:
            scores = read_json(run.folder / "evaluate" / student / benchmark.name / "scores.json")
            figures = {name: value for name, value in scores.items() if isinstance(value, dict) and "value" in value}
            figures |= {f"pass_at_k/{k}": value for k, value in scores["pass_at_k"].items()}
            line |= {f"{student}/{benchmark.name}/{name}": value["value"] for name, value in figures.items()}
    _send(_mirror(run, "scores", fingerprint(line), {"students": run.plan.scored}), [line], 0)


def _send(mirror: TrackerLogger, lines: Sequence[Line], attempt: int) -> None:
    left = mirror.unsynced()
    if left.trackers and os.environ.get("RANK", "0") == "0":
        left.begin(lines, attempt)
        left.close()
        left.mark_synced()


def _of_stage(run: Run, stage: str) -> TrackerLogger:
    settings = run.recipe.train[stage].model_dump(mode="json")
    return _mirror(run, stage, run.fingerprints[f"train/{stage}"], {**settings, "seed": run.recipe.seed})


def _mirror(run: Run, part: str, stage_fingerprint: str, config: dict[str, Any]) -> TrackerLogger:
    return TrackerLogger(
        Place(run.folder / "tracking", run.recipe.name, part, stage_fingerprint), run.plan.trackers, config
    )
