"""Tree search for a right answer, as in ThinkLite-VL (arXiv 2504.07934): after how many tries does this student solve a problem?

    found = search(problems, render=render, sample=sample, judge=judge, settings=SearchSettings(budget=50), seed=0, author="base")
    found[0].solved_at      7: the seventh try was the first right one; None: none was

A state is an answer that ends after a step. Each try goes down the tree to a leaf by a rule that favours what was visited least,
expands it with `children` sampled steps, takes one of them at random, lets the student finish the answer, and has it judged. A right
answer ends the search. A wrong one raises the visit counts on the way up.

All problems take their tries together, so a server or a batch in this process is full: one call samples the steps of all open searches,
and one finishes their answers. Seeds are made of (seed, problem, try), so a search does not depend on its neighbours.

    What the tree cannot do: the first steps below the root are sampled once. Where a first step is good with probability q, a problem
    stays unsolved with probability (1 - q)**children or more, whatever the budget.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from redistill.errors import OperatorError
from redistill.records import Outcome, Problem, Trace, make_trace
from redistill.rollout.requests import Request, Sample, Sampling, seed_of

Rule = Callable[..., float]
Draw = Callable[[Sequence[Request], Sampling], Sequence[Sample]]
Judge = Callable[[Sequence[tuple[Problem, Trace]]], Sequence[Trace]]


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How a tree is searched. Defaults are the paper's, but for `max_new_tokens`, which is 2,048 per step there.

    budget: tries, after which a problem is unsolved. stop_after: fewer tries, where only a cut matters; a problem that they do not
    solve is not called unsolved. step_end: the string that ends a step. max_steps: an answer with more steps is cut. max_new_tokens: of
    a step, and of the rest of an answer. rule: `paper` sqrt(N) / (1 + n), `code` UCB1; both visit the least visited child first as long as nothing was right.
    duplicates: `keep` lets equal children stand side by side, as the released code does; `merge` leaves one of them.
    """

    budget: int = 50
    stop_after: int | None = None
    children: int = 3
    step_end: str = "\n\n"
    max_steps: int = 10
    max_new_tokens: int = 2048
    temperature: float = 0.5
    top_p: float = 0.9
    prefill: str = ""
    rule: Literal["paper", "code"] = "paper"
    duplicates: Literal["keep", "merge"] = "keep"

    @property
    def tries(self) -> int:
        """The most tries of one search."""
        return self.budget if self.stop_after is None else min(self.budget, self.stop_after)

    def sampling(self, *, steps: bool) -> Sampling:
        """How a step is drawn, or the rest of an answer."""
        stop = (self.step_end,) if steps else ()
        return Sampling(1, self.temperature, self.top_p, self.max_new_tokens, self.prefill, stop=stop)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found of one problem.

    solved_at: the try, counted from 1, of the first right answer; None where there was none. tries: how many there were. traces: the
    finished answers with their verdicts, each text once, in the order of the tries. first_steps: how many different ones the root has.
    samples, tokens: what was drawn for all that, steps that were not followed among them; tokens None where a server does not count.
    """

    problem: Problem
    solved_at: int | None
    tries: int
    traces: tuple[Trace, ...]
    first_steps: int
    samples: int
    tokens: int | None


def search(
    problems: Sequence[Problem],
    *,
    render: Callable[[Problem], str],
    sample: Draw,
    judge: Judge,
    settings: SearchSettings,
    seed: int,
    author: str,
    tell: Callable[[Problem], object] = lambda problem: None,
) -> list[Found]:
    """One result a problem, in their order.

    render: a problem's prompt. sample: one sample a request (an engine, or `draw` with a journal). judge: the traces with their
    verdicts. tell: called with each problem whose search has ended. OperatorError where a server does not say what ended a step.
    """
    trees = [_Tree(problem, render(problem), settings, seed, author) for problem in problems]
    for _ in range(settings.tries):
        at_work = [tree for tree in trees if tree.solved_at is None]
        for tree in at_work:
            tree.go_down()
        _serve([(tree, tree.steps_to_draw()) for tree in at_work], _Tree.expand, sample, settings.sampling(steps=True))
        _serve(
            [(tree, tree.answer_to_draw()) for tree in at_work], _Tree.finish, sample, settings.sampling(steps=False)
        )
        unjudged = [(tree, trace) for tree in at_work if (trace := tree.unjudged()) is not None]
        verdicts = judge([(tree.problem, trace) for tree, trace in unjudged]) if unjudged else []
        for (tree, _trace), judged in zip(unjudged, verdicts, strict=True):
            tree.traces[judged.completion] = judged
        for tree in at_work:
            tree.go_up()
            if tree.solved_at is not None or tree.tries == settings.tries:
                tell(tree.problem)
    return [tree.found() for tree in trees]


def _serve(
    asked: Sequence[tuple["_Tree", list[Request]]],
    take: "Callable[[_Tree, Sequence[Sample]], object]",
    sample: Draw,
    sampling: Sampling,
) -> None:
    """Draw what all trees ask for in one call, and give each its own."""
    requests = [request for _, mine in asked for request in mine]
    samples = iter(sample(requests, sampling)) if requests else iter(())
    for tree, mine in asked:
        if mine:
            take(tree, [next(samples) for _ in mine])


@dataclass(slots=True, eq=False)
class _Node:
    """An answer up to the end of a step. ended: nothing can follow; finish_reason and tokens are those of its text."""

    text: str
    parent: "_Node | None"
    steps: int
    tokens: int | None
    ended: bool = False
    finish_reason: str | None = None
    visits: int = 0
    children: list["_Node"] = field(default_factory=list)


class _Tree:
    """The search for one problem. Each try is go_down, expand, finish, judge, go_up."""

    def __init__(self, problem: Problem, prompt: str, settings: SearchSettings, seed: int, author: str) -> None:
        self.problem, self.prompt, self.settings, self.seed, self.author = problem, prompt, settings, seed, author
        self.rule, self.random = RULES[settings.rule], random.Random(f"search:{seed}:{problem.id}")
        self.root = _Node("", None, 0, 0)
        self.here = self.root  # where this try stands
        self.answer = ""
        self.traces: dict[str, Trace] = {}  # by completion: an answer is judged once, however often it comes
        self.solved_at: int | None = None
        self.tries = self.samples = 0
        self.tokens: int | None = 0

    def go_down(self) -> None:
        """To a leaf: at each node to the child that the rule puts first, of equals the oldest."""
        self.tries += 1
        self.here = self.root
        while self.here.children:
            above = self.here.visits
            self.here = max(self.here.children, key=lambda child: self.rule(above, child.visits))

    def steps_to_draw(self) -> list[Request]:
        """The next steps to sample here; none where the answer has ended."""
        return [] if self.here.ended else [self._request("step", i) for i in range(self.settings.children)]

    def expand(self, samples: Sequence[Sample]) -> None:
        """Hang the steps below this node, and go to one of them at random."""
        for step in samples:
            self._count(step)
            child = self._child(step)
            twin = any((child.text, child.ended) == (other.text, other.ended) for other in self.here.children)
            if not (twin and self.settings.duplicates == "merge"):
                self.here.children.append(child)
        self.here = self.random.choice(self.here.children)

    def answer_to_draw(self) -> list[Request]:
        """The rest of the answer to sample from here; nothing where it has ended."""
        if self.here.ended:
            self._keep(self.here.text, self.here.finish_reason, self.here.tokens)
            return []
        return [self._request("rest", 0)]

    def finish(self, samples: Sequence[Sample]) -> None:
        """The whole answer, cut after the last step that it may have."""
        (rest,) = samples
        self._count(rest)
        end, most = self.settings.step_end, self.settings.max_steps - self.here.steps
        pieces = rest.text.split(end)
        cut = len(pieces) > most and any(pieces[most:])
        text = end.join(pieces[:most]) + end if cut else rest.text
        self._keep(
            self.here.text + text, "length" if cut else rest.finish_reason, _sum(self.here.tokens, rest.num_tokens)
        )

    def unjudged(self) -> Trace | None:
        """The finished answer, where it has no verdict yet."""
        trace = self.traces[self.answer]
        return None if trace.verdicts else trace

    def go_up(self) -> None:
        """A right answer ends the search; the way of any other is counted as visited."""
        if self.traces[self.answer].verdict.outcome is Outcome.correct:
            self.solved_at = self.tries
            return
        node: _Node | None = self.here
        while node is not None:
            node.visits += 1
            node = node.parent

    def found(self) -> Found:
        """The result."""
        firsts = len({node.text for node in self.root.children})
        traces = tuple(self.traces.values())
        return Found(self.problem, self.solved_at, self.tries, traces, firsts, self.samples, self.tokens)

    def _request(self, what: str, index: int) -> Request:
        prompt = self.prompt + self.settings.prefill + self.here.text
        return Request(prompt, seed_of(self.seed, self.problem.id, "search", self.tries, what, index))

    def _child(self, step: Sample) -> _Node:
        if step.stop is None:
            raise OperatorError(
                f"search: the server does not report whether the step end {self.settings.step_end!r} or the student ended a step; vLLM and "
                "SGLang do, as does sampling in this process (engine: transformers)."
            )
        ended = not step.stop
        steps, tokens = self.here.steps + 1, _sum(self.here.tokens, step.num_tokens)
        if not ended and steps == self.settings.max_steps:
            return _Node(self.here.text + step.text + step.stop, self.here, steps, tokens, True, "length")
        text = self.here.text + step.text + step.stop
        return _Node(text, self.here, steps, tokens, ended, step.finish_reason if ended else None)

    def _keep(self, text: str, finish_reason: str | None, tokens: int | None) -> None:
        self.answer = self.settings.prefill + text
        if self.answer in self.traces:
            return
        drawn = {
            "sample_index": self.tries - 1, "temperature": self.settings.temperature, "top_p": self.settings.top_p, "prefill": self.settings.prefill,
            "max_new_tokens": self.settings.max_new_tokens, "seed": self.seed, "step_end": self.settings.step_end,
        }  # fmt: skip
        self.traces[self.answer] = make_trace(
            self.problem.id,
            self.answer,
            author=self.author,
            sampling=drawn,
            finish_reason=finish_reason,
            num_tokens=tokens,
        )

    def _count(self, sample: Sample) -> None:
        self.samples += 1
        self.tokens = _sum(self.tokens, sample.num_tokens)


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


# --- rules: (visits of the parent, visits of the child, mean reward of the child) -> what the child is worth ------------------


def paper(parent: int, child: int, value: float = 0.0) -> float:
    """sqrt(N) / (1 + n). The value has no part in it: the search ends with the first reward, so it is 0 until then."""
    return math.sqrt(parent) / (1 + child)


def ucb1(parent: int, child: int, value: float = 0.0) -> float:
    """UCB1 with constant 1: value + sqrt(ln N / n), unvisited children first."""
    return math.inf if child == 0 else value + math.sqrt(math.log(parent) / child)


RULES: dict[str, Rule] = {
    "paper": paper,
    "code": ucb1,
}
