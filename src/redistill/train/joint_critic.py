"""A critic that learns beside the student: from the labels of the very rows that the student is trained on, a step ahead of it.

    critic = open_critic(accelerator, "oreal", settings, tokenizer, load, seed=0)
    taken, learned = critic.step(taken, trainer, rate)      rows with the critic's scores of before its step, and its figures

In each step the critic scores the rows, learns from their labels, and then the student learns from the rows weighed by those
scores (Lyu et al. 2025, arXiv 2502.06781, Algorithm 1). It has an optimizer of its own and lies in the stage's checkpoints,
so a stage that is killed goes on with both.

Two kinds: a score head (`outcome`), or a language model whose scores are beta times its log-ratio to its own start (`implicit`).
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from redistill.config.binding import bind
from redistill.config.tables import StageSettings
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.model.logps import PackedPolicy, prepare_for_packing
from redistill.model.score_heads import OBJECTIVE, PackedScores, check_same_tokens, prepare_scores
from redistill.train.adapters import adapted_model
from redistill.train.coefficients import token_weights
from redistill.train.modifiers import Modifier, reads_critic
from redistill.train.objectives import CRITIC_OBJECTIVES, Objective, needs_scores, needs_values
from redistill.train.objectives.implicit import log_ratio_scale
from redistill.train.optimizers import make_optimizer, set_rate
from redistill.train.ranks import prepare, prepare_reference, ranks_of
from redistill.train.rows import Rows, with_value
from redistill.train.step import Reference, all_finite, backward_step, find_token_logps, token_batch
from redistill.train.supply import StepRows
from redistill.train.teachers import Compared

if TYPE_CHECKING:
    from redistill.train.trainer import Trainer


@dataclass(frozen=True, slots=True)
class CriticStep:
    """What a critic's step measured, by the names of metrics.jsonl, and whether it was taken."""

    figures: dict[str, Any]
    finite: bool  # False: a score, its loss or its gradient was not finite, so neither it nor the student moved


@dataclass(slots=True)
class JointCritic:
    """A critic in training, its optimizer, and the model that an implicit one is compared with. Every rank has one."""

    policy: nn.Module  # a PackedScores or, of an implicit critic, a PackedPolicy, as accelerate has prepared it
    optimizer: Any
    objective: Objective
    settings: StageSettings  # the stage's, with the critic's own learning rate
    attention: str  # the model's own, which the saved critic gets back
    reference: Compared | None = None  # of an implicit critic: its start

    @property
    def learner(self) -> tuple[nn.Module, Any]:
        """What a checkpoint holds of it."""
        return self.policy, self.optimizer

    @property
    def bytes_to_come(self) -> int:
        """What its gradients and moments will take beside its weights, which are in memory by now."""
        return 12 * sum(p.numel() for p in self.policy.parameters() if p.requires_grad)

    def save(self, accelerator: Accelerator, folder: Path, tokenizer: PreTrainedTokenizerFast, stage: str) -> None:
        """Write it as an ordinary Hugging Face folder: a token classifier or, of an implicit critic, a language model."""
        model: Any = accelerator.unwrap_model(self.policy).model
        if not accelerator.is_main_process:
            return
        if self.settings.lora is not None:
            model = model.merge_and_unload()
        model.set_attn_implementation(self.attention)
        if isinstance(accelerator.unwrap_model(self.policy), PackedScores):
            setattr(model.config, OBJECTIVE, "outcome")
        dtype = torch.bfloat16 if self.settings.save_dtype == "bfloat16" else torch.float32
        loading.save_model(model, tokenizer, folder, card=_CARD.format(stage=stage), dtype=dtype)

    def step(self, taken: StepRows, trainer: "Trainer", rate: float) -> tuple[StepRows, CriticStep]:
        """The rows with the token value "critic_score", found before the critic learns from them, and the critic's step at
        learning rate `rate`; it takes none where no row has a label."""
        scores, reference = self._scores(taken.rows, taken.numbers, trainer)
        rows = with_value(taken.rows, "critic_score", scores)
        figures_now: dict[str, Any] = {
            **credit_figures(rows, taken.numbers, trainer.modifiers),
            **label_figures(rows, taken.numbers),
        }
        targets = rows.values["target"][_places(rows, taken.numbers)]
        if np.isnan(targets).all():  # answers to each problem all earned the same
            return dataclasses.replace(taken, rows=rows), CriticStep({**figures_now, "critic_loss": None}, True)
        accelerator = trainer.accelerator
        ranks = ranks_of(accelerator, self.policy)
        set_rate(self.optimizer, rate)
        figures = backward_step(
            self.policy,
            self.objective,
            taken.rows,
            taken.numbers,
            tokens_per_micro_batch=self.settings.tokens_per_micro_batch,
            reference=reference,
            device=accelerator.device,
            ranks=ranks,
        )
        norm = float(accelerator.clip_grad_norm_(self.policy.parameters(), self.settings.max_grad_norm))
        its_own = scores[_places(rows, taken.numbers)]
        finite = all_finite(ranks, accelerator.device, norm, figures.loss, float(np.abs(its_own).max()))
        if finite:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        figures_now |= {"critic_loss": figures.loss, "critic_grad_norm": norm, "critic_learning_rate": rate}
        if not finite:
            figures_now["critic_skipped"] = True
        return dataclasses.replace(taken, rows=rows), CriticStep(figures_now, finite)

    def scores(self, rows: Rows, numbers: Sequence[int], trainer: "Trainer") -> np.ndarray:
        """(completion tokens of all rows,): its scores of the rows `numbers`, 0 on the others. Every rank calls it."""
        return self._scores(rows, numbers, trainer)[0]

    def _scores(self, rows: Rows, numbers: Sequence[int], trainer: "Trainer") -> tuple[np.ndarray, Reference | None]:
        """(completion tokens of all rows,): scores of the rows `numbers`, 0 on the others; and what an implicit critic is
        compared with, on the same places."""
        sequences = [rows.sequence(number) for number in numbers]
        places = _places(rows, numbers)
        training = self.policy.training
        self.policy.eval()
        with trainer.accelerator.autocast():
            logps = find_token_logps(
                self.policy,
                sequences,
                tokens_per_micro_batch=self.settings.tokens_per_micro_batch,
                device=trainer.accelerator.device,
                ranks=ranks_of(trainer.accelerator, self.policy),
            ).numpy()
        self.policy.train(training)
        scores, held = np.zeros(rows.completion_starts()[-1]), None
        if self.reference is not None:
            before = np.zeros_like(scores)
            before[places] = np.concatenate(self.reference.token_logps(sequences, trainer))
            held = Reference(before)
            logps = log_ratio_scale(self.objective) * (logps - before[places])
        scores[places] = logps
        return scores, held


