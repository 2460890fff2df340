"""The teachers that a recipe names: which stages they are, what they depend on, and how they are loaded.

load = teacher_of({"model": "Qwen/Qwen2.5-7B"}, recipe, load_student)       a function that loads model and tokenizer
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from redistill.config.tables import Recipe, StageSettings, StudentSettings
from redistill.model import loading
from redistill.pipeline.student_identity import student_identity

Teacher = str | StudentSettings


def teachers_of(stage: StageSettings) -> Iterator[Teacher]:
    """The teachers of a stage: its objective's, and that of its rollouts' advantage."""
    for teacher in (stage.teacher, stage.rollouts.teacher if stage.rollouts is not None else None):
        if teacher is not None:
            yield teacher


def stages_named(stage: StageSettings) -> set[str]:
    """The teachers that are `base` or other stages of the recipe."""
    return {teacher for teacher in teachers_of(stage) if isinstance(teacher, str)}


def key_of_teachers(stage: StageSettings) -> dict[str, Any]:
    """What the others are, for the stage's cache key."""
    others = [teacher for teacher in teachers_of(stage) if isinstance(teacher, StudentSettings)]
    return {f"teacher {number}": student_identity(teacher) for number, teacher in enumerate(others, 1)}


def teacher_of(teacher: Teacher, recipe: Recipe, load: Callable[[str], Any]) -> Callable[[], Any]:
    """What loads the teacher and its tokenizer. load: loads `base`, or the student that a stage left."""
    if isinstance(teacher, str):
        return partial(load, teacher)
    tokenizer = loading.load_tokenizer(teacher)
    return lambda: (loading.load_model(teacher, tokenizer, seed=recipe.seed), tokenizer)
