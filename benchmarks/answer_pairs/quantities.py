"""Numbers with a word behind them: magnitudes, units, rates, money, the time of day."""

import random
from fractions import Fraction

from answer_pairs.numbers import digits_of
from answer_pairs.pair import Pair, paired

MAGNITUDES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12, "lakh": 10**5, "crore": 10**7}  # fmt: skip

# dimension -> unit -> (size in the first unit, spellings)
UNITS: dict[str, dict[str, tuple[Fraction, tuple[str, ...]]]] = {
    "length": {
        "m": (Fraction(1), ("m", "meters", "metres")),
        "cm": (Fraction(1, 100), ("cm", "centimeters")),
        "mm": (Fraction(1, 1000), ("mm", "millimeters")),
        "km": (Fraction(1000), ("km", "kilometers")),
    },
    "imperial length": {
        "ft": (Fraction(1), ("feet", "ft")),
        "in": (Fraction(1, 12), ("inches",)),
        "yd": (Fraction(3), ("yards",)),
        "mi": (Fraction(5280), ("miles",)),
    },
    "mass": {
        "g": (Fraction(1), ("g", "grams")),
        "kg": (Fraction(1000), ("kg", "kilograms")),
        "mg": (Fraction(1, 1000), ("mg", "milligrams")),
    },
    "pounds": {"lb": (Fraction(1), ("pounds", "lb")), "oz": (Fraction(1, 16), ("ounces", "oz"))},
    "time": {
        "min": (Fraction(1), ("minutes", "min")),
        "h": (Fraction(60), ("hours", "h")),
        "s": (Fraction(1, 60), ("seconds", "s")),
        "day": (Fraction(1440), ("days",)),
        "week": (Fraction(10_080), ("weeks",)),
    },
    "volume": {"L": (Fraction(1), ("L", "liters", "litres")), "mL": (Fraction(1, 1000), ("mL", "milliliters"))},
    "area": {
        "m2": (Fraction(1), ("m^2", "square meters")),
        "cm2": (Fraction(1, 10_000), ("cm^2", "square centimeters")),
        "km2": (Fraction(10**6), ("km^2", "square kilometers")),
    },
    "space": {
        "m3": (Fraction(1), ("m^3", "cubic meters")),
        "cm3": (Fraction(1, 10**6), ("cm^3", "cubic centimeters")),
    },
}
SINGULAR = {"feet": "foot", "inches": "inch"}


def short(value: Fraction) -> str | None:
    """A decimal of at most six places, or nothing."""
    text = digits_of(value)
    return text if text and len(text.partition(".")[2]) <= 6 and abs(value) < 10**10 else None


def magnitude(rng: random.Random) -> Pair:
    """3 million: the word is a factor, never a unit to drop."""
    word = rng.choice(list(MAGNITUDES))
    head = (
        Fraction(rng.randint(1, 99), rng.choice([1, 1, 1, 10, 2])) if word != "dozen" else Fraction(rng.randint(1, 40))
    )
    noun = rng.choice(["", "", " people", " dollars"])

    def with_word(value: Fraction, name: str) -> str | None:
        text = short(value / MAGNITUDES[name])
        return rng.choice([f"{text} {name}{noun}", rf"{text}\text{{ {name}{noun}}}"]) if text else None

    def in_full(value: Fraction) -> str | None:
        return rng.choice([str(value), f"{int(value):,}"]) + noun if value.denominator == 1 else None

    value = head * MAGNITUDES[word]
    gold = with_word(value, word)
    assert gold is not None
    if rng.random() < 0.5:
        others = [with_word(value, n) for n in MAGNITUDES if n not in (word, "hundred", "dozen")]
        texts = [t for t in (*others, in_full(value)) if t and len(t) < 40]
        text = rng.choice(texts or [gold])
        gold, text = rng.choice([(gold, text), (text, gold)])
        return Pair("magnitude", f"{word} / another spelling", gold, text, True)
    other = rng.choice([n for n in MAGNITUDES if n != word])
    ways = {
        f"same number, {other}": with_word(head * MAGNITUDES[other], other),
        "one more": with_word((head + 1) * MAGNITUDES[word], word),
    }
    if head.denominator == 1:
        ways["the word left out"] = f"{head}{noun}"
    name = rng.choice(list(ways))
    text = ways[name]
    assert text is not None
    return Pair("magnitude", f"{word} / {name}", gold, text, False)


