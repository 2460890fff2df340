"""Every type of answer in both directions: what is equal however it is written, what differs, and what nobody can say.

Each row is gold, answer, and the outcomes allowed: C correct, I incorrect, U any that is undecided. Where two letters
stand, either is right by the meaning of the words; the third would be a mistake. Written from the types, by hand.
"""

import pytest

from redistill.records import DECIDED, Outcome, make_problem, make_trace
from redistill.verify import judge_answer
from redistill.verify.gold import check_gold

CASES = {
    "number": [
        ("0.75", r"\frac{3}{4}", "C"),
        ("7", "7.0", "C"),
        ("1e-3", "0.001", "C"),
        (r"\frac{22}{7}", "3.142857", "CU"),
        ("3.14", r"\pi", "U"),
        ("12", "12.5", "I"),
        ("-3", "3", "I"),
        ("1{,}250", "1250", "C"),
        ("45", "forty-five", "UC"),
        ("1 hour 30 minutes", "90 minutes", "C"),
        ("2^{10}", "1024", "C"),
        ("0.333", r"\frac13", "U"),
        ("5!", "120", "C"),
        (r"\binom{5}{2}", "10", "C"),
        ("10^{30}+1", "10^{30}", "I"),
        (r"\sqrt{16}", "4", "C"),
        (r"\log_2 8", "3", "C"),
        ("0.5%", "0.005", "C"),
        (r"3\frac{1}{2}", "3.5", "C"),
        ("1/2004!", "1/2006!", "UI"),
        ("101_2", "5", "UI"),
        ("17", "17_{10}", "U"),
        ("-221_3", "-221", "U"),
        ("-221_3", "-221_{3}", "C"),
        ("-221_3", "-212_3", "I"),
        ("101_2 + 1_2", "102", "U"),
        (r"\log_2 8 + 1", "4", "C"),
        ("0x1F", "31", "C"),
    ],
    "expression": [
        ("7", "15-r^2", "I"),
        ("7", "x-x+7", "CU"),
        ("2(x+1)", "2x+2", "C"),
        (r"\frac{1}{x-1}-\frac{1}{x+1}", r"\frac{2}{x^2-1}", "C"),
        (r"\sin^2 x", r"1-\cos^2 x", "C"),
        ("x^2", "x^2+1", "I"),
        (r"\frac{a+b}{2}", r"\frac{a-b}{2}", "I"),
        (r"\ln 4", r"2\ln 2", "C"),
        ("x^{-1}", r"\frac1x", "C"),
        (r"\sqrt{x^2}", "x", "U"),
        ("n(n+1)/2", r"\frac{n^2+n}{2}", "C"),
        ("2^{n+1}", r"2\cdot 2^n", "C"),
        ("ab", "ba", "C"),
        ("x^2", "X^2", "C"),
        (r"\frac{\sqrt3}{3}", r"\frac{1}{\sqrt{3}}", "C"),
        (r"e^{i\pi}", "-1", "C"),
        ("4", r"4\sqrt2", "I"),
        (r"3\pi", "9.42", "U"),
        (r"3\pi", "9.4248", "C"),
        (r"3\pi", "9.5", "I"),
        (r"2\sqrt{3}+1", r"1+\sqrt{12}", "C"),
        ("|x|", "x", "U"),
        ("x+y", "x-y", "I"),
        (r"\frac{x^2-1}{x-1}", "x+1", "C"),
        (r"-\frac{1}{2}", r"\frac{-1}{2}", "C"),
        ("1+2i", "2i+1", "C"),
        ("1+2i", "1-2i", "I"),
    ],
    "equation": [
        ("y=2x+1", "y=1+2x", "C"),
        ("y=2x+1", "2x-y+1=0", "C"),
        ("y=2x+1", "y=2x-1", "I"),
        ("x^2+y^2=4", "y^2+x^2=4", "C"),
        ("x^2+y^2=4", "x^2+y^2=2", "I"),
        ("x=3", "3", "C"),
        ("x=3", "x=4", "I"),
        ("2x=6", "x=3", "C"),
        ("3x+4y+14=0", "3x-y+13=0", "I"),
        ("f(x)=x^2", "x^2", "C"),
        ("f(x)=x^2", "f(t)=t^2", "C"),
        ("f(x)=x^2", "f(t)=t^3", "UI"),
        (r"\frac{x^2}{4}+\frac{y^2}{9}=1", "9x^2+4y^2=36", "C"),
    ],
    "inequality": [
        ("x>3", "3<x", "C"),
        ("x>3", r"x\ge 3", "I"),
        (r"x \geq 3", r"[3,\infty)", "C"),
        ("-1<x<2", "(-1,2)", "C"),
        ("-1<x<2", "[-1,2]", "I"),
        (r"x<1 \text{ or } x>2", r"(-\infty,1)\cup(2,\infty)", "C"),
        ("m>1", "m<1", "I"),
        ("1<x<3", "x>1 and x<3", "CU"),
        (r"a \le 5", r"a \leq 5", "C"),
        (r"x\neq 2", r"x \ne 2", "C"),
    ],
    "tuple": [
        ("(3,4)", "(3, 4)", "C"),
        ("(3,4)", "(4,3)", "I"),
        ("(3,4)", "x=3, y=4", "CU"),
        (r"(\frac12, 0.25)", "(0.5, 1/4)", "C"),
        ("(1,2,3)", "(1,2)", "I"),
        ("A(3,4)", "(3,4)", "CU"),
        ("(1,2)", r"\{1,2\}", "U"),
    ],
    "set": [
        (r"\{1,2,3\}", r"\{3,2,1\}", "C"),
        (r"\{1,2,3\}", r"\{1,2,4\}", "I"),
        (r"\emptyset", r"\varnothing", "C"),
        (r"\{1,2\}", "1, 2", "C"),
        (r"\{x \mid x>2\}", r"(2,\infty)", "CU"),
        (r"\mathbb{R}", r"(-\infty,\infty)", "CU"),
        (r"\{0\}", "0", "CU"),
        (r"\emptyset", r"\{0\}", "UI"),
    ],
    "interval": [
        ("[0,1)", "[0,1)", "C"),
        ("[0,1)", "[0,1]", "I"),
        ("[0,1)", r"0\le x<1", "C"),
        (r"(0,1)\cup(2,3)", r"(2,3)\cup(0,1)", "C"),
        (r"(0,1)\cup(2,3)", r"(0,1)\cup(2,4)", "I"),
        (r"(-\infty, 2]", r"x \le 2", "C"),
        ("[2,5]", "[2,6]", "I"),
    ],
    "matrix": [
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}", "C"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}", "I"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "[[1,2],[3,4]]", "C"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)", "C"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(2,1)", "I"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}", "U"),
        (r"\begin{pmatrix}\frac12&0\\0&1\end{pmatrix}", r"\left(\begin{array}{cc}0.5&0\\0&1\end{array}\right)", "C"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2&3\\4&5&6\end{pmatrix}", "I"),
        (r"\begin{pmatrix}2&4\\6&8\end{pmatrix}", r"2\begin{pmatrix}1&2\\3&4\end{pmatrix}", "CU"),
        (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", "-2", "CU"),
    ],
    "choice": [
        ("B", "(B)", "C"),
        ("B", "b", "C"),
        ("B", "C", "I"),
        ("(B) 12", "B", "C"),
        ("(B) 12", "12", "C"),
        ("(B) 12", "13", "I"),
        ("(B) 12", "(C) 13", "I"),
        ("B", "Option B", "C"),
        ("B", r"\textbf{(B)}\ 12", "C"),
        ("B", "It is A, therefore B", "C"),
        ("B", "12", "U"),
        ("A, C", "C and A", "C"),
        ("A, C", "AC", "C"),
        ("A, C", "A, B", "I"),
        ("A, C", "A", "I"),
        ("B", "A, B", "I"),
        (r"\text{E}", "E", "C"),
    ],
    "text": [
        ("blue", "Blue", "C"),
        ("blue", "red", "I"),
        ("Evelyn", r"\text{Evelyn}", "C"),
        ("the odd integers", "even integers", "U"),
        ("yes", "True", "C"),
        ("no", "yes", "I"),
        ("Tuesday", "tuesday.", "C"),
        ("no solution", "There is no solution", "CU"),
        ("infinitely many", "5", "UI"),
        ("New York", "new york", "C"),
    ],
    "several": [
        ("1, 2, 3", "3, 1, 2", "C"),
        ("1, 2, 3", "1 and 2 and 3", "C"),
        ("1, 2", "1, 2, 3", "I"),
        ("x=1, x=2", "1, 2", "C"),
        ("x=1 or x=2", "x = 2, 1", "C"),
        (r"\pm 2", "2, -2", "C"),
        (r"x=\pm 2", "x=2 or x=-2", "C"),
        (r"1\pm\sqrt2", r"1-\sqrt{2}, 1+\sqrt{2}", "C"),
        (r"1\pm\sqrt2", r"1\pm\sqrt{3}", "I"),
        (r"1\pm\sqrt2", r"1+\sqrt2", "I"),
        ("(1,2),(3,4)", "(3,4) and (1,2)", "C"),
        ("(1,2),(3,4)", "(2,1),(3,4)", "I"),
        (r"1,2,\ldots,n", r"1,2,3,\ldots,n", "U"),
        (r"1,2,\ldots,n", r"1,3,5,\ldots,2n-1", "U"),
        (r"\begin{cases}x=1\\y=2\end{cases}", "x=1, y=2", "C"),
        (r"\begin{cases}x=1\\y=2\end{cases}", "x=1, y=3", "I"),
        ("-1; 2", "2; -1", "C"),
        ("5", "5, 5", "CU"),
    ],
    "units and percent": [
        ("5 cm", "5", "C"),
        ("5", r"5\text{ cm}", "C"),
        ("5 cm", "5 m", "I"),
        ("5 cm", "6 cm", "I"),
        ("60 mph", "60 miles per hour", "C"),
        (r"\$20", "20 dollars", "C"),
        ("20%", "20", "C"),
        ("20%", "0.2", "C"),
        ("20%", "2", "I"),
        (r"90^\circ", "90", "C"),
        (r"25^\circ C", "25", "CU"),
        (r"5\,\mathrm{m/s}", "5", "C"),
        ("3:30", "3:30 PM", "U"),
        ("3.5", "3,5", "C"),
        ("1.234", "1,234", "U"),
        ("1,234", "1.234", "U"),
    ],
}  # fmt: skip
ROWS = [pytest.param(*row, id=f"{kind}: {row[0]} | {row[1]}") for kind, rows in CASES.items() for row in rows]


