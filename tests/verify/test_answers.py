"""Where an answer is found, and where it is not."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redistill.verify.answers import ANCHORS, boxes, extract


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (r"So it is \boxed{12}.", "12"),
        (r"first \boxed{3}. No: \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\fbox{7}", "7"),
        (r"$\boxed{\{1, 2\}}$", r"\{1, 2\}"),
        (r"put it within \boxed{}: \boxed{5} or so, \boxed{}", "5"),
        (r"\(\boxed{2}\) and \(\boxed{3}\)", "2, 3"),
        (r"$\boxed{5}$, so $\boxed{5}$" "\n" r"$\boxed{5}$", "5"),
        (r"a_7 is \boxed{17.5} and the sum of all of them is \boxed{97}", "97"),
        ("<think>7</think><answer>8</answer>", "8"),
        ("<answer> 1 </answer> then <ANSWER>2</ANSWER>", "2"),
        ("Janet makes 9 * 2 = 18.\n#### 18", "18"),
        ("The final answer is 1,234. I hope it is correct.", "1,234"),
        ("**Answer:** 42", "42"),
        ("Therefore, the final answer is:\n\n$x = 5$", "x = 5"),
        ("The answer is $5$ apples.", "5"),
        ('{"reasoning": "9 * 2 = 18", "answer": "18"}', "18"),
        ('```json\n{"reasoning": "line one\nline two",\n "answer": "$70,000"\n}\n```', "$70,000"),
        ('{"answer": 18}', "18"),
        (r'{"answer": "\\frac{1}{2}"}', r"\frac{1}{2}"),
        (r'{"answer": "\frac{1}{2} \times 3"}', r"\frac{1}{2} \times 3"),  # invalid JSON: one backslash
        (r'{"reasoning": "so \\boxed{48}", "answer": "49"}', "49"),
    ],
)
def test_an_anchor_makes_an_answer(completion: str, answer: str) -> None:
    assert extract(completion) == answer


@pytest.mark.parametrize(
    "completion",
    [
        "First I think it is 7. Then the sum is 12. I give up",  # math-verify alone reads 12
        r"<think>so \boxed{7}",  # never left its thoughts
        r"<think>so \boxed{7}</think> Hmm, 12",
        "",
        "12",
        r"\boxed{12",
        '{"answer": "12',
        "#### Step 2: simplify",
        "the answer is 3? No, wait. " + "Let me try again. " * 60,  # a working note, not the end
    ],
)
def test_an_abandoned_trace_has_no_answer(completion: str) -> None:
    assert extract(completion) is None


def test_anchors_are_looked_for_in_the_order_asked() -> None:
    text = r"\boxed{1} <answer>2</answer>"
    assert extract(text) == "2"
    assert extract(text, ["boxed", "answer_tag"]) == "1"
    assert extract(text, ["hashes"]) is None


def test_boxes_may_be_nested() -> None:
    assert [content for _, _, content in boxes(r"\boxed{x = \boxed{5}}")] == ["5", r"x = \boxed{5}"]


@pytest.mark.parametrize(
    "text",
    [
        "{" * 5_000_000,
        r"\boxed{" * 700_000,
        "}" * 5_000_000,
        r"\boxed{" + "{" * 2_000_000 + "}" * 2_000_000 + "}",
        "<answer>" * 600_000,
        '"answer": "' * 500_000,
        "#### " * 1_000_000,
        " " * 5_000_000 + "#### 3",
        "answer is " * 500_000,
        "\\" * 3_000_000,
        r"\boxed" + " " * 3_000_000,
        "\0" * 1_000_000 + "\ud800" * 1_000_000,
    ],
    ids=range(12),
)
def test_megabytes_of_nonsense_take_linear_time(text: str) -> None:
    started = time.perf_counter()
    extract(text)
    assert time.perf_counter() - started < 4  # measured: below 0.5; quadratic would be hours


_PIECES = [
    "{",
    "}",
    "\\",
    '"',
    "<",
    "$",
    "\n",
    "\0",
    "\ud800",
    "é1",
    "\\boxed{",
    "</think>",
    "<answer>",
    '"answer":',
    "#### ",
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=40).map("".join))
def test_no_text_breaks_extraction(text: str) -> None:
    found = extract(text)
    assert found is None or found.strip()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40), st.text(alphabet="abc123+-=/^_ ", min_size=1, max_size=20).filter(str.strip))
def test_the_last_box_is_always_found(before: str, content: str) -> None:
    text = before.replace("<think>", "").replace("answer", "") + "\n\\boxed{" + content + "}"
    assert ANCHORS["boxed"](text) == content.strip()
