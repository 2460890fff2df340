"""Notations that people meet in data: `=` must be correct, `!` incorrect, `?` neither, for a reader without the question could not decide."""

import pytest

from redistill.records import DECIDED, Outcome
from redistill.verify import judge_answer

PAIRS = {
    "unit": [
        ("5 \\mathrm{~cm}", "=", "50 \\mathrm{~mm}"),
        ("2:15 hours", "?", "135 minutes"),
        ("12 people", "=", "12 persons"),
        ("4 children", "=", "4 child"),
        ("1,500 m", "=", "1.5 km"),
        ("12\\ \\mathrm{m/s}", "=", "12\\ \\mathrm{m\\,s^{-1}}"),
        ("5~\\text{m}", "!", "5~\\text{cm}"),
        ("5 miles", "?", "8 km"),
        ("15\\,\\Omega", "=", "15\\,\\text{ohms}"),
        ("15 k\\Omega", "=", "15000 \\Omega"),
        ("2 \\mu\\text{m}", "=", "2000 \\text{ nm}"),
        ("8 mi/gal", "=", "8 mpg"),
        ("3 m 50 cm", "=", "3.5 m"),
        ("3 m 50 cm", "!", "3.05 m"),
        ("2 min 5 s", "=", "125 s"),
        ("half an hour", "=", "30 minutes"),
        ("an hour and a half", "=", "90 minutes"),
        ("a dozen", "=", "12"),
        ("5 pairs", "?", "10"),
        ("12 cm2", "=", "12 cm^2"),
        ("100 cm2", "!", "1 m2"),
        ("10000 cm2", "=", "1 m2"),
        ("0.5 m³", "=", "500 L"),
        ("5 N m", "?", "5 J"),
    ],
    "money": [
        ("£3", "=", "300p"),
        ("$1,234.56", "=", "$1.234,56"),
        ("€1.234", "?", "1234"),
        ("12,50 €", "=", "12.5"),
        ("£1.20", "=", "120p"),
    ],
    "mag": [
        ("\\text{2 million}", "=", "2\\times 10^6"),
        ("7 thousandths", "!", "7 thousand"),
        ("0.007", "=", "7 thousandths"),
        ("half a million", "=", "500000"),
        ("1 million and 5", "=", "1000005"),
        ("6 Millionen", "=", "6000000"),
        ("6 Millionen", "!", "6 Milliarden"),
        ("two and a half million", "=", "2.5 million"),
        ("5 tenths", "=", "0.5"),
        ("3 tens", "?", "30"),
        ("5‰", "=", "0.005"),
        ("5‰", "?", "5%"),
        ("5 per mille", "=", "0.5%"),
        ("3千", "=", "3000"),
        ("5百", "=", "500"),
        ("2 millones", "=", "2000000"),
        ("2 mil millones", "=", "2000000000"),
        ("1,5 Millionen", "=", "1500000"),
        ("3 milliards", "!", "3 millions"),
    ],
    "num": [
        ("{7 \\choose 2}", "=", "21"),
        ("minus 5", "=", "-5"),
        ("0,5", "?", "1/2"),
        ("2-3/4", "?", "11/4"),
        ("3 and 1/2", "=", "3.5"),
        ("3 and a half", "=", "3.5"),
        ("\\frac{10!}{3!7!}", "=", "120"),
        ("C(10,3)", "?", "(10,3)"),
        ("1 234,5", "=", "1234.5"),
        ("0b1010", "=", "10"),
    ],
    "list": [
        ("3,7", "=", "3 и 7"),
        ("3,7", "=", "3 или 7"),
        ("3,7", "=", "x=3 \\vee x=7"),
        ("1, 2, 3", "?", "1,2,…"),
    ],
    "parts": [
        ("(a) 3 (b) 5", "=", "a: 3, b: 5"),
        ("(1) 3 (2) 5", "=", "① 3 ② 5"),
        ("(a) 3 (b) 5", "=", "(b) 5 (a) 3"),
        ("x=3, y=5", "=", "x: 3, y: 5"),
        ("a. 1, b. 2", "=", "a) 1, b) 2"),
        ("Q1: 3, Q2: 5", "?", "3, 5"),
        ("(1) 3 (2) 5", "=", "(2) 5 (1) 3"),
    ],
    "cong": [
        ("x\\equiv 1 \\pmod 4", "!", "x=4k+2"),
        ("2,3 \\pmod 5", "=", "3,2 \\pmod 5"),
        ("6n+1", "?", "1+6m"),
        ("60^\\circ + 360^\\circ k", "=", "60^\\circ+n\\cdot 360^\\circ"),
        ("k\\cdot 180^\\circ", "=", "180^\\circ n"),
        ("30^\\circ+k\\cdot360^\\circ", "=", "390^\\circ + 360^\\circ n"),
        ("1, 4 \\pmod 5", "=", "\\pm 1 \\pmod 5"),
        ("x \\equiv 1,4 \\pmod 5", "=", "x \\equiv 4, 1 \\pmod{5}"),
        ("x \\equiv 1,4 \\pmod 5", "!", "x \\equiv 2,3 \\pmod{5}"),
    ],
    "trig": [
        ("\\cos x", "?", "\\sin(90 - x)"),
        ("\\arctan 1", "?", "45^\\circ"),
    ],
    "ival": [
        ("1 < x < 5, x \\ne 3", "=", "(1,3)\\cup(3,5)"),
        ("x\\neq1", "=", "x \\in \\mathbb{R}, x \\ne 1"),
        ("\\mathbb{R}\\setminus\\{1,2\\}", "=", "x\\ne1,2"),
        ("x \\ne 1, 2", "=", "x\\ne 1 \\text{ and } x\\ne 2"),
        ("\\left]2,5\\right[", "=", "(2,5)"),
    ],
    "vec": [
        ("\\langle 1,2,3\\rangle", "=", "(1,2,3)"),
        ("(1,2)", "=", "<1,2>"),
        ("\\vec{v}=(1,2)", "=", "(1,2)"),
        ("(1,2)^T", "=", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
    ],
    "time": [
        ("3 o'clock", "=", "3:00"),
        ("20h34", "?", "20:34"),
        ("January 5, 2024", "=", "2024-01-05"),
        ("May 2020", "!", "June 2020"),
        ("12 noon", "=", "12:00 PM"),
        ("Fri", "?", "Friday"),
        ("June 5", "!", "June 6"),
        ("06/05/2021", "?", "05/06/2021"),
        ("2 hours", "?", "2:00"),
    ],
    "ratio": [
        ("1:2:3", "!", "1:3:2"),
        ("2:3:4", "!", "4:3:2"),
        ("2:3:4", "!", "2:3:5"),
        ("2:3:4:5", "!", "2:3:4:6"),
        ("\\sqrt2:1", "?", "\\sqrt{2}"),
        ("1:\\sqrt2", "?", "\\sqrt2:1"),
        ("1:\\sqrt{3}:2", "?", "1:2:\\sqrt{3}"),
        ("a:b:c", "?", "a:c:b"),
    ],
    "choice": [
        ("Option B", "=", "B"),
        ("Choice B", "=", "B"),
        ("None of the above", "?", "D"),
        ("e", "?", "E"),
        ("C", "=", "Answer: C"),
        ("12", "?", "C"),
        ("12", "?", "C"),
    ],
    "ordinal": [
        ("third", "=", "3rd"),
        ("5th", "=", "fifth"),
        ("21st", "=", "twenty-first"),
        ("the fifth day", "=", "5"),
        ("3rd floor", "=", "third floor"),
        ("third", "!", "4th"),
        ("a third", "!", "3"),
        ("third", "=", "1/3"),
        ("2", "?", "two thirds of the cake"),
        ("third of the cake", "?", "3"),
    ],
    "letter case": [
        ("CO", "?", "Co"),
        ("\\text{CO}_2", "?", "\\text{Co}_2"),
        ("HF", "?", "Hf"),
        ("mW", "?", "MW"),
        ("5 mg", "?", "5 Mg"),
        ("5 MHz", "?", "5 mHz"),
        ("3 MWh", "?", "3 mWh"),
        ("5 kg", "=", "5 KG"),
        ("CO_2", "=", "\\mathrm{CO}_2"),
        ("YES", "=", "yes"),
        ("No", "=", "NO"),
        ("Tuesday", "=", "TUESDAY"),
    ],
    "two notations": [
        ("2+3i", "?", "2+3j"),
        ("2+3i", "!", "3+2i"),
        ("\\{(1,2)\\}", "=", "(1,2)"),
        ("(1,2)", "=", "\\{(1,2)\\}"),
        ("\\{(1,2)\\}", "!", "(2,1)"),
        ("\\mathcal{O}(n^2)", "=", "O(n^2)"),
    ],
    "one of several": [
        ("12", "?", "12 apples and 3 pears"),
        ("5", "!", "12 apples and 3 pears"),
        ("12, 3", "=", "12 apples and 3 pears"),
    ],
    "dress": [
        ("10", "=", "=10"),
        ("10", "=", "\\text{ten}"),
        ("21", "=", "\\text{twenty-one}"),
        ("20", "!", "\\text{twenty-one}"),
    ],
    "exclamation": [
        ("42", "?", "42!"),
        ("120", "=", "5!"),
        ("6", "!", "5!"),
    ],
    "expr": [
        ("\\sin^{-1}(1/2)", "?", "30^\\circ"),
        ("O(n^2)", "?", "n^2"),
        ("dy/dx=2x", "=", "2x"),
    ],
}


@pytest.mark.parametrize("kind", PAIRS)
def test_each_pair_has_the_verdict_that_its_sign_says(kind):
    wrong = []
    for gold, sign, answer in PAIRS[kind]:
        verdict = judge_answer(gold, answer)
        right = {
            "=": verdict.outcome == Outcome.correct,
            "!": verdict.outcome == Outcome.incorrect,
            "?": verdict.outcome not in DECIDED,
        }
        if not right[sign]:
            wrong.append((gold, sign, answer, verdict.outcome, verdict.reason))
    assert not wrong


@pytest.mark.parametrize(
    ("gold", "sign", "answer"),
    [
        (r"x\equiv5\pmod9", "=", r"x \equiv 14 \ (\mathrm{mod}\ 9)"),
        (r"x\equiv5\pmod9", "!", r"x \equiv 13 \ (\text{mod } 9)"),
        ("06:05", "=", "6:05 a.m."),
        ("08:34 PM", "=", "08:34"),
        ("8:34", "?", "8:34 PM"),
    ],
)
def test_residues_and_hours(gold, sign, answer):
    outcome = judge_answer(gold, answer).outcome
    assert {"=": outcome == Outcome.correct, "!": outcome == Outcome.incorrect, "?": outcome not in DECIDED}[sign]
