"""Mathematics as written -> a tree that can be evaluated exactly or to fifty digits; all of the text, or nothing.

    read_formula("2x + \\frac{1}{2}")     ->  Formula(node=("add", ...), symbols={"x"}, ...)
    read_formula("2x + \\int f")          ->  None, for \\int is not in this grammar

What a Formula was read from has no part left over: that is what makes a verdict `incorrect` possible. Notation that has
two readings (1/2x, \\log without a base, \\sin x(x+1)) is read in the usual one and named in `doubts`: such a formula can be
seen to be equal, never to be different.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath

CONTEXT = mpmath.MPContext()
CONTEXT.dps = 50
MAX_BITS = 60_000  # of an exact number; beyond, fifty digits must do
MAX_LENGTH = 600  # characters of a formula read here
MAX_DEPTH = 60

Node = tuple[Any, ...]

_FUNCTIONS = frozenset(
    """sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth ln log lg exp sqrt abs max min gcd lcm floor ceil asin acos
    atan arcsinh arccosh arctanh""".split()
)
_GREEK = frozenset(
    """alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon phi varphi chi psi
    omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell hbar""".split()
)
_TIMES = frozenset((r"\cdot", r"\times", "*", r"\ast"))
_OVER = frozenset(("/", r"\div"))
_ARC = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sinh": "arcsinh", "cosh": "arccosh", "tanh": "arctanh"}
_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?|\.\d+)|(\\[A-Za-z]+|\\[|])|([A-Za-z]+)|(\*\*|!!|[-+*/^_!(){}\[\],|'%=<>;&]))")
_BINOMIALS = [
    (re.compile(r"(?<![A-Za-z\\])([CPA])\s*\(\s*([^(),]+),([^(),]+)\)"), lambda m: f"\\choose{'C' if m[1] == 'C' else 'P'}{{{m[2]}}}{{{m[3]}}}"),
    (re.compile(r"(?:\{\s*\})?\s*[_^]\s*\{?\s*(\w+)\s*\}?\s*(?:\\text\s*\{\s*([CP])\s*\}|([CP]))\s*_\s*\{?\s*(\w+)\s*\}?"), lambda m: f"\\choose{m[2] or m[3]}{{{m[1]}}}{{{m[4]}}}"),
    (re.compile(r"(?<![A-Za-z\d.])(\d+)\s*([CP])\s*_?\s*\{?\s*(\d+)\s*\}?(?![\d.])"), lambda m: f"\\choose{m[2]}{{{m[1]}}}{{{m[3]}}}"),
    (re.compile(r"(?<![A-Za-z\\])([CPA])\s*_\s*\{?\s*(\d+)\s*\}?\s*\^\s*\{?\s*(\d+)\s*\}?"), lambda m: _chosen(m[1], m[2], m[3])),
    (re.compile(r"(?<![A-Za-z\\])([CPA])\s*\^\s*\{?\s*(\d+)\s*\}?\s*_\s*\{?\s*(\d+)\s*\}?"), lambda m: _chosen(m[1], m[2], m[3])),
]  # fmt: skip


def _chosen(letter: str, one: str, other: str) -> str:
    """C_6^2 and C^2_6: of both numbers the larger is chosen from."""
    n, k = sorted((int(one[:6]), int(other[:6])), reverse=True)
    return f"\\choose{'C' if letter == 'C' else 'P'}{{{n}}}{{{k}}}"


_INFORMAL = [
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"(?<![A-Za-z\\])E(?=\s*\^\s*\([^()]*[A-Za-z])"), "e"),  # sympy's Euler number; E^2 may be an energy
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
    (re.compile(r"(?<=[\d)])\s*[eE]([-+]\d+)(?!\d)"), r" \\cdot 10^{\1}"),
    (re.compile(r"(?<=\d)[eE](\d+)(?![\d.])"), r" \\cdot 10^{\1}"),
    (re.compile(r"\\(?:mathrm|text|operatorname|mathop)\s*\{\s*(lcm|gcd|sin|cos|tan|arcsin|arccos|arctan|sgn|max|min|exp|ln|log|arccot|cot|sec|csc|floor|ceil)\s*\}"), r"\\\1 "),
    (re.compile(r"\\(?:mathit|mathbf|boldsymbol|mathsf|mathcal|mathrm|text|vec|hat|bar)\s*\{\s*([A-Za-z])\s*\}"), r" \1 "),
    (re.compile(r"\\(?:lvert|rvert|vert|mid)(?![A-Za-z])"), "|"),
    (re.compile(r"\\(?:tfrac|dfrac|cfrac)(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:dbinom|tbinom)(?![A-Za-z])"), r"\\binom"),
    (re.compile(r"\\(?:lbrack|lparen)(?![A-Za-z])"), "("),
    (re.compile(r"\\(?:rbrack|rparen)(?![A-Za-z])"), ")"),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Formula:
    """decimals: (value, places) of each decimal written in it, in order. doubts: notations in it that have two readings."""

    node: Node
    symbols: frozenset[str]
    decimals: tuple[tuple[Fraction, int], ...] = ()
    doubts: frozenset[str] = frozenset()
    imaginary: bool = False

    @property
    def complete(self) -> bool:
        """Whether its text has this reading only."""
        return not self.doubts


class _Unreadable(Exception):
    pass


class Undefined(Exception):
    """No number at this point: 1/0, \\ln 0."""


def read_formula(text: str) -> Formula | None:
    """The formula that all of the clean text is, or None."""
    if not text or len(text) > MAX_LENGTH:
        return None
    for pattern, replacement in _INFORMAL:
        text = pattern.sub(replacement, text)
    bare = re.sub(r"\\[A-Za-z]+", "", text)
    for pattern, write in _BINOMIALS[: None if not re.search(r"[a-zB-BD-OQ-Z]", bare) else 3]:
        text = pattern.sub(write, text)
    try:
        reader = _Reader(_tokens(text))
        node = reader.sum()
        if reader.position != len(reader.tokens):
            return None
    except (_Unreadable, RecursionError):
        return None
    return Formula(node, frozenset(reader.symbols), tuple(reader.decimals), frozenset(reader.doubts), reader.imaginary)


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise _Unreadable
        position = match.end()
        number, command, letters, sign = match.groups()
        if letters:
            tokens += _letters(letters)
        elif command in (r"\choose", r"\chooseC", r"\chooseP"):
            tokens.append(command)
        else:
            tokens.append(number or command or sign)
    return [t for t in tokens if t not in (r"\,", r"\displaystyle")]


def _letters(run: str) -> list[str]:
    """A run of letters as functions, pi and single letters: `sinx` is sin and x; a longer unknown word is unreadable."""
    tokens, rest = [], run
    while rest:
        name = next((n for n in _WORDS if rest.startswith(n)), None)
        if name:
            tokens.append("\\" + _WORD_TOKENS.get(name, name))
            rest = rest[len(name) :]
        else:
            tokens.append(rest[0])
            rest = rest[1:]
    singles = "".join(t for t in tokens if len(t) == 1).lower()
    if len(singles) > 2 and not any(singles in row for row in ("abcd", "wxyz", "pqrst", "mnop", "uvw")):
        raise _Unreadable  # a word, and no product
    return tokens


_WORD_TOKENS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "infinity": "infty", "oo": "infty"}
_WORDS = sorted((*_FUNCTIONS, "pi", "theta", "alpha", "beta", "infty", "infinity"), key=len, reverse=True)


class _Reader:
    """Recursive descent: sum > product > signed > power > atom."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens, self.position, self.depth, self.bars, self.angle = tokens, 0, 0, 0, 0
        self.symbols: set[str] = set()
        self.decimals: list[tuple[Fraction, int]] = []
        self.doubts: set[str] = set()
        self.imaginary = False

    def peek(self, ahead: int = 0) -> str:
        index = self.position + ahead
        return self.tokens[index] if index < len(self.tokens) else ""

    def take(self, token: str = "") -> str:
        found = self.peek()
        if not found or (token and found != token):
            raise _Unreadable
        self.position += 1
        return found

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Unreadable
        terms = [self.product()]
        while self.peek() in ("+", "-"):
            sign = self.take()
            term = self.product()
            terms.append(term if sign == "+" else ("neg", term))
        self.depth -= 1
        return terms[0] if len(terms) == 1 else ("add", *terms)

    def product(self) -> Node:
        if self.peek() in ("+", "-"):
            sign = self.take()
            inner = self.product()
            return inner if sign == "+" else ("neg", inner)
        node, slash = self.power(), False
        while True:
            token = self.peek()
            if token in _TIMES:
                self.take()
                node = ("mul", node, self.signed())
            elif token in _OVER:
                self.take()
                node, slash = ("div", node, self.signed()), True
            elif self._starts_atom(token):
                if (token[0].isdigit() or token[0] == ".") and not self._after_power():
                    raise _Unreadable  # 3 4 is no product, nor is x2; 2^6 3^5 is one
                if slash:
                    self.doubts.add("slash")  # 1/2x
                node = ("mul", node, self.power())
            else:
                return node

    def _after_power(self) -> bool:
        """Whether a power of a number lies before and a power ahead: 2^6 3^5."""
        return self.peek(1) == "^" and bool(re.search(r"(?<![A-Za-z])\d+\^(?:\d+|\{\d+\})$", "".join(self.tokens[: self.position])))

    def signed(self) -> Node:
        if self.peek() in ("+", "-"):
            sign = self.take()
            inner = self.signed()
            return inner if sign == "+" else ("neg", inner)
        return self.power()

    def _starts_atom(self, token: str) -> bool:
        if token == "|":
            return self.bars == 0
        return bool(token) and (token[0].isalnum() or token[0] == "." or token in ("(", "{", "[") or (token[0] == "\\" and token not in _TIMES | _OVER and token not in (r"\}", r"\rfloor", r"\rceil", r"\degree", r"\|")))  # fmt: skip

    def power(self) -> Node:
        node = self.atom()
        while True:
            token = self.peek()
            if token == "^":
                self.take()
                if self.peek() == "\\circ" or (self.peek() == "{" and self.peek(1) == "\\circ"):
                    raise _Unreadable
                exponent = self.argument(signed=True)
                if self.peek() == "^":
                    raise _Unreadable
                node = ("pow", node, exponent)
            elif token in ("!", "!!"):
                self.take()
                if self.peek() in ("!", "!!"):
                    raise _Unreadable
                node = ("fn", "factorial" if token == "!" else "factorial2", node)
            elif token == "\\degree":
                self.take()
                if self.angle:
                    node = ("mul", node, ("div", ("const", "pi"), ("num", Fraction(180))))
                else:
                    self.doubts.add("degrees")
            elif token == "'":
                raise _Unreadable
            else:
                return node

    def argument(self, *, signed: bool = False) -> Node:
        """What follows ^, \\frac, \\sqrt: a group, or one sign (\\frac12, x^10 is not one)."""
        token = self.peek()
        if token == "{":
            return self.group("{", "}")
        if token == "(" and signed:
            return self.group("(", ")")
        if signed and token in ("-", "+"):
            self.take()
            inner = self.argument(signed=True)
            return ("neg", inner) if token == "-" else inner
        if token[:1].isdigit():
            if len(token) > 1 and not signed:  # \frac12 is a half, \frac123 is unclear
                if len(token) != 2 or not token.isdigit() or self.tokens[self.position - 1] != r"\frac":
                    raise _Unreadable
                self.tokens = [*self.tokens[: self.position], token[0], token[1], *self.tokens[self.position + 1 :]]
            if len(token) > 1 and signed and self.tokens[self.position - 1] == "^" and not token.isdigit():
                self.doubts.add("exponent")
            return self.atom()
        if token and (token.isalpha() or token[0] == "\\"):
            return self.atom()
        raise _Unreadable

    def group(self, opening: str, closing: str) -> Node:
        self.take(opening)
        bars, self.bars = self.bars, 0
        node = self.sum()
        self.bars = bars
        self.take(closing)
        return node

    def atom(self) -> Node:
        token = self.take()
        if token[0].isdigit() or token[0] == ".":
            return self.number(token)
        if token.isalpha():
            return self.letter(token)
        if token == "(":
            self.position -= 1
            return self.group("(", ")")
        if token == "[":
            self.position -= 1
            return self.group("[", "]")
        if token == "{":
            self.position -= 1
            return self.group("{", "}")
        if token == "|":
            self.bars += 1
            node = self.sum()
            self.bars -= 1
            self.take("|")
            return ("fn", "abs", node)
        if token == "!" and self.peek().isdigit():
            return ("fn", "subfactorial", self.number(self.take()))
        if token[0] == "\\":
            return self.command(token[1:])
        raise _Unreadable

    def number(self, token: str) -> Node:
        if len(token) > 400:
            raise _Unreadable
        value = Fraction(token)
        if "." in token and value.denominator != 1:
            self.decimals.append((value, len(token.partition(".")[2])))
            return ("dec", len(self.decimals) - 1)
        whole = value.denominator == 1 and token.isdigit()
        if whole and self.peek() == r"\frac" and self._is_mixed():
            self.take()
            top, below = self.argument(), self.argument()
            return ("add", ("num", value), ("div", top, below))
        if self.peek() == "_":
            raise _Unreadable  # a base
        return ("num", value)

    def _is_mixed(self) -> bool:
        """Whether `\\frac{1}{2}` follows a whole number: digits above and below, the smaller above."""
        following = "".join(self.tokens[self.position + 1 : self.position + 7])
        match = re.match(r"(?:\{(\d+)\}|(\d))(?:\{(\d+)\}|(\d))|(\d)(\d)", following)
        if not match:
            return False
        top, below = (int(n) for n in match.groups() if n)
        if top >= below:
            raise _Unreadable  # 2\frac{3}{2}: a product or a slip
        return True

    def letter(self, token: str) -> Node:
        name = token
        if self.peek() == "_":
            self.take()
            name += "_" + self.subscript()
        elif token == "e":
            return ("const", "e")
        elif token == "i":
            self.imaginary = True
            return ("const", "i")
        if self.peek() == "(" and name[0] in "fghFGHpqTV" and self._is_call():
            raise _Unreadable  # an unknown function
        self.symbols.add(name)
        return ("sym", name)

    def _is_call(self) -> bool:
        return bool(re.match(r"\([A-Za-z\d]\)|\([^()+-]*,", "".join(self.tokens[self.position : self.position + 6])))

    def subscript(self) -> str:
        if self.peek() != "{":
            found = self.take()
            if not found.isalnum():
                raise _Unreadable
            return found
        self.take()
        parts = []
        while self.peek() != "}":
            part = self.take()
            if not (part.isalnum() or part in "+-," or part[1:] in _GREEK):
                raise _Unreadable
            parts.append(part)
        self.take("}")
        return "".join(parts)

    def command(self, name: str) -> Node:
        if name == "pi":
            return ("const", "pi")
        if name in _GREEK:
            name = name.removeprefix("var")
            if self.peek() == "_":
                self.take()
                name += "_" + self.subscript()
            self.symbols.add(name)
            return ("sym", name)
        if name == "frac":
            top = self.argument()
            return ("div", top, self.argument())
        if name == "binom":
            top = self.argument()
            return ("fn", "binomial", top, self.argument())
        if name in ("chooseC", "chooseP"):
            top = self.argument()
            return ("fn", "binomial" if name == "chooseC" else "permutations", top, self.argument())
        if name == "sqrt":
            return self.root()
        if name == "lfloor":
            return self._closed("floor", r"\rfloor")
        if name == "lceil":
            return self._closed("ceil", r"\rceil")
        if name in _FUNCTIONS:
            return self.function(name)
        raise _Unreadable

    def _closed(self, name: str, closing: str) -> Node:
        node = self.sum()
        self.take(closing)
        return ("fn", name, node)

    def root(self) -> Node:
        index: Node = ("num", Fraction(2))
        if self.peek() == "[":
            self.take()
            index = self.sum()
            self.take("]")
        if self.peek() == "(":  # \sqrt(3), sqrt(3)
            return ("root", self.group("(", ")"), index)
        return ("root", self.argument(), index)

    def function(self, name: str) -> Node:
        base: Node | None = None
        power: Node | None = None
        if name == "log" and self.peek() == "_":
            self.take()
            base = self.argument()
        if self.peek() == "^":
            self.take()
            power = self.argument(signed=True)
            if power == ("neg", ("num", Fraction(1))):
                if name not in _ARC:
                    raise _Unreadable
                name, power = _ARC[name], None
        angle = self.angle
        self.angle = angle + (name in ("sin", "cos", "tan", "cot", "sec", "csc"))
        arguments = self.arguments(name)
        self.angle = angle
        node: Node
        if name == "log" and base is not None:
            node = ("div", ("fn", "ln", *arguments), ("fn", "ln", base))
        elif name == "log":
            self.doubts.add("log")
            node = ("fn", "ln", *arguments)
        else:
            node = ("fn", name, *arguments)
        return node if power is None else ("pow", node, power)

    def arguments(self, name: str) -> list[Node]:
        if self.peek() in ("(", "{", "["):
            opening = self.take()
            bars, self.bars = self.bars, 0
            found = [self.sum()]
            while self.peek() == "," and name in ("max", "min", "gcd", "lcm"):
                self.take()
                found.append(self.sum())
            self.bars = bars
            self.take({"(": ")", "{": "}", "[": "]"}[opening])
            if name in ("max", "min", "gcd", "lcm") and len(found) < 2:
                raise _Unreadable
            return found
        if name in ("max", "min", "gcd", "lcm", "exp", "floor", "ceil", "abs"):
            raise _Unreadable
        node = self.power()
        while True:
            token = self.peek()
            if not self._starts_atom(token) or token[1:] in _FUNCTIONS:
                return [node]
            if token[0].isdigit() or token[0] == ".":
                raise _Unreadable
            if token in ("(", "[", "{", r"\sqrt", r"\frac"):
                self.doubts.add("end of a function's argument")
            node = ("mul", node, self.power())


