"""How the process reward model of each seed ranks the teacher's traces of held-out problems: Spearman's rank correlation with the share of
sound steps, beside that of length alone.

python experiments/reward-in-the-loop/ranking.py runs/reward-in-the-loop
"""

import statistics
import sys
from pathlib import Path

import numpy as np

from redistill.config.tables import PromptText
from redistill.evaluate.intervals import t_interval
from redistill.io.stage_folder import StageFolder
from redistill.records import Trace
from redistill.score.process import process

AGGREGATES = ("mean", "min", "product", "last")  # of a trace's step scores


def main() -> None:
    print(f"| seed | held-out traces | {' | '.join(AGGREGATES)} | length alone |\n|---|---|---|---|---|---|---|")
    found: dict[str, list[float]] = {}
    for run in sorted(path.parent for path in Path(sys.argv[1]).glob("seed-*/report.html")):
        traces = held_out(run)
        sound = [statistics.mean(span.value for span in trace.spans["truth"]) for trace in traces]
        row = {name: spearman([trace.scores[f"process_{name}"] for trace in traces], sound) for name in AGGREGATES}
        row["length"] = spearman([float(len(trace.completion)) for trace in traces], sound)
        row |= {f"{name} less length": row[name] - row["length"] for name in AGGREGATES}
        for name, value in row.items():
            found.setdefault(name, []).append(value)
        shown = " | ".join(f"{row[name]:.3f}" for name in (*AGGREGATES, "length"))
        print(f"| {run.name.removeprefix('seed-')} | {len(traces)} | {shown} |", flush=True)
    print()
    for name, values in found.items():
        mean, interval = t_interval(values, step=0.001, lowest=-1.0)
        print(f"{name}: {mean:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""))


def held_out(run: Path) -> list[Trace]:
    """The teacher's traces of the problems that no stage has seen, with the scores of the run's model."""
    dev = {problem.id for problem in StageFolder(run / "select", "").read("dev")}
    groups = [group for group in StageFolder(run / "verify", "").read("groups") if group.problem.id in dev]
    model, prompt = str(run / "train" / "prm" / "model"), PromptText(template="bare")
    scored = process(groups, model=model, steps="semicolon", _into="process", _prompt=prompt, _held={})
    return [trace for group in scored for trace in group.traces if "process_mean" in trace.scores]


def spearman(one: list[float], other: list[float]) -> float:
    """The correlation of ranks, ties at their mean."""
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def ranks(values: list[float]) -> np.ndarray:
    """Each value's place among all, of equal ones their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


if __name__ == "__main__":
    main()
