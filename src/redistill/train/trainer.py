"""A student in training: one step after another on the rows of a supply, its state saved, loaded and sampled from.

    trainer = Trainer(accelerator, policy, optimizer, tokenizer, objective, settings, FileSupply(...))
    while trainer.steps_done < trainer.total:
        result = trainer.step(peak_rate=1e-6)
    trainer.save(folder / "checkpoints")

What a stage does around it (its folder, the guard, the ledger) is in stage.py.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from accelerate import Accelerator
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from redistill.config.tables import StageSettings
from redistill.train import checkpoints
from redistill.train.diagnostics import pair_diagnostics
from redistill.train.joint_critic import CriticStep, JointCritic
from redistill.train.live import Drawing
from redistill.train.modifiers import Modifier
from redistill.train.objectives import Objective, needs_pairs
from redistill.train.optimizers import set_rate
from redistill.train.probe import sample_without_side_effects
from redistill.train.ranks import ranks_of, whole_student
from redistill.train.step import StepFigures, all_finite, backward_step, pair_figures
from redistill.train.supply import StepRows, Supply

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StepResult:
    """One optimizer step: its rows, what was measured, and whether it was taken."""

    step: int  # counted from 1
    taken: StepRows
    figures: StepFigures | None  # None for a step without rows, and for one that left the student unchanged
    grad_norm: float  # before clipping
    learning_rate: float
    seconds: float
    finite: bool  # False: loss or gradient was not finite, so the weights were left alone
    critic: Mapping[str, Any] = field(default_factory=dict)  # what a critic that learns beside the student measured

    def metrics(self, objective: Objective) -> dict[str, Any]:
        """The step's line of metrics.jsonl."""
        figures = self.figures
        if figures is None:
            rows = len(self.taken.numbers)
            nothing = {
                "loss": None,
                "num_rows": rows,
                "learning_rate": self.learning_rate,
                "skipped": not self.finite,
                "tokens": 0,
            }
            return {
                "step": self.step,
                **nothing,
                **self.critic,
                **self.taken.figures,
                "seconds": round(self.seconds, 4),
            }
        return {
            "step": self.step,
            "loss": figures.loss,
            **pair_figures(objective, figures),
            **(pair_diagnostics(figures) if needs_pairs(objective) else {}),
            **figures.measures,
            "grad_norm": self.grad_norm,
            "learning_rate": self.learning_rate,
            "lr_x_grad_norm": self.learning_rate * self.grad_norm,
            "skipped": not self.finite,
            "num_rows": len(self.taken.numbers),
            **({"rows_without_signal": figures.without_signal} if figures.without_signal else {}),
            "tokens": figures.packed_tokens,
            "tokens_per_second": round(figures.packed_tokens / self.seconds, 1),
            **self.critic,
            **self.taken.figures,
            "seconds": round(self.seconds, 4),
        }


