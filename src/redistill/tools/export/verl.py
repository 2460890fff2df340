"""Export to verl (0.9): Parquet in its columns, a reward manager, our objective and advantages in its registries, run.sh.

Looked up in verl 0.9.0: utils/dataset/rl_dataset.py (columns), experimental/reward_loop (reward managers),
trainer/ppo/core_algos.py (registries), workers/utils/losses.py (what a policy loss is given), `VERL_USE_EXTERNAL_MODULES` in
verl/__init__.py.
"""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from redistill.errors import OperatorError
from redistill.tools.export.job import (
    Asked,
    ExportJob,
    check_answer_by_answer,
    encoded_as,
    facts_json,
    loss_notes,
    no_loss_of_ours,
)
from redistill.train.external_loss import divides_by

PASS_THROUGH = "{% for message in messages %}{{ message.content }}{% endfor %}"
KL = {"k1": "kl", "k2": "mse", "k3": "low_var_kl"}  # our estimators by verl's names


def verl(job: ExportJob) -> None:
    """Write train.parquet, dev.parquet, reward.py, loss.py, run.sh and README.md."""
    ours = job.loss == "ours"
    if ours:
        _check(job)
        objective, advantage = job.settings.objective, job.advantage
        job.write(
            "loss.py",
            job.fill(
                "verl/loss.py.txt",
                name=repr(objective.name),
                options=repr(objective.options),
                advantage=repr(advantage.name),
                advantage_options=repr(advantage.options),
            ),
        )
    job.write_table("train.parquet", [_row(job, asked, place) for place, asked in enumerate(job.train)])
    # verl wants a file of validation prompts; where nothing is held out it is one of the training prompts
    job.write_table("dev.parquet", [_row(job, asked, place) for place, asked in enumerate(job.dev or job.train[:1])])
    extra = "\nfrom verl.experimental.reward_loop.reward_manager.base import RewardManagerBase\n"
    job.write("reward.py", job.reward_file("verl", "verl/reward.py.txt", extra_imports=extra))
    settings = "".join(f"    {_quoted(key, value)} \\\n" for key, value in _settings(job, ours).items())
    modules = "export VERL_USE_EXTERNAL_MODULES=loss\n" if ours else ""
    job.write("run.sh", job.fill("verl/run.sh.txt", settings=settings, modules=modules))
    (job.folder / "run.sh").chmod(0o755)
    name = job.settings.objective.name
    notes = loss_notes(job, "; right is what earned more than its problem's mean")
    job.write(
        "README.md",
        job.fill(
            "verl/README.md.txt",
            rows=f"{len(job.train):,}",
            dev_rows=f"{len(job.dev or job.train[:1]):,}",
            problems=job.problems,
            n=job.rollouts.n,
            updates=job.updates,
            loss_file=", `loss.py` (the stage's objective and advantages)" if ours else "",
            loss=f"`{name}` of the stage, by `loss.py`.{notes}"
            if ours
            else f"verl's own, not the stage's objective `{name}`.",
            undecided="`loss.py` leaves it out of its group and gives it advantage 0."
            if ours
            else "verl's own advantages spread it over the group: write `undecided: zero` in the recipe first.",
        ),
    )


def _check(job: ExportJob) -> None:
    check_answer_by_answer(job, "verl")
    for modifier in job.settings.modifiers:
        if modifier.name != "kl":
            raise no_loss_of_ours(job, "verl", f"has no modifier {modifier.name}")


def _row(job: ExportJob, asked: Asked, place: int) -> dict[str, Any]:
    problem = asked.problem
    return {
        "data_source": problem.source or "redistill",
        "prompt": [{"role": "user", "content": encoded_as(job, asked, special_tokens=False)}],
        "ability": "redistill",
        "reward_model": {"style": "rule", "ground_truth": problem.answer or ""},
        "extra_info": {"index": place, "problem": facts_json(problem)},
    }


