"""Numbers: a value as a Fraction, and the ways to write it."""

import math
import random
from fractions import Fraction

from answer_pairs.pair import Pair, paired, write

ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
FULL_WIDTH = str.maketrans("0123456789-", "０１２３４５６７８９－")


# --- integers ----------------------------------------------------------------------------------------------------------


def plain(value: int) -> str:
    return str(value)


def latex_minus(value: int) -> str | None:
    return f"$-{-value}$" if value < 0 else f"${value}$"


def unicode_minus(value: int) -> str | None:
    return f"\u2212{-value}" if value < 0 else None


def plus_sign(value: int) -> str | None:
    return f"+{value}" if value > 0 else None


def commas(value: int) -> str | None:
    return f"{value:,}" if abs(value) >= 1000 else None


def latex_commas(value: int) -> str | None:
    return f"{value:,}".replace(",", "{,}") if abs(value) >= 1000 else None


def latex_thin_space(value: int) -> str | None:
    return f"{value:,}".replace(",", r"\,") if abs(value) >= 1000 else None


def spaces(value: int) -> str | None:
    return f"{value:,}".replace(",", "\u202f") if abs(value) >= 10_000 else None


def dots(value: int) -> str | None:
    return f"{value:,}".replace(",", ".") if abs(value) >= 1_000_000 else None  # two groups or more: no decimal point


def apostrophes(value: int) -> str | None:
    return f"{value:,}".replace(",", "'") if abs(value) >= 1_000_000 else None


def indian(value: int) -> str | None:
    if value < 100_000:
        return None
    head, tail = divmod(value, 1000)
    text = str(head)
    groups = []
    while text:
        groups.insert(0, text[-2:])
        text = text[:-2]
    return ",".join([*groups, f"{tail:03d}"])


def full_width(value: int) -> str:
    return str(value).translate(FULL_WIDTH)


def in_words(value: int) -> str | None:
    if not 0 <= value < 100:
        return None
    if value < 20:
        return ONES[value]
    ten, one = divmod(value, 10)
    return TENS[ten - 2] + (f"-{ONES[one]}" if one else "")


def with_zeros_after_point(value: int) -> str:
    return f"{value}.0"


def bold(value: int) -> str:
    return rf"\mathbf{{{value}}}"


def as_quotient(value: int) -> str:
    return rf"\frac{{{3 * value}}}{{3}}" if value >= 0 else rf"-\frac{{{-3 * value}}}{{3}}"


def as_sum(value: int) -> str:
    return f"{value - 7}+7"


def as_product(value: int) -> str | None:
    divisor = next((d for d in (2, 3, 5, 7) if value and value % d == 0 and value != d), None)
    return rf"{divisor} \times {value // divisor}" if divisor and value > 0 else None


INTEGER = [
    plain, latex_minus, unicode_minus, plus_sign, commas, latex_commas, latex_thin_space, spaces, dots, apostrophes, indian,
    full_width, in_words, with_zeros_after_point, bold, as_quotient, as_sum, as_product,
]  # fmt: skip


def any_integer(rng: random.Random) -> int:
    value = rng.choice(
        [rng.randint(0, 99), rng.randint(100, 9_999), rng.randint(10_000, 9_999_999), rng.randint(10**7, 10**12)]
    )
    return -value if rng.random() < 0.3 else value


def near_integer(rng: random.Random, value: int) -> tuple[int, str]:
    """Another integer that a careless reader takes for this one."""
    ways = {
        "off by one": value + rng.choice([-1, 1]),
        "times ten": value * 10,
        "times a thousand": value * 1000,
        "sign": -value,
    }
    text = str(abs(value))
    if len(text) > 1 and text[-1] != text[-2]:
        ways["digits swapped"] = int(text[:-2] + text[-1] + text[-2]) * (1 if value >= 0 else -1)
    word = rng.choice([w for w, v in ways.items() if v != value])
    return ways[word], word


