"""The numbers of the experiment, from the folders that run.py has left.

python experiments/visual-thinker-shapes/table.py runs/visual-thinker-shapes
"""

import statistics
import sys
from pathlib import Path

from redistill.io.atomic import read_json
from redistill.io.stage_folder import StageFolder
from redistill.text.thoughts import Answer, thoughts

ARMS = ("sft", "control", "grpo", "length")


def figures(folder: Path, seed: int, arm: str) -> dict[str, float | None]:
    """What is known of an arm of a seed."""
    stage_dir = folder / f"seed-{seed}" / "evaluate" / arm / "dev"
    scores = read_json(stage_dir / "scores.json")
    blank = read_json(folder / f"blank-{seed}-{arm}" / "evaluate" / arm / "blank" / "scores.json")
    answers = [
        Answer(group.problem.id, trace.completion, trace.num_tokens, None)
        for group in StageFolder(stage_dir, "").read("groups")
        for trace in group.traces
    ]
    return {
        "lenient": scores["pass_at_1"]["value"],
        "strict": scores["strict"]["pass_at_1"]["value"],
        "blank": blank["pass_at_1"]["value"],
        "tokens": statistics.mean(answer.tokens or 0 for answer in answers),
        "trivial": thoughts(answers).trivial,
    }


def main() -> None:
    """A line an arm: each seed's value, then mean and sample standard deviation."""
    folder = Path(sys.argv[1])
    seeds = sorted(int(path.name.removeprefix("seed-")) for path in folder.glob("seed-*"))
    arms = [arm for arm in ARMS if all((folder / f"blank-{seed}-{arm}" / "evaluate").exists() for seed in seeds)]
    found = {arm: [figures(folder, seed, arm) for seed in seeds] for arm in arms}
    print(f"seeds {seeds}; n = {len(seeds)}; spread: sample standard deviation")
    for name in ("lenient", "strict", "blank", "tokens", "trivial"):
        print(f"\n{name}")
        for arm, rows in found.items():
            values = [row[name] for row in rows if row[name] is not None]
            spread = f" +- {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            mean = f"{statistics.mean(values):.3f}" if values else "none"
            print(f"  {arm:<8} {mean}{spread}   {', '.join(f'{value:.3f}' for value in values)}")


if __name__ == "__main__":
    main()
