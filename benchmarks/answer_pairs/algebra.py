"""Expressions, equations, sets of reals and congruences. sympy rewrites and prints; nothing is ever parsed here."""

import random
from fractions import Fraction
from functools import lru_cache

import sympy

from answer_pairs.pair import Pair

x, y, n = sympy.symbols("x y n")


def in_text(value: sympy.Basic) -> str:
    """2*x**2 -> 2*x^2."""
    return str(value).replace("**", "^")


def in_latex(value: sympy.Basic) -> str:
    return str(sympy.latex(value))


def in_dollars(value: sympy.Basic) -> str:
    return f"${sympy.latex(value)}$"


def written(rng: random.Random, value: sympy.Basic) -> str:
    return rng.choice([in_latex, in_latex, in_dollars, in_text])(value)


# --- closed forms ------------------------------------------------------------------------------------------------------


def closed_form(rng: random.Random) -> Pair:
    """Radicals, pi, logarithms, sines of nice angles: each written in two ways by a rule that holds; different: another number."""
    a, b, c = rng.randint(2, 12), rng.choice([2, 3, 5, 6, 7, 10, 11]), rng.randint(1, 20)
    forms: list[tuple[str, str, str, str]] = [  # name, one way, another, another value
        ("radical", rf"{a}\sqrt{{{b}}}", rf"\sqrt{{{a * a * b}}}", rf"\sqrt{{{a * a * b + 1}}}"),
        ("sum with a radical", rf"{c}+{a}\sqrt{{{b}}}", rf"{a}\sqrt{{{b}}}+{c}", rf"{c}-{a}\sqrt{{{b}}}"),
        ("rationalised", rf"\frac{{{c}}}{{\sqrt{{{b}}}}}", rf"\frac{{{c}\sqrt{{{b}}}}}{{{b}}}", rf"\frac{{{c}\sqrt{{{b}}}}}{{{b + 1}}}"),
        ("conjugate", rf"\frac{{1}}{{\sqrt{{{b}}}-1}}", rf"\frac{{\sqrt{{{b}}}+1}}{{{b - 1}}}", rf"\frac{{\sqrt{{{b}}}-1}}{{{b - 1}}}"),
        ("pi in front", rf"{a}\pi", rf"\pi \cdot {a}", rf"{a + 1}\pi"),
        ("pi over", rf"\frac{{{c}\pi}}{{{b}}}", rf"\frac{{{c}}}{{{b}}}\pi", rf"\frac{{{c}\pi}}{{{b + 1}}}"),
        ("unicode pi", rf"{a}\pi", f"{a}π", f"{a + 1}π"),
        ("logarithm of a product", rf"\ln {a * b}", rf"\ln {a} + \ln {b}", rf"\ln {a} \cdot \ln {b}"),
        ("logarithm of a power", rf"\log_{{2}} {2**(a % 6 + 1)}", f"{a % 6 + 1}", f"{a % 6 + 2}"),
        ("power of e", rf"e^{{{a}}}", rf"e^{{{a - 1}}} \cdot e", rf"e^{{{a + 1}}}"),
        ("exponential function", rf"\exp({a})", rf"e^{{{a}}}", rf"e^{{-{a}}}"),
        ("sine", r"\sin 30^\circ", r"\frac{1}{2}", r"\frac{\sqrt{3}}{2}"),
        ("cosine", r"\cos 45^\circ", r"\frac{\sqrt{2}}{2}", r"\frac{1}{2}"),
        ("tangent", r"\tan \frac{\pi}{3}", r"\sqrt{3}", r"\frac{\sqrt{3}}{3}"),
        ("cube root", rf"\sqrt[3]{{{a**3 * b}}}", rf"{a}\sqrt[3]{{{b}}}", rf"{a}\sqrt{{{b}}}"),
        ("power a half", rf"{b}^{{1/2}}", rf"\sqrt{{{b}}}", rf"\sqrt[3]{{{b}}}"),
        ("negative power", rf"{a}^{{-2}}", rf"\frac{{1}}{{{a * a}}}", rf"-\frac{{1}}{{{a * a}}}"),
        ("square root sign", rf"\sqrt{{{b}}}", f"√{b}", f"√{b + 1}"),
        ("root in text", rf"{a}\sqrt{{{b}}}", f"{a}*sqrt({b})", f"{a + 1}*sqrt({b})"),
    ]  # fmt: skip
    name, one, same, other = rng.choice(forms)
    is_same = rng.random() < 0.5
    pair = [one, same if is_same else other]
    gold, prediction = rng.sample(pair, 2)
    return Pair("closed form", name, gold, prediction, is_same)


