"""kill -9, again and again, in every writer and at any time: what is run again ends with the same bytes.

Six kills here; `make soak` makes two hundred or more (SOAK_KILLS, SOAK_SEED) and prints a table of them. A chain is one
run killed at several moments, one after the other, in the order in which an uninterrupted run meets them; what a kill
leaves is what the next process finds.
"""

import itertools
import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from .conftest import armed
from .equal import final_files, unlike

KILLS, SEED = int(os.environ.get("SOAK_KILLS", "6")), int(os.environ.get("SOAK_SEED", "11"))
CHAIN = 10  # kills of one run at most
AT_ANY_TIME = 0.25  # the share of kills that come after a random time of computing instead of at a writer's moment

Moment = tuple[str, str, str]  # writer, operation, path


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(whole: Path, tool: Any, tmp_path: Path) -> None:
    lines = (whole / "moments.tsv").read_text().splitlines()
    met = list(dict.fromkeys(tuple[str, str, str](line.split("\t")) for line in lines))
    assert len({writer for writer, _, _ in met}) >= 12, "the moments are not of the whole run"
    expected, draw, kills = final_files(whole / "runs" / "tiny"), random.Random(SEED), Counter[tuple[str, str]]()
    wanted, started, unequal = _spread(met, draw), time.monotonic(), list[str]()
    for number in itertools.count():
        if kills.total() >= KILLS:
            break
        run = tmp_path / str(number) / "tiny"
        count = min(CHAIN, KILLS - kills.total())
        at_any_time = sum(draw.random() < AT_ANY_TIME for _ in range(count))
        chain = sorted((next(wanted) for _ in range(count - at_any_time)), key=met.index)
        plan: list[Moment | float] = [*chain]
        for _ in range(at_any_time):
            plan.insert(draw.randint(0, len(plan)), draw.uniform(0.05, 0.8))
        for target in plan:
            done = _killed(tool, whole, run, target)
            if done.returncode == 0:
                break  # what is left of the chain lies behind: finished before it was met
            assert done.returncode == -signal.SIGKILL, f"seed {SEED}, chain {plan}: {done.stderr}"
            kills[_named(run, target)] += 1
        last = tool(whole, "run", "tiny.yaml", "--runs-dir", run.parent)
        found = unlike(final_files(run), expected) if last.returncode == 0 else [last.stderr]
        if found:
            unequal.append(f"seed {SEED}, chain {plan}: {found}")
        print(f"run {number}: {kills.total()} kills, {'NOT EQUAL' if found else 'equal'}", flush=True)
        shutil.rmtree(run.parent)
    _say(kills, number, time.monotonic() - started)
    assert not unequal, "\n".join(unequal)


def _spread(met: list[Moment], draw: random.Random) -> Any:
    """Moments without end, every writer in turn, a random one of its own each time."""
    by_writer: dict[str, list[Moment]] = {}
    for moment in met:
        by_writer.setdefault(moment[0], []).append(moment)
    writers = sorted(by_writer)
    draw.shuffle(writers)
    return (draw.choice(by_writer[writer]) for writer in itertools.cycle(writers))


def _killed(tool: Any, folder: Path, run: Path, target: Moment | float) -> Any:
    """The run, killed at a moment or after so many seconds of computing, unless it ends before."""
    command = ("run", "tiny.yaml", "--runs-dir", run.parent)
    if not isinstance(target, float):
        return tool(folder, *command, cut=armed("moments:arm", root=str(run), moment=target))
    started = tool.start(folder, *command)
    ticks = os.sysconf("SC_CLK_TCK")
    while True:
        fields = Path(f"/proc/{started[0]}/stat").read_text().rpartition(")")[2].split()
        if fields[0] == "Z" or (int(fields[11]) + int(fields[12])) / ticks >= target:
            break
        time.sleep(0.005)
    os.kill(started[0], signal.SIGKILL)  # one that has just ended is not reaped yet, so the number is still its own
    return tool.wait(started)


def _named(run: Path, target: Moment | float) -> tuple[str, str]:
    """(stage_dir, writer) of a kill; at any time: the stage that was not finished."""
    if not isinstance(target, float):
        stage_dir = target[2].split("/")[0]
        return (stage_dir if (run / stage_dir).is_dir() else "the run's folder"), target[0]
    stage_dirs = ("corpus", "verify", "select")
    stage_dir = next((stage_dir for stage_dir in stage_dirs if not (run / stage_dir / "ledger.json").exists()), None)
    stages = next(("train" for stage in ("sft", "dpo") if not (run / "train" / stage / "ledger.json").exists()), None)
    return stage_dir or stages or (
        "report" if (run / "evaluate/comparisons.json").exists() else "evaluate"
    ), "(any time)"


def _say(kills: Counter[tuple[str, str]], runs: int, seconds: float) -> None:
    print(f"\nseed {SEED}: {kills.total()} kills in {runs} runs, {seconds / 60:.1f} minutes")
    for (stage_dir, writer), count in sorted(kills.items()):
        print(f"{count:>5}  {stage_dir:<18} {writer}")
