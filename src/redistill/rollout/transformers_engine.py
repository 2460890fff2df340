"""Sampling in this process with transformers: batched, sorted by length, stopped at the end of turn.

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

from redistill import models
from redistill.rollout.requests import Finished, Request, Sample, Sampling, tell_nobody

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
        probabilities = torch.softmax(scores.double() / self.temperature, -1)
        best, tokens = probabilities.topk(min(NUCLEUS, probabilities.shape[-1]), -1)
        if bool((best.sum(-1) < self.top_p).any()):
            best, tokens = probabilities.sort(-1, descending=True)
        before = best.cumsum(-1) - best
        best = torch.where(before < self.top_p, best, 0.0)  # the smallest set whose mass reaches top_p
        cumulative = best.cumsum(-1)
        target = self.uniforms[:, step, None].to(scores.device) * cumulative[:, -1:]
        place = torch.searchsorted(cumulative, target, right=True).clamp(max=best.shape[-1] - 1)
        drawn = tokens.gather(-1, place)
        return torch.full_like(scores, -torch.inf).scatter_(-1, drawn, 0.0)


def transformers_engine(
    student: Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerFast]],
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    batch_size: int = 128,
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    _finished: Finished = tell_nobody,
) -> list[Sample]:
    """One sample a request, in the order of the requests. `student` returns (model, tokenizer), loaded.

    dtype auto: bf16 on a GPU, fp32 on a CPU. A prompt that leaves no room for an answer in the model's context gets an
    empty sample with finish reason 'length'.
    """
    loaded, tokenizer = student()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    half = dtype == "bfloat16" or (dtype == "auto" and device.type == "cuda")
    model: Any = loaded
    model = model.to(device=device, dtype=torch.bfloat16 if half else torch.float32).eval()
    prompts = models.encode_prompts(tokenizer, [r.prompt for r in requests])
    context = models.context_length(model)
    found: dict[int, Sample] = {i: Sample("", 0, "length") for i, ids in enumerate(prompts) if len(ids) >= context}
    for place, sample in found.items():
        _finished(place, sample)
    order = sorted((i for i in range(len(prompts)) if i not in found), key=lambda i: (len(prompts[i]), i))
    # a row that the context may cut goes alone: in a batch it would cut its neighbours too
    tight = [i for i in order if len(prompts[i]) + sampling.max_new_tokens > context]
    wide = [i for i in order if len(prompts[i]) + sampling.max_new_tokens <= context]
    batches = [wide[start : start + batch_size] for start in range(0, len(wide), batch_size)] + [[i] for i in tight]
    for batch in batches:
        for place, sample in zip(
            batch, _batch(model, tokenizer, [prompts[i] for i in batch], [requests[i].seed for i in batch], sampling)
        ):
            found[place] = sample
            _finished(place, sample)
    return [found[i] for i in range(len(requests))]


@torch.inference_mode()
def _batch(
    model: Any,
    tokenizer: Any,
    prompts: list[list[int]],
    seeds: list[int],
    sampling: Sampling,
) -> list[Sample]:
    width = max(map(len, prompts))
    steps = min(sampling.max_new_tokens, models.context_length(model) - width)
    end, pad = int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)
    ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    options: dict[str, Any] = {}
    if sampling.temperature > 0:
        uniforms = np.stack([np.random.Generator(np.random.PCG64(seed)).random(steps) for seed in seeds])
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
    samples = []
    for row in out[:, width:].tolist():
        stopped = end in row
        tokens = row[: row.index(end)] if stopped else row
        text: str = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        samples.append(Sample(text, len(tokens) + stopped, "stop" if stopped else "length"))
    return samples
