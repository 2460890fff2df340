"""Texts through a model that is only read: log-probs of completions, in packs of bounded size.

    LogProbs(model, tokenizer)([("2+2=", "4"), ("2+2=", "")])  ->  [tensor([-1.3]), "empty"]

The kernel is that of training (logps.py): no padding, and never tokens x vocabulary. Memory grows with `tokens_per_batch`, not with
the number of rows.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from redistill.model.loading import context_length, encode_completions, encode_prompts
from redistill.model.logps import PackedPolicy, make_pack, prepare_for_packing


class LogProbs:
    """A causal language model that measures completions. It is moved to the GPU where there is one."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        placed: Any = model  # transformers' stubs know no `to` with a device
        placed.to(self.device)
        self.tokenizer, self.limit = tokenizer, context_length(model)
        self.packs = prepare_for_packing(model)
        self.policy = PackedPolicy(model.eval(), packs=self.packs)

    def __call__(
        self, rows: Sequence[tuple[str, str]], *, end_of_turn: bool = False, tokens_per_batch: int = 8192
    ) -> list[list[float] | str]:
        """Of each (prompt, completion) the log-prob of every completion token, in nats, or why there is none: `empty` where
        no token is left, `too_long` for the model's context."""
        prompts = encode_prompts(self.tokenizer, [prompt for prompt, _ in rows])
        completions = encode_completions(self.tokenizer, [completion for _, completion in rows])
        if not end_of_turn:
            completions = [ids[:-1] for ids in completions]
        found: list[list[float] | str] = ["empty"] * len(rows)
        sequences: dict[int, tuple[list[int], int]] = {}
        for place, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            if len(prompt) + len(completion) > self.limit:
                found[place] = "too_long"
            elif completion and len(prompt) + len(completion) > 1:  # nothing predicts the first token of a row
                sequences[place] = ([*prompt, *completion], len(prompt))
        lengths = {place: len(ids) for place, (ids, _) in sequences.items()}
        for places in batches(lengths, tokens_per_batch if self.packs else 1):
            for place, logps in zip(places, self._measured([sequences[place] for place in places]), strict=True):
                found[place] = logps
        return found

    def _measured(self, sequences: Sequence[tuple[list[int], int]]) -> list[list[float]]:
        pack = make_pack(sequences, range(len(sequences)), [0.0] * len(sequences)).to(self.device)
        with torch.no_grad():
            logps = self.policy(pack)[1].double().cpu()
        owners = pack.row_of_target.cpu()
        return [logps[owners == number].tolist() for number in range(len(sequences))]


def batches(lengths: dict[int, int], budget: int) -> Iterator[list[int]]:
    """Places by batch: longest first, so that a batch holds rows of like length; a row over the budget is alone."""
    batch: list[int] = []
    size = 0
    for place in sorted(lengths, key=lambda place: (-lengths[place], place)):
        if batch and size + lengths[place] > budget:
            yield batch
            batch, size = [], 0
        batch.append(place)
        size += lengths[place]
    if batch:
        yield batch
