"""The verifiers that need no computer algebra: `exact` (text and plain numbers) and `choice` (letters).

    exact:   gold 1/2, answer 0.5        -> correct, equal_number
             gold 18, answer $18 dollars -> correct, equal_number
             gold 18, answer 17.5        -> incorrect, different_number
             gold x^2, answer x*x        -> ungradable, not_comparable (another verifier may know)

They decide most rows of arithmetic corpora in microseconds and cannot hang.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from redistill.records import Outcome, Problem, Trace, Verdict
from redistill.verify.answers import Anchor
from redistill.verify.judging import RULES_VERSION, Finding, conventions, judge
from redistill.verify.prose import choice_in_prose
from redistill.verify.reading import (
    Number,
    clean,
    is_wordy,
    plain_words,
    read_choice,
    read_choices,
    read_number,
    word_key,
)

Percent = Literal["either", "value", "strip"]

RELATIVE_TOLERANCE = 1e-6  # between decimals, as math-verify's six rounded places, but relative
# A decimal that is the other number rounded to its own places: right from four significant digits on (2.667 for 8/3),
# wrong when more than two percent away, and between the two nobody can say what the question asked for.
ROUNDED_DIGITS = 4
ROUNDED_APART = Fraction(2, 100)

_SAME_WORD = {"true": "yes", "false": "no"}


def compare_numbers(gold: Number, answer: Number, *, relative_tolerance: float, percent: Percent) -> Finding:
    """Two plain numbers. percent: what 28% may equal when the other side has no sign: 28 ("strip"), 0.28 ("value") or
    both ("either", the default, since golds are written either way)."""
    if gold.percent != answer.percent:
        signed, other = (gold, answer) if gold.percent else (answer, gold)
        scales = {"either": (1, 100), "value": (100,), "strip": (1,)}[percent]
        plain = Number(signed.value, signed.decimals)
        bare = [Number(other.value * s, other.decimals and other.decimals - (s == 100) * 2) for s in scales]
        findings = [_compare_values(plain, number, relative_tolerance) for number in bare]
    else:
        findings = [_compare_values(gold, answer, relative_tolerance)]
    finding = next(f for kind in ("correct", "disagree", "incorrect") for f in findings if f[0] == kind)
    if finding[0] == Outcome.correct or not (gold.unit and answer.unit) or unit_key(gold.unit) == unit_key(answer.unit):
        return finding
    return Outcome.disagree, "units_differ"  # 90 minutes may be 1.5 hours


def unit_key(unit: str) -> str:
    """A unit for comparison: `Meters` is `meter`."""
    return "".join(c for c in unit.lower() if c.isalnum()).rstrip("s")


def _compare_values(gold: Number, answer: Number, relative_tolerance: float) -> Finding:
    if gold.value == answer.value:
        return Outcome.correct, "equal_number"
    if not gold.decimals and not answer.decimals:
        return Outcome.incorrect, "different_number"  # integers and fractions: exact or not at all
    apart = abs(gold.value - answer.value)
    largest = max(abs(gold.value), abs(answer.value))
    if apart <= Fraction(relative_tolerance) * largest:
        return Outcome.correct, "equal_number"
    # The coarser side: the one with fewer decimals. An exact form (None) counts as having all of them.
    coarse = min(gold, answer, key=lambda n: 10**9 if n.decimals is None else n.decimals)
    assert coarse.decimals is not None
    unit_in_last_place = Fraction(10) ** -coarse.decimals
    if apart > unit_in_last_place / 2 or apart > ROUNDED_APART * largest:
        return Outcome.incorrect, "different_number"
    digits = len(str(abs(round(coarse.value / unit_in_last_place))))
    if digits >= ROUNDED_DIGITS and coarse.decimals > 0:
        return Outcome.correct, "equal_rounded"
    return Outcome.disagree, "only_rounded"


def same_text(gold: str, answer: str) -> bool:
    """Whether two clean texts are the same but for white space, braces round one character and dollar signs."""
    return _bare(gold) == _bare(answer) != ""


def _bare(text: str) -> str:
    return "".join(re.sub(r"\{\s*(\w)\s*\}", r"\1", plain_words(text)).replace("$", "").split())


_BASED = re.compile(r"(-?[0-9A-Fa-f]+)\s*_\s*\{?\s*(\d+)\s*\}?")


def compare_based(gold: str, answer: str) -> Finding | None:
    """Integers with their base, 204_5: compared digit by digit in one base; a base on one side only is undecided."""
    ours, theirs = _BASED.fullmatch(gold), _BASED.fullmatch(answer)
    if ours and theirs and ours.group(2) == theirs.group(2):
        same = ours.group(1).lower().lstrip("0") == theirs.group(1).lower().lstrip("0")
        return (Outcome.correct, "equal_number") if same else (Outcome.incorrect, "different_number")
    if (ours and (theirs or read_number(answer))) or (theirs and read_number(gold)):
        return Outcome.disagree, "base_missing"
    return None


_CLOCK = re.compile(r"(\d+)\s*:\s*(\d+)\s*(?:([ap])\.?\s?m\.?)?", re.IGNORECASE)


def compare_clock(gold: str, answer: str) -> Finding | None:
    """Times and ratios, 3:30 PM and 6:8. The same digits are equal, also where one side leaves out AM or PM; one ratio
    written with other numbers, 3:4 for 6:8, is undecided: it would be another time of day."""
    ours, theirs = _CLOCK.fullmatch(plain_words(gold)), _CLOCK.fullmatch(plain_words(answer))
    if not ours or not theirs:
        return None
    (a, b, noon), (c, d, other_noon) = ours.groups(), theirs.groups()
    same = (int(a), int(b)) == (int(c), int(d))
    if same and (not noon or not other_noon or noon.lower() == other_noon.lower()):
        return (
            (Outcome.correct, "equal_number") if noon or not other_noon else (Outcome.disagree, "half_of_day_missing")
        )
    if int(a) * int(d) == int(b) * int(c) and not same:
        return Outcome.disagree, "same_ratio"
    return Outcome.incorrect, "different_number"


def compare_words(gold: str, answer: str) -> Finding | None:
    """Two clean texts of which the gold is words; None where it is not, or nothing can be said."""
    gold_key, answer_key = word_key(gold), word_key(answer)
    if not is_wordy(gold) and gold_key not in _SAME_WORD.values():
        return None
    gold_key, answer_key = _SAME_WORD.get(gold_key, gold_key), _SAME_WORD.get(answer_key, answer_key)
    if gold_key and gold_key == answer_key:
        return Outcome.correct, "equal_words"
    if {gold_key, answer_key} == {"yes", "no"}:
        return Outcome.incorrect, "different_word"
    if gold_key.isalpha() and ((answer_key.isalpha() and is_wordy(answer)) or read_number(answer)):
        return Outcome.incorrect, "different_word"  # one word against another, or against a number
    return None


_COMMA = re.compile(r"([-+]?\d+),(\d+)")


def compare_decimal_comma(gold: str, answer: str) -> Finding | None:
    """The same digits with a comma on one side and a point on the other. 2,74 for the gold 2.74 is the same number; so is
    a gold 0,111, which is neither a list nor thousands. Otherwise 1,5 may be two numbers and 1,234 thousands."""
    for side, other in ((gold, answer), (answer, gold)):
        if not (comma := _COMMA.fullmatch(side)):
            continue
        if "." not in other or not (number := read_number(other)) or not number.decimals:
            return None
        if number.value != Fraction(f"{comma.group(1)}.{comma.group(2)}"):
            return None
        whole, part = comma.group(1).lstrip("+-"), comma.group(2)
        certain = len(part) != 3 or whole.startswith("0") if side is answer else whole == "0" and len(part) > 2
        return (Outcome.correct, "equal_number") if certain else (Outcome.disagree, "decimal_comma")
    return None


def compare_exact(gold: str, answer: str, *, relative_tolerance: float, percent: Percent, units: bool) -> Finding:
    """Text, then numbers, then words; `ungradable` for all else."""
    gold, answer = clean(gold), clean(answer)
    if same_text(gold, answer):
        return Outcome.correct, "equal_string"
    gold_number, answer_number = read_number(gold, units=units), read_number(answer, units=units)
    if "," in gold + answer and (finding := compare_decimal_comma(gold, answer)):
        return finding
    if gold_number and answer_number:
        return compare_numbers(gold_number, answer_number, relative_tolerance=relative_tolerance, percent=percent)
    if finding := compare_based(gold, answer) or compare_clock(gold, answer) or compare_words(gold, answer):
        return finding
    words = word_key(answer).split()
    only_words = is_wordy(answer) and all(word.isalpha() and not read_number(word) for word in words)
    if gold_number and gold_number.value != 0 and only_words:  # not "twenty dollars"; and "none" may be 0
        return Outcome.incorrect, "not_a_number"
    return Outcome.ungradable, "not_comparable"


def exact(
    problem: Problem,
    trace: Trace,
    *,
    anchors: Sequence[Anchor] | None = None,
    relative_tolerance: float = RELATIVE_TOLERANCE,
    percent: Percent = "either",
    units: bool = True,
) -> Verdict:
    """Text and plain numbers (integers, fractions, decimals, percents, 10^k) compared exactly; other forms stay undecided.

    anchors: where an answer is looked for and in which order (see answers.ANCHORS). units: drop units after numbers.
    """

    def compare(gold: str, answer: str) -> Finding:
        return compare_exact(gold, answer, relative_tolerance=relative_tolerance, percent=percent, units=units)

    version = f"{RULES_VERSION}; {conventions(percent, units)}"
    return judge(problem, trace, compare, verifier="exact", verifier_version=version, anchors=anchors)


def compare_choice(gold: str, answer: str) -> Finding:
    """Two letters of multiple choice, or two sets of letters; anything else is undecided: it may be the option's text."""
    gold, answer, sentence = clean(gold), clean(answer), answer
    if (ours := read_choices(gold)) and (theirs := read_choices(answer) or _one(read_choice(answer))):
        return (Outcome.correct, "equal_choice") if ours == theirs else (Outcome.incorrect, "different_choice")
    gold_letter, answer_letter = read_choice(gold), read_choice(answer)
    if gold_letter is None:
        return Outcome.ungradable, "gold_not_a_choice"
    if read_choices(answer):  # several letters where one is right
        return Outcome.incorrect, "different_choice"
    if answer_letter is None:
        right = choice_in_prose(sentence.strip()) == gold_letter
        return (Outcome.correct, "equal_in_sentence") if right else (Outcome.ungradable, "not_a_choice")
    same = gold_letter == answer_letter
    return (Outcome.correct, "equal_choice") if same else (Outcome.incorrect, "different_choice")


def _one(letter: str | None) -> frozenset[str] | None:
    return frozenset(letter) if letter else None


def choice(problem: Problem, trace: Trace, *, anchors: Sequence[Anchor] | None = None) -> Verdict:
    """Letters A to J of multiple choice: `C`, `(C)`, `C. Cecile`, and several of them: `A, C`."""
    return judge(problem, trace, compare_choice, verifier="choice", verifier_version=RULES_VERSION, anchors=anchors)
