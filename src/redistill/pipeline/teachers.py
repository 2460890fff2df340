"""The teachers that a recipe names: which stages they are, what they depend on, and how they are opened.

load = loader_of("sft", recipe, load_student)                     of an objective: gives model and tokenizer
spec = spec_of({"base_url": ..., "model": ...}, given)            of the advantage `teacher`: train/teachers.py
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from redistill.config.tables import (
    Recipe,
    SelfTeacher,
    ServerTeacher,
    StageSettings,
    StudentSettings,
    TeachersBySource,
)
from redistill.errors import OperatorError
from redistill.io.api_keys import KEY_ENV, BaseUrl, KeyEnv
from redistill.io.client import Server
from redistill.model import loading
from redistill.pipeline.student_identity import student_identity
from redistill.records import Group, Outcome, Problem
from redistill.train.rollouts import Round

if TYPE_CHECKING:
    from redistill.train import teachers

OneTeacher = str | StudentSettings | ServerTeacher | SelfTeacher
AnyTeacher = OneTeacher | TeachersBySource


def each(teacher: AnyTeacher | None) -> Iterator[OneTeacher]:
    """The teacher, or all of those that are routed by source."""
    if isinstance(teacher, TeachersBySource):
        yield from teacher.by_source.values()
    elif teacher is not None:
        yield teacher


def teachers_of(stage: StageSettings) -> Iterator[OneTeacher]:
    """The teachers of a stage: its objective's, and those of its rollouts' advantage."""
    yield from each(stage.teacher)
    yield from each(stage.rollouts.teacher if stage.rollouts is not None else None)


def stages_named(stage: StageSettings) -> set[str]:
    """The teachers that are `base` or other stages of the recipe."""
    return {teacher for teacher in teachers_of(stage) if isinstance(teacher, str)}


def needs_traces(stage: StageSettings) -> bool:
    """True when a teacher is shown the corpus's right traces, with their verdicts."""
    return any(isinstance(t, SelfTeacher) and t.context == "right-trace" for t in teachers_of(stage))


TRANSPORT = ("base_url", "key_env", "concurrency", "retries", "timeout_seconds")  # no part of a result


def transport_of(stage: StageSettings) -> list[str]:
    """Paths in the stage's table that cannot change its result: how a server is reached."""
    teacher = stage.rollouts.teacher if stage.rollouts is not None else None
    places = {"rollouts.teacher": teacher}
    if isinstance(teacher, TeachersBySource):
        places = {f"rollouts.teacher.by_source.{source}": one for source, one in teacher.by_source.items()}
    return [f"{place}.{name}" for place, one in places.items() if isinstance(one, ServerTeacher) for name in TRANSPORT]


def key_of_teachers(stage: StageSettings) -> dict[str, Any]:
    """What the others are, for the stage's cache key."""
    others = [teacher for teacher in teachers_of(stage) if isinstance(teacher, StudentSettings)]
    return {f"teacher {number}": student_identity(teacher) for number, teacher in enumerate(others, 1)}


def check_teacher(teacher: AnyTeacher | None, where: str) -> None:
    """OperatorError for a server's address or key variable that a recipe may not hold."""
    for one in each(teacher):
        if isinstance(one, ServerTeacher):
            try:
                TypeAdapter(BaseUrl).validate_python(one.base_url)
                TypeAdapter(KeyEnv).validate_python(one.key_env or KEY_ENV)
            except OperatorError as error:
                raise OperatorError(f"{where}.teacher: {error}") from error


def check_sources(teacher: AnyTeacher | None, problems: Sequence[Problem], where: str) -> None:
    """OperatorError where teachers are routed by source, and problems of some source have none."""
    if not isinstance(teacher, TeachersBySource):
        return
    missing = sorted({problem.source for problem in problems} - teacher.by_source.keys())
    if missing:
        named = ", ".join(repr(source) for source in missing[:5])
        raise OperatorError(
            f"{where}.teacher.by_source: problems of {named} have no teacher (set for "
            f"{', '.join(teacher.by_source)}); set one for each source. Nothing has been sampled."
        )


def loader_of(teacher: str | StudentSettings, recipe: Recipe, load: Callable[[str], Any]) -> Callable[[], Any]:
    """What loads the teacher and its tokenizer. load: loads `base`, or the student that a stage left."""
    if isinstance(teacher, str):
        return partial(load, teacher)
    tokenizer = loading.load_tokenizer(teacher)
    return lambda: (loading.load_model(teacher, tokenizer, seed=recipe.seed), tokenizer)


# --- of the advantage `teacher` ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Given:
    """What teachers of a stage's rollouts are made with."""

    recipe: Recipe
    load: Callable[[str], Any]
    start: Callable[[], Any]  # loads what the stage starts from
    render: Callable[[Problem], str]  # a problem's prompt, prefill included
    right_traces: Mapping[str, str]  # problem id -> the text of a right trace
    limit: int  # tokens of the longest sequence


def spec_of(teacher: AnyTeacher, given: Given) -> "teachers.TeacherSpec":
    """The teacher as the stage's supply opens it."""
    from redistill.train import teachers

    if isinstance(teacher, TeachersBySource):
        return teachers.TeachersBySource({source: spec_of(one, given) for source, one in teacher.by_source.items()})
    if isinstance(teacher, ServerTeacher):
        server = Server(
            teacher.base_url, teacher.key_env or KEY_ENV, teacher.concurrency, teacher.retries, teacher.timeout_seconds
        )
        return teachers.AskedTeacher(server, teacher.model, teacher.reads)
    if isinstance(teacher, SelfTeacher):
        own = teacher.context == "own-right-answer"
        return teachers.SelfTeacher(
            contexts=own_right_answer if own else partial(_of_corpus, given.right_traces),
            render=partial(_with_context, given.render, teacher.template),
            limit=given.limit,
            load=None if teacher.self == "now" else given.start,
        )
    return teachers.LoadedTeacher(loader_of(teacher, given.recipe, given.load))


def _with_context(render: Callable[[Problem], str], template: str, problem: Problem, context: str) -> str:
    # one after the other, from the right: a statement may hold braces, and a trace the words of a place
    before, after = template.split("{context}")
    statement = f"{before}\0{after}".replace("{problem}", problem.statement).replace("\0", context)
    return render(dataclasses.replace(problem, statement=statement))


def _of_corpus(right_traces: Mapping[str, str], problem: Problem, trace_id: str, drawn: Round) -> str:
    return right_traces.get(problem.id, "")


def own_right_answer(problem: Problem, trace_id: str, drawn: Round) -> str:
    """The first right answer of the round to the same problem that is another one; "" where there is none."""
    (group,) = [group for group in drawn.groups if group.problem.id == problem.id]
    return next((t.completion for t in group.traces if t.verdict.outcome is Outcome.correct and t.id != trace_id), "")


def first_right_traces(groups: Sequence[Group] | Iterator[Group], asked: set[str]) -> dict[str, str]:
    """{problem id: the text of its first right trace} of the problems that are asked."""
    traces = {}
    for group in groups:
        right = [trace for trace in group.traces if trace.verdict.outcome is Outcome.correct]
        if group.problem.id in asked and right:
            traces[group.problem.id] = right[0].completion
    return traces
