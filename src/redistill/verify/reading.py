"""An answer as written -> what it says: clean text, a number, a choice letter, the items of a list. Explicit rules.

    clean("$\\boxed{\\dfrac{1}{2}}$.")   ->  "\\frac{1}{2}"
    read_number("18 dollars")            ->  Number(value=18, decimals=0, unit="dollars")
    read_number("28\\%")                 ->  Number(value=28, decimals=0, percent=True)
    split_items("(1, 2), (3, 4)")        ->  ["(1, 2)", "(3, 4)"]

No rule guesses: what no rule reads stays text, and is left to the next judge. Gold answers and predictions are read
by the same rules.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from redistill.verify.notation import plain_notation
from redistill.verify.numberwords import read_number_words
from redistill.verify.quantities import CURRENCY_SIGNS, LETTER_UNITS, magnitude_of, read_unit, unit_name

MAX_DIGITS = 400  # of a number read here: `1e999999999` is two words long and would fill the memory

# Letters that are function names or constants of mathematics, not words of a language.
_MATHS = """arccos arcsin arctan arcsec arccsc arccot sin cos tan sec csc cot sinh cosh tanh coth log ln lg exp sqrt pi infty
inf infinity max min gcd lcm mod det alpha beta gamma delta epsilon theta lambda mu nu phi varphi psi rho sigma tau omega
zeta eta kappa and or"""
MATHS_WORDS = frozenset(_MATHS.split())
_RULES: list[tuple[re.Pattern[str], Any]] = [  # in this order; each pattern is linear on the bounded text it sees
    (re.compile(r"\\{1,2}(?:boxed|fbox)\s*(?=\{)"), ""),
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])\s*\.?"), ""),
    (re.compile(r"\\(?:displaystyle|textstyle|limits|mathstrut)(?![A-Za-z])"), ""),
    (re.compile(r"\\(?:q?quad)(?![A-Za-z])"), " "),
    (re.compile(r"\\(?:geq|geqslant)(?![A-Za-z])"), r"\\ge"),
    (re.compile(r"\\(?:leq|leqslant)(?![A-Za-z])"), r"\\le"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\neq(?![A-Za-z])|!="), r"\\ne"),
    (re.compile(r"(?<!\\)\\[$()\[\]]"), " "),
    (
        re.compile(
            r"\s*(?:\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree|\\textdegree)(?![A-Za-z])\s*(?:\\(?:text|mathrm|rm)\s*\{\s*([CFK])\s*\}|([CF])(?![\w(]))"
        ),
        lambda m: f"\\text{{ deg{m[1] or m[2]}}}",
    ),
    (re.compile(r"\s*(?:\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\textdegree)(?![A-Za-z])"), r"\\degree "),
    (re.compile(r"\\(?:textcolor|color)\s*\{[^{}]*\}\s*(?=\{)|\\(?:underline|underbrace|emph|mathstrut)\s*(?=\{)"), ""),
    (re.compile(r"\\[hv]?phantom\s*\{[^{}]*\}"), ""),
    (re.compile(r"(?<=\d)(?:\{,\}|,\s*\\!|\\[,!;: ])\s*(?=\d{3})"), ","),
    (re.compile(r"(?<!\\)\\[,!;: ]"), " "),
    (re.compile(r"\\(?:mathrm|mathbf|mathit|operatorname)\s*\{\s*(e|i)\s*\}(?![A-Za-z])"), r" \1"),
    (re.compile(r"\\(?:textbf|textit|textrm|textsf|textnormal|mbox|hbox|mathrm|mathbf|rm)\s*(?=\{)"), r"\\text"),
    (re.compile(r"\\text\s*\{\s*,?\s*(and|or)\s*\}"), r" \1 "),
    (re.compile(r"\\(?:text|mbox)(?=[a-z]{2})(?!\w*\s*\{)"), " "),  # 864\mboxinches: braces lost on the way
    (re.compile(r"(?<=[\d)}])(and|or)(?=[A-Z\\(\d-])"), r" \1 "),  # W(x)=1orW(x)=-1
    (re.compile(r"(?<=\d)\s*(?:\^\s*)?\{?\s*\\text\s*\{\s*(?:st|nd|rd|th)\s*\}\s*\}?|(?<=\d)(?:st|nd|rd|th)\b"), ""),
]
_RARE_RULES: list[
    tuple[str, re.Pattern[str], Any]
] = [  # the same, each tried only where its text before the pattern stands
    ("\\choose", re.compile(r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}"), r"\\binom{\1}{\2}"),
    ("\\SI", re.compile(r"\\SI\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"\1\\text{ \2}"),
    ("\\qty", re.compile(r"\\qty\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"\1\\text{ \2}"),
    (
        "\\Omega",
        re.compile(r"(?<=[\d}])\s*(?:\\(?:text|mathrm)\s*\{\s*)?([kM]?)\\(?:Omega|ohm)(?![A-Za-z])\s*\}?$"),
        r"\\text{ \1ohm}",
    ),
    (
        "\\ohm",
        re.compile(r"(?<=[\d}])\s*(?:\\(?:text|mathrm)\s*\{\s*)?([kM]?)\\(?:Omega|ohm)(?![A-Za-z])\s*\}?$"),
        r"\\text{ \1ohm}",
    ),
    ("\\mu", re.compile(r"(?<=\d)\s*\\mu\s*(?:\\(?:text|mathrm|rm)\s*\{\s*)?([mgsLlAF])\s*\}?$"), r"\\text{ u\1}"),
    ("^{", re.compile(r"(?<=[a-z])\s*\^\s*\{(-?\d)\}(?=[^{}]*\})"), r"^\1"),  # \mathrm{m s^{-1}}
    ("mod", re.compile(r"\\(?:text|mathrm|operatorname)\s*\{\s*mod\s*\}"), " mod "),
    (" half", re.compile(r"^(?:an?|one) ([a-z]+) and (?:an?|one) half$"), r"1.5 \1"),
    ("...", re.compile(r",\s*\.\.\.$"), r", \\ldots "),
]
_WORD_RULES: list[tuple[re.Pattern[str], Any]] = [  # where the text begins with a, h or o
    (re.compile(r"^(?:(?:an?|one) )?half (?:of )?(?:an? )?(?=[a-z]+$)"), "1/2 "),  # half an hour, half a million
    (
        re.compile(
            r"^an? (?=(?:dozen|hundred|thousand|million|billion|hour|minute|second|day|week|month|year|mile|foot|kilometer|meter|dollar|pound)\b)"
        ),
        "1 ",
    ),
]
_SQUARED = re.compile(r"(?<=\d)\s?([kcdm]?m|in|ft|yd|mi)([23])$")  # 12 cm2
_ESCAPED_TWICE = re.compile(r"\\\\(?=[A-Za-z{}])")  # `\\frac` from doubly written JSON; a line break only in a matrix
_SPECIAL_TOKEN = re.compile(r"(?<=.)(?:<\|\w+\|>|</s>)", re.DOTALL)  # end marks of chat templates left in the text
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_AMOUNT = r"([-+]?\s*(?:\d[\d,.]*\d|\d|\.\d+))"
_SIGN_FIRST = re.compile(
    rf"(?:(?<![A-Za-z])(?:US)?([$€£¥₹₩])|\b(USD|EUR|GBP|INR|CAD|AUD|Rs\.?)(?=[\s\d]))\s*{_AMOUNT}(?:\s?([kKMB])(?![A-Za-z]))?"
)
_SIGN_LAST = re.compile(r"(?<=[\d}])\s*([$€£¥₹₩¢])(?!\d)")
_LETTER_MAGNITUDES = {"k": "thousand", "K": "thousand", "M": "million", "B": "billion"}
_REMARK = re.compile(r"(?<=[\w})$])\s*,?\s*(?:\b(?:only|respectively)|\((?:with )?multiplicity \w+\))[.]?$")
_IN_BRACES = re.compile(r"\{[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?[^,]*\}")
_THOUSANDS_MARK = re.compile(r"(?<=\d)(?:\{,\}|,\s*\\!|\\[,!;: ])\s*(?=\d{3})")
_HYPHENED = re.compile(r"(?<=\d)-([A-Za-z]{2,})(?![A-Za-z(^*])")  # a 5-km walk
_LEAD = re.compile(r"^(?:(?:approximately|about|roughly|exactly|\\approx)\s+|=(?![=<>])\s*)(?=\S)", re.IGNORECASE)


MAX_REMEMBERED = 400  # characters: longer answers are rare, and would fill the memory of what was cleaned


def clean(text: str) -> str:
    """The answer without what does not change its meaning: $..$, \\left, spacing, degree signs, thousands marks.

    \\text{...} stays marked, so that a unit in it is distinguished from a product of letters.
    """
    return _remembered(text) if len(text) <= MAX_REMEMBERED else _clean(text)


@lru_cache(maxsize=4_096)
def _remembered(text: str) -> str:
    return _clean(text)  # a gold answer comes with every trace, and each part of an answer several times


def _clean(text: str) -> str:
    text = plain_notation(_SPECIAL_TOKEN.split(text, maxsplit=1)[0]).strip()
    if "\\begin" not in text:
        text = _ESCAPED_TWICE.sub(r"\\", text)
    if "$" in text or _MONEY.search(text):
        text = _currency(text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    for mark, pattern, replacement in _RARE_RULES:
        if mark in text:
            text = pattern.sub(replacement, text)
    if text[:1] in ("a", "h", "o"):
        for pattern, replacement in _WORD_RULES:
            text = pattern.sub(replacement, text)
    elif text[-1:] in ("2", "3"):
        text = _SQUARED.sub(r" \1^\2", text)
    text = _LEAD.sub("", " ".join(text.split()))
    if text.count("$") >= 2:
        text = text.replace("$", " ").strip()
    if "-" in text:
        text = _HYPHENED.sub(lambda m: f" {m[1]}" if unit_name(m[1]) else m[0], text)
    text = _REMARK.sub("", text)
    while len(text) > 1 and text[-1] in ".;,:" and not text.endswith(r"\."):
        text = text[:-1].strip()
    while (
        len(text) > 1
        and text[0] == "{"
        and _closes_at(text, 0) == len(text) - 1
        and ("," not in text or _IN_BRACES.fullmatch(text) or _is_braced_set(text[1:-1]))
    ):
        text = text[1:-1].strip()  # {5}, left of \boxed{5}; a list in braces is a set and stays one
    if text.startswith("{") and _closes_at(text, 0) < 0:
        text = text[1:].strip()  # of a box that was never closed
    text = _strip_star(text)
    first = text[:1]
    if first in ("<", "\\") and (vector := _ANGLED.fullmatch(text)):
        text = f"({vector[1].strip()})"
    elif first == "[" and ("'" in text or '"' in text) and QUOTED_NUMBERS.fullmatch(text):
        text = text.replace("'", "").replace('"', "")
    elif first == "\\" and (inside := _AMOUNT_IN_TEXT.fullmatch(text)):
        text = f"{inside[1]}\\text{{ {inside[2]}}}"
    elif first in ("m", "M") and text[:6].lower() == "minus " and text[6:7].isdigit():
        text = f"-{text[6:]}"
    return " ".join(text.split())


_ANGLED = re.compile(r"(?:\\langle(?![A-Za-z])|<)([^<>=|]*,[^<>=|]*?)(?:\\rangle|>)")  # <1, 2>, a vector
QUOTED_NUMBERS = re.compile(
    r"""\[\s*(['"])-?\d+(?:\.\d+)?\1(?:\s*,\s*(['"])-?\d+(?:\.\d+)?\2)*\s*\]"""
)  # ['75.3', '-8'] of Python
_AMOUNT_IN_TEXT = re.compile(r"\\text\s*\{\s*(-?\d[\d,]*(?:\.\d+)?)\s*([A-Za-z][^{}]*?)\s*\}")  # \text{2 million}


_MONEY = re.compile(r"[€£¥₹₩¢]|\b(?:USD|EUR|GBP|INR|CAD|AUD|Rs\.?)(?=[\s\d])")
_CODES = {"USD": "dollars", "EUR": "euros", "GBP": "GBP", "INR": "INR", "Rs": "rupees"}


def _currency(text: str) -> str:
    """A currency sign as a unit behind its number: `5\\currency{dollars}` for `\\$5`. Where every bare $ stands before a digit, they
    are all dollars; a single one that closes the text is one too; all else are marks of mathematics."""
    text = _THOUSANDS_MARK.sub(",", text)
    bare = [m.end() for m in re.finditer(r"(?<!\\)\$", text)]
    money = bare and all(re.match(r"\s?[-+]?[\d.]", text[end : end + 3]) for end in bare)
    money = money or (len(bare) == 1 and text.rstrip(" .").endswith("$") and bool(re.search(r"\d\s*\$[ .]*$", text)))
    if not money:
        text = re.sub(r"(?<!\\)\$", "\1", text)  # kept out of the way
    text = re.sub(r"\\(?:text\s*\{\s*\\?\$\s*\}|\$|textdollar|pounds|euro(?![A-Za-z])|yen(?![A-Za-z]))", _sign, text)

    def behind(match: re.Match[str]) -> str:
        code = (match[2] or "").rstrip(".")
        name = CURRENCY_SIGNS[match[1]] if match[1] else _CODES.get(code, code)
        letter = f"\\text{{ {_LETTER_MAGNITUDES[match[4]]}}}" if match[4] else ""
        return f"{match[3].replace(' ', '')}{letter}\\currency{{{name}}}"

    text = _SIGN_FIRST.sub(behind, text)
    text = _SIGN_LAST.sub(lambda m: f"\\currency{{{CURRENCY_SIGNS[m[1]]}}}", text)
    return text.replace("\1", "$")


def _sign(match: re.Match[str]) -> str:
    return {"\\pounds": "£", "\\euro": "€", "\\yen": "¥"}.get(match[0], "$")


def _strip_star(text: str) -> str:
    for mark in ("**", "*", "`", '"'):
        if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            text = text[len(mark) : -len(mark)].strip()
    return text.removeprefix("**").removesuffix("**").strip()


# --- numbers ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    """A plain number. `decimals`: digits written after the point, None where the form is exact (1/3, 2\\frac12)."""

    value: Fraction
    decimals: int | None = None
    percent: bool = False
    unit: str = ""


DECIMAL = r"(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)"
_ARG = r"(?:\{\s*(-?" + DECIMAL + r")\s*\}|(\d))"
_FORMS = [
    ("decimal", re.compile(rf"({DECIMAL})")),
    ("power", re.compile(rf"(?:({DECIMAL})\s*(?:\\times|\\cdot|\*|x|X)\s*)?10\s*(?:\^|\*\*)\s*[{{(]?\s*([-+]?\d+)\s*[}})]?")),
    ("power", re.compile(rf"({DECIMAL})[eE]([-+]?\d+)")),
    ("ratio", re.compile(rf"\(?({DECIMAL})\)?\s*/\s*\(?(-?{DECIMAL})\)?")),
    ("ratio", re.compile(rf"\\frac\s*{_ARG}\s*{_ARG}")),
    ("mixed", re.compile(r"(\d+)\s+(\d+)\s*/\s*(\d+)")),
    ("mixed", re.compile(r"(\d+)\s*\\frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))")),
]  # fmt: skip
_INTEGER = re.compile(r"-?\d+")
_LOCALE: list[
    tuple[re.Pattern[str], dict[int, Any]]
] = [  # marks of thousands and decimals of which there is one reading only
    (re.compile(r"\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?|\d{1,3}(?:\.\d{3})+,\d+"), str.maketrans({".": None, ",": "."})),
    (re.compile(r"\d{1,3}(?:'\d{3})+(?:\.\d+)?"), str.maketrans({"'": None})),
    (re.compile(r"\d{1,3}(?: \d{3})+,\d+"), str.maketrans({" ": None, ",": "."})),
    (re.compile(r"\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?"), str.maketrans({",": None})),  # 12,34,567
]
_PERCENT = re.compile(
    r"\s*(?:\\?%|\\text\{\s*(?:\\?%|percent|pct)\s*\}|\b(?:percent|percentage|per cent|pct)\b)$", re.IGNORECASE
)
_POWER = r"(?:\s*\^\s*\{?\s*-?[1-4]\s*\}?)?"  # of a unit: cm^2, m^{2}
_ATOM = rf"(?:\\(?:text|currency)\s*\{{[^{{}}]*\}}|\\degree(?![A-Za-z])|(?<![\\A-Za-z{{])[A-Za-z]+\.?){_POWER}"
_TAIL = re.compile(rf"({_ATOM}(?:(?:[\s/*()-]|\\cdot(?![A-Za-z]))*{_ATOM})*\s*\)?)$")
MAX_WITH_UNIT = 200  # characters of a value with its unit
_FIRST_ATOM = re.compile(r"\\(?:text|currency)|\\degree|[A-Za-z]+")
_WORD = re.compile(r"[A-Za-z]{2,}")
_NO_UNITS = frozenset(
    ("or", "and", "to", "th", "st", "nd", "rd", "because", "if", "for", "where", "when", "base", "mod", "pmod", "bmod", "only", "not", "than")
)  # fmt: skip
_CURRENCY_MARK = re.compile(r"\\currency\{[^{}]*\}")


def read_number(text: str, *, units: bool = True, words: bool = True) -> Number | None:
    """A plain number in clean text, with its unit and percent sign; None for anything else.

    units: read a unit after the number (18 dollars, 10\\text{ cm}^2). A single letter outside \\text is a variable and
    never a unit, and neither is a word of mathematics (2 pi). words: read number words (twenty-one).
    """
    if len(text) > MAX_DIGITS:
        return None
    if _INTEGER.fullmatch(text):
        return Number(Fraction(int(text)), 0)
    if words and text[:1].isalpha() and (spelled := read_number_words(text)) is not None:
        return Number(spelled, None if spelled.denominator != 1 else 0)
    percent, unit = False, ""
    if percentage := _PERCENT.search(text):
        percent, text = True, text[: percentage.start()]
    elif units:
        text, unit = split_unit(text)
    elif "\\currency" in text or "\\degree" in text:
        text = _CURRENCY_MARK.sub("", text).removesuffix("\\degree").strip()
    if words and unit and text[:1].isalpha() and (spelled := read_number_words(text)) is not None:
        return Number(spelled, None if spelled.denominator != 1 else 0, percent, unit)
    text, sign = text.strip(), 1
    while text[:1] in ("+", "-"):
        sign, text = (-sign if text[0] == "-" else sign), text[1:].strip()
    if text.startswith("(") and _closes_at(text, 0) == len(text) - 1:
        inside = read_number(text[1:-1].strip(), units=False, words=False)
        return inside and Number(sign * inside.value, inside.decimals, percent or inside.percent, unit)
    if re.fullmatch(
        r"0(?:[xX][0-9A-Fa-f]+|[bB][01]+|[oO][0-7]+)", text
    ):  # math-verify reads 0 times x, and calls all of them equal
        return Number(Fraction(sign * int(text, 0)), 0, percent, unit)
    if " " in text:
        text = re.sub(r"(?<=\d) (?=\d{3}(?: \d{3})*$)", "", text)  # 1 000 000
    for marks, table in _LOCALE:
        if marks.fullmatch(text):
            text = text.translate(table)
    for form, pattern in _FORMS:
        if match := pattern.fullmatch(text):
            parts = [part.replace(",", "") for part in match.groups() if part is not None]
            return _number(form, parts, sign, percent, unit)
    return None


def split_unit(text: str, *, known: bool = False) -> tuple[str, str]:
    """(rest, unit) of a text that ends in a unit, ("5\\sqrt{3}", "cm") of `5\\sqrt{3}\\text{ cm}`; (text, "") for all else.

    known: outside \\text only words that are units (cm, dollars); else any word after a space, which is right behind a
    plain number (5 apples).
    """
    if not text or len(text) > MAX_WITH_UNIT or not (text[-1].isalpha() or text[-1] in "}.)1234"):
        return text, ""
    match = _TAIL.search(text)
    while match:
        head, tail = text[: match.start()].rstrip(), match[1]
        if head and head[-1] not in "+-*/=^_,;:&<>" and _is_unit(tail, text, match.start(), known):
            unit = " ".join(re.sub(r"\\(?:text|currency)", " ", tail).replace("{", " ").replace("}", " ").split())
            return head, unit.replace("\\degree", "degree")
        first = _FIRST_ATOM.match(tail)
        match = _TAIL.search(text, match.start() + (len(first[0]) if first else 1))
    return text, ""


def _is_unit(tail: str, text: str, start: int, known: bool) -> bool:
    head = text[:start]
    if head.count("(") != head.count(")") or (tail.startswith("\\degree") and _ANGLE.search(head)):
        return False  # \sin 30^\circ is a value, and no 30 degrees of something
    if "\\degree" in head and _TERMS.search(head):
        return False  # 60^\circ + 360^\circ k is not a number of degrees
    marked = tail[0] == "\\"
    words = _WORD.findall(tail.replace("\\text", "").replace("\\currency", "").replace("\\degree", "").lower())
    if (set(words) & MATHS_WORDS) - {"mu", "min"} or set(words) & _NO_UNITS or read_unit(tail) is None:
        return False
    if marked:
        return True
    first = _FIRST_ATOM.match(tail)
    word = first[0] if first else ""
    if word in _PARTS_OF_ONE and head.rstrip()[-1:].isalpha():
        return False  # two and a half million
    bare = re.findall(r"[A-Za-z]+", re.sub(r"\\(?:text|currency)\s*\{[^{}]*\}|\\degree", " ", tail))
    if known and not all(unit_name(w) or magnitude_of(w) or w.lower() in _UNIT_WORDS for w in bare):
        return False
    if len(word) == 1:  # m/s, but never a lone letter, which may be a variable
        return "/" in tail and all(unit_name(w) for w in bare) and word in LETTER_UNITS
    if unit_name(word) or magnitude_of(word) or word.lower() in _UNIT_WORDS or word in _CODES:
        return True
    return not known and len(word) >= 3 and text[start - 1 : start].isspace()


_PARTS_OF_ONE = frozenset(("half", "third", "quarter", "fourth", "fifth", "halves", "thirds", "quarters"))
_TERMS = re.compile(r"[\w)}]\s*[-+]")
_ANGLE = re.compile(r"(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_UNIT_WORDS = frozenset(
    ("square", "sq", "cubic", "cu", "mph", "kph", "kmh", "kmph", "per", "unit", "units", "squared", "cubed")
)
_PART = re.compile(rf"({DECIMAL})\s*([A-Za-z]+\.?|\\(?:text|currency)\s*\{{\s*[A-Za-z]+\.?\s*\}})(?:\s*(?:,|and)?\s*)")
_MARKED_PART = re.compile(r"\s*(\d+)\s*(?:'|\\text\{')\s*(\d+)\s*(?:\"|'')\s*")


def read_compound(text: str) -> list[tuple[Fraction, str]] | None:
    """The parts of a quantity in several units, `2 h 30 min`, `5 feet 3 inches`, `$2 and 50 cents`; None for anything else."""
    if marked := _MARKED_PART.fullmatch(text):
        return [(Fraction(marked[1]), "foot"), (Fraction(marked[2]), "inch")]
    parts: list[tuple[Fraction, str]] = []
    position = 0
    while match := _PART.match(text, position):
        name = re.sub(r"\\(?:text|currency)|[\s{}.]", "", match[2])
        name = "minute" if name == "m" and parts and parts[-1][1] == "hour" else unit_name(name) or ""
        if not name:
            return None
        parts.append((Fraction(match[1].replace(",", "")), name))
        position = match.end()
    return parts if len(parts) > 1 and position == len(text) else None


def _number(form: str, parts: list[str], sign: int, percent: bool, unit: str) -> Number | None:
    if form == "decimal":
        return Number(sign * Fraction(parts[0]), len(parts[0].partition(".")[2]), percent, unit)
    if form == "power":
        mantissa, exponent = parts if len(parts) == 2 else ("1", parts[0])
        if len(exponent) > 5 or abs(int(exponent)) > MAX_DIGITS:
            return None
        # 1.5 \times 10^3 may be rounded to its two digits; 10^3 alone is exact
        decimals = len(mantissa.partition(".")[2]) - int(exponent) if len(parts) == 2 else None
        return Number(sign * Fraction(mantissa) * Fraction(10) ** int(exponent), decimals, percent, unit)
    whole, numerator, denominator = parts if form == "mixed" else ("0", *parts)
    if Fraction(denominator) == 0:
        return None
    return Number(sign * (Fraction(whole) + Fraction(numerator) / Fraction(denominator)), None, percent, unit)


# --- structure --------------------------------------------------------------------------------------------------

_OPEN, _CLOSE = "([{", ")]}"


def _is_braced_set(text: str) -> bool:
    """A set in escaped braces and nothing else: the braces around it are those of LaTeX."""
    return text[:2] == "\\{" and text[-2:] == "\\}" and _closes_at(text, 1) == len(text) - 1


def _closes_at(text: str, start: int) -> int:
    """The index at which the bracket at `start` closes, any kind with any (half-open intervals); -1 for never."""
    depth = 0
    for index in range(start, len(text)):
        if text[index] in _OPEN:
            depth += 1
        elif text[index] in _CLOSE:
            depth -= 1
            if depth == 0:
                return index
    return -1


def brackets(text: str) -> tuple[str, str]:
    """('(', inside) where one pair of brackets holds the whole text: '()', '[]', '(]', '[)', '{}'; else ('', text)."""
    plain = text.replace(r"\{", "{").replace(r"\}", "}")
    plain = plain.replace(r"\lbrace", "{").replace(r"\rbrace", "}")
    if plain[:1] in _OPEN and plain and _closes_at(plain, 0) == len(plain) - 1:
        return plain[0] + plain[-1], plain[1:-1].strip()
    return "", text


_THOUSANDS = re.compile(
    r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?(?:\s*(?!and\b|or\b)[A-Za-z\\%](?:(?!\band\b|\bor\b)[^,;=])*)?"
)  # 1,500 and 1,500 m


def split_items(text: str) -> list[str]:
    """The items of a list, cut at `,` `and` `or` outside all brackets, or at `;` alone where there is one. "1,234" is one
    number, and where items are set apart by ", " or ";", a comma between digits marks thousands."""
    if _THOUSANDS.fullmatch(text):
        return [text]
    spaced = bool(re.search(r",\s|;|\band\b|\bor\b", text))
    marks = ";" if _has_outside(text, ";") else ",;"
    items, depth, start, index = [], 0, 0, 0
    while index < len(text):
        mark = text[index]
        depth += (mark in _OPEN) - (mark in _CLOSE)
        step = 0
        if depth == 0 and mark in marks:
            thousands = spaced and re.match(r"\d,\d{3}(?!\d)", text[max(index - 1, 0) : index + 5])
            step = 0 if mark == "," and thousands else 1
        elif (
            depth == 0
            and marks == ",;"
            and (word := re.compile(r"(?<![A-Za-z\\])(?:and|or)(?![a-z])").match(text, index))
        ):
            step = len(word.group())
        if step:
            items.append(text[start:index].strip())
            start = index + step
        index += max(step, 1)
    items.append(text[start:].strip())
    return [item for item in items if item]


def _has_outside(text: str, mark: str) -> bool:
    depth = 0
    for letter in text:
        depth += (letter in _OPEN) - (letter in _CLOSE)
        if depth == 0 and letter == mark:
            return True
    return False


_CHOICE = re.compile(
    r"(?:option|choice|answer:?)?\s*\(?\s*([A-Ja-j])\s*(?:\)|$|[.:](?:\s|$)|\)\s|\s-+\s+(?=[a-z]{3}))(?!\s*(?:or|and|nor)\b).*",
    re.IGNORECASE | re.DOTALL,
)
_BARE_CHOICE = re.compile(r"(?:(?:[Oo]ption|[Cc]hoice|[Aa]nswer:?)\s+)?\(?([A-J])\)?[.:]?|\(([a-j])\)")


def plain_words(text: str) -> str:
    """Clean text with \\text{...} opened."""
    return " ".join(_TEXT.sub(r" \1 ", text.replace("\\currency", "\\text")).split())


def read_choice(text: str) -> str | None:
    """The letter of `C`, `(C)`, `c`, `C. Cecile`, `(C) Cecile`, `option C`; None for anything else."""
    plain = re.sub(r"^\[\s*([A-J])\s*\]$", r"\1", plain_words(text).strip("*"))
    match = _CHOICE.fullmatch(plain)
    return match.group(1).upper() if match else None


def is_choice(gold: str) -> bool:
    """Whether a gold answer is a letter of multiple choice and nothing else: `C`, `(C)`, `C.`"""
    return bool(_BARE_CHOICE.fullmatch(plain_words(gold)))


_OPTION = re.compile(r"(?:\(([A-J])\)|([A-J])[.)])\s+((?!(?:and|or)\b)[\w$\\(-].*)", re.DOTALL)
_LETTERS = re.compile(r"[A-J](?:(?:\s*(?:,|&|\band\b)\s*|\s*)[A-J])+")


def read_option(gold: str) -> tuple[str, str] | None:
    """(letter, text) of an option written in full: `(C) Cecile`, `B. 12`; None for anything else."""
    match = _OPTION.fullmatch(plain_words(gold))
    return (match.group(1) or match.group(2), match.group(3).strip()) if match else None


def read_choices(text: str) -> frozenset[str] | None:
    """The letters of several choices: `A, C`, `A and C`, `AC`; None for anything else."""
    plain = re.sub(r"\(([A-J])\)", r"\1", plain_words(text))
    letters = re.findall(r"[A-J]", plain)
    return frozenset(letters) if _LETTERS.fullmatch(plain) and len(set(letters)) == len(letters) else None


# A short word before a value, not a product of letters: so -5, it is \frac12; but by + ax.
_OPENING = re.compile(
    r"(?:so|it|is|we|to|if|be|of|or)\s+(?![+*/=^<>])|(?:as|at|by|on|an)\s+(?![-+*/=^<>])", re.IGNORECASE
)


def opens_with_a_word(text: str) -> bool:
    """Whether a short word stands before all else, which a formula would read as a product of letters."""
    return bool(_OPENING.match(text))


def is_wordy(text: str) -> bool:
    """Whether clean text holds a word of a language: three letters in a row, or two in \\text, that are not maths (nor
    `and`, `or`, which join a list), or a short word before all else."""
    if opens_with_a_word(text):
        return True
    if "\\currency" in text:
        text = _CURRENCY_MARK.sub(" ", text)
    bare = re.sub(r"\\(?:begin|end)\s*\{[^{}]*\}", " ", _TEXT.sub(" ", text))
    words = [w for w in re.findall(r"(?<![\\A-Za-z])[A-Za-z]{3,}", bare) if w.lower() not in MATHS_WORDS]
    inside = [w for part in _TEXT.findall(text) for w in _WORD.findall(part) if w not in ("and", "or")]
    return bool(words or inside)


def word_key(text: str) -> str:
    """Words for comparison: lower case, no articles, no punctuation (as SQuAD's scorer does)."""
    text = re.sub(r"\\[A-Za-z]+", " ", plain_words(text)).lower()
    words = re.sub(r"[^\w\s]", " ", text).split()
    return " ".join(w for w in words if w not in ("a", "an", "the"))
