"""Units: names, powers, rates, magnitudes and pint's factors."""

from fractions import Fraction

import pytest

from redistill.verify.quantities import FAMILIES, UNIT_NAMES, Unit, factor_between, may_be_conversion, read_unit


@pytest.mark.parametrize(
    ("text", "factors"),
    [
        ("km/h", {"kilometer": 1, "hour": -1}),
        ("miles per hour", {"mile": 1, "hour": -1}),
        ("mph", {"mile": 1, "hour": -1}),
        (r"\text{ cm}^2", {"centimeter": 2}),
        ("square feet", {"foot": 2}),
        ("cubic meters", {"meter": 3}),
        ("meters squared", {"meter": 2}),
        ("m s^{-1}", {"meter": 1, "second": -1}),
        ("dollars a day", {"dollar": 1, "day": -1}),
        ("degrees Celsius", {"degree_celsius": 1}),
        ("Inches", {"inch": 1}),
        ("units", {}),
    ],
)
def test_a_unit_is_read(text: str, factors: dict[str, int]) -> None:
    assert read_unit(text) == Unit(tuple(sorted(factors.items())))


def test_words_that_are_no_units_are_nouns_and_magnitudes_are_numbers() -> None:
    assert read_unit("red apples") == Unit(nouns=frozenset({"red", "apple"}))
    assert read_unit("million dollars") == Unit((("dollar", 1),), magnitude=Fraction(10**6))
    assert read_unit("cm = 5") is None


def unit(text: str) -> tuple[tuple[str, int], ...]:
    read = read_unit(text)
    assert read is not None
    return read.factors


@pytest.mark.parametrize(
    ("one", "other", "factor"),
    [
        ("km", "m", Fraction(1000)),
        ("inch", "cm", Fraction(254, 100)),
        ("mile", "ft", Fraction(5280)),
        ("hour", "s", Fraction(3600)),
        ("km/h", "m/s", Fraction(5, 18)),
        ("ft^2", "in^2", Fraction(144)),
        ("L", "cm^3", Fraction(1000)),
        ("dollars", "cents", Fraction(100)),
        ("years", "months", Fraction(12)),
        ("km", "kg", None),
        ("cm^2", "cm^3", None),
        ("dollars", "euros", None),
        ("years", "days", None),
        ("degC", "degF", None),
        ("degrees", "radians", None),
    ],
)
def test_factors_are_exact_and_only_within_one_dimension(one: str, other: str, factor: Fraction | None) -> None:
    assert factor_between(unit(one), unit(other)) == factor


def test_pint_knows_every_name_of_the_table() -> None:
    for name in set(UNIT_NAMES.values()):
        assert factor_between(((name, 1),), ((name, 2),)) is None


def test_the_sizes_of_the_families_are_pints() -> None:
    for family in FAMILIES:
        first = next(iter(family))
        assert {name: factor_between(((name, 1),), ((first, 1),)) for name in family} == family


def test_a_ratio_that_a_left_out_unit_explains_is_seen() -> None:
    metres, rate = read_unit("m"), read_unit("km/h")
    assert metres is not None and rate is not None
    assert may_be_conversion(Fraction(1, 1000), metres) and may_be_conversion(Fraction(100), metres)
    assert may_be_conversion(Fraction(18, 5), rate)
    assert not may_be_conversion(Fraction(9, 10), metres) and not may_be_conversion(Fraction(7), metres)
