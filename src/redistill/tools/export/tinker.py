"""Export to tinker: a script that draws rounds and lowers our objective by `forward_backward_custom`, which hands a loss the
log-probs of all of a step's answers at once. Looked up in tinker-cookbook: its RL loop and its DPO trainer."""

import pprint
from pathlib import Path
from typing import Any

from redistill.errors import OperatorError
from redistill.tools.export.job import ExportJob, encoded_as, facts_json, no_loss_of_ours
from redistill.train.external_loss import kind_of
from redistill.train.objectives import needs_mismatched


def tinker(job: ExportJob) -> None:
    """Write prompts.parquet, reward.py, loss.py, train.py and README.md."""
    if job.loss == "engine":
        raise OperatorError("export: the script for tinker lowers the stage's objective; leave out --loss engine.")
    stage, objective = job.settings, job.settings.objective
    if needs_mismatched(job.objective):
        raise no_loss_of_ours(job, "tinker", f"would need completions under other rows' prompts for {objective.name}")
    if stage.modifiers:
        raise no_loss_of_ours(job, "tinker", f"has no modifier {stage.modifiers[0].name}")
    if stage.reference not in (None, stage.start):
        raise no_loss_of_ours(
            job, "tinker", f"has no reference but the model that the stage starts from, not {stage.reference}"
        )
    rows = [
        {"prompt": encoded_as(job, asked, special_tokens=False), "problem": facts_json(asked.problem)}
        for asked in job.train
    ]
    job.write_table("prompts.parquet", rows)
    job.write("reward.py", job.reward_file("tinker", "tinker/reward.py.txt"))
    job.write("loss.py", job.fill("tinker/loss.py.txt", name=repr(objective.name), options=repr(objective.options)))
    hosted = None if job.model == "model" or Path(job.model).is_absolute() else job.model
    settings = pprint.pformat(_settings(job, hosted), sort_dicts=False, width=110)
    job.write("train.py", job.fill("tinker/train.py.txt", settings=settings))
    pairing = (
        f"- Pairs: right answers (above their problem's mean reward) with wrong ones in turn, {_max_pairs(job)} a problem at most.\n"
        if kind_of(job.objective) == "pairs"
        else ""
    )
    start = (
        f"The stage starts from {hosted}."
        if hosted
        else f"The stage starts from a folder of this machine ({stage.start}), which tinker cannot load: train a model of tinker's to "
        "that point there first, or start from its base."
    )
    job.write(
        "README.md",
        job.fill(
            "tinker/README.md.txt",
            rows=f"{len(rows):,}",
            model=hosted or "NAME",
            loss=f"`{objective.name}` of the stage, by `loss.py`.",
            pairing=pairing,
            start=start,
        ),
    )


def _max_pairs(job: ExportJob) -> int:
    return int(job.rollouts.pairing.options.get("max_pairs", 1))


def _settings(job: ExportJob, model: str | None) -> dict[str, Any]:
    stage, rollouts = job.settings, job.rollouts
    return {
        "model": model,
        "seed": job.recipe.seed,
        "problems": job.problems,
        "n": rollouts.n,
        "rounds": rollouts.rounds,
        "updates": job.updates,
        "temperature": rollouts.temperature,
        "top_p": rollouts.top_p,
        "max_new_tokens": job.max_new_tokens,
        "advantage": job.advantage.name,
        "advantage_options": job.advantage.options,
        "max_pairs": _max_pairs(job),
        "learning_rate": stage.learning_rate,
        "warmup": stage.warmup,
        "decay": job.decay,
        "adam": {
            "beta1": stage.beta1,
            "beta2": stage.beta2,
            "eps": stage.eps,
            "weight_decay": stage.weight_decay,
            "grad_clip_norm": stage.max_grad_norm,
        },
    }
