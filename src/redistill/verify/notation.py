"""Glyphs and local ways of writing -> the plain notation that the readers know. No meaning is lost and none is guessed.

    plain_notation("２½")                  ->  "2 1/2"
    plain_notation("x₁² − ３")              ->  "x_{1}^{2} - 3"
    plain_notation("（3，7）或0.1\\overline{6}")  ->  "(3,7) or (1/6)"

Unicode's own compatibility table (NFKC) does most of it; what that table would lose, superscripts and fractions that
follow a digit, is written out before.
"""

import re
import unicodedata
from fractions import Fraction

MAX_NOTED = 400  # characters: longer texts are prose or data, and are left as they are but for their glyphs
MAX_PERIOD = 30  # digits of a repeating decimal

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱˣ", "0123456789+-()nix")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙᵢₓₖₘ", "0123456789+-()nixkm")
_RAISED = re.compile("([⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱˣ]+)")
_LOWERED = re.compile("([₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙᵢₓₖₘ]+)")
_CIRCLED = {ord("①") + n: f" ({n + 1}) " for n in range(20)}
_VULGAR = re.compile(r"(\d?)(\s?)([¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞↉])")

_SEVERAL_CIRCLED = re.compile("①.*②", re.DOTALL)  # labels; a single one is its number
_GLYPHS = str.maketrans(
    {"−": "-", "–": "-", "—": " - ", "‒": "-", "‐": "-", "‑": "-", "―": " - ", "﹣": "-", "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ",
     "∙": "\\cdot ", "•": "\\cdot ", "÷": "/", "∕": "/", "⁄": "/", "π": "\\pi ", "∞": "\\infty ", "≤": "\\le ", "≥": "\\ge ", "⩽": "\\le ",
     "⩾": "\\ge ", "≠": "\\ne ", "∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "∅": "\\emptyset ", "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}",
     "ℕ": "\\mathbb{N}", "±": "\\pm ", "∓": "\\mp ", "≡": "\\equiv ", "≈": "\\approx ", "∼": "\\sim ", "°": "^\\circ ", "℃": "^\\circ C",
     "℉": "^\\circ F", "‰": "\\text{ permille}", "º": "^\\circ ", "∘": "^\\circ ", "’": "'", "‘": "'", "′": "'", "“": '"', "”": '"', "″": '"', "\u00a0": " ", "\u2009": " ",
     "\u202f": " ", "\u2007": " ", "\u2008": " ", "\u200a": " ", "\u200b": "", "\u200e": "", "\u200f": "", "\u2060": "", "\ufeff": "", "\0": " ",
     "α": "\\alpha ", "β": "\\beta ", "γ": "\\gamma ", "δ": "\\delta ", "θ": "\\theta ", "λ": "\\lambda ", "μ": "\\mu ", "φ": "\\phi ",
     "ω": "\\omega ", "σ": "\\sigma ", "ρ": "\\rho ", "Ω": "\\Omega ", "Δ": "\\Delta ", "Θ": "\\Theta ", "µ": "\\mu ", "ε": "\\epsilon ", "τ": "\\tau ",
     "、": ",", "，": ",", "؛": ";", "،": ",", "٫": ".", "٬": ",", "；": ";", "。": ".", "．": ".", "：": ":", "∶": ":", "〜": "-", "～": "-",
     "∧": "\\wedge ", "∨": "\\vee ", "∖": "\\setminus ", "⟨": "\\langle ", "⟩": "\\rangle ", "⌊": "\\lfloor ", "⌋": "\\rfloor ",
     "⌈": "\\lceil ", "⌉": "\\rceil ", "\f": "\\f", "\b": "\\b"}
)  # fmt: skip
_ROOT = re.compile(r"([√∛∜])\s*(?:\(([^()]*(?:\([^()]*\)[^()]*)*)\)|\{([^{}]*)\}|(\d+(?:\.\d+)?|\\[a-z]+|[A-Za-z]))")
_ROOT_INDEX = {"√": "", "∛": "[3]", "∜": "[4]"}
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&le;": "\\le ", "&ge;": "\\ge ", "&amp;": "&", "&nbsp;": " ", "&minus;": "-"}

