"""Reward models that give one number per text: any AutoModelForSequenceClassification with one label.

opened = open_reward_model("my/reward-model", None, PromptText(), "score (reward-model): model")
opened.scores([(problem, "The answer is 4.")])   ->   [1.7]
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from redistill.config.tables import PromptText
from redistill.errors import OperatorError
from redistill.model.batches import HeadOutputs, packed_hidden, prepare_body
from redistill.model.loading import context_length
from redistill.model.rendering import renderer
from redistill.model.reward_heads import Origin, architecture_of, load_weights, locate_model, tokenizer_of
from redistill.records import Problem
from redistill.text.prompts import rendered_chat


@dataclass(frozen=True, slots=True)
class RewardModel:
    """A loaded reward model. whole: the model itself on one row, for those whose rows cannot be packed."""

    encode: Callable[[Problem, str], list[int]]
    packed: HeadOutputs | None
    whole: Callable[[list[int]], float]
    limit: int

    def scores(self, texts: Sequence[tuple[Problem, str]], *, tokens_per_batch: int = 8192) -> list[float | str]:
        """The number of each (problem, text), or `too_long` for the model's context."""
        rows = [self.encode(problem, text) for problem, text in texts]
        if self.packed is None:
            return ["too_long" if len(ids) > self.limit else self.whole(ids) for ids in rows]
        values = self.packed([(ids, [len(ids) - 1]) for ids in rows], tokens_per_batch=tokens_per_batch)
        return [one if isinstance(one, str) else float(one[0, 0]) for one in values]


def open_reward_model(model: str, revision: str | None, prompt: PromptText, where: str) -> RewardModel:
    """The reward model, loaded. OperatorError for any other kind of model."""
    origin = Origin(model, revision, where)
    place = locate_model(origin)
    kind, labels = architecture_of(origin, place)
    if not kind.endswith("ForSequenceClassification") or labels != 1:
        raise OperatorError(
            f"{where}: {model} is not a reward model (it is a {kind or 'model of unknown kind'} with {labels} labels, "
            f"not a sequence classifier with one); a critic of steps is scored by `process`."
        )
    tokenizer = tokenizer_of(origin)
    loaded: Any = load_weights(AutoModelForSequenceClassification, origin, place).eval()
    device, head = next(loaded.parameters()).device, getattr(loaded, "score", None)

    def whole(ids: list[int]) -> float:
        with torch.no_grad():
            return float(loaded(input_ids=torch.tensor([ids], device=device)).logits[0, 0])

    packed = None
    if (
        isinstance(head, torch.nn.Linear)
        and _reads_the_last_token(loaded, head, whole)
        and prepare_body(loaded.base_model)
    ):
        weight = head.weight.detach().float()
        bias = 0.0 if head.bias is None else head.bias.detach().float()
        packed = HeadOutputs(
            loaded.base_model, lambda hidden: hidden @ weight.t() + bias, packs=True, limit=context_length(loaded)
        )
    return RewardModel(_encoder(tokenizer, prompt), packed, whole, context_length(loaded))


def _reads_the_last_token(model: Any, head: torch.nn.Linear, whole: Callable[[list[int]], float]) -> bool:
    """Whether the model's number is its head on the last token's hidden state."""
    config = model.config.get_text_config()
    row = [number for number in ((7 * i + 3) % config.vocab_size for i in range(11)) if number != config.pad_token_id]
    device = next(model.parameters()).device
    with torch.no_grad():
        hidden = packed_hidden(model.base_model, [row], False, device)[0]
        own = float(head(hidden[-1])[0])
    return abs(own - whole(row)) < (1e-3 if head.weight.dtype == torch.float32 else 5e-2) * (1 + abs(own))


def _encoder(tokenizer: Any, prompt: PromptText) -> Callable[[Problem, str], list[int]]:
    render = None if tokenizer.chat_template else renderer(prompt, tokenizer)[0]

    def encode(problem: Problem, text: str) -> list[int]:
        if render is None:
            messages = [{"role": "user", "content": problem.statement}, {"role": "assistant", "content": text}]
            written = rendered_chat(tokenizer, messages, add_generation_prompt=False)
            return list(tokenizer(written, add_special_tokens=False)["input_ids"])
        return list(tokenizer(render(problem) + text)["input_ids"])

    return encode
