"""Where a sampled answer stands among the rounds of a run's training stages, and what became of it there.

    occurrences(Path("runs/x"), recipe, "t3fa9")
        ->  [Occurrence(stage="grpo", round=4, sample=2, n=8, reward=1.0, use="advantage +0.54 (group)", ...), ...]

The same text to the same problem is the same trace, so one id may have been sampled in several rounds, and more than once
in one of them. Reads the files of train/STAGE/rollouts/; advantages and pairs are found again from the stored rewards and verdicts
by the very functions that training asked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.config.binding import bind
from redistill.config.tables import Plugin
from redistill.io.atomic import read_json
from redistill.io.parquet import read_columns, read_records
from redistill.records import Group, Trace


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One sample of an answer. round, sample: counted from 1; steps: first and last step of the round, counted from 1.
    reason: why it is in no row, "" where it is in one; use: what its rows were given."""

    stage: str
    round: int
    steps: tuple[int, int]
    sample: int
    n: int
    group: Group
    trace: Trace
    tokens: int
    mean_logprob: float | None
    reason: str
    use: str

    @property
    def reward(self) -> float | None:
        """None where nobody could say."""
        return self.trace.scores.get("reward")


def streams(folder: Path) -> list[str]:
    """The streams of sampled groups, as train/STAGE/rollouts/groups."""
    return sorted(str(path.relative_to(folder)) for path in folder.glob("train/*/rollouts/groups"))


def rounds(folder: Path, stage: str) -> list[int]:
    """The rounds that a stage has drawn and finished writing, counted from 0."""
    parts = (folder / "train" / stage / "rollouts").glob("part-*.done")
    return sorted(int(path.stem.removeprefix("part-")) for path in parts)


def occurrences(folder: Path, recipe: Mapping[str, Any], trace_id: str) -> Iterator[Occurrence]:
    """Every sample of a trace, by stage and round."""
    for stream in streams(folder):
        stage = stream.split("/")[1]
        for number in rounds(folder, stage):
            part = folder / stream / f"part-{number:05d}.parquet"
            for place, row in enumerate(read_columns(part, ("traces.list.element.id",))):
                ids = [trace["id"] for trace in row["traces"]]
                if trace_id in ids:
                    group = next(g for at, g in enumerate(read_records(part)) if at == place)
                    yield from _of_group(folder, recipe, stage, number, group, trace_id)


def _of_group(
    folder: Path, recipe: Mapping[str, Any], stage: str, number: int, group: Group, trace_id: str
) -> Iterator[Occurrence]:
    where, part = folder / "train" / stage / "rollouts", f"part-{number:05d}"
    reads_pairs = read_json(where / f"{part}.done")["accounts"]["rows"]["unit"] == "problem"
    drops = list(read_columns(where / "dropped" / f"{part}.parquet", ("id", "reason", "detail")))
    sampled = {
        row["sample_index"]: row["logprobs"]
        for row in read_columns(where / "samples" / f"{part}.parquet", ("problem_id", "sample_index", "logprobs"))
        if row["problem_id"] == group.problem.id
    }
    for index, trace in enumerate(group.traces):
        if trace.id != trace_id:
            continue
        if reads_pairs:
            reason = next((d["reason"] for d in drops if d["id"] == group.problem.id), "")
            use = "" if reason else _pairs(recipe, stage, group, trace_id)
        else:
            mine = f"answer {index} to {group.problem.id}"
            reason = next((d["reason"] for d in drops if d["detail"] == mine), "")
            use = "" if reason else _advantage(recipe, stage, group, index)
        logprobs = sampled.get(index, [])
        yield Occurrence(
            stage, number + 1, _steps(where, number), index + 1, len(group.traces), group, trace, len(logprobs),
            sum(logprobs) / len(logprobs) if logprobs else None, reason, use,
        )  # fmt: skip


def _steps(where: Path, number: int) -> tuple[int, int]:
    """The round's first and last step: until the next round, or the last one in metrics.jsonl."""
    first = int(read_json(where / f"round-{number:05d}.json")["step"])
    after = where / f"round-{number + 1:05d}.json"
    if after.exists():
        return first + 1, int(read_json(after)["step"])
    ledger = where.parent / "ledger.json"
    return first + 1, int(read_json(ledger)["steps"]) if ledger.exists() else first + 1


def _settings(recipe: Mapping[str, Any], stage: str) -> Mapping[str, Any]:
    settings = ((recipe.get("train") or {}).get(stage) or {}).get("rollouts") or {}
    return settings if isinstance(settings, Mapping) else {}


def _advantage(recipe: Mapping[str, Any], stage: str, group: Group, index: int) -> str:
    """The advantage of one answer, by the stage's function; for an objective without advantages only that it is a row."""
    import torch

    from redistill.train.action_rows import is_of_actions
    from redistill.train.advantages import ADVANTAGES
    from redistill.train.objectives import OBJECTIVES
    from redistill.train.rollouts import is_of_teacher, reads_advantages

    objective = ((recipe.get("train") or {}).get(stage) or {}).get("objective") or {}
    name = objective.get("name") if isinstance(objective, Mapping) else objective
    if name not in OBJECTIVES:
        return "a row of an objective that is not redistill's own, so its advantage cannot be recomputed"
    if not reads_advantages(OBJECTIVES[name]):
        return "a row by itself"
    default = "shaped" if name == "oreal" else "group"
    plugin = Plugin.model_validate(_settings(recipe, stage).get("advantage") or default)
    if plugin.name not in ADVANTAGES:
        return f"a row; its advantage by {plugin.name} cannot be recomputed"
    function = bind(ADVANTAGES, plugin, f"train.{stage}.rollouts.advantage")
    if is_of_teacher(function):
        return "a row; each token's advantage is the teacher's log-prob less the student's"
    if is_of_actions(function):
        return "a row; each attempt and verification has an advantage of its own, by the round's other answers"
    values = [trace.scores.get("reward") for trace in group.traces]
    rewards = torch.tensor([[0.0 if reward is None else reward for reward in values]], dtype=torch.float64)
    known = torch.tensor([[reward is not None for reward in values]])
    value = float(function(rewards, known)[0, index])
    said = f"advantage {value:+.4g} ({plugin.name}, over {int(known.sum())} answers with a reward)"
    alike = len({reward for reward in values if reward is not None}) < 2
    return f"{said}: nothing to learn from, because all of them earn the same" if alike else said


def _pairs(recipe: Mapping[str, Any], stage: str, group: Group, trace_id: str) -> str:
    """In which pairs an answer stands, as the stage's pairing makes them."""
    from redistill.select import PAIRINGS

    settings = _settings(recipe, stage).get("pairing") or {"name": "certain", "options": {"max_pairs": 1}}
    plugin = Plugin.model_validate(settings)
    if plugin.name not in PAIRINGS:
        return f"pairs by {plugin.name} cannot be recomputed"
    made = bind(PAIRINGS, plugin, f"train.{stage}.rollouts.pairing")(group)
    if isinstance(made, str):
        return f"in no pair: {made}"
    sides = [(f"chosen against {w.id}", c.id) for c, w in made] + [(f"rejected by {c.id}", w.id) for c, w in made]
    mine = list(dict.fromkeys(words for words, id in sides if id == trace_id))
    return "; ".join(mine) or "in no pair: the pairing chose others of its problem"
