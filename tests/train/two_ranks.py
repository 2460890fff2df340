"""What two ranks do, for test_ranks.py, which runs the same jobs alone and compares. Each job trains into a folder of its own. The ranks
are forks of one process that has imported everything; two that torchrun starts are in test_guard_state.py.
"""

import functools
import os
import signal
import socket
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.distributed.tensor import DTensor

from redistill.config.tables import GuardSettings, StageSettings, StudentSettings
from redistill.model import loading
from redistill.model.score_heads import new_critic
from redistill.train import MODIFIERS, OBJECTIVES
from redistill.train import trainer as trainer_module
from redistill.train.stage import StageJob, train_stage

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
# in `make test`; the others take the same ways with another objective, and are in `make recipes`
SHORT = ["ddp-redi", "ddp-kto", "fsdp2-redi", "fsdp2-kto", "fsdp2-lora", "ddp-outcome", "fsdp2-bf16", "own-fsdp2"]
OTHERS = [name for name in (*JOBS, "own-ddp") if name not in SHORT]
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


def killed(folder: Path) -> None:
    """A launch of which one rank is killed."""
    die_in_step(folder / "killed", 4)


def some_jobs(names: Sequence[str], folder: Path) -> None:
    """The jobs of these names, own-ddp and own-fsdp2 among them."""
    for name in names:
        if name.startswith("own-"):
            train_on_own_answers(folder / name, name.removeprefix("own-"))
        else:
            train(folder / name, *JOBS[name])


def main_jobs(folder: Path) -> None:
    """What each `make test` compares."""
    some_jobs(SHORT, folder)
    train(folder / "spoilt", "redi", {"distributed": "ddp"}, False, spoilt=2)
    train(folder / "whole", "redi", LONG, False)
    train_until(folder / "cut-2-2", 5, LONG)
    train(folder / "cut-2-2", "redi", LONG, False)
    train_until(folder / "cut-2-1", 5, LONG)  # goes on alone, in the test
    train(folder / "cut-1-2", "redi", LONG, False)  # was begun alone
    train(folder / "killed", "redi", LONG, False)


def launch(work: Callable[[Path], None], folder: Path) -> list[int]:
    """Two ranks at the work, each a fork with what torchrun would tell it; their exit codes. Where one ends badly the other is
    ended, as torchrun does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ranks: dict[int, int] = {}
    for rank in range(2):
        if (child := os.fork()) == 0:
            told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **{k: str(v) for k, v in told.items()}}
            try:
                work(folder)
            except BaseException:  # noqa: BLE001 - a fork never returns
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        ranks[child] = rank
    codes = [0, 0]
    while ranks:
        child, status = os.wait()
        codes[ranks.pop(child)] = os.waitstatus_to_exitcode(status)
        if status:
            for other in ranks:
                os.kill(other, signal.SIGTERM)
    return codes


def main(place: str, *names: str) -> None:
    """The jobs of these names in two ranks; without a name those of `make test`, and before them the launch that is killed."""
    folder = Path(place)
    if not names:
        codes = launch(killed, folder)
        assert codes[1] == -signal.SIGKILL and codes[0] != 0, codes
    assert launch(functools.partial(some_jobs, names) if names else main_jobs, folder) == [0, 0]