# --- polynomials and functions -----------------------------------------------------------------------------------------


def polynomial(rng: random.Random) -> Pair:
    """Polynomials in one or two letters: expanded, factored, collected, in another order; different by one coefficient."""
    letters = rng.choice([(x,), (x,), (x, y)])
    factors = [
        sum(rng.choice([-3, -2, -1, 1, 2, 3, 5]) * letter for letter in letters) + rng.randint(-9, 9)
        for _ in range(rng.choice([1, 2, 2, 3]))
    ]
    value = sympy.Mul(*factors)
    ways = {
        "expanded": sympy.expand,
        "factored": sympy.factor,
        "as made": lambda v: v,
        "horner": lambda v: sympy.horner(sympy.expand(v)) if len(letters) == 1 else sympy.collect(sympy.expand(v), x),
        "halved": lambda v: sympy.Mul(sympy.Rational(1, 2), sympy.expand(2 * v), evaluate=False),
    }
    one, two = rng.choice(list(ways)), rng.choice(list(ways))
    gold = written(rng, ways[one](value))
    if rng.random() < 0.5:
        return Pair("polynomial", f"{one} / {two}", gold, written(rng, ways[two](value)), True)
    off = {
        "constant": sympy.Integer(rng.choice([-1, 1, 2])),
        "linear term": letters[0],
        "sign": -2 * value,
        "a square more": letters[0] ** 2,
    }
    word = rng.choice(list(off))
    other = sympy.expand(value + off[word])
    return Pair("polynomial", f"{word}: {one} / {two}", gold, written(rng, ways[two](other)), False)


@lru_cache(maxsize=1)
def identities() -> tuple[tuple[str, str, str, str], ...]:
    """(name, one way, the same, another) with A and B for whole numbers."""
    return (
        ("double angle", r"\sin(2x)", r"2\sin(x)\cos(x)", r"2\sin(x)"),
        ("complement", r"\cos x", r"\sin(90^\circ - x)", r"\sin(90^\circ + 2x)"),
        ("complement in radians", r"\cos x", r"\sin\left(\frac{\pi}{2} - x\right)", r"\sin(\pi - x)"),
        ("pythagoras", r"A\sin^2 x + A\cos^2 x + x", r"x + A", r"x - A"),
        ("tangent", r"A\tan x", r"\frac{A\sin x}{\cos x}", r"\frac{A\cos x}{\sin x}"),
        ("exponent sum", r"e^{x+A}", r"e^{A} \cdot e^{x}", r"e^{x} + e^{A}"),
        ("exponent product", r"e^{Ax}", r"(e^{x})^{A}", r"Ae^{x}"),
        ("power of a power", r"B^{2x}", r"(B^2)^{x}", r"2 \cdot B^{x}"),
        ("logarithm of a power", r"A\ln(x^2+1)", r"\ln\left((x^2+1)^{A}\right)", r"\left(\ln(x^2+1)\right)^{A}"),
        ("partial fractions", r"\frac{1}{x} - \frac{1}{x+A}", r"\frac{A}{x(x+A)}", r"\frac{1}{x(x+A)}"),
        ("common denominator", r"\frac{A}{x} + \frac{B}{y}", r"\frac{Ay+Bx}{xy}", r"\frac{A+B}{x+y}"),
        ("negative exponent", r"Ax^{-2}", r"\frac{A}{x^2}", r"-\frac{A}{x^2}"),
        ("root", r"\sqrt{A^2 + x^2}", r"(x^2 + A^2)^{1/2}", r"x + A"),
        ("difference of squares", r"x^2 - A^2", r"(x-A)(x+A)", r"(x-A)^2"),
        ("sums", r"\frac{n(n+1)}{2} + A", r"\frac{n^2+n+2 \cdot A}{2}", r"\frac{n^2+n+A}{2}"),
        ("hyperbolic", r"\cosh x", r"\frac{e^x + e^{-x}}{2}", r"\frac{e^x - e^{-x}}{2}"),
        ("half angle", r"\sin^2 x", r"\frac{1-\cos 2x}{2}", r"\frac{1+\cos 2x}{2}"),
        ("a sign out of a fraction", r"\frac{A-x}{B}", r"-\frac{x-A}{B}", r"-\frac{x+A}{B}"),
    )  # fmt: skip


