"""The token checks that stop a run before it wastes anything: those without data first, those on rows once there are some.

check_before_run(recipe, tokenizer)             before any work
check_rows(recipe, tokenizer, examples)         before training
"""

import itertools
from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerFast

from redistill.config.tables import PromptSettings, Recipe, StudentSettings
from redistill.model import loading
from redistill.model.rendering import renderer
from redistill.records import Example, Pair, make_problem
from redistill.text.prompts import TEMPLATES
from redistill.train.token_checks import Subject, refuse, token_rows

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
    texts: Sequence[tuple[str, str]],
    prefill: str,
    wanted: dict[str, int],
) -> Subject:
    """The student as the checks want to see it; `texts` are (prompt, completion)."""
    _, chat = renderer(prompt, tokenizer)
    plain = student if student.from_config else student.model_copy(update={"config_edits": {}})
    return Subject(
        tokenizer=tokenizer,
        config=loading.load_config(student, len(tokenizer)),
        original=loading.load_config(plain, len(tokenizer)),
        template=TEMPLATES.get(prompt.template, prompt.template),
        chat=chat,
        prefill=prefill,
        rows=token_rows(tokenizer, texts, prefill),
        wanted=wanted,
    )


def check_before_run(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> None:
    """The checks that need no data, before any work begins. OperatorError with the first that fails."""
    if recipe.student.from_config is not None:
        loading.check_buildable(loading.load_config(recipe.student, len(tokenizer)))
    render, _ = renderer(recipe.prompt, tokenizer)
    texts = [(render(EXAMPLE[0]), ANSWER_ALONE)]
    asked = {f"train.{name}.max_tokens": s.max_tokens for name, s in recipe.train.items() if s.max_tokens}
    refuse(make_subject(recipe.student, recipe.prompt, tokenizer, texts, recipe.evaluate.prefill, asked))


ANSWER_ALONE = "4"  # a completion that says nothing of how this recipe's traces begin


def check_rows(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, records: Iterable[Example | Pair]) -> None:
    """What needs the data, on the first rows that select made. OperatorError where they open <think> a second time."""
    first = itertools.islice(records, CHECKED_ROWS)
    texts = [(r.prompt, r.completion if isinstance(r, Example) else r.chosen) for r in first]
    refuse(make_subject(recipe.student, recipe.prompt, tokenizer, texts, recipe.evaluate.prefill, {}), ["opening"])
