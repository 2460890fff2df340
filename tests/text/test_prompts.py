"""Prompts: text goes in as it is."""

from hypothesis import given, settings
from hypothesis import strategies as st

from redistill.records import make_problem
from redistill.text.prompts import TEMPLATES, render


@settings(derandomize=True, deadline=None)
@given(st.text() | st.sampled_from(["{problem}", "{{x}}", "{% if %}", "%s", "\\boxed{}", "{0}", "</think>"]))
def test_a_statement_stands_in_the_prompt_to_the_letter(statement):
    for template in TEMPLATES.values():
        before, after = template.replace("{image}", "").split("{problem}")  # {image}: nothing where there is none
        assert render(make_problem(statement), template) == before + statement + after


def test_the_chat_template_wraps_the_whole_prompt():
    said = render(make_problem("1+1"), "Q: {problem}!", chat=lambda text: f"<user>{text}</user>")
    assert said == "<user>Q: 1+1!</user>"


def test_the_papers_prompt_is_the_papers():
    text = render(make_problem("1+1"), TEMPLATES["paper"])
    assert text.startswith("Solve the following math problem efficiently and clearly.  The last line of your response")
    assert "$\\boxed{ANSWER}$. I hope it is correct'" in text and text.endswith("\n\n1+1\n\n")
