"""The numbers of this experiment from its finished runs: per arm and seed, paired differences, and token weights around the error.

python experiments/oreal-toy/table.py runs/oreal-toy
"""

import json
import re
import statistics
import sys
from pathlib import Path

import torch

from redistill.corpus.two_habits.teacher import solve
from redistill.evaluate.intervals import t_interval
from redistill.io.parquet import read_records
from redistill.model.score_heads import PackedScores, load_critic
from redistill.model.token_credit import credit
from redistill.records import Outcome
from redistill.train.step import Ranks, find_token_logps

ARMS = ("reinforce", "shaping", "cloning", "weights", "grpo", "rft")
LINE = re.compile(r"(\d)((?:[-+*]\d)+)=(\d)")
STEP = 1 / 2560  # 20 rounds of 128 answers: the smallest amount by which a mean reward can change
LAST = 5  # rounds whose wrong answers the critic is asked about


def main() -> None:
    runs = sorted(Path(sys.argv[1]).glob("seed-*/"))
    table = {arm: [numbers(run, arm) for run in runs] for arm in ARMS}
    print(f"{len(runs)} seeds; mean and standard deviation over seeds\n")
    print(f"{'arm':<10}{'mean reward of 20 rounds':>28}{'pass@1':>18}{'pass@4':>18}")
    for arm, rows in table.items():
        print(f"{arm:<10}" + "".join(f"{spread(column):>{width}}" for column, width in zip(zip(*rows), (28, 18, 18))))
    start = [pass_at_1(run, "sft") for run in runs]
    print(
        "\npaired by seed, with 95% t-intervals: reward of 20 rounds less that of rft; pass@1 less that of the SFT student"
    )
    for arm, rows in table.items():
        rewards = [mine[0] - theirs[0] for mine, theirs in zip(rows, table["rft"])]
        first = interval(rewards) if arm != "rft" else ""
        print(f"{arm:<10}{first:>28}{interval([mine[1] - sft for mine, sft in zip(rows, start)]):>28}")
    for one, other in (("shaping", "reinforce"), ("weights", "cloning")):
        rewards = [mine[0] - theirs[0] for mine, theirs in zip(table[one], table[other])]
        print(f"reward of {one} less that of {other}: {interval(rewards)}")
    print(f"\npass@1 by seed\n{'':<10}" + "".join(f"{run.name:>10}" for run in runs))
    for arm, values in {"sft": start, **{arm: [row[1] for row in rows] for arm, rows in table.items()}}.items():
        print(f"{arm:<10}" + "".join(f"{value:>10.3f}" for value in values))
    before, at, after, answers = [], [], [], 0
    for run in runs:
        for weights, fault in weighed(run):
            answers += 1
            before += weights[:fault]
            at.append(weights[fault])
            after += weights[fault + 1 :]
    print(
        f"\nweight of a token of wrong answers, by the final critic, {answers} answers of the last {LAST} rounds whose first error a program finds"
    )
    for name, values in (("before the error", before), ("at it", at), ("after it", after)):
        print(f"{name:<18}{statistics.fmean(values):.3f} ({len(values):,} tokens)" if values else f"{name:<18}none")


def numbers(run: Path, arm: str) -> tuple[float, float, float]:
    """(mean reward over the rounds, pass@1, pass@4) of one arm of one seed."""
    lines = [json.loads(line) for line in (run / "train" / arm / "metrics.jsonl").read_text().splitlines()]
    rewards = [line["reward"] for line in lines if line.get("reward") is not None]
    scores = json.loads((run / "evaluate" / arm / "dev" / "scores.json").read_text())
    return statistics.fmean(rewards), scores["pass_at_1"]["value"], scores["pass_at_k"]["4"]["value"]


def pass_at_1(run: Path, arm: str) -> float:
    scores = json.loads((run / "evaluate" / arm / "dev" / "scores.json").read_text())
    return float(scores["pass_at_1"]["value"])


def interval(values: list[float]) -> str:
    """The mean with its t-interval over seeds, where there are three or more."""
    mean, ends = t_interval(values, step=STEP, lowest=-1.0)
    return f"{mean:+.3f}" if ends is None else f"{mean:+.3f} [{ends[0]:+.3f}, {ends[1]:+.3f}]"


def spread(values: tuple[float, ...] | list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.fmean(values):.3f} +- {deviation:.3f}"


def weighed(run: Path) -> list[tuple[list[float], int]]:
    """(token weights, place of the first wrong character) of wrong answers in the last rounds of the arm `weights`."""
    folder = run / "train" / "weights"
    critic, _ = load_critic(folder / "critic" / "model")
    policy, found = PackedScores(critic.eval(), packs=False), []
    for part in sorted((folder / "rollouts" / "groups").glob("*.parquet"))[-LAST:]:
        samples = iter(read_records(folder / "rollouts" / "samples" / part.name))
        for group in read_records(part):
            for trace in group.traces:
                sample = next(samples)
                fault = first_fault(group.problem.statement, trace.completion)
                if trace.verdict.outcome is not Outcome.incorrect or fault is None:
                    continue
                row = ([*sample.prompt_ids, *sample.token_ids], len(sample.prompt_ids))
                scores = find_token_logps(
                    policy, [row], tokens_per_micro_batch=1, device=torch.device("cpu"), ranks=Ranks()
                )
                found.append((credit(scores)[1].tolist(), fault))  # a character is a token
    return found


def first_fault(statement: str, completion: str) -> int | None:
    """The first character at which a line copies or computes something wrong; None where every line is right."""
    value, operations = int(statement[0]), re.findall(r"[-+*]\d", statement)
    done = 0
    for line in LINE.finditer(completion):
        told = re.findall(r"[-+*]\d", line[2])
        if int(line[1]) != value:
            return line.start(1)
        for place, operation in enumerate(told):
            if done + place >= len(operations) or operation != operations[done + place]:
                return line.start(2) + 2 * place
        result = solve(int(line[1]), [(one[0], int(one[1])) for one in told])
        if int(line[3]) != result:
            return line.start(3)
        value, done = result, done + len(told)
    answer = re.search(r"####(\d)", completion)
    return answer.start(1) if answer and int(answer[1]) != value else None


if __name__ == "__main__":
    main()
