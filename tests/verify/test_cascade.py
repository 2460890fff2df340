"""Expressions, lists, intervals: the cascade and math-verify by itself, in this process on harmless maths only."""

import sys
import typing

import pytest

from redistill.config.binding import bind
from redistill.config.tables import Plugin
from redistill.errors import OperatorError
from redistill.records import Outcome, make_problem, make_trace
from redistill.verify import READS_NO_ANSWER, VERIFIERS, compare_math_verify, judge_answer, math_verify
from redistill.verify.answers import ANCHORS, Anchor


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("x^2 + 2x + 1", "(x+1)^2"),
        (r"70\sqrt{2}", "70*sqrt(2)"),
        (r"12\pi", "12pi"),
        (r"e^{16}-1", "-1 + exp(16)"),  # math-verify alone reads E*x*p(16) - 1
        (r"\sqrt{1/n}", r"1/\sqrt{n}"),  # equal wherever both are real
        (r"-2\pi", "-2*pi"),
        ("x = 5", "5"),
        ("5", "x = 5"),
        (r"x \in [-2, 7]", "[-2, 7]"),
        ("(1, 2)", r"\left(1, \frac{4}{2}\right)"),
        ("1, 3, 2", "1, 2, 3"),
        (r"\{1, 2\}", r"\{2, 1\}"),
        ("(p, q) = (3, 2)", "(3, 2)"),
        ("p=5,q=2;p=7,q=2", "p=5, q=2 and p=7, q=2"),
        ("7, 14, 18", "14, 7 and 18"),
        ("x > 3", r"(3, \infty)"),
        (r"(3, \infty)", "x > 3"),
        ("1 < x < 3", "(1, 3)"),
        ("2x = 4 + y", "y = 2x - 4"),
        (r"\begin{pmatrix} 1/2 \\ 3 \end{pmatrix}", r"\begin{pmatrix} 0.5 \\ 3 \end{pmatrix}"),
        (r"100\sqrt{p}", r"100\sqrt{P}"),
        ("$5$", "Thus $5$ is the solution"),
        ("i(2-i)", "1+2i"),
        (r"\pi(R^2 - r^2)", r"\pi(R-r)(R+r)"),
        (r"-(3x+5)^5/15 + C", "-81*x**5/5 - 135*x**4 - 450*x**3 - 750*x**2 - 625*x + C"),  # the constant hides in C
        ("cos(5*x + 3)**2 + C", "0.5*cos(10*x + 6) + C"),
        ("-2*exp(-8*x - 6) + C", "-2*E**(-8*x - 6) + C"),
        ("E**2 - p**2", "E^2 - p^2"),  # an energy, not Euler's number
    ],
)
def test_equivalent_answers_are_correct(gold: str, answer: str) -> None:
    verdict = judge_answer(gold, answer)
    assert verdict.outcome == Outcome.correct, verdict


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\sqrt{15}", r"\sqrt{17}"),
        ("x^2", "x^3"),
        ("1, 2, 3", "1, 2, 4"),
        ("1, 2, 3", "1, 2"),
        ("(1, 2)", "(2, 1)"),
        ("[1, 2)", "[1, 2]"),
        ("x < 2", "x > 3"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 3 \end{pmatrix}"),
        (r"6 - 5i", "2"),
        (r"12\pi", r"6\pi"),
        (r"\frac{11+9a}{20}", "11+9a/20"),
        ("1112112_3", "1112122_{3}"),
        ("x^2 + C", "x^2 + x + C"),
        ("x + c", "x + 5 + c"),  # a letter of the question, not the constant of an integral
        ("-2*exp(-8*x - 6) + C", "-2*exp(-8*x - 6)"),
    ],
)
def test_answers_that_provably_differ_are_incorrect(gold: str, answer: str) -> None:
    verdict = judge_answer(gold, answer)
    assert verdict.outcome == Outcome.incorrect, verdict


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("1/2004!", "1/2006!"),  # rounded absolutely, both are 0
        (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}"),
        (r"\frac{2^{2005}+1}{3 \cdot 2^{2006}}", r"\frac{1}{3 \cdot 2^{2006}}"),
        ("4", r"4\sqrt{2}"),
        ("4", "4*sqrt(2)"),
        (r"1 - \frac{1}{\mathrm{e}}", r"1 + \frac{1}{\mathrm{e}}"),
        ("3x+4y+14=0", "3*x-1*y+13=0"),
        (r"\{1, 2\}", "(1, 2)"),
        ("2516_8", "2516"),
        ("R^2 - r^2", "r^2 - R^2"),  # its parser folds case: both are 0
    ],
)
def test_what_math_verify_wrongly_calls_equal_is_not_correct(gold: str, answer: str) -> None:
    assert judge_answer(gold, answer).outcome != Outcome.correct


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("2^k", "2^n"),  # perhaps only another letter
        ("x + 1.41", r"x + \sqrt{2}"),
        (r"\frac9{19}", r"\frac919"),
        ("y' + y = 0", r"\frac{dy}{dt} = -y"),
        (r"\text{all primes above two}", "odd primes"),
        ("7", r"\undefined{7"),
        (r"\undefined{7", "x"),
        ("B", "1.2"),  # perhaps the value of option B
        ("204_5", "204"),
        ("1,2;3,4", "1, 3, 2, 4"),
    ],
)
def test_undecided_is_never_incorrect(gold: str, answer: str) -> None:
    verdict = judge_answer(gold, answer)
    assert verdict.outcome not in (Outcome.correct, Outcome.incorrect), verdict
    assert verdict.reason


