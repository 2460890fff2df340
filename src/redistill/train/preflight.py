"""The token checks that stop a run before it wastes anything: those without data first, those on rows once there are some.

check_before_run(recipe, tokenizer)             before any work
check_rows(recipe, tokenizer, examples)         before training
"""

import itertools
from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerFast

from redistill.config.tables import PromptSettings, Recipe, StudentSettings
from redistill.model import loading
from redistill.model.rendering import check_prompts, renderer
from redistill.records import Example, Pair, Problem, make_problem
from redistill.train.token_checks import Subject, Text, refuse, token_rows

EXAMPLE = (
    make_problem("What is 2+2?", answer="4"),
    "<think>\n2 and 2 make 4.\n</think>\n\nThe answer is \\boxed{4}.",
)


CHECKED_ROWS = (
    64  # rows of the data that the checks look at; reading them takes no time, and seams differ from row to row
)


def make_subject(
    student: StudentSettings,
    prompt: PromptSettings,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[Text],
    prefill: str,
    wanted: dict[str, int],
) -> Subject:
    """The student as the checks want to see it."""
    render, chat = renderer(prompt.for_training, tokenizer)
    plain = student if student.from_config else student.model_copy(update={"config_edits": {}})
    return Subject(
        tokenizer=tokenizer,
        config=loading.load_config(student, len(tokenizer)),
        original=loading.load_config(plain, len(tokenizer)),
        template=render.keywords["template"],
        chat=chat,
        asked_chat=renderer(prompt.for_evaluation, tokenizer)[1],
        prefill=prefill,
        rows=token_rows(tokenizer, texts, prefill),
        wanted=wanted,
    )


def texts_of(
    prompt: PromptSettings, tokenizer: PreTrainedTokenizerFast, records: Iterable[tuple[Problem, str]]
) -> list[Text]:
    """(problem, completion) pairs under both prompts of a recipe: as training holds them and as evaluation asks."""
    taught, asked = (renderer(use, tokenizer)[0] for use in (prompt.for_training, prompt.for_evaluation))
    return [Text(taught(problem), completion, asked(problem)) for problem, completion in records]


def check_before_run(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> None:
    """The checks that need no data, before any work begins. OperatorError with the first that fails."""
    if recipe.student.from_config is not None:
        loading.check_buildable(loading.load_config(recipe.student, len(tokenizer)))
    check_prompts(recipe.prompt, tokenizer)
    texts = texts_of(recipe.prompt, tokenizer, [(EXAMPLE[0], ANSWER_ALONE)])
    refuse(
        make_subject(recipe.student, recipe.prompt, tokenizer, texts, recipe.evaluate.prefill, _written_lengths(recipe))
    )


def _written_lengths(recipe: Recipe) -> dict[str, int]:
    """The lengths that a recipe writes itself, by their settings; a default that does not fit ends at the context unsaid."""
    lengths: dict[str, int | None] = {}
    if "max_new_tokens" in recipe.evaluate.model_fields_set:
        lengths["evaluate.max_new_tokens"] = recipe.evaluate.max_new_tokens
    for name, stage in recipe.train.items():
        lengths[f"train.{name}.max_tokens"] = stage.max_tokens
        if stage.rollouts is not None:
            lengths[f"train.{name}.rollouts.max_new_tokens"] = stage.rollouts.max_new_tokens
    return {setting: length for setting, length in lengths.items() if length}


ANSWER_ALONE = "4"  # a completion that says nothing of how this recipe's traces begin


def check_rows(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, records: Iterable[Example | Pair]) -> None:
    """What needs the data, on the first rows that select made. OperatorError where they open <think> a second time."""
    first = itertools.islice(records, CHECKED_ROWS)
    texts = [Text(r.prompt, r.completion if isinstance(r, Example) else r.chosen, r.prompt) for r in first]
    refuse(make_subject(recipe.student, recipe.prompt, tokenizer, texts, recipe.evaluate.prefill, {}), ["opening"])