def letter(outcome: Outcome) -> str:
    return "U" if outcome not in DECIDED else outcome[0].upper()


@pytest.mark.parametrize(("gold", "answer", "allowed"), ROWS)
def test_every_type_of_answer_is_judged_in_both_directions(gold: str, answer: str, allowed: str) -> None:
    verdict = judge_answer(gold, answer)
    assert letter(verdict.outcome) in allowed, verdict
    assert verdict.reason


@pytest.mark.parametrize(("gold", "answer", "allowed"), ROWS)
def test_no_answer_is_judged_the_other_way_when_gold_and_answer_change_places(
    gold: str, answer: str, allowed: str
) -> None:
    """Equality has no direction: C must not become I, nor I become C."""
    there, back = letter(judge_answer(gold, answer).outcome), letter(judge_answer(answer, gold).outcome)
    assert {there, back} != {"C", "I"}


@pytest.mark.parametrize(
    ("gold", "answer", "outcome", "reason"),
    [
        ("4 3 1", "4 1 3", "incorrect", "different_item"),  # as a product they would be equal
        ("4 3 1", "4 3 1 1", "incorrect", "different_length"),
        ("4 3 1", "[4, 3, 1]", "correct", "equal_string"),
        ("0.50 1 -2", "0.5 1.0 -2", "correct", "equal_items"),
        ("1 2\n3 4", "1 3\n2 4", "incorrect", "different_item"),
        ("1 2 3\n3 4 5.0", "1 2\n3 3\n4 5", "disagree", "different_layout"),
        ("1 2\n3 4", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "correct", "equal_items"),
        ("2 3 4", "24", "disagree", "different_kinds"),
        ("2 3", "23", "disagree", "different_kinds"),
        ("2 4", "5", "incorrect", "different_length"),
        ("3 2\n1 0", "[3, 2]\n[1, 0]", "correct", "equal_items"),
        ("3 2\n1 0", "[[3 2],\n [1 1]]", "incorrect", "different_item"),
        ("3 2\n1 0", "[[3, 2, 1], [0, 3, 2]]", "incorrect", "different_length"),
        ("3 2\n1 0", "[3, 2, 1, 0]", "disagree", "different_layout"),
        ("1 2\n3 4\n5 6", "1 3 5\n2 4 6", "incorrect", "different_item"),  # turned over, and no list of six
        ("3\n4", "4 3", "disagree", "different_layout"),
        ("12 345 678", "12345678", "correct", "equal_number"),
        ("3 1/2", "3.5", "correct", "equal_number"),
    ],
)
def test_numbers_parted_by_blanks_are_a_row_and_never_a_product(gold, answer, outcome, reason):
    found = judge_answer(gold, answer)
    assert (found.outcome, found.reason) == (outcome, reason)


def test_a_long_grid_of_digits_is_gradable():
    row = " ".join("27041447" * 20)
    assert check_gold(make_problem("?", answer=f"{row}\n{row}"), make_trace("p", "x")).extracted == "matrix"
    assert judge_answer(f"{row}\n{row}", f"{row}\n{row[:-1]}9").outcome == "incorrect"
