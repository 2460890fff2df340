"""Engine `guided`: a search that a critic of steps guides, as in R-PRM (arXiv 2503.21295).

    evaluate: {engine: {name: guided, critic: prm, candidates: 8, steps: 30}}

At each step of an answer the student draws `candidates` continuations, each up to the end of a step. The critic scores the last step of
each, the best one is kept, and the others are thrown away. The answer ends with the student's end token, at the token limit, or after
`steps` steps. Of equal scores the first drawn wins. What the critic cannot judge is left out, never the worst, and so is a candidate that adds
nothing but white space, of which there is no step to judge; where nothing can be judged, the first candidate is kept.

The next step is drawn behind the very tokens that were drawn before: no text is encoded again. Searches of several answers go on together,
and a search does not depend on its neighbours: seeds are made of the request's own. As long as the first candidate has been kept, it draws what
sampling without a critic would, so a critic that says the same of everything changes no answer.

The critic comes in from outside (`Judge`): what scores text is not this folder's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from redistill.errors import OperatorError
from redistill.records import Problem
from redistill.rollout.requests import Finished, Request, Sample, Sampling, seed_of, tell_nobody
from redistill.rollout.transformers_engine import transformers_engine
from redistill.text.image_marks import images_in

DRAWN, CALLS, WRITTEN = "drawn_tokens", "critic_calls", "critic_tokens"
UNDECIDED, UNGUIDED = "undecided_candidates", "unguided_steps"
GUIDED = "guided"  # the engine's name
COSTS = (
    DRAWN,
    CALLS,
    WRITTEN,
    UNDECIDED,
    UNGUIDED,
)  # of a sample's facts: what its search cost, and what the critic could not say


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a critic says of the last step of an unfinished answer: a number, higher is better, or None where it cannot judge; and how
    many tokens it wrote for that."""

    value: float | None
    tokens: int = 0


Draw = Callable[[Sequence[Request], Sampling], Sequence[Sample]]
Judge = Callable[[Sequence[tuple[Problem, str]]], Sequence[Opinion]]  # (problem, completion so far) -> of its last step
Decode = Callable[[Sequence[int]], str]

_Count = Annotated[int, Field(gt=0)]


