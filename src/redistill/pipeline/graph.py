"""The graph of a run's stages: their order, their cache keys, and what has to be made, kept, asked about or put aside.

stages = ordered(stages_of(plan))
states = resolve(stages, Path("runs/x"))            what is there, and why what is not counts no more
check(states, Path("runs/x"), ...)                  OperatorError where the user must decide
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from redistill.errors import OperatorError
from redistill.pipeline.keys import Changes, Key, Mark, compare, new_key, read_keys
from redistill.pipeline.stage import Stage

OnCodeChange = Literal["ask", "keep", "remake"]
Cause = Literal["absent", "same", "settings", "code"]


@dataclass(slots=True)
class State:
    """Where a stage stands. keys: "" its own key, and those of its streams, as they will be written; cause: why it is made
    (`same`: it is not); changes: what differs from what lies there; found: a folder elsewhere that fits (trash, another
    run)."""

    stage: Stage
    keys: dict[str, Key]
    cause: Cause
    changes: Changes = field(default_factory=Changes)
    found: Path | None = None

    @property
    def fingerprints(self) -> dict[str, str]:
        """By name: the stage's own, and "select:pairs" for a stream."""
        return {self.named(name): key.fingerprint for name, key in self.keys.items()}

    def named(self, stream: str) -> str:
        """How other stages name a stream of this one; "" is the whole."""
        return f"{self.stage.name}:{stream}" if stream else self.stage.name


def ordered(stages: Iterable[Stage]) -> list[Stage]:
    """The stages in the order given, but each after what it reads. OperatorError for an unknown input or a circle."""
    by_name = {stage.name: stage for stage in stages}
    done: dict[str, Stage] = {}

    def visit(stage: Stage, path: tuple[str, ...]) -> None:
        if stage.name in done:
            return
        if stage.name in path:
            raise OperatorError(f"stages depend on each other in a cycle: {' > '.join((*path, stage.name))}.")
        for name in before(stage):
            if name not in by_name:
                raise OperatorError(f"stage {stage.name}: it reads {name}, which no stage of this recipe writes.")
            visit(by_name[name], (*path, stage.name))
        done[stage.name] = stage

    for stage in by_name.values():
        visit(stage, ())
    return list(done.values())


def before(stage: Stage) -> list[str]:
    """The names of the stages that must come before this one."""
    return [name.partition(":")[0] for name in (*stage.inputs, *stage.after)]


def resolve(
    stages: Sequence[Stage],
    folder: Path | None,
    *,
    on_code_change: OnCodeChange = "remake",
    elsewhere: Sequence[Path] = (),
) -> dict[str, State]:
    """The state of every cached stage, in order. Nothing is written.

    folder: the run's, None for a run that does not exist. elsewhere: other run folders (trash, --from-run) whose stages
    may be taken where this run's own do not fit.
    """
    states: dict[str, State] = {}
    marks: dict[str, Mark] = {}
    for stage in stages:
        if not stage.cached:
            continue
        inputs = {name: marks[name] for name in stage.inputs if name in marks}
        now = {"": new_key(stage.settings, inputs, (stage.run, *stage.uses))}
        for name, stream in stage.streams.items():
            now[name] = new_key(stream.settings, inputs, (stage.run, *stream.uses))
        state = _state(stage, now, folder, states, on_code_change, elsewhere)
        states[stage.name] = state
        marks |= {state.named(name): key.mark for name, key in state.keys.items()}
    return states


def _state(
    stage: Stage,
    now: dict[str, Key],
    folder: Path | None,
    states: Mapping[str, State],
    on_code_change: OnCodeChange,
    elsewhere: Sequence[Path],
) -> State:
    stored = read_keys(key_folder(folder, stage), key_file(stage)) if folder is not None else {}
    keys = {
        name: _carried(key, stored.get(name)) for name, key in now.items()
    }  # a stream may stand though its stage does not
    changes = compare(stored[""], now[""]) if "" in stored else Changes()
    if "" in stored and not changes:
        return State(stage, keys, "same")
    for other in elsewhere:
        there = read_keys(key_folder(other, stage), key_file(stage))
        place = other / stage.place
        if "" in there and not compare(there[""], now[""]) and (place.is_file() or (place / "ledger.json").exists()):
            return State(stage, {n: _carried(k, there.get(n)) for n, k in now.items()}, "same", found=other)
    if "" not in stored:
        return State(stage, keys, "absent")
    if changes.settings or changes.inputs:
        return State(stage, keys, "settings", changes)
    for name in changes.remade:
        below = states[name.partition(":")[0]].changes.code or [f"the code of {name}"]
        changes = replace(changes, code=sorted({*changes.code, *below}))
    if on_code_change == "keep":
        kept = {n: _kept(key, stored[n]) for n, key in now.items() if n in stored}
        return State(stage, {**now, **kept}, "same", changes)
    return State(stage, keys, "code", changes)


def _carried(now: Key, stored: Key | None) -> Key:
    """The key as it will be written: with the fingerprint under which the result was made, where nothing has changed."""
    if stored is None or compare(stored, now):
        return now
    return replace(now, fingerprint=stored.fingerprint, recipe_fingerprint=stored.recipe_fingerprint, kept=stored.kept)


def _kept(now: Key, stored: Key) -> Key:
    """The key of a result that the user keeps although code has changed since; the change is on record."""
    changed = compare(stored, now).code
    return replace(
        now, fingerprint=stored.fingerprint, recipe_fingerprint=stored.recipe_fingerprint,
        kept=tuple(sorted({*stored.kept, *changed})),
    )  # fmt: skip


def key_folder(folder: Path, stage: Stage) -> Path:
    """The folder that holds the stage's key."""
    return (folder / stage.place).parent if "." in Path(stage.place).name else folder / stage.place


def key_file(stage: Stage) -> str:
    """The name of the key's file: `key.json`, or `scores.key.json` beside a result that is one file."""
    name = Path(stage.place).name
    return f"{name.removesuffix('.json')}.key.json" if "." in name else "key.json"


def fingerprints_of(states: Iterable[State]) -> dict[str, str]:
    """The fingerprint of every stage and stream, by name."""
    return {name: value for state in states for name, value in state.fingerprints.items()}


# --- what the user must decide ------------------------------------------------------------------------------------


def check_code_changes(states: Iterable[State]) -> None:
    """OperatorError where a costly result is there and only code has changed since it was made."""
    asked = [state for state in states if state.cause == "code" and state.stage.costly]
    if asked:
        names = ", ".join(state.stage.name for state in asked[:6]) + (" and others" if len(asked) > 6 else "")
        modules = sorted({module for state in asked for module in state.changes.code})
        listed = ", ".join(modules[:8]) + (f" and {len(modules) - 8} more" if len(modules) > 8 else "")
        raise OperatorError(
            f"{names}: already computed, and only the code has changed since ({listed}). Pass --keep to use the "
            f"existing result, or --remake to recompute it."
        )