# Chinese, Japanese: joints, lead-ins, what a number is counted in.
_CJK_WORDS = [
    (re.compile(r"^(?:最终)?(?:答案|答|结果|所以|因此)\s*(?:是|为|[:：])?\s*[:：]?\s*(?=.)"), ""),
    (re.compile(r"或者?|または"), " or "),
    (re.compile(r"以及|和|与|及|と"), " and "),
    (re.compile(r"无解"), r"\\text{no solution}"),
    (re.compile(r"空集"), r"\\emptyset "),
    (re.compile(r"千米|公里"), r"\\text{ km}"),
    (re.compile(r"平方厘米"), r"\\text{ cm}^2"),
    (re.compile(r"立方厘米"), r"\\text{ cm}^3"),
    (re.compile(r"平方米"), r"\\text{ m}^2"),
    (re.compile(r"立方米"), r"\\text{ m}^3"),
    (re.compile(r"厘米"), r"\\text{ cm}"),
    (re.compile(r"毫米"), r"\\text{ mm}"),
    (re.compile(r"千克|公斤"), r"\\text{ kg}"),
    (re.compile(r"毫升"), r"\\text{ mL}"),
    (re.compile(r"小时"), r"\\text{ hours}"),
    (re.compile(r"分钟"), r"\\text{ minutes}"),
    (re.compile(r"(?<=[\d}])\s*米"), r"\\text{ m}"),
    (re.compile(r"(?<=[\d}])\s*秒"), r"\\text{ seconds}"),
    (re.compile(r"(?<=[\d}])\s*升"), r"\\text{ L}"),
    (re.compile(r"(?<=[\d}])\s*克"), r"\\text{ g}"),
    (re.compile(r"(?<=[\d}])\s*[元圆]"), r"\\text{ yuan}"),
    (re.compile(r"(?<=[\d}])\s*天"), r"\\text{ days}"),
    (re.compile(r"(?<=[\d}])\s*年"), r"\\text{ years}"),
    (re.compile(r"(?<=[\d}])\s*度"), r"^\\circ "),
    (re.compile(r"(?<=\d)\s*千(?![克瓦])"), r"\\text{ qian}"),
    (re.compile(r"(?<=\d)\s*百"), r"\\text{ bai}"),
    (re.compile(r"(?<=\d)\s*万"), r"\\text{ wan}"),
    (re.compile(r"(?<=\d)\s*亿"), r"\\text{ yi}"),
    (re.compile(r"(?<=[\d}])\s*([\u4e00-\u9fff]{1,3})(?=$|[,;.)\s])"), r"\\text{ \1}"),  # a counted thing: 12个
]
_JOINTS = [  # words that join a list in other languages, between two values only
    (re.compile(r"(?<=[\d}$)])\s+(?:et|und|en|og|och|и|ja|ve|dan|और|و)\s+(?=[-+$\\({\d])"), " and "),
    (re.compile(r"(?<=[\d}$)])\s+(?:ou|oder|или|lub|eller|veya|atau|या|أو)\s+(?=[-+$\\({\d])"), " or "),
    (re.compile(r"(?<=[\d}$)A-Za-z])\s+(?:as well as|and also|&|\\&)\s+(?=[-+$\\({\dA-Za-z])"), " and "),
    (re.compile(r"\\text\s*\{\s*(?:y|et|und)\s*\}"), " and "),
    (re.compile(r"\\text\s*\{\s*(?:o|ou|oder)\s*\}"), " or "),
]
# Joints of one letter, which may be an unknown as well: only where no other unknown stands in the text and no sign between two
# spaces follows, for 9 y + 8 is a sum and `9 y -8` in Spanish two numbers.
_LETTER_JOINTS = [
    (re.compile(r"(?<=[\d}$)])\s+[ye]\s+(?=[-+]?[$\\({\d])"), " and "),
    (re.compile(r"(?<=[\d}$)])\s+[ou]\s+(?=[-+]?[$\\({\d])"), " or "),
]
_UNKNOWN = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")
_FOREIGN_INTERVAL = re.compile(r"(^|\\cup\s*|\\in\s*|=\s*)([\[\]])([^\[\](),;]+|[^\[\]]*\\\w+[^\[\](),;]*)([,;])([^\[\](),;]+)([\[\]])(?=$|\s*\\cup|\s*[.,;]?\s*$)")  # fmt: skip

# Repeating decimals: 0.1\overline{6}, 0.1\dot{6}, 0.\dot{1}2\dot{3}, 0.1(6), 0.1666...
_DOT = r"\\dot\s*\{?\s*(\d)\s*\}?"
_REPEATING = [
    re.compile(r"(?<![\d.])(\d*)\.(\d*)\s*\{?\\(?:overline|bar|overset\{[^{}]*\})\s*\{?\s*(\d+)\s*\}?\}?(?:\s*(?:\\ldots|\\dots|\\cdots|\.\.\.))?(?![\d.])"),
    re.compile(r"(?<![\d.])(\d*)\.(\d*)\((\d+)\)(?:\.\.\.)?(?![\d.!^(])"),
]  # fmt: skip
_DOTTED = re.compile(rf"(?<![\d.])(\d*)\.(\d*)\s*{_DOT}(?:\s*(\d*)\s*{_DOT})?(?![\d.])")
_TRAILING_DOTS = re.compile(r"(?<![\d.,])(\d*)\.(\d+?)\s*(?:\\ldots|\\dots|\\cdots|\.\.\.|…)(?!\s*[\d,])")


