"""A problem's prompt text for one student: the recipe's template, in the tokenizer's chat template where asked for.

render, chat = renderer(recipe.prompt.for_training, tokenizer);  render(problem)  ->  "<|im_start|>user\\nWhat is 2+2?..."
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from transformers import PreTrainedTokenizerFast

from redistill.config.tables import PromptSettings, PromptText
from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.model.pictures import pictures_of
from redistill.text.prompts import CHAT_TEMPLATES, TEMPLATES, render


def check_template(name: str, where: str) -> None:
    """OperatorError for what is neither a template's name nor text with one {problem} in it."""
    if name not in TEMPLATES and name.count("{problem}") != 1:
        raise OperatorError(
            f"{where}: {name!r} is neither a template nor text with one {{problem}} in it{did_you_mean(name, TEMPLATES)}"
        )
    if name.count("{image}") > 1:
        raise OperatorError(f"{where}: {name!r} places the images more than once; write {{image}} once.")


def check_prompts(prompt: PromptSettings, tokenizer: PreTrainedTokenizerFast) -> None:
    """OperatorError where the prompt of a use names no template, or a chat template that the tokenizer does not have."""
    uses: tuple[tuple[Literal["train", "evaluate"], PromptText], ...]
    uses = (("train", prompt.for_training), ("evaluate", prompt.for_evaluation))
    for use, text in uses:
        check_template(text.template, prompt.place(use, "template"))
        if text.chat:
            loading.chat_function(tokenizer, prompt.place(use, "chat"))


def renderer(
    prompt: PromptText, tokenizer: PreTrainedTokenizerFast, shots: Sequence[tuple[str, str]] = ()
) -> tuple[partial[str], Callable[[str], str] | None]:
    """(problem -> prompt text, the chat function or None); shots: worked examples before each problem. OperatorError for a template
    that is none."""
    check_template(prompt.template, "prompt.template")
    chat = loading.chat_function(tokenizer) if prompt.chat else None
    text = TEMPLATES.get(prompt.template, prompt.template)
    if chat:
        text = CHAT_TEMPLATES.get(prompt.template, text)
    seen: dict[str, Any] = {"images": True} if pictures_of(tokenizer) is not None else {}
    if shots:
        seen["shots"] = tuple(shots)
    return partial(render, template=text, chat=chat, **seen), chat  # pickles, for processes that select
