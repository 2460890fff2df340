"""The runs of this experiment, seed by seed; each step is left out where its result is there.

python experiments/difficulty-toy/run.py --folder runs/difficulty-toy --seeds 0 1 2 --until search
"""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from redistill.config.yaml_text import SHIPPED
from redistill.io.parquet import read_records

STEPS = ("student", "search", "sets", "answers", "grpo")
PER_LENGTH = 80  # problems of each number of digits that are searched
ROUNDS, PROBLEMS, N = 20, 16, 8


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--until", choices=STEPS, default=STEPS[-1])
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    for seed in asked.seeds:
        for step in STEPS[: STEPS.index(asked.until) + 1]:
            DONE[step](asked.folder.absolute(), seed)


def student(folder: Path, seed: int) -> None:
    """SFT on sums of all lengths."""
    recipe(folder, "thinklite-student", f"student-{seed}", seed, {}, until="train")


def search(folder: Path, seed: int) -> None:
    """Difficulty of other sums, and the selection."""
    tree = yaml.safe_load((SHIPPED / "thinklite-difficulty.yaml").read_text())
    for source in tree["corpus"]["sources"]:
        source["problems"] = PER_LENGTH
    recipe(
        folder, "thinklite-difficulty", f"search-{seed}", seed, {**tree, "student": start(folder, seed)}, until="select"
    )


def sets(folder: Path, seed: int) -> None:
    """hard.jsonl, random.jsonl and easy.jsonl of equal size, and test.jsonl of the problems held out."""
    out, run = folder / f"sets-{seed}", folder / f"search-{seed}"
    if (out / "test.jsonl").exists():
        return
    out.mkdir(exist_ok=True)
    groups = [g for g in records(run, "score/groups") if "difficulty_tries" in g.problem.metadata]
    value = {g.problem.id: g.traces[0].scores["difficulty"] for g in groups}
    problems = {g.problem.id: g.problem for g in groups}
    hard = [p.id for p in records(run, "select/problems")]
    shuffled = sorted(value, key=lambda id: hashlib.sha256(f"{seed}:{id}".encode()).hexdigest())
    easy = sorted(shuffled, key=value.__getitem__)[: len(hard)]
    for name, ids in (("hard", hard), ("random", shuffled[: len(hard)]), ("easy", easy)):
        write(out / f"{name}.jsonl", [problems[id] for id in ids])
    write(out / "test.jsonl", list(records(run, "select/dev")))


def answers(folder: Path, seed: int) -> None:
    """Eight answers of the start student to every problem of each set."""
    for name in ("hard", "random", "easy"):
        out = folder / f"sets-{seed}" / f"{name}.answers.jsonl"
        if not out.exists():
            redistill(
                folder, "rollout", start(folder, seed)["model"], str(folder / f"sets-{seed}" / f"{name}.jsonl"), "--out", str(out),
                "--n", str(N), "--temperature", "1", "--top-p", "1", "--max-new-tokens", "96", "--template", "bare", "--seed", str(seed),
            )  # fmt: skip


def grpo(folder: Path, seed: int) -> None:
    """20 rounds on each set, scored on the same held-out problems."""
    for name in ("hard", "random", "easy"):
        tree = yaml.safe_load((SHIPPED / "thinklite-difficulty.yaml").read_text())
        del tree["score"], tree["select"]
        tree["corpus"] = {
            "sources": [{"name": "problems", "path": str(folder / f"sets-{seed}" / f"{name}.jsonl")}],
            "dev_fraction": 0,
        }
        tree["train"]["grpo"]["rollouts"] |= {"rounds": ROUNDS, "problems": PROBLEMS, "n": N}
        tree["evaluate"]["benchmarks"] = [{"name": "test", "file": str(folder / f"sets-{seed}" / "test.jsonl")}]
        recipe(folder, "thinklite-difficulty", f"grpo-{name}-{seed}", seed, {**tree, "student": start(folder, seed)})


def start(folder: Path, seed: int) -> dict[str, str]:
    return {"model": str(folder / f"student-{seed}" / "train" / "sft" / "model")}


def recipe(folder: Path, shipped: str, name: str, seed: int, tree: dict[str, Any], until: str | None = None) -> None:
    """Run a shipped recipe under another name and seed, or `tree` in its place. A finished run is passed over by itself."""
    tree = tree or yaml.safe_load((SHIPPED / f"{shipped}.yaml").read_text())
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({**tree, "name": name, "seed": seed}))
    redistill(folder, "run", str(file), "--runs-dir", str(folder), *(["--until", until] if until else []))


def redistill(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "redistill", *words], check=True)


def records(run: Path, stream: str) -> list[Any]:
    return [record for path in sorted((run / stream).glob("*.parquet")) for record in read_records(path)]


def write(path: Path, problems: list[Any]) -> None:
    path.write_text("".join(json.dumps({"problem": p.statement, "answer": p.answer}) + "\n" for p in problems))


DONE = {"student": student, "search": search, "sets": sets, "answers": answers, "grpo": grpo}

if __name__ == "__main__":
    main()