@pytest.mark.parametrize(
    ("gold", "answer", "outcome", "reason"),
    [
        # units of one dimension are converted, those of two say nothing; Meters are meter
        (r"12\pi \text{ cm}", r"12\pi \text{ m}", "incorrect", "different_value"),
        (r"12\pi \text{ cm}", r"12\pi \text{ cm}^2", "disagree", "units_differ"),
        (r"12\pi \text{ Meters}", r"24\pi/2 \text{ meter}", "correct", "equal_value"),
        (r"12\pi \text{ cm}", r"24\pi/2", "correct", "equal_value"),  # one side leaves it out
        (r"12\pi", r"24\pi/2 \text{ cm}", "correct", "equal_value"),
        (r"90\pi \text{ minutes}", r"1.5\pi \text{ hours}", "correct", "equal_value"),
        ("1.5 m", "150 cm", "correct", "equal_number"),
        ("120 minutes", "2 h", "correct", "equal_number"),
        # a unit left out: undecided where a conversion would explain the difference
        (r"12\pi", r"1200\pi \text{ cm}", "disagree", "perhaps_converted"),
        ("5 m", "5000", "disagree", "perhaps_a_unit"),
        ("4 m^2", "4 m^3", "disagree", "perhaps_a_unit"),
        ("4 m²", "4 m³", "disagree", "perhaps_a_unit"),
        ("4 g", "4 g^{2}", "disagree", "perhaps_a_unit"),
        (r"2\sqrt{3} s^2", r"2\sqrt{3} s", "disagree", "perhaps_a_unit"),
        ("4 x^2", "4 x^3", "incorrect", "different_value"),
        ("4 m^2", "5 m^2", "incorrect", "different_value"),
        (r"12\pi \text{ cm}", r"11\pi \text{ cm}", "incorrect", "different_value"),
        (r"12\pi \text{ cm}", r"11\pi", "incorrect", "different_value"),
        # what is not a value has no unit
        ("apples cm", "5 cm", "ungradable", "text_differs"),
        # one letter: metres or a variable, but on both sides it is the same thing
        ("5 m", "5", "disagree", "perhaps_a_unit"),
        (r"2\sqrt{3}", r"2\sqrt{3} m", "disagree", "perhaps_a_unit"),
        ("5 m", "5 cm", "incorrect", "different_number"),
        ("5 m", "6", "incorrect", "different_number"),
        ("6", "5 m", "incorrect", "different_number"),
        ("2m", "m+m", "correct", "equal_value"),
    ],
)
def test_units(gold: str, answer: str, outcome: str, reason: str) -> None:
    verdict = judge_answer(gold, answer)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


