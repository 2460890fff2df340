"""`redistill datafree`: a trained classifier in, a transfer set and a smaller student per arm out, with a page.

    runs/cmi-digits/teacher/       the teacher, where the recipe has it trained
    runs/cmi-digits/arms/cmi/      one arm (datafree/arm.py), and its scores.json
    runs/cmi-digits/datafree.json  the recipe and the scores of all arms
    runs/cmi-digits/report.html

The same command goes on where a run was stopped, and skips what is finished.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from redistill.config.binding import bind
from redistill.config.user_plugins import code_identity
from redistill.datafree.arm import ArmRun, remove
from redistill.datafree.image_sets import IMAGE_SETS, Images, ImageSet
from redistill.datafree.networks import Normalised, build, folder, has_weights, save, weights_digest
from redistill.datafree.scoring import accuracy, describe_images
from redistill.datafree.settings import DatafreeRecipe, TrainSettings
from redistill.datafree.training import seeded, train_on_labels
from redistill.errors import OperatorError
from redistill.evaluate.intervals import mean_interval
from redistill.io.atomic import find_corrupt, make_folder, read_json, remove_partial_files, sums_of, write_json
from redistill.io.fingerprints import code_fingerprint, fingerprint
from redistill.io.progress import say
from redistill.io.stage_folder import LAYOUT_FILE
from redistill.pipeline.lock import alone
from redistill.report.datafree import write_datafree_page

SUMMARY = "datafree.json"


def run_datafree(recipe: DatafreeRecipe, *, runs_dir: Path, overwrite: bool = False) -> Path:
    """Run every arm of a recipe and write its page; returns the run's folder. OperatorError for the user's mistakes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    place = runs_dir / recipe.name
    make_folder(place)
    with alone(place), _threads(recipe.threads):
        if (place / LAYOUT_FILE).exists():
            raise OperatorError(f"{place} is a run of `redistill run`; write --name NAME for this one.")
        remove_partial_files(place)
        data = _data(recipe)
        with seeded(recipe.seed, "check"):  # a mistake of the student's is found before a teacher is trained
            build(recipe.student.network, recipe.images, "student.network")
        teacher, teacher_facts = _teacher(recipe, data, place / "teacher", device, overwrite=overwrite)
        arms = {
            name: _arm(recipe, name, teacher, teacher_facts, data, place / "arms" / name, overwrite)
            for name in recipe.arms
        }
        write_json(
            place / SUMMARY,
            {"name": recipe.name, "recipe": recipe.model_dump(mode="json"), "teacher": teacher_facts, "arms": arms},
        )
        write_datafree_page(place)
    return place


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads of torch's on the CPU inside, as many as before outside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def summary(run: Path) -> dict[str, Any]:
    """The recipe, the teacher's facts and the arms' scores of a finished run."""
    if not (run / SUMMARY).exists():
        raise OperatorError(f"{run} holds no finished run of `redistill datafree` ({SUMMARY} is not there).")
    return dict(read_json(run / SUMMARY))


def _data(recipe: DatafreeRecipe) -> ImageSet | None:
    """The real images; None where the recipe names none."""
    if recipe.evaluate is None:
        return None
    images = bind(IMAGE_SETS, recipe.evaluate.data, "evaluate.data")(recipe.images)
    if not isinstance(images, ImageSet):
        raise OperatorError(
            f"evaluate.data: {recipe.evaluate.data.name} returned {type(images).__name__}, not an ImageSet."
        )
    return images


def _teacher(
    recipe: DatafreeRecipe, data: ImageSet | None, place: Path, device: torch.device, *, overwrite: bool
) -> tuple[nn.Module, dict[str, Any]]:
    """The frozen teacher, which takes images with values in 0..1, and what is known of it."""
    settings = recipe.teacher
    if settings.train is None:
        if not has_weights(settings.network):
            raise OperatorError(
                f"teacher.network: {settings.network.name} has random weights; name a trained classifier ({{name: folder, path: ...}}, "
                "timm, huggingface or code of your own), or write teacher.train to train it first."
            )
        network = build(settings.network, recipe.images, "teacher.network")
    else:
        assert data is not None
        network = _trained_teacher(recipe, settings.train, data, place, device, overwrite=overwrite)
    teacher = Normalised(network, recipe.images).to(device).eval().requires_grad_(False)
    facts: dict[str, Any] = {"weights": weights_digest(network), "parameters": _size(network)}
    if data is not None:
        facts |= _with_interval(accuracy(teacher, data.test))
        say(f"teacher  {100 * facts['accuracy']:.1f}% of {facts['n']:,} test images")
    return teacher, facts


