"""Six arms of data-free distillation on two real sets, three seeds: the runs, and the table made of them.

    python experiments/cmi-digits/run.py run --out runs --greek images_background_small1/Greek
    python experiments/cmi-digits/run.py table --out runs > experiments/cmi-digits/table.md

`run` goes on where it was stopped. The Greek alphabet is a folder of Omniglot's images_background_small1.zip, unpacked.
"""

import argparse
import statistics
from pathlib import Path

import yaml

from redistill import api
from redistill.datafree.settings import RECIPES
from redistill.evaluate.intervals import mean_interval
from redistill.io.atomic import read_json

SEEDS = (0, 1, 2)
SETS = ("digits", "greek", "greek-long")
T_95 = 4.303  # two-sided 95% of Student's t with 2 degrees of freedom


def recipe_of(name: str, seed: int, greek: str) -> dict:
    """The shipped recipe for the digits; for Greek letters the same with its own images, networks' sizes and budget."""
    tree = yaml.safe_load((RECIPES / "cmi-digits.yaml").read_text("utf-8"))
    tree |= {"name": f"{name}-{seed}", "seed": seed}
    if name.startswith("greek"):
        tree["images"] = {"size": 12, "channels": 1, "classes": 24, "mean": [0.07], "std": [0.17]}
        tree["teacher"] = {
            "network": {"name": "cnn", "width": 16},
            "train": {"epochs": 60, "batch_size": 32, "augment": {"pad": 1, "flip": False}},
        }
        tree["evaluate"] = {"data": {"name": "image-folder", "path": greek, "invert": True}}
        tree["synthesis"] |= {"batches": 8, "batch_size": 120, "steps": 60}
        tree["arms"]["ce-bn-cr-adv"]["synthesis"] = {"batches": 4, "invert_every": 10}
    if name == "greek-long":
        tree["synthesis"] |= {"batches": 4, "batch_size": 120, "steps": 200, "learning_rate": 5.0e-3}
        tree["arms"]["ce-bn-cr-adv"]["synthesis"] = {"batches": 2, "invert_every": 20}
    return tree


def run(out: Path, greek: str, sets: list[str], seeds: list[int]) -> None:
    for name in sets:
        for seed in seeds:
            api.datafree(recipe_of(name, seed, greek), runs_dir=out)


def spread(values: list[float], digits: int) -> str:
    """Mean and 95% t-interval over the seeds."""
    mean = statistics.mean(values)
    half = T_95 * statistics.stdev(values) / len(values) ** 0.5 if len(values) == 3 else float("nan")
    return f"{mean:.{digits}f} [{mean - half:.{digits}f}, {mean + half:.{digits}f}]"


def table(out: Path) -> str:
    lines = []
    for name in SETS:
        runs = [
            read_json(out / f"{name}-{seed}" / "datafree.json")
            for seed in SEEDS
            if (out / f"{name}-{seed}" / "datafree.json").exists()
        ]
        if not runs:
            continue
        teacher = [found["teacher"]["accuracy"] for found in runs]
        lines += [
            f"### {name}: {len(runs)} seeds, n = {runs[0]['teacher']['n']} test images, teacher {' / '.join(f'{v:.3f}' for v in teacher)}",
            "",
            "| arm | images | student accuracy per seed | mean [95% over seeds] | 95% over images, all seeds | diversity [95% over seeds] | within a class |",
            "|---|---|---|---|---|---|---|",
        ]
        for arm in runs[0]["arms"]:
            found = [one["arms"][arm] for one in runs]
            right = [v for one in found for v in [1.0] * one["correct"] + [0.0] * (one["n"] - one["correct"])]
            low, high = mean_interval(right) or (float("nan"), float("nan"))
            scores = [one["accuracy"] for one in found]
            lines.append(
                f"| {arm} | {found[0]['images']:,} | {' / '.join(f'{v:.3f}' for v in scores)} | {spread(scores, 3)} | [{low:.3f}, {high:.3f}] | "
                f"{spread([one['diversity'] for one in found], 3)} | {spread([one['diversity_within'] for one in found], 3)} |"
            )
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--greek", default="images_background_small1/Greek")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    options = parser.parse_args()
    if options.what == "run":
        run(options.out, options.greek, options.sets, options.seeds)
    else:
        print(table(options.out))


if __name__ == "__main__":
    main()
