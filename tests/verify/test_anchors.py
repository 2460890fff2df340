"""Each kind of anchor by itself: what is a statement of the answer, and what is void."""

import pytest

from redistill.verify.anchors import answer_tag, boxed, hashes, is_placeholder, json_answer, plain_value, sentence


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed9.", "9"),
        (r"\boxed{7} and not $\boxed{8}$", "7"),
        (r"\boxed{A} rather than \boxed{B}", "A"),
        (r"odd, not even: \boxed{7}", "7"),
        (r"so $\boxed 31$", "31"),
        (r"so \boxed -4 m", "-4"),
        (r"so \boxed C.", "C"),
        (r"\framebox{8}", "8"),
        (r"\boxed{\underline{\textbf{8}}}", "8"),
        (r"\boxed{\color{red}{8}}", "8"),
        (r"\boxed{**8**}", "8"),
        (r"\boxed{n &gt; 4 &amp; n &le; 9}", "n > 4 & n ≤ 9"),
        (r"\boxed{x<sup>2</sup>}", "x^{2}"),
        (r"\boxed{<b>8</b>}", "8"),
        (r"I wrote it as \boxed form above: \boxed{8}, in \boxed as asked", "8"),
    ],
)
def test_a_box_in_every_spelling(text, answer):
    place = boxed(text)
    assert place is not None and place.text == answer


def test_a_box_that_is_ruled_out_is_no_answer():
    assert boxed(r"It is not \boxed{8}.") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (r"\boxed{4}, no: \boxed{9", "unclosed"),
        (r"\boxed{4}, no: \boxed{\frac{9}{2}", "unclosed"),
        (r"\boxed{4}, no: \boxed{}", "empty"),
        (r"\boxed{4}, no: \boxed{ \, }", "empty"),
        (r"\boxed{4}, no: \boxed\frac92", "unreadable"),
        (r"\boxed{4} in the form \boxed{ANSWER}", "placeholder"),
        (r"\boxed{\text{final answer here}}", "placeholder"),
        (r"\boxed{\ldots}", "placeholder"),
        (r"\boxed{?}", "placeholder"),
        (r"\boxed{\_\_\_}", "placeholder"),
    ],
)
def test_a_last_box_that_says_nothing_is_void_and_never_the_one_before(text, why):
    place = boxed(text)
    assert place is not None and (place.text, place.void) == (None, why)


@pytest.mark.parametrize(
    "text", ["12", "x", r"\text{no solution}", "A", "answer 7", "the value 3", "Paris", "0.333..."]
)
def test_an_answer_is_no_placeholder(text):
    assert not is_placeholder(text)


@pytest.mark.parametrize(
    ("text", "answer", "joined"),
    [
        (r"\boxed{2}, \boxed{4} and \boxed{6}", "2, 4, 6", None),
        (r"\boxed{2}、\boxed{4}", "2, 4", None),
        (r"\boxed{2} along with \boxed{4}", "2, 4", None),
        ("\\boxed{2}\n\n\\boxed{4}", "4", "2, 4"),
        ("i) \\boxed{2}\nii) \\boxed{4}", "4", "2, 4"),
        (r"$x = \boxed{2}$ $y = \boxed{4}$", "4", "2, 4"),
        (r"one root \boxed{2}, other root: \boxed{4}", "4", "2, 4"),
        (r"\boxed{4} \boxed{4}", "4", None),
        (r"\boxed{2}, which is wrong: \boxed{4}", "4", None),
    ],
)
def test_neighbouring_boxes_may_be_one_list(text, answer, joined):
    place = boxed(text)
    assert place is not None and (place.text, place.joined) == (answer, joined)


def test_boxes_far_apart_are_kept_as_a_doubt():
    place = boxed("(a) \\boxed{2}" + " and so on" * 20 + " (b) \\boxed{4}")
    assert place is not None and (place.text, place.joined, place.apart) == ("4", None, ("2, 4",))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<final_answer>9</final_answer>", "9"),
        ("[ANSWER]9[/ANSWER]", "9"),
        ("<answer>the box \\boxed{9} holds it</answer>", "9"),
        ("<answer>Final answer: 9</answer>", "9"),
        ("<answer>the answer is a prime</answer>", "the answer is a prime"),
    ],
)
def test_a_tag_in_every_spelling(text, answer):
    place = answer_tag(text)
    assert place is not None and place.text == answer


