"""Steps are a partition of their text, whatever the text; where each way of splitting cuts, by hand."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import drawn
from redistill.errors import OperatorError
from redistill.text.steps import SPLITTERS, steps

PIECES = st.sampled_from(
    ["\n", "\n\n", " ", "\t", "a", "1. ", "Step 2: ", "x=3.5", ". ", "? ", "e.g. ", "<step>", "</step>", "<extra_0>",
     " ки", "é", "\U0001f600", "\r\n", "。", "\u2028", "(3) ", "###"]
)  # fmt: skip


def parts(text, how):
    return [text[a:b] for a, b in steps(text, how)]


@pytest.mark.parametrize("how", SPLITTERS)
@drawn(100)
@given(text=st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=60))
def test_the_steps_of_any_text_are_a_partition_of_it_and_none_is_white_space_alone(how, text):
    found = steps(text, how)
    assert "".join(text[a:b] for a, b in found) == text
    assert [a for a, _ in found] == [0, *(b for _, b in found[:-1])][: len(found)]
    assert all(not text[a:b].isspace() for a, b in found) or text.isspace()
    assert all(a < b for a, b in found) and (found == []) == (text == "")


def test_blank_lines():
    assert parts("\n\nA\nB\n \t\n\n  C\n\n", "blank-line") == ["\n\nA\nB\n \t\n\n  ", "C\n\n"]
    assert parts("one", "blank-line") == ["one"]
    assert parts(" \n\n ", "blank-line") == [" \n\n "]


def test_lines():
    assert parts("A\n\n  B\r\nC", "line") == ["A\n\n", "  B\r\n", "C"]


def test_semicolons():
    assert parts("2-9=3;3*1=3; \n####3", "semicolon") == ["2-9=3;", "3*1=3; \n", "####3"]


def test_sentences():
    text = 'Take 3.5 apples, e.g. green ones. "Why?" he asks. 1. See Fig. 2! Done'
    assert parts(text, "sentence") == ["Take 3.5 apples, e.g. green ones. ", '"Why?" ', "he asks. ", "1. ", "See Fig. 2! ", "Done"]  # fmt: skip
    assert parts("1. Add. Then halve.\n2. Stop.", "sentence") == ["1. Add. ", "Then halve.\n", "2. Stop."]
    assert parts("2+2=4\n\nso 8", "sentence") == ["2+2=4\n\n", "so 8"]
    assert parts("二加二得四。所以是八。", "sentence") == ["二加二得四。", "所以是八。"]


def test_numbers():
    assert parts("Plan:\n1. Add.\n 2) Halve 3.5\n3.5 is left\n(3) End", "numbered") == [
        "Plan:\n", "1. Add.\n", " 2) Halve 3.5\n3.5 is left\n", "(3) End",
    ]  # fmt: skip
    assert parts("**Step 1:** a\n### Step 2\nb\n- 3. c", "numbered") == ["**Step 1:** a\n", "### Step 2\nb\n", "- 3. c"]
    assert parts("In Step 2 we add.", "numbered") == ["In Step 2 we add."]


def test_tags_and_markers():
    assert parts("<step>A</step>\n<step>B</step>", "tag") == ["<step>A</step>\n", "<step>B</step>"]
    assert parts("<paragraph_0>\nA\n</paragraph_0>\n\n<paragraph_1>B", "tag") == [
        "<paragraph_0>\nA\n</paragraph_0>\n\n", "<paragraph_1>B",
    ]  # fmt: skip
    assert parts("A<extra_0>B<extra_0>", "tag") == ["A<extra_0>", "B<extra_0>"]
    assert parts("A ки\nB ки", "tag") == ["A ки\n", "B ки"]


def test_an_unknown_way_is_one_sentence():
    with pytest.raises(OperatorError, match="'paragraph' is not a way to split a text; choose blank-line, line"):
        steps("A", "paragraph")


@pytest.mark.parametrize("unit", ["\n", "\n ", " ", "1.", ". ", "#", "- ", "<step", "(", "a\n\n", '."', "ки "])
@pytest.mark.parametrize("how", SPLITTERS)
def test_a_long_hostile_text_is_split_in_linear_time(how, unit):
    text = unit * (200_000 // len(unit))
    started = time.process_time()
    steps(text, how)
    assert time.process_time() - started < 20
