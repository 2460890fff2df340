"""A student sits an exam: problems -> samples -> verdicts -> scores. One code for a stage's dev score, the guard's probe and
`redistill evaluate`.

    exam = Exam(engine, render, judge, "cascade", sampling, seed=0, limits=recipe.verify)
    with exam.pool() as pool:
        groups = judged(pool, answered(exam, student, problems, author="redi"), exam.verifier)
    sit(room, exam, problems, student, author="redi", label="evaluate redi")         the same, into a room, resumable

What is drawn is kept at once (rollout/journal.py), what is judged is kept by the shard, and scores are a function of that.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from redistill.evaluate import BENCHMARKS, score
from redistill.evaluate.scores import STRICT
from redistill.executors import cores
from redistill.progress import bar, say
from redistill.prompts import ASKED_ANCHORS
from redistill.recipes.shards import judged, verified_shard
from redistill.records import Group, Problem
from redistill.rollout import Sampling, Student, draw, requests_for, traces_of
from redistill.rollout.requests import Sample
from redistill.settings import (
    BenchmarkSettings,
    EvaluateSettings,
    Evaluation,
    LimitSettings,
    Plugin,
    Recipe,
    bind,
    options_of,
)
from redistill.storage import Room, write_json
from redistill.verify import VERIFIERS
from redistill.verify.pool import VerifierPool

ROLLOUTS_PER_SHARD = 512  # completions between two done-markers; what is drawn before one is in the journal


@dataclass(frozen=True, slots=True)
class Exam:
    """All that scores depend on but the student and the problems. `verifier` names the one of `judge` that decides."""

    engine: Callable[..., list[Sample]]
    render: Callable[[Problem], str]
    judge: Mapping[str, Callable[..., Any]]
    verifier: str
    sampling: Sampling
    seed: int
    limits: LimitSettings

    def pool(self, workers: int | None = None) -> VerifierPool:
        """The workers that judge; close them (`with`)."""
        limits = self.limits
        return VerifierPool(
            self.judge,
            workers=workers or limits.workers or cores(),
            timeout_seconds=limits.timeout_seconds,
            memory_mb=limits.memory_mb,
        )


def is_held_out(benchmark: BenchmarkSettings) -> bool:
    """True for the held-out problems of the corpus, which are no file."""
    return benchmark.name == "dev" and benchmark.file is None


def sampling_of(settings: EvaluateSettings) -> Sampling:
    """How a recipe draws its samples."""
    return Sampling(settings.n, settings.temperature, settings.top_p, settings.max_new_tokens, settings.prefill)


def manner(benchmark: BenchmarkSettings, recipe: Recipe | Evaluation) -> tuple[str, Plugin, str, tuple[str, ...]]:
    """(template, verifier, its place in the recipe, strict anchors): the benchmark's own entry goes first, then what the
    registry says of a benchmark that cannot be asked like others, then the recipe."""
    known = None if is_held_out(benchmark) else BENCHMARKS.get(benchmark.name)
    template = benchmark.template or (known and known.template) or recipe.prompt.template
    verifier, where = recipe.evaluate.verifier, "evaluate.verifier"
    if known and known.verifier:
        verifier = Plugin(name=known.verifier)
    if benchmark.verifier:
        verifier, where = benchmark.verifier, f"evaluate.benchmarks ({benchmark.name}): verifier"
    strict = recipe.evaluate.strict_anchors
    return template, verifier, where, ASKED_ANCHORS.get(template, ()) if strict is None else tuple(strict)


def description(benchmark: BenchmarkSettings, recipe: Recipe | Evaluation) -> dict[str, Any]:
    """How a benchmark was asked and judged, for the ledger, the scores and the page; `prefill` opens every completion."""
    template, verifier, _, anchors = manner(benchmark, recipe)
    settings = recipe.evaluate.model_dump(mode="json", exclude={"models", "benchmarks"})
    asked = {"template": template, "chat": recipe.prompt.chat, "seed": recipe.seed}
    return {**settings, "verifier": verifier.model_dump(), "strict_anchors": list(anchors), **asked}


def judges_of(verifier: Plugin, where: str, strict_anchors: Sequence[str] = ()) -> dict[str, partial[Any]]:
    """The verifier by its name, and beside it `strict`: the same, reading an answer only where the prompt asked for it."""
    judges = {verifier.name: bind(VERIFIERS, verifier, where)}
    if strict_anchors and "anchors" in options_of(judges[verifier.name].func):
        narrow = {**verifier.options, "anchors": list(strict_anchors)}
        judges[STRICT] = bind(VERIFIERS, Plugin(name=verifier.name, options=narrow), "evaluate.strict_anchors")
    return judges


def answered(
    exam: Exam,
    student: Callable[[], Any],
    problems: Sequence[Problem],
    *,
    author: str,
    journal: Path | None = None,
    tell: Callable[[Sample], None] = lambda sample: None,
) -> Iterator[Group]:
    """The problems with the student's n samples each, not judged yet."""
    n = exam.sampling.n
    asked = [requests_for(p, exam.render(p), exam.sampling, seed=exam.seed) for p in problems]
    flat = [request for requests in asked for request in requests]
    samples = draw(exam.engine, student, flat, exam.sampling, journal=journal, tell=tell)
    for place, (problem, requests) in enumerate(zip(problems, asked)):
        mine = samples[place * n : (place + 1) * n]
        yield Group(problem, traces_of(problem, mine, requests, exam.sampling, author=author))


