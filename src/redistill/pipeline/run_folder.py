"""A run's folder as a whole: whose it is, what goes to its trash, what comes back, and what comes from another run.

    runs/x/layout.json         the version of the layout, and the recipe that the run was made from
    runs/x/trash/5f0c.../      a replaced stage, by the fingerprint under which it was made, until the new one is whole

Nothing is removed before what replaces it is whole. A stage in the trash comes back when a recipe asks for it again.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from redistill.errors import OperatorError
from redistill.io.atomic import read_json, read_yaml, write_bytes, write_json, writing
from redistill.io.progress import say
from redistill.io.stage_folder import LAYOUT_FILE, LAYOUT_VERSION, check_layout
from redistill.pipeline.graph import State, key_file, key_folder
from redistill.pipeline.keys import Key, key_from_json, read_keys, write_keys
from redistill.pipeline.stage import Stage

TRASH = "trash"


@dataclass(frozen=True, slots=True)
class RunOrigin:
    """Which recipe a run is made from: its file, "" where it came as data, and its name."""

    recipe_file: str
    name: str

    def write(self, folder: Path) -> None:
        """Note it in the run's folder."""
        origin = {"layout": LAYOUT_VERSION, "recipe_file": self.recipe_file, "name": self.name}
        path = folder / LAYOUT_FILE
        if not path.exists() or read_json(path) != origin:
            write_json(path, origin)


# --- whose it is ----------------------------------------------------------------------------------------------------


def check_owner(folder: Path, states: Mapping[str, State], origin: RunOrigin, *, seed: int, overwrite: bool) -> None:
    """OperatorError for a folder of an older layout, and where another recipe's finished run would be replaced.

    Another recipe: one of another file that would replace anything, one of another seed, or one that would keep nothing. An edited
    recipe that keeps its corpus goes on as before.
    """
    check_layout(folder)
    if (folder / "recipe.yaml").exists() and "train" not in read_yaml(folder / "recipe.yaml"):
        raise OperatorError(f"{folder} is an evaluation of `redistill evaluate`; write --name NAME for this run.")
    finished = (folder / "evaluate" / "comparisons.json").exists() or (folder / "report.html").exists()
    replaced = [state for state in states.values() if state.cause == "settings"]
    if overwrite or not finished or not replaced:
        return
    before = read_json(folder / LAYOUT_FILE) if (folder / LAYOUT_FILE).exists() else {"recipe_file": origin.recipe_file}
    moved = (
        Path(before["recipe_file"]).name == Path(origin.recipe_file).name and not Path(before["recipe_file"]).exists()
    )
    same_file = before["recipe_file"] == origin.recipe_file or moved
    first = next(iter(states.values()))
    same_seed = not (folder / "recipe.yaml").exists() or read_yaml(folder / "recipe.yaml").get("seed", 0) == seed
    if same_file and same_seed and first.cause != "settings":
        return
    differs = "; ".join(list(dict.fromkeys(text for state in replaced for text in state.changes.settings))[:6])
    owner = f" of {Path(before['recipe_file']).name}" if before["recipe_file"] else ""
    raise OperatorError(
        f"{folder} holds a finished run{owner}, and this recipe would replace {', '.join(s.stage.name for s in replaced[:4])}"
        f"{' and more' if len(replaced) > 4 else ''} ({differs or 'other settings'}). Write --name NAME to keep both, or "
        "--overwrite to replace it."
    )


# --- the trash ------------------------------------------------------------------------------------------------------


def trash_folders(folder: Path) -> list[Path]:
    """What lies in the trash: a folder per fingerprint, laid out as a run."""
    trash = folder / TRASH
    return (
        sorted((path for path in trash.iterdir() if path.is_dir()), key=lambda path: -path.stat().st_mtime)
        if trash.is_dir()
        else []
    )


