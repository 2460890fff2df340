"""Which language a completion is written in, passage by passage, without a network.

    foreign_share("Let x be the number of apples ... 所以我们得到这个方程的解 ...", ("en",), 0.9)   ->   0.4

A trace of a maths problem is half formulas, so these are taken out first; what is left is cut into passages of some 300
letters, and each is given to py3langid (a naive Bayes model of 97 languages inside a package of 5 MB). Passages, because
teachers change language in mid-thought. On 8,255 passages of English maths traces (1,000 traces of each of four
sources) one was called foreign at a probability of 0.9: a passage of garbled tokens in many scripts.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

_NOT_PROSE = re.compile(
    r"\$\$?[^$]{1,400}\$\$?|\\\(.{0,400}?\\\)|\\\[.{0,400}?\\\]|\\[A-Za-z]+|https?://\S+|<[^<>\s]{1,40}>", re.DOTALL
)
PASSAGE_LETTERS = 300
LEAST_LETTERS = 40  # less text than this says nothing sure about its language; ideographs count three


def foreign_share(text: str, allowed: tuple[str, ...], min_probability: float) -> float:
    """The share of letters, 0 to 1, in passages that are of a language not in `allowed` with `min_probability`.

    Letters of passages too short to judge count on neither side; 0.0 where none can be judged."""
    foreign = total = 0
    for passage, letters in _passages(text):
        language, probability = _identifier().classify(passage)
        total += letters
        foreign += letters if language not in allowed and probability >= min_probability else 0
    return foreign / total if total else 0.0


def _passages(text: str) -> Iterator[tuple[str, int]]:
    """(words joined by blanks, letters), the last and shorter one included where it is long enough."""
    held: list[str] = []
    letters = 0
    for word in _word().findall(_NOT_PROSE.sub(" ", text)):
        held.append(word)
        letters += len(word) if word[0] < "\u2e80" else 3 * len(word)
        if letters >= PASSAGE_LETTERS:
            yield " ".join(held), letters
            held, letters = [], 0
    if letters >= LEAST_LETTERS:
        yield " ".join(held), letters


@functools.cache
def _word() -> re.Pattern[str]:
    """Two letters and more, with the marks on them: the vowels of Hindi, Tamil or Khmer are marks, and are none of `\\w`."""
    marks = "".join(chr(code) for code in range(0x300, 0xABFF) if unicodedata.category(chr(code))[0] == "M")
    return re.compile(rf"[^\W\d_](?:[^\W\d_]|[{marks}\u200c\u200d])+")


@functools.cache
def _identifier() -> Any:
    """The model, loaded at the first use (2 s) and kept: most recipes never ask."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
