"""Trackers hold what metrics.jsonl holds, each step once, and can neither stop a run nor call home."""

import importlib.util
import json
import socket
import sqlite3
import struct
import time
from functools import partial
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from redistill.config.binding import bind
from redistill.config.tables import Plugin
from redistill.errors import OperatorError
from redistill.io import tracking
from redistill.io.tracking import TRACKERS, Place, TrackerLogger, check_tracker, figures_of


def line(step, loss=None, **more):
    return {"step": step, "loss": 1.0 / (step + 1) if loss is None else loss, "skipped": False, **more}


def mirror(folder, part="redi", trackers=TRACKERS, print="f"):
    return TrackerLogger(Place(Path(folder), "sums", part, print), trackers, {"learning_rate": 1e-3})


def in_trackio(folder, part="redi"):
    """[(step, figures)] of one part, read from the database itself."""
    with sqlite3.connect(folder / "trackio" / "sums.db") as db:
        found = db.execute("SELECT step, metrics FROM metrics WHERE run_name = ? ORDER BY step, id", (part,))
        return [(step, json.loads(text)) for step, text in found]


def in_tensorboard(folder, part="redi"):
    events = EventAccumulator(str(folder / "tensorboard" / part), size_guidance={"scalars": 0})
    events.Reload()
    steps = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            assert tag not in steps.setdefault(event.step, {}), f"{tag} twice at step {event.step}"
            steps[event.step][tag] = event.value
    return sorted(steps.items())