def test_without_units_a_letter_is_a_variable() -> None:
    assert judge_answer("5 m", "5", units=False).outcome == Outcome.incorrect


@pytest.mark.parametrize(
    ("gold", "answer", "outcome", "reason"),
    [
        ("10^{30}+1", "10^{30}", "incorrect", "different_value"),  # whole numbers: exact or not at all
        (r"\sqrt{2}", r"\sqrt{2}+10^{-10}", "incorrect", "different_value"),  # closed forms: to twenty places
        (r"\sqrt{2}", r"\sqrt{2}+10^{-25}", "correct", "equal_value"),
        (r"\pi", "3.1416", "correct", "equal_rounded"),  # five digits
        (r"\pi", "3.14", "disagree", "only_rounded"),  # three digits: nobody knows whether that was asked for
        (r"\pi", "3.15", "incorrect", "different_value"),
        ("4", r"4\sqrt{2}", "incorrect", "different_value"),  # far apart, whatever the library says
        ("1/2004!", "1/2006!", "incorrect", "different_value"),  # exact fractions, however small
        ("2x+2y=4", "x+y=2", "correct", "equal_relation"),  # one equation is twice the other
        ("C_1 e^x + C_2 e^{-x}", "C_2 e^x + C_1 e^{-x}", "correct", "equal_value"),  # constants may change names
        ("x > 3", "5", "disagree", "not_comparable"),
        ("x > 2", "f(x) > 2", "disagree", "not_comparable"),  # f may be anything
        ("f(x) > 2", "x > 2", "disagree", "not_comparable"),
        ("2.5", "2.5+10^{-9}i", "disagree", "only_rounded"),  # within what 2.5 may have been rounded from
        ("a+2b", "x+2y", "disagree", "perhaps_renamed"),  # perhaps only other letters
        ("a+2b", "x+3y", "incorrect", "different_value"),  # no renaming makes these equal
        ("(((1, 2), 3), 4)", r"(((1, \sqrt{4}), 3), 4)", "correct", "equal_items"),
        (r"\sqrt{2}", r"Thus the area is $\sqrt{2}$", "correct", "equal_in_sentence"),
        ("$x^2$", "Thus the area is $x^3$", "ungradable", "text_differs"),
        (r"\text{odd primes}", "Thus $12$", "ungradable", "text_differs"),
    ],
)
def test_who_decides_and_why(gold: str, answer: str, outcome: str, reason: str) -> None:
    verdict = judge_answer(gold, answer)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


def test_a_gold_answer_in_a_solution_is_found() -> None:
    assert judge_answer(r"Thus the sum is \boxed{\frac{1}{2}}, as claimed.", "0.5").outcome == Outcome.correct
    assert judge_answer("", "0.5").outcome == Outcome.ungradable


def test_folding_case_is_a_switch() -> None:
    assert judge_answer("x^2 + 1", "X^2 + 1").outcome == Outcome.correct
    assert judge_answer("x^2 + 1", "X^2 + 1", ignore_case=False).outcome != Outcome.correct


def test_a_huge_answer_is_compared_letter_for_letter() -> None:
    long = "x + " * 5_000 + "x"
    assert judge_answer(long, long).outcome == Outcome.correct
    assert judge_answer("5", long).reason == "answer_too_long"


