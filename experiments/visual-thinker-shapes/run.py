"""The arms of the experiment for some seeds: a run each, and the same students on blank images. What is finished is not done again.

python experiments/visual-thinker-shapes/run.py --folder runs/visual-thinker-shapes --seeds 0
python experiments/visual-thinker-shapes/run.py --folder runs/characters --greek images_background_small1/Greek --seeds 0 --rounds 60 --rate 3e-4
"""

import argparse
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from sklearn.datasets import load_digits

from redistill.config.parsing import parse_evaluation, parse_recipe
from redistill.config.yaml_text import SHIPPED
from redistill.io.images import image_folders, look_in
from redistill.io.stage_folder import StageFolder
from redistill.pipeline.run import run
from redistill.tools.evaluate import evaluate

RECIPE = SHIPPED / "visual-thinker-shapes.yaml"
ARMS = ("sft", "control", "grpo", "length")


def tree_of(seed: int, steps: int | None, rounds: int | None, rate: float | None) -> dict:
    """The recipe of a seed; steps: a short run, to try the machinery; rounds and rate: those of both arms of GRPO (as many steps for
    the control)."""
    tree = yaml.safe_load(RECIPE.read_text())
    train = tree["train"]
    train["control"] |= {"batch_size": 64, "steps": 40}
    train["length"] = json.loads(json.dumps(train["grpo"]))
    train["length"]["rollouts"]["reward"].append({"name": "length", "each": 0.001, "most": 0.05})
    if steps is not None:
        train["sft"]["steps"] = steps
        train["control"]["steps"] = max(1, steps // 8)
        for arm in ("grpo", "length"):
            train[arm]["rollouts"]["rounds"] = max(1, steps // 8)
    for arm in ("grpo", "length"):
        train[arm]["learning_rate"] = rate or train[arm]["learning_rate"]
        train[arm]["rollouts"]["rounds"] = rounds or train[arm]["rollouts"]["rounds"]
    train["control"]["steps"] = rounds or train["control"]["steps"]
    tree["corpus"]["sources"][0]["seed"] = seed
    return tree | {"seed": seed, "name": f"seed-{seed}"}


def characters(folder: Path, greek: Path) -> Path:
    """scikit-learn's digits and an alphabet of Omniglot, 32 x 32 pixels, as LLaVA's JSON with a teacher's turn each."""
    path = folder / "characters.json"
    if path.exists():
        return path
    (folder / "images").mkdir(parents=True, exist_ok=True)
    digits, rows = load_digits(), []
    pictures = [
        (Image.fromarray((pixels * 15).astype("uint8")), "digit", str(value))
        for pixels, value in zip(digits.images, digits.target, strict=True)
    ]
    for place, letter in enumerate(sorted(child for child in greek.iterdir() if child.is_dir())):
        pictures += [
            (ImageOps.invert(Image.open(file).convert("L")), "letter", chr(ord("a") + place))
            for file in sorted(letter.glob("*.png"))
        ]
    for number, (picture, kind, value) in enumerate(pictures):
        name = f"images/{number:05d}.png"
        picture.resize((32, 32), Image.Resampling.BOX if kind == "letter" else Image.Resampling.NEAREST).save(
            folder / name
        )
        turns = [("human", f"<image>\nwhich {kind}?"), ("gpt", f"<think>i see {value}</think><answer>{value}</answer>")]
        rows.append(
            {"id": str(number), "image": name, "conversations": [{"from": who, "value": said} for who, said in turns]}
        )
    path.write_text(json.dumps(rows))
    return path


def blank_benchmark(folder: Path, background: str) -> Path:
    """The held-out questions over images of the background alone, of the same size, as a benchmark's file.

    All are one image; a comment with a number makes each a file of its own, or all questions of a kind would be one problem."""
    path = folder / "blank.parquet"
    if not path.exists():
        problems = sorted(StageFolder(folder / "select", "").read("dev"), key=lambda problem: problem.id)
        rows = [
            {
                "problem": problem.statement,
                "answer": problem.answer,
                "image": {"bytes": blank_image(number, background), "path": "blank.png"},
            }
            for number, problem in enumerate(problems)
        ]
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def blank_image(number: int, background: str) -> bytes:
    """An image of one colour whose file says a number."""
    data, comment = io.BytesIO(), PngInfo()
    comment.add_text("number", str(number))
    Image.new("RGB", (32, 32), background).save(data, "PNG", pnginfo=comment)
    return data.getvalue()


def main() -> None:
    """The arms of each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/visual-thinker-shapes"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="SFT steps of a short run; an eighth of them after it")
    parser.add_argument("--rounds", type=int, help="rounds of GRPO and steps of the control")
    parser.add_argument("--greek", type=Path, help="a folder of Omniglot: digits and its letters instead of shapes")
    parser.add_argument("--sft-steps", type=int, default=1500, help="SFT steps on digits and letters")
    parser.add_argument("--rate", type=float, help="learning rate of both arms of GRPO")
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        tree = tree_of(seed, arguments.steps, arguments.rounds, arguments.rate)
        arms = ARMS
        if arguments.greek:
            data = characters(arguments.folder.absolute() / "data", arguments.greek)
            tree["corpus"]["sources"] = [{"name": "visual-questions", "path": str(data), "conversation": "trace"}]
            arms = ARMS[:-1]
            del tree["train"]["length"]
            tree["train"]["sft"]["steps"] = arguments.sft_steps
        folder = run(parse_recipe(tree, "the experiment"), runs_dir=arguments.folder)
        look_in(*image_folders(folder))
        blank = blank_benchmark(folder, "black" if arguments.greek else "white")
        for arm in arms:
            settings = {
                "name": f"blank-{seed}-{arm}",
                "seed": seed,
                "student": {"model": str(folder / "train" / arm / "model")},
                "prompt": tree["prompt"],
                "evaluate": {**tree["evaluate"], "benchmarks": [{"name": "blank", "file": str(blank)}]},
            }
            evaluate(parse_evaluation(settings, "the experiment"), runs_dir=arguments.folder, student_name=arm)


if __name__ == "__main__":
    main()
