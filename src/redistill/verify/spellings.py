"""Two spellings of one English word: `is_one_spelling("centre", "center")`. British and American, small letters.

Such a pair is undecided and never wrong. The forms that are compared are no words: `organise` and `organize` both give
`organize`, and `hoping` and `hopping` both `hoping`, which costs only a decision.
"""

import re

# Applied in this order to either word; equal results are one word. Written by hand from the usual lists of differences.
_RULES = tuple(
    (re.compile(pattern), form)
    for pattern, form in (
        (r"grey", "gray"),
        (r"tyre", "tire"),
        (r"storey", "story"),
        (r"([^aeiouy])re(s?)$", r"\1er\2"),  # centre, theatre, fibre
        (r"([iy])s(e[drs]?|ing|ations?)$", r"\1z\2"),  # organise, analysed, realisation
        (r"ence(s?)$", r"ense\1"),  # defence, licence
        (r"ou(?=r|ld|lt)", "o"),  # colour, favourite, mould
        (r"ough$", "ow"),  # plough
        (r"ogue", "og"),  # catalogue
        (r"amme(s?)$", r"am\1"),  # programme
        (r"oeu|[ao]e", "eu"),  # manoeuvre, paediatric
        (r"euvre", "euver"),
        (r"eu", "e"),
        (r"ph", "f"),  # sulphur
        (r"sc(?=ep)", "sk"),  # sceptical
        (r"dgement", "dgment"),  # judgement
        (r"inium$", "inum"),  # aluminium
        (r"(?<=[aeiou])([gmlpt])\1(?=[aeiou]|$)", r"\1"),  # travelled, enroll
        (r"lery$", "lry"),  # jewellery
    )
)


def is_one_spelling(word: str, other: str) -> bool:
    """Whether two words of small letters may be one word, as the British and as the Americans write it."""
    return min(len(word), len(other)) > 3 and _form(word) == _form(other)


def _form(word: str) -> str:
    for pattern, form in _RULES:
        word = pattern.sub(form, word)
    return word