def function(rng: random.Random) -> Pair:
    """Functions by identities of school: trigonometric, exponential, logarithms, fractions."""
    name, one, same, other = rng.choice(identities())
    a = rng.randint(3, 12)
    numbers = {"A": str(a), "B": str(rng.choice([b for b in range(2, 13) if b != a]))}
    is_same = rng.random() < 0.5
    texts = [one, same if is_same else other]
    for letter, digits in numbers.items():
        texts = [text.replace(letter, digits) for text in texts]
    gold, prediction = rng.sample(texts, 2)
    return Pair("function", name, gold, prediction, is_same)


def equation(rng: random.Random) -> Pair:
    """Lines and circles: multiplied, sides swapped, solved for y; different by a coefficient."""
    a, b, c = (rng.choice([-1, 1]) * rng.randint(1, 9) for _ in range(3))
    k = rng.choice([-3, -1, 2, 5])

    def line(a: int, b: int, c: int) -> tuple[str, str]:
        left = sympy.latex(a * x + b * y)
        slope = sympy.latex(sympy.Rational(-a, b) * x + sympy.Rational(c, b))
        forms = {
            "standard": f"{left} = {c}",
            "zero": f"{sympy.latex(a * x + b * y - c)} = 0",
            "multiplied": f"{sympy.latex(k * a * x + k * b * y)} = {k * c}",
            "swapped": f"{c} = {left}",
            "slope": f"y = {slope}",
        }
        name = rng.choice(list(forms))
        return forms[name], name

    def circle(p: int, q: int, r: int) -> tuple[str, str]:
        full = sympy.expand((x - p) ** 2 + (y - q) ** 2 - r)
        forms = {
            "centre": f"{sympy.latex((x - p) ** 2)} + {sympy.latex((y - q) ** 2)} = {r}",
            "expanded": f"{sympy.latex(full)} = 0",
            "swapped": f"{r} = {sympy.latex((x - p) ** 2)} + {sympy.latex((y - q) ** 2)}",
        }
        name = rng.choice(list(forms))
        return forms[name], name

    made, values = (line, (a, b, c)) if rng.random() < 0.6 else (circle, (a, b, abs(c) * 3 + 1))
    gold, one = made(*values)
    if rng.random() < 0.5:
        prediction, two = made(*values)
        return Pair("equation", f"{made.__name__}: {one} / {two}", gold, prediction, True)
    ways = {"constant": (values[0], values[1], values[2] + 1), "a sign": (values[0], -values[1], values[2])}
    word = rng.choice(list(ways))
    prediction, two = made(*ways[word])
    return Pair("equation", f"{word} of a {made.__name__}: {one} / {two}", gold, prediction, False)


# --- sets of reals -----------------------------------------------------------------------------------------------------

End = tuple[Fraction | None, bool]  # value (None: unbounded) and whether it belongs to the set