# --- evaluation ---------------------------------------------------------------------------------------------------


def evaluate(node: Node, values: Mapping[str, Any], decimals: Sequence[Fraction], log10: bool = False) -> Any:
    """The number: a Fraction where all steps are exact, else fifty digits, perhaps complex. Undefined where there is none."""
    try:
        value = _evaluate(node, values, decimals)
    except (ZeroDivisionError, OverflowError, ValueError, TypeError, mpmath.libmp.NoConvergence) as error:
        raise Undefined(str(error)) from error
    if not isinstance(value, Fraction):
        if not CONTEXT.isfinite(value):
            raise Undefined("infinite")
        if isinstance(value, CONTEXT.mpc) and abs(value.imag) < abs(value.real) * CONTEXT.mpf(10) ** -40:
            value = value.real
    return value


def _evaluate(node: Node, values: Mapping[str, Any], decimals: Sequence[Fraction]) -> Any:
    kind = node[0]
    if kind == "num":
        return node[1]
    if kind == "dec":
        return decimals[node[1]]
    if kind == "sym":
        return values[node[1]]
    if kind == "const":
        return {"pi": CONTEXT.pi, "e": CONTEXT.e, "i": CONTEXT.j}[node[1]] * CONTEXT.mpf(1)
    parts = [_evaluate(part, values, decimals) for part in node[1:] if not isinstance(part, str)]
    if kind == "neg":
        return -parts[0]
    if kind == "add":
        total = parts[0]
        for part in parts[1:]:
            total = _both(total, part, "add")
        return total
    if kind == "mul":
        return _both(parts[0], parts[1], "mul")
    if kind == "div":
        if parts[1] == 0:
            raise ZeroDivisionError
        return _both(parts[0], parts[1], "div")
    if kind == "pow":
        return _power(parts[0], parts[1])
    if kind == "root":
        return _root(parts[0], parts[1])
    return _call(node[1], parts)


