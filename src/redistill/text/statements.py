"""A statement's text -> tokens in one spelling, and what may never differ between two tellings of one problem.

    normal("Find $\\dfrac{1}{2}\\,x$ − 3.")  ->  ("find", "\\frac", "1", "2", "x", "-", "3")
    anchors(...)                             ->  ("\\frac", "1", "2", "x", "-", "3")      order kept

The spelling of Unicode, LaTeX, white space, punctuation and case of words carries no meaning here, and neither do the
set phrases with which a problem is handed to a model. Numbers, operators, commands, variables and words that turn a
question round ("least", "not", "hours") do: two statements with other anchors are two problems, however alike.
"""

import re
import unicodedata
from fractions import Fraction
from functools import cache, lru_cache

_DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_SIGNS = str.maketrans(
    {
        **{sign: f"^{place}" for place, sign in enumerate(_DIGITS)},
        **dict.fromkeys("’‘‛`´", "'"), **dict.fromkeys("“”„«»", '"'), **dict.fromkeys("–—−‐‑‒", "-"),
        "×": " * ", "⋅": " * ", "·": " * ", "∙": " * ", "÷": " / ", "⁄": "/", "∕": "/", "≤": r" \le ", "≥": r" \ge ", "≠": r" \ne ",
        "π": r" \pi ", "√": r" \sqrt ", "∞": r" \infty ", "°": r" ^\circ ", "∠": r" \angle ", "△": r" \triangle ",
    }
)  # fmt: skip
_LATEX = [
    (re.compile(r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])\.?"), " "),
    (re.compile(r"\\(?:displaystyle|limits|nolimits|hline|qquad|quad|hfill|noindent)(?![a-zA-Z])"), " "),
    (re.compile(r"\\(?:begin|end)\s*\{(?:align|aligned|equation|gather|gathered|split|center)\*?\}"), " "),
    (
        re.compile(r"\\(?:text(?:bf|it|rm|tt|sf)?|math(?:rm|bf|it|sf)|mbox|operatorname\*?|emph)\s*\{([^{}]*)\}"),
        r" \1 ",
    ),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\frac\s*(\d)\s*(\d)"), r"\\frac \1 \2 "),
    (re.compile(r"\\(le|ge|ne)q(?:slant)?(?![a-zA-Z])"), r"\\\1 "),
    (re.compile(r"\\(?:cdot|times|ast)(?![a-zA-Z])"), " * "),
    (re.compile(r"\\div(?![a-zA-Z])"), " / "),
    (re.compile(r"\\(?:degree|degrees)(?![a-zA-Z])"), r"^\\circ "),
    (re.compile(r"\\(?:dots|ldots|cdots)(?![a-zA-Z])|\.\.\.+|…"), " ... "),
    (re.compile(r"\\(?:tag|label)\s*\{[^{}]*\}"), " "),
    (re.compile(r"\\(?=[%$#&_])"), ""),
    (re.compile(r"(?:\$|\\[)\]])(?=[.,;:?!])"), ""),
    (re.compile(r"\\[,;:!>\s\\()\[\]]|[~$&]|\\\Z"), " "),
    (re.compile(r"\{,\}"), ","),
]
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_ONE_IN_BRACES = re.compile(r"\{\s*(\\[a-zA-Z]+|[a-zA-Z]|\d+(?:\.\d+)?)\s*\}")
_BEFORE_STOP = re.compile(r"(?<=[\w)\]}])\s+(?=[.,;:?!](?:\s|\Z))")
_HYPHEN = re.compile(r"(?<=\w)-(?=[^\W\d_]{2})")
# Set phrases around a problem, each with a word that must be there for the phrase to be looked for.
# White space in them is bounded: a thousand line breaks must not be looked through from each of them.
_TEMPLATE = [
    (":", re.compile(r"\A\W{0,40}(?:question|problem|exercise|q)\s{0,9}\d{0,9}\s{0,9}:\s+", re.IGNORECASE)),
    (":", re.compile(r"\n\s{0,9}(?:answer|solution|a)\s{0,9}:\s{0,9}\Z", re.IGNORECASE)),
    ("step", re.compile(r"(?:please\s{1,9})?(?:let's\s{1,9})?\b(?:reason|think)\s{1,9}(?:about\s{1,9}it\s{1,9})?step[\s-]{1,9}by[\s-]{1,9}step", re.IGNORECASE)),
    ("boxed", re.compile(
        r"(?:,?\s{0,9}and\s{1,9})?(?:please\s{1,9})?\b(?:put|write|return|give|present|place|enclose)\s{1,9}(?:your|the)\s{1,9}final\s{1,9}"
        r"(?:answer|response|result)\s{1,9}(?:with)?in(?:side)?\s{1,9}(?:a\s{1,9})?\\boxed(?:\s{0,9}\{[^{}]*\})?", re.IGNORECASE)),
]  # fmt: skip
# Punctuation that ends a word is left out; any other (a dot in a grid, 5!, 2:3) is a token.
_TOKEN = re.compile(
    r"\\[a-zA-Z]+|\d+\.\d+|\d+|[^\W\d_]+(?:'[^\W\d_]+)*|\.\.\.|(?<=\d)!|(?<=\d):(?=\s*\d)|(?<![\w)\]}$.,;:?!'\"])[.,;:?!](?=\W)|[^\s\w.,;:?!'\"]|_"
)

