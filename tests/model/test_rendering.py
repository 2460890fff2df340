"""Prompts of a student: the recipe's template, in the tokenizer's chat template where asked for."""

import pytest

from redistill.config.tables import PromptSettings, PromptText
from redistill.errors import OperatorError
from redistill.model.loading import character_tokenizer
from redistill.model.rendering import check_prompts, renderer
from redistill.records import make_problem

CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<eos>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
INSTRUCTION = (  # of the paper's own code, two spaces included
    "Solve the following math problem efficiently and clearly.  The last line of your response should be of the following "
    "format: 'Therefore, the final answer is: $\\boxed{ANSWER}$. I hope it is correct' (without quotes) where ANSWER is just the "
    "final number or expression that solves the problem. Think step by step before answering."
)


@pytest.fixture
def tokenizer():
    made = character_tokenizer("ab")
    made.chat_template = CHAT
    return made


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ({"template": "bare"}, "1+1?"),
        ({"template": "bare", "chat": True}, "<user>1+1?<eos><assistant>"),
        ({"template": "Q: {problem}\nA:"}, "Q: 1+1?\nA:"),
        ({"template": "paper"}, f"{INSTRUCTION}\n\n1+1?\n\n"),
        ({"template": "paper", "chat": True}, f"<user>{INSTRUCTION}\n\n1+1?<eos><assistant>"),
    ],
)
def test_a_prompt_is_its_template_in_the_chat_template_where_asked_for(tokenizer, prompt, text):
    render, chat = renderer(PromptText(**prompt), tokenizer)
    assert render(make_problem("1+1?")) == text and (chat is not None) == prompt.get("chat", False)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (
            {"template": "palin"},
            "prompt.template: 'palin' is neither a template nor text with one {problem} in it; did you mean 'plain'",
        ),
        ({"train": {"template": "x"}}, "prompt.train.template: 'x' is neither"),
        ({"evaluate": {"template": "{problem}{problem}"}}, "prompt.evaluate.template: '{problem}{problem}' is neither"),
        (
            {"template": "{image}{problem}{image}"},
            "prompt.template: '{image}{problem}{image}' places the images more than once",
        ),
        ({"chat": True}, "prompt.chat: the student's tokenizer has no chat template; set prompt.chat to false"),
        (
            {"evaluate": {"chat": True}},
            "prompt.evaluate.chat: the student's tokenizer has no chat template; set prompt.evaluate.chat",
        ),
    ],
)
def test_a_prompt_that_cannot_be_made_is_told_where_it_is_written(prompt, words):
    with pytest.raises(OperatorError) as caught:
        check_prompts(PromptSettings(**prompt), character_tokenizer("ab"))
    assert words in str(caught.value)
