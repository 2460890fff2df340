"""The verifiers that need no computer algebra: `exact` (text and plain numbers) and `choice` (letters).

    exact:   gold 1/2, answer 0.5        -> correct, equal_number
             gold 18, answer $18         -> correct, equal_number
    gold 5 km, answer 5000 m    -> correct, equal_number
             gold 18, answer 17.5        -> incorrect, different_number
             gold x^2, answer x*x        -> ungradable, not_comparable (another verifier may know)

They decide most rows of arithmetic corpora in microseconds and cannot hang.
"""

import itertools
import re
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import Literal

from redistill.records import Outcome, Problem, Trace, Verdict
from redistill.verify.answers import Anchor
from redistill.verify.clocks import compare_clock
from redistill.verify.dates import compare_dates, is_one_name
from redistill.verify.judging import NUMBER, RULES_VERSION, Finding, Reading, conventions, different, judge
from redistill.verify.letter_case import case_matters
from redistill.verify.numberwords import NUMBER_WORDS
from redistill.verify.numerals import (
    compare_based,
    compare_decimal_comma,
    compare_mixed_digits,
    compare_ordinals,
    compare_point_of_thousands,
    compare_roman,
)
from redistill.verify.prose import choice_in_prose
from redistill.verify.quantities import LETTER_UNITS, Unit, factor_between, may_be_conversion, read_unit, singular
from redistill.verify.reading import (
    Number,
    clean,
    is_wordy,
    plain_words,
    read_choice,
    read_choices,
    read_compound,
    read_number,
    split_unit,
    word_key,
)
from redistill.verify.spellings import is_one_spelling

Percent = Literal["either", "value", "strip"]

RELATIVE_TOLERANCE = 0.0  # between decimals: none, a decimal is what its digits say
# A decimal that is the other number rounded to its own places: right from four significant digits on (2.667 for 8/3),
# wrong when more than two percent away, and between the two nobody can say what the question asked for.
ROUNDED_DIGITS = 4
ROUNDED_APART = Fraction(2, 100)
DOUBLE_DIGITS = 15  # what a double holds: beyond them, the digits of two decimals are noise

CHOICE = Reading("choice", complete=True)
WORD = Reading("word", complete=True)
NO_NUMBER = Reading("words without a number", complete=True)

_YES = frozenset(("yes", "true", "correct"))
_NO = frozenset(("no", "false", "incorrect"))
# Words for "there is none", which say the same or nearly so.
_NONE = frozenset(
    ("none", "nothing", "zero", "empty", "never", "impossible", "undefined", "dne", "null", "nobody", "nowhere")
)


def compare_numbers(gold: Number, answer: Number, *, relative_tolerance: float, percent: Percent) -> Finding:
    """Two plain numbers with their units. percent: what 28% may equal when the other side has no sign: 28 ("strip"), 0.28
    ("value") or both ("either", the default, since golds are written either way)."""
    if gold.unit or answer.unit:
        return _compare_quantities(gold, answer, relative_tolerance, percent)
    return _compare_plain(gold, answer, relative_tolerance, percent)


def _compare_plain(gold: Number, answer: Number, relative_tolerance: float, percent: Percent) -> Finding:
    if gold.percent != answer.percent:
        signed, other = (gold, answer) if gold.percent else (answer, gold)
        scales = {"either": (1, 100), "value": (100,), "strip": (1,)}[percent]
        plain = Number(signed.value, signed.decimals)
        bare = [Number(other.value * s, other.decimals and other.decimals - (s == 100) * 2) for s in scales]
        findings = [_compare_values(plain, number, relative_tolerance) for number in bare]
    else:
        findings = [_compare_values(gold, answer, relative_tolerance)]
    return _mildest(findings)


def _mildest(findings: Sequence[Finding]) -> Finding:
    """Of several ways to read two numbers the one that says the least against the answer."""
    return next(f for kind in ("correct", "disagree", "incorrect") for f in findings if f[0] == kind)


