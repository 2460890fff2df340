"""A problem's prompt text for one student: the recipe's template, in the tokenizer's chat template where asked for.

render, chat = renderer(recipe.prompt, tokenizer);  render(problem)  ->  "<|im_start|>user\\nWhat is 2+2?..."
"""

from collections.abc import Callable
from functools import partial

from transformers import PreTrainedTokenizerFast

from redistill.config.tables import PromptSettings
from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.text.prompts import TEMPLATES, render


def check_template(name: str, where: str) -> None:
    """OperatorError for what is neither a template's name nor text with one {problem} in it."""
    if name not in TEMPLATES and name.count("{problem}") != 1:
        raise OperatorError(
            f"{where}: {name!r} is neither a template nor text with one {{problem}} in it{did_you_mean(name, TEMPLATES)}"
        )


def renderer(
    prompt: PromptSettings, tokenizer: PreTrainedTokenizerFast
) -> tuple[partial[str], Callable[[str], str] | None]:
    """(problem -> prompt text, the chat function or None). OperatorError for a template that is none."""
    name = prompt.template
    check_template(name, "prompt.template")
    chat = loading.chat_function(tokenizer) if prompt.chat else None
    return partial(render, template=TEMPLATES.get(name, name), chat=chat), chat  # pickles, for processes that select
