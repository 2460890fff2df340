"""Full and read-only disks, a full /dev/shm, too few open files, a run folder in use: one sentence, nothing lost.

The stories run in a child of the tool with a disk of its own (places.py says how, and what stands in where that is not
allowed); the property `story` of each test in the report says which it was.
"""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import armed
from .equal import final_files, unlike

FULL_AT = {  # what is being written when the disk is full -> (writer, operation)
    "rows of the corpus": ("corpus.reading:_append", "open"),
    "a shard": ("io.parquet:write_records", "mkdir"),
    "a done-marker": ("io.stage_folder:finish_shard", "open"),
    "token rows": ("train.rows:write_rows", "open"),
    "metrics": ("train.guard_state:judge", "open"),
    "a checkpoint": ("train.checkpoints:save", "open"),
    "the reference's log-probs": ("train.reference:_kept", "open"),
    "a student": ("model.loading:_write_model", "mkdir"),
    "samples": ("rollout.journal:draw", "open"),
    "scores": ("evaluate.stage:write_scores", "open"),
    "the page": ("report.page:write_report", "open"),
}


def told(tool: Any, folder: Path, tmp_path: Path, function: str, **named: Any) -> Any:
    """What a story of places.py found."""
    answers = tmp_path / "answers.json"
    spec = armed(f"places:{function}", answers=str(answers), **named)
    done = tool(folder, "run", "tiny.yaml", cut=spec)
    assert done.returncode == 0, done.stderr
    return json.loads(answers.read_text())


def is_one_sentence(found: dict[str, Any]) -> bool:
    """Exit code 2, and the last line is ours."""
    last = found["said"].splitlines()[-1]
    return found["code"] == 2 and last.startswith("redistill: ") and "Traceback" not in found["said"]


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_once_there_is_room(
    whole: Path, tool: Any, tmp_path: Path, record_property: Any
) -> None:
    met = [tuple(line.split("\t")) for line in (whole / "moments.tsv").read_text().splitlines()]
    moments = [next(m for m in met if m[:2] == wanted) for wanted in FULL_AT.values()]
    place, end = tmp_path / "disk", tmp_path / "end"
    place.mkdir()
    found = told(
        tool, whole, tmp_path, "full_disk", place=str(place), end=str(end), moments=sorted(moments, key=met.index)
    )
    record_property("story", found["story"])
    *refused, last = found["answers"]
    for one in refused:
        assert one["met"], f"{one['moment']}: {one['said']}"
        assert is_one_sentence(one), f"{one['moment']}: {one}"
        assert "no space is left" in one["said"] or "may not grow that large" in one["said"], one["said"]
        assert str(place) in one["said"], one["said"]
    assert len(refused) == len(FULL_AT) and last["code"] == 0, last["said"]
    assert unlike(final_files(end / "tiny"), final_files(whole / "runs" / "tiny")) == []


def test_a_read_only_disk_is_one_sentence_and_harms_nothing(
    whole: Path, tool: Any, tmp_path: Path, record_property: Any
) -> None:
    place, end = tmp_path / "disk", tmp_path / "end"
    place.mkdir()
    found = told(tool, whole, tmp_path, "read_only", place=str(place), end=str(end))
    record_property("story", found["story"])
    assert found["before"]["code"] == 0, found["before"]["said"]
    for one in found["answers"]:
        assert is_one_sentence(one) and str(place) in one["said"], one
        assert "read-only" in one["said"] or "may not write" in one["said"]
    assert found["after"]["code"] == 0, found["after"]["said"]
    assert unlike(final_files(end / "tiny"), final_files(whole / "runs" / "tiny")) == []


def test_a_full_dev_shm_is_one_sentence_and_one_process_needs_none(
    whole: Path, tool: Any, tmp_path: Path, record_property: Any
) -> None:
    place = tmp_path / "runs"
    found = told(tool, whole, tmp_path, "small_shared_memory", place=str(place))
    record_property("story", found["story"])
    refused, again = found["answers"]
    assert is_one_sentence(refused) and "/dev/shm" in refused["said"], refused
    assert again["code"] == 0, again["said"]


def test_too_few_open_files_are_one_sentence_and_the_run_goes_on_with_more(
    whole: Path, tool: Any, tmp_path: Path
) -> None:
    found = told(tool, whole, tmp_path, "few_files", place=str(tmp_path / "runs"), limits=[12, 64])
    *few, enough = found["answers"]
    for one in few:
        assert one["code"] == 0 or (is_one_sentence(one) and "ulimit -n" in one["said"]), one
    assert few[0]["code"] == 2, "the first limit was not low enough to try anything"
    assert enough["code"] == 0, enough["said"]
    assert unlike(final_files(tmp_path / "runs" / "tiny"), final_files(whole / "runs" / "tiny")) == []


# --- two processes on one folder ------------------------------------------------------------------------------------


def test_a_second_process_is_told_who_holds_the_folder_and_a_dead_one_holds_nobody_up(
    whole: Path, tool: Any, tmp_path: Path
) -> None:
    run = tmp_path / "tiny"
    command = ("run", "tiny.yaml", "--runs-dir", tmp_path, "--until", "corpus")
    stop = {
        "target": "redistill.io.stage_folder:StageFolder.finish_shard",
        "only": "/corpus",
        "call": 1,
        "when": "before",
    }
    first = tool.start(whole, *command, cut={**stop, "signal": int(signal.SIGSTOP)})
    deadline = time.monotonic() + 120
    while Path(f"/proc/{first[0]}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    second = tool(whole, *command)
    assert second.returncode == 2
    said = f"redistill: {run} is in use by process {first[0]} on {os.uname().nodename} since 20"
    assert second.stderr.startswith(said) and len(second.stderr.splitlines()) == 1
    os.kill(first[0], signal.SIGKILL)  # stopped and killed: it never gives the lock back
    assert tool.wait(first).returncode == -signal.SIGKILL
    assert (run / ".lock").read_text().startswith(f"process {first[0]} on ")
    third = tool(whole, *command)
    assert third.returncode == 0, third.stderr


@pytest.mark.parametrize("number", [5, 13, 28, 30, 24])
def test_a_refusal_nobody_foresaw_is_one_sentence_too(number: int, monkeypatch: Any, capsys: Any) -> None:
    """EIO, EACCES, ENOSPC, EROFS, EMFILE from anywhere: the door knows them."""
    from redistill.cli import main
    from redistill.tools import show

    def refuse(path: object, number_: object) -> None:
        raise OSError(number, os.strerror(number), "/x/y")

    monkeypatch.setattr(show, "one_record", refuse)
    with pytest.raises(SystemExit) as end:
        main(["show", "x.parquet"])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.startswith("redistill: /x/y: ") and len(said.splitlines()) == 1
