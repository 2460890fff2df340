"""Token weights by a critic: of a stage's rows before it begins, and of its last answers for the report.

    rows, means = credited(accelerator, "redi", settings, rows, tokenizer, critic, modifiers, Path("runs/x/train"))

    write_token_weights(trainer, supply, folder)  ->  train/oreal/token_weights.json

    {"answers": [{"problem_id": ..., "trace_id": ..., "round": 60, "is_right": false, "spans": [[0, 1, 0.0], [1, 2, -0.73], ...]}]}

A span is a token's characters with its weight in the loss, above 0 on right answers and below 0 on wrong ones, by the critic as
it is when the stage ends. An answer whose text encodes to other tokens than were sampled is left out: its spans would lie.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import Accelerator
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from redistill.config.tables import StageSettings
from redistill.io.atomic import write_json
from redistill.io.progress import say
from redistill.model import loading
from redistill.model.score_heads import check_same_tokens
from redistill.train.coefficients import token_weights
from redistill.train.diagnostics import mean_token_weights
from redistill.train.modifiers import Modifier, reads_critic
from redistill.train.objectives import needs_values
from redistill.train.reference import ImplicitCritic, with_critic_scores
from redistill.train.rows import Rows, with_value
from redistill.train.step import token_batch

if TYPE_CHECKING:
    from redistill.train.rollout_supply import RolloutSupply
    from redistill.train.rollouts import Round
    from redistill.train.trainer import Trainer

FILE = "token_weights.json"
MOST = 12  # answers
TOKENS = 4096  # of an answer
ROUNDS = 8  # that are looked at, the last first, for answers that can be shown


def credited(
    accelerator: Accelerator,
    stage: str,
    settings: StageSettings,
    rows: Rows,
    tokenizer: PreTrainedTokenizerFast,
    critic: "tuple[PreTrainedModel, PreTrainedTokenizerFast] | ImplicitCritic",
    modifiers: Sequence[Modifier],
    folder: Path,
) -> tuple[Rows, dict[str, float]]:
    """The rows with the critic's score of every token, and the mean weight that the modifiers make of them, by side. folder: of
    the run's training. OperatorError for a critic with another tokenizer than the student's."""
    its_tokenizer = critic.tokenizer if isinstance(critic, ImplicitCritic) else critic[1]
    check_same_tokens(its_tokenizer, tokenizer, f"train.{stage}.critic", str(settings.critic))
    how: dict[str, Any] = {
        "precision": settings.mixed_precision,
        "tokens_per_micro_batch": settings.tokens_per_micro_batch,
    }
    rows = with_critic_scores(accelerator, rows, critic, folder / ".references", **how)
    means = mean_token_weights(rows, modifiers)
    if accelerator.is_main_process:
        said = ", ".join(f"{value:.3f} on {side}" for side, value in means.items())
        say(f"train    {stage}: mean token weight by {settings.critic}: {said}")
    return rows, means


def write_token_weights(trainer: "Trainer", supply: "RolloutSupply", folder: Path) -> None:
    """Write the file; every rank calls it. Nothing for a stage without a critic."""
    if trainer.critic is None:
        return
    answers = list[dict[str, Any]]()
    for number, rows, drawn in supply.latest_rounds(ROUNDS):
        if len(answers) < MOST:
            answers += _weighed(trainer, number, rows, drawn, MOST - len(answers))
    if trainer.accelerator.is_main_process:
        write_json(folder / FILE, {"answers": answers})


def _weighed(trainer: "Trainer", number: int, rows: Rows, drawn: "Round", most: int) -> list[dict[str, Any]]:
    """Answers of one round with the weights of their tokens, so many at most."""
    traces = {trace.id: (problem, trace) for problem, trace in drawn.answers}
    weighed, shown = list[dict[str, Any]](), list[int]()
    for row in range(len(rows)):
        problem, trace = traces[rows.ids[row]]
        text, ids = trace.completion, rows.completion(row).tolist()
        encoded = loading.encode_completions(trainer.tokenizer, [text])[0]
        if len(shown) < most and len(ids) <= TOKENS and encoded[: len(ids)] == ids:
            shown.append(row)
            is_right = rows.values["advantage"][rows.completion_starts()[row]] > 0
            head = {"problem_id": problem.id, "trace_id": trace.id, "round": number + 1, "is_right": bool(is_right)}
            weighed.append({**head, "statement": problem.statement, "completion": text})
    if not shown:
        return []
    assert trainer.critic is not None
    scores = trainer.critic.scores(rows, shown, trainer)
    reading = [modifier for modifier in trainer.modifiers if reads_critic(modifier)]
    batch = token_batch(with_value(rows, "critic_score", scores), shown, needs_values(reading) | {"advantage"})
    signed = token_weights(reading, batch)[0] * batch.values["advantage"].sign()
    for answer, weights in zip(weighed, signed.split(batch.counts.long().tolist()), strict=True):
        text = answer["completion"]
        places = [*loading.completion_offsets(trainer.tokenizer, [text])[0], (len(text), len(text) + 1)]
        answer["spans"] = [[a, b, round(w, 3) + 0.0] for (a, b), w in zip(places, weights.tolist(), strict=False)]
    return weighed
