"""Steps are coloured by their chance of being right, every character of the trace is shown or counted, and the first error is named."""

import pytest

from redistill.io.parquet import write_records
from redistill.records import FINAL, Group, Outcome, Span, Verdict, make_problem, make_trace
from redistill.report.blocks import Browser, MarkedText, Sentences, Text
from redistill.report.files import RunFiles
from redistill.report.render import render_page
from redistill.report.sections.scored_steps import first_below_half, pieces_of, scored_steps, tone
from tiny_recipe import write_layout


@pytest.mark.parametrize(
    ("value", "word"),
    [(0.5, ""), (0.52, ""), (0.6, "up1"), (0.8, "up2"), (0.9, "up3"), (1.0, "up4"), (0.4, "down1"), (0.0, "down4")],
)
def test_one_half_has_no_colour_and_certainty_the_strongest(value, word):
    assert tone(value) == word


def test_a_text_is_shown_in_its_steps_and_what_no_step_covers_is_plain():
    spans = (Span(4, 8, 0.01), Span(0, 3, 0.99))
    assert pieces_of("abc defgh", spans) == [
        ("up4", "abc", "step 1: 0.990"), ("", " ", ""), ("down4", "defg", "step 2: 0.010"), ("", "h", ""),
    ]  # fmt: skip
    assert first_below_half(spans) == (2, Span(4, 8, 0.01)) and first_below_half(spans[1:]) is None


def test_a_long_step_is_cut_in_the_middle_and_the_cut_is_counted():
    pieces = pieces_of("x" * 700, [Span(0, 700, 0.9)])
    assert [len(text) for tone, text, _ in pieces if tone != "cut"] == [250, 250]
    assert ("cut", "200 characters left out", "") in pieces


def test_the_weakest_trace_comes_first_with_its_first_error_and_what_a_judgement_says(tmp_path):
    problem = make_problem("2+2+1=")
    text = "2+2=4\n\n4+1=6"

    def trace(outcome, *values):
        spans = tuple(Span(start, end, value) for (start, end), value in zip([(0, 7), (7, 12)], values, strict=True))
        verdict = Verdict(outcome)
        return make_trace(
            problem.id, f"{text}{values}", spans={"prm": spans}, notes={"prm": "4+1 is <5>"}, verdicts={FINAL: verdict}
        )

    traces = (trace(Outcome.correct, 0.9, 0.8), trace(Outcome.incorrect, 0.9, 0.1))
    write_layout(tmp_path)
    write_records(tmp_path / "score/groups/part-00000.parquet", Group, [Group(problem, traces)])
    run = RunFiles(tmp_path)
    _, browser = scored_steps(run, ["prm"])
    assert isinstance(browser, Browser) and [leaf.face for leaf in browser.leaves] == ["0.10", "0.80"]
    assert [leaf.tone for leaf in browser.leaves] == ["wrong", "right"]
    heading, marked, lines = browser.leaves[0].blocks
    assert isinstance(heading, Text) and heading.text == f"{traces[1].id}: incorrect. 2+2+1="
    assert isinstance(marked, MarkedText) and [piece[0] for piece in marked.pieces[:2]] == ["up3", "down3"]
    assert isinstance(lines, Sentences) and lines.items == [
        "First step below one half: 2 of 2 (0.100): 4+1=6", "prm: 4+1 is <5>",
    ]  # fmt: skip
    page = render_page("t", [("Trace scores", [browser])], kind="k")
    assert "4+1 is &lt;5&gt;" in page and "step 2: 0.100" in page
    assert scored_steps(run, ["other"]) == []