def _real(value: Any) -> Any:
    return CONTEXT.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def _both(left: Any, right: Any, operation: str) -> Any:
    if not (isinstance(left, Fraction) and isinstance(right, Fraction)):
        left, right = _real(left), _real(right)
    elif max(left.numerator.bit_length(), right.numerator.bit_length(), left.denominator.bit_length()) > MAX_BITS:
        left, right = _real(left), _real(right)
    return left + right if operation == "add" else left * right if operation == "mul" else left / right


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(exponent, Fraction) and exponent.denominator == 1 and isinstance(base, Fraction):
        if base == 0 and exponent < 0:
            raise ZeroDivisionError
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(exponent) * size <= MAX_BITS:
            return base ** int(exponent)
    if isinstance(exponent, Fraction) and abs(exponent) > 10**15:
        raise OverflowError
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 2 and abs(exponent) < 100:
        root = _root(base, Fraction(2))
        return _power(root, Fraction(exponent.numerator))
    if base == 0:
        if exponent == 0:
            return Fraction(1)
        return CONTEXT.mpf(0) if exponent > 0 else CONTEXT.inf
    return CONTEXT.power(_real(base), _real(exponent))


def _root(value: Any, index: Any) -> Any:
    if isinstance(value, Fraction) and index == 2 and value >= 0:
        top, below = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if top * top == value.numerator and below * below == value.denominator:
            return Fraction(top, below)
    if isinstance(index, Fraction) and index.denominator == 1 and index > 0:
        if index % 2 and not isinstance(value, CONTEXT.mpc) and value < 0:
            return -_root(-value, index)  # the real root, as \sqrt[3]{-8} is meant
        if index == 2:
            return CONTEXT.sqrt(_real(value))
        rooted = CONTEXT.root(_real(value), int(index)) if index < 1000 else CONTEXT.power(_real(value), 1 / _real(index))
        nearest = Fraction(int(CONTEXT.nint(rooted.real))) if abs(rooted) < 10**15 else None
        exact = isinstance(value, Fraction) and nearest is not None and index < 100 and nearest ** int(index) == value
        return nearest if exact else rooted
    return CONTEXT.power(_real(value), 1 / _real(index))