def _compare_quantities(gold: Number, answer: Number, relative_tolerance: float, percent: Percent) -> Finding:
    """Two numbers of which one at least has a unit. One dimension: converted and compared. A unit on one side only: the
    numbers are compared, and undecided where they differ by what a conversion would explain. All else is undecided."""
    ours, theirs = read_unit(gold.unit), read_unit(answer.unit)
    if ours is None or theirs is None:
        return Outcome.disagree, "unit_unreadable"
    if (gold.percent and (theirs.factors or theirs.nouns)) or (answer.percent and (ours.factors or ours.nouns)):
        return Outcome.disagree, "units_differ"  # 5% and 5 cm
    left, right = _magnified(gold, ours), _magnified(answer, theirs)
    compare = partial(_compare_plain, relative_tolerance=relative_tolerance, percent=percent)
    if ours.factors and theirs.factors:
        factor = factor_between(theirs.factors, ours.factors)
        if factor is None or not _same_nouns(ours, theirs):
            return Outcome.disagree, "units_differ"
        # in either unit: 1.5 hours are 91 minutes rounded to tenths of an hour, and no whole number of minutes
        finding = _mildest([compare(left, _times(right, factor)), compare(_times(left, 1 / factor), right)])
        if finding[0] == Outcome.incorrect and not _is_plain(factor):
            near = abs(left.value - right.value * factor) <= ROUNDED_APART * abs(left.value)
            return (Outcome.disagree, "only_rounded") if near else finding  # 5 miles and 8 km
        return finding
    if (ours.empty or theirs.empty) or (not ours.factors and not theirs.factors and _same_nouns(ours, theirs)):
        finding = compare(left, right)
        nouns = ours.nouns ^ theirs.nouns  # what both sides count is not a magnitude
        unit = Unit(ours.factors or theirs.factors, nouns, ours.magnitude * theirs.magnitude)
        if finding[0] == Outcome.incorrect and right.value and may_be_conversion(left.value / right.value, unit):
            return Outcome.disagree, "perhaps_converted"
        if finding[0] == Outcome.incorrect and gold.percent != answer.percent:
            return Outcome.disagree, "perhaps_converted"  # 50 ppm and 0.005%
        return finding
    return Outcome.disagree, "units_differ"  # apples and kilometres, apples and oranges


def _magnified(number: Number, unit: Unit) -> Number:
    """3 million is 3000000, rounded to the places that 3 shows in millions."""
    return _times(number, unit.magnitude)


def _times(number: Number, factor: Fraction) -> Number:
    if factor == 1:
        return Number(number.value, number.decimals, number.percent)
    shift = _power_of_ten(factor)
    exact = number.decimals is None or (number.decimals <= 0 and shift is None)
    decimals = (
        None
        if exact or number.decimals is None
        else number.decimals - shift
        if shift is not None
        else number.decimals - _size(factor)
    )
    return Number(number.value * factor, decimals, number.percent)


def _is_plain(factor: Fraction) -> bool:
    """Whether the units are of one system, such as feet and inches: a small whole number, or a power of ten."""
    return (
        min(factor.numerator, factor.denominator) == 1
        or _power_of_ten(factor) is not None
        or max(factor.numerator, factor.denominator) < 100
    )


def _power_of_ten(factor: Fraction) -> int | None:
    larger = max(factor, 1 / factor)
    power = len(str(larger.numerator)) - 1
    if larger != 10**power:
        return None
    return power if factor > 1 else -power


def _size(factor: Fraction) -> int:
    """The power of ten below the factor."""
    return len(str(int(factor))) - 1 if factor >= 1 else -len(str(int(1 / factor)))


def _same_nouns(ours: Unit, theirs: Unit) -> bool:
    """Whether what is counted may be the same: clips and paper clips; a side without a word says nothing against it."""
    rates = [{noun for noun in unit.nouns if noun[0] == "/"} for unit in (ours, theirs)]  # per person
    return rates[0] == rates[1] and (ours.nouns <= theirs.nouns or theirs.nouns <= ours.nouns)