def with_unit(rng: random.Random, text: str, name: str) -> str:
    power = "^" in name
    if power:
        base, _, exponent = name.partition("^")
        return rng.choice(
            [f"{text} {name}", rf"{text}\text{{ {base}}}^{exponent}", rf"{text} \text{{ {base}}}^{{{exponent}}}"]
        )
    if text == "1":
        name = SINGULAR.get(name, name.removesuffix("s") if len(name) > 2 else name)
    return rng.choice(
        [
            f"{text} {name}",
            rf"{text}\text{{ {name}}}",
            rf"{text}\ \mathrm{{{name}}}" if " " not in name else f"{text} {name}",
        ]
    )


def unit(rng: random.Random) -> Pair:
    """Lengths, masses, times, areas: converted rightly, converted wrongly, or the same number with another unit."""
    while True:
        dimension = rng.choice(list(UNITS))
        units = UNITS[dimension]
        ours, theirs = rng.choice(list(units)), rng.choice(list(units))
        number = rng.choice(
            [Fraction(rng.randint(1, 500)), Fraction(rng.randint(1, 400), 4), Fraction(rng.randint(1, 99), 10)]
        )
        converted = number * units[ours][0] / units[theirs][0]
        text, again = short(number), short(converted)
        if text and again:
            break
    gold = with_unit(rng, text, rng.choice(units[ours][1]))
    if rng.random() < 0.5:
        return Pair(
            "unit", f"{dimension}: {ours} / {theirs}", gold, with_unit(rng, again, rng.choice(units[theirs][1])), True
        )
    roll = rng.random()
    if roll < 0.4:  # the same number, another size
        other = rng.choice([u for u in units if u != ours])
        return Pair(
            "unit", f"same number: {ours} / {other}", gold, with_unit(rng, text, rng.choice(units[other][1])), False
        )
    if roll < 0.7:  # the same number, another dimension
        foreign = rng.choice(
            [
                d
                for d in UNITS
                if d.split()[-1] != dimension.split()[-1]
                and {d, dimension} != {"mass", "pounds"}
                and {d, dimension} != {"volume", "space"}
            ]
        )
        other = rng.choice(list(UNITS[foreign]))
        return Pair(
            "unit",
            f"another dimension: {ours} / {other}",
            gold,
            with_unit(rng, text, rng.choice(UNITS[foreign][other][1])),
            False,
        )
    wrong = short(converted * rng.choice([10, Fraction(1, 10), 2])) or short(converted + 1) or "7777"
    return Pair(
        "unit", f"wrong conversion: {ours} / {theirs}", gold, with_unit(rng, wrong, rng.choice(units[theirs][1])), False
    )


def rate(rng: random.Random) -> Pair:
    """Speeds and prices per time: per hour in several spellings, converted, or per something else."""
    number = rng.randint(2, 400)
    things = [
        ("km", "hour", "h"),
        ("miles", "hour", "hour"),
        ("m", "second", "s"),
        ("dollars", "hour", "hour"),
        ("liters", "minute", "min"),
        ("pages", "day", "day"),
        ("words", "minute", "minute"),
    ]
    thing, time, symbol = rng.choice(things)

    def spelled(n: int | str, per: str, mark: str) -> str:
        return rng.choice(
            [
                f"{n} {thing} per {per}",
                f"{n} {thing}/{mark}",
                f"{n} {thing}/{per}",
                rf"{n}\text{{ {thing}/{mark}}}",
                rf"{n}\text{{ {thing} per {per}}}",
            ]
        )

    gold = spelled(number, time, symbol)
    roll = rng.random()
    if roll < 0.3:
        return Pair("rate", "spelling", gold, spelled(number, time, symbol), True)
    if roll < 0.5:
        ms = Fraction(rng.randint(1, 60))
        pair = (f"{ms * 18 / 5} km/h" if (ms * 18 / 5).denominator == 1 else f"{short(ms * 18 / 5)} km/h", f"{ms} m/s")
        gold, text = rng.sample(pair, 2)
        return Pair("rate", "km/h and m/s", gold, text, True)
    others = {"hour": "minute", "second": "hour", "minute": "hour", "day": "week"}
    if roll < 0.8:
        other = others[time]
        return Pair("rate", "per another time", gold, spelled(number, other, other), False)
    return Pair("rate", "another number", gold, spelled(number + 1, time, symbol), False)


