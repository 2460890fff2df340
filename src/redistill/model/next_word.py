"""Which of two words a language model says next: one position of its head, no token is sampled.

    next_word(model, tokenizer, [("2+2=4?", " Verdict: correct?")], (" Yes", " No"))    ->  [0.83]     P(Yes), of the two

The probability is the softmax of the two words' logits alone, as R-PRM reads it (arXiv 2503.21295).
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from redistill.errors import OperatorError
from redistill.model.loading import context_length, encode_prompts
from redistill.text.image_marks import images_in


def word_ids(tokenizer: Any, words: tuple[str, str], *, first_piece: bool = False) -> tuple[int, int]:
    """The token that each word begins with. OperatorError where a word is several tokens and first_piece is False, and where both
    begin with the same one."""
    pieces = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    if not first_piece and any(len(ids) != 1 for ids in pieces):
        described = " and ".join(f"{word!r} is {len(ids)} tokens" for word, ids in zip(words, pieces, strict=True))
        raise OperatorError(
            f"critic: {described} of this tokenizer, so a verdict has no probability of its own; write first_piece: true to compare the "
            "first tokens."
        )
    first, second = (int(ids[0]) for ids in pieces)
    if first == second:
        raise OperatorError(
            f"critic: {words[0]!r} and {words[1]!r} begin with the same token in this tokenizer; end `line` with the "
            f"space before the verdict, or set read: verdict."
        )
    return first, second


@torch.inference_mode()
def next_word(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[tuple[str, str]],
    words: tuple[str, str],
    *,
    first_piece: bool = False,
    tokens_per_batch: int = 8192,
) -> list[float | None]:
    """The probability of the first word against the second after each (prompt, text), encoded apart as rows are in training; None
    where they are longer than the model's context. Memory grows with tokens_per_batch, not with the rows."""
    choices = list(word_ids(tokenizer, words, first_piece=first_piece))
    if any(images_in(prompt) for prompt, _ in rows):
        raise OperatorError("P(Yes) is supported for text only, but a prompt has an image; leave such problems out.")
    prompts = encode_prompts(tokenizer, [prompt for prompt, _ in rows])
    texts = [tokenizer(text, add_special_tokens=False)["input_ids"] if text else [] for _, text in rows]
    sequences = [[*prompt, *text] for prompt, text in zip(prompts, texts, strict=True)]
    limit = context_length(model)
    order = sorted((i for i, ids in enumerate(sequences) if 0 < len(ids) <= limit), key=lambda i: len(sequences[i]))
    results: list[float | None] = [None] * len(rows)
    training = model.training
    model.eval()
    try:
        for places in _batches(order, [len(ids) for ids in sequences], tokens_per_batch):
            logits = _last_logits(model, tokenizer, [sequences[i] for i in places])[:, choices]
            for place, value in zip(places, torch.softmax(logits.double(), -1)[:, 0].tolist(), strict=True):
                results[place] = value
    finally:
        model.train(training)
    return results


def _batches(order: Sequence[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Neighbours in order of length, padded to their longest within the budget."""
    batches = list[list[int]]()
    for place in order:
        if not batches or (len(batches[-1]) + 1) * lengths[place] > budget:
            batches.append([])
        batches[-1].append(place)
    return batches


def _last_logits(model: Any, tokenizer: Any, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """(rows, vocabulary) in fp32: the logits behind the last token of each row, by the model's own head. Padding stands on the
    left, and positions do not count it."""
    width, pad = max(map(len, rows)), int(tokenizer.pad_token_id or 0)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
    asked: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
    more = {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0), "logits_to_keep": 1}
    known = inspect.signature(model.forward).parameters
    asked |= {name: value for name, value in more.items() if name in known}
    return model(**asked).logits[:, -1].float()