def compare_compounds(gold: str, answer: str, relative_tolerance: float) -> Finding | None:
    """`2 h 30 min` against 150 minutes; None where neither side is in several units."""
    sides = read_compound(gold), read_compound(answer)
    if not any(sides):
        return None
    numbers = []
    for text, parts in zip((gold, answer), sides):
        number = _sum_of(parts) if parts else read_number(_LETTER_BEHIND.sub(r"\1\\text{ \2}", text))
        if number is None or not number.unit:
            return Outcome.disagree, "unit_missing"
        numbers.append(number)
    return compare_numbers(numbers[0], numbers[1], relative_tolerance=relative_tolerance, percent="either")


_LETTER_BEHIND = re.compile(rf"^([\d.,]*\d)\s*([{LETTER_UNITS}])$")  # 125 s, beside 2 min 5 s


def _sum_of(parts: list[tuple[Fraction, str]]) -> Number | None:
    """The sum in the last unit, None where one cannot be converted to it."""
    last = ((parts[-1][1], 1),)
    factors = [factor_between(((name, 1),), last) for _, name in parts]
    if any(factor is None for factor in factors):
        return None
    total = sum((value * factor for (value, _), factor in zip(parts, factors) if factor is not None), Fraction(0))
    return Number(total, None, unit=parts[-1][1])


def _compare_values(gold: Number, answer: Number, relative_tolerance: float) -> Finding:
    if gold.value == answer.value:
        return Outcome.correct, "equal_number"
    if not gold.decimals and not answer.decimals:
        return different(NUMBER, NUMBER, "different_number")  # integers and fractions: exact or not at all
    apart = abs(gold.value - answer.value)
    largest = max(abs(gold.value), abs(answer.value))
    if apart <= Fraction(relative_tolerance) * largest or _is_noise(gold, answer, apart, largest):
        return Outcome.correct, "equal_number"
    # The coarser side: the one with fewer decimals. An exact form (None) counts as having all of them.
    coarse = min(gold, answer, key=lambda n: 10**9 if n.decimals is None else n.decimals)
    assert coarse.decimals is not None
    unit_in_last_place = Fraction(10) ** -coarse.decimals
    if apart >= unit_in_last_place or apart > ROUNDED_APART * largest or gold.decimals == answer.decimals:
        return different(NUMBER, NUMBER, "different_number")
    digits = len(str(abs(round(coarse.value / unit_in_last_place))))
    if apart > unit_in_last_place / 2:
        fine = answer if coarse is gold else gold
        if coarse.decimals == 0 or digits < 2 or abs(coarse.value) > abs(fine.value):  # whole numbers are not cut off
            return different(NUMBER, NUMBER, "different_number")
        return Outcome.disagree, "only_truncated"
    if digits >= ROUNDED_DIGITS and coarse.decimals > 0:
        return Outcome.correct, "equal_rounded"
    return Outcome.disagree, "only_rounded"


def _is_noise(gold: Number, answer: Number, apart: Fraction, largest: Fraction) -> bool:
    """Whether two decimals differ only beyond the digits of a double, as 0.30000000000000004 and 0.3 do."""
    if apart * 10**DOUBLE_DIGITS > largest:
        return False
    return any(
        n.decimals and len(str(abs(round(n.value * 10 ** max(n.decimals, 0))))) > DOUBLE_DIGITS for n in (gold, answer)
    )


def same_text(gold: str, answer: str) -> bool:
    """Whether two clean texts are the same but for white space, braces round one character and dollar signs. The space
    between two digits counts: 2 1/2 is not 21/2."""
    return _bare(gold) == _bare(answer) != ""


def _bare(text: str) -> str:
    plain = re.sub(r"\{\s*(\w)\s*\}", r"\1", plain_words(text)).replace("$", "").replace("\\degree", "")
    return "".join(_BETWEEN_DIGITS.sub("_", plain).split())


_BETWEEN_DIGITS = re.compile(r"(?<=\d)\s+(?=\d)")


