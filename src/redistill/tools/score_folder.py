"""Scorers without a recipe: of a file of traces (`redistill score`), of the answers of an evaluation (`redistill evaluate`).

    score_folder(Asked(work, replies, prompt, student, seed=0), groups, ScorerSettings(name="perplexity"), "--with perplexity")
    ->  work/scorers/perplexity/marks/part-00000.parquet

A command that is stopped goes on at the shard where it was; other options make the scorer's shards anew.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from redistill.config.tables import PromptText, ScorerSettings, StudentSettings
from redistill.errors import OperatorError
from redistill.io.progress import bar
from redistill.io.shards import parts_to_do
from redistill.io.stage_folder import StageFolder
from redistill.model import loading
from redistill.pipeline.keys import new_key, values
from redistill.pipeline.scoring import bind_scorer, needs_of, option_settings
from redistill.pipeline.student_identity import student_identity
from redistill.rollout import Student
from redistill.score import BoundScorer, score_part


@dataclass(frozen=True, slots=True)
class Asked:
    """What scorers may use, and where they work. replies: the file of what was paid for; student: of scorers that ask for one."""

    work: Path
    replies: Path
    prompt: PromptText
    student: StudentSettings | None
    seed: int


def score_folder(asked: Asked, before: StageFolder, settings: ScorerSettings, where: str) -> StageFolder:
    """What one scorer finds of the groups in `before`, shard by shard, in `scorers/NAME` of `asked.work`. where: whose slip a sentence
    speaks of."""
    function = bind_scorer(settings, where)
    name, needs = settings.folder, needs_of(function)
    makers: dict[str, Any] = {
        "_into": lambda: name,
        "_seed": lambda: asked.seed,
        "_student": lambda: _student(asked),
        "_prompt": lambda: asked.prompt,
        "_config": lambda: None,
        "_all_groups": lambda: partial(before.read, "groups"),
        "_cache": lambda: asked.replies,
        "_held": dict,
    }
    if unknown := [need for need in needs if need not in makers]:
        raise OperatorError(f"{where}: this scorer needs a recipe ({', '.join(unknown)}); write it in `score` of one.")
    used: dict[str, Any] = {"prompt": asked.prompt.model_dump()} if "_prompt" in needs else {}
    used |= {"seed": asked.seed} if {"_seed", "_student"} & {*needs} else {}
    used |= student_identity(asked.student) if "_student" in needs and asked.student is not None else {}
    key = new_key(
        values(**option_settings(settings), **used), {"input": (before.fingerprint,) * 2}, (function, score_part)
    )
    folder = StageFolder(asked.work / "scorers" / name, key.fingerprint)
    if folder.is_finished():
        return folder
    folder.open()
    scorer = BoundScorer(name, partial(function, **{need: makers[need]() for need in needs}))
    parts = parts_to_do(before, folder)
    total = before.ledger()["num_shards"]
    with bar(label=f"score {name}", unit="shard", total=total, initial=total - len(parts)) as progress:
        for part in parts:
            score_part(folder, scorer, part)
            progress.update(1)
    folder.finish(total)
    return folder


def _student(asked: Asked) -> Student | None:
    settings = asked.student
    if settings is None:
        return None

    def load() -> Any:
        tokenizer = loading.load_tokenizer(settings)
        return loading.load_model(settings, tokenizer, seed=asked.seed), tokenizer

    return Student(load, settings.model or "", owned=True)
