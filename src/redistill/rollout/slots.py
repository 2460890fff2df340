"""Continuous batching in plain tensors: a row that has ended leaves the batch, and the next prompt takes its slot.

    fits(model)                                       True for models that keep all of a row's keys and values
    rows(model, prompts, limits, slots=128, end=2, pad=0, choose=choose, done=done)

`generate` computes every row of a batch until the longest has ended, so a batch of mixed lengths spends most of its time on rows
that say nothing any more. Here the batch stays full of rows that speak. Equal prompts are read once. Rows are padded on the
left, and positions are counted without padding, so no row sees its neighbours; what it says depends on them only through the rounding of the
logits, as in any batch.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from redistill.io.progress import beat
from redistill.model.pictures import pictures_of

TURNOVER = (
    8  # ended rows leave, and prompts enter, when an eighth of the slots is free: each time copies the whole cache
)

SPARE = 32  # spare columns of a cache

# whether a row's tokens end with what ends a row beside its end token and its limit: a stop string
Stops = Callable[[Sequence[int]], bool]
# (scores (rows, vocabulary), which prompt each row answers, how many tokens each row has said) -> tokens (rows,)
Choose = Callable[[Tensor, Sequence[int], Sequence[int]], Tensor]


def fits(model: Any) -> bool:
    """Whether a row can enter and leave this model's cache: every layer holds the keys and values of all tokens, and the
    forward pass takes positions, and no prompt shows an image. Sliding windows and recurrent states do not; `generate` serves those."""
    needed = {"position_ids", "attention_mask", "past_key_values", "logits_to_keep"}
    layers = DynamicCache(config=model.config).layers
    return pictures_of(model) is None and (
        needed <= set(inspect.signature(model.forward).parameters)
        and len(layers) > 0
        and all(type(layer) is DynamicLayer for layer in layers)
    )


class _Room(DynamicLayer):
    """Keys and values (rows, heads, width, head size) in memory with room for more columns: a step writes its own column and
    copies nothing, where a DynamicLayer copies all that there is."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.dtype, self.device = keys.dtype, keys.device
        self.hold(keys, values)
        self.is_initialized = True

    def hold(self, keys: Tensor, values: Tensor) -> None:
        """Copy these, which are all that there is from now on."""
        self.buffers = [
            torch.cat([one, one.new_empty((*one.shape[:2], SPARE, one.shape[3]))], -2) for one in (keys, values)
        ]
        self._show(keys.shape[-2])

    def _show(self, width: int) -> tuple[Tensor, Tensor]:
        """The first columns are what there is."""
        self.width = width
        keys, values = (buffer[:, :, :width] for buffer in self.buffers)
        self.keys, self.values = keys, values
        return keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add the columns of a step, and give all."""
        old, width = self.width, self.width + key_states.shape[-2]
        if width > self.buffers[0].shape[-2]:
            self.hold(*self._show(old))
        for buffer, new in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, old:width] = new
        return self._show(width)


class _Batch:
    """The rows that speak now, in order: which prompt each answers, what it has said, its cache and mask (rows, width)."""

    def __init__(self, model: Any, pad: int) -> None:
        self.model, self.pad = model, pad
        self.places: list[int] = []
        self.said: list[list[int]] = []
        self.lengths: list[int] = []  # tokens of a row in the cache
        self.ended: list[bool] = []
        self.cache: Any = None
        self.mask = torch.zeros(
            (0, 0), dtype=torch.bool, device=model.device
        )  # True where a column is a token of the row
        self.takes_mask = (
            model.config._attn_implementation == "sdpa"
        )  # as the kernel reads it, so that none is made in each step

    def enter(self, places: Sequence[int], prompts: Sequence[list[int]]) -> Tensor:
        """Read new prompts, give them rows at the end, and return their scores (new rows, vocabulary)."""
        unique = list(dict.fromkeys(tuple(p) for p in prompts))
        width = max(map(len, unique))
        device = self.model.device
        ids = torch.tensor([[self.pad] * (width - len(p)) + list(p) for p in unique], device=device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in unique], device=device)
        cache = DynamicCache(config=self.model.config)
        scores = self._forward(ids, mask, (mask.cumsum(-1) - 1).clamp(min=0), cache)
        number = {prompt: row for row, prompt in enumerate(unique)}
        index = torch.tensor([number[tuple(p)] for p in prompts], device=device)
        if len(unique) < len(prompts):
            cache.batch_select_indices(index)
        self._join(cache, mask[index].bool())
        self.places += places
        self.said += [[] for _ in places]
        self.lengths += [len(p) for p in prompts]
        self.ended += [False for _ in places]
        return scores[index]

    def step(self) -> Tensor:
        """Read each row's last token and return the scores of its next (rows, vocabulary). Rows that have ended but have not
        left yet read padding at position 0."""
        device = self.model.device
        tokens = [self.pad if over else said[-1] for said, over in zip(self.said, self.ended, strict=True)]
        positions = [0 if over else length for length, over in zip(self.lengths, self.ended, strict=True)]
        self.mask = F.pad(self.mask, (0, 1), value=True)
        self.lengths = [length + 1 for length in self.lengths]
        ids, at = torch.tensor(tokens, device=device)[:, None], torch.tensor(positions, device=device)[:, None]
        mask = self.mask[:, None, None, :] if self.takes_mask else self.mask.long()
        return self._forward(ids, mask, at, self.cache)

    def leave(self, stay: Sequence[int]) -> None:
        """Keep these rows, and cut the columns that are padding for all of them."""
        self.places = [self.places[row] for row in stay]
        self.said = [self.said[row] for row in stay]
        self.lengths = [self.lengths[row] for row in stay]
        self.ended = [self.ended[row] for row in stay]
        if not stay:
            self.cache = None
            return
        index = torch.tensor(stay, device=self.model.device)
        cut = self.mask.shape[1] - max(self.lengths)
        self.mask = self.mask[index, cut:]
        for layer in self.cache.layers:
            layer.hold(layer.keys[index, :, cut:], layer.values[index, :, cut:])

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        out = self.model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1
        )  # fmt: skip
        scores: Tensor = out.logits[:, -1].float()
        return scores

    def _join(self, cache: Any, mask: Tensor) -> None:
        """Put new rows under the old ones; the narrower side is padded on its left."""
        if self.cache is None:
            cache.layers = [_Room(layer.keys, layer.values) for layer in cache.layers]
            self.cache, self.mask = cache, mask
            return
        gap = mask.shape[1] - self.mask.shape[1]
        old, new = max(gap, 0), max(-gap, 0)
        self.mask = torch.cat([F.pad(self.mask, (old, 0)), F.pad(mask, (new, 0))])
        for mine, other in zip(self.cache.layers, cache.layers, strict=True):
            mine.hold(
                torch.cat([F.pad(mine.keys, (0, 0, old, 0)), F.pad(other.keys, (0, 0, new, 0))]),
                torch.cat([F.pad(mine.values, (0, 0, old, 0)), F.pad(other.values, (0, 0, new, 0))]),
            )


@torch.inference_mode()
def rows(
    model: Any,
    prompts: Sequence[list[int]],
    limits: Sequence[int],
    *,
    slots: int,
    end: int,
    pad: int,
    choose: Choose,
    done: Callable[[int, list[int]], object],
    stops: Stops = lambda tokens: False,
) -> None:
    """Answer every prompt (token ids); `done(place, tokens)` as soon as one has ended, the end token included.

    limits: the most new tokens of each prompt, 1 or more. slots: the most rows at a time. stops: asked of a row's new tokens
    after each of them.
    """
    queue = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), prompts[i], i), reverse=True)
    batch = _Batch(model, pad)
    spoken = [0]  # tokens in all

    def speak(speaking: Sequence[int], scores: Tensor) -> None:
        """One token for each of the speaking rows; scores: (speaking rows, vocabulary)."""
        places = [batch.places[row] for row in speaking]
        tokens = choose(scores, places, [len(batch.said[row]) for row in speaking]).tolist()
        spoken[0] += len(tokens)
        beat(f"{spoken[0]:,} tokens drawn, {len(tokens)} answers under way")
        for row, place, token in zip(speaking, places, tokens, strict=True):
            said = batch.said[row]
            said.append(token)
            if token == end or len(said) >= limits[place] or stops(said):
                batch.ended[row] = True
                done(place, said)

    while queue or batch.places:
        over = sum(batch.ended)
        if over and over * TURNOVER >= len(batch.ended):
            batch.leave([row for row, ended in enumerate(batch.ended) if not ended])
        free = slots - len(batch.places)
        if queue and (free * TURNOVER >= slots or not batch.places):
            before, new = len(batch.places), [queue.pop() for _ in range(min(free, len(queue)))]
            scores = batch.enter(new, [prompts[place] for place in new])
            speak(range(before, len(batch.places)), scores)
        elif batch.places:
            speaking = [row for row, ended in enumerate(batch.ended) if not ended]
            speak(speaking, batch.step()[speaking])
