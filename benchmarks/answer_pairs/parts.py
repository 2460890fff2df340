"""Answers of several parts, and answers that are not numbers: lists, tuples, matrices, vectors, choices, words."""

import random
from collections.abc import Callable, Sequence
from fractions import Fraction

from answer_pairs.numbers import any_fraction, frac, near_fraction, near_integer, plain, slash, unicode_minus
from answer_pairs.pair import Pair, write

Value = int | Fraction


def number(rng: random.Random, small: int = 60) -> Value:
    return rng.randint(-small, small) if rng.random() < 0.75 else any_fraction(rng)


def text_of(rng: random.Random, value: Value) -> str:
    if isinstance(value, int):
        return write(rng, value, [plain, plain, plain, unicode_minus])[0]
    return write(rng, value, [slash, frac])[0] if value.denominator > 1 else str(value.numerator)


def is_tight_safe(texts: Sequence[str]) -> bool:
    """False where a comma without a space would read as a thousands separator: 3,250."""
    return all(len(text.strip("-\u2212")) != 3 for text in texts[1:])


def distinct(rng: random.Random, count: int) -> list[Value]:
    found: list[Value] = []
    while len(found) < count:
        if (value := number(rng)) not in found:
            found.append(value)
    return found


def other_than(rng: random.Random, value: Value) -> Value:
    return near_integer(rng, value)[0] if isinstance(value, int) else near_fraction(rng, value)[0]


def changed(rng: random.Random, values: Sequence[Value], *, may_grow: bool = True) -> tuple[list[Value], str]:
    """Other values: one changed, one missing, one more."""
    found, word = list(values), rng.choice(["one changed", "one missing", "one more"] if may_grow else ["one changed"])
    if word == "one missing" and len(found) > 2:
        found.pop(rng.randrange(len(found)))
    elif word == "one more":
        while (value := number(rng)) in found:
            pass
        found.insert(rng.randrange(len(found) + 1), value)
    else:
        word, place = "one changed", rng.randrange(len(found))
        while (value := other_than(rng, found[place])) in found:
            value = number(rng, 500)
            if value not in found:
                break
        found[place] = value
    return found, word


def number_list(rng: random.Random) -> Pair:
    """Several solutions: in any order, with any joint, in braces or not; a repeated value is not made."""
    values = distinct(rng, rng.randint(2, 5))

    def joined(given: Sequence[Value]) -> tuple[str, str]:
        texts = [text_of(rng, v) for v in given]
        last = f"{', '.join(texts[:-1])} and {texts[-1]}"
        forms: dict[str, str] = {
            "commas": ", ".join(texts),
            "commas without space": ",".join(texts),
            "semicolons": "; ".join(texts),
            "and": last,
            "oxford and": f"{', '.join(texts[:-1])}, and {texts[-1]}",
            "or": f"{', '.join(texts[:-1])} or {texts[-1]}",
            "text and": rf"{', '.join(texts[:-1])}\text{{ and }}{texts[-1]}",
            "braces": rf"\{{{', '.join(texts)}\}}",
            "left right": rf"\left\{{{', '.join(texts)}\right\}}",
            "x =": "x = " + ", ".join(texts),
            "each x =": ", ".join(f"x = {t}" for t in texts),
            "each x = or": r" \text{ or } ".join(f"x = {t}" for t in texts),
            "full width": "，".join(texts),
            "enumeration comma": "、".join(texts),
            "full-width semicolon": "；".join(texts),
        }
        tight = () if is_tight_safe(texts) else ("commas without space", "full width", "enumeration comma")
        name = rng.choice([f for f in forms if f not in tight])
        return forms[name], name

    gold, one = joined(values)
    if rng.random() < 0.5:
        prediction, two = joined(rng.sample(values, len(values)))
        return Pair("list", f"{one} / {two}", gold, prediction, True)
    other, word = changed(rng, values)
    prediction, two = joined(rng.sample(other, len(other)))
    return Pair("list", f"{word}: {one} / {two}", gold, prediction, False)