def test_math_verify_alone_needs_an_anchor_too() -> None:
    problem = make_problem("Sum?", answer="12")
    abandoned = make_trace(problem.id, "First I think it is 7. Then the sum is 12. I give up")
    assert math_verify(problem, abandoned).outcome == Outcome.no_answer
    boxed = math_verify(problem, make_trace(problem.id, r"\boxed{\frac{24}{2}}"))
    assert (boxed.outcome, boxed.reason) == (Outcome.correct, "math_verify_equal")
    assert "math-verify 0.9.0" in boxed.verifier_version


def test_a_recipe_with_a_wrong_anchor_or_option_is_refused() -> None:
    assert set(typing.get_args(Anchor)) == set(ANCHORS)
    options = {"anchors": ["boxed", "json"], "relative_tolerance": "1e-4", "percent": "strip"}
    bound = bind(VERIFIERS, Plugin(name="cascade", options=options), "verify")
    problem = make_problem("Share?", answer="0.28")
    assert bound(problem, make_trace(problem.id, r"\boxed{28\%}")).outcome == Outcome.incorrect
    for wrong in ({"anchors": ["boxd"]}, {"percent": "maybe"}, {"tolerance": 1}):
        with pytest.raises(OperatorError):
            bind(VERIFIERS, Plugin(name="cascade", options=wrong), "verify")


@pytest.mark.parametrize("error", [MemoryError, RecursionError])
def test_memory_that_runs_out_inside_the_library_is_never_different(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """math-verify catches every Exception and answers False: the error must come out again, for the pool to count."""

    def exhausted(*_: object, **__: object) -> bool:
        raise error("no more")

    monkeypatch.setattr("math_verify.grader.sympy_expr_eq", exhausted)
    before = sys.gettrace()
    with pytest.raises(error):
        compare_math_verify("x^2 + x", "x^2 + 2")
    with pytest.raises(error):  # a sum, which only the library reads
        judge_answer(r"\sum_{k=1}^{n} k", r"\sum_{k=1}^{m} k")
    assert sys.gettrace() is before


def test_an_error_that_the_library_answers_by_itself_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> bool:
        raise ValueError("an ordinary one")

    monkeypatch.setattr("math_verify.grader.sympy_expr_eq", broken)
    assert compare_math_verify("x^2 + x", "x^2 + 2") == (Outcome.incorrect, "math_verify_different")


def test_a_verdict_names_the_conventions_it_was_given_under() -> None:
    assert "percent either, units true, ignore_case true" in judge_answer("5", "5 cm").verifier_version
    strict = judge_answer("5", "5 cm", percent="value", units=False, ignore_case=False)
    assert "percent value, units false, ignore_case false" in strict.verifier_version
    assert strict.outcome != Outcome.correct


@pytest.mark.parametrize(
    "name", [name for name in VERIFIERS if name not in READS_NO_ANSWER | {"verdict-line"}]
)  # which reads one line of its own
def test_every_verifier_that_reads_a_gold_answer_answers_for_missing_gold_and_missing_answer(name: str) -> None:
    problem = make_problem("Which?", answer="B")
    assert VERIFIERS[name](problem, make_trace(problem.id, "no idea")).outcome == Outcome.no_answer
    cut = make_trace(problem.id, "let me thi", finish_reason="length")
    assert VERIFIERS[name](problem, cut).outcome == Outcome.truncated
    no_gold = make_problem("Which?")
    assert VERIFIERS[name](no_gold, make_trace(problem.id, r"\boxed{B}")).outcome == Outcome.ungradable
    verdict = VERIFIERS[name](problem, make_trace(problem.id, r"\boxed{B}"))
    assert (verdict.extracted, verdict.verifier) == ("B", name)
    if name == "reasoning-gym":  # of a problem of no task it says nothing
        assert (verdict.outcome, verdict.reason) == (Outcome.ungradable, "no_task")
    else:
        assert verdict.outcome == Outcome.correct


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"5\pi m", r"5\pi"), (r"5\pi", r"5\pi\,m"), ("5 pi m", "5 pi"), (r"5\pi m", r"5\pi \text{ metros}"), (r"5\pi m^2", r"5\pi m"),
        (r"5\pi x", r"5\pi \text{ metros}"), (r"(4+2\sqrt3)m", r"4+2\sqrt3 m"), ("8 m", "5+3 m"), (r"1+\sqrt2 s", r"(1+\sqrt2) s"),
    ],
)  # fmt: skip
def test_a_letter_behind_pi_or_a_sum_may_be_a_unit(gold: str, answer: str) -> None:
    assert judge_answer(gold, answer).outcome == Outcome.disagree
    assert judge_answer(answer, gold).outcome == Outcome.disagree