def interval(rng: random.Random) -> Pair:
    """Intervals, rays and their inequalities; different: an end, its bracket, the direction."""
    low, high = Fraction(rng.randint(-20, 10)), Fraction(0)
    high = low + rng.randint(1, 20)
    kind = rng.choice(["bounded", "bounded", "above", "below", "outside"])
    has_low, has_high = rng.random() < 0.5, rng.random() < 0.5

    def bounded(low: Fraction, high: Fraction, has_low: bool, has_high: bool) -> dict[str, str]:
        left, right = "[" if has_low else "(", "]" if has_high else ")"
        below, above = r"\le" if has_low else "<", r"\le" if has_high else "<"
        forms = {
            "interval": f"{left}{low}, {high}{right}",
            "left right": rf"\left{left}{low}, {high}\right{right}",
            "x in": rf"x \in {left}{low}, {high}{right}",
            "chain": f"{low} {below} x {above} {high}",
            "chain in text": f"{low} {'<=' if has_low else '<'} x {'<=' if has_high else '<'} {high}",
            "chain backwards": f"{high} {above.replace('le', 'ge').replace('<', '>')} x {below.replace('le', 'ge').replace('<', '>')} {low}",
            "set": rf"\{{x \mid {low} {below} x {above} {high}\}}",
            "and": rf"x {'>=' if has_low else '>'} {low} and x {'<=' if has_high else '<'} {high}",
        }
        if has_low == has_high:
            middle, radius = (low + high) / 2, (high - low) / 2
            if middle.denominator == radius.denominator == 1 and middle:
                forms["absolute value"] = f"|x {'-' if middle > 0 else '+'} {abs(middle)}| {below} {radius}"
        if not (has_low and has_high):
            forms["foreign brackets"] = f"{'[' if has_low else ']'}{low}, {high}{']' if has_high else '['}"
        return forms

    def ray(end: Fraction, has_end: bool, upwards: bool) -> dict[str, str]:
        more, less = (r"\ge", r"\le") if has_end else (">", "<")
        sign, back = (more, less) if upwards else (less, more)
        interval = (
            f"{'[' if has_end else '('}{end}, \\infty)" if upwards else f"(-\\infty, {end}{']' if has_end else ')'}"
        )
        return {
            "interval": interval,
            "inequality": f"x {sign} {end}",
            "backwards": f"{end} {back} x",
            "doubled": f"2x {sign} {2 * end}",
            "negated": f"-x {back} {-end}",
            "x in": rf"x \in {interval}",
            "unicode": f"x {'≥' if upwards and has_end else '≤' if has_end else '>' if upwards else '<'} {end}",
        }

    def outside(low: Fraction, high: Fraction, has_end: bool) -> dict[str, str]:
        less, more = (r"\le", r"\ge") if has_end else ("<", ">")
        left, right = ("]", "[") if has_end else (")", "(")
        return {
            "union": rf"(-\infty, {low}{left} \cup {right}{high}, \infty)",
            "or": rf"x {less} {low} \text{{ or }} x {more} {high}",
            "or in text": f"x {'<=' if has_end else '<'} {low} or x {'>=' if has_end else '>'} {high}",
            "or swapped": rf"x {more} {high} \text{{ or }} x {less} {low}",
        }

    step = rng.choice([-1, 1])
    if kind == "bounded":
        forms = bounded(low, high, has_low, has_high)
        ways = {
            "an end": bounded(low, high + 1, has_low, has_high),
            "a bracket": bounded(low, high, not has_low, has_high),
        }
    elif kind == "outside":
        forms = outside(low, high, has_low)
        ways = {
            "an end": outside(low, high + 1, has_low),
            "a bracket": outside(low, high, not has_low),
            "inside": bounded(low, high, has_low, has_low),
        }
    else:
        forms = ray(low, has_low, kind == "above")
        ways = {
            "an end": ray(low + step, has_low, kind == "above"),
            "a bracket": ray(low, not has_low, kind == "above"),
            "direction": ray(low, has_low, kind != "above"),
        }
    one = rng.choice(list(forms))
    if rng.random() < 0.5:
        two = rng.choice(list(forms))
        return Pair("interval", f"{kind}: {one} / {two}", forms[one], forms[two], True)
    word = rng.choice(list(ways))
    two = rng.choice(list(ways[word]))
    return Pair("interval", f"{kind}, {word}: {one} / {two}", forms[one], ways[word][two], False)


def congruence(rng: random.Random) -> Pair:
    """Classes of whole numbers: any member stands for its class; different: another class or another modulus."""
    modulus = rng.randint(3, 30)
    rest = rng.randrange(modulus)
    member = rest + modulus * rng.choice([0, 0, 1, 2, -1])

    def forms(rest: int, modulus: int) -> dict[str, str]:
        return {
            "pmod": rf"{rest} \pmod{{{modulus}}}",
            "short pmod": rf"{rest} \pmod {modulus}" if modulus < 10 else rf"{rest} \pmod{{{modulus}}}",
            "x equiv": rf"x \equiv {rest} \pmod{{{modulus}}}",
            "bmod": rf"{rest} \bmod {modulus}",
            "text": f"{rest} (mod {modulus})",
            "x text": f"x ≡ {rest} (mod {modulus})",
        }

    ours = forms(member, modulus)
    one = rng.choice(list(ours))
    if rng.random() < 0.5:
        theirs = forms(rest + modulus * rng.choice([0, 1]), modulus)
        two = rng.choice(
            [t for t in theirs if "bmod" not in (one, t) or rest == member] if one != "bmod" else ["bmod", "pmod"]
        )
        if "bmod" in (one, two):  # as an operation it names the rest itself
            ours, theirs = forms(rest, modulus), forms(rest, modulus)
        return Pair("congruence", f"{one} / {two}", ours[one], theirs[two], True)
    word = rng.choice(["another class", "another modulus"])
    theirs = (
        forms((rest + rng.randrange(1, modulus)) % modulus, modulus)
        if word == "another class"
        else forms(rest, modulus + 1)
    )
    two = rng.choice([t for t in theirs if t != "bmod"])
    while one == "bmod":
        one = rng.choice(list(ours))
    return Pair("congruence", f"{word}: {one} / {two}", ours[one], theirs[two], False)
