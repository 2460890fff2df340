"""What an engine is asked and what it answers. No torch here.

    sampling = Sampling(n=4, temperature=0.6, top_p=0.95, max_new_tokens=512, prefill="<think>")
    requests = requests_for(problem, prompt, sampling, seed=0)       n requests, each with a seed of its own
    traces = traces_of(problem, samples, sampling, requests, author="redi")

Seeds are built of (run seed, problem, sample), so a sample does not depend on what else is in its batch.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redistill.records import Problem, Trace, make_trace


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn; temperature 0 is greedy. `prefill` opens every completion.

    logprobs: also find each token's log-probability (`Sample.logprobs`). It changes no draw. stop: strings that end a
    completion as soon as its new text holds one; the text is cut before it (`Sample.stop`).
    """

    n: int
    temperature: float
    top_p: float
    max_new_tokens: int
    prefill: str = ""
    logprobs: bool = False
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One completion asked for: the prompt text (prefill included) and the seed of its draws.

    said: tokens that the completion has already, which an engine in this process goes on behind: `Sample` holds the new ones, and the draws
    go on where those of the same seed would stand. limit: new tokens at most, where that is less than the sampling's. problem: what
    the prompt asks, for engines that judge what they draw.
    """

    prompt: str
    seed: int
    said: tuple[int, ...] = ()
    limit: int | None = None
    problem: Problem | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion: its text without the end-of-turn token, its new tokens (None where a server does not count them),
    and 'stop' or 'length'. `facts` are stored with the trace: the server's model, the seed that it was sent.

    token_ids: the new tokens as they were drawn, the end-of-turn token included where the model said it; empty where the
    engine does not know them. To encode `text` again may give other tokens.
    logprobs: the natural log-probability of each of token_ids under the model's own distribution (temperature 1, no
    top-p), whatever the draw used: the behaviour policy's log-probabilities of an on-policy method. Empty where
    `Sampling.logprobs` was off, or a server does not return them.
    stop: of `Sampling.stop`, the string that ended it: `text` is cut before it, while the tokens that spell it are counted
    and stand in token_ids. Empty where the model ended it or its limit cut it; None where stop strings were asked of a
    server that does not tell the two apart.
    """

    text: str
    num_tokens: int | None
    finish_reason: str | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    stop: str | None = ""


@dataclass(slots=True)
class Student:
    """A student as an engine meets it: called, it is loaded (once). For engines that ask a server instead: `name`, the
    folder or hub id by which a server may know it; empty where it has neither.

    owned: the model is loaded for sampling alone, so the engine may cast its weights and move them to the GPU, in place. Any other
    model is borrowed, as is that of a plain function in the place of a Student: sampling leaves it as it was.
    """

    load: Callable[[], Any]
    name: str = ""
    owned: bool = False
    _held: list[Any] = field(default_factory=list)

    def __call__(self) -> Any:
        """(model, tokenizer), loaded at the first call and remembered."""
        if not self._held:
            self._held.append(self.load())
        return self._held[0]


# What an engine calls as soon as a sample is finished, with the place of its request: so that nothing that is drawn gets
# lost, and progress can be shown. Every engine takes it as the keyword `_finished`, which no recipe can write.
Finished = Callable[[int, Sample], None]


def tell_nobody(place: int, sample: Sample) -> None:
    """The `Finished` of a caller who waits for the whole list."""


def requests_for(problem: Problem, prompt: str, sampling: Sampling, *, seed: int) -> list[Request]:
    """The n requests of one problem."""
    seeds = [seed_of(seed, problem.id, index) for index in range(sampling.n)]
    return [Request(prompt + sampling.prefill, one, problem=problem) for one in seeds]


def seed_of(*parts: object) -> int:
    """64 bits that these parts decide, and nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def traces_of(
    problem: Problem, samples: Sequence[Sample], requests: Sequence[Request], sampling: Sampling, *, author: str
) -> tuple[Trace, ...]:
    """The samples of one problem as traces. The completion holds the prefill too, so it reads as the student meant it."""
    return tuple(
        make_trace(
            problem.id,
            sampling.prefill + sample.text,
            author=author,
            sampling={
                "sample_index": index,
                "seed": request.seed,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "max_new_tokens": sampling.max_new_tokens,
                "prefill": sampling.prefill,
                **sample.facts,
            },
            finish_reason=sample.finish_reason,
            num_tokens=sample.num_tokens,
        )
        for index, (sample, request) in enumerate(zip(samples, requests, strict=True))
    )
