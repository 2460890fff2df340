"""Texts through a model that is only read: log-probs of completions, or a head's outputs at chosen tokens, in packs of bounded size.

    LogProbs(model, tokenizer)([("2+2=", "4"), ("2+2=", "")])       ->  [[-1.3], "empty"]
    HeadOutputs(body, head, packs=True, limit=4096)([([5, 9, 7], [2])])  ->  [tensor([[0.4, -0.2]])]

The kernel is that of training (logps.py): no padding, and never tokens x vocabulary. Memory grows with `tokens_per_batch`, not with
the number of rows.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from redistill.errors import OperatorError
from redistill.model.loading import context_length, encode_completions, encode_prompts
from redistill.model.logps import PackedPolicy, TokenSequence, attend_packed, make_pack, prepare_for_packing
from redistill.text.image_marks import images_in
from redistill.text.tokenizer_calls import calls


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
        results: list[list[float] | str] = ["empty"] * len(rows)
        sequences: dict[int, TokenSequence] = {}
        for part in calls(range(len(rows)), lambda place: len(rows[place][0]) + len(rows[place][1])):
            prompts = encode_prompts(self.tokenizer, [rows[place][0] for place in part])
            completions = encode_completions(self.tokenizer, [rows[place][1] for place in part])
            for place, prompt, ended in zip(part, prompts, completions, strict=True):
                completion = ended if end_of_turn else ended[:-1]
                if len(prompt) + len(completion) > self.limit:
                    results[place] = "too_long"
                elif completion and len(prompt) + len(completion) > 1:  # nothing predicts the first token of a row
                    shown = images_in(rows[place][0])
                    sequences[place] = TokenSequence([*prompt, *completion], len(prompt), shown)
        lengths = {place: len(ids) for place, (ids, _) in sequences.items()}
        for places in batches(lengths, tokens_per_batch if self.packs else 1):
            for place, logps in zip(places, self._measured([sequences[place] for place in places]), strict=True):
                results[place] = logps
        return results

    def _measured(self, sequences: Sequence[TokenSequence]) -> list[list[float]]:
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


class HeadOutputs:
    """A model's body with a head on its hidden states, read at chosen tokens of each row.

    body: a model without its own head, on whatever device it stands. head: (n, hidden) -> (n, outputs), fp32. packs: whether rows may
    share a pass (`prepare_body`).
    """

    def __init__(self, body: PreTrainedModel, head: Callable[[Tensor], Tensor], *, packs: bool, limit: int) -> None:
        plain: Any = body
        self.body, self.head, self.packs, self.limit = plain.eval(), head, packs, limit
        self.device = next(plain.parameters()).device

    def __call__(
        self, rows: Sequence[tuple[Sequence[int], Sequence[int]]], *, tokens_per_batch: int = 8192
    ) -> list[Tensor | str]:
        """Of each (token ids, places) the outputs at these places, fp32 (places, outputs), by place and not by value; or why
        there are none: `empty` without a place, `too_long` for the model's context."""
        results: list[Tensor | str] = ["empty"] * len(rows)
        lengths = {}
        for number, (ids, places) in enumerate(rows):
            if len(ids) > self.limit:
                results[number] = "too_long"
            elif places:
                lengths[number] = len(ids)
        for numbers in batches(lengths, tokens_per_batch if self.packs else 1):
            for number, outputs in zip(numbers, self._read([rows[n] for n in numbers]), strict=True):
                results[number] = outputs
        return results

    def _read(self, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Tensor]:
        with torch.no_grad():
            hidden, starts = packed_hidden(self.body, [list(ids) for ids, _ in rows], self.packs, self.device)
            places = [start + place for start, (_, of) in zip(starts, rows, strict=True) for place in of]
            outputs = self.head(hidden[torch.tensor(places, device=self.device)].float()).float().cpu()
        return list(outputs.split([len(of) for _, of in rows]))


def packed_hidden(body: Any, rows: Sequence[list[int]], packs: bool, device: torch.device) -> tuple[Tensor, list[int]]:
    """(hidden states of the rows laid end to end (T, hidden), where each row begins)."""
    pack = make_pack([(row, 1) for row in rows], range(len(rows)), [0.0] * len(rows)).to(device)
    more: dict[str, Any] = {}
    if packs:
        more = {"position_ids": pack.position_ids, "runs": pack.runs, "boundaries": pack.boundaries}
    elif len(rows) != 1:
        raise ValueError("a model that cannot be packed was given several rows")
    hidden = body(input_ids=pack.input_ids, use_cache=False, **more).last_hidden_state[0]
    order = sorted(range(len(rows)), key=lambda number: (len(rows[number]), number))  # that of make_pack
    starts = [0] * len(rows)
    for number, start in zip(order, pack.boundaries.tolist(), strict=False):
        starts[number] = start
    return hidden, starts


def prepare_body(body: PreTrainedModel) -> bool:
    """True where rows may be packed: the body is switched to packed attention and proved, on two short rows, to give the hidden
    states that each has alone, whatever its neighbour says. False for bodies that look ahead or carry state across rows: they
    are left as they were, for one row at a time."""
    model: Any = body
    vocabulary, before = model.config.get_text_config().vocab_size, model.config._attn_implementation
    long, short, other = (
        [(a * i + b) % vocabulary for i in range(n)] for a, b, n in ((7, 3, 11), (5, 2, 7), (3, 1, 7))
    )
    device, training = next(model.parameters()).device, model.training
    model.eval()
    try:
        with torch.no_grad():
            alone = packed_hidden(model, [long], False, device)[0].float()
            scale = 1.0 + float(alone.abs().max())
            try:
                attend_packed(model)
                first_output, again = (
                    packed_hidden(model, [first, long], True, device)[0][len(short) :].float()
                    for first in (short, other)
                )
            except (ValueError, TypeError, KeyError, AttributeError, OperatorError):
                packs = False
            else:
                near = 1e-3 if alone.dtype == next(model.parameters()).dtype else 5e-2
                packs = (
                    float((first_output - again).abs().max()) < 2e-6 * scale
                    and float((first_output - alone).abs().max()) < near * scale
                )
            if not packs:
                model.set_attn_implementation(before)
    finally:
        model.train(training)
    return packs