def _settings(job: ExportJob, ours: bool) -> Mapping[str, Any]:
    stage, rollouts = job.settings, job.rollouts
    mini = job.problems // job.updates
    if mini == 0:
        raise OperatorError(
            f"train.{job.stage}.rollouts: {job.updates} updates on {job.problems} problems a round: verl parts a round by "
            "problems; take fewer updates or more problems."
        )
    longest = job.longest_prompt + job.max_new_tokens
    actor = "actor_rollout_ref.actor"
    settings: dict[str, Any] = {
        "algorithm.adv_estimator": "redistill" if ours else "grpo",
        "algorithm.use_kl_in_reward": False,
        "data.train_files": Here("train.parquet"),
        "data.val_files": Here("dev.parquet"),
        "data.train_batch_size": job.problems,
        "data.max_prompt_length": job.longest_prompt,
        "data.max_response_length": job.max_new_tokens,
        "data.filter_overlong_prompts": False,
        "actor_rollout_ref.model.path": Here("model") if job.model == "model" else job.model,
        "actor_rollout_ref.model.custom_chat_template": PASS_THROUGH,
        f"{actor}.optim.lr": stage.learning_rate,
        f"{actor}.optim.weight_decay": stage.weight_decay,
        f"{actor}.optim.betas": [stage.beta1, stage.beta2],
        f"{actor}.optim.clip_grad": stage.max_grad_norm,
        f"{actor}.optim.lr_warmup_steps": int(stage.warmup * rollouts.rounds * job.updates),
        f"{actor}.ppo_mini_batch_size": mini,
        f"{actor}.use_dynamic_bsz": True,
        f"{actor}.ppo_max_token_len_per_gpu": max(stage.tokens_per_micro_batch, longest),
        f"{actor}.entropy_coeff": 0,
    }
    if ours:
        settings[f"{actor}.policy_loss.loss_mode"] = "redistill"
        settings[f"{actor}.loss_agg_mode"] = (
            "seq-mean-token-mean" if divides_by(job.objective)[0] == "rows" else "token-mean"
        )
    for modifier in stage.modifiers if ours else ():
        settings |= {
            f"{actor}.use_kl_loss": True,
            f"{actor}.kl_loss_coef": modifier.options.get("beta", 0.01),
            f"{actor}.kl_loss_type": KL[modifier.options.get("estimator", "k3")],
            "actor_rollout_ref.ref.log_prob_use_dynamic_bsz": True,
            "actor_rollout_ref.ref.log_prob_max_token_len_per_gpu": max(stage.tokens_per_micro_batch, longest),
        }
    return settings | {
        "actor_rollout_ref.rollout.name": "vllm",
        "actor_rollout_ref.rollout.n": rollouts.n,
        "actor_rollout_ref.rollout.temperature": rollouts.temperature,
        "actor_rollout_ref.rollout.top_p": rollouts.top_p,
        "actor_rollout_ref.rollout.log_prob_use_dynamic_bsz": True,
        "actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu": max(stage.tokens_per_micro_batch, longest),
        "reward.reward_manager.source": "importlib",
        "reward.reward_manager.name": "RedistillRewards",
        "reward.reward_manager.module.path": Here("reward.py"),
        "trainer.total_training_steps": rollouts.rounds,
        "trainer.total_epochs": rollouts.rounds,
        "trainer.n_gpus_per_node": 1,
        "trainer.nnodes": 1,
        "trainer.logger": ["console"],
        "trainer.project_name": "redistill",
        "trainer.experiment_name": f"{job.recipe.name}-{job.stage}",
    }


class Here(str):
    """A file of the export, which run.sh names by its own folder."""


def _quoted(key: str, value: Any) -> str:
    """One setting as a word of a shell command, in Hydra's grammar: text in its quotes, lists in brackets."""
    if isinstance(value, Here):
        return f"{key}=\"'$HERE/{value}'\""
    if isinstance(value, str) and value.isidentifier():
        return f"{key}={value}"
    said = (
        json.dumps(value) if not isinstance(value, str) else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    )
    return shlex.quote(f"{key}={said}")
