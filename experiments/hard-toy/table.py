"""The numbers of this experiment from its finished runs: cost and result of every arm, paired differences, pass@k, a picture.

python experiments/hard-toy/table.py runs/hard-toy            --picture hard-toy.png draws accuracy against tokens
"""

import argparse
import json
import statistics
from pathlib import Path

from redistill.evaluate.intervals import t_interval

OFFLINE = ("longer", "control", "redi", "topr", "simpo", "dpo")
OWN = ("rft-1", "rft", "own-control", "own-redi", "own-topr", "own-dpo", "reinforce", "rloo", "grpo", "shaping", "cloning", "weights", "own-wrong", "distil")  # fmt: skip
MIXED = ("own-then-redi", "redi-then-own")
CONTROLS = ("shuffled", "long")
STARTS = {"own-then-redi": "rft", "redi-then-own": "redi"}
PAIRS = (
    ("redi", "control"), ("topr", "control"), ("topr", "redi"), ("own-redi", "own-control"), ("own-topr", "own-control"), ("shaping", "own-control"),
    ("own-wrong", "own-control"), ("weights", "own-control"), ("cloning", "own-control"), ("grpo", "own-control"), ("own-redi", "grpo"),
    ("reinforce", "rft"), ("shaping", "reinforce"), ("cloning", "shaping"), ("weights", "cloning"), ("grpo", "reinforce"),
    ("rloo", "grpo"), ("own-wrong", "reinforce"), ("distil", "grpo"), ("own-then-redi", "rft"), ("redi-then-own", "rft"), ("long", "grpo"),
)  # fmt: skip
BELOW = ("cloning", "rloo", "simpo", "own-wrong", "longer")  # whose names stand below their points in the picture
FIRST = 20  # rounds whose mean reward is compared
COUNTS = ("1", "4", "8", "16", "32")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", help="these alone; default: all that are finished")
    asked = parser.parse_args()
    runs = sorted(path.parent for path in asked.folder.glob("seed-*/report.html"))
    if asked.seeds:
        runs = [run for run in runs if int(run.name.removeprefix("seed-")) in asked.seeds]
    arms = [arm for arm in ("sft", *OFFLINE, *OWN, *MIXED, *CONTROLS) if (runs[0] / "train" / arm).exists()]
    rows = {arm: [numbers(run, arm) for run in runs] for arm in arms}
    print(f"{len(runs)} seeds; mean +- standard deviation over seeds; [95% t-interval] of differences paired by seed\n")
    print(
        "| arm | tokens trained | tokens sampled | reward, 20 rounds | pass@1 | less `sft` | pass@4 | pass@32 | length |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for arm, found in rows.items():
        gain = difference(found, rows["sft"], "1") if arm != "sft" else ""
        columns = (
            million(found, "trained"), million(found, "sampled"), spread(found, "reward"), spread(found, "1"), gain,
            spread(found, "4"), spread(found, "32"), f"{mean(found, 'length'):.1f}",
        )  # fmt: skip
        print(f"| `{arm}` | " + " | ".join(columns) + " |")
    print("\n| difference | reward, 20 rounds | pass@1 | pass@4 | pass@32 |\n|---|---|---|---|---|")
    for one, other in PAIRS:
        if one in rows and other in rows:
            columns = [difference(rows[one], rows[other], key) for key in ("reward", "1", "4", "32")]
            if one == "long":  # its reward holds more than accuracy
                columns[0] = ""
            print(f"| `{one}` less `{other}` | " + " | ".join(columns) + " |")
    print("\n| pass@1 by seed | " + " | ".join(run.name.removeprefix("seed-") for run in runs) + " |")
    print("|---" * (len(runs) + 1) + "|")
    for arm, found in rows.items():
        print(f"| `{arm}` | " + " | ".join(f"{row['1']:.3f}" for row in found) + " |")
    print("\n| pass@k | " + " | ".join(COUNTS) + " |\n" + "|---" * (len(COUNTS) + 1) + "|")
    for arm, found in rows.items():
        print(f"| `{arm}` | " + " | ".join(f"{mean(found, k):.3f}" for k in COUNTS) + " |")
    print("\nworst state of the guard, with the signs it first stood for (number of seeds)")
    for arm, found in rows.items():
        signs = [sign for row in found for sign in row["guard"]]
        if signs:
            print(f"`{arm}`: " + ", ".join(f"{sign} ({signs.count(sign)})" for sign in sorted(set(signs))))
    if asked.picture:
        draw(rows, asked.picture)


def numbers(run: Path, arm: str) -> dict:
    """What one arm of one seed cost after `sft`, and what it came to."""
    steps = metrics(run, arm)
    before = metrics(run, STARTS[arm]) if arm in STARTS else []
    paid = [] if arm == "sft" else before + steps
    rewards = [step["reward"] for step in steps if step.get("reward") is not None]
    scores = json.loads((run / "evaluate" / arm / "dev" / "scores.json").read_text())
    samples = [length for length in [scores.get("mean_tokens")] if length is not None]
    lengths = [step["length"] for step in steps if step.get("length") is not None]
    return {
        "trained": sum(step["tokens"] or 0 for step in paid),
        "sampled": sum(step.get("generated_tokens") or 0 for step in paid),
        "reward": statistics.fmean(rewards[:FIRST]) if len(rewards) >= FIRST else None,
        "length": (samples or lengths[-1:] or [float("nan")])[0],
        "guard": guard_signs(steps),
        **{k: scores["pass_at_k"][k]["value"] for k in COUNTS if k in scores["pass_at_k"]},
    }


def guard_signs(steps: list[dict]) -> list[str]:
    """The worst state that the guard wrote, with the step it first stood at and its signs; none for a steady or drifting run."""
    for state in ("collapse", "warning"):
        for step in steps:
            if step.get("guard") == state:
                return [f"{state}: {' and '.join(step['guard_reasons'])}"]
    return []


def metrics(run: Path, arm: str) -> list[dict]:
    return [json.loads(line) for line in (run / "train" / arm / "metrics.jsonl").read_text().splitlines()]


def values(found: list[dict], key: str) -> list[float]:
    return [row[key] for row in found if row.get(key) is not None]


def mean(found: list[dict], key: str) -> float:
    return statistics.fmean(values(found, key)) if values(found, key) else float("nan")


def million(found: list[dict], key: str) -> str:
    return f"{mean(found, key) / 1e6:.2f} M"


def spread(found: list[dict], key: str) -> str:
    drawn = values(found, key)
    return (
        f"{statistics.fmean(drawn):.3f} +- {statistics.stdev(drawn):.3f}"
        if len(drawn) > 1
        else "".join(f"{v:.3f}" for v in drawn)
    )


def difference(one: list[dict], other: list[dict], key: str) -> str:
    """The mean difference of one figure, paired by seed, with its t-interval over seeds where there are three or more."""
    drawn = [
        mine[key] - theirs[key] for mine, theirs in zip(one, other) if None not in (mine.get(key), theirs.get(key))
    ]
    if not drawn:
        return ""
    middle, ends = t_interval(drawn, step=1e-4, lowest=-1.0)
    return f"{middle:+.3f}" if ends is None else f"{middle:+.3f} [{ends[0]:+.3f}, {ends[1]:+.3f}]"


def draw(rows: dict[str, list[dict]], file: Path) -> None:
    """Pass@1 against tokens, trained and sampled, after SFT: a point per arm, a bar of one standard deviation over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 9))
    for group, label in ((OFFLINE, "teacher's traces"), (OWN, "own answers"), (MIXED, "both"), (CONTROLS, "controls")):
        found = [(arm, rows[arm]) for arm in group if arm in rows]
        xs = [(mean(row, "trained") + mean(row, "sampled")) / 1e6 for _, row in found]
        ys = [mean(row, "1") for _, row in found]
        bars = [statistics.stdev(values(row, "1")) if len(row) > 1 else 0.0 for _, row in found]
        axes.errorbar(xs, ys, yerr=bars, fmt="o", capsize=2, label=label)
        for x, y, (arm, _) in zip(xs, ys, found):
            axes.annotate(arm, (x, y), textcoords="offset points", xytext=(4, -9 if arm in BELOW else 4), fontsize=7)
    axes.axhline(mean(rows["sft"], "1"), color="grey", linestyle=":", label="sft")
    axes.set(xlabel="million tokens after SFT, trained and sampled", ylabel="pass@1", ylim=(0, 1.05))
    axes.margins(x=0.12)
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