def _call(name: str, parts: Sequence[Any]) -> Any:
    if name == "abs":
        return abs(parts[0])
    if name in ("max", "min"):
        if any(isinstance(part, CONTEXT.mpc) for part in parts):
            raise TypeError
        return (max if name == "max" else min)(parts, key=_real)
    if name in _WHOLE:
        return _whole(name, parts)
    if name in ("floor", "ceil"):
        if isinstance(parts[0], Fraction):
            return Fraction(math.floor(parts[0]) if name == "floor" else math.ceil(parts[0]))
        nearest = CONTEXT.nint(parts[0])
        if abs(parts[0] - nearest) < CONTEXT.mpf(10) ** -30:
            raise TypeError  # on the edge
        return Fraction(int(CONTEXT.floor(parts[0]) if name == "floor" else CONTEXT.ceil(parts[0])))
    value = _real(parts[0])
    if name == "lg":
        return CONTEXT.log(value, 10)
    if name in ("ln", "log") and value == 0:
        raise ZeroDivisionError
    function = getattr(CONTEXT, {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh"}.get(name, name))  # fmt: skip
    found = function(value)
    if name in ("sin", "cos", "tan", "cot") and abs(found) < CONTEXT.mpf(10) ** -45:
        return CONTEXT.mpf(0) if name != "cot" else found
    if name in ("tan", "sec", "csc", "cot") and abs(found) > CONTEXT.mpf(10) ** 40:
        raise ZeroDivisionError
    return found


_WHOLE = frozenset(("factorial", "factorial2", "subfactorial", "binomial", "permutations", "gcd", "lcm"))


def _whole(name: str, parts: Sequence[Any]) -> Any:
    """Functions of whole numbers; factorials and binomials also of others, by the gamma function."""
    if all(isinstance(part, Fraction) and part.denominator == 1 for part in parts):
        numbers = [int(part) for part in parts]
        if name in ("gcd", "lcm"):
            return Fraction(math.gcd(*numbers) if name == "gcd" else math.lcm(*numbers))
        if all(0 <= n <= 4_000 for n in numbers):
            n = numbers[0]
            if name == "factorial":
                return Fraction(math.factorial(n))
            if name == "factorial2":
                return Fraction(math.prod(range(n, 0, -2)))
            if name == "subfactorial":
                return Fraction(round(sum(Fraction((-1) ** k * math.factorial(n), math.factorial(k)) for k in range(n + 1))))
            return Fraction(math.comb(*numbers) if name == "binomial" else math.perm(*numbers))
    values = [_real(part) for part in parts]
    if any(abs(value) > 10**6 for value in values):
        raise OverflowError
    if name == "factorial":
        return CONTEXT.factorial(values[0])
    if name == "factorial2":
        return CONTEXT.fac2(values[0])
    if name == "binomial":
        return CONTEXT.binomial(*values)
    if name == "permutations":
        return CONTEXT.factorial(values[0]) / CONTEXT.factorial(values[0] - values[1])
    raise TypeError