def put_aside(folder: Path, states: Mapping[str, State], forced: Iterable[Stage]) -> None:
    """Move to the trash what is there and does not fit any more, and what the stages in `forced` have made."""
    again = {stage.name for stage in forced}
    for name, state in states.items():
        there = key_folder(folder, state.stage)
        result = folder / state.stage.place
        stored = read_keys(there, key_file(state.stage))
        fits = state.cause == "same" and state.found is None
        if not result.exists() or (fits and name not in again):
            continue
        if "" not in stored:
            say(f"replaced {name}: its {key_file(state.stage)} is missing or corrupt, so its inputs are unknown")
        elif state.changes:
            said = "; ".join([*state.changes.settings, *state.changes.code][:4]) or "its inputs have changed"
            say(f"replaced {name}: {said}")
        _move(folder, state.stage, stored[""].fingerprint if "" in stored else "unknown", again=name in again)
    for stage in forced:
        if stage.name == "report":
            (folder / "report.html").unlink(missing_ok=True)
        if stage.name == "comparisons":
            (folder / "evaluate" / "comparisons.json").unlink(missing_ok=True)
    if any(state.cause in ("settings", "code") for state in states.values()):
        (folder / "evaluate" / "comparisons.json").unlink(missing_ok=True)  # of scores that are not this recipe's


def _move(folder: Path, stage: Stage, fingerprint: str, *, again: bool) -> None:
    """One stage's result and key into the trash. again: to be made anew from the same key, so it must not come back."""
    target = folder / TRASH / (f"{fingerprint}-replaced" if again else fingerprint)
    for path in (folder / stage.place, key_folder(folder, stage) / key_file(stage)):
        if not path.exists():
            continue
        place = target / path.relative_to(folder)
        with writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir():
                shutil.rmtree(place)
            os.replace(path, place)
        if again and path.name.endswith("key.json"):
            place.unlink()
    if again:
        (target / stage.place / "key.json").unlink(missing_ok=True)


def empty_trash(folder: Path, state: State) -> None:
    """Remove the replaced results of a stage whose new one is whole."""
    for kept in trash_folders(folder):
        for path in (kept / state.stage.place, key_folder(kept, state.stage) / key_file(state.stage)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for path in sorted(kept.rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        if not any(kept.iterdir()):
            kept.rmdir()
    trash = folder / TRASH
    if trash.is_dir() and not any(trash.iterdir()):
        trash.rmdir()


# --- what comes from elsewhere --------------------------------------------------------------------------------------


def take(folder: Path, states: Mapping[str, State], from_run: Path | None) -> None:
    """Bring in the stages that were found in the trash or in another run. OperatorError where `from_run` has none that fits."""
    taken = 0
    for name, state in states.items():
        if state.found is None:
            continue
        link_tree(state.found / state.stage.place, folder / state.stage.place)
        source = key_folder(state.found, state.stage) / key_file(state.stage)
        if source.exists():
            link_file(source, key_folder(folder, state.stage) / key_file(state.stage))
        if state.found == from_run:
            taken += 1
            say(f"taken    {name} from {from_run}")
    if from_run is not None and not taken and any(state.cause != "same" for state in states.values()):
        first = next(state for state in states.values() if state.cause != "same")
        there = read_keys(key_folder(from_run, first.stage), key_file(first.stage))
        why = "it has none" if "" not in there else "the settings or the code differ"
        raise OperatorError(
            f"--from-run {from_run}: no stage of it matches this recipe; for {first.stage.name}, {why}."
        )


def link_tree(source: Path, target: Path) -> None:
    """Every file of one folder (or one file) in another, as a hard link or else a copy; files that are there stay."""
    if source.is_file():
        link_file(source, target)
        return
    for path in sorted(source.rglob("*")) if source.is_dir() else ():
        if not path.is_dir() and not path.name.endswith(".part"):
            link_file(path, target / path.relative_to(source))


def link_file(source: Path, target: Path) -> None:
    """One file under another name, as a hard link or else a copy; nothing where there is one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:
        shutil.copy2(source, target)


# --- before a stage is made -----------------------------------------------------------------------------------------


def prepare(folder: Path, state: State) -> None:
    """Have the stage's folder carry the key under which it is about to be made, or is kept."""
    there = key_folder(folder, state.stage)
    stamp = there / "fingerprint"
    if "." not in Path(state.stage.place).name and (
        not stamp.exists() or stamp.read_bytes() != state.keys[""].fingerprint.encode()
    ):
        there.mkdir(parents=True, exist_ok=True)
        write_bytes(stamp, state.keys[""].fingerprint.encode())
    if read_keys(there, key_file(state.stage)) != {name: _stored(key) for name, key in state.keys.items()}:
        write_keys(there, state.keys, key_file(state.stage))


def _stored(key: Key) -> Key:
    return key_from_json(key.to_json())
