"""Where capital letters decide: CO and Co, MW and mW.

case_matters("CO", "Co")          ->  True: carbon monoxide and cobalt
case_matters("5 MW", "5 mW")      ->  True: megawatts and milliwatts
case_matters("YES", "yes")        ->  False
"""

import re

from redistill.verify.quantities import UNIT_NAMES, prefix_contradicts
from redistill.verify.reading import plain_words

_ELEMENTS = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb
Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es
Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""
ELEMENTS = frozenset(_ELEMENTS.split())
_LETTERS = re.compile(r"[A-Za-z]+")
_SYMBOL = re.compile(r"[A-Z][a-z]?")


def case_matters(gold: str, answer: str) -> bool:
    """Whether two clean texts that differ in capital letters alone name different substances or different units."""
    ours, theirs = plain_words(gold), plain_words(answer)
    if ours == theirs or ours.lower() != theirs.lower():
        return False
    pairs = zip(_LETTERS.findall(ours), _LETTERS.findall(theirs), strict=True)
    return any(left != right and (_two_substances(left, right) or _two_units(left, right)) for left, right in pairs)


def _two_substances(left: str, right: str) -> bool:
    sides = [_SYMBOL.findall(word) for word in (left, right)]
    return sides[0] != sides[1] and all(
        "".join(symbols) == word and ELEMENTS.issuperset(symbols)
        for symbols, word in zip(sides, (left, right), strict=True)
    )


def _two_units(left: str, right: str) -> bool:
    """One is the symbol of a unit and the other is not that unit: MW and mW."""
    return any(prefix_contradicts(other, UNIT_NAMES.get(known, "")) for known, other in ((left, right), (right, left)))