@dataclass(slots=True)
class Trainer:
    """A student, its optimizer and the supply of its rows. Every rank has one and calls the same methods in one order."""

    accelerator: Accelerator
    policy: nn.Module  # a PackedPolicy, as accelerate has prepared it
    optimizer: Any
    tokenizer: PreTrainedTokenizerFast
    objective: Objective
    settings: StageSettings
    supply: Supply
    modifiers: Sequence[Modifier] = ()
    skeleton: PreTrainedModel | None = (
        None  # where weights are sharded, on the main process: a model to gather them into
    )
    critic: JointCritic | None = None  # learns beside the student
    steps_done: int = 0
    watch: Callable[[Drawing], object] = lambda drawing: None  # called while answers of the student are sampled

    def step(self, peak_rate: float) -> StepResult:
        """Take the next step, at the learning rate that belongs to it when the schedule's peak is `peak_rate`."""
        started = time.perf_counter()
        taken = self.supply.at(self.steps_done, self)
        place, total = taken.schedule or (self.steps_done, self.total)
        rate = learning_rate(self.settings.model_copy(update={"learning_rate": peak_rate}), place, total)
        if not taken.numbers:
            self.steps_done += 1
            return StepResult(self.steps_done, taken, None, 0.0, rate, time.perf_counter() - started, True)
        learned: CriticStep | None = None
        if self.critic is not None:
            shrunk = peak_rate / self.settings.learning_rate  # by the guard's rollbacks
            its_rate = learning_rate(self.critic.settings, place, total) * shrunk
            taken, learned = self.critic.step(taken, self, its_rate)
        critic_figures = {} if learned is None else learned.figures
        if taken.is_warming or (learned is not None and not learned.finite):
            self.steps_done += 1
            finite = learned is None or learned.finite
            return StepResult(
                self.steps_done, taken, None, 0.0, rate, time.perf_counter() - started, finite, critic_figures
            )
        set_rate(self.optimizer, rate)
        ranks = ranks_of(self.accelerator, self.policy)
        figures = backward_step(
            self.policy,
            self.objective,
            taken.rows,
            taken.numbers,
            tokens_per_micro_batch=self.settings.tokens_per_micro_batch,
            modifiers=self.modifiers,
            reference=taken.reference,
            behaviour=taken.behaviour,
            others=taken.others,
            device=self.accelerator.device,
            ranks=ranks,
        )
        norm = float(self.accelerator.clip_grad_norm_(self.policy.parameters(), self.settings.max_grad_norm))
        finite = all_finite(ranks, self.accelerator.device, norm, figures.loss)
        if finite:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps_done += 1
        return StepResult(
            self.steps_done, taken, figures, norm, rate, time.perf_counter() - started, finite, critic_figures
        )

    def save(
        self,
        folder: Path,
        *,
        facts: Mapping[str, Any] | None = None,
        spare: Callable[[Sequence[checkpoints.Done]], set[int]] = lambda finished: set(),
    ) -> None:
        """Save weights, optimizer and random state as the checkpoint of `steps_done` in `folder`."""
        checkpoints.save(
            self.accelerator, self.policy, self.optimizer, folder, self.steps_done, facts=dict(facts or {}), spare=spare,
            critic=self.critic.learner if self.critic is not None else None,
        )  # fmt: skip

    def load(self, folder: Path, step: int) -> None:
        """Go on from the checkpoint of `step` in `folder`, bit by bit as it was saved."""
        critic = self.critic.learner if self.critic is not None else None
        checkpoints.load(self.accelerator, self.policy, self.optimizer, checkpoints.at(folder, step), critic=critic)
        self.steps_done = step

    @property
    def total(self) -> int:
        """Optimizer steps of the stage, as far as its supply knows by now."""
        return self.supply.total

    def sample(self, look: Callable[[PreTrainedModel, PreTrainedTokenizerFast], T]) -> T | None:
        """What `look` finds on the student as it is now, on the main process; None on the others. Neither the trained
        weights nor any random state is touched."""
        student: Any = self.student()
        if student is None:
            return None
        measured = sample_without_side_effects(
            student.to(self.accelerator.device),
            self.tokenizer,
            look,
            device=self.accelerator.device,
            autocast=self.settings.mixed_precision == "bf16",
        )
        if self.skeleton is not None:
            student.to("cpu")
        return measured

    def student(self) -> PreTrainedModel | None:
        """The student with all its weights, on the main process; None on the others. Every rank must call it."""
        return whole_student(self.accelerator, self.policy, self.skeleton)


def learning_rate(settings: StageSettings, step: int, total: int) -> float:
    """The rate of step 0..total-1: linear warm-up over `warmup` of the steps, then linear or cosine decay towards `final_rate` of
    the peak (or constant).

    The first step already moves (transformers starts at exactly 0, which wastes it).
    """
    warm = int(settings.warmup * total)
    if step < warm:
        return settings.learning_rate * (step + 1) / (warm + 1)
    if settings.decay == "constant":
        return settings.learning_rate
    if settings.decay == "linear" and not settings.final_rate:
        return settings.learning_rate * (total - step) / max(1, total - warm)
    left = (total - step) / max(1, total - warm)
    shape = left if settings.decay == "linear" else (1 - math.cos(math.pi * left)) / 2
    return settings.learning_rate * (settings.final_rate + (1 - settings.final_rate) * shape)
