"""The most that a stage with rollouts can cost: answers, rows, steps, tokens; and its speed, where it was measured.

    ahead = rounds_ahead(plan, "grpo", look.asked["grpo"], look.sentence)
    ahead.answers, ahead.generated_tokens       7680, 737280: 60 rounds of 16 problems, 8 answers each of 96 tokens at most

How long answers are, and which of them become rows, is known when they have been drawn, so every number is an upper bound:
each answer at its limit, each one a row. Only steps that the recipe sets (`updates`, `steps`) are exact.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from redistill.errors import OperatorError
from redistill.io.atomic import read_json
from redistill.model.flops import Work
from redistill.pipeline import graph
from redistill.pipeline.plan import Plan
from redistill.pipeline.stages import stages_of
from redistill.tools.estimate.sample import Stream
from redistill.train import needs_pairs
from redistill.train.packing import num_steps

UNKNOWN = (
    "how long answers are, how many of them become rows, and how fast they are drawn is known when they have been drawn; "
    "sampling is not in the hours"
)


@dataclass(frozen=True, slots=True)
class RoundsAhead:
    """All rounds of a stage. work: what training runs through at most; rows_once: every row of every round, once."""

    rounds: int
    problems: int  # a round
    n: int
    max_new_tokens: int
    rows: int
    steps: int
    steps_exact: bool
    longest: int  # tokens of the longest sequence, prompt and completion
    tokens_of_a_round: int
    row_tokens: int  # of a round's rows
    work: Work
    rows_once: Work

    @property
    def answers(self) -> int:
        return self.rounds * self.problems * self.n

    @property
    def generated_tokens(self) -> int:
        return self.answers * self.max_new_tokens

    def to_json(self) -> dict[str, Any]:
        """What `redistill plan` says of it."""
        return {
            "rounds": self.rounds,
            "problems_per_round": self.problems,
            "answers": self.answers,
            "generated_tokens_at_most": self.generated_tokens,
            "steps_exact": self.steps_exact,
            "unknown": UNKNOWN,
        }


def rounds_ahead(plan: Plan, name: str, asked: Stream, how: str) -> RoundsAhead:
    """The rounds of a stage over the problems of `asked`, whose lengths are those of their prompts.

    OperatorError where there is no problem to ask, and where the longest prompt leaves no room for an answer.
    """
    recipe, settings = plan.recipe, plan.recipe.train[name]
    drawn = plan.rollouts[name].settings
    limit = min(settings.max_tokens or plan.context, plan.context)
    available = round(asked.amount.value)
    if not available or not len(asked.lengths):
        raise OperatorError(f"train.{name}.rollouts: no problem was found that could be asked; {how}.")
    problems, new = min(drawn.problems, available), drawn.max_new_tokens or recipe.evaluate.max_new_tokens
    prompts = asked.lengths[:, 0]
    longest = min(limit, int(prompts.max()) + new)
    sides, per_problem = _rows_of_a_problem(plan, name)
    rows_of_a_round = problems * per_problem
    steps_of_a_round = _steps(settings, drawn.rounds, drawn.updates, rows_of_a_round)
    trained = rows_of_a_round
    if drawn.updates is None:
        trained = steps_of_a_round * min(settings.batch_size, rows_of_a_round)
    whole = np.minimum(prompts + new, limit).astype(np.float64)

    def work(rows: float) -> Work:
        sequences = rows * sides
        return Work(
            sequences * whole.mean(), sequences * (whole - prompts).clip(0).mean(), sequences * (whole**2).mean()
        )

    return RoundsAhead(
        rounds=drawn.rounds,
        problems=problems,
        n=drawn.n,
        max_new_tokens=new,
        rows=drawn.rounds * rows_of_a_round,
        steps=drawn.rounds * steps_of_a_round,
        steps_exact=drawn.updates is not None or settings.steps is not None,
        longest=longest,
        tokens_of_a_round=longest * problems * drawn.n,
        row_tokens=round(rows_of_a_round * sides * whole.mean()),
        work=work(drawn.rounds * trained),
        rows_once=work(drawn.rounds * rows_of_a_round),
    )


def _rows_of_a_problem(plan: Plan, name: str) -> tuple[int, int]:
    """(sequences a row, rows at most): every answer, or every pair of a right and a wrong one that the pairing may make."""
    drawn = plan.rollouts[name].settings
    if not needs_pairs(plan.objectives[name]):
        return 1, min(drawn.n, drawn.per_problem or drawn.n)
    most = (drawn.n // 2) * (drawn.n - drawn.n // 2)
    wanted = plan.rollouts[name].pairing.keywords.get("max_pairs")
    return 2, min(most, wanted) if wanted is not None else most


def _steps(settings: Any, rounds: int, updates: int | None, rows: int) -> int:
    """Steps of a round: train/rollout_supply.py."""
    if updates is not None:
        return updates
    steps = -(-settings.steps // rounds) if settings.steps is not None else None
    return num_steps(num_rows=rows, batch_size=settings.batch_size, epochs=settings.epochs, steps=steps)


def measured_speed(plan: Plan, name: str, folder: Path, ahead: RoundsAhead) -> dict[str, Any] | None:
    """Tokens an answer and a second over the rounds that this very stage has drawn in `folder`, and the hours that all its
    rounds take at that pace; None before it has drawn one."""
    stage = folder / "train" / name
    stamp = stage / "fingerprint"
    if not stamp.exists():
        return None
    # a change of code alone may be ignored: a pace is not a result
    states = graph.resolve(graph.ordered(stages_of(plan)), folder, on_code_change="keep")
    if stamp.read_text("utf-8") != states[f"train/{name}"].keys[""].fingerprint:
        return None
    rounds = [read_json(path) for path in sorted((stage / "rollouts").glob("round-*.json"))]
    seconds = sum(float(facts["seconds"]) for facts in rounds)
    tokens = sum(int(facts["figures"]["generated_tokens"]) for facts in rounds)
    answers = sum(int(facts["figures"]["answers"]) for facts in rounds)
    if not seconds or not answers:
        return None
    return {
        "rounds": len(rounds),
        "tokens_per_answer": tokens / answers,
        "tokens_per_second": tokens / seconds,
        "hours": seconds / answers * ahead.answers / 3600,
    }
