"""A stage as a value: what it reads, what its result depends on, and the function that makes it.

    Stage("select", inputs=("verify",), settings=values(select=recipe.select), run=run_select, uses=(certain,))

From a list of such values the graph (graph.py) derives order, cache keys, what is skipped, what is made again and what goes to
the trash folder. A stage's function is called whether or not its result is there: it returns at once where it is whole.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redistill.io.executors import Executor, LocalProcesses
from redistill.io.stage_folder import StageFolder
from redistill.pipeline.closure import Root
from redistill.pipeline.keys import Values, values

if TYPE_CHECKING:
    from redistill.pipeline.graph import State
    from redistill.pipeline.plan import Plan


@dataclass(frozen=True, slots=True)
class Stream:
    """One part of a stage's result that depends on less than the whole: examples do not depend on the pairing."""

    settings: Values
    uses: tuple[Root, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a run.

    name: also its folder below the run's, unless `path` says otherwise. inputs: names of stages that it reads, or of a
    stream: "select:pairs". settings: everything of the recipe that its result depends on. run: makes it. uses: bound plug-ins
    and entry points of child processes (module names), whose code decides beside that of `run`. streams: parts of its
    result with keys of their own. command: how --from, --until and run.json call it and its like. costly: hours or money
    were spent on it, so a change of code alone neither skips it nor makes it again without a word. cached: False for what is
    written anew in every run.
    """

    name: str
    inputs: tuple[str, ...] = ()
    settings: Values = field(default_factory=values)
    run: Callable[["Run"], None] = lambda run: None
    uses: tuple[Root, ...] = ()
    streams: Mapping[str, Stream] = field(default_factory=dict)
    command: str = ""
    costly: bool = False
    cached: bool = True
    path: str = ""  # a file, or a folder, below the run's
    after: tuple[str, ...] = ()  # comes after these without reading them

    @property
    def place(self) -> str:
        """Where its result lies, below the run's folder."""
        return self.path or self.name

    @property
    def step(self) -> str:
        """The word for --from and --until."""
        return self.command or self.name


@dataclass(slots=True)
class Run:
    """A run at work: its plan, its folder, the fingerprint of every stage and stream, and who does the shards."""

    plan: "Plan"
    folder: Path
    fingerprints: dict[str, str]
    executor: Executor = field(default_factory=lambda: LocalProcesses(1))
    stages: dict[str, Stage] = field(default_factory=dict)
    states: "dict[str, State]" = field(default_factory=dict)

    @property
    def recipe(self) -> Any:
        """The recipe of the plan."""
        return self.plan.recipe


def stage_folder(run: Run, name: str, describe: Mapping[str, Any] | None = None) -> StageFolder:
    """The folder of a stage made of shards; an absolute path, for other processes may stand elsewhere."""
    return StageFolder(run.folder.absolute() / name, run.fingerprints[name], describe or {})


def records_of(folder: Path, stream: str) -> Iterator[Any]:
    """The records of a finished stage's stream; a generator, so nothing is read before it is asked for."""
    yield from StageFolder(folder, "").read(stream)


def account_text(ledger: Mapping[str, Any], name: str) -> str:
    """One account of a ledger as words: `pairs: 7 of 9 problems kept (2 no_correct_trace)`."""
    account = ledger["accounts"][name]
    reasons = ", ".join(f"{n} {reason}" for reason, n in list(account["dropped"].items())[:4])
    kept = f"{account['kept']} of {account['in']} {account['unit']}s kept"
    return f"{name}: {kept}" + (f" ({reasons})" if reasons else "")