def integer(rng: random.Random) -> Pair:
    """Whole numbers in digits, groups of many countries, full-width digits, words and small calculations."""
    value = any_integer(rng)
    if rng.random() < 0.5:
        return paired(rng, "integer", value, None, INTEGER)
    other, word = near_integer(rng, value)
    return paired(rng, "integer", value, other, INTEGER, word)


# --- fractions ---------------------------------------------------------------------------------------------------------

VULGAR = {Fraction(1, 2): "½", Fraction(1, 3): "⅓", Fraction(2, 3): "⅔", Fraction(1, 4): "¼", Fraction(3, 4): "¾", Fraction(1, 5): "⅕", Fraction(3, 8): "⅜", Fraction(5, 8): "⅝", Fraction(1, 8): "⅛", Fraction(5, 6): "⅚"}  # fmt: skip


def sign_of(value: Fraction) -> str:
    return "-" if value < 0 else ""


def slash(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"


def frac(value: Fraction) -> str:
    return rf"{sign_of(value)}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def dfrac(value: Fraction) -> str:
    return rf"{sign_of(value)}\dfrac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def minus_inside(value: Fraction) -> str | None:
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}" if value < 0 else None


def not_reduced(value: Fraction) -> str:
    return rf"{sign_of(value)}\frac{{{6 * abs(value.numerator)}}}{{{6 * value.denominator}}}"


def short_frac(value: Fraction) -> str | None:
    one_digit = 0 < value.numerator < 10 and value.denominator < 10
    return rf"\frac{value.numerator}{value.denominator}" if one_digit else None


def mixed(value: Fraction) -> str | None:
    whole, rest = divmod(value, 1)
    return f"{whole} {slash(rest)}" if value > 1 and rest else None


def latex_mixed(value: Fraction) -> str | None:
    whole, rest = divmod(value, 1)
    return f"{whole}{frac(rest)}" if value > 1 and rest else None


def vulgar(value: Fraction) -> str | None:
    whole, rest = divmod(value, 1)
    return f"{whole or ''}{VULGAR[rest]}" if value > 0 and rest in VULGAR else None


def digits_of(value: Fraction) -> str | None:
    """The whole decimal, where it ends after ten places or fewer."""
    places = next((k for k in range(11) if 10**k % value.denominator == 0), None)
    if places is None:
        return None
    scaled = abs(value.numerator) * 10**places // value.denominator
    return f"{sign_of(value)}{scaled // 10**places}" + (f".{scaled % 10**places:0{places}d}" if places else "")


def decimal_point(value: Fraction) -> str | None:
    return digits_of(value)


def more_zeros(value: Fraction) -> str | None:
    return f"{digits_of(value)}00" if digits_of(value) and value.denominator > 1 else None


def no_leading_zero(value: Fraction) -> str | None:
    text = digits_of(value)
    return text.replace("0.", ".", 1) if text and abs(value) < 1 and value.denominator > 1 else None


def repeating(value: Fraction) -> tuple[str, str, str] | None:
    """(whole, digits before the period, period) of a decimal that never ends and repeats within 8 digits."""
    whole, rest = divmod(abs(value), 1)
    digits: list[int] = []
    seen: dict[int, int] = {}
    remainder = rest.numerator
    while remainder and remainder not in seen:
        seen[remainder] = len(digits)
        digit, remainder = divmod(10 * remainder, rest.denominator)
        digits.append(digit)
    if not remainder or len(digits) > 8:
        return None
    text = "".join(map(str, digits))
    return f"{sign_of(value)}{whole}", text[: seen[remainder]], text[seen[remainder] :]


def overline(value: Fraction) -> str | None:
    found = repeating(value)
    return rf"{found[0]}.{found[1]}\overline{{{found[2]}}}" if found else None


def parenthesised_period(value: Fraction) -> str | None:
    found = repeating(value)
    return f"{found[0]}.{found[1]}({found[2]})" if found else None


def dotted_period(value: Fraction) -> str | None:
    found = repeating(value)
    return rf"{found[0]}.{found[1]}\dot{{{found[2]}}}" if found and len(found[2]) == 1 else None