_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty"""
_NUMBER_WORDS = {word: str(number) for number, word in enumerate(_SMALL.split())} | {
    "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90",
    "hundred": "100", "thousand": "1000", "million": "1000000", "dozen": "12", "twice": "2", "double": "2", "triple": "3",
    "thrice": "3", "once": "1", "half": "1/2", "third": "1/3", "thirds": "1/3", "quarter": "1/4",
}  # fmt: skip
# Words that turn a question into another one with hardly a letter changed.
_TURNING = """not no never none neither nor without except other than if only unless all every any each some least most greatest
smallest largest highest lowest maximum minimum maximal minimal max min more less fewer greater smaller larger
older younger taller shorter longer faster slower before after above below over under up down left right first
second last next previous remaining rest total both sum difference product quotient ratio average mean median mode
range odd even prime composite positive negative nonnegative increase increased increases increasing decrease
decreased decreases decreasing add added subtract subtracted multiply multiplied divide divided gain gained gains
lose lost loses buy buys bought sell sells sold give gives gave get gets got receive receives received plus minus
times inside outside inscribed circumscribed internal external interior exterior area perimeter volume surface
length width height radius diameter circumference sine cosine tangent real imaginary rational irrational integer
integers convex concave open closed inclusive exclusive with distinct different same equal consecutive replacement
clockwise counterclockwise horizontal vertical north south east west true false sin cos tan log ln gcd lcm seconds
minute minutes hour hours day days week weeks month months year years inch inches foot feet yard yards mile miles
meter meters metre metres centimeter centimeters kilometer kilometers gram grams kilogram kilograms pound pounds
ounce ounces liter liters gallon gallons cent cents dollar dollars percent monday tuesday wednesday thursday friday
saturday sunday january february march april may june july august september october november december"""
_TURNS = frozenset(_TURNING.split())
_NO_VARIABLES = frozenset(("a", "A", "I", "s"))  # English words of one letter
# Words that can stand or not stand without a change of the question.
_LIGHT = """a an the of is are be been being that this these those there here which what whose who find determine compute
calculate evaluate solve state value values let suppose assume given consider denote such so then also now please
and we you your us our it its his her their how much does do did will would can could should has
have had was were exactly question problem following answer"""
_WEIGHTLESS = frozenset(_LIGHT.split())
# Words by which an English statement is known: common there, and seldom words of another language.
_ENGLISH = frozenset(
    ["the", "of", "is", "are", "and", "to", "that", "this", "there", "these", "which", "what", "how", "with", "from", "by", "if", "find", "when", "each", "it", "be", "his", "her", "their", "they", "does", "has", "have", "many", "much", "than", "then", "some", "all", "your", "you", "let", "where", "into", "between", "compute", "evaluate", "calculate", "solve", "determine", "simplify"]
)  # fmt: skip
_LEAST_ENGLISH = 0.12  # share of a statement's words; 62 of 13,050 English problems have less


@lru_cache(1024)  # the rows of one problem often follow each other
def normal(statement: str) -> tuple[str, ...]:
    """The tokens of a statement in one spelling. Words of two letters and more are lower case; single letters, which may
    be variables, and labels such as ABC keep theirs."""
    text = statement if statement.isascii() else "".join(map(_sign, statement))
    for word, pattern in _TEMPLATE:
        if word in text:
            text = pattern.sub(" ", text)
    for pattern, instead in _LATEX if "\\" in text else _LATEX[-3:]:
        text = pattern.sub(instead, text)
    text = _ONE_IN_BRACES.sub(r" \1 ", _ONE_IN_BRACES.sub(r" \1 ", _THOUSANDS.sub("", text)))
    tokens = _TOKEN.findall(_BEFORE_STOP.sub("", _HYPHEN.sub(" ", text)))
    return tuple(token if len(token) == 1 or _is_label(token) else _plain(token) for token in tokens)


@cache
def _sign(sign: str) -> str:
    """One character as plain text would write it; what cannot be seen is left out."""
    sign = sign.translate(_SIGNS)
    if sign.isascii():
        return sign
    if len(sign) == 1 and unicodedata.category(sign) == "Cf":
        return ""
    plain = unicodedata.normalize("NFKC", sign).translate(_SIGNS)
    return f" {plain} " if "/" in plain else plain  # 5½ is 5 1/2


def _is_label(token: str) -> bool:
    return token.isupper() and len(token) <= 12  # longer ones are words that are shouted


def _plain(token: str) -> str:
    return token if token[0] == "\\" else token.lower()


def content(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """The tokens without the words that carry no weight: equal contents are one problem in almost the same words."""
    return tuple(token for token in tokens if token not in _WEIGHTLESS) or tokens


def anchors(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """What must stand in both of two statements, in this order: numbers (also as words), signs, commands, variables,
    labels, and words that turn a question. These are known of English; in any other language every word may be one."""
    marks = []
    known = is_english(tokens)
    for token in tokens:
        if len(token) == 1:
            if token not in _NO_VARIABLES:
                marks.append(token)
        elif token in _NUMBER_WORDS:
            marks.append(_NUMBER_WORDS[token])
        elif (not known and token not in _WEIGHTLESS) or not token[0].isalpha() or token in _TURNS or _is_label(token):
            marks.append(token)
    return tuple(marks)


def is_english(tokens: tuple[str, ...]) -> bool:
    """Whether the words of a statement are English, or it has none: at least an eighth of them are common English words."""
    words = [token for token in tokens if len(token) > 1 and token[0].isalpha()]
    return sum(word in _ENGLISH for word in words) >= _LEAST_ENGLISH * len(words)


def shingles(tokens: tuple[str, ...]) -> set[str]:
    """The pairs of neighbouring tokens; a statement of one token is its own."""
    return {" ".join(tokens[at : at + 2]) for at in range(max(1, len(tokens) - 1))}


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of two statements' pairs of neighbouring tokens, 0 to 1."""
    first, second = shingles(normal(one)), shingles(normal(other))
    return len(first & second) / len(first | second)