def number_tuple(rng: random.Random) -> Pair:
    """Points: the order counts."""
    values = [number(rng) for _ in range(rng.choice([2, 2, 3]))]

    def joined(given: Sequence[Value]) -> tuple[str, str]:
        texts = [text_of(rng, v) for v in given]
        forms = {
            "plain": f"({', '.join(texts)})",
            "left right": rf"\left({', '.join(texts)}\right)",
            "tight": f"({','.join(texts)})",
            "big": rf"\big({', '.join(texts)}\big)",
            "full width": f"（{'，'.join(texts)}）",
            "dollars": f"$({', '.join(texts)})$",
        }
        if len(texts) == 2:
            forms["point"] = rf"\left( {texts[0]},\; {texts[1]} \right)"
        tight = () if is_tight_safe(texts) else ("tight", "full width")
        name = rng.choice([f for f in forms if f not in tight])
        return forms[name], name

    gold, one = joined(values)
    if rng.random() < 0.5:
        prediction, two = joined(values)
        return Pair("tuple", f"{one} / {two}", gold, prediction, True)
    if values[0] != values[1] and rng.random() < 0.4:
        other, word = [values[1], values[0], *values[2:]], "swapped"
    else:
        other, word = changed(rng, values)
        if len(other) == 2 != len(values) or len(other) > 4:
            other, word = [other_than(rng, values[0]), *values[1:]], "one changed"
    if other == values:
        other, word = [*values, 1], "one more"
    prediction, two = joined(other)
    return Pair("tuple", f"{word}: {one} / {two}", gold, prediction, False)


def matrix(rng: random.Random) -> Pair:
    """Matrices of two rows or more and two columns or more; an entry changed, transposed, rows swapped."""
    rows, columns = rng.choice([(2, 2), (2, 2), (2, 3), (3, 3)])
    values = [[number(rng, 20) for _ in range(columns)] for _ in range(rows)]

    def written(given: Sequence[Sequence[Value]]) -> tuple[str, str]:
        texts = [[text_of(rng, v) for v in row] for row in given]
        body = r" \\ ".join(" & ".join(row) for row in texts)
        forms = {
            "pmatrix": rf"\begin{{pmatrix}} {body} \end{{pmatrix}}",
            "bmatrix": rf"\begin{{bmatrix}} {body} \end{{bmatrix}}",
            "array": rf"\left(\begin{{array}}{{{'c' * len(texts[0])}}} {body} \end{{array}}\right)",
            "brackets": "[" + ", ".join(f"[{', '.join(row)}]" for row in texts) + "]",
            "tight": rf"\begin{{pmatrix}}{body.replace(' ', '')}\end{{pmatrix}}",
        }
        name = rng.choice(list(forms))
        return forms[name], name

    gold, one = written(values)
    if rng.random() < 0.5:
        prediction, two = written(values)
        return Pair("matrix", f"{one} / {two}", gold, prediction, True)
    ways: dict[str, list[list[Value]]] = {
        "transposed": [list(c) for c in zip(*values)],
        "rows swapped": [values[1], values[0], *values[2:]],
    }
    one_entry = [list(row) for row in values]
    one_entry[-1][0] = other_than(rng, one_entry[-1][0])
    ways["an entry"] = one_entry
    word = rng.choice([w for w, v in ways.items() if v != values])
    prediction, two = written(ways[word])
    return Pair("matrix", f"{word}: {one} / {two}", gold, prediction, False)


def vector(rng: random.Random) -> Pair:
    """Vectors: tuples, angle brackets, columns, i and j; an entry or the order changed."""
    values = [rng.choice([-1, 1]) * rng.randint(2, 40) for _ in range(rng.choice([2, 3]))]

    def in_units(given: Sequence[int], hat: Callable[[str], str]) -> str:
        terms = "".join(f"{v:+d}{hat(letter)}" for v, letter in zip(given, "ijk"))
        return terms.removeprefix("+")

    def written(given: Sequence[int]) -> tuple[str, str]:
        texts = list(map(str, given))
        column = r" \\ ".join(texts)
        forms = {
            "tuple": f"({', '.join(texts)})",
            "angle": rf"\langle {', '.join(texts)} \rangle",
            "column": rf"\begin{{pmatrix}} {column} \end{{pmatrix}}",
            "bracket column": rf"\begin{{bmatrix}} {column} \end{{bmatrix}}",
            "bold units": in_units(given, lambda letter: rf"\mathbf{{{letter}}}"),
            "hat units": in_units(given, lambda letter: rf"\hat{{{letter}}}"),
            "vec units": in_units(given, lambda letter: rf"\vec{{{letter}}}"),
        }
        name = rng.choice(list(forms))
        return forms[name], name

    gold, one = written(values)
    if rng.random() < 0.5:
        prediction, two = written(values)
        return Pair("vector", f"{one} / {two}", gold, prediction, True)
    ways = {
        "an entry": [values[0] + 1, *values[1:]],
        "a sign": [*values[:-1], -values[-1]],
        "swapped": [values[1], values[0], *values[2:]],
    }
    word = rng.choice([w for w, v in ways.items() if v != values])
    prediction, two = written(ways[word])
    return Pair("vector", f"{word}: {one} / {two}", gold, prediction, False)


