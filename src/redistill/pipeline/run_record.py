"""The facts of a run, for people and for doing it again: run.json."""

import dataclasses
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from redistill import __version__
from redistill.config.tables import Evaluation, Recipe
from redistill.io.atomic import read_json, write_json
from redistill.records import RunRecord

Standing = Literal["none", "part", "whole"]
SECRET = re.compile(r"(?i)key|token$|secret|password")  # in a setting's name
PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "peft",
    "tokenizers",
    "math-verify",
    "latex2sympy2_extended",
    "pyarrow",
    "numpy",
)


def run_record(folder: Path, recipe: Recipe | Evaluation, inputs: dict[str, str], seconds: dict[str, float]) -> None:
    """Write run.json. seconds: of every step, as `StageTimes` counts them."""
    commit, dirty = _git()
    record = RunRecord(
        name=recipe.name,
        recipe=recipe.model_dump(mode="json"),
        seed=recipe.seed,
        command=command_line(),
        git_commit=commit,
        git_dirty=dirty,
        packages=_packages(),
        inputs=inputs,
        hardware=_hardware(),
        seconds={step: round(spent, 1) for step, spent in seconds.items()},
    )
    write_json(folder / "run.json", dataclasses.asdict(record))


class StageTimes:
    """Seconds of a run's steps: what was spent on what lies there now.

        times = StageTimes(folder)
        with times.making("train/sft", "part"):     adds to what an earlier process has spent on it
            ...

    A stage that is whole keeps its seconds, one that goes on adds to them, one that is made anew begins at 0. A process that is
    killed outright cannot say what it has spent.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "run.json"
        self.seconds: dict[str, float] = dict(read_json(path).get("seconds", {})) if path.exists() else {}
        self._seen: set[str] = set()

    @contextmanager
    def making(self, step: str, standing: Standing) -> Iterator[None]:
        """Time one stage of a step; standing: what of it was there before."""
        began = time.perf_counter()
        if standing == "none" and step not in self._seen:
            self.seconds[step] = 0.0
        self._seen.add(step)
        try:
            yield
        finally:
            if standing != "whole" or step not in self.seconds:
                self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - began


def standing_of(folder: Path, place: str) -> Standing:
    """What of a stage lies in a run's folder, once what does not fit was put aside: a file or a folder with its ledger is whole."""
    result = folder / place
    if not result.exists():
        return "none"
    return "whole" if result.is_file() or (result / "ledger.json").exists() else "part"


def command_line() -> str:
    """The `redistill` command of this process as it may be typed again; "" where the run was started from Python.

    Values of settings whose names speak of a secret are left out."""
    program = Path(sys.argv[0])
    if program.name != "redistill" and program.parts[-2:] != ("redistill", "__main__.py"):
        return ""
    words = [
        f"{word.partition('=')[0]}=..." if "=" in word and SECRET.search(word.partition("=")[0]) else word
        for word in sys.argv[1:]
    ]
    return shlex.join(["redistill", *words])


def _packages() -> dict[str, str]:
    versions = {"redistill": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _hardware() -> dict[str, Any]:
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpus": os.cpu_count(), "memory_gib": round(memory, 1), "gpus": gpus, "system": platform.platform()}


def _git() -> tuple[str | None, bool | None]:
    """(commit, uncommitted changes) of the code's own repository; (None, None) where it is installed without one."""
    here = Path(__file__).parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return commit, bool(git("status", "--porcelain")) if commit else None
