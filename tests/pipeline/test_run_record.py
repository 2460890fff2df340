"""Seconds of a run's steps in run.json: what was spent on what lies there."""

import types

import pytest

from redistill.config.parsing import parse_recipe
from redistill.io.atomic import read_json, write_json
from redistill.pipeline import run_record
from redistill.pipeline import stages as stage_functions
from redistill.pipeline.run import run
from redistill.pipeline.run_record import StageTimes
from tiny_recipe import RECIPE


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves."""
    now = types.SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(run_record, "time", types.SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def test_what_goes_on_adds_up_what_is_whole_stays_and_what_is_made_anew_begins_at_nothing(tmp_path, clock):
    write_json(tmp_path / "run.json", {"seconds": {"a": 100.0, "b": 100.0, "c": 100.0, "d": 100.0}})
    times = StageTimes(tmp_path)

    def spend(step, standing, seconds):
        with times.making(step, standing):
            clock.seconds += seconds

    spend("a", "whole", 7)
    spend("b", "part", 7)
    spend("c", "none", 7)
    spend("c", "none", 5)  # a second stage of the step
    spend("d", "whole", 7)
    spend("d", "none", 5)  # of a step whose first stage lies there
    spend("e", "whole", 3)  # of a run whose times are not known
    with pytest.raises(KeyboardInterrupt), times.making("f", "none"):
        clock.seconds += 9
        raise KeyboardInterrupt
    assert times.seconds == {"a": 100.0, "b": 107.0, "c": 12.0, "d": 105.0, "e": 3.0, "f": 9.0}


def test_a_run_counts_what_it_has_really_spent(tmp_path, monkeypatch):
    recipe = parse_recipe({**RECIPE, "verify": {"workers": 1}}, "here")
    folder = tmp_path / "tiny"

    def seconds(**options):
        run(recipe, runs_dir=tmp_path, until="verify", **options)
        return read_json(folder / "run.json")["seconds"]

    def pretend(**known):
        record = read_json(folder / "run.json")
        write_json(folder / "run.json", {**record, "seconds": {**record["seconds"], **known}})

    assert set(seconds()) == {"corpus", "verify"}
    pretend(corpus=1000.0, verify=2000.0)
    assert seconds() == {"corpus": 1000.0, "verify": 2000.0}  # nothing was to be done
    (folder / "verify" / "ledger.json").unlink()
    resumed = seconds()
    assert resumed["corpus"] == 1000.0 and 2000.0 <= resumed["verify"] < 2100.0
    again = seconds(start="verify")
    assert again["corpus"] == 1000.0 and again["verify"] < 1000.0

    def stopped(this):
        raise KeyboardInterrupt

    monkeypatch.setattr(stage_functions, "run_verify", stopped)
    with pytest.raises(KeyboardInterrupt):
        seconds(start="corpus")
    assert read_json(folder / "run.json")["seconds"]["corpus"] < 1000.0  # also of a run that was stopped