def compare_words(gold: str, answer: str) -> Finding | None:
    """Two clean texts of which the gold is words; None where it is not, or nothing can be said."""
    gold_key, answer_key = word_key(gold), word_key(answer)
    if not is_wordy(gold) and gold_key not in _YES | _NO:
        return None
    if gold_key and gold_key == answer_key:
        # the key knows no signs: -3 hours is not 3 hours; and no capitals: CO is not Co
        same = _figures(gold) == _figures(answer) and (gold_key in _YES | _NO or not case_matters(gold, answer))
        return (Outcome.correct, "equal_words") if same else None
    ours, theirs = _yes_or_no(gold_key), _yes_or_no(answer_key)
    if ours is not None and theirs is not None:
        return (Outcome.correct, "equal_words") if ours == theirs else different(WORD, WORD, "different_word")
    if _says_none(gold_key) and _says_none(answer_key):
        return Outcome.correct, "equal_words"
    if gold_key.isalpha() and ours is None:
        reading, other = _word(gold_key, gold), NUMBER if read_number(answer) else _word(answer_key, answer)
        if other is NUMBER and gold_key in _NONE:
            return Outcome.disagree, "perhaps_none"
        if other is NUMBER or answer_key.isalpha():
            if other is not NUMBER and _related(gold_key, answer_key):
                return Outcome.ungradable, "text_differs"
            return different(reading, other, "different_word")  # one word against another, or against a number
    return None


_LAYOUT = r"text[a-z]*|math[a-z]*|left|right|q?quad|displaystyle|boxed|currency|degree"
_FIGURE = re.compile(rf"\\(?!(?:{_LAYOUT})(?![A-Za-z]))[A-Za-z]+|[-+*/^_=<>!%](?=\s?[\d\\(.{{])|\d|[.,](?=\d)")


def _figures(text: str) -> list[str]:
    """Digits, signs before them and commands of a text, in their order: what a comparison of words leaves out."""
    return _FIGURE.findall(plain_words(text))


def _yes_or_no(key: str) -> bool | None:
    """Yes or no, alone or before a reason: `Yes, it converges`."""
    first = key.partition(" ")[0]
    if key in _YES or (first in ("yes", "true") and not set(key.split()) & {"not", "no", "but", "or", "only"}):
        return True
    return False if key in _NO or (first == "false" and len(key.split()) < 2) else None


_NO_SOLUTION = re.compile(
    r"(?:there (?:is|are|exists?) )?no (?:real |valid |possible |such )*(?:solutions?|roots?|answers?)(?: exists?| found| possible)?|does not exist"
    r"|dne|undefined|doesnt exist|not defined"
)


def _says_none(key: str) -> bool:
    return bool(_NO_SOLUTION.fullmatch(key))


def _word(key: str, text: str) -> Reading:
    """One word of plain letters is itself, read to its end; a word of numbers, or of several words, may mean another thing."""
    plain = key.isascii() and key.isalpha() and (is_wordy(text) or len(key) > 1) and key not in NUMBER_WORDS
    return Reading("word", complete=plain)


def _related(word: str, other: str) -> bool:
    """Whether two words may be one in two forms: cat and cats, grey and gray, colour and color; or both say none."""
    if word in _NONE and other in _NONE:
        return True
    if min(len(word), len(other)) > 2 and (singular(word) == singular(other) or is_one_name(word, other)):
        return True
    if (
        2 * len(set(word)) < len(word) or 2 * len(set(other)) < len(other) or min(len(set(word)), len(set(other))) < 4
    ):  # strings of few letters are data, in which each letter counts
        return False
    if min(len(word), len(other)) > 5 and set(word + other) <= set("abcde"):  # DAEEBEB and DAEEBEBD
        return False
    if is_one_spelling(word, other):
        return True
    shared = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(word, other))))
    return shared >= 3 and shared >= min(len(word), len(other)) - 1 and abs(len(word) - len(other)) <= 3


