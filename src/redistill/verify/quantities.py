"""Units and magnitude words: what a unit's text says, and the factor between two units.

    read_unit("km/h")              ->  Unit(factors=(("hour", -1), ("kilometer", 1)))
    read_unit("million dollars")   ->  Unit(factors=(("dollar", 1),), magnitude=1000000)
    read_unit("red apples")        ->  Unit(nouns={"red", "apple"})
    factor_between(km, m)          ->  Fraction(1000)

Only the names in the table below are units; everything else is a noun that can be the same as another noun or not. The
factors between units are pint's (github.com/hgrecco/pint), exact as fractions. pint is given names from the table and
never text of an answer, and is loaded when two different units meet for the first time.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, reduce

# pint's name: names in answers. Plurals in -s need no mention; names of one or two letters count only as written here.
_TABLE = """
nanometer: nm nanometre; micrometer: um micrometre micron; millimeter: mm millimetre; centimeter: cm cms centimetre; decimeter: dm decimetre
meter: m metre mtr; kilometer: km kms kilometre; inch: in inches; foot: ft feet; yard: yd; mile: mi; nautical_mile: nmi; light_year: lightyear
hectare: ha; acre: acre; liter: l L litre ltr; milliliter: ml mL ML millilitre cc; centiliter: cl cL centilitre; deciliter: dl dL decilitre
gallon: gal; quart: qt; pint: pt; cup: cup; fluid_ounce: floz; tablespoon: tbsp; teaspoon: tsp
milligram: mg milligramme; gram: g gm gramme; kilogram: kg kgs kilo kilogramme; tonne: t tonnes; pound: lb lbs; ounce: oz; microgram: ug
nanosecond: ns; microsecond: us; millisecond: ms; second: s sec; minute: min mins; hour: h hr hrs; day: day; week: wk; fortnight: fortnight
calendar_month: month; calendar_year: year yr yrs; calendar_decade: decade; calendar_century: century centuries
newton: N; kilonewton: kN; joule: J; kilojoule: kJ; calorie: cal; kilocalorie: kcal; watt: W; kilowatt: kW; megawatt: MW; gigawatt: GW
watt_hour: Wh wh; kilowatt_hour: kWh kwh; megawatt_hour: MWh mwh; electron_volt: eV; kiloelectron_volt: keV; megaelectron_volt: MeV
volt: V; millivolt: mV; kilovolt: kV; ampere: A amp; milliampere: mA; microampere: uA; ohm: ohm; kiloohm: kohm; megaohm: Mohm; hertz: Hz hz; kilohertz: kHz khz; megahertz: MHz mhz; gigahertz: GHz ghz; pascal: Pa
kilopascal: kPa kpa; megapascal: MPa; bar: bar; millibar: mbar; psi: psi; atmosphere: atm; mole: mol; farad: farad F; microfarad: uF; nanofarad: nF; microliter: uL ul; coulomb: coulomb; tesla: tesla
arc_degree: degree deg; plane_radian: radian rad; degree_celsius: celsius degc; degree_fahrenheit: fahrenheit degf; degree_kelvin: kelvin K
dollar: dollar usd USD buck; cent: cent cts penny pennies; euro: euro eur EUR; sterling: sterling gbp GBP quid; pence: pence; yen: yen jpy JPY
yuan: yuan rmb RMB CNY cny; jiao: jiao; rupee: rupee inr INR rs Rs; paisa: paisa paise; peso: peso; won: KRW krw; franc: franc chf CHF
"""
_SPEEDS = {"mph": "mile/hour", "kph": "kilometer/hour", "kmh": "kilometer/hour", "kmph": "kilometer/hour", "fps": "foot/second", "mps": "meter/second", "mpg": "mile/gallon"}  # fmt: skip
# What pint lacks, or knows otherwise than a reader: the month and year of the calendar have no fixed number of days, and
# an angle in degrees or a temperature is not converted at all (pi, offsets).
_DEFINITIONS = """
dollar = [us_money]; cent = dollar / 100; euro = [eu_money]; sterling = [uk_money]; pence = sterling / 100; yen = [jp_money]; yuan = [cn_money]
jiao = yuan / 10; rupee = [in_money]; paisa = rupee / 100; peso = [peso_money]; won = [kr_money]; franc = [franc_money]
calendar_month = [calendar]; calendar_year = 12 calendar_month; calendar_decade = 10 calendar_year; calendar_century = 100 calendar_year
arc_degree = [degrees]; plane_radian = [radians]; degree_kelvin = [kelvins]
degree_fahrenheit_ = [fahrenheits]; degree_celsius_ = [celsiuses]
"""
_PINT_NAMES = {"degree_fahrenheit": "degree_fahrenheit_", "degree_celsius": "degree_celsius_"}
MAGNITUDES: dict[str, int | Fraction] = {
    "hundred": 10**2, "thousand": 10**3, "k": 10**3, "lakh": 10**5, "lac": 10**5, "million": 10**6, "mn": 10**6, "mln": 10**6, "mil": 10**6,
    "crore": 10**7, "billion": 10**9, "bn": 10**9, "bil": 10**9, "trillion": 10**12, "tn": 10**12, "quadrillion": 10**15, "dozen": 12,
    "gross": 144, "score": 20, "wan": 10**4, "yi": 10**8, "qian": 10**3, "bai": 10**2,
    "tenth": Fraction(1, 10), "hundredth": Fraction(1, 100), "thousandth": Fraction(1, 1000), "millionth": Fraction(1, 10**6),
    # German, French, Spanish, Portuguese, Italian, Russian
    "hundert": 10**2, "tausend": 10**3, "mille": 10**3, "mila": 10**3, "тысяча": 10**3, "тысячи": 10**3, "тысяч": 10**3, "тыс": 10**3,
    "millionen": 10**6, "millones": 10**6, "millón": 10**6, "millon": 10**6, "milhões": 10**6, "milhão": 10**6, "milioni": 10**6,
    "milione": 10**6, "миллион": 10**6, "миллиона": 10**6, "миллионов": 10**6, "млн": 10**6, "milliarde": 10**9, "milliarden": 10**9,
    "milliard": 10**9, "milliards": 10**9, "miliardi": 10**9, "миллиард": 10**9, "миллиарда": 10**9, "миллиардов": 10**9, "млрд": 10**9,
    "dutzend": 12, "permille": Fraction(1, 1000),
}  # fmt: skip
_PLURALS = frozenset(
    ("hundred", "thousand", "lakh", "million", "crore", "billion", "trillion", "dozen", "tenth", "hundredth", "thousandth", "millionth")
)  # fmt: skip
_GENERIC = frozenset(("unit", "units", "sq", "square", "cubic", "of", "the", "in", "total", "is", "are", "and", "each", "approximately", "about"))  # fmt: skip
_PER = frozenset(("per", "a", "an", "every", "each", "/"))
_POWER_BEFORE = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_POWER_AFTER = {"squared": 2, "cubed": 3}

UNIT_NAMES: dict[str, str] = {}  # as written -> pint's name
for _entry in re.split(r"[;\n]", _TABLE.strip()):
    _name, _, _aliases = _entry.strip().partition(":")
    UNIT_NAMES |= {alias: _name for alias in (_name, *_aliases.split())}
CURRENCY_SIGNS = {"$": "dollar", "€": "euro", "£": "sterling", "¥": "yen", "₹": "rupee", "¢": "cent", "₩": "won"}
LETTER_UNITS = "".join(name for name in UNIT_NAMES if len(name) == 1)


@dataclass(frozen=True, slots=True)
class Unit:
    """factors: (pint's name, power), sorted. nouns: words that are not a unit: apples, students. magnitude: of the number."""

    factors: tuple[tuple[str, int], ...] = ()
    nouns: frozenset[str] = frozenset()
    magnitude: Fraction = Fraction(1)

    @property
    def empty(self) -> bool:
        """Whether the number stands for itself: 5, or `5 units`."""
        return not self.factors and not self.nouns


_TOKEN = re.compile(r"\\degree|\\Omega|\\cdot|\^\s*\{?\s*-?\d\s*\}?|[/()*.-]|\d|[^\W\d_]+|\S")


def unit_name(word: str) -> str | None:
    """pint's name of a unit as it is written, None for any other word: `Metres` is meter."""
    if word in UNIT_NAMES:
        return UNIT_NAMES[word]
    small = word.lower()
    if prefix_contradicts(word, UNIT_NAMES.get(small, "")):
        return None
    if len(small) < 3:
        return UNIT_NAMES.get(small) if len(small) == 2 else None
    for stem in (small, small.removesuffix("s"), small.removesuffix("es")):
        if stem in UNIT_NAMES and len(stem) > 1:
            return UNIT_NAMES[stem]
    return None


def prefix_contradicts(symbol: str, name: str) -> bool:
    """Whether a symbol has the other m than its unit's: Mg is a megagram by the book and a milligram by a slip, mHz the reverse."""
    return len(symbol) <= 4 and (
        (symbol[0] == "M" and name.startswith("milli")) or (symbol[0] == "m" and name.startswith("mega"))
    )


def magnitude_of(word: str) -> int | Fraction | None:
    """1000000 of `million`; None for any other word, and for K, which is kelvin behind a space."""
    if word == "K":
        return None
    small = word.lower()
    singular = small.removesuffix("s")
    return MAGNITUDES.get(small) or (MAGNITUDES.get(singular) if singular in _PLURALS else None)


_ONE_WORDS = {"fl oz": "floz", "fl. oz": "floz", "metric ton": "tonne", "mil millones": "milliard", "mil milhões": "milliard", "per mille": "permille",
              "per thousand": "permille", "per mil": "permille"}  # fmt: skip
_ONE_WORD = re.compile("|".join(map(re.escape, _ONE_WORDS)), re.IGNORECASE)


@lru_cache(maxsize=4_096)
def read_unit(text: str) -> Unit | None:
    """The unit that the text after a number names, "" for none; None where a sign in it has no meaning for a unit."""
    powers: dict[str, int] = {}
    nouns: set[str] = set()
    magnitude, sign, next_power, last = Fraction(1), 1, 1, ""
    plain = re.sub(r"\\(?:text|currency)", " ", text).replace("{", " ").replace("}", " ")
    plain = re.sub(r"\^\s*(-?\d)", r"^\1", plain)
    for token in _TOKEN.findall(_ONE_WORD.sub(lambda m: _ONE_WORDS[m[0].lower()], plain)):
        word = "arc_degree" if token == "\\degree" else "ohm" if token == "\\Omega" else token
        small = word.lower()
        if word[0] == "^":
            power = int(re.sub(r"[^\d-]", "", word))
            if not last:
                return None
            powers[last] = powers[last] * power
        elif small in _POWER_AFTER and last:
            powers[last] *= _POWER_AFTER[small]
        elif word in ("(", ")", ".", "*", "-", "\\cdot"):
            continue
        elif small in _PER and word != "A":
            sign, last = -1, ""
        elif small in _POWER_BEFORE:
            next_power = _POWER_BEFORE[small]
        elif ((factor := magnitude_of(word)) and not powers and not nouns and sign == 1) or small in (
            "million",
            "billion",
            "thousand",
        ):
            magnitude *= factor or MAGNITUDES[small]
            if small == "mil":
                nouns.add(small)  # a million, or Spanish for a thousand
        elif small in _SPEEDS:
            distance, _, time = _SPEEDS[small].partition("/")
            powers[distance], powers[time], last = powers.get(distance, 0) + sign, powers.get(time, 0) - sign, ""
        elif name := unit_name(word):
            if name in ("degree_celsius", "degree_fahrenheit", "degree_kelvin"):
                powers.pop("arc_degree", None)
            powers[name] = powers.get(name, 0) + sign * next_power
            last, next_power = name, 1
        elif word.isdigit():
            return None
        elif word.isalpha():
            if small not in _GENERIC:
                nouns.add(singular(small) if sign == 1 else "/" + singular(small))
            next_power = 1
        else:
            return None
    return Unit(tuple(sorted((n, p) for n, p in powers.items() if p)), frozenset(nouns), magnitude)


_IRREGULAR = {"people": "person", "children": "child", "men": "man", "women": "woman", "mice": "mouse", "geese": "goose", "teeth": "tooth",
              "leaves": "leaf", "loaves": "loaf", "knives": "knife", "shelves": "shelf", "halves": "half", "wolves": "wolf"}  # fmt: skip


def singular(word: str) -> str:
    """`boxes` as `box`, `berries` as `berry`: the same for both numbers, not a word of English."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for ending, stem in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("sses", "ss"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + stem
    return word


# --- conversion ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _registry():  # type: ignore[no-untyped-def]  # pint is imported here only, and is not typed for this
    import pint

    registry = pint.UnitRegistry(non_int_type=Fraction, autoconvert_offset_to_baseunit=False, cache_folder=None)
    for definition in re.split(r"[;\n]", _DEFINITIONS.strip()):
        registry.define(definition.strip())
    return registry


@lru_cache(maxsize=256)
def _base(name: str) -> tuple[Fraction, tuple[tuple[str, Fraction], ...]]:
    """(factor to base units, dimensions) of one unit of the table, by pint."""
    quantity = _registry().Quantity(Fraction(1), _PINT_NAMES.get(name, name)).to_base_units()
    dimensions = tuple(sorted((str(d), Fraction(p)) for d, p in quantity.dimensionality.items()))
    return Fraction(quantity.magnitude), dimensions


def _size(factors: tuple[tuple[str, int], ...]) -> tuple[Fraction, dict[str, Fraction]]:
    size = Fraction(1)
    dimensions: dict[str, Fraction] = {}
    for name, power in factors:
        factor, own = _base(name)
        size *= factor**power
        for dimension, exponent in own:
            dimensions[dimension] = dimensions.get(dimension, Fraction(0)) + exponent * power
    return size, {d: p for d, p in dimensions.items() if p}


@lru_cache(maxsize=4_096)
def factor_between(unit: tuple[tuple[str, int], ...], other: tuple[tuple[str, int], ...]) -> Fraction | None:
    """How many of `other` one `unit` is, as an exact fraction; None where they measure different things."""
    if unit == other:
        return Fraction(1)
    (size, dimensions), (other_size, other_dimensions) = _size(unit), _size(other)
    return size / other_size if dimensions == other_dimensions else None


# What a unit may be written in instead, for an answer that leaves its unit out, with sizes in the first of the family. They are
# written down, so that pint is not loaded for an answer with one unit; the tests hold them against pint.
FAMILIES: tuple[dict[str, int], ...] = (
    {"millimeter": 1, "centimeter": 10, "decimeter": 100, "meter": 1_000, "kilometer": 1_000_000},
    {"inch": 1, "foot": 12, "yard": 36, "mile": 63_360},
    {"millisecond": 1, "second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "week": 604_800_000},
    {"calendar_month": 1, "calendar_year": 12, "calendar_decade": 120, "calendar_century": 1_200},
    {"milligram": 1, "gram": 1_000, "kilogram": 1_000_000, "tonne": 1_000_000_000},
    {"ounce": 1, "pound": 16},
    {"milliliter": 1, "centiliter": 10, "deciliter": 100, "liter": 1_000},
    {"fluid_ounce": 1, "cup": 8, "pint": 16, "quart": 32, "gallon": 128},
    {"teaspoon": 1, "tablespoon": 3},
    {"cent": 1, "dollar": 100},
    {"pence": 1, "sterling": 100},
    {"jiao": 1, "yuan": 10},
    {"paisa": 1, "rupee": 100},
    {"joule": 1, "kilojoule": 1_000},
    {"calorie": 1, "kilocalorie": 1_000},
    {"watt": 1, "kilowatt": 1_000, "megawatt": 1_000_000, "gigawatt": 1_000_000_000},
    {"millivolt": 1, "volt": 1_000, "kilovolt": 1_000_000},
    {"hertz": 1, "kilohertz": 1_000, "megahertz": 1_000_000, "gigahertz": 1_000_000_000},
    {"watt_hour": 1, "kilowatt_hour": 1_000, "megawatt_hour": 1_000_000},
    {"electron_volt": 1, "kiloelectron_volt": 1_000, "megaelectron_volt": 1_000_000},
    {"millibar": 1, "bar": 1_000},
)
MAX_CONVERSIONS = 400


# Nouns that may be a number of something: three quarters are 0.75, or 75 cents.
_COUNTED_IN = {
    noun: frozenset(factor for size in sizes for factor in (Fraction(size), 1 / Fraction(size)))
    for noun, sizes in {"quarter": (4, 25), "half": (2,), "third": (3,), "fifth": (5,), "pair": (2,), "couple": (2,), "dime": (10,), "nickel": (5,), "ten": (10,),
                        "mil": (1_000,)}.items()
}  # fmt: skip


def _is_round(ratio: Fraction) -> bool:
    """100, 1000, 10000 ..."""
    return ratio.denominator == 1 and ratio >= 100 and bool(re.fullmatch(r"10+", str(ratio.numerator)))


def may_be_conversion(ratio: Fraction, unit: Unit) -> bool:
    """Whether two numbers with this ratio may be one quantity, the unit of one of them left out: 5 and 5000 m."""
    if ratio <= 0:
        return False
    larger = max(ratio, 1 / ratio)
    if larger in (unit.magnitude, 1 / unit.magnitude) and larger != 1:
        return True
    if unit.nouns and _is_round(larger):
        return True  # a word that nobody here knows may be one for a magnitude: 6 Millionen
    if any(ratio in factors for noun, factors in _COUNTED_IN.items() if noun in unit.nouns):
        return True
    if (larger.denominator != 1 and larger.denominator > 3_600) or not _smooth(larger.numerator * larger.denominator):
        return False
    return ratio in set(_conversions(unit.factors))


def _smooth(number: int) -> bool:
    """Whether the factors between units of one family multiply to it: its primes are at most 11."""
    if number > 10**18:
        return False
    return reduce(lambda n, p: next(m for m in _without(n, p)), (2, 3, 5, 7, 11), number) == 1


def _without(number: int, prime: int) -> Iterator[int]:
    while number % prime == 0:
        number //= prime
    yield number


def _conversions(factors: tuple[tuple[str, int], ...]) -> Iterator[Fraction]:
    """Every factor by which the unit may change when each of its parts is written in another unit of its family."""
    changes = []
    for name, power in factors:
        family = next((family for family in FAMILIES if name in family), {name: 1})
        changes.append([Fraction(family[name], size) ** power for size in family.values()])
    for chosen in itertools.islice(itertools.product(*changes), MAX_CONVERSIONS):
        factor = reduce(lambda product, change: product * change, chosen, Fraction(1))
        if factor != 1:
            yield factor
            yield 1 / factor