def sit(
    room: Room, exam: Exam, problems: Sequence[Problem], student: Callable[[], Any], *, author: str, label: str
) -> None:
    """Fill the room with the student's judged answers; what a killed run left there is kept."""
    if room.is_finished():
        return
    room.open()
    n = exam.sampling.n
    size = max(1, ROLLOUTS_PER_SHARD // n)
    shards = [problems[i : i + size] for i in range(0, len(problems), size)]
    journal = room.folder / "samples.jsonl"
    load = student if isinstance(student, Student) else Student(student)
    with exam.pool() as pool, bar(label=label, unit="answer", total=len(problems) * n) as bar_:
        for index, part in enumerate(shards):
            if room.is_done(index):
                bar_.update(len(part) * n)
                continue
            groups = answered(exam, load, part, author=author, journal=journal, tell=_counted(bar_))
            room.finish_shard(index, verified_shard(list(judged(pool, groups, exam.verifier))))
            journal.unlink(missing_ok=True)  # its samples lie in the shard now
    journal.unlink(missing_ok=True)
    room.finish(len(shards))


def scored(room: Room, *, n: int, seed: int, word: str = "evaluate", **facts: Any) -> dict[str, Any]:
    """Score what lies in a finished room, write scores.json with `facts` beside the scores, and say it in a line."""
    scores = {**facts, **score(room.read("groups"), n=n, seed=seed)}
    write_json(room.folder / "scores.json", scores)
    value, error = scores["pass_at_1"]["value"], scores["pass_at_1"]["sem_over_problems"]
    spread = "" if error is None else f" ± {error:.3f} (SEM over {scores['num_problems']} problems)"
    say(f"{word} {facts['model']} on {facts['benchmark']}: pass@1 {value:.3f}{spread}")
    return scores


def _counted(bar_: Any) -> Callable[[Sample], None]:
    """Moves the bar on by one answer, and shows how many tokens a second have been drawn since it began."""
    tokens = 0

    def tell(sample: Sample) -> None:
        nonlocal tokens
        tokens += sample.num_tokens or 0
        seconds = bar_.format_dict["elapsed"]
        if seconds > 0:
            bar_.set_postfix_str(f"{tokens / seconds:,.0f} tokens/s", refresh=False)
        bar_.update(1)

    return tell
