"""Eight samples or one search of eight candidates: what a critic of steps is worth in both, at the tokens drawn. Prints README.md's tables.

python experiments/guided-toy/run.py runs/reward-in-the-loop --folder runs/guided-toy --seeds 0 1 2 3 4
python experiments/guided-toy/run.py runs/reward-in-the-loop --folder /tmp/short --seeds 0 --problems 20      does the script work?
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from redistill.evaluate.intervals import t_interval
from redistill.io.stage_folder import StageFolder

WIDTHS = (2, 4, 8)
AGGREGATES = ("min", "product", "last", "mean")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="of the experiment reward-in-the-loop: a student and a critic per seed")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--problems", type=int, help="at most so many of each seed")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    rows = {seed: one_seed(asked.runs / f"seed-{seed}", asked.folder, seed, asked.problems) for seed in asked.seeds}
    print_tables(rows)


def one_seed(run: Path, folder: Path, seed: int, most: int | None) -> dict[str, tuple[float, float]]:
    """{arm: (share of problems answered rightly, tokens drawn an answer)} of one student and its critic."""
    problems = folder / f"dev-{seed}.jsonl"
    held_out = sorted(StageFolder(run / "select", "").read("dev"), key=lambda problem: problem.id)[:most]
    problems.write_text("".join(json.dumps({"problem": p.statement, "answer": p.answer}) + "\n" for p in held_out))
    critic = {"name": "process", "model": str(run / "train" / "prm" / "model"), "steps": "semicolon"}
    best = json.dumps({"name": "best-of-n", "by": critic})

    def ask(name: str, *options: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "redistill", "evaluate", str(run / "train" / "sft" / "model"), "--benchmark", f"file:{problems}",
                   "--template", "bare", "--no-chat", "--temperature", "1.0", "--set", "evaluate.top_p=1.0", "--max-new-tokens", "96",
                   "--seed", str(seed), "--as", "sft", "--name", name, "--runs-dir", str(folder), *options]  # fmt: skip
        subprocess.run(command, check=True, stdout=sys.stderr)
        found: dict[str, Any] = json.loads(next((folder / name).glob("evaluate/sft/*/scores.json")).read_text())
        return found

    plain = ask(f"plain-{seed}", "--n", "8", "--choose", "majority", "--choose", best)
    tokens = plain["mean_tokens"]
    arms = {"pass@1": (plain["pass_at_1"]["value"], tokens), "pass@8": (plain["pass_at_k"]["8"]["value"], 8 * tokens)}
    for label, choice in plain["choose"].items():
        aggregate = next((one for one in AGGREGATES if label.endswith(f"aggregate {one})")), None)
        if aggregate or label == "majority":  # without an aggregate it is the scorer's own score, which is the mean
            arms[f"best-of-8, {aggregate}" if aggregate else "majority-8"] = (choice["curve"]["8"]["value"], 8 * tokens)
    for width in WIDTHS:
        engine = {"name": "guided", "critic": critic, "candidates": width, "step_end": ";"}
        searched = ask(
            f"guided-{width}-{seed}", "--n", "1", "--engine", "guided", "--set", f"evaluate.engine={json.dumps(engine)}"
        )
        arms[f"guided, {width}"] = (searched["pass_at_1"]["value"], searched["search"]["drawn_tokens"])
    return arms


def print_tables(rows: dict[int, dict[str, tuple[float, float]]]) -> None:
    seeds = list(rows)
    arms = list(rows[seeds[0]])
    print(
        f"| arm | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | tokens drawn an answer |\n|---|{'---|' * (len(seeds) + 2)}"
    )
    for arm in arms:
        values, tokens = zip(*(rows[seed][arm] for seed in seeds), strict=True)
        print(f"| {arm} | {' | '.join(f'{v:.3f}' for v in values)} | {mean(values):.3f} | {mean(tokens):.0f} |")
    print("\n| `guided, 8` less | mean over seeds, 95% t-interval |\n|---|---|")
    for arm in arms[:-1]:
        gaps = [rows[seed]["guided, 8"][0] - rows[seed][arm][0] for seed in seeds]
        mean_gap, interval = t_interval(gaps, step=1 / (8 * 295), lowest=-1.0)
        said = f" [{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else ""
        print(f"| {arm} | {mean_gap:+.3f}{said} |")


if __name__ == "__main__":
    main()
