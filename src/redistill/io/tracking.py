"""Copies of a run's figures for the tools that people watch runs with: trackio, tensorboard, wandb; TRACKERS.

    tracking: [tensorboard, {name: trackio, project: sums}]     in a recipe
    runs/x/tracking/trackio/sums.db                             what it leaves, readable by `trackio show`

    logger = TrackerLogger(Place(Path("runs/x/tracking"), "x", "redi", "f00d"), {"tensorboard": bound}, {"batch_size": 32})
    logger.begin(history); logger.send({"step": 7, "loss": 0.69, "guard": "steady"}); logger.close()

metrics.jsonl and scores.json are the truth and a tracker holds a copy: it gets a line after the truth has it, and `begin`
gives it the whole history anew, so that a stage that was killed or rolled back does not stand in it twice. A tracker that
fails is said once and left alone; it never stops a run and is part of no fingerprint. Nothing leaves this machine unless
`mode: online` of wandb asks for it.
"""

import contextlib
import hashlib
import importlib
import netrc
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from redistill.config.extras import check_installed
from redistill.config.tables import GUARD_STATES
from redistill.errors import OperatorError
from redistill.io.atomic import read_json, write_json
from redistill.io.progress import say

Line = Mapping[str, Any]
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Place:
    """Whose figures these are. folder: that of all trackers of the run. part: a stage, or `scores`. print: the part's
    fingerprint; a part made anew from other settings is another one."""

    folder: Path
    run: str
    part: str
    print: str


class Tracker(Protocol):
    """An open copy. last_step: the last one it holds already and will not take back (-1: none)."""

    last_step: int

    def send(self, figures: Figures, step: int) -> None:
        """The figures of one step."""

    def close(self) -> None:
        """Write out what is held back."""


# --- the trackers: each begins a part anew ----------------------------------------------------------------------------


@dataclass(slots=True)
class _Trackio:
    store: Any
    project: str
    part: str
    config: dict[str, Any] | None
    last_step: int = -1
    waiting: list[tuple[int, Figures]] = field(default_factory=list)
    written: float = 0.0

    def send(self, figures: Figures, step: int) -> None:
        self.waiting.append((step, figures))
        if time.monotonic() - self.written > 2:
            self.close()

    def close(self) -> None:
        if self.waiting:
            steps, figures = [s for s, _ in self.waiting], [f for _, f in self.waiting]
            self.store.bulk_log(self.project, self.part, figures, steps, config=self.config)
        self.waiting, self.config, self.written = [], None, time.monotonic()


def trackio(place: Place, config: Mapping[str, Any], *, project: str | None = None) -> Tracker:
    """trackio's database in the run's folder (or in TRACKIO_DIR), one trackio run a stage; no network.

    Written through trackio's own store: its `init` asks the hub who is logged in and sends from a thread that hides its
    errors. `trackio sync` puts the database on a Space afterwards.
    """
    wanted = os.environ.get("TRACKIO_DIR") or str((place.folder / "trackio").absolute())
    store = _import_trackio(wanted).SQLiteStorage
    name = project or place.run
    store.delete_run(name, place.part)
    return _Trackio(store, name, place.part, dict(config))


def _import_trackio(folder: str) -> Any:
    """trackio with `folder` as its place. It reads the place once, when it is imported, so a second run in one process
    takes a second copy of it; who holds the first keeps that."""
    loaded = sys.modules.get("trackio")
    if loaded is None or str(loaded.utils.TRACKIO_DIR) != folder:
        for module in [m for m in sys.modules if m.partition(".")[0] == "trackio"]:
            del sys.modules[module]
        before = os.environ.get("TRACKIO_DIR")
        os.environ["TRACKIO_DIR"] = folder
        try:
            importlib.import_module("trackio")
        finally:
            if before is None:
                del os.environ["TRACKIO_DIR"]
    return sys.modules["trackio"]


@dataclass(slots=True)
class _Tensorboard:
    writer: Any
    last_step: int = -1

    def send(self, figures: Figures, step: int) -> None:
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


def tensorboard(place: Place, config: Mapping[str, Any]) -> Tracker:
    """tensorboard's event files, one folder a stage: `tensorboard --logdir runs/x/tracking/tensorboard`."""
    from torch.utils.tensorboard import SummaryWriter

    folder = place.folder / "tensorboard" / place.part
    shutil.rmtree(folder, ignore_errors=True)
    writer = SummaryWriter(log_dir=str(folder), flush_secs=5)
    writer.add_text("settings", "\n".join(f"    {key}: {value}" for key, value in config.items()))
    return _Tensorboard(writer)


@dataclass(slots=True)
class _Wandb:
    run: Any
    last_step: int

    def send(self, figures: Figures, step: int) -> None:
        self.run.log(figures, step=step)

    def close(self) -> None:
        self.run.finish()


