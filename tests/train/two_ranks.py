"""What two ranks do in one launch, for test_ranks.py: python -m torch.distributed.run --nproc-per-node=2 ... FOLDER [kill]

Each job trains into a folder of its own. test_ranks.py runs the same jobs alone and compares.
"""

import functools
import os
import signal
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.distributed.tensor import DTensor

from redistill.config.tables import GuardSettings, StageSettings, StudentSettings
from redistill.model import loading
from redistill.model.score_heads import new_critic
from redistill.train import MODIFIERS, OBJECTIVES, StageJob, train_stage
from redistill.train import trainer as trainer_module

from .conftest import TINY, labelled_examples, some_examples, some_pairs
from .rollout_cases import SETTINGS as OWN
from .rollout_cases import job_of, stage

SETTINGS = StageSettings(
    objective="redi", learning_rate=1e-3, batch_size=4, steps=3, save_every=2, tokens_per_micro_batch=200
)
GUARD = GuardSettings(every=2, held_out_pairs=2, probe_every=2, update_norm_every=1)
LORA = {"r": 2, "target_modules": ["q_proj", "v_proj"]}
JOBS = {  # objective, changes of the settings, tied embeddings
    "ddp-sft": ("sft", {"distributed": "ddp"}, False),
    "ddp-redi": ("redi", {"distributed": "ddp"}, True),
    "ddp-kto": ("kto", {"distributed": "ddp"}, False),
    "fsdp2-sft": ("sft", {"distributed": "fsdp2"}, True),
    "fsdp2-redi": ("redi", {"distributed": "fsdp2", "guard": GUARD}, False),
    "fsdp2-redi-tied": ("redi", {"distributed": "fsdp2"}, True),
    "fsdp2-dpo": ("dpo", {"distributed": "fsdp2"}, False),
    "fsdp2-kto": ("kto", {"distributed": "fsdp2", "gradient_checkpointing": True}, True),
    "fsdp2-lora": ("redi", {"distributed": "fsdp2", "lora": LORA, "guard": GUARD}, False),
    "ddp-outcome": ("outcome", {"distributed": "ddp", "guard": GUARD}, True),
    "fsdp2-process": ("process", {"distributed": "fsdp2"}, False),
    "fsdp2-bf16": ("redi", {"distributed": "fsdp2", "mixed_precision": "bf16"}, False),
}
LONG = {"steps": 6, "distributed": "fsdp2"}


class PowerCut(BaseException):
    """Ends a stage as a kill does, without ending the test."""


def student(tied: bool, seed: int = 0, critic: bool = False):
    settings = StudentSettings(from_config={**TINY.from_config, "tie_word_embeddings": tied}, alphabet=TINY.alphabet)
    tokenizer = loading.load_tokenizer(settings)
    model = loading.load_model(settings, tokenizer, seed=seed)
    return new_critic(model) if critic else model, tokenizer


def probe(model, tokenizer):
    """A figure of every weight of the student, read off what it says."""
    with torch.no_grad():
        ids = torch.tensor([tokenizer("1+2=")["input_ids"]])
        found = float(model(input_ids=ids).logits.softmax(-1)[0, -1, 5])
        return {"probe_accuracy": found, "probe_problems": 64, "probe_unfinished": 0.0, "probe_repetition": 0.0}


def train(folder: Path, objective: str, changes: dict, tied: bool, spoilt: int = 0, **more):
    """One stage; the gradients of its first step, whole and before clipping, are left in FOLDER.gradients. In the step
    `spoilt` the last rank alone finds a gradient that is not finite."""
    real, seen, steps = Accelerator.clip_grad_norm_, [], []

    def spy(self, parameters, *rest):
        parameters = list(parameters)
        if not seen:
            seen.append(1)
            full = [
                p.grad.full_tensor() if isinstance(p.grad, DTensor) else p.grad for p in parameters if p.requires_grad
            ]
            if self.is_main_process:
                torch.save([g.clone() for g in full], Path(folder).with_suffix(".gradients"))
                slices = [
                    p.grad.to_local().numel() for p in parameters if p.requires_grad and isinstance(p.grad, DTensor)
                ]
                Path(folder).with_suffix(".slices").write_text(f"{sum(slices)} {sum(g.numel() for g in full)}")
        steps.append(1)
        spoil = len(steps) == spoilt and self.process_index == self.num_processes - 1
        return real(self, parameters, *rest) * (float("nan") if spoil else 1.0)

    settings = SETTINGS.model_copy(update=changes)
    critic = objective in ("outcome", "process")
    records = labelled_examples(40) if critic else some_pairs(40 if settings.guard else 20)
    records = some_examples(20) if objective == "sft" else records
    Accelerator.clip_grad_norm_ = spy
    try:
        job = StageJob(Path(folder), "redi", settings, OBJECTIVES[objective], "f", seed=0, card="")
        return train_stage(
            job, records=records, student=lambda: student(tied, critic=critic),
            probe=probe if settings.guard and not critic else None, **more
        )  # fmt: skip
    finally:
        Accelerator.clip_grad_norm_ = real


def train_on_own_answers(folder: Path, distributed: str) -> None:
    """One round of own answers and two steps on it, with a divergence from the start; what two ranks draw is what one draws,
    for the student has not moved yet."""
    settings = OWN.model_copy(update={"distributed": distributed})
    job = job_of(rounds=1, updates=2, n=8)
    stage(folder, OBJECTIVES["grpo"], job, settings=settings, modifiers=[functools.partial(MODIFIERS["kl"], beta=0.1)])


def train_until(folder: Path, steps: int, changes: dict) -> None:
    """The long stage, cut short in the middle of step `steps + 1` on every rank."""
    real, seen = trainer_module.backward_step, []

    def cut(*arguments, **named):
        seen.append(1)
        if len(seen) > steps:
            raise PowerCut
        return real(*arguments, **named)

    trainer_module.backward_step = cut
    try:
        train(folder, "redi", changes, False)
    except PowerCut:
        pass
    finally:
        trainer_module.backward_step = real


def die_in_step(folder: Path, steps: int) -> None:
    """Rank 1 is killed in the middle of step `steps + 1`, between two micro-batches, while rank 0 waits for it."""
    real, seen = Accelerator.backward, []

    def die(self, loss):
        seen.append(1)
        if (folder / "checkpoints" / f"step-{steps:06d}" / "done.json").exists() and self.process_index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, loss)

    Accelerator.backward = die
    train(folder, "redi", LONG, False)


def main() -> None:
    folder = Path(sys.argv[1])
    if sys.argv[2:] == ["kill"]:
        die_in_step(folder / "killed", 4)
        return
    for name, (objective, changes, tied) in JOBS.items():
        train(folder / name, objective, changes, tied)
    for how in ("ddp", "fsdp2"):
        train_on_own_answers(folder / f"own-{how}", how)
    train(folder / "spoilt", "redi", {"distributed": "ddp"}, False, spoilt=2)
    train(folder / "whole", "redi", LONG, False)
    train_until(folder / "cut-2-2", 5, LONG)
    train(folder / "cut-2-2", "redi", LONG, False)
    train_until(folder / "cut-2-1", 5, LONG)  # goes on alone, in the test
    train(folder / "cut-1-2", "redi", LONG, False)  # was begun alone
    train(folder / "killed", "redi", LONG, False)


if __name__ == "__main__":
    main()
