"""Where a trace goes wrong: the first step below a half is named and coloured, and other values are coloured as before."""

from redistill.records import Span, Trace
from redistill.report.remarks import marked, remarks
from redistill.text.steps import first_low_step
from redistill.tools.lineage import _remarks

TEXT = "two and two\nis five\nso ten"
STEPS = (Span(0, 12, 0.9), Span(12, 20, 0.1), Span(20, 26, 0.3))


def steps(*values):
    return [(place, place + 1, value) for place, value in enumerate(values)]


def test_the_first_step_below_a_half_is_the_first_error():
    assert first_low_step(steps(0.9, 0.5, 0.49, 0.1)) == 2
    assert first_low_step(steps(0.9, 0.5)) is None
    assert first_low_step([]) is None


def test_values_that_are_no_chances_of_steps_have_no_first_error():
    for values in ([1.0, -1.0], [0.1, 2.0], [float("nan"), 0.1], [0.1]):
        assert first_low_step(steps(*values)) is None
    assert first_low_step([(0, 2, 0.9), (3, 4, 0.1)]) is None  # a gap: weights of some tokens, say


def test_good_steps_are_blue_bad_ones_orange_and_the_first_bad_one_says_so():
    # distances from a half: .4, .4, .2 of at most .4, in four strengths
    assert marked(TEXT, STEPS) == [
        ("up4", "two and two\n", "0.9"),
        ("down4", "is five\n", "0.1 (the first step below 0.5)"),
        ("down2", "so ten", "0.3"),
    ]


def test_the_summary_says_where_it_is_for_those_who_see_no_colours():
    (details,) = remarks("answer", TEXT, {"process": STEPS}, {})
    assert (
        details.blocks[0].text
        == "values 0.1 to 0.9, shown on hover; first step below 0.5: number 2, characters 12 to 20, 0.1"
    )


def test_why_names_it_first_however_long_the_trace():
    spans = tuple(Span(i, i + 1, 0.2 if i == 15 else 0.9) for i in range(20))
    lines = _remarks(Trace("t1", "a" * 20, spans={"process": spans}, notes={"critic": "Step 16 is wrong."}))
    assert lines[0] == "first step of process below 0.5: number 16 of 20, span process 15-16 = 0.2: 'a'"
    assert lines[-1] == "note critic: Step 16 is wrong."
