"""Export to TRL: GRPOTrainer with the recipe's prompts, rewards and settings. TRL takes no loss of ours, so the stage's objective
must be one of its own: `grpo` or `reinforce` in the forms that GRPOConfig knows (TRL 1.16, trainer/grpo_config.py)."""

import pprint
from typing import Any

from redistill.errors import OperatorError
from redistill.tools.export.job import ExportJob, encoded_as, facts_json, no_loss_of_ours

LOSSES = {"sequence": "grpo", "token": "dapo", "constant": "dr_grpo"}
SCALES = {"group": "group", "mean": "none"}


def trl(job: ExportJob) -> None:
    """Write prompts.parquet, reward.py, train.py and README.md."""
    rows = [
        {
            "prompt": encoded_as(job, asked, special_tokens=True),
            "answer": asked.problem.answer,
            "problem": facts_json(asked.problem),
        }
        for asked in job.train
    ]
    loss = _loss(job) if job.loss == "ours" else {}
    name = job.settings.objective.name
    said = (
        f"TRL's own (`loss_type: {loss['loss_type']}`), which lowers what `{name}` of the stage does."
        if job.loss == "ours"
        else f"TRL's default, not the stage's objective `{name}`."
    )
    job.write_table("prompts.parquet", rows)
    job.write("reward.py", job.reward_file("TRL", "trl/reward.py.txt", end=repr([int(job.tokenizer.eos_token_id)])))
    settings = pprint.pformat({**_settings(job), **loss}, sort_dicts=False, width=100)
    model = 'str(HERE / "model")' if job.model == "model" else repr(job.model)
    job.write("train.py", job.fill("trl/train.py.txt", model=model, settings=settings))
    job.write(
        "README.md",
        job.fill(
            "trl/README.md.txt",
            rows=f"{len(rows):,}",
            problems=job.problems,
            n=job.rollouts.n,
            updates=job.updates,
            loss=said,
        ),
    )


def _settings(job: ExportJob) -> dict[str, Any]:
    stage, rollouts = job.settings, job.rollouts
    if rollouts.n < 2:
        raise OperatorError(f"train.{job.stage}.rollouts.n: TRL compares the answers to a problem; ask for 2 or more.")
    micro = -(-job.problems // job.updates)
    return {
        "learning_rate": stage.learning_rate,
        "lr_scheduler_type": "linear" if job.decay == "linear" else "constant_with_warmup",
        "warmup_steps": int(stage.warmup * rollouts.rounds * job.updates),
        "adam_beta1": stage.beta1,
        "adam_beta2": stage.beta2,
        "adam_epsilon": stage.eps,
        "weight_decay": stage.weight_decay,
        "max_grad_norm": stage.max_grad_norm,
        "bf16": stage.mixed_precision != "no",
        "seed": job.recipe.seed,
        "max_steps": rollouts.rounds * job.updates,
        "per_device_train_batch_size": rollouts.n,
        "gradient_accumulation_steps": micro,
        "steps_per_generation": micro * job.updates,
        "num_generations": rollouts.n,
        "max_completion_length": job.max_new_tokens,
        "temperature": rollouts.temperature,
        "top_p": rollouts.top_p,
        "logging_steps": 1,
    }


def _loss(job: ExportJob) -> dict[str, Any]:
    """The arguments with which GRPOTrainer lowers the stage's objective. OperatorError where there are none."""
    name = job.settings.objective.name
    if name not in ("grpo", "reinforce"):
        raise no_loss_of_ours(job, "trl", f"takes no custom loss, and {name} is not one of its own")
    per, length, advantage = job.option("per"), job.option("length"), job.advantage
    if advantage.name not in SCALES or advantage.options not in (
        {},
        {"eps": 1e-4},
        {"ddof": 1},
        {"eps": 1e-4, "ddof": 1},
    ):
        raise no_loss_of_ours(job, "trl", f"has no advantage {advantage.name} with these options in its GRPOTrainer")
    if per == "constant" and length != job.max_new_tokens:
        raise no_loss_of_ours(
            job, "trl", f"divides by max_new_tokens ({job.max_new_tokens}) where the objective's length is {length}"
        )
    settings: dict[str, Any] = {"loss_type": LOSSES[per], "scale_rewards": SCALES[advantage.name], "beta": _beta(job)}
    if name == "reinforce":
        if job.updates > 1:
            raise no_loss_of_ours(job, "trl", "clips ratios in rounds of several updates, where reinforce has none")
        return settings
    settings |= {"epsilon": job.option("clip_low"), "epsilon_high": job.option("clip_high")}
    settings["importance_sampling_level"] = job.option("ratio")
    if job.option("surrogate") == "cispo":  # there a ratio has an upper bound alone, which is epsilon_high itself
        if per != "token" or job.option("clip_low") != 1:
            raise no_loss_of_ours(job, "trl", "takes cispo by token and without a lower clip (per: token, clip_low: 1)")
        settings |= {"loss_type": "cispo", "epsilon_high": 1 + job.option("clip_high")}
    return settings


def _beta(job: ExportJob) -> float:
    beta = 0.0
    for modifier in job.settings.modifiers:
        if modifier.name != "kl" or modifier.options.get("estimator", "k3") != "k3":
            raise no_loss_of_ours(job, "trl", f"has no modifier {modifier.name} as the stage has it")
        beta = float(modifier.options.get("beta", 0.01))
    return beta
