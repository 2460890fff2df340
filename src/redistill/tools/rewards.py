"""The rewards of a recipe's stage for answers that come from anywhere: another trainer, a server's caller, a file.

    with RewardFunction(recipe, "grpo") as reward:
        reward([{"problem": "2+2=", "answer": "4", "completion": "so \\\\boxed{4}"}])      ->  [1.0]

An answer is judged and rewarded by the code that a stage's own rounds call, so the numbers are the stage's. A row has `problem`
(its statement, or a table with `statement` and, where the verifier reads them, `answer`, `answer_type`, `metadata`) or
`prompt`, `answer` or `gold`, `completion`, and where they are known `finish_reason` ("stop" or "length") and `num_tokens`.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Self

from redistill.config.tables import Recipe, RolloutSettings
from redistill.config.validation_messages import did_you_mean
from redistill.corpus.sources import fields
from redistill.errors import OperatorError
from redistill.evaluate.stage import verifiers_of
from redistill.io.executors import cores
from redistill.pipeline.rollouts import bind_rewards
from redistill.records import Group, Problem, make_problem, make_trace
from redistill.verify.pool import VerifierPool
from redistill.verify.rewards import rewarded
from redistill.verify.stage import judged

KNOWN = ("problem", "prompt", "answer", "gold", "completion", "finish_reason", "num_tokens")
OF_PROBLEM = ("statement", "answer", "answer_type", "source", "metadata")
FINISH_REASONS = ("stop", "length", None)


class RowError(OperatorError):
    """A row that cannot be read: the caller's mistake, not the recipe's."""


def stage_for(recipe: Recipe, stage: str | None) -> str:
    """The stage that is meant: the named one, else the last one with `rollouts`, else the last one. OperatorError where none
    is called so."""
    if stage is None:
        own = [name for name, settings in recipe.train.items() if settings.rollouts is not None]
        return (own or list(recipe.train))[-1]
    if stage not in recipe.train:
        raise OperatorError(f"recipe {recipe.name}: no stage is called {stage!r}{did_you_mean(stage, recipe.train)}")
    return stage


def rollouts_for(recipe: Recipe, stage: str) -> RolloutSettings:
    """The stage's rollouts; for a stage that has none, the defaults with a batch's worth of problems a round."""
    settings = recipe.train[stage]
    return settings.rollouts or RolloutSettings(problems=settings.batch_size, updates=1)


class RewardFunction:
    """Called with rows it returns a reward for each, None where nobody can say. Its worker processes live until `close`;
    threads may share it. OperatorError for a stage that is not there, and for a row that cannot be read."""

    def __init__(self, recipe: Recipe, stage: str | None = None, *, workers: int | None = None) -> None:
        self.stage = stage_for(recipe, stage)
        where = f"train.{self.stage}.rollouts"
        self.settings = rollouts_for(recipe, self.stage)
        self.rewards = bind_rewards(self.settings, where)
        verifier = self.settings.verifier or recipe.evaluate.verifier
        self.verifier = verifier.name
        limits = recipe.verify
        self._pool = VerifierPool(
            verifiers_of(verifier, f"{where}.verifier"),
            workers=workers or limits.workers or cores(),
            timeout_seconds=limits.timeout_seconds,
            memory_mb=limits.memory_mb,
        )
        self._lock = threading.Lock()

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> list[float | None]:
        groups = [_group(row, place) for place, row in enumerate(rows)]
        with self._lock:  # a pool answers one question after the other
            totals = [
                rewarded(group, self.rewards, self.settings.undecided)
                for group in judged(self._pool, groups, self.verifier)
            ]
        return [group.traces[0].scores.get("reward") for group in totals]

    def close(self) -> None:
        """End the worker processes."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _group(row: Any, place: int) -> Group:
    if not isinstance(row, Mapping):
        raise RowError(f"row {place}: it is not a table; write one with problem, answer and completion.")
    unknown = [key for key in row if key not in KNOWN]
    if unknown:
        raise RowError(f"row {place}: unknown key {unknown[0]!r}{did_you_mean(str(unknown[0]), KNOWN)}")
    problem = _problem(row, place)
    completion, reason, tokens = row.get("completion"), row.get("finish_reason"), row.get("num_tokens")
    if not isinstance(completion, str):
        raise RowError(f"row {place}: `completion` must be the text of an answer, not {_said(completion)}.")
    if reason not in FINISH_REASONS:
        raise RowError(f'row {place}: `finish_reason` must be "stop", "length" or missing, not {_said(reason)}.')
    if tokens is not None and (isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0):
        raise RowError(f"row {place}: `num_tokens` must be a count of tokens, not {_said(tokens)}.")
    return Group(problem, (make_trace(problem.id, completion, finish_reason=reason, num_tokens=tokens),))


def _problem(row: Mapping[str, Any], place: int) -> Problem:
    if ("problem" in row) == ("prompt" in row):
        raise RowError(f"row {place}: write either `problem` or `prompt`.")
    asked = row.get("problem", row.get("prompt"))
    table = dict(asked) if isinstance(asked, Mapping) else {"statement": asked}
    unknown = [key for key in table if key not in OF_PROBLEM]
    if unknown:
        raise RowError(f"row {place}: problem has no {unknown[0]!r}{did_you_mean(str(unknown[0]), OF_PROBLEM)}")
    if "answer" in row and "gold" in row:
        raise RowError(f"row {place}: write either `answer` or `gold`.")
    gold = row.get("answer", row.get("gold"))
    if gold is not None:
        table["answer"] = gold
    if not isinstance(table.get("statement"), str):
        raise RowError(f"row {place}: `problem` must be text, or a table with `statement`.")
    answer = table.get("answer")
    if fields.finite(answer) is not None:
        answer = str(answer)
    if answer is not None and not isinstance(answer, str):
        raise RowError(f"row {place}: `answer` must be the gold answer as text, not {_said(answer)}.")
    try:
        metadata = fields.metadata(table.get("metadata"))
    except fields.RowError:
        raise RowError(
            f"row {place}: `metadata` of its problem must be a table of JSON values, not {_said(table['metadata'])}."
        ) from None
    for key in ("answer_type", "source"):
        if table.get(key) is not None and not isinstance(table[key], str):
            raise RowError(f"row {place}: `{key}` of its problem must be text, not {_said(table[key])}.")
    return make_problem(
        table["statement"],
        answer=answer,
        answer_type=table.get("answer_type"),
        source=table.get("source") or "",
        metadata=metadata,
    )


def _said(value: Any) -> str:
    try:
        return repr(value)[:60]
    except (ValueError, RecursionError):  # an integer of thousands of digits, a table without end
        return f"a {type(value).__name__}"


def problem_facts(problem: Problem) -> dict[str, Any]:
    """A problem as a row's `problem` holds it: what its verifier may read."""
    fields = {name: getattr(problem, name) for name in OF_PROBLEM}
    return {name: dict(value) if name == "metadata" else value for name, value in fields.items() if value}