def trailing_dots(value: Fraction) -> str | None:
    found = repeating(value)
    return f"{found[0]}.{found[1]}{found[2] * 4}..." if found and len(found[2]) == 1 else None


def negative_power(value: Fraction) -> str | None:
    return f"{value.denominator}^{{-1}}" if value.numerator == 1 else None


FRACTION = [
    slash, frac, dfrac, minus_inside, not_reduced, short_frac, mixed, latex_mixed, vulgar, decimal_point, more_zeros,
    no_leading_zero, overline, parenthesised_period, dotted_period, trailing_dots, negative_power,
]  # fmt: skip


def any_fraction(rng: random.Random) -> Fraction:
    while True:
        bottom = rng.choice([2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 15, 16, 20, 25, 33, 40, 90, 99, rng.randint(2, 999)])
        value = Fraction(rng.randint(1, rng.choice([bottom, 5 * bottom])), bottom)
        if value.denominator > 1:
            return -value if rng.random() < 0.2 else value


def near_fraction(rng: random.Random, value: Fraction) -> tuple[Fraction, str]:
    whole, rest = divmod(abs(value), 1)
    ways = {
        "upside down": 1 / value,
        "numerator": value + Fraction(1, value.denominator),
        "denominator": Fraction(value.numerator, value.denominator + 1),
        "sign": -value,
        "ten times": value * 10,
    }
    if whole:
        ways["product for a mixed number"] = whole * rest
    found = repeating(value)
    if (
        found and found[2] != "9"
    ):  # cut at the period: 0.16 for 1/6, but 0.428571 is 3/7 rounded to the digits that it shows
        shown = (found[1] + found[2]).rstrip("0")
        cut = Fraction(f"{found[0]}.{shown}0")
        if 2 * abs(value - cut) > Fraction(1, 10 ** len(shown)):
            ways["period dropped"] = cut
    word = rng.choice([w for w, v in ways.items() if v != value])
    return ways[word], word


def fraction(rng: random.Random) -> Pair:
    """Rational numbers as quotients, mixed numbers, finite and repeating decimals."""
    value = any_fraction(rng)
    if rng.random() < 0.5:
        return paired(rng, "fraction", value, None, FRACTION)
    other, word = near_fraction(rng, value)
    gold, one = write(rng, value, FRACTION)
    exact = [w for w in FRACTION if w is not trailing_dots]
    prediction, two = write(rng, other, exact)
    return Pair("fraction", f"{word}: {one} / {two}", gold, prediction, False)


# --- decimals and rounding ---------------------------------------------------------------------------------------------


def rounded_half_up(value: Fraction, places: int) -> str:
    scaled = abs(value) * 10**places
    whole = int(scaled + Fraction(1, 2))
    return f"{sign_of(value) if whole else ''}{whole // 10**places}.{whole % 10**places:0{places}d}"


def decimal(rng: random.Random) -> Pair:
    """Long decimals: the same value, its rounding, or a value apart at the digits shown."""
    places = rng.randint(4, 8)  # the last one is not a zero
    value = rng.randint(0, rng.choice([1, 20, 3_000_000])) + Fraction(
        rng.randint(10 ** (places - 2), 10 ** (places - 1) - 1) * 10 + rng.randint(1, 9), 10**places
    )
    gold = digits_of(value)
    assert gold is not None and "." in gold
    shown = rng.randint(3, places - 1) if value < 1 else rng.randint(2, places - 1)  # three significant digits or more
    roll = rng.random()
    if roll < 0.25:
        text = f"{int(value):,}{gold[gold.index('.') :]}" if value >= 1000 else f"{gold}0"
        return Pair("decimal", "groups or one more zero", gold, text, True)
    if roll < 0.5:
        return Pair("decimal", "rounded", gold, rounded_half_up(value, shown), True)
    if roll < 0.75:
        other = value
        while other == value or other * 10**places % 10 == 0:  # a shorter decimal might be a rounding of this one
            other = value + Fraction(rng.choice([1, 2, 5]), 10 ** rng.randint(1, places))
        return Pair("decimal", "a digit changed", gold, digits_of(other) or "", False)
    wrong = Fraction(rounded_half_up(value, shown)) + Fraction(rng.choice([2, 3]), 10**shown)
    return Pair("decimal", "a wrong rounding", gold, rounded_half_up(wrong, shown), False)


