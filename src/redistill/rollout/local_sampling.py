"""Sampling in this process with transformers: in slots that the next prompt takes when a row has ended (slots.py), or, for models
whose cache does not allow it, by `generate`, batched and sorted by length.

Each row draws from a seed of its own: the sampler turns one uniform number a row and step into a token by the inverse
of the cumulative distribution. What a row says therefore does not depend on its neighbours in the batch, up to the
rounding of the logits.
"""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    StoppingCriteria,
    StoppingCriteriaList,
)

from redistill.model import loading
from redistill.model.pictures import pictures_of
from redistill.rollout import slots
from redistill.rollout.requests import Finished, Request, Sample, Sampling, Student
from redistill.rollout.stop_strings import StopStrings
from redistill.text.image_marks import images_in
from redistill.text.tokenizer_calls import calls

NUCLEUS = 1024  # candidates looked at first; the whole vocabulary is sorted only where they hold less than top_p


class SeededSampler(LogitsProcessor):
    """Temperature, then top-p, then one draw a row; leaves only the drawn token, so greedy search takes it.

    uniforms (rows, steps) in [0, 1); `prompt_tokens` is the padded prompt's length. Scores are (rows, vocabulary).
    """

    def __init__(
        self, uniforms: Tensor, prompt_tokens: int, temperature: float, top_p: float, logprobs: bool = False,
        never: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self.never = list(never)  # tokens that are not drawn
        self.uniforms, self.prompt_tokens = uniforms, prompt_tokens
        self.temperature, self.top_p = temperature, top_p
        self.logprobs: list[Tensor] | None = [] if logprobs else None  # one (rows,) a step

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = input_ids.shape[1] - self.prompt_tokens
        allowed = (
            scores.index_fill(-1, torch.tensor(self.never, device=scores.device), -torch.inf) if self.never else scores
        )
        drawn = draw_tokens(allowed, self.uniforms[:, step], self.temperature, self.top_p)
        if self.logprobs is not None:
            self.logprobs.append(token_logprobs(scores, drawn))
        return torch.full_like(scores, -torch.inf).scatter_(-1, drawn[:, None], 0.0)


def draw_tokens(scores: Tensor, uniforms: Tensor, temperature: float, top_p: float) -> Tensor:
    """One token a row: scores (rows, vocabulary), uniforms (rows,) in [0, 1) -> (rows,). Temperature 0: the best one."""
    if temperature == 0:
        return scores.argmax(-1)
    if top_p >= 1 and scores.shape[-1] > NUCLEUS:
        return _draw_of_all(scores, uniforms, temperature)
    probabilities = torch.softmax(scores.double() / temperature, -1)
    best, tokens = probabilities.topk(min(NUCLEUS, probabilities.shape[-1]), -1)
    drawn = _draw_of_best(best, tokens, uniforms, top_p)
    wide = (best.sum(-1) < top_p).nonzero()[:, 0]
    if len(wide) and best.shape[-1] < probabilities.shape[-1]:
        drawn[wide] = _draw_of_best(*probabilities[wide].sort(-1, descending=True), uniforms[wide.cpu()], top_p)
    return drawn


def _draw_of_best(best: Tensor, tokens: Tensor, uniforms: Tensor, top_p: float) -> Tensor:
    """A draw from the smallest set of tokens whose mass reaches top_p: best (rows, n), falling probabilities of `tokens`."""
    before = best.cumsum(-1) - best
    best = torch.where(before < top_p, best, 0.0)  # the smallest set whose mass reaches top_p
    cumulative = best.cumsum(-1)
    target = uniforms[:, None].to(best.device) * cumulative[:, -1:]
    place = torch.searchsorted(cumulative, target, right=True).clamp(max=best.shape[-1] - 1)
    return tokens.gather(-1, place)[:, 0]


def _draw_of_all(scores: Tensor, uniforms: Tensor, temperature: float) -> Tensor:
    """A draw from the whole vocabulary, in its order: nothing is sorted. The masses are fp32, their sums fp64."""
    cumulative = torch.softmax(scores.float() / temperature, -1).cumsum(-1, dtype=torch.float64)
    target = uniforms[:, None].to(scores.device) * cumulative[:, -1:]
    # never a token without mass: the first place whose sum is above the target, which is below the whole
    return torch.searchsorted(cumulative, target, right=True).clamp(max=scores.shape[-1] - 1)[:, 0]


def token_logprobs(scores: Tensor, tokens: Tensor) -> Tensor:
    """Natural log-probability of each row's token at temperature 1: scores (rows, vocabulary), tokens (rows,) -> (rows,)."""
    scores = scores.float()
    return scores.gather(-1, tokens[:, None])[:, 0] - scores.logsumexp(-1)


@contextlib.contextmanager
def ready(
    student: Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerFast]],
    dtype: Literal["auto", "float32", "bfloat16"],
) -> Iterator[tuple[Any, PreTrainedTokenizerFast]]:
    """(model, tokenizer), the model in evaluation mode and of the asked precision. A borrowed one is given back as it was."""
    loaded, tokenizer = student()
    model: Any = loaded
    if isinstance(student, Student) and student.owned:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        half = dtype == "bfloat16" or (dtype == "auto" and device.type == "cuda")
        _cast(model, torch.bfloat16 if half else torch.float32)
        yield model.to(device).eval(), tokenizer
        return
    device = model.device
    half = dtype == "bfloat16" or (dtype == "auto" and device.type == "cuda")
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.autocast(device.type, torch.bfloat16) if half else contextlib.nullcontext():
            yield model.eval(), tokenizer
    finally:
        for module, training in modes.items():
            module.training = training