def guided(
    student: Callable[[], tuple[Any, Any]],
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    critic: str | dict[str, Any],
    candidates: Annotated[int, Field(ge=2)] = 8,
    steps: _Count = 30,
    step_end: Annotated[str, Field(min_length=1)] = "\n\n",
    max_step_tokens: _Count = 512,
    then: Literal["stop", "sample"] = "stop",
    batch_size: _Count = 128,
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    _judge: Judge | None = None,
    _finished: Finished = tell_nobody,
) -> list[Sample]:
    """One sample a request, in the order of the requests, each found by a search of its own, in this process.

    critic: who scores steps: an earlier stage or a folder of a process critic, or a scorer written out, `{name: process, ...}` or
    `{name: critic, ...}`. step_end: the string that ends a step. max_step_tokens: a step that is longer is cut, judged and gone on with. then: after
    `steps` steps the answer is cut, or the student finishes it without the critic (the paper, of models that think at length).
    batch_size: rows at a time; `batch_size / candidates` searches go on together. dtype: as of `transformers`.

    The facts of a sample say what its search cost: `drawn_tokens` of all candidates, `critic_calls` (one a candidate, equal ones once), of a
    critic that writes `critic_tokens`, `undecided_candidates`, and `unguided_steps`, in which no candidate was decided. OperatorError for temperature 0.
    """
    assert _judge is not None, f"nobody has opened the critic {critic}"  # pipeline/guidance.py does
    check_sampling(sampling.temperature)
    if any(images_in(request.prompt) for request in requests):
        raise OperatorError(
            "evaluate.engine (guided): a critic reads text and no images; take the engine transformers."
        )
    settings = GuidedSettings(candidates, steps, step_end, max_step_tokens, then)
    draw = partial(transformers_engine, student, batch_size=batch_size, dtype=dtype)
    return guided_search(
        requests, sampling, settings, draw=draw, decode=partial(_text, student), judge=_judge,
        at_once=max(1, batch_size // candidates), finished=_finished,
    )  # fmt: skip


def check_sampling(temperature: float) -> None:
    """OperatorError where all candidates of a step would be the same."""
    if temperature == 0:
        raise OperatorError(
            "evaluate.engine (guided): at temperature 0 all candidates of a step are the same; set evaluate.temperature above 0 (the paper: 1.0)."
        )


def unguided(engine: Callable[..., Any]) -> Callable[..., Any]:
    """The same student sampled without a critic: for searches of another kind, which ask for plain answers."""
    if not isinstance(engine, partial) or engine.func is not guided:
        return engine
    kept = {name: engine.keywords[name] for name in ("batch_size", "dtype") if name in engine.keywords}
    return partial(transformers_engine, **kept)


def _text(student: Callable[[], tuple[Any, Any]], tokens: Sequence[int]) -> str:
    """The text of drawn tokens, without the end-of-turn token."""
    tokenizer: Any = student()[1]
    spoken = tokens[:-1] if tokens and tokens[-1] == tokenizer.eos_token_id else tokens
    text: str = tokenizer.decode(list(spoken), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


@dataclass(frozen=True, slots=True)
class GuidedSettings:
    """How a guided search goes: see `guided`."""

    candidates: int
    steps: int
    step_end: str
    max_step_tokens: int
    then: Literal["stop", "sample"] = "stop"


def guided_search(
    requests: Sequence[Request],
    sampling: Sampling,
    settings: GuidedSettings,
    *,
    draw: Draw,
    decode: Decode,
    judge: Judge,
    at_once: int = 16,
    finished: Finished = tell_nobody,
) -> list[Sample]:
    """One sample a request, in their order. draw: samples with their token ids that go on behind `Request.said`. decode: the text of
    such ids. at_once: searches that go on together; finished: called as each ends."""
    samples: dict[int, Sample] = {}
    waiting, at_work = list(range(len(requests)))[::-1], list[_Search]()
    cut = _sampling(sampling, settings)
    while waiting or at_work:
        while waiting and len(at_work) < at_once:
            place = waiting.pop()
            at_work.append(_Search(place, requests[place], sampling, settings, decode))
        for drawing, asked in ((cut, [s for s in at_work if not s.alone]), (sampling, [s for s in at_work if s.alone])):
            _advance(asked, drawing, draw, judge)
        for one in [search for search in at_work if search.ended]:
            at_work.remove(one)
            samples[one.place] = one.sample()
            finished(one.place, samples[one.place])
    return [samples[place] for place in range(len(requests))]


def _sampling(sampling: Sampling, settings: GuidedSettings) -> Sampling:
    """How a step is drawn."""
    stop = (settings.step_end, *(one for one in sampling.stop if one != settings.step_end))
    tokens = min(settings.max_step_tokens, sampling.max_new_tokens)
    return Sampling(1, sampling.temperature, sampling.top_p, tokens, sampling.prefill, sampling.logprobs, stop)


def _advance(searches: "Sequence[_Search]", sampling: Sampling, draw: Draw, judge: Judge) -> None:
    """One step of each of these searches: all their candidates are drawn in one call, and judged in one."""
    asked = [(one, one.requests()) for one in searches]
    flat = [request for _, mine in asked for request in mine]
    samples = iter(draw(flat, sampling) if flat else ())
    for one, mine in asked:
        one.take([next(samples) for _ in mine])
    shown = [(one, one.to_judge()) for one in searches]
    rows = [(one.problem, text) for one, texts in shown for text in texts]
    opinions = iter(judge(rows) if rows else ())
    for one, texts in shown:
        one.keep({text: next(opinions) for text in texts})


@dataclass(frozen=True, slots=True)
class _Path:
    """An answer so far: its tokens, their log-probabilities, its text, and how it ended: `stop`, `length`, or not yet ("")."""

    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    text: str = ""
    reason: str = ""
    stop: str = ""
    upto: int = 0  # of the text: where its last step ends, where a token goes on behind the end of a step


@dataclass(slots=True, eq=False)
class _Search:
    """The search for one answer. Each step is requests, take, to_judge, keep."""

    place: int
    request: Request
    sampling: Sampling
    settings: GuidedSettings
    decode: Decode
    path: _Path = _Path()
    step: int = 0
    first: bool = True  # whether every step kept so far was its first candidate
    paths: list[_Path] = field(default_factory=list)  # of this step's candidates
    costs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COSTS, 0))

    @property
    def problem(self) -> Problem:
        """What is asked."""
        assert self.request.problem is not None, "a guided search knows the problem of each request"
        return self.request.problem

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self.path.reason != ""

    @property
    def alone(self) -> bool:
        """Whether the steps are used up, and the student goes on without the critic."""
        return self.step == self.settings.steps

    def requests(self) -> list[Request]:
        """The candidates of the next step, or the rest of the answer."""
        left = self.sampling.max_new_tokens - len(self.path.tokens)
        count = 1 if self.alone else self.settings.candidates
        return [Request(self.request.prompt, self._seed(i), self.path.tokens, left, self.problem) for i in range(count)]

    def _seed(self, candidate: int) -> int:
        """The first candidate goes on with the request's own draws as long as it was always kept; all others draw anew."""
        if candidate == 0 and self.first:
            return self.request.seed
        return seed_of(self.request.seed, "guided", self.step, candidate)

    def take(self, samples: Sequence[Sample]) -> None:
        """What was drawn, as answers."""
        self.paths = [self._longer(one) for one in samples]
        self.costs[DRAWN] += sum(len(one.token_ids) for one in samples)

    def _longer(self, sample: Sample) -> _Path:
        tokens = (*self.path.tokens, *sample.token_ids)
        logprobs = (*self.path.logprobs, *sample.logprobs)
        text = self.decode(tokens)
        matches = [(at, -len(one), one) for one in self.sampling.stop if (at := text.find(one)) >= 0]
        if matches:  # the answer's own stop string, which may have begun in the step before
            at, _, stop = min(matches)
            return _Path(tokens, logprobs, text[:at], "stop", stop, at)
        cut = (
            len(tokens) >= self.sampling.max_new_tokens or not sample.token_ids
        )  # no room is left, here or in the context
        if sample.finish_reason == "stop" and not sample.stop:
            return _Path(tokens, logprobs, text, "stop", "", len(text))
        reason = "length" if cut or self.alone else ""
        end = text.rfind(self.settings.step_end) + len(self.settings.step_end) if sample.stop else len(text)
        return _Path(tokens, logprobs, text, reason, "", end if end > self.path.upto else len(text))

    def to_judge(self) -> list[str]:
        """The different texts that the critic is to judge, in the order in which they were drawn: of candidates that say something. None
        where the student goes on alone."""
        said = [] if self.alone else [path for path in self.paths if path.text[self.path.upto : path.upto].strip()]
        return list(dict.fromkeys(map(self._shown, said)))

    def _shown(self, path: _Path) -> str:
        return self.sampling.prefill + path.text[: path.upto]

    def keep(self, opinions: dict[str, Opinion]) -> None:
        """Go on with the candidate that the critic finds best, of equals the first drawn; with the first where it finds none."""
        values = [opinions[text].value if (text := self._shown(path)) in opinions else None for path in self.paths]
        decided = [(value, -place) for place, value in enumerate(values) if value is not None]
        chosen = -max(decided)[1] if decided else 0
        if not self.alone and any(
            path.tokens != self.path.tokens for path in self.paths
        ):  # else the context had no room
            self.step += 1
            self.costs[CALLS] += len(opinions)
            self.costs[UNDECIDED] += sum(value is None for value in values)
            self.costs[UNGUIDED] += not decided
            self.costs[WRITTEN] += sum(one.tokens for one in opinions.values())
        self.first = self.first and chosen == 0
        self.path, self.paths = self.paths[chosen], []
        if self.alone and not self.ended and self.settings.then == "stop":
            self.path = _Path(self.path.tokens, self.path.logprobs, self.path.text, "length")

    def sample(self) -> Sample:
        """The answer that was found."""
        facts: dict[str, Any] = {"engine": GUIDED, "steps": self.step}
        facts |= {name: count for name, count in self.costs.items() if count or name in (DRAWN, CALLS)}
        path = self.path
        return Sample(path.text, len(path.tokens), path.reason, facts, path.tokens, path.logprobs, path.stop)