def compare_exact(gold: str, answer: str, *, relative_tolerance: float, percent: Percent, units: bool) -> Finding:
    """Text, then numbers, then words; `ungradable` for all else."""
    gold, answer = clean(gold), clean(answer)
    if same_text(gold, answer):
        return Outcome.correct, "equal_string"
    gold_number, answer_number = (read_number(_words_opened(side), units=units) for side in (gold, answer))
    if "," in gold + answer and (finding := compare_decimal_comma(gold, answer)):
        return finding
    if finding := (
        compare_point_of_thousands(gold, answer) or compare_roman(gold, answer) or compare_ordinals(gold, answer)
    ):
        return finding
    if units and (compound := compare_compounds(gold, answer, relative_tolerance)):
        return compound
    if gold_number and answer_number:
        finding = compare_numbers(gold_number, answer_number, relative_tolerance=relative_tolerance, percent=percent)
        if finding[0] == Outcome.incorrect and (gold_number.unit or answer_number.unit) and "." in gold + answer:
            rests = [split_unit(side)[0] for side in (gold, answer)]  # €1.234 and 1234
            return compare_point_of_thousands(rests[0], rests[1]) or finding
        return finding
    if (
        finding := compare_dates(plain_words(gold), plain_words(answer))
        or compare_based(gold, answer)
        or compare_mixed_digits(gold, answer)
        or compare_clock(gold, answer)
        or compare_words(gold, answer)
    ):
        return finding
    if gold_number and gold_number.value != 0 and _without_number(answer):  # not "twenty dollars"; and "none" may be 0
        return different(NUMBER, NO_NUMBER, "not_a_number")
    return Outcome.ungradable, "not_comparable"


def _words_opened(text: str) -> str:
    """`twelve` of a text that is \\text{twelve} and no more; every other text as it is, since a unit stays marked."""
    match = _ONE_WORD_OF_TEXT.fullmatch(text)
    return match[1] if match else text


_ONE_WORD_OF_TEXT = re.compile(r"\\text\{\s*([A-Za-z][A-Za-z -]*[A-Za-z])\s*\}")
# Phrases by which a text says that there is no such number. A word that nobody knows might name one.
_DENIAL = re.compile(
    r"\b(?:no|not|none|never|cannot|cant|impossible|impossibly|undefined|unsolvable|infeasible|invalid|insufficient|doesnt|dne|unable|infinite|infinitely|infinity)\b"
)
_PLAIN_WORDS = frozenset(("even", "odd", "yes", "true", "false", "red", "blue", "green", "left", "right", "north", "south", "east", "west", "both",
                          "neither", "increasing", "decreasing", "prime", "composite", "rational", "irrational", "positive", "negative"))  # fmt: skip


def _without_number(answer: str) -> bool:
    """Whether a text of words says that there is no number, or is a word that is certainly none."""
    words = word_key(answer).split()
    if not words or not is_wordy(answer) or any(not word.isalpha() or not word.isascii() for word in words):
        return False
    if set(words) & NUMBER_WORDS:
        return False
    return bool(_DENIAL.search(" ".join(words))) or (len(words) == 1 and words[0] in _PLAIN_WORDS)


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
        return (Outcome.correct, "equal_choice") if ours == theirs else different(CHOICE, CHOICE, "different_choice")
    gold_letter, answer_letter = read_choice(gold), read_choice(answer)
    if gold_letter is None:
        return Outcome.ungradable, "gold_not_a_choice"
    if read_choices(answer):  # several letters where one is right
        return different(CHOICE, CHOICE, "different_choice")
    if answer_letter is None:
        right = choice_in_prose(sentence.strip()) == gold_letter
        return (Outcome.correct, "equal_in_sentence") if right else (Outcome.ungradable, "not_a_choice")
    same = gold_letter == answer_letter
    return (Outcome.correct, "equal_choice") if same else different(CHOICE, CHOICE, "different_choice")


def _one(letter: str | None) -> frozenset[str] | None:
    return frozenset(letter) if letter else None


def choice(problem: Problem, trace: Trace, *, anchors: Sequence[Anchor] | None = None) -> Verdict:
    """Letters A to J of multiple choice: `C`, `(C)`, `C. Cecile`, and several of them: `A, C`."""
    return judge(problem, trace, compare_choice, verifier="choice", verifier_version=RULES_VERSION, anchors=anchors)
