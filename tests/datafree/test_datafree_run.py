"""`redistill datafree` as a user has it: a toy twin of cmi-digits, kills, teachers of every kind, and mistakes as sentences."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from redistill import api
from redistill.cli import main
from redistill.config.plugin_tables import Plugin
from redistill.datafree.arm import ArmRun
from redistill.datafree.image_sets import image_folder, npz, split
from redistill.datafree.networks import build, folder, save
from redistill.datafree.settings import RECIPES, DatafreeRecipe, ImageSettings, load
from redistill.errors import OperatorError
from redistill.io.atomic import read_json


@pytest.fixture(scope="module")
def bars(tmp_path_factory) -> Path:
    """Three classes of 8 x 8 images with noise: a bar on the left, in the middle, on the right. 90 images."""
    random = np.random.default_rng(0)
    labels = np.arange(90) % 3
    images = random.integers(0, 60, (90, 8, 8))
    for row, label in enumerate(labels):
        images[row, :, 3 * label : 3 * label + 2] += 180
    path = tmp_path_factory.mktemp("bars") / "bars.npz"
    np.savez(path, images=images.astype(np.uint8), labels=labels)
    return path


def toy(bars: Path, **changes) -> dict:
    """cmi-digits in miniature: a trained teacher, three arms, all three kinds of transfer sets."""
    return {
        "name": "toy",
        "images": {"size": 8, "channels": 1, "classes": 3, "mean": [0.3], "std": [0.3]},
        "teacher": {"network": {"name": "cnn", "width": 4}, "train": {"epochs": 8, "batch_size": 16}},
        "student": {"network": {"name": "cnn", "width": 4}},
        "evaluate": {"data": {"name": "npz", "path": str(bars)}},
        "synthesis": {"batches": 2, "batch_size": 24, "steps": 45, "latent": 16, "width": 8, "learning_rate": 5e-3, "head_width": 8,
                      "cached": 16, "invert_every": 6, "views": {"pad": 0, "flip": False, "min_area": 0.5}},
        "distill": {"epochs": 12, "steps": 6, "batch_size": 16, "augment": {"pad": 0, "flip": False}},
        "arms": {"noise": {"images": "noise"}, "cmi": {}, "opposed": {"mode": "adversarial", "synthesis": {"batches": 1}}},
        **changes,
    }  # fmt: skip


@pytest.fixture(scope="module")
def finished(bars, tmp_path_factory) -> Path:
    return api.datafree(toy(bars), runs_dir=tmp_path_factory.mktemp("runs"))


def contents(place: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(place)): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file() and p.name != ".lock"
    }


def test_a_student_learns_from_inverted_images_alone(finished):
    found = read_json(finished / "datafree.json")
    teacher, arms = found["teacher"], found["arms"]
    assert teacher["accuracy"] >= 0.9 and teacher["n"] == 24
    assert arms["cmi"]["accuracy"] >= 0.75 > 0.5  # chance is a third
    assert {name: arm["images"] for name, arm in arms.items()} == {"noise": 48, "cmi": 48, "opposed": 72}
    assert arms["cmi"]["as_asked"] > 0.8 and arms["cmi"]["seen"] == 3 and arms["noise"]["as_asked"] is None
    low, high = arms["cmi"]["interval95"]
    assert low < arms["cmi"]["accuracy"] <= high
    history = read_json(finished / "arms/opposed/progress.json")["history"]
    assert [("adv" in line) for line in history if line["unit"] == "invert"] == [False, True, True]


def test_the_page_shows_the_arms_and_their_images(finished):
    page = (finished / "report.html").read_text()
    assert "img-src data:" in page and page.count('<img src="data:image/png;base64,') == 3
    assert "<script" not in page and len(page) < 3_000_000
    assert all(f">{name}</h3>" in page for name in ("noise", "cmi", "opposed"))
    before = (finished / "report.html").read_bytes()
    main(["report", str(finished)])
    assert (finished / "report.html").read_bytes() == before


def test_a_page_that_would_be_too_large_shows_fewer_images(finished, tmp_path, monkeypatch):
    from redistill.report import datafree as page

    copy = shutil.copytree(finished, tmp_path / "toy")
    whole = len((copy / "report.html").read_bytes())
    monkeypatch.setattr("redistill.report.render.MAX_BYTES", whole - 1)
    page.write_datafree_page(copy)
    assert len((copy / "report.html").read_bytes()) < whole
    assert "Up to 50 images" in (copy / "report.html").read_text()


@pytest.mark.parametrize("after", [1, 5])
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(bars, finished, tmp_path, monkeypatch, after):
    """Killed within a unit of the adversarial arm: after its file is written, before it is counted."""
    recipe = toy(bars)
    real, calls = ArmRun._write_state, [0]

    def cut(self):
        calls[0] += self.folder.name == "opposed"
        if calls[0] == after + 1:
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(ArmRun, "_write_state", cut)
    with pytest.raises(KeyboardInterrupt):
        api.datafree(recipe, runs_dir=tmp_path)
    monkeypatch.setattr(ArmRun, "_write_state", real)
    assert not (tmp_path / "toy/datafree.json").exists()
    assert contents(api.datafree(recipe, runs_dir=tmp_path)) == contents(finished)


def test_finished_arms_are_skipped_and_other_settings_are_refused(bars, finished, tmp_path, monkeypatch, capsys):
    copy = shutil.copytree(finished, tmp_path / "toy")
    monkeypatch.setattr(ArmRun, "run", None)  # nothing may be made
    api.datafree(toy(bars), runs_dir=tmp_path)
    assert contents(copy) == contents(finished)
    assert capsys.readouterr().err.count("skipped (finished)") == 3
    monkeypatch.undo()
    with pytest.raises(OperatorError, match="arms/noise was made by other settings, data or code; write --name NAME"):
        api.datafree(toy(bars), overrides=["student.network.width=3"], runs_dir=tmp_path)
    with pytest.raises(OperatorError, match=r"teacher was made by other settings"):
        api.datafree(toy(bars), overrides=["seed=1"], runs_dir=tmp_path)


@pytest.mark.parametrize("name", ["batches/00000.safetensors", "images.npz", "student/model.safetensors"])
def test_a_damaged_file_is_named(bars, finished, tmp_path, name):
    copy = shutil.copytree(finished, tmp_path / "toy")
    path = copy / "arms/cmi" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(OperatorError, match=f"{name} is damaged; delete"):
        api.datafree(toy(bars), runs_dir=tmp_path)


def test_a_damaged_batch_of_an_unfinished_arm_is_named_too(bars, finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "toy")
    (copy / "arms/cmi/scores.json").unlink()
    (copy / "arms/cmi/batches/00001.safetensors").write_bytes(b"")
    with pytest.raises(OperatorError, match=r"00001\.safetensors is missing or corrupt; delete"):
        api.datafree(toy(bars), runs_dir=tmp_path)


# --- teachers -------------------------------------------------------------------------------------------------------


def quick(bars: Path, teacher: object, **changes) -> dict:
    """One arm of one short batch, to see a teacher through."""
    recipe = toy(bars, teacher={"network": teacher}, arms={"cmi": {}}, **changes)
    recipe["synthesis"] |= {"batches": 1, "steps": 2}
    recipe["distill"] |= {"epochs": 1, "steps": 1}
    return recipe


def test_a_student_of_one_run_is_the_teacher_of_another(bars, finished, tmp_path):
    student = finished / "arms/cmi/student"
    run = api.datafree(quick(bars, {"name": "folder", "path": str(student)}), runs_dir=tmp_path)
    accuracy = read_json(finished / "datafree.json")["arms"]["cmi"]["accuracy"]
    assert read_json(run / "datafree.json")["teacher"]["accuracy"] == accuracy
    with pytest.raises(OperatorError, match=r"trained on other images \(mean \[0.3\]\)"):
        api.datafree(
            quick(bars, {"name": "folder", "path": str(student)}),
            overrides=["images.mean=[0.4]"],
            runs_dir=tmp_path / "b",
        )


def test_a_teacher_of_ones_own_code(bars, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    code = tmp_path / "my_classifiers.py"
    code.write_text(
        "import torch\n"
        "def teacher(images, *, width: int = 3):\n"
        "    torch.manual_seed(width)\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(images.channels, width, 3), torch.nn.BatchNorm2d(width), torch.nn.ReLU(),\n"
        "                               torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(width, images.classes))\n"
        "def wrong(images):\n"
        "    return torch.nn.Flatten()\n"
    )  # fmt: skip
    with pytest.raises(OperatorError, match=r"pass its file: --code my_classifiers\.py"):
        api.datafree(quick(bars, "my_classifiers:teacher"), runs_dir=tmp_path)
    run = api.datafree(quick(bars, {"name": "my_classifiers:teacher", "width": 5}), runs_dir=tmp_path, code=[code])
    assert read_json(run / "datafree.json")["teacher"]["parameters"] == 5 * 9 + 5 + 10 + 15 + 3
    with pytest.raises(OperatorError, match=r"returned \(2, 64\) for two images, not logits \(2, 3\)"):
        api.datafree(quick(bars, "my_classifiers:wrong"), runs_dir=tmp_path / "w", code=[code])


def test_an_image_classifier_of_hugging_face(bars, tmp_path):
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    config = ResNetConfig(
        num_channels=1, embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=3
    )
    ResNetForImageClassification(config).save_pretrained(tmp_path / "resnet")
    run = api.datafree(quick(bars, {"name": "huggingface", "model": str(tmp_path / "resnet")}), runs_dir=tmp_path)
    history = read_json(run / "arms/cmi/progress.json")["history"]
    assert history[0]["bn"] > 0 and history[0]["cr"] > 0
    with pytest.raises(OperatorError, match=r"network huggingface: .*nowhere.* cannot be loaded"):
        api.datafree(quick(bars, {"name": "huggingface", "model": str(tmp_path / "nowhere")}), runs_dir=tmp_path / "n")


def test_a_classifier_of_timm(bars, tmp_path, monkeypatch):
    """The library is not installed here: a module of its name stands in, so that what is asked of it is seen."""
    import types

    asked = {}

    def create_model(name, **options):
        asked.update(options, name=name)
        if name == "unknown":
            raise RuntimeError("Unknown model (unknown)")
        return build(Plugin(name="cnn", options={"width": 2}), ImageSettings(size=8, channels=1, classes=3), "here")

    monkeypatch.setitem(sys.modules, "timm", types.SimpleNamespace(create_model=create_model))
    api.datafree(quick(bars, {"name": "timm", "model": "resnet18"}), runs_dir=tmp_path)
    assert asked == {"name": "resnet18", "pretrained": True, "in_chans": 1}
    with pytest.raises(OperatorError, match=r"network timm: 'unknown' cannot be loaded: Unknown model"):
        api.datafree(quick(bars, {"name": "timm", "model": "unknown"}), runs_dir=tmp_path / "u")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(OperatorError, match="run pip install timm"):
        api.datafree(quick(bars, {"name": "timm", "model": "resnet18"}), runs_dir=tmp_path / "m")


def test_without_real_images_there_is_a_student_and_no_score(bars, finished, tmp_path, capsys):
    recipe = quick(bars, {"name": "folder", "path": str(finished / "arms/cmi/student")}, evaluate=None)
    path = tmp_path / "r.yaml"
    path.write_text(json.dumps(recipe))
    main(["datafree", str(path), "--runs-dir", str(tmp_path), "--json"])
    arm = json.loads(capsys.readouterr().out)["arms"]["cmi"]
    assert "accuracy" not in arm and (tmp_path / "toy/arms/cmi/student/model.safetensors").exists()
    assert "no student is scored" in (tmp_path / "toy/report.html").read_text()
    main(["datafree", str(path), "--runs-dir", str(tmp_path)])
    assert "cmi: 24 images, diversity" in capsys.readouterr().out


# --- recipes and mistakes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_recipes_are_read(path):
    assert load(path.stem).name == path.stem


def test_the_published_settings_are_the_published_ones():
    recipe: DatafreeRecipe = load("cmi-cifar10")
    arm = recipe.arm("adversarial")
    made, learned = arm.synthesis, arm.distill
    assert (made.batch_size, made.steps, made.learning_rate, made.bn, made.oh, made.adv, made.cr, made.tau) == (
        256,
        200,
        1e-3,
        1,
        0.5,
        0.5,
        0.8,
        0.1,
    )
    assert (made.latent, made.width, made.head_width, made.bank, made.cached) == (256, 64, 256, 40_960, 4_096)
    assert (learned.temperature, learned.learning_rate, learned.momentum, learned.weight_decay, learned.batch_size) == (
        20,
        0.1,
        0.9,
        1e-4,
        128,
    )
    schedule = {
        name: (recipe.arm(name).mode, recipe.arm(name).distill.epochs, recipe.arm(name).distill.steps)
        for name in recipe.arms
    }
    assert schedule == {
        "non-adversarial": ("non-adversarial", 200, None),
        "adversarial": ("adversarial", 40, 2000),
        "from-scratch": ("from-scratch", 200, 400),
    }
    size = sum(
        p.numel()
        for p in build(Plugin(name="wide-resnet", options={"depth": 40, "widen": 2}), recipe.images, "t").parameters()
    )
    assert 2.2e6 < size < 2.3e6  # 2.2 M in table 1 of arXiv 1605.07146


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"synthesis.step": 3}, "synthesis.step: unknown key; did you mean 'steps'"),
        ({"images.size": 10}, "images.size: input should be a multiple of 4"),
        ({"images.mean": [1, 2]}, "`mean` has 2 numbers; write one, or one per channel"),
        ({"arms.cmi.synthesis": {"cr": -1}}, "arms.cmi.synthesis.cr: input should be greater than or equal to 0"),
        ({"synthesis.batches": 0}, "arms.cmi: non-adversarial needs images before the student"),
        ({"evaluate": None}, "teacher.train: a teacher is trained on real data"),
        ({"arms.a": {"images": "real"}, "evaluate": None}, "arms.a: images: real needs real data"),
        ({"arms": {"../x": {}}}, "should match pattern"),
        ({"teacher.train": None}, "teacher.network: cnn has random weights; name a trained classifier"),
        ({"student.network": "cn"}, "student.network: there is no 'cn'; did you mean 'cnn'"),
        ({"student.network": {"name": "wide-resnet", "depth": 11}}, "depth 11 is not 6 n + 4"),
        ({"evaluate.data": "digit"}, "evaluate.data: there is no 'digit'"),
        ({"evaluate.data.path": "nowhere.npz"}, "data npz: nowhere.npz cannot be read"),
        ({"evaluate.data.test_share": 2}, "test_share is 2.0; write a share between 0 and 1"),
        ({"images.classes": 2}, "has labels 0 to 2; images.classes is 2"),
        ({"images.channels": 3, "images.mean": [0.5], "images.std": [0.5]}, "images of 1 channels; write images: {channels: 1}"),
        ({"distill.learning_rate": 1e12}, "the student's loss or weights are not finite; lower distill.learning_rate"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(bars, finished, tmp_path, change, sentence, capsys):
    recipe = toy(bars)
    shutil.copytree(finished / "teacher", tmp_path / "toy/teacher")
    recipe["arms"] = {"cmi": {}, "noise": {"images": "noise"}}
    path = tmp_path / "r.yaml"
    path.write_text(json.dumps(recipe))
    words = [word for key, value in change.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    with pytest.raises(SystemExit) as end:
        main(["datafree", str(path), "--runs-dir", str(tmp_path), *words])
    assert end.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_run_of_another_kind_is_not_written_into(bars, tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/layout.json").write_text("{}")
    with pytest.raises(OperatorError, match="is a run of `redistill run`; write --name NAME"):
        api.datafree(toy(bars), runs_dir=tmp_path)
    with pytest.raises(
        OperatorError,
        match="there is no recipe at nosuch; name a YAML file, or one of the bundled recipes: cmi-cifar10, cmi-digits",
    ):
        api.datafree("nosuch", runs_dir=tmp_path)


# --- real images ----------------------------------------------------------------------------------------------------


def test_a_folder_per_class_is_read_resized_and_split_class_by_class(tmp_path):
    from PIL import Image

    for label, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.new("RGB", (16, 16), (255 * label, 255 * label, 255 * label)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "a/notes.txt").write_text("no image")
    images = ImageSettings(size=8, channels=1, classes=2)
    found = image_folder(images, path=str(tmp_path))
    assert (len(found.train), len(found.test)) == (6, 2) and sorted(found.test.labels.tolist()) == [0, 1]
    assert torch.equal(found.train.pixels.mean((1, 2, 3)), found.train.labels.float())
    assert torch.equal(image_folder(images, path=str(tmp_path), invert=True).train.pixels, 1 - found.train.pixels)
    (tmp_path / "b/9.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(OperatorError, match=r"9.png is not a readable image"):
        image_folder(images, path=str(tmp_path))
    Image.new("1", (5000, 5000)).save(tmp_path / "b/9.png")
    with pytest.raises(OperatorError, match=r"9.png has 5000 x 5000 pixels"):
        image_folder(images, path=str(tmp_path))
    with pytest.raises(OperatorError, match="has no folders with images"):
        image_folder(images, path=str(tmp_path / "a"))


def test_cifar_in_its_binary_version(tmp_path):
    from redistill.datafree.image_sets import cifar_binary

    for number, name in enumerate([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]):
        row = np.zeros((2, 3073), dtype=np.uint8)
        row[:, 0] = number
        row[:, 1] = 255  # the first pixel, red
        row.tofile(tmp_path / name)
    images = ImageSettings(size=32, channels=3, classes=10)
    found = cifar_binary(images, path=str(tmp_path))
    assert found.train.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4] and found.test.labels.tolist() == [5, 5]
    assert found.test.pixels[0, :, 0, 0].tolist() == [1, 0, 0] and found.test.pixels.sum() == 2
    (tmp_path / "test_batch.bin").write_bytes(b"x")
    with pytest.raises(OperatorError, match=r"test_batch\.bin is not a file of CIFAR-10's binary version"):
        cifar_binary(images, path=str(tmp_path))


def test_an_npz_may_bring_its_own_split_and_a_pickle_is_not_opened(tmp_path):
    images = ImageSettings(size=4, channels=1, classes=2)
    rows = np.arange(4 * 16).reshape(4, 4, 4).astype(np.uint8)
    np.savez(tmp_path / "own.npz", images=rows, labels=[0, 1, 0, 1], test_images=rows[:1], test_labels=[1])
    found = npz(images, path=str(tmp_path / "own.npz"))
    assert len(found.train) == 4 and found.test.labels.tolist() == [1]
    assert torch.equal((found.test.pixels * 255).round().to(torch.uint8)[0, 0], torch.from_numpy(rows[0]))
    np.savez(tmp_path / "bad.npz", images=np.array([{"a": 1}], dtype=object), labels=[0])
    with pytest.raises(OperatorError, match="cannot be read"):
        npz(images, path=str(tmp_path / "bad.npz"))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"labels": [0.5, 1.0, 0.0, 1.0]}, "labels is float64 of 1 axes, not one integer per image"),
        ({"labels": [[1, 0], [0, 1], [1, 0], [0, 1]]}, "labels is int64 of 2 axes"),
        ({"labels": [0, 1, 0]}, "has 4 images and 3 labels"),
        ({"images": np.zeros((4, 4, 4), np.float32)}, "images is float32 of 3 axes"),
    ],
)
def test_arrays_that_are_no_images_with_labels_are_one_sentence(tmp_path, arrays, said):
    path = tmp_path / "odd.npz"
    np.savez(path, **{"images": np.zeros((4, 4, 4), np.uint8), "labels": [0, 1, 0, 1], **arrays})
    with pytest.raises(OperatorError, match=said):
        npz(ImageSettings(size=4, channels=1, classes=2), path=str(path))


def test_another_file_in_place_of_an_npz_is_one_sentence(tmp_path):
    for name, data in (("plain.npy", np.zeros(3)), ("text.npz", None)):
        path = tmp_path / name
        path.write_bytes(b"not an archive") if data is None else np.save(path, data)
        with pytest.raises(OperatorError, match=r"is not an \.npz file; write one with numpy\.savez"):
            npz(ImageSettings(size=4, channels=1, classes=2), path=str(path))


def test_a_small_npz_that_unfolds_to_gigabytes_is_not_unfolded(tmp_path, monkeypatch):
    monkeypatch.setattr("redistill.datafree.image_sets.MAX_BYTES", 4 * 100 * 16)
    images = ImageSettings(size=4, channels=1, classes=2)
    labels = np.arange(200) % 2
    np.savez_compressed(tmp_path / "bomb.npz", images=np.zeros((200, 4, 4), np.uint8), labels=labels)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("the file was opened"))
    with pytest.raises(OperatorError, match="are over 2 GiB"):
        npz(images, path=str(tmp_path / "bomb.npz"))


def test_a_file_is_read_as_one_of_five_kinds_of_images_whatever_it_is_called(tmp_path):
    """Pillow hands PostScript to another program; here it is no image."""
    for label in "ab":
        (tmp_path / label).mkdir()
    (tmp_path / "a/0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(OperatorError, match=r"0\.png is not a readable image \(cannot identify"):
        image_folder(ImageSettings(size=4, channels=1, classes=2), path=str(tmp_path))


def test_a_folder_with_another_kind_of_model_is_one_sentence(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(OperatorError, match="holds another kind of model, not a classifier that `redistill datafree`"):
        folder(ImageSettings(size=8, channels=1, classes=3), path=str(tmp_path))


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), torch.OutOfMemoryError("no")]
)
def test_a_batch_that_does_not_fit_is_one_sentence_and_other_errors_are_not_hidden(
    bars, tmp_path, monkeypatch, capsys, error
):
    def raises(what):
        def invert(*_):
            raise what

        monkeypatch.setattr("redistill.datafree.arm.invert", invert)
        path = tmp_path / "r.yaml"
        path.write_text(json.dumps(toy(bars, arms={"cmi": {}})))
        main(["datafree", str(path), "--runs-dir", str(tmp_path)])

    with pytest.raises(SystemExit) as end:
        raises(error)
    assert end.value.code == 2
    assert "arm cmi: out of memory; lower synthesis.batch_size" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="a bug"):
        raises(RuntimeError("a bug"))


def test_the_digits_are_scikit_learns():
    pytest.importorskip("sklearn")
    from redistill.datafree.image_sets import digits

    found = digits(ImageSettings(size=8, channels=1, classes=10))
    assert (len(found.train), len(found.test)) == (1258, 539)
    assert float(found.train.pixels.min()) >= 0 and float(found.train.pixels.max()) == 1.0
    again = split(found.train, 0.3, 0)
    assert torch.equal(again.test.labels.bincount(), split(found.train, 0.3, 5).test.labels.bincount())


def test_a_saved_classifier_comes_back_and_a_changed_one_does_not(tmp_path):
    images = ImageSettings(size=8, channels=1, classes=3)
    plugin = Plugin(name="cnn", options={"width": 2})
    network = build(plugin, images, "here")
    save(network, plugin, images, tmp_path / "net")
    pixels = torch.rand(2, 1, 8, 8)
    assert torch.equal(network(pixels), folder(images, path=str(tmp_path / "net")).eval()(pixels))
    (tmp_path / "net/model.safetensors").write_bytes(b"x")
    with pytest.raises(OperatorError, match=r"model.safetensors is corrupt"):
        folder(images, path=str(tmp_path / "net"))
    with pytest.raises(OperatorError, match="holds no classifier of redistill"):
        folder(images, path=str(tmp_path))