def money(rng: random.Random) -> Pair:
    """Dollars and cents."""
    cents = rng.choice([rng.randint(1, 99), rng.randint(100, 20_000), 100 * rng.randint(1, 5_000)])

    def sign(c: int) -> str:
        return f"${c / 100:,.2f}"

    def latex_sign(c: int) -> str:
        return rf"\${c / 100:.2f}"

    def whole(c: int) -> str | None:
        return f"${c // 100:,}" if c % 100 == 0 else None

    def dollars(c: int) -> str | None:
        if c % 100 == 0:
            return f"{c // 100} dollars" if c != 100 else "1 dollar"
        return f"{c / 100:.2f} dollars"

    def latex_dollars(c: int) -> str | None:
        return rf"{c // 100}\text{{ dollars}}" if c % 100 == 0 and c != 100 else None

    def in_cents(c: int) -> str | None:
        return (f"{c} cents" if c != 1 else "1 cent") if c < 1000 else None

    def cent_sign(c: int) -> str | None:
        return f"{c}¢" if c < 1000 else None

    def dollars_and_cents(c: int) -> str | None:
        return f"{c // 100} dollars and {c % 100} cents" if c > 200 and c % 100 > 1 else None

    def code(c: int) -> str:
        return f"{c / 100:.2f} USD"

    writers = [sign, latex_sign, whole, dollars, latex_dollars, in_cents, cent_sign, dollars_and_cents, code]
    if rng.random() < 0.5:
        return paired(rng, "money", cents, None, writers)
    ways = {"a cent more": cents + 1, "a hundred times": cents * 100, "a dollar more": cents + 100}
    if cents % 100 == 0:
        ways["cents for dollars"] = cents // 100
    word = rng.choice(list(ways))
    return paired(rng, "money", cents, ways[word], writers, word)


def clock(rng: random.Random) -> Pair:
    """The time of day on 12 and 24 hours."""
    minutes = rng.randrange(24 * 60)
    if minutes % 720 < 60:  # midnight and noon have conventions of their own
        minutes += 60

    def twelve(m: int) -> str:
        return f"{m // 60 % 12 or 12}:{m % 60:02d} {'AM' if m < 720 else 'PM'}"

    def dotted(m: int) -> str:
        return f"{m // 60 % 12 or 12}:{m % 60:02d} {'a.m.' if m < 720 else 'p.m.'}"

    def padded(m: int) -> str:
        return f"{m // 60 % 12 or 12:02d}:{m % 60:02d} {'A.M.' if m < 720 else 'P.M.'}"

    def latex(m: int) -> str:
        return rf"{m // 60 % 12 or 12}:{m % 60:02d} \text{{ {'a.m.' if m < 720 else 'p.m.'}}}"

    def hour_alone(m: int) -> str | None:
        return f"{m // 60 % 12 or 12} {'am' if m < 720 else 'pm'}" if m % 60 == 0 else None

    def twenty_four(m: int) -> str | None:
        return f"{m // 60}:{m % 60:02d}" if m >= 780 else None  # 13:00 and later

    writers = [twelve, dotted, padded, latex, hour_alone, twenty_four]
    if rng.random() < 0.5:
        return paired(rng, "clock", minutes, None, writers)
    ways = {"a minute later": minutes + 1, "an hour later": minutes + 60, "the other half of the day": minutes + 720}
    word = rng.choice(list(ways))
    other = ways[word] % 1440
    if other % 720 < 60:
        other = (other + 90) % 1440
        word = "later"
    return paired(rng, "clock", minutes, other, writers, word)
