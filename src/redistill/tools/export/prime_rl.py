"""Export to prime-rl (0.8): a taskset of verifiers v1 with the recipe's prompts and rewards, our objective as its custom loss.

Looked up in prime-rl: trainer/rl/loss.py (`LossInputs`, `compute_loss`), orchestrator/algo/grpo.py (its advantage) and base.py
(failed traces), configs/basic; in verifiers: environments/reverse_text, verifiers/v1.
"""

import json

from redistill.errors import OperatorError
from redistill.tools.export.job import (
    ExportJob,
    check_answer_by_answer,
    encoded_as,
    facts_json,
    loss_notes,
    no_loss_of_ours,
)
from redistill.train.external_loss import kind_of

PACKAGE = "redistill_taskset"


def prime_rl(job: ExportJob) -> None:
    """Write the package redistill_taskset, rl.toml, pyproject.toml and README.md."""
    stage, rollouts, ours = job.settings, job.rollouts, job.loss == "ours"
    if job.model == "model" or rollouts.top_p != 1:
        what = "samples with top_p 1 alone" if rollouts.top_p != 1 else "needs the student's folder at a fixed place"
        where = "rollouts.top_p" if rollouts.top_p != 1 else "start"
        raise OperatorError(f"train.{job.stage}.{where}: prime-rl {what}; change it, or use another engine.")
    if ours:
        _check(job)
        objective = stage.objective
        job.write(
            f"{PACKAGE}/loss.py",
            job.fill("prime_rl/loss.py.txt", name=repr(objective.name), options=repr(objective.options)),
        )
    rows = [
        {"prompt": encoded_as(job, asked, special_tokens=False), "problem": facts_json(asked.problem)}
        for asked in job.train
    ]
    job.write(f"{PACKAGE}/__init__.py", job.fill("prime_rl/taskset.py.txt"))
    job.write(f"{PACKAGE}/reward.py", job.reward_file("prime-rl", None))
    job.write_table(f"{PACKAGE}/prompts.parquet", rows)
    for name in ("recipe.yaml", *job.code):
        (job.folder / name).replace(job.folder / PACKAGE / name)
    job.write("pyproject.toml", job.fill("prime_rl/pyproject.toml.txt"))
    loss = '\n[trainer.loss]\ntype = "custom"\nimport_path = "redistill_taskset.loss.policy_loss"\n\n'
    loss += "[trainer.loss.kwargs]\nscale = 1.0\n"
    job.write(
        "rl.toml",
        job.fill(
            "prime_rl/rl.toml.txt",
            steps=rollouts.rounds * job.updates,
            seq_len=job.longest_prompt + job.max_new_tokens,
            model=json.dumps(job.model),
            batch_size=max(rollouts.n, job.problems * rollouts.n // job.updates),
            group_size=rollouts.n,
            temperature=float(rollouts.temperature),
            max_new_tokens=job.max_new_tokens,
            learning_rate=repr(float(stage.learning_rate)),
            weight_decay=repr(float(stage.weight_decay)),
            max_grad_norm=repr(float(stage.max_grad_norm)),
            loss=loss if ours else "",
        ),
    )
    name = stage.objective.name
    notes = loss_notes(job, ", which an answer's advantage weighs")
    job.write(
        "README.md",
        job.fill(
            "prime_rl/README.md.txt",
            rows=f"{len(rows):,}",
            loss_file=", and `loss.py`, the stage's objective" if ours else "",
            loss=f"`{name}` of the stage, by `loss.py`.{notes}"
            if ours
            else f"prime-rl's own, not the stage's objective `{name}`.",
        ),
    )


def _check(job: ExportJob) -> None:
    name, kind = job.settings.objective.name, kind_of(job.objective)
    check_answer_by_answer(job, "prime-rl")
    if kind == "examples":
        raise no_loss_of_ours(
            job, "prime-rl", f"gives no advantage to a right answer among right ones, from which {name} learns"
        )
    if kind == "advantages" and job.advantage.name != "mean":
        raise no_loss_of_ours(job, "prime-rl", f"has the advantage `mean` where the stage has `{job.advantage.name}`")
    if job.settings.modifiers:
        raise no_loss_of_ours(job, "prime-rl", f"has no modifier {job.settings.modifiers[0].name}")