def _trained_teacher(
    recipe: DatafreeRecipe, train: TrainSettings, data: ImageSet, place: Path, device: torch.device, *, overwrite: bool
) -> nn.Module:
    """The teacher of `teacher.train`: taken from its folder, or trained and saved there."""
    plugin = recipe.teacher.network
    evaluate = recipe.evaluate.model_dump(mode="json") if recipe.evaluate else None
    key = fingerprint(
        recipe.seed, recipe.threads, recipe.images.model_dump(), recipe.teacher.model_dump(), evaluate, _data_digest(data),
        _code(recipe),
    )  # fmt: skip
    if not _may_stay(place, key, "teacher", overwrite=overwrite):
        write_json(place / "key.json", {"key": key})
        with seeded(recipe.seed, "teacher"):
            network = build(plugin, recipe.images, "teacher.network").to(device)
            train_on_labels(Normalised(network, recipe.images).to(device), _on(data, device).train, train)
        save(network.cpu(), plugin, recipe.images, place)
    return folder(recipe.images, path=str(place))


def _arm(
    recipe: DatafreeRecipe,
    name: str,
    teacher: nn.Module,
    teacher_facts: Mapping[str, Any],
    data: ImageSet | None,
    place: Path,
    overwrite: bool,
) -> dict[str, Any]:
    """One arm's scores: read where it is finished, else the arm is made or gone on with."""
    arm = recipe.arm(name)
    real = _data_digest(data) if data is not None else None
    student = recipe.student.model_dump(mode="json")
    key = fingerprint(
        recipe.seed, recipe.threads, recipe.images.model_dump(), student, teacher_facts["weights"], arm.model_dump(), real, _code(recipe),
    )  # fmt: skip
    if _may_stay(place, key, f"arm {name}", overwrite=overwrite):
        scores = read_json(place / "scores.json")
        if find_corrupt(place, scores["files"]) is None:
            say(f"arm {name}: skipped (finished)")
            return dict(scores)
        raise OperatorError(
            f"{place / str(find_corrupt(place, scores['files']))} is damaged; delete {place} and run again."
        )
    write_json(place / "key.json", {"key": key})
    run = ArmRun(recipe, arm, place, teacher, data)
    run.run()
    pixels, labels = run.transfer_set()
    scores = {"arm": name, "mode": arm.mode, "source": arm.images, "parameters": _size(run.network)}
    scores |= describe_images(teacher, pixels, labels)
    if data is not None:
        scores |= _with_interval(accuracy(run.student, data.test, teacher))
    run.inputs.close()
    made = [path for path in place.rglob("*") if path.is_file() and path.name not in ("scores.json", "key.json")]
    write_json(place / "scores.json", {**scores, "files": sums_of(place, made)})
    said = f", {100 * scores['accuracy']:.1f}% right" if "accuracy" in scores else ""
    say(f"arm {name}: {len(pixels):,} images{said}")
    return dict(read_json(place / "scores.json"))


def _may_stay(place: Path, key: str, what: str, *, overwrite: bool) -> bool:
    """Whether a folder is finished under this key. OperatorError where it belongs to another, unless `overwrite` removes it."""
    stored = read_json(place / "key.json")["key"] if (place / "key.json").exists() else None
    if stored is not None and stored != key:
        if not overwrite:
            raise OperatorError(
                f"{place} was made by other settings, data or code; write --name NAME to keep both, or --overwrite to make the {what} again."
            )
        remove(place)
    return (place / ("checksums.json" if what == "teacher" else "scores.json")).exists()


def _with_interval(scores: dict[str, Any]) -> dict[str, Any]:
    right = scores["correct"]
    return {**scores, "interval95": mean_interval([1.0] * right + [0.0] * (scores["n"] - right))}


def _size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _code(recipe: DatafreeRecipe) -> list[str]:
    """What code decides a result: the package's own, and files of the user's."""
    named = [recipe.teacher.network.name, recipe.student.network.name]
    named += [recipe.evaluate.data.name] if recipe.evaluate is not None else []
    return [code_fingerprint("datafree"), *code_identity(named)]


def _data_digest(data: ImageSet) -> str:
    digest = hashlib.sha256()
    for part in (data.train, data.test):
        digest.update(part.pixels.numpy().tobytes() + part.labels.numpy().tobytes())
    return digest.hexdigest()


def _on(data: ImageSet, device: torch.device) -> ImageSet:
    return ImageSet(*(Images(part.pixels.to(device), part.labels.to(device)) for part in (data.train, data.test)))