def test_a_tag_that_never_closes_is_void():
    assert answer_tag("<answer>60</answer> no, <answer>7").void == "unclosed"


@pytest.mark.parametrize(
    ("text", "answer", "joined"),
    [
        ('{"answer": [4, 9]}', "[4, 9]", "4, 9"),
        ('{"answer": ["4"]}', "4", None),
        ('{"answer": [[1, 2], [3, 4]]}', "[[1, 2], [3, 4]]", None),
        ('{"answer": {"result": 9}}', "9", None),
        ('{"answer": {"a": 9, "b": 8}}', None, None),
        ('{"answer": null}', None, None),
        ('{"answer": ""}', None, None),
        ('{"answer": "12', None, None),
        ('{"final answer": 9}', "9", None),
        ('{"name": "calc", "arguments": {"answer": 7}}', "none", None),
    ],
)
def test_json_values(text, answer, joined):
    place = json_answer(text)
    assert (place and (place.text, place.joined)) == (None if answer == "none" else (answer, joined))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### 14", "14"),
        ("#### 14 apples", "14 apples"),
        ("#### 14\nI hope this helps", "14"),
        ("#### 2. Second step\nwe add", None),
        ("#### 2. Second step", None),
        ("#### 2) Add them", None),
        ("#### 3 boxes remain\nSo we go on", None),
        ("#### Step 2", None),
    ],
)
def test_hashes_and_headings(text, answer):
    place = hashes(text)
    assert (place and place.text) == answer


REMARKS = ["correct", "right", "consistent with the sum", "positive", "verified", "indeed sound", "the same as before", "reasonable, since 3 < 5",
           "in agreement with 2*7 = 14", "not 15", "unique"]  # fmt: skip


@pytest.mark.parametrize("remark", REMARKS)
def test_a_remark_on_the_answer_never_wins_over_the_number_before_it(remark):
    place = sentence(f"The answer is 14. Checking it, the answer is {remark}.")
    assert place is not None and place.text == "14"
    alone = sentence(f"Checking it, the answer is {remark}.")
    assert alone is not None and alone.weak


@pytest.mark.parametrize(
    "tail",
    ["If the answer is 15, it fails.", "Is it 15? The answer is 15?", "My first answer is 15, which was wrong.", "Suppose the answer is 15."],
)  # fmt: skip
def test_a_supposed_or_questioned_answer_is_none(tail):
    assert sentence(f"The answer is 14. {tail}").text == "14"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer to the puzzle is 14.", "14"),
        ("The answers are 3 and 5.", "3 and 5"),
        ("The answer is clearly the number 14, since 14 is even", "14"),
        ("The answer is five!", "five"),
        ("The answer is B!", "B"),
        ("The answer is n!", "n!"),
        ("The answer is 5!", "5!"),
        ("The answer is 5 \u2705", "5"),
        ("The correct option is B.", "B"),
        ("**Correct choice: (B)**", "(B)"),
        ("**Final Answer**\n\n14", "14"),
        ("# Answer\n14", "14"),
        ("Ans: 14", "14"),
        ("答案是：14。", "14"),
        ("最终结果为14，与题意相符。", "14"),
        ("故选：C", "C"),
        ("答えは 14 です。", "14"),
        ("정답은 14입니다.", "14"),
        ("La respuesta es 14.", "14"),
        ("La respuesta correcta es: 14", "14"),
        ("Réponse : 14", "14"),
        ("La réponse est $14$.", "14"),
        ("Die Antwort lautet 14.", "14"),
        ("Ответ: 14", "14"),
        ("A resposta é 14.", "14"),
        ("La risposta è 14.", "14"),
        ("Odpowiedź: 14", "14"),
        ("Đáp án: 14", "14"),
        ("الجواب هو 14", "14"),
        ("The answer is Paris.", "Paris"),
        ("The answer is yes.", "yes"),
    ],
)
def test_sentences_of_many_forms_and_languages(text, answer):
    place = sentence(text)
    assert place is not None and (place.text, place.weak) == (answer, False)


def test_only_what_dresses_a_value_is_taken_off():
    assert plain_value(r"\underline{3} + \underline{4}") == r"\underline{3} + \underline{4}"
    assert plain_value("1 & 2") == "1 & 2"
    assert plain_value("x < 3 > y") == "x < 3 > y"
