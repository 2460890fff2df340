"""Plain numbers, words and letters: decided without computer algebra."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redistill.records import Outcome, make_problem, make_trace
from redistill.verify import choice, compare_choice, compare_exact, exact
from redistill.verify.exact import Percent
from redistill.verify.reading import clean, read_number, split_items


def outcome(gold: str, answer: str, percent: Percent = "either", units: bool = True) -> str:
    return compare_exact(gold, answer, relative_tolerance=1e-6, percent=percent, units=units)[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", "18"), ("-5", "-5"), ("1,234.50", "1234.5"), (".4", "0.4"), ("$18", "18"), ("18 dollars", "18"),
        (r"\$32,\!348", "32348"), (r"10\text{ cm}^2", "10"), ("1 000 000", "1000000"), ("3/4", "3/4"), (r"\frac12", "1/2"),
        (r"-\dfrac{3}{4}", "-3/4"), ("1 1/2", "3/2"), (r"1\frac{4}{5}", "9/5"), (r"1.5 \times 10^3", "1500"), ("3e8", "300000000"),
        (r"10^{-2}", "1/100"), (r"90^\circ", "90"), ("(3)/(4)", "3/4"), ("twelve", "12"), (r"\boxed{7}", "7"), ("−7", "-7"), ("0x1f", "31"),
    ],
)  # fmt: skip
def test_a_plain_number_is_read(text: str, value: str) -> None:
    number = read_number(clean(text))
    assert number is not None and number.value == Fraction(value)


@pytest.mark.parametrize(
    "text", ["x", "2x", "2pi", r"2\pi", "3 or 4", "1,2", "10^{99999999}", "1e999999999", "1/0", "204_5", "9" * 5000, ""]
)
def test_what_is_no_plain_number_is_left_alone(text: str) -> None:
    assert read_number(clean(text)) is None


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("1/2", "0.5"), ("1000", "1,000.0"), ("18", "$18"), ("18 dollars", "18"), (r"\text{(C)}", "(C)"), ("East", r"\text{east}"),
        ("0.0833333333333333", r"\frac{1}{12}"),
        ("2.6667", r"\frac{8}{3}"),  # 8/3 = 2.66666..., rounded to its own four places
        ("True", "yes"), ("x^{2}", "x^2"),
    ],
)  # fmt: skip
def test_equal_answers_are_correct(gold: str, answer: str) -> None:
    assert outcome(gold, answer) == Outcome.correct


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("18", "17.5"),
        ("1/3", "2/3"),
        ("6048", "6045"),
        ("0.145", "0.1"),
        ("east", "west"),
        ("42", "none of them"),
        ("even", "1"),
    ],
)
def test_different_numbers_and_words_are_incorrect(gold: str, answer: str) -> None:
    assert outcome(gold, answer) == Outcome.incorrect


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("x^2", "x*x"),  # computer algebra may know
        ("8/3", "2.67"),  # a rounding of few digits: right or wrong by the question's words
        ("1.5 hours", "90 kg"),  # two dimensions
        ("all odd n", "odd integers"),
        ("0", "none"),
        ("20", "a score or so"),
    ],
)
def test_undecided_is_never_incorrect(gold: str, answer: str) -> None:
    assert outcome(gold, answer) not in (Outcome.correct, Outcome.incorrect)


def test_percent_and_units_are_options() -> None:
    assert [outcome("28", r"28\%", p) for p in ("either", "strip", "value")] == ["correct", "correct", "incorrect"]
    assert [outcome("0.28", "28 percent", p) for p in ("either", "strip", "value")] == [
        "correct",
        "incorrect",
        "correct",
    ]
    assert outcome("10", "10 weeks", units=False) == Outcome.ungradable


def test_a_comma_is_read_by_what_stands_around_it() -> None:
    assert split_items("1,234") == ["1,234"]
    assert split_items("1, 234") == ["1", "234"]
    assert split_items("12,34") == ["12", "34"]
    assert split_items("(1, 2), (3, 4) and (5, 6)") == ["(1, 2)", "(3, 4)", "(5, 6)"]


def test_choices_are_letters_and_an_option_text_is_undecided() -> None:
    assert compare_choice("C", "(C) Cecile") == (Outcome.correct, "equal_choice")
    assert compare_choice(r"\text{(B)}", "A.") == (Outcome.incorrect, "different_choice")
    assert compare_choice("B", "1.2")[0] == Outcome.ungradable
    problem = make_problem("Which?", answer="B")
    assert choice(problem, make_trace(problem.id, r"\boxed{b}")).outcome == Outcome.correct


@pytest.mark.parametrize(
    ("gold", "completion", "finish_reason", "expected"),
    [
        ("4", "I give up, 4", "stop", Outcome.no_answer),
        ("4", "so far 4", "length", Outcome.truncated),
        ("4", r"\boxed{4} and then I kept talk", "length", Outcome.correct),
        (None, r"\boxed{4}", "stop", Outcome.ungradable),
        ("  ", r"\boxed{4}", "stop", Outcome.ungradable),
        ("She sells 2*2=4.\n#### 4", r"\boxed{4}", None, Outcome.correct),
        (r"Thus \boxed{4}.", r"\boxed{4}", None, Outcome.correct),
    ],
)
def test_a_verdict_says_why_there_is_nothing_to_compare(
    gold: str | None, completion: str, finish_reason: str | None, expected: str
) -> None:
    problem = make_problem("2+2?", answer=gold)
    verdict = exact(problem, make_trace(problem.id, completion, finish_reason=finish_reason))
    assert verdict.outcome == expected
    assert verdict.verifier == "exact" and verdict.verifier_version and verdict.reason


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet="0123456789.,/-+e%$()\\ {}^xfrac", max_size=25), st.text(alphabet="0123456789.,/-e% ", max_size=12)
)
def test_any_text_compares_with_itself_and_never_breaks(gold: str, answer: str) -> None:
    compare_exact(gold, answer, relative_tolerance=1e-6, percent="either", units=True)
    assert outcome(gold, gold) in (Outcome.correct, Outcome.ungradable)


@pytest.mark.parametrize(
    ("gold", "answer", "outcome"),
    [
        ("277", "2c7", "incorrect"),
        ("0x23c8b81", "57b7", "incorrect"),
        ("0xb2ea", "-1F6E", "incorrect"),
        ("711", "2c7", "disagree"),  # 2 * 256 + 12 * 16 + 7
        ("2c7", "711", "disagree"),
        ("200000", "2e5", "correct"),
        ("12", "3a", "ungradable"),
    ],
)
def test_digits_and_letters_may_be_a_number_in_another_base(gold: str, answer: str, outcome: str) -> None:
    assert compare_exact(gold, answer, relative_tolerance=0, percent="either", units=True)[0] == outcome


def test_strings_of_the_first_letters_are_data_and_no_forms_of_one_word() -> None:
    def judged(gold: str, answer: str) -> str:
        return compare_exact(gold, answer, relative_tolerance=0, percent="either", units=True)[0]

    assert judged("DAEEBEB", "DAEEBEBD") == "incorrect"
    assert judged("decade", "decades") == judged("color", "colors") == "ungradable"


@pytest.mark.parametrize(
    ("gold", "answer", "outcome", "reason"),
    [
        # what is rounded in one unit is rounded in the other: which side is gold changes nothing
        ("91 minutes", "1.5 hours", "disagree", "only_rounded"),
        ("1.5 hours", "91 minutes", "disagree", "only_rounded"),
        ("2666.67 meters", "2.667 kilometers", "correct", "equal_rounded"),
        ("0.0552 meters", "5.5 centimeters", "disagree", "only_rounded"),
        ("66.4 inches", "5.5 feet", "disagree", "only_rounded"),
        ("2 hours", "7203 seconds", "incorrect", "different_number"),
        ("3 million", "3000001", "disagree", "only_rounded"),
        ("12 hours", "720", "disagree", "perhaps_converted"),
        ("2 h 30 min", "150 minutes", "correct", "equal_number"),
        ("2 h 30 min", "150", "disagree", "unit_missing"),
        ("5 ft 2 in", "62 kg", "disagree", "units_differ"),
        # what is counted: a rate is no amount, and red apples are no green ones
        ("5 clips per person", "5 paper clips per person", "correct", "equal_number"),
        ("5 clips per person", "5 clips", "disagree", "units_differ"),
        ("5 red apples", "5 green apples", "disagree", "units_differ"),
        # rounded, cut off, or beyond the digits of a double
        ("98.5", "99", "disagree", "only_rounded"),
        ("98.6", "98", "incorrect", "different_number"),
        ("1234.5", "1234", "disagree", "only_rounded"),
        ("8/3", "2.666", "disagree", "only_truncated"),
        ("20.00", "19.9", "incorrect", "different_number"),
        ("5.59", "5.5", "disagree", "only_truncated"),
        ("266.67", "266.7", "correct", "equal_rounded"),
        ("50%", "1/2", "correct", "equal_number"),
        ("33.333%", "0.3333", "correct", "equal_rounded"),
        ("0.3", "0.30000000000000004", "correct", "equal_number"),
        ("0.3", "0.31000000000000004", "incorrect", "different_number"),
        ("€1.234", "1234", "disagree", "perhaps_thousands"),
        # words
        ("yes", "Yes, it converges", "correct", "equal_words"),
        ("yes", "correct", "correct", "equal_words"),
        ("incorrect", "no", "correct", "equal_words"),
        ("false", "true", "incorrect", "different_word"),
        ("no solution", "does not exist", "correct", "equal_words"),
        ("no solution", "5", "ungradable", "not_comparable"),
        ("nothing", "purple", "incorrect", "different_word"),
        ("purple", "nothing", "incorrect", "different_word"),
        ("none", "never", "ungradable", "text_differs"),
        ("cat", "cats", "ungradable", "text_differs"),
        ("walk", "walking", "ungradable", "text_differs"),
        ("increase", "increasing", "ungradable", "text_differs"),
        ("no", "false because", "ungradable", "not_comparable"),
        ("ABAB", "ABBA", "incorrect", "different_word"),
        ("cat", "x", "disagree", "not_read_completely"),
        # a number against words
        ("7", "even", "incorrect", "not_a_number"),
        ("7", "cat", "ungradable", "not_comparable"),
        ("7", "it is impossible for x>2", "ungradable", "not_comparable"),
        ("0", "none", "ungradable", "not_comparable"),
    ],
)
def test_what_is_certain_and_what_is_not(gold: str, answer: str, outcome: str, reason: str) -> None:
    found = compare_exact(gold, answer, relative_tolerance=0.0, percent="either", units=True)
    assert (str(found[0]), found[1]) == (outcome, reason)


def test_a_tolerance_is_relative_to_the_larger_value_and_concerns_decimals_only() -> None:
    def tolerant(gold: str, answer: str) -> str:
        return str(compare_exact(gold, answer, relative_tolerance=0.01, percent="either", units=True)[0])

    assert tolerant("100", "100.5") == tolerant("100.5", "100") == "correct"
    assert tolerant("100.0", "102.0") == tolerant("100", "101") == "incorrect"


def test_the_verifier_without_options_drops_units() -> None:
    problem = make_problem("How long?", answer="12 cm")
    assert exact(problem, make_trace(problem.id, "It is \\boxed{12}.")).outcome == Outcome.correct
