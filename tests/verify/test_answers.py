"""Where an answer is found, and where it is not."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redistill.records import Outcome
from redistill.verify.anchors import boxes
from redistill.verify.answers import ANCHORS, extract, find_answer, weigh


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (r"So it is \boxed{12}.", "12"),
        (r"first \boxed{3}. No: \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\fbox{7}", "7"),
        (r"$\boxed{\{1, 2\}}$", r"\{1, 2\}"),
        (r"put it within \boxed{}: it is \boxed{5}", "5"),
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
        ('{"İsim": "x", "Final_Answer": 7}', "7"),  # İ has two small letters: places behind it must not move
        ("YANIT: 42", "42"),
        ("```python\nx = 1\nprint(x)\n````\nThe answer is 5.", "5"),  # a fence ends at a longer mark too
        ("~~~\n```\nx = 1\n~~~\nThe answer is 5.", "5"),
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
    assert [box.content for box in boxes(r"\boxed{x = \boxed{5}}")] == ["5", r"x = \boxed{5}"]


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
        "`" * 2_000_000 + "\n" + "~" * 2_000_000,
        "```\n" * 400_000,
        "````x\n" + "```\n" * 400_000,
        "answer" * 500_000 + 'answer"' * 300_000,
    ],
    ids=range(16),
)
def test_megabytes_of_nonsense_take_linear_time(text: str) -> None:
    started = time.process_time()
    extract(text)
    assert time.process_time() - started < 20  # measured: below 0.5; quadratic would be hours


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
    place = ANCHORS["boxed"](text)
    assert place is not None and place.text in (content.strip(), None)


# --- which answer counts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("Half is \\boxed{4}, so the answer is \\boxed{9", None),
        ("Half is \\boxed{4}. In total: \\boxed{}", None),
        ("I put it in \\boxed{}. The answer is 9.", "9"),
        ("\\boxed{ANSWER}\n\nFinal answer: 9", "9"),
        ("The field is \\boxed{E}.\n\nAnswer: C", "C"),
        ("The field is \\boxed{E}.\n\n**Final Answer:** C", "C"),
        ("We have \\boxed{9} in all; that is the answer we want", "9"),
        ("<answer>4</answer> and {\"answer\": 9}", "4"),
        ("```python\nresult = {'answer': 4}\n```\nIt prints \\boxed{9}", "9"),
        ("```\nx = 3\nprint('the answer is 4')\n```\nThe answer is 9", "9"),
        ("```\n{\"answer\": 9}\n```", "9"),
        ('<tool_call>{"name": "f", "arguments": {"answer": 4}}</tool_call>\nThe answer is 9.', "9"),
        ('<tool_response>{"answer": 4}</tool_response>\nThe answer is 9.', "9"),
        ('Action Input: {"answer": 4}\nThe answer is 9.', "9"),
        ("```python\nx = 9\n<answer>9</answer>\n```", "9"),
        ("The answer is 9.\n\nQuestion: What is 2*2?\nAnswer: 4", "9"),
        ("#### 9\n\nQ: What is 2*2?\nA: The answer is 4", "9"),
        ("\\boxed{9}\nHuman: and 2*2?\nAssistant: \\boxed{4}", "9"),
        ("\\boxed{9}\n\n### Problem 2:\nWhat is 2*2? \\boxed{4}", "9"),
        ("I give up.\nUser: What is 2*2?\nAssistant: The answer is 4.", None),
        ("Question: What is 3*3?\nAnswer: 9", "9"),
        ("Let me restate it.\nProblem: find 3*3.\nSo \\boxed{9}", "9"),
        ("\\boxed{9}<|im_end|>\n<|im_start|>user\n2*2?<|im_end|>\n<|im_start|>assistant\n\\boxed{4}", "9"),
        ("\x08oxed{9}", "9"),
        ("\\boxed{\x0crac{9}{2}}", "\\frac{9}{2}"),
        ("<thinking>the answer is 4</thinking>The answer is 9", "9"),
        ("<|begin_of_thought|>4<|end_of_thought|><|begin_of_solution|>\\boxed{9}<|end_of_solution|>", "9"),
    ],
)  # fmt: skip
def test_which_of_several_places_counts(completion: str, answer: str | None) -> None:
    assert extract(completion) == answer


@pytest.mark.parametrize(
    ("completion", "reason", "cut"),
    [
        ("<thought>it is \\boxed{4}", "thinking_unclosed", True),
        ("\\boxed{4", "unclosed_answer", False),
        ("\\boxed{}", "empty_answer", False),
        ("<answer>your answer here</answer>", "placeholder_answer", False),
        ("I do not know", "no_anchor", False),
    ],
)
def test_why_there_is_no_answer(completion: str, reason: str, cut: bool) -> None:
    found = find_answer(completion)
    assert (found.answer, found.reason, found.cut) == (None, reason, cut)


def by_number(gold: str):
    """A comparison of comma-separated numbers; text that is none is undecided."""

    def compare(answer: str) -> tuple[Outcome, str]:
        try:
            same = [float(n) for n in answer.split(",")] == [float(n) for n in gold.split(",")]
        except ValueError:
            return Outcome.ungradable, "unread"
        return (Outcome.correct, "same") if same else (Outcome.incorrect, "differs")

    return compare


@pytest.mark.parametrize(
    ("completion", "gold", "outcome"),
    [
        ("\\boxed{4}\n\\boxed{9}", "4, 9", "correct"),
        ("\\boxed{4}\n\\boxed{9}", "9", "disagree"),  # the last of two, or one of a list
        ("\\boxed{4}\n\\boxed{9}", "8", "incorrect"),
        ("\\boxed{4}, then corrected to \\boxed{9}", "9", "correct"),
        ("\\boxed{4}, then corrected to \\boxed{9}", "4, 9", "disagree"),
        ("\\boxed{9}\n\nAnswer: 9", "9", "correct"),
        ("\\boxed{4}\n\nAnswer: 9", "9", "disagree"),  # the two contradict each other
        ("\\boxed{4}\n\nAnswer: 9", "4", "disagree"),
        ("\\boxed{4}\n\nAnswer: 9", "7", "incorrect"),
        ("\\boxed{x}\n\nAnswer: 9", "9", "correct"),
        ("<answer>4</answer> Wait. \\boxed{9}", "9", "disagree"),
        ("<answer>4</answer> Wait. \\boxed{9}", "4", "disagree"),
        ("the answer is 9", "9", "correct"),
        ("the answer is 8", "9", "incorrect"),
    ],
)
def test_answers_that_contradict_each_other_are_undecided(completion: str, gold: str, outcome: str) -> None:
    assert weigh(find_answer(completion), by_number(gold))[0] == outcome


def test_a_remark_is_right_or_nothing() -> None:
    def compare(answer: str) -> tuple[Outcome, str]:
        return (Outcome.correct, "same") if answer == "positive" else (Outcome.incorrect, "differs")

    assert weigh(find_answer("so the answer is positive."), compare)[0] == Outcome.correct
    assert weigh(find_answer("so the answer is consistent."), compare) == (Outcome.ungradable, "perhaps_a_remark")


@pytest.mark.parametrize("heading", ["### Question", "## Problem 2", "#### **Task**", "Human:", "### Input"])
def test_an_invented_turn_under_a_heading_is_not_part_of_the_trace(heading):
    """With or without a colon; before any answer the task told again opens the solution."""
    assert extract(f"\\boxed{{5}}\n\n{heading}\nWhat is 3*3?\n### Answer\n\\boxed{{9}}") == "5"
    assert extract("### Problem\nWhat is 3*3?\n### Solution\n\\boxed{9}") == "9"


@pytest.mark.parametrize(
    ("completion", "gold", "outcome"),
    [
        ("Final answer:\n- 7", "7", "correct"),  # a bullet
        ("Final answer:\n- 7", "-7", "ungradable"),  # or a minus
        ("Final answer: -7", "-7", "correct"),
        ("Final answer: -7", "7", "incorrect"),
        ("### Answer\n\n**7**", "7", "correct"),
        ("<internal_monologue>\\boxed{7}", "7", "truncated"),
        ("\\boxed{C}", "12", "disagree"),  # the letter of an option whose value is the gold answer?
    ],
)
def test_a_bullet_a_heading_and_a_letter(completion, gold, outcome):
    from redistill.records import make_problem, make_trace
    from redistill.verify.cascade import cascade

    problem = make_problem("?", answer=gold)
    assert str(cascade(problem, make_trace(problem.id, completion)).outcome) == outcome
