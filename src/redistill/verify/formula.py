"""Mathematics as written -> a tree; all of the text, or nothing.

    read_formula("2x + \\frac{1}{2}")     ->  Formula(node=("add", ...), symbols={"x"}, ...)
    read_formula("2x + \\int f")          ->  None, for \\int is not in this grammar

What a Formula was read from has no part left over: that is what makes a verdict `incorrect` possible. Notation that has
two readings (1/2x, \\log without a base, \\sin x(x+1)) is read in the usual one and named in `doubts`: such a formula can be
seen to be equal, never to be different.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

MAX_LENGTH = 600  # characters of a formula read here
MAX_DEPTH = 60

Node = tuple[Any, ...]

_FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "arccot",
        "sinh",
        "cosh",
        "tanh",
        "coth",
        "ln",
        "log",
        "lg",
        "exp",
        "sqrt",
        "abs",
        "max",
        "min",
        "gcd",
        "lcm",
        "floor",
        "ceil",
        "asin",
        "acos",
        "atan",
        "arcsinh",
        "arccosh",
        "arctanh",
    ]
)
_GREEK = frozenset(
    [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "varepsilon",
        "zeta",
        "eta",
        "theta",
        "vartheta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "rho",
        "sigma",
        "tau",
        "upsilon",
        "phi",
        "varphi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Pi",
        "Sigma",
        "Phi",
        "Psi",
        "Omega",
        "ell",
        "hbar",
    ]
)
_TIMES = frozenset((r"\cdot", r"\times", "*", r"\ast"))
_OVER = frozenset(("/", r"\div"))
_ARC = {
    "sin": "arcsin",
    "cos": "arccos",
    "tan": "arctan",
    "cot": "arccot",
    "sinh": "arcsinh",
    "cosh": "arccosh",
    "tanh": "arctanh",
}
_TOKEN = re.compile(
    r"\s*(?:(\d+(?:\.\d+)?|\.\d+)|(\\[A-Za-z]+|\\[|])|([A-Za-z]+)|(\*\*|!!|[-+*/^_!(){}\[\],|'%=<>;&]))"
)
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
        taken = self.peek()
        if not taken or (token and taken != token):
            raise _Unreadable
        self.position += 1
        return taken

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
                if (token[0].isdigit() or token[0] == ".") and not (self._after_power() or self._after_factorial()):
                    raise _Unreadable  # 3 4 is not a product, nor is x2; 2^6 3^5 is one
                if slash:
                    self.doubts.add("slash")  # 1/2x
                node = ("mul", node, self.power())
            else:
                return node

    def _after_power(self) -> bool:
        """Whether a power of a number lies before and a power ahead: 2^6 3^5."""
        return self.peek(1) == "^" and bool(
            re.search(r"(?<![A-Za-z])\d+\^(?:\d+|\{\d+\})$", "".join(self.tokens[: self.position]))
        )

    def _after_factorial(self) -> bool:
        """3!7! is a product."""
        return self.tokens[self.position - 1] == "!"

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
            token = self.take()
            if not token.isalnum():
                raise _Unreadable
            return token
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
            terms = [self.sum()]
            while self.peek() == "," and name in ("max", "min", "gcd", "lcm"):
                self.take()
                terms.append(self.sum())
            self.bars = bars
            self.take({"(": ")", "{": "}", "[": "]"}[opening])
            if name in ("max", "min", "gcd", "lcm") and len(terms) < 2:
                raise _Unreadable
            return terms
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