def test_where_both_readings_of_a_letter_agree_the_values_decide() -> None:
    assert judge_answer(r"5\pi m", r"500\pi cm").outcome == Outcome.correct
    assert judge_answer(r"4+2\sqrt3\text{ m}", r"(4+2\sqrt3) m").outcome == Outcome.correct
    assert judge_answer(r"(1+\sqrt2) m", r"(1+\sqrt3) m").outcome == Outcome.incorrect
    assert judge_answer(r"2\pi r", r"2\pi").outcome == Outcome.incorrect
    assert judge_answer(r"2+\sqrt2 k\pi", r"2+\sqrt2 n\pi").outcome != Outcome.incorrect


@pytest.mark.parametrize(
    ("gold", "answer", "outcome", "reason"),
    [
        (r"\sum_{k=1}^{3} k", "6", Outcome.correct, "math_verify_equal"),
        (r"\int_0^1 x^2 dx", r"\frac{1}{3}", Outcome.correct, "math_verify_equal"),
        (r"F_n = \sum_{k=0}^{n-1} F_k F_{n-k-1}", r"F_n = \sum_{k=0}^{n-1} F_{n-k-1} F_k", Outcome.correct, "math_verify_equal"),
        (r"\int_0^1 x^2 dx", "0.3333333333", Outcome.disagree, "numeric_recheck_failed"),
        ("((((((1,2),3),4),5),6),7)", "((((((2/2,2),3),4),5),6),7)", Outcome.correct, "equal_items"),
        ("(((((((1,2),3),4),5),6),7),8)", "(((((((2/2,2),3),4),5),6),7),8)", Outcome.ungradable, "not_comparable"),
    ],
)  # fmt: skip
def test_what_math_verify_sees_and_how_deep_lists_are_read(
    gold: str, answer: str, outcome: Outcome, reason: str
) -> None:
    verdict = judge_answer(gold, answer)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("12 m", "It takes 12 seconds"), ("12 m", "The length is 12 feet"), ("5 hours", "It takes 5 minutes"), ("5 hours", "It takes **5** minutes"), ("5 hours", "It takes **5 minutes**"), (r"60 \text{ mph}", "the speed is 60 km/h"),
        (r"3\sqrt2\text{ m}", r"the area is $3\sqrt2$ square feet"), (r"\frac{24}{2}\text{ m}", "it takes $12$ seconds"), ("12 apples", "There are 12 oranges in total."),
        ("3 hours", "3 of the apples"), (r"7!\text{ m}", "5040 apples"), ("5 cm", "5%"), ("5 apples", "5%"), ("5%", r"\$5"), ("5 degrees", "5 percent"), ("7!m", "7!"),
    ],
)  # fmt: skip
def test_a_value_with_another_unit_is_not_the_value(gold: str, answer: str) -> None:
    assert judge_answer(gold, answer).outcome in (Outcome.disagree, Outcome.ungradable)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("12 apples", "There are 12 apples in total."), ("12 apples", "The total is 12."), ("12 apples", "She has 12 of them."), ("12 apples", "She has 12 left"),
        ("5 hours", "So it takes 300 minutes"), ("5 hours", "Thus 5 is the answer"), (r"12\text{ ft}^2", "The area is $12$ square feet."),
        (r"3\sqrt2\text{ m}", r"the length is $3\sqrt2$ meters"), ("25%", "the probability is 25 percent"), (r"\$25", "It costs 25 dollars"), ("12", "There are 12 oranges"), ("12", "The answer is **12**."), ("12", "There are *12* ways"), ("12", "The total is (12)"), ("12 apples", "There are **12** apples"),
    ],
)  # fmt: skip
def test_a_sentence_with_the_value_and_its_unit_says_it(gold: str, answer: str) -> None:
    assert judge_answer(gold, answer).outcome == Outcome.correct


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("2", r"The answer is \sqrt3+2"), ("2", "The answer is x<2"), ("2", "The answer is x + 2"), ("2", "The answer is x-2"), ("2", "The answer is x - 2"), ("12", r"Thus n \geq 12"), ("3", r"The sum is \pi + 3"), ("2", r"the value is \frac{x}{2}"),
        ("5", "not x=5"), ("5", "at least x=5"), ("1,2", "not x=1,2"), ("[1,3]", r"not x\in[1,3]"), ("A", "(A) or (C)"), ("A", "(A) or 7"), (r"\frac12", r"it is \frac12"), ("x^2+1", "to x^2+1"), ("No", "so No"),
    ],
)  # fmt: skip
def test_a_number_that_is_part_of_a_formula_a_denial_or_a_short_word_before_it_decides_nothing(
    gold: str, answer: str
) -> None:
    assert judge_answer(gold, answer).outcome in (Outcome.disagree, Outcome.ungradable)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [("-5", "so -5"), ("12", "Therefore x = 12"), ("12", "The number is n=12"), (r"\{1,2\}", r"{\{1,2\}}"), ("1, 2", r"{\{1,2\}}"), ("by + ax", "ax + by"), ("3", "to 3"), ("42", "<answer>42</answer>"), (r"28\%", r"\boxed{28 pct"), (r"\frac{NO}{BO}=\frac{1}{2}", r"\frac12")],
)  # fmt: skip
def test_what_stands_round_a_value_is_left_out(gold: str, answer: str) -> None:
    assert judge_answer(gold, answer).outcome == Outcome.correct


