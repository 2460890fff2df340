"""A run and its trackers: a finished run sends what they lack and nothing twice, and trains nothing again."""

import json

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TENSORBOARD = ("--set", "tracking=[tensorboard]")


def scalars(folder, tag):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_trackers_named_for_a_finished_run_get_its_stages_and_its_scores_once(copy, tool):
    folder = copy("corpus", "verify", "select", "train", "evaluate")
    run = folder / "runs" / "mini"
    ledgers = {path: path.stat().st_mtime_ns for path in run.glob("train/*/ledger.json")}
    for _ in range(2):
        done = tool(folder, "run", "mini.yaml", *TENSORBOARD)
        assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in ledgers} == ledgers and len(ledgers) == 3
    where = run / "tracking" / "tensorboard"
    assert sorted(path.name for path in where.iterdir()) == ["control", "redi", "scores", "sft"]
    assert all(len(list(part.iterdir())) == 1 for part in where.iterdir())  # one file: the second run sent nothing
    lines = [json.loads(line) for line in (run / "train/redi/metrics.jsonl").read_text().splitlines()]
    rates = scalars(where / "redi", "learning_rate")
    assert [step for step, _ in rates] == [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(abs(value - line["learning_rate"]) < 1e-9 for (_, value), line in zip(rates, lines, strict=True))
    for student in ("base", "redi"):
        scores = json.loads((run / f"evaluate/{student}/dev/scores.json").read_text())
        ((step, value),) = scalars(where / "scores", f"{student}/dev/pass_at_1")
        assert step == 0 and abs(value - scores["pass_at_1"]["value"]) < 1e-6


def test_a_tracker_nobody_knows_is_refused_with_the_nearest(here, tool):
    done = tool(here, "run", "mini.yaml", "--set", "tracking=[{name: tensorbord}]")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "tracking.0: there is no 'tensorbord'; did you mean 'tensorboard'?" in done.stderr
    assert not (here / "runs").exists()