def labelled_parts(rng: random.Random) -> Pair:
    """(a) 3, (b) 5: the labels name the parts and are not part of them; the parts have an order."""
    values = [rng.randint(2, 400) for _ in range(rng.choice([2, 2, 3]))]

    def written(given: Sequence[int]) -> tuple[str, str]:
        forms = {
            "(a)": ", ".join(f"({letter}) {v}" for letter, v in zip("abc", given)),
            "a)": ", ".join(f"{letter}) {v}" for letter, v in zip("abc", given)),
            "(i)": ", ".join(f"({letter}) {v}" for letter, v in zip(("i", "ii", "iii"), given)),
            "(1)": "; ".join(f"({i}) {v}" for i, v in enumerate(given, 1)),
            "Part A:": ", ".join(f"Part {letter}: {v}" for letter, v in zip("ABC", given)),
            "bare": "; ".join(map(str, given)),
            "commas": ", ".join(map(str, given)),
        }
        name = rng.choice(list(forms))
        return forms[name], name

    gold, one = written(values)
    if rng.random() < 0.5:
        prediction, two = written(values)
        return Pair("parts", f"{one} / {two}", gold, prediction, True)
    place = rng.randrange(len(values))
    other = [v + (17 if i == place else 0) for i, v in enumerate(values)]
    while sorted(other) == sorted(values):
        other[place] += 1
    prediction, two = written(other)
    return Pair("parts", f"a part changed: {one} / {two}", gold, prediction, False)


def choice(rng: random.Random) -> Pair:
    """Letters of options."""
    letters = "ABCDEFGH"
    letter = rng.choice(letters)
    several = rng.random() < 0.2
    right = sorted(rng.sample(letters, rng.choice([2, 3]))) if several else [letter]

    def written(given: Sequence[str]) -> tuple[str, str]:
        if len(given) > 1:
            forms = {
                "commas": ", ".join(given),
                "and": " and ".join([", ".join(given[:-1]), given[-1]]),
                "brackets": ", ".join(f"({x})" for x in given),
            }
        else:
            x = given[0]
            forms = {
                "bare": x,
                "(B)": f"({x})",
                "B.": f"{x}.",
                "text": rf"\text{{{x}}}",
                "bold": rf"\textbf{{{x}}}",
                "text ()": rf"\text{{({x})}}",
                "option": f"option {x}",
                "[B]": f"[{x}]",
            }
        name = rng.choice(list(forms))
        return forms[name], name

    gold, one = written(right)
    if rng.random() < 0.5:
        prediction, two = written(rng.sample(right, len(right)))
        return Pair("choice", f"{one} / {two}", gold, prediction, True)
    other = right
    while sorted(other) == right:
        other = rng.sample(letters, len(right) if rng.random() < 0.7 else rng.randint(1, 3))
    prediction, two = written(other)
    return Pair("choice", f"another: {one} / {two}", gold, prediction, False)


WORDS = [
    "Paris",
    "London",
    "Saturday",
    "Tuesday",
    "ellipse",
    "hyperbola",
    "circle",
    "triangle",
    "red",
    "blue",
    "even",
    "odd",
    "increasing",
    "decreasing",
    "oxygen",
    "Jupiter",
    "Newton",
    "rectangle",
    "prime",
    "composite",
    "convergent",
    "divergent",
    "isosceles",
    "scalene",
    "north",
    "south",
]


def words(rng: random.Random) -> Pair:
    """Single words: case, articles, markup and a full stop do not count; yes and true."""

    def written(word: str) -> tuple[str, str]:
        forms = {
            "bare": word, "lower": word.lower(), "upper": word.upper(), "text": rf"\text{{{word}}}", "stop": f"{word}.",
            "bold": f"**{word}**", "mathrm": rf"\mathrm{{{word}}}", "textbf": rf"\textbf{{{word}}}", "spaces": f" {word} ",
        }  # fmt: skip
        name = rng.choice(list(forms))
        return forms[name], name

    if rng.random() < 0.2:
        yes, no = ("Yes", "True", "yes", "true"), ("No", "False", "no", "false")
        ours, theirs = rng.sample((yes, no), 2)
        if rng.random() < 0.5:
            return Pair("words", "yes and true", rng.choice(ours), written(rng.choice(ours))[0], True)
        return Pair("words", "yes and no", rng.choice(ours), written(rng.choice(theirs))[0], False)
    word = rng.choice(WORDS)
    gold, one = written(word)
    if rng.random() < 0.5:
        prediction, two = written(word)
        return Pair("words", f"{one} / {two}", gold, prediction, True)
    prediction, two = written(rng.choice([w for w in WORDS if w != word]))
    return Pair("words", f"another word: {one} / {two}", gold, prediction, False)