_CARD = """---
library_name: transformers
---

The critic that was trained beside the student of the stage {stage}, on right and wrong answers of that student, by redistill.
"""


def told_of_no_step(stage: str, step: int) -> str:
    """The sentence that ends a stage whose critic has diverged."""
    return (
        f"train.{stage}.rollouts.critic: three steps in a row in which the critic's scores, loss or gradient were not finite (steps "
        f"{step - 2} to {step}), so neither it nor the student was updated; lower rollouts.critic.learning_rate. The rounds before are kept."
    )


def open_critic(
    accelerator: Accelerator,
    stage: str,
    settings: StageSettings,
    tokenizer: PreTrainedTokenizerFast,
    load: Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerFast]],
    seed: int,
) -> JointCritic:
    """The critic of a stage's `rollouts.critic`, ready to learn. load: gives what it starts from, anew in each call.

    OperatorError where it cuts texts into other tokens than the student, and under FSDP2, which shards one model a stage.
    """
    assert settings.rollouts is not None and settings.rollouts.critic is not None
    its, where = settings.rollouts.critic, f"train.{stage}.rollouts.critic"
    if accelerator.is_fsdp2:
        raise OperatorError(
            f"{where}: FSDP2 shards and trains one model, but this stage has two; launch with DDP, or leave the critic out."
        )
    objective = bind(CRITIC_OBJECTIVES, its.objective, f"{where}.objective")
    model, its_tokenizer = load()
    check_same_tokens(its_tokenizer, tokenizer, where, its.start or settings.start)
    attention = model.config._attn_implementation
    as_scores = needs_scores(objective)
    packs = prepare_scores(model) if as_scores else prepare_for_packing(model)
    own = settings.model_copy(
        update={
            "learning_rate": its.learning_rate,
            "tokens_per_micro_batch": settings.tokens_per_micro_batch if packs else 0,
        }
    )
    model = adapted_model(model, own, seed, critic=as_scores)
    optimizer: Any = make_optimizer(model, own)
    packed = PackedScores(model, packs=packs) if as_scores else PackedPolicy(model, packs=packs)
    policy, optimizer = prepare(accelerator, packed, model, optimizer)
    reference = None
    if not as_scores:
        other, _ = load()
        prepare_for_packing(other)
        frozen = prepare_reference(accelerator, PackedPolicy(other, packs=packs), other).eval()
        reference = Compared(frozen, own.tokens_per_micro_batch)
    return JointCritic(policy, optimizer, objective, own, attention, reference)


def credit_figures(rows: Rows, numbers: Sequence[int], modifiers: Sequence[Modifier]) -> dict[str, float | None]:
    """What a critic's scores make of the step's tokens: weight_right, weight_wrong, the mean weight of a token of right and of wrong
    answers; weighted_right, weighted_wrong, the share of tokens with a weight above 0. None where there is no such answer.

    Of the modifiers only those that read the critic count, so the figures do not depend on the student.
    """
    reading = [modifier for modifier in modifiers if reads_critic(modifier)]
    batch = token_batch(rows, numbers, needs_values(reading) | {"advantage"})
    weights = token_weights(reading, batch)[0]
    sums = batch.by_sequence(batch.values["advantage"])[batch.sequence]
    figures = dict[str, float | None]()
    for name, here in (("right", sums > 0), ("wrong", sums < 0)):
        figures[f"weight_{name}"] = _mean(weights[here])
        figures[f"weighted_{name}"] = _mean((weights[here] > 0).double())
    return figures


def label_figures(rows: Rows, numbers: Sequence[int]) -> dict[str, float | None]:
    """How right the critic's scores are about the answers' labels, before it learns from them: critic_accuracy, the share of
    answers whose scores sum to the label's side of 0, and critic_right_score, critic_wrong_score, the mean score of a token, over
    right and over wrong answers. None where there is no such answer."""
    batch = token_batch(rows, numbers, {"critic_score", "target"})
    means = batch.by_sequence(batch.values["critic_score"]) / batch.counts
    labels = batch.values["target"][(batch.counts.cumsum(0) - 1).long()]
    known = ~torch.isnan(labels)
    return {
        "critic_accuracy": _mean(((means > 0) == (labels > 0.5))[known].double()),
        "critic_right_score": _mean(means[labels > 0.5]),
        "critic_wrong_score": _mean(means[labels <= 0.5]),
    }


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None


def _places(rows: Rows, numbers: Sequence[int]) -> np.ndarray:
    """Where the completion tokens of these rows (of one sequence each) lie among those of all rows."""
    starts = rows.completion_starts()
    return np.concatenate([np.arange(starts[number], starts[number + 1]) for number in numbers])