def _cast(model: Any, dtype: torch.dtype) -> None:
    """Cast the weights in place, one after the other, so that no second copy of the model is needed. Tables that are computed and
    not stored, such as the frequencies of rotary positions, keep their precision, as when a model is loaded in that type."""
    stored = model.state_dict(keep_vars=True).values()
    for tensor in stored:
        if tensor.is_floating_point() and tensor.dtype != dtype:
            tensor.data = tensor.data.to(dtype)


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
    with ready(student, dtype) as (model, tokenizer):
        return _answers(model, tokenizer, requests, sampling, batch_size, finished)


def _answers(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    requests: Sequence[Request],
    sampling: Sampling,
    batch_size: int,
    finished: Finished,
) -> list[Sample]:
    """One sample a request, by slots or by `generate`."""
    context = loading.context_length(model)
    prompts = _prompts(tokenizer, requests, context)
    most_new = {i: _most_new_tokens(requests[i], sampling, context - len(ids)) for i, ids in prompts.items()}
    samples: dict[int, Sample] = {i: Sample("", 0, "length") for i in range(len(requests)) if i not in prompts}
    for place, empty in samples.items():
        finished(place, empty)
    asked = list(prompts)

    stops = StopStrings(tokenizer, sampling.stop)

    def keep(place: int, tokens: list[int], logprobs: Sequence[float]) -> None:
        samples[place] = _sample(tokenizer, tokens, logprobs, stops)
        finished(place, samples[place])

    if slots.fits(model):
        limits = [most_new[i] for i in asked]
        logprobs: dict[int, list[float]] = defaultdict(list)
        slots.rows(
            model, [prompts[i] for i in asked], limits, slots=batch_size, end=int(tokenizer.eos_token_id),
            pad=int(tokenizer.pad_token_id),
            choose=_chooser([requests[i] for i in asked], limits, sampling, logprobs),
            done=lambda row, tokens: keep(asked[row], tokens, logprobs.pop(row, ())),
            stops=stops.completed,
        )  # fmt: skip
    else:
        order = sorted(asked, key=lambda i: (len(prompts[i]), i))
        # a row that the context or its own limit may cut goes alone: in a batch it would cut its neighbours too
        tight = [i for i in order if most_new[i] < sampling.max_new_tokens]
        wide = [i for i in order if most_new[i] == sampling.max_new_tokens]
        batches = [wide[start : start + batch_size] for start in range(0, len(wide), batch_size)] + [[i] for i in tight]
        for batch in batches:
            images = [image for i in batch for image in images_in(requests[i].prompt)]
            said = _batch(
                model,
                tokenizer,
                [prompts[i] for i in batch],
                [requests[i] for i in batch],
                min(most_new[i] for i in batch),
                sampling,
                stops,
                images,
            )
            for place, (tokens, row_logprobs) in zip(batch, said, strict=True):
                keep(place, tokens, row_logprobs)
    return [samples[i] for i in range(len(requests))]


def _prompts(tokenizer: Any, requests: Sequence[Request], context: int) -> dict[int, list[int]]:
    """The token ids of the prompts, with what is said already, that leave room for an answer, by their places."""
    ids_by_place: dict[int, list[int]] = {}
    for places in calls(range(len(requests)), lambda i: len(requests[i].prompt)):
        encoded = loading.encode_prompts(tokenizer, [requests[i].prompt for i in places])
        whole = ((i, [*ids, *requests[i].said]) for i, ids in zip(places, encoded, strict=True))
        ids_by_place |= {i: ids for i, ids in whole if len(ids) < context}
    return ids_by_place


def _most_new_tokens(request: Request, sampling: Sampling, left: int) -> int:
    """The most new tokens of a request, where `left` still fit into the context."""
    most = sampling.max_new_tokens if request.limit is None else min(request.limit, sampling.max_new_tokens)
    return min(most, left)


