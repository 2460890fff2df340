"""The statement of a step to be judged, and every way in which a verdict line can be wrong, by hand."""

import pytest

from redistill.text.judgements import (
    FIRST_STEP,
    JOINS,
    VERDICT_LINE,
    before_verdict,
    joined_steps,
    read_verdict,
    step_statement,
)


def test_a_statement_holds_question_previous_steps_and_step() -> None:
    found = step_statement("2+2*3?", ["2*3=6", "so 2+6"], "2+6=9", join="numbered")
    assert found == "Question:\n2+2*3?\n\nPrevious Steps:\nStep 1: 2*3=6\nStep 2: so 2+6\n\nNow Step:\n2+6=9"
    assert step_statement("Q", ["a", "b"], "c") == "Question:\nQ\n\nPrevious Steps:\na\n\nb\n\nNow Step:\nc"
    assert (
        step_statement("Q", ["a;", "b;"], "c", join="none") == "Question:\nQ\n\nPrevious Steps:\na;b;\n\nNow Step:\nc"
    )


def test_the_first_step_says_that_there_are_none_before_it() -> None:
    assert step_statement("Q", [], "c") == f"Question:\nQ\n\nPrevious Steps:\n{FIRST_STEP}\n\nNow Step:\nc"


@pytest.mark.parametrize("join", JOINS)
def test_every_step_stands_in_its_range_of_the_joined_text(join: str) -> None:
    listed = ["First.", "Second,\nin two lines.", "", "Third."]
    text, ranges = joined_steps(listed, join)
    assert [text[start:end] for start, end in ranges] == listed
    assert ranges == sorted(ranges) and ranges[-1][1] == len(text)
    assert joined_steps([], join) == ("", [])


@pytest.mark.parametrize(
    ("end", "found"),
    [
        ("{} Yes", ("Yes", "")),
        ("{} No.", ("No", "")),
        ("{}\nNo\n", ("No", "")),
        ("{}No", ("No", "")),
        ("It is right: Yes", (None, "no_verdict_line")),
        ("{} yes", (None, "no_verdict_word")),  # a fixed sentence: its words are fixed too
        ("{} Nothing", (None, "no_verdict_word")),
        ("{}", (None, "no_verdict_word")),
        ("{} Yes. But look again.", (None, "text_after_verdict")),
        ("{} Yes!", (None, "text_after_verdict")),
        ("{} Yes\n{} Yes", (None, "several_verdict_lines")),
        ("{} No\n{} Yes", (None, "both_verdicts")),
        ("The last line will be {} and so on. {} Yes", (None, "several_verdict_lines")),
    ],
)
def test_the_verdict_stands_once_with_one_polarity_at_the_end(end: str, found: tuple[str | None, str]) -> None:
    assert read_verdict(f"1. Previous Steps: none.\n{end.replace('{}', VERDICT_LINE)}") == found


def test_another_critics_closing_line_is_read_where_it_is_named() -> None:
    assert read_verdict("Looks fine. Right? Yes", "Right?") == ("Yes", "")
    assert before_verdict("Right? No. Right? Yes", "Right?") == "Right? No. Right?"
    assert before_verdict("Yes", "Right?") is None
