"""What today's guard says of finished runs: every stage with rollouts is judged again, round by round.

python experiments/hard-toy/judged_again.py runs/hard-toy        an arm a line: gain over sft, worst state, its first step, signs
"""

import json
import sys
from pathlib import Path
from typing import Any

from redistill.config.tables import GuardSettings
from redistill.train.guard import judge


def main(folder: Path) -> None:
    for run in sorted(folder.glob("seed-*")):
        for stage in sorted(run.glob("train/*/metrics.jsonl")):
            rounds = [json.loads(line) for line in stage.read_text().splitlines()]
            name = stage.parent.name
            if (
                any(line.get("round") is not None for line in rounds)
                and (run / f"evaluate/{name}/dev/scores.json").exists()
            ):
                print(f"{run.name} {name} {pass_at_1(run, name) - pass_at_1(run, 'sft'):+.3f} {judged(rounds)}")


def pass_at_1(run: Path, student: str) -> float:
    scores = json.loads((run / f"evaluate/{student}/dev/scores.json").read_text())
    return float(scores["pass_at_1"]["value"])


def judged(rounds: list[dict[str, Any]]) -> str:
    settings = GuardSettings()
    found = [judge(rounds[: n + 1], settings) for n in range(len(rounds))]
    alarms = [(n + 1, one) for n, one in enumerate(found) if one.state in ("warning", "collapse")]
    if not alarms:
        return "steady"
    worst = "collapse" if any(one.state == "collapse" for _, one in alarms) else "warning"
    signs = sorted({sign for _, one in alarms for sign in one.reasons})
    return f"{worst} from step {alarms[0][0]}: {', '.join(signs)}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