_SIZED_BRACKET = re.compile(r"\\(?:left|right)(?![A-Za-z])\s*(?=[\[\]])")
_OR = re.compile(r"\\(?:vee|lor)(?![A-Za-z])")
_TIE = re.compile(r"(?<!\\)~")  # LaTeX's space that does not break: 5 \mathrm{~cm}


def plain_notation(text: str) -> str:
    """The text in plain notation: see the examples above."""
    if "&" in text:
        for entity, glyph in _ENTITIES.items():
            text = text.replace(entity, glyph)
    if not text.isascii() or "\0" in text:
        text = _unicode(text)
    if "\f" in text or "\b" in text or "\t" in text:  # JSON that ate a backslash: form feed + rac, tab + heta
        text = re.sub(r"\f(?=rac)|\x08(?=oxed|inom|ar)|\t(?=heta|imes|ext|an|o\b)", lambda m: "\\" + {"\f": "f", "\b": "b", "\t": "t"}[m[0]], text)  # fmt: skip
    if "~" in text:
        text = _TIE.sub(" ", text)
    if len(text) > MAX_NOTED:
        return text
    if " " in text and "\\begin" not in text:
        for pattern, replacement in _JOINTS:
            text = pattern.sub(replacement, text)
        for pattern, replacement in _LETTER_JOINTS:
            if joints := pattern.findall(text):
                joined = pattern.sub(replacement, text)
                # every letter was a joint: nothing of its name is left, nor any other unknown
                text = text if len(_UNKNOWN.findall(text)) > len(joints) else joined
    if "=" in text and "\\" in text:
        text = _OR.sub(" or ", text)
    if "]" in text or "[" in text:
        text = _SIZED_BRACKET.sub("", text)
        text = _FOREIGN_INTERVAL.sub(_interval, text)
    if "." in text:
        text = _repeating(text)
    return text


def _unicode(text: str) -> str:
    text = _RAISED.sub(lambda m: f"^{{{m[1].translate(_SUPERSCRIPTS)}}}", text)
    text = _LOWERED.sub(lambda m: f"_{{{m[1].translate(_SUBSCRIPTS)}}}", text)
    text = _VULGAR.sub(_vulgar, text)
    text = text.translate(_CIRCLED if _SEVERAL_CIRCLED.search(text) else {}).translate(_GLYPHS)
    text = _ROOT.sub(lambda m: f"\\sqrt{_ROOT_INDEX[m[1]]}{{{m[2] or m[3] or m[4]}}}", text)
    text = unicodedata.normalize("NFKC", text)
    if text.isascii():
        return text
    text = "".join(str(unicodedata.digit(c)) if not c.isascii() and c.isdecimal() else c for c in text)
    for pattern, replacement in _CJK_WORDS:
        text = pattern.sub(replacement, text)
    return text


def _vulgar(match: re.Match[str]) -> str:
    value = unicodedata.normalize("NFKC", match[3]).replace("⁄", "/")
    numerator, denominator = value.split("/")
    return f"{match[1]} {value}" if match[1] else f"{match[2]}\\frac{{{numerator}}}{{{denominator}}}"


def _interval(match: re.Match[str]) -> str:
    left = "[" if match[2] == "[" else "("
    right = "]" if match[6] == "]" else ")"
    return f"{match[1]}{left}{match[3]}{match[4]}{match[5]}{right}"


def _repeating(text: str) -> str:
    for pattern in _REPEATING:
        text = pattern.sub(lambda m: _repeated(m[1], m[2], m[3]) or m[0], text)
    if "\\dot" in text:
        text = _DOTTED.sub(lambda m: _repeated(m[1], m[2], m[3] + (m[4] or "") + (m[5] or "")) or m[0], text)
    return _TRAILING_DOTS.sub(_continued, text)


def _repeated(whole: str, fixed: str, period: str) -> str | None:
    """0.1 with the period 6 as the fraction (1/6)."""
    if len(period) > MAX_PERIOD or len(fixed) > MAX_PERIOD or len(whole) > MAX_PERIOD:
        return None
    value = Fraction(f"{whole or 0}.{fixed or 0}") + Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(fixed))
    return f"({value.numerator}/{value.denominator})"


def _continued(match: re.Match[str]) -> str:
    """0.1666... as 1/6, where its last digits repeat (at least three times one digit, or twice a longer period)."""
    digits = match[2]
    for length in range(1, len(digits) // 2 + 1):
        period = digits[-length:]
        times = 3 if length == 1 else 2
        if digits.endswith(period * times) and period != "0" * length:
            fixed = digits[: len(digits) - length * times]
            while fixed.endswith(period):
                fixed = fixed[:-length]
            return _repeated(match[1], fixed, period) or match[0]
    return match[0]