def wandb(
    place: Place,
    config: Mapping[str, Any],
    *,
    project: str = "redistill",
    entity: str | None = None,
    mode: Literal["offline", "online"] = "offline",
) -> Tracker:
    """wandb, one wandb run a stage, grouped by the run's name; offline unless `mode` (or WANDB_MODE) says online.

    Offline it writes into the run's folder, for `wandb sync`. Online a stage goes on where the server has it.
    """
    package = importlib.import_module("wandb")
    here = os.path.abspath(place.folder)
    identity = hashlib.sha256(f"{here} {place.run} {place.part} {place.print}".encode()).hexdigest()[:12]
    chosen = _wandb_mode(mode)
    if chosen != "online":
        for old in place.folder.glob(f"wandb/offline-run-*-{identity}"):
            shutil.rmtree(old)
            time.sleep(1)  # wandb names the folder by the second, and two runs within one would share it
    place.folder.mkdir(parents=True, exist_ok=True)
    run = package.init(
        project=project,
        entity=entity,
        name=f"{place.run}/{place.part}",
        group=place.run,
        id=identity,
        dir=str(place.folder),
        mode=chosen,
        resume="allow",
        reinit="create_new",
        config=dict(config),
        # the figures and nothing else: no look at the terminal, the code, the machine
        settings=package.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True,
            x_disable_machine_info=True, init_timeout=60, finish_timeout=60,
        ),
    )  # fmt: skip
    return _Wandb(run, run.step - 1 if chosen == "online" else -1)


def _wandb_mode(option: str) -> str:
    return os.environ.get("WANDB_MODE") or option


def _wandb_has_key() -> bool:
    """Whether wandb can log in without asking anybody: it would ask in the middle of a run."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = re.sub(r"^https?://|[:/].*$", "", os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


TRACKERS: dict[str, Callable[..., Tracker]] = {
    "trackio": trackio,
    "tensorboard": tensorboard,
    "wandb": wandb,
}


def check_tracker(name: str, bound: partial[Any]) -> None:
    """OperatorError where a tracker is not installed, or would have to ask for a key."""
    check_installed(name, f"tracking: {name}")
    if name == "wandb" and _wandb_mode(bound.keywords.get("mode", "offline")) == "online" and not _wandb_has_key():
        raise OperatorError("tracking: wandb is not logged in: run `wandb login`, or set mode: offline.")


# --- the mirror -------------------------------------------------------------------------------------------------------


class TrackerLogger:
    """One part of a run, copied to all trackers of the recipe. Only a process that calls `begin` opens anything."""

    def __init__(self, place: Place, trackers: Mapping[str, Callable[..., Tracker]], config: Line) -> None:
        self.place, self.trackers, self.config = place, trackers, config
        self._open: dict[str, Tracker] = {}
        self._failed: set[str] = set()
        self._begun = False

    def begin(self, history: Sequence[Line], attempt: int = 0) -> None:
        """Begin the copy anew with `history`. After a rollback (`attempt` > 0) the steps that were given up stay under the
        part's name, and those that count go under `redi-attempt-2`."""
        self.close()
        part = self.place.part if attempt == 0 else f"{self.place.part}-attempt-{attempt + 1}"
        place = Place(self.place.folder, self.place.run, part, self.place.print)
        self._begun = True
        for name, opener in self.trackers.items():
            with self._left_alone(name), contextlib.redirect_stdout(sys.stderr):
                self._open[name] = opener(place, self.config)
        for line in history:
            self.send(line)

    def send(self, line: Line) -> None:
        """A line of metrics.jsonl, after it was written there."""
        step, figures = int(line["step"]), figures_of(line)
        for name, tracker in list(self._open.items()):
            if step > tracker.last_step:
                with self._left_alone(name):
                    tracker.send(figures, step)

    def close(self) -> None:
        """Have every tracker write out what it holds."""
        for name, tracker in self._open.items():
            with self._left_alone(name):
                tracker.close()
        self._open = {}

    def mark_synced(self) -> None:
        """Note which trackers have all of this part, so that no later run sends it again."""
        if self._begun and self.trackers:
            path = self.place.folder / "sent.json"
            sent = read_json(path) if path.exists() else {}
            whole = {name: self.place.print for name in self.trackers if name not in self._failed}
            write_json(path, {**sent, self.place.part: {**sent.get(self.place.part, {}), **whole}})

    def unsynced(self) -> "TrackerLogger":
        """The same for those trackers alone that have not had all of this part, according to `mark_synced`."""
        path = self.place.folder / "sent.json"
        sent = (read_json(path) if path.exists() else {}).get(self.place.part, {})
        left = {name: opener for name, opener in self.trackers.items() if sent.get(name) != self.place.print}
        return TrackerLogger(self.place, left, self.config)

    @contextlib.contextmanager
    def _left_alone(self, name: str) -> Iterator[None]:
        """A tracker that fails is said once and gets nothing more."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - somebody else's program: whatever it raises, the run goes on
            self._failed.add(name)
            self._open = {n: t for n, t in self._open.items() if n != name}
            said = str(error).strip().partition("\n")[0][:200] or type(error).__name__
            say(f"tracking {name} failed and is off for the rest of {self.place.part}: {said}")


def figures_of(line: Line) -> Figures:
    """The numbers of a line of metrics.jsonl: the guard's state as 0 to 3, each of its reasons as 1."""
    figures = {
        name: float(value) for name, value in line.items() if name != "step" and isinstance(value, int | float | bool)
    }
    if "guard" in line:
        figures["guard"] = float(GUARD_STATES.index(line["guard"]))
    return figures | {f"guard_reason/{reason}": 1.0 for reason in line.get("guard_reasons", ())}