MAX_DIGITS = 400  # of an answer that is compared as a number; Python itself refuses 4,300
_FRACTION = re.compile(r"(-?)\s{0,9}\\frac\s{0,9}\{?\s{0,9}(\d+)\s{0,9}(?:\}\s{0,9}\{?|\{)\s{0,9}(\d+)\s{0,9}\}?")
_NUMBER = re.compile(r"([-+]?(?:\d+(?:\.\d*)?|\.\d+))(?:/(\d+))?")


def answer_key(answer: str) -> str:
    """A gold answer so that the same value in plain notations is the same text: 1/2, 0.5, \\dfrac12 and $\\frac{1}{2}$.

    Numbers only; any other answer is its tokens. A comparison that must not be wrong: what cannot be read is itself.
    """
    text = answer.strip().strip("$").strip().rstrip(".")
    text = re.sub(r"\\[dtc]frac(?![a-zA-Z])", r"\\frac", text)
    text = _FRACTION.sub(r"\1\2/\3", re.sub(r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}", text))
    number = _NUMBER.fullmatch(re.sub(r"\s", "", _THOUSANDS.sub("", text.replace("{,}", ","))))
    if number and len(number[0]) <= MAX_DIGITS and int(number[2] or 1):
        return str(Fraction(number[1]) / int(number[2] or 1))
    return " ".join(normal(text)) or text
