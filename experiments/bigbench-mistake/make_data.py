"""Chains of multistep arithmetic in the manner of BIG-Bench-Mistake, with a planted first error in some of them.

python experiments/bigbench-mistake/make_data.py --out chains.jsonl --count 20000 --seed 0

`compact` rewrites a row without the words that every step has and without spaces, half as long: a critic has to read the sums alone.
One row a chain, in the columns of the data set: input, steps, target, answer, mistake_index (from 0; null where every step is
right). The grammar was written from the look of the data set's rows; no row of it is in here. An error is planted in one step,
and the steps behind it go on from the wrong value, as a model's do.
"""

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LETTERS = "ABCDEFGH"
Term = tuple[str, int]  # the operator before a number ("" before the first), and the number


@dataclass
class Slip:
    """An error that waits for its place: `plant(choices)` is True once, at the chosen one of its chances."""

    rng: random.Random
    left: int  # chances that pass before it happens; -1: never

    def happens(self) -> bool:
        self.left -= 1
        return self.left == -1


def written(terms: list[Term]) -> str:
    """(-9 - 5 - 0)"""
    return "(" + " ".join(f"{op} {n}".strip() for op, n in terms) + ")"


def value(terms: list[Term]) -> int:
    """With * before + and -."""
    total, factor = 0, 0
    for op, n in terms:
        if op == "*":
            factor *= n
            continue
        total += factor
        factor = -n if op == "-" else n
    return total + factor


def group(rng: random.Random) -> list[Term]:
    """2 to 4 numbers from -9 to 9."""
    count = rng.choice([2, 3, 4, 4, 4])
    return [("" if place == 0 else rng.choice("+-*"), rng.randint(-9, 9)) for place in range(count)]


def products(terms: list[Term]) -> list[list[Term]]:
    """The runs of factors: -5 + 3 * 4 -> [[-5], [3, * 4]]."""
    runs: list[list[Term]] = []
    for term in terms:
        if term[0] == "*":
            runs[-1].append(term)
        else:
            runs.append([term])
    return runs


def calculated(terms: list[Term], rng: random.Random, slip: Slip) -> tuple[str, int]:
    """The chain behind `A = `: rewritings up to one number, and that number; with the slip, if its place is here."""
    forms = [written(terms)]
    if any(op == "*" for op, _ in terms) and len(products(terms)) > 1:
        if rng.random() < 0.7:
            forms.append(_bracketed(terms))
        terms = _multiplied(terms, slip, rng)
        forms.append(written(terms) if rng.random() < 0.6 else _in_brackets(terms))
    while len(terms) > 1:
        if all(op != "*" for op, _ in terms) and any(n < 0 for _, n in terms[1:]) and rng.random() < 0.6:
            terms = _signs(terms, slip)
        elif len(terms) > 2 and rng.random() < 0.5:
            terms = _joined(terms, slip, rng, 2)
        else:
            terms = _joined(terms, slip, rng, len(terms))
        form = written(terms) if len(terms) > 1 or rng.random() < 0.2 else str(terms[0][1])
        if form != forms[-1]:
            forms.append(form)
    if rng.random() < 0.15:
        forms.insert(1, forms[0])
    return " = ".join(forms), terms[0][1]


def _bracketed(terms: list[Term]) -> str:
    parts = []
    for run in products(terms):
        op, first = run[0]
        inner = " ".join([str(first), *(f"* {n}" for _, n in run[1:])])
        parts.append(f"{op} ({inner})".strip() if len(run) > 1 else f"{op} {first}".strip())
    return f"({' '.join(parts)})"


def _in_brackets(terms: list[Term]) -> str:
    return "(" + " ".join(f"{op} ({n})".strip() if n < 0 and op else f"{op} {n}".strip() for op, n in terms) + ")"


def _multiplied(terms: list[Term], slip: Slip, rng: random.Random) -> list[Term]:
    """Every run of factors as one number."""
    found = []
    for run in products(terms):
        op, product = run[0][0], run[0][1]
        for _, n in run[1:]:
            product *= n
        if len(run) > 1 and slip.happens():
            product = rng.choice([-product if product else 1, near(product, rng), product + rng.choice([-10, 10])])
        found.append((op, product))
    return found