def percent_sign(value: Fraction) -> str | None:
    text = digits_of(value * 100)
    return f"{text}%" if text else None


def latex_percent(value: Fraction) -> str | None:
    text = digits_of(value * 100)
    return rf"{text}\%" if text else None


def percent_word(value: Fraction) -> str | None:
    text = digits_of(value * 100)
    return f"{text} percent" if text else None


def per_cent_text(value: Fraction) -> str | None:
    text = digits_of(value * 100)
    return rf"{text}\text{{ percent}}" if text else None


PERCENT = [percent_sign, latex_percent, percent_word, per_cent_text]


def percent(rng: random.Random) -> Pair:
    """Percentages against one another and against shares; 28% and 28 are a convention and are not paired."""
    value = Fraction(rng.randint(1, 400), rng.choice([100, 200, 400, 1000]))
    if rng.random() < 0.5:
        gold, one = write(rng, value, PERCENT)
        prediction, two = write(rng, value, [*PERCENT, slash, frac, decimal_point], avoid=one)
        if rng.random() < 0.5:
            gold, prediction = prediction, gold
        return Pair("percent", f"{one} / {two}", gold, prediction, True)
    other = value + Fraction(rng.choice([-1, 1, 2, 10]), 100)
    while other <= 0 or other in (value, value * 100, value / 100):
        other += Fraction(3, 1000)
    gold, one = write(rng, value, PERCENT)
    prediction, two = write(rng, other, PERCENT)
    return Pair("percent", f"another share: {one} / {two}", gold, prediction, False)


# --- powers of ten, counting, bases, complex numbers -------------------------------------------------------------------


def scientific(rng: random.Random) -> Pair:
    """a times 10^k in many spellings; different ones have another exponent or another a."""
    mantissa, exponent = Fraction(rng.randint(11, 99), 10), rng.choice([*range(-6, 0), *range(2, 10)])
    is_same = rng.random() < 0.5
    other, power = mantissa, exponent
    if not is_same:
        if rng.random() < 0.5:
            power += rng.choice([-1, 1, 2])
        else:
            other += Fraction(1, 10)

    def spelled(a: Fraction, k: int) -> tuple[str, str]:
        head = digits_of(a)
        forms = {
            "times": rf"{head} \times 10^{{{k}}}",
            "cdot": rf"{head} \cdot 10^{{{k}}}",
            "e": f"{head}e{k}",
            "E": f"{head}E{k:+d}",
            "sign": f"{head} × 10^{k}",
            "long": digits_of(a * Fraction(10) ** k) or "",
        }
        name = rng.choice([n for n, text in forms.items() if text])
        return forms[name], name

    (gold, one), (prediction, two) = spelled(mantissa, exponent), spelled(other, power)
    return Pair("scientific", f"{one} / {two}" if is_same else f"another: {one} / {two}", gold, prediction, is_same)


