"""Sampling in this process with transformers: in slots that the next prompt takes when a row has ended (slots.py), or, for models
whose cache does not allow it, by `generate`, batched and sorted by length.

Each row draws from a seed of its own: the sampler turns one uniform number a row and step into a token by the inverse
of the cumulative distribution. What a row says therefore does not depend on its neighbours in the batch, up to the
rounding of the logits.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerFast

from redistill.model import loading
from redistill.rollout import slots
from redistill.rollout.requests import Finished, Request, Sample, Sampling

NUCLEUS = 1024  # candidates looked at first; the whole vocabulary is sorted only where they hold less than top_p


class SeededSampler(LogitsProcessor):
    """Temperature, then top-p, then one draw a row; leaves only the drawn token, so greedy search takes it.

    uniforms (rows, steps) in [0, 1); `prompt_tokens` is the padded prompt's length. Scores are (rows, vocabulary).
    """

    def __init__(self, uniforms: Tensor, prompt_tokens: int, temperature: float, top_p: float) -> None:
        self.uniforms, self.prompt_tokens = uniforms, prompt_tokens
        self.temperature, self.top_p = temperature, top_p

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = input_ids.shape[1] - self.prompt_tokens
        drawn = draw_tokens(scores, self.uniforms[:, step], self.temperature, self.top_p)
        return torch.full_like(scores, -torch.inf).scatter_(-1, drawn[:, None], 0.0)


def draw_tokens(scores: Tensor, uniforms: Tensor, temperature: float, top_p: float) -> Tensor:
    """One token a row: scores (rows, vocabulary), uniforms (rows,) in [0, 1) -> (rows,)."""
    probabilities = torch.softmax(scores.double() / temperature, -1)
    best, tokens = probabilities.topk(min(NUCLEUS, probabilities.shape[-1]), -1)
    if bool((best.sum(-1) < top_p).any()):
        best, tokens = probabilities.sort(-1, descending=True)
    before = best.cumsum(-1) - best
    best = torch.where(before < top_p, best, 0.0)  # the smallest set whose mass reaches top_p
    cumulative = best.cumsum(-1)
    target = uniforms[:, None].to(scores.device) * cumulative[:, -1:]
    place = torch.searchsorted(cumulative, target, right=True).clamp(max=best.shape[-1] - 1)
    return tokens.gather(-1, place)[:, 0]


def sample(
    student: Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerFast]],
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    batch_size: int,
    dtype: Literal["auto", "float32", "bfloat16"],
    finished: Finished,
) -> list[Sample]:
    """What the engine `transformers` does (transformers_engine.py)."""
    loaded, tokenizer = student()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    half = dtype == "bfloat16" or (dtype == "auto" and device.type == "cuda")
    model: Any = loaded
    model = model.to(device=device, dtype=torch.bfloat16 if half else torch.float32).eval()
    prompts = loading.encode_prompts(tokenizer, [r.prompt for r in requests])
    context = loading.context_length(model)
    found: dict[int, Sample] = {i: Sample("", 0, "length") for i, ids in enumerate(prompts) if len(ids) >= context}
    for place, empty in found.items():
        finished(place, empty)
    asked = [i for i in range(len(prompts)) if i not in found]

    def keep(place: int, tokens: list[int]) -> None:
        found[place] = _sample(tokenizer, tokens)
        finished(place, found[place])

    if slots.fits(model):
        limits = [min(sampling.max_new_tokens, context - len(prompts[i])) for i in asked]
        slots.rows(
            model, [prompts[i] for i in asked], limits, slots=batch_size, end=int(tokenizer.eos_token_id),
            pad=int(tokenizer.pad_token_id), choose=_chooser([requests[i].seed for i in asked], limits, sampling),
            done=lambda row, tokens: keep(asked[row], tokens),
        )  # fmt: skip
    else:
        order = sorted(asked, key=lambda i: (len(prompts[i]), i))
        # a row that the context may cut goes alone: in a batch it would cut its neighbours too
        tight = [i for i in order if len(prompts[i]) + sampling.max_new_tokens > context]
        wide = [i for i in order if len(prompts[i]) + sampling.max_new_tokens <= context]
        batches = [wide[start : start + batch_size] for start in range(0, len(wide), batch_size)] + [[i] for i in tight]
        for batch in batches:
            said = _batch(model, tokenizer, [prompts[i] for i in batch], [requests[i].seed for i in batch], sampling)
            for place, tokens in zip(batch, said, strict=True):
                keep(place, tokens)
    return [found[i] for i in range(len(requests))]


def _uniforms(seed: int, steps: int) -> np.ndarray:
    """The numbers that decide a row's draws, one a step; fewer steps are the beginning of more."""
    return np.random.Generator(np.random.PCG64(seed)).random(steps)


def _chooser(seeds: Sequence[int], limits: Sequence[int], sampling: Sampling) -> slots.Choose:
    """Greedy at temperature 0; else a draw by the row's own uniform number of its own step."""
    held: dict[int, np.ndarray] = {}

    def choose(scores: Tensor, places: Sequence[int], steps: Sequence[int]) -> Tensor:
        if sampling.temperature == 0:
            return scores.argmax(-1)
        for place, step in zip(places, steps, strict=True):
            if step == 0:
                held[place] = _uniforms(seeds[place], limits[place])
        mine = torch.tensor([held[place][step] for place, step in zip(places, steps, strict=True)])
        return draw_tokens(scores, mine, sampling.temperature, sampling.top_p)

    return choose


def _sample(tokenizer: Any, tokens: list[int]) -> Sample:
    """The sample in a row's new tokens, which end with the end-of-turn token or were cut."""
    end = int(tokenizer.eos_token_id)
    stopped = end in tokens
    spoken = tokens[: tokens.index(end)] if stopped else tokens
    text: str = tokenizer.decode(spoken, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Sample(text, len(spoken) + stopped, "stop" if stopped else "length")


@torch.inference_mode()
def _batch(
    model: Any,
    tokenizer: Any,
    prompts: list[list[int]],
    seeds: list[int],
    sampling: Sampling,
) -> list[list[int]]:
    """The new tokens of each prompt by `generate`; what follows the end-of-turn token is padding."""
    width = max(map(len, prompts))
    steps = min(sampling.max_new_tokens, loading.context_length(model) - width)
    end, pad = int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)
    ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    options: dict[str, Any] = {}
    if sampling.temperature > 0:
        uniforms = np.stack([_uniforms(seed, steps) for seed in seeds])
        sampler = SeededSampler(torch.from_numpy(uniforms), width, sampling.temperature, sampling.top_p)
        options["logits_processor"] = LogitsProcessorList([sampler])
    out = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=steps,
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        eos_token_id=end,
        pad_token_id=pad,
        **options,
    )
    said: list[list[int]] = out[:, width:].tolist()
    return said