def in_wandb(folder):
    """The same of the one offline run there. wandb's service writes the file a moment after `finish` has returned, so it is
    read until the record that ends a run stands in it."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    patience = time.monotonic() + 60
    while not (records := wandb_records(path.read_bytes())) or records[-1].WhichOneof("record_type") != "exit":
        assert time.monotonic() < patience, f"{path} has no end after a minute: {len(records)} records"
        time.sleep(0.02)
    found = []
    for record in records:
        if record.WhichOneof("record_type") == "history":
            row = {(item.key or ".".join(item.nested_key)): json.loads(item.value_json) for item in record.history.item}
            found.append((row["_step"], {k: v for k, v in row.items() if not k.startswith("_")}))
    return found


def wandb_records(data):
    """A header of 7 bytes, then records of checksum, length, type and a protobuf; one that is still being written ends it."""
    from wandb.proto.wandb_internal_pb2 import Record

    assert len(data) < 32768  # one block, so no record is split
    place, records = 7, []
    while place + 7 <= len(data):
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        assert kind == 1
        if place + 7 + length > len(data):
            break
        records.append(Record.FromString(data[place + 7 : place + 7 + length]))
        place += 7 + length
    return records


@pytest.fixture
def outside(monkeypatch):
    """Addresses beyond this machine that somebody tried to reach, as a logged-in person would."""
    tried, connect = [], socket.socket.connect
    for name in ("WANDB_MODE", "WANDB_API_KEY", "TRACKIO_DIR", "TRACKIO_SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_made_up")

    def watched(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "localhost", "::1"):
            tried.append(address)
            raise OSError("no network")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watched)
    return tried


def test_a_stage_killed_and_gone_on_with_stands_in_every_tracker_once(tmp_path, outside, capsys):
    """Steps 0 to 4 are sent and the process dies; the checkpoint was that of step 2, so 3 and 4 are done again."""
    killed = mirror(tmp_path)
    killed.begin([line(0), line(1)])
    for step in (2, 3, 4):
        killed.send(line(step))
    killed.close()
    lines = [line(0), line(1), line(2), line(3), line(4, guard="warning", guard_reasons=["surge"]), line(5)]
    again = mirror(tmp_path)
    again.begin(lines[:3])
    for more in lines[3:]:
        again.send(more)
    again.close()
    expected = [(row["step"], figures_of(row)) for row in lines]
    assert expected[4][1] == {"loss": 0.2, "skipped": 0.0, "guard": 2.0, "guard_reason/surge": 1.0}
    assert in_trackio(tmp_path) == expected
    assert in_wandb(tmp_path) == expected
    approximate = [(step, {k: pytest.approx(v, rel=1e-6) for k, v in row.items()}) for step, row in expected]
    assert in_tensorboard(tmp_path) == approximate  # float32
    assert outside == []
    assert capsys.readouterr().out == ""  # nothing among the scores of --json


def test_a_rollback_leaves_what_was_given_up_and_begins_a_part_of_its_own(tmp_path, outside):
    trackers = {name: TRACKERS[name] for name in ("trackio", "tensorboard")}
    rolled = mirror(tmp_path, trackers=trackers)
    rolled.begin([])
    for step in range(4):
        rolled.send(line(step))
    rolled.begin([line(0), line(1)], attempt=1)
    rolled.send(line(2, loss=0.25))
    rolled.close()
    for read in (in_trackio, in_tensorboard):
        assert [(step, row["loss"]) for step, row in read(tmp_path, "redi-attempt-2")] == [
            (0, 1.0),
            (1, 0.5),
            (2, 0.25),
        ]
        assert [step for step, _ in read(tmp_path)] == [0, 1, 2, 3]


def test_two_runs_of_one_process_have_two_databases(tmp_path, outside, monkeypatch):
    trackers = {"trackio": TRACKERS["trackio"]}
    for name in ("one", "two", "one"):
        part = mirror(tmp_path / name, trackers=trackers)
        part.begin([line(len(name))])
        part.close()
    assert [step for name in ("one", "two") for step, _ in in_trackio(tmp_path / name)] == [3, 3]
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "mine" / "trackio"))  # the user's own place goes first
    part = mirror(tmp_path / "one", trackers=trackers)
    part.begin([line(7)])
    part.close()
    assert [step for step, _ in in_trackio(tmp_path / "mine")] == [7]


class Memory:
    """A tracker of ten lines that fails when it is told to."""

    def __init__(self, last_step=-1, fails_at=None):
        self.got, self.last_step, self.fails_at = [], last_step, fails_at

    def __call__(self, place, config):
        return self

    def send(self, figures, step):
        if step == self.fails_at:
            raise ConnectionError("the server is\x1b[2J gone\nand more")
        self.got.append(step)

    def close(self):
        pass


def test_a_tracker_that_fails_is_said_once_and_the_others_go_on(tmp_path, capsys):
    def never(place, config):
        raise ImportError("half installed")

    good, bad, ahead = Memory(), Memory(fails_at=2), Memory(last_step=1)
    part = mirror(tmp_path, trackers={"never": never, "bad": bad, "good": good, "ahead": ahead})
    part.begin([line(0), line(1)])
    for step in (2, 3, 4):
        part.send(line(step))
    part.close()
    assert (good.got, bad.got, ahead.got) == ([0, 1, 2, 3, 4], [0, 1], [2, 3, 4])
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "tracking never failed and is off for the rest of redi: half installed",
        "tracking bad failed and is off for the rest of redi: the server is\\x1b[2J gone",
    ]
    part.mark_synced()  # what failed is to be sent another time; so is what is made anew from other settings
    assert list(part.unsynced().trackers) == ["never", "bad"]
    assert list(mirror(tmp_path, trackers=part.trackers, print="g").unsynced().trackers) == [*part.trackers]


def test_what_is_not_installed_or_would_ask_for_a_key_is_refused_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    online = bind(TRACKERS, Plugin(name="wandb", options={"mode": "online"}), "tracking.0")
    with pytest.raises(OperatorError, match=r"^tracking: wandb is not logged in: run `wandb login`, or set mode"):
        check_tracker("wandb", online)
    (tmp_path / "none").write_text("machine api.wandb.ai login user password made-up\n")
    check_tracker("wandb", online)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name, extra in (("trackio", "tracking"), ("tensorboard", "tracking"), ("wandb", "wandb")):
        with pytest.raises(
            OperatorError,
            match=rf"^tracking: {name} needs {name}, which is not installed: pip install '{name}>=.*extra `{extra}`",
        ):
            check_tracker(name, partial(tracking.TRACKERS[name]))