def counting(rng: random.Random) -> Pair:
    """Factorials, binomials, permutations, greatest common divisors, powers, floors: against their value or a near one."""
    n = rng.randint(4, 12)
    k = rng.randint(2, n - 2)
    a, b = rng.randint(2, 60), rng.randint(2, 60)
    half = rng.randint(1, 40)
    forms = [
        ("factorial", f"{n}!", math.factorial(n)),
        ("double factorial", f"{n}!!", math.prod(range(n, 0, -2))),
        ("factorial of a factorial", "(3!)!", 720),
        ("binom", rf"\binom{{{n}}}{{{k}}}", math.comb(n, k)),
        ("C(n,k)", f"C({n},{k})", math.comb(n, k)),
        ("C_n^k", f"C_{{{n}}}^{{{k}}}", math.comb(n, k)),
        ("n C k", f"{{}}_{{{n}}}C_{{{k}}}", math.comb(n, k)),
        ("P(n,k)", f"P({n},{k})", math.perm(n, k)),
        ("gcd", rf"\gcd({a}, {b})", math.gcd(a, b)),
        ("lcm", rf"\operatorname{{lcm}}({a}, {b})", math.lcm(a, b)),
        ("power", f"{a % 9 + 2}^{{{k}}}", (a % 9 + 2) ** k),
        ("floor", rf"\lfloor {half}.5 \rfloor", half),
        ("ceiling", rf"\lceil {half}.5 \rceil", half + 1),
        ("absolute value", f"|-{a}|", a),
        ("quotient of factorials", rf"\frac{{{n}!}}{{{k}!}}", math.factorial(n) // math.factorial(k)),
        ("powers of primes", f"2^{{{k}}} \\cdot 3^{{{n % 4 + 1}}}", 2**k * 3 ** (n % 4 + 1)),
    ]
    name, text, value = rng.choice(forms)
    is_same = rng.random() < 0.5
    shown, word = (value, "") if is_same else near_integer(rng, value)
    written, how = write(rng, shown, [plain, commas, latex_minus])
    gold, prediction = (text, written) if rng.random() < 0.5 else (written, text)
    return Pair("counting", f"{name} / {how}" if is_same else f"{word}: {name}", gold, prediction, is_same)


def base(rng: random.Random) -> Pair:
    """The same numeral in the same base in several spellings; another digit, or the same digits in another base."""
    b = rng.randint(2, 9)
    value = rng.randint(b**2, b**6)
    digits = ""
    rest = value
    while rest:
        rest, digit = divmod(rest, b)
        digits = f"{digit}{digits}"
    forms = [f"{digits}_{b}", f"{digits}_{{{b}}}", rf"{digits}_{{\text{{{b}}}}}", rf"${digits}_{b}$"]
    if rng.random() < 0.5:
        gold, prediction = rng.sample(forms, 2)
        return Pair("base", "spelling", gold, prediction, True)
    if rng.random() < 0.5:
        digit = rng.choice([d for d in range(b) if str(d) != digits[-1]])
        return Pair("base", "another digit", rng.choice(forms), f"{digits[:-1]}{digit}_{b}", False)
    return Pair("base", "another base", rng.choice(forms), f"{digits}_{{{b + 1}}}", False)


def complex_number(rng: random.Random) -> Pair:
    """a + bi in several orders and spellings; different: conjugate, negative, parts swapped, one part changed."""
    a, b = rng.choice([-1, 1]) * rng.randint(1, 30), rng.choice([-1, 1]) * rng.randint(2, 30)

    def real_first(z: tuple[int, int]) -> str:
        return f"{z[0]}{z[1]:+d}i"

    def spaced(z: tuple[int, int]) -> str:
        return f"{z[0]} {'+' if z[1] > 0 else '-'} {abs(z[1])}i"

    def imaginary_first(z: tuple[int, int]) -> str:
        return f"{z[1]}i{z[0]:+d}"

    def i_in_front(z: tuple[int, int]) -> str:
        return rf"{z[0]}{'+' if z[1] > 0 else '-'}i \cdot {abs(z[1])}"

    def quotient(z: tuple[int, int]) -> str:
        return rf"\frac{{{2 * z[0]}{2 * z[1]:+d}i}}{{2}}"

    writers = [real_first, spaced, imaginary_first, i_in_front, quotient]
    if rng.random() < 0.5:
        return paired(rng, "complex", (a, b), None, writers)
    ways = {
        "conjugate": (a, -b),
        "negative": (-a, -b),
        "real part": (a + 1, b),
        "imaginary part": (a, b + 1),
        "swapped": (b, a),
    }
    word = rng.choice([w for w, z in ways.items() if z != (a, b) and z[1]])
    return paired(rng, "complex", (a, b), ways[word], writers, word)