@pytest.mark.parametrize(
    ("gold", "answer", "outcome", "reason"),
    [
        ("O(n^2)", "n^2", Outcome.disagree, "different_kinds"),
        ("n^2", "O(n^2)", Outcome.disagree, "different_kinds"),
        (r"\frac{60}{2}^\circ", r"\frac{\pi}{6}", Outcome.disagree, "degrees_or_radians"),
        (r"\frac{\pi}{6}", r"\frac{60}{2}^\circ", Outcome.disagree, "degrees_or_radians"),
        ("5k", "5000", Outcome.correct, "equal_number"),
        ("2,000,000", "2M", Outcome.correct, "equal_number"),
        ("5k", "5001", Outcome.disagree, "perhaps_a_magnitude"),
        ("2M", "2000001", Outcome.disagree, "perhaps_a_magnitude"),
        ("2+3i", "3j+2", Outcome.disagree, "two_readings"),
        ("2+3j", "2+4i", Outcome.incorrect, "different_value"),
        (r"\sqrt2\text{ clips}", r"\sqrt2\text{ paper clips}", Outcome.correct, "equal_string"),
        (r"5\pi\text{ m}", r"5\pi\text{ clips}", Outcome.disagree, "units_differ"),
        ("5 GB", "5 dB", Outcome.disagree, "perhaps_a_unit"),
    ],
)
def test_the_kinds_of_units_magnitudes_and_letters(gold: str, answer: str, outcome: Outcome, reason: str) -> None:
    verdict = judge_answer(gold, answer)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("gold", "answer", "outcome", "reason"),
    [
        # a unit on one side: decided where no conversion explains the difference, and where there is no ratio at all
        (r"5\pi \text{ m}", r"\pi-\pi", Outcome.incorrect, "different_value"),
        (r"3x^2 \text{ cm}", "5x^2+1", Outcome.incorrect, "different_value"),
        (r"(2+i\sqrt{2})\text{ m}", r"3+i\sqrt{2}", Outcome.incorrect, "different_value"),
        (r"2\pi \text{ pints}", r"\pi \text{ quarts}", Outcome.correct, "equal_value"),
        (r"2\sqrt2\text{ paper clips}", r"\sqrt8\text{ clips}", Outcome.correct, "equal_value"),
        (r"5\pi p", r"5\pi\text{ pence}", Outcome.correct, "equal_string"),
        # degrees against a value without pi are a number; against one with pi they may be radians
        (r"5\pi \text{ degrees}", r"15\sqrt2", Outcome.incorrect, "different_value"),
        (r"5\sqrt2\text{ degrees}", r"\pi\sqrt{2}", Outcome.disagree, "degrees_or_radians"),
        (r"\pi\sqrt{2}", r"5\sqrt2\text{ degrees}", Outcome.disagree, "degrees_or_radians"),
        ("22.5", r"\frac{\pi}{8}", Outcome.disagree, "degrees_or_radians"),
        (r"180^\circ-2\alpha", r"90-2\alpha", Outcome.incorrect, "different_value"),
        (r"x + 90^\circ", "90 + x", Outcome.correct, "equal_value"),
        (r"\alpha + 90^\circ", r"\alpha+\pi", Outcome.disagree, "degrees_or_radians"),
        # letters that may be units: two values differ under both readings, or under one only
        ("5 m", "7 s", Outcome.incorrect, "different_value"),
        ("5 m", "7", Outcome.incorrect, "different_number"),
        ("7", "5 m", Outcome.incorrect, "different_number"),
        ("4 m^2", "9 m^3", Outcome.disagree, "perhaps_a_unit"),
        (r"4\pi m^2", r"9\pi m^3", Outcome.disagree, "perhaps_a_unit"),
        ("5.5+3.2 m", "8.7 m", Outcome.disagree, "perhaps_a_unit"),
        # 2-1/3 may be two and a third; 2-4/4 is no mixed number, and 2i+3j no complex one
        ("7/3", "2-1/3", Outcome.disagree, "two_readings"),
        ("3", "2-4/4", Outcome.incorrect, "different_value"),
        ("5i", "2i+3j", Outcome.incorrect, "different_value"),
        ("2.1+3.1j", "2.1+3.2i", Outcome.incorrect, "different_value"),
        ("x+3j", "X+3i", Outcome.incorrect, "different_value"),
        # what only math-verify reads is computed again: it rounds 10^-20 to 0
        (r"\int_0^1 \frac{x^2}{10^{20}} dx", r"\frac{1}{10^{20}}", Outcome.disagree, "numeric_recheck_failed"),
        (r"\int_{-1}^{0} x dx", r"-\frac12-\frac{1}{10^{18}}", Outcome.disagree, "numeric_recheck_failed"),
        (r"\int_{-1}^{1} x dx", "0", Outcome.correct, "math_verify_equal"),
        ("x+1", r"\overline{AB}", Outcome.ungradable, "answer_unreadable"),
    ],
)
def test_where_two_readings_of_a_value_agree_it_is_decided(
    gold: str, answer: str, outcome: Outcome, reason: str
) -> None:
    verdict = judge_answer(gold, answer)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


@pytest.mark.parametrize(("gold", "answer"), [("12 cm", "12"), ("5 m", "500 cm"), (r"100\sqrt{p}", r"100\sqrt{P}")])
def test_the_verifier_without_options_reads_units_and_letters_as_the_cascade_does(gold: str, answer: str) -> None:
    problem = make_problem("How much?", answer=gold)
    verdict = VERIFIERS["cascade"](problem, make_trace(problem.id, rf"It is \boxed{{{answer}}}."))
    assert verdict.outcome == Outcome.correct
