"""How well the guard's signs tell runs that collapse from runs that do not: precision, recall and steps of warning.

python experiments/guard-thresholds/table.py runs/guard-thresholds
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

from redistill.config.tables import GuardSettings
from redistill.evaluate.intervals import mean_interval
from redistill.train.guard import SIGNS, judge

FALL = 0.10  # a stage has fallen where its pass@1 is further than this below that of the student it started from
CHOSEN_ON = ("seed-0", "seed-1", "seed-2")  # seeds whose runs choose thresholds; the others confirm
GRID = {
    "probe_drop": (0.02, 0.05, 0.10, 0.15, 0.20),
    "low_nats": (0.25, 0.5, 1.0, 2.0),
    "surge_factor": (3.0, 5.0, 10.0),
}
STATES = {"collapse": ("collapse",), "warning or collapse": ("warning", "collapse")}


class Stage(NamedTuple):
    seed: str
    name: str
    history: list[dict[str, Any]]
    pass_at_1: float
    start: float  # pass@1 of the student it started from; both from the run's evaluation, not from the probe

    @property
    def collapsed(self) -> bool:
        return self.start - self.pass_at_1 > FALL


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    stages = [found for run in sorted(asked.folder.glob("seed-*/")) for found in read(run)]
    down = [s for s in stages if s.collapsed]
    print(
        f"{len(stages)} stages, {len(down)} fell by more than {FALL:.2f}\n\n| stage | pass@1 by seed | first alarm: step, state, signs, by seed |\n|---|---|---|"
    )
    for name in dict.fromkeys(s.name for s in stages):
        same = [s for s in stages if s.name == name]
        print(
            f"| `{name}` | {', '.join(f'{s.pass_at_1:.3f}' for s in same)} | {'; '.join(alarm_text(s) for s in same)} |"
        )
    print(
        "\nat the default thresholds, all stages\n\n| alarm | precision | recall | steps of warning, median |\n|---|---|---|---|"
    )
    for label, states in STATES.items():
        print(f"| {label} | " + " | ".join(quality(stages, GuardSettings(), states)) + " |")
    print(
        "\neach sign alone, default thresholds\n\n| sign | stages that fell, of all that fell | stages that did not fall, of all that did not |\n|---|---|---|"
    )
    for sign in SIGNS:
        hit = [any(SIGNS[sign](s.history[: i + 1], GuardSettings()) for i in range(len(s.history))) for s in stages]
        yes = sum(h for h, s in zip(hit, stages) if s.collapsed)
        no = sum(h for h, s in zip(hit, stages) if not s.collapsed)
        if yes or no:
            print(f"| `{sign}` | {yes} of {len(down)} | {no} of {len(stages) - len(down)} |")
    learn, check = split(stages)
    ranked = sorted(settings(), key=lambda found: -f1(learn, found, STATES["collapse"]))
    print(
        f"\nthresholds chosen on {len(learn)} stages of {', '.join(CHOSEN_ON)} by F1 of `collapse`, confirmed on {len(check)} others\n"
    )
    print(
        "| thresholds | F1 where chosen | F1 of the others | precision, recall, warning of the others |\n|---|---|---|---|"
    )
    for label, found in (("default", GuardSettings()), ("best", ranked[0])):
        shown = ", ".join(f"{key} {getattr(found, key)}" for key in GRID)
        print(
            f"| {label}: {shown} | {f1(learn, found, STATES['collapse']):.3f} | {f1(check, found, STATES['collapse']):.3f} | {', '.join(quality(check, found, STATES['collapse']))} |"
        )


def read(run: Path) -> list[Stage]:
    """The stages of one finished run that start from its SFT student."""
    found = []
    for scores in sorted(run.glob("evaluate/*/dev/scores.json")):
        name = scores.parent.parent.name
        if name not in ("base", "sft"):
            lines = (run / "train" / name / "metrics.jsonl").read_text().splitlines()
            found.append(
                Stage(
                    run.name,
                    name,
                    [json.loads(line) for line in lines],
                    pass_at_1(scores),
                    pass_at_1(run / "evaluate/sft/dev/scores.json"),
                )
            )
    return found


def pass_at_1(scores: Path) -> float:
    return float(json.loads(scores.read_text())["pass_at_1"]["value"])


def first_alarm(stage: Stage, settings: GuardSettings, states: tuple[str, ...]) -> int | None:
    """The step at which the guard first says one of the states, or None."""
    for i, line in enumerate(stage.history):
        if judge(stage.history[: i + 1], settings).state in states:
            return int(line["step"])
    return None


def fallen_at(stage: Stage) -> int | None:
    """The first step at which a probe is further below its start than FALL, or None."""
    probes = [
        (line["step"], line["probe_accuracy"]) for line in stage.history if line.get("probe_accuracy") is not None
    ]
    return next((int(step) for step, value in probes if probes[0][1] - value > FALL), None)


def quality(stages: list[Stage], found: GuardSettings, states: tuple[str, ...]) -> list[str]:
    alarms = [first_alarm(stage, found, states) for stage in stages]
    right = sum(a is not None and s.collapsed for a, s in zip(alarms, stages))
    raised, fell = sum(a is not None for a in alarms), sum(s.collapsed for s in stages)
    lead = sorted(
        at - a for a, s in zip(alarms, stages) if a is not None and s.collapsed and (at := fallen_at(s)) is not None
    )
    return [share(right, raised), share(right, fell), str(lead[len(lead) // 2]) if lead else "none"]


def share(part: int, whole: int) -> str:
    if not whole:
        return "none raised"
    ends = mean_interval([1.0] * part + [0.0] * (whole - part))
    return f"{part} of {whole}" + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "")


def f1(stages: list[Stage], found: GuardSettings, states: tuple[str, ...]) -> float:
    alarms = [first_alarm(stage, found, states) is not None for stage in stages]
    right = sum(a and s.collapsed for a, s in zip(alarms, stages))
    return 2 * right / max(1, sum(alarms) + sum(s.collapsed for s in stages))


def settings() -> list[GuardSettings]:
    """Every point of the grid, the defaults first, so that of equal ones the default is taken."""
    points = [GuardSettings(**dict(zip(GRID, values))) for values in itertools.product(*GRID.values())]
    return [GuardSettings(), *points]


def split(stages: list[Stage]) -> tuple[list[Stage], list[Stage]]:
    return [s for s in stages if s.seed in CHOSEN_ON], [s for s in stages if s.seed not in CHOSEN_ON]


def alarm_text(stage: Stage) -> str:
    for i, line in enumerate(stage.history):
        found = judge(stage.history[: i + 1], GuardSettings())
        if found.state in ("warning", "collapse"):
            return f"{line['step']} {found.state} ({', '.join(found.reasons)})"
    return "none"


if __name__ == "__main__":
    main()