def _uniforms(request: Request, steps: int) -> np.ndarray:
    """The numbers that decide a row's draws, one a step, behind those of what is said; fewer steps are the beginning of more."""
    before = len(request.said)
    return np.random.Generator(np.random.PCG64(request.seed)).random(before + steps)[before:]


def _chooser(
    requests: Sequence[Request], limits: Sequence[int], sampling: Sampling, logprobs: dict[int, list[float]]
) -> slots.Choose:
    """Greedy at temperature 0; else a draw by the row's own uniform number of its own step. Adds what each token's
    log-probability is to its row's `logprobs` where they are asked for."""
    held: dict[int, np.ndarray] = {}

    def choose(scores: Tensor, places: Sequence[int], steps: Sequence[int]) -> Tensor:
        tokens = draw(scores, places, steps)
        if sampling.logprobs:
            for place, value in zip(places, token_logprobs(scores, tokens).tolist(), strict=True):
                logprobs[place].append(value)
        return tokens

    def draw(scores: Tensor, places: Sequence[int], steps: Sequence[int]) -> Tensor:
        if sampling.temperature == 0:
            return scores.argmax(-1)
        for place, step in zip(places, steps, strict=True):
            if step == 0:
                held[place] = _uniforms(requests[place], limits[place])
        mine = torch.tensor([held[place][step] for place, step in zip(places, steps, strict=True)])
        return draw_tokens(scores, mine, sampling.temperature, sampling.top_p)

    return choose


def _sample(tokenizer: Any, tokens: list[int], logprobs: Sequence[float], stops: StopStrings) -> Sample:
    """The sample in a row's new tokens, which end with the end-of-turn token or a stop string, or were cut; what follows
    the end-of-turn token is padding. logprobs: one a token, or none."""
    end = int(tokenizer.eos_token_id)
    stopped = end in tokens
    spoken = tokens[: tokens.index(end)] if stopped else tokens
    text: str = tokenizer.decode(spoken, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    count = len(spoken) + stopped
    text, stop = stops.cut(text)
    reason = "stop" if stopped or stop else "length"
    return Sample(text, count, reason, token_ids=tuple(tokens[:count]), logprobs=tuple(logprobs[:count]), stop=stop)


class _EndRows(StoppingCriteria):
    """Ends rows that have completed a stop string. counts (rows,): new tokens of each until then."""

    def __init__(self, stops: StopStrings, prompt_tokens: int, rows: int) -> None:
        self.stops, self.prompt_tokens = stops, prompt_tokens
        self.counts: list[int | None] = [None] * rows

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Any:
        for row, tokens in enumerate(input_ids[:, self.prompt_tokens :].tolist()):
            if self.counts[row] is None and self.stops.completed(tokens):
                self.counts[row] = len(tokens)
        return torch.tensor([count is not None for count in self.counts], device=input_ids.device)


@torch.inference_mode()
def _batch(
    model: Any,
    tokenizer: Any,
    prompts: list[list[int]],
    requests: Sequence[Request],
    steps: int,
    sampling: Sampling,
    stops: StopStrings,
    images: Sequence[str] = (),
) -> list[tuple[list[int], list[float]]]:
    """The new tokens of each prompt by `generate`, and their log-probabilities where asked for; what follows the
    end-of-turn token is padding, and nothing follows a stop string. steps: the most new tokens. images: those that the prompts show, in their order. A token that
    stands for an image is never said: its log-probability counts, and it is not drawn."""
    width = max(map(len, prompts))
    end, pad = int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)
    ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    options: dict[str, Any] = {}
    pictures = pictures_of(model)
    if pictures is not None:
        options |= pictures.inputs(images, ids, model) if images else {}
    sampler: SeededSampler | None = None
    if sampling.temperature > 0 or sampling.logprobs or pictures is not None:
        uniforms = np.stack([_uniforms(request, steps) for request in requests])
        sampler = SeededSampler(
            torch.from_numpy(uniforms), width, sampling.temperature, sampling.top_p, sampling.logprobs,
            never=pictures.never_said if pictures is not None else (),
        )  # fmt: skip
        options["logits_processor"] = LogitsProcessorList([sampler])
    ended = _EndRows(stops, width, len(prompts))
    if stops.stops:
        options["stopping_criteria"] = StoppingCriteriaList([ended])
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
    said: list[list[int]] = [row[:count] for row, count in zip(out[:, width:].tolist(), ended.counts, strict=True)]
    if sampler is None or not sampler.logprobs:
        return [(tokens, []) for tokens in said]
    return list(zip(said, torch.stack(sampler.logprobs, -1).tolist(), strict=True))