def _signs(terms: list[Term], slip: Slip) -> list[Term]:
    """- -4 becomes + 4, and + -4 becomes - 4."""
    found = []
    for place, (op, n) in enumerate(terms):
        if place and n < 0:
            turned = "+" if op == "-" else "-"
            found.append((op if slip.happens() else turned, -n))
        else:
            found.append((op, n))
    return found


def _joined(terms: list[Term], slip: Slip, rng: random.Random, count: int) -> list[Term]:
    """The first `count` numbers as one."""
    total = value(terms[:count])
    if slip.happens():
        kinds: list[Callable[[], int]] = [
            lambda: near(total, rng),
            lambda: near(total, rng),
            lambda: -total if total else 2,
            lambda: total - 2 * (terms[count - 1][1] or 1),  # the last one with the other sign
            lambda: total + rng.choice([-10, 10, -20, 20]),
        ]
        total = rng.choice(kinds)()
    return [("", total), *terms[count:]]


def near(number: int, rng: random.Random) -> int:
    """Another number not far away."""
    return number + rng.choice([-9, -6, -5, -4, -3, -2, -2, -1, -1, 1, 1, 2, 2, 3, 4, 5, 6, 9])


def chain(rng: random.Random, share_wrong: float) -> dict[str, object]:
    """A row."""
    sides = rng.choice([(1, 1), (2, 2), (2, 2), (2, 2)])
    groups = [group(rng) for _ in range(sum(sides))]
    inner = [rng.choice("+-*") for _ in range(len(groups) // 2)] if sides == (2, 2) else []
    outer = rng.choice("+-*")
    names = LETTERS[: len(groups)]
    if sides == (1, 1):
        shape, asked = f"{names[0]} {outer} {names[1]}", f"({written(groups[0])} {outer} {written(groups[1])}) ="
        shape = f"({shape})" if rng.random() < 0.4 else shape
    else:
        shape = f"({names[0]} {inner[0]} {names[1]}) {outer} ({names[2]} {inner[1]} {names[3]})"
        pairs = [f"({written(groups[i])} {inner[i // 2]} {written(groups[i + 1])})" for i in (0, 2)]
        asked = f"({pairs[0]} {outer} {pairs[1]}) ="
    true = [value(terms) for terms in groups]
    target = _whole(true, sides, inner, outer)
    wrong = rng.random() < share_wrong
    at = rng.randrange(len(groups) + 2) if wrong else -1
    if at == 0 and rng.random() < 0.8:  # a wrong reading of the question is rare
        at = rng.randrange(1, len(groups) + 2)
    told, shape_told = list(groups), shape
    if at == 0:
        place = rng.randrange(len(groups))
        if rng.random() < 0.5:
            told[place] = _misread(groups[place], rng)
        else:
            shape_told = _other_sign(shape, rng)
    equations = [f"{name} = {written(terms)}" for name, terms in zip(names, told, strict=True)]
    comma = rng.random() < 0.6
    listed = (
        " and ".join(equations)
        if not comma or len(groups) == 2
        else ", ".join(equations[:-1]) + f", and {equations[-1]}"
    )
    steps = [f'This equation can be written as "{shape_told}", where {listed}.']
    said = list[int]()
    for place, (name, terms) in enumerate(zip(names, told, strict=True), 1):
        text, result = _with_slip(terms, rng, at == place)
        steps.append(f"Let's calculate {name} = {text}.")
        said.append(result)
    steps.append(_final(shape_told, said, sides, inner, outer, rng, at == len(groups) + 1, shape_told != shape))
    answer = steps[-1].rpartition("is ")[2]
    return {
        "input": asked,
        "steps": steps,
        "target": str(target),
        "answer": answer,
        "mistake_index": at if wrong else None,
    }


def _with_slip(terms: list[Term], rng: random.Random, wrong: bool) -> tuple[str, int]:
    """The calculation, right, or with one slip at a random one of its places. Tried until the slip changes something."""
    if not wrong:
        return calculated(terms, rng, Slip(rng, -1))
    while True:
        text, result = calculated(terms, rng, slip := Slip(rng, rng.randrange(4)))
        if slip.left < 0 and (result != value(terms) or _contradicts(text)):
            return text, result


def _contradicts(text: str) -> bool:
    """True where the forms of a chain do not all have one value."""
    return len({eval(form) for form in text.split(" = ")}) > 1  # our own sums


def _misread(terms: list[Term], rng: random.Random) -> list[Term]:
    place = rng.randrange(len(terms))
    op, n = terms[place]
    changed = (op, -n if n and rng.random() < 0.5 else near(n, rng))
    return [*terms[:place], changed, *terms[place + 1 :]]


def _other_sign(shape: str, rng: random.Random) -> str:
    at = rng.choice([i for i, c in enumerate(shape) if c in "+-*"])
    return shape[:at] + rng.choice([c for c in "+-*" if c != shape[at]]) + shape[at + 1 :]


def _whole(values: list[int], sides: tuple[int, int], inner: list[str], outer: str) -> int:
    if sides == (1, 1):
        return value([("", values[0]), (outer, values[1])])
    halves = [value([("", values[i]), (inner[i // 2], values[i + 1])]) for i in (0, 2)]
    return value([("", halves[0]), (outer, halves[1])])


def _final(
    shape: str, values: list[int], sides: tuple[int, int], inner: list[str], outer: str, rng: random.Random, wrong: bool, other: bool
) -> str:  # fmt: skip
    """The last step: the letters replaced, worked out, and the answer."""
    if other:  # the shape was read wrongly; go on from what was read
        signs = [c for c in shape if c in "+-*"]
        inner, outer = ([signs[0], signs[2]], signs[1]) if sides == (2, 2) else ([], signs[0])
    say = (lambda n: f"({n})") if rng.random() < 0.4 else str
    seen = list(values)
    kind = rng.choice(["copy", "half", "end", "end", "half"]) if wrong else ""
    if kind == "half" and sides == (1, 1):
        kind = "end"
    if kind == "copy":
        place = rng.randrange(len(seen))
        seen[place] = -seen[place] if seen[place] and rng.random() < 0.6 else near(seen[place], rng)
    if sides == (1, 1):
        forms = [f"{seen[0]} {outer} {say(seen[1]) if seen[1] < 0 else seen[1]}"]
        halves = seen
    else:
        forms = ["(" + f"{seen[0]} {inner[0]} {seen[1]}" + f") {outer} (" + f"{seen[2]} {inner[1]} {seen[3]}" + ")"]
        halves = [value([("", seen[i]), (inner[i // 2], seen[i + 1])]) for i in (0, 2)]
        if kind == "half":
            side = rng.randrange(2)
            halves[side] = rng.choice([near(halves[side], rng), -halves[side] if halves[side] else 3])
        forms.append(f"{say(halves[0])} {outer} {say(halves[1]) if halves[1] < 0 else halves[1]}")
    if outer == "-" and halves[1] < 0 and rng.random() < 0.5:
        forms.append(f"{halves[0]} + {-halves[1]}")
    end = value([("", halves[0]), (outer, halves[1])])
    if kind == "end":
        end = rng.choice([near(end, rng), near(end, rng), -end if end else 4, end + rng.choice([-10, 10, -100, 100])])
    forms.append(str(end))
    return f"Then, the final equation is {shape} = {' = '.join(forms)}. So the answer is {end}"


FIXED = {
    "This equation can be written as": "", "Let's calculate": "", "Then, the final equation is": "", "So the answer is": "#", ", where": ";",
    " and ": " , ",
}  # fmt: skip


def compact(row: dict[str, object]) -> dict[str, object]:
    """A row, made or labelled by people, without the set words of its steps and without spaces."""
    steps = []
    for step in list(row["steps"]):  # type: ignore[call-overload]
        for words, sign in FIXED.items():
            step = step.replace(words, sign)
        steps.append("".join(step.split()))
    return {**row, "input": "".join(str(row["input"]).split()), "steps": steps}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share-wrong", type=float, default=0.6)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    with asked.out.open("w") as file:
        for _ in range(asked.count):
            file.write(json.dumps(chain(rng, asked.share_wrong)) + "\n")


if __name__ == "__main__":
    main()
