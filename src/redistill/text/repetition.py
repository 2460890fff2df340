"""What can be read off a text alone: how much of it repeats itself, and how often it looks back at its own steps.

    repeats("The answer is 4. " * 30)              ->  True: one phrase over and over
    repeated_share("a b c d a b c d", ngram=4)     ->  0.5: four of its eight words stand in a 4-gram seen before
    reflections("2+2=5. Wait, let me check: 4.")   ->  2: "wait", "let me check"

select asks it of teachers' traces, evaluate of a student's answers. A word is a run of letters, a number, one ideograph
or kana (these scripts write no spaces), or one other sign; case and white space do not count.
"""

import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W\d_\u3040-\u30ff\u3400-\u9fff]+|\d+|[^\s]")

# A text is called repetitive where this share of its words has been said before in the same order: at 0.5, 2.6% of right
# traces on hard MATH problems would go, sound algebra that copies its expressions; at 0.7, 0.1% (2,392 traces) ...
MAX_SHARE = 0.7
NGRAM = 8
# ... or where one phrase stands this many times in a row and fills this many words: the tail of a text that fell into
# a loop after a long and sound beginning.
LOOP_TIMES = 6
LOOP_WORDS = 64
MIN_WORDS = 64  # shorter texts are too short to loop; a short sum may well repeat its signs

# Of small letters. A phrase begins with a letter of its own, and only then is the border before it looked for, so that the search jumps
# from letter to letter instead of trying every phrase at every word.
_REFLECTIONS = re.compile(
    r"(?:w(?<=\bw)ait|h(?<=\bh)(?:mm+|old on)|o(?<=\bo)n second thought|a(?<=\ba)lternatively|i(?<=\bi) made a mistake"
    r"|l(?<=\bl)et(?: me (?:re-?)?(?:check|verify|think|examine|consider|count|calculate|compute|do)"
    r"|(?:'|’)s (?:re-?)?(?:check|verify|examine|consider))|d(?<=\bd)ouble[- ]check(?:ing)?|r(?<=\br)e-?check(?:ing)?"
    r"|t(?<=\bt)hat(?:'|’)s (?:not right|wrong|incorrect))\b"
)


def words(text: str) -> list[str]:
    """The words of a text, lower case: "Add 12+3." -> ["add", "12", "+", "3", "."]."""
    return _WORD.findall(text.lower())


def repeated_share(text: str, *, ngram: int = NGRAM) -> float:
    """The share of words, 0 to 1, that stand in an n-gram of `ngram` words which occurred earlier in the text.

    A word counts once however many repeated n-grams hold it. 0.0 for texts of `ngram` words or fewer.
    """
    return _share(words(text), ngram)


def repeats(
    text: str,
    *,
    ngram: int = NGRAM,
    max_share: float = MAX_SHARE,
    loop_times: int = LOOP_TIMES,
    loop_words: int = LOOP_WORDS,
    min_words: int = MIN_WORDS,
) -> bool:
    """True for a text that says the same over and over: more than `max_share` of its words repeated (`repeated_share`), or
    a loop (`longest_loop`) of at least `loop_words` words. Never for texts under `min_words` words."""
    all_words = words(text)
    if len(all_words) < min_words:
        return False
    return _share(all_words, ngram) > max_share or longest_loop(all_words, ngram=ngram, times=loop_times) >= loop_words


def reflections(text: str) -> int:
    """How often an English text looks back at its own steps: "wait", "let me check", "alternatively" and the like."""
    return len(_REFLECTIONS.findall(text.lower()))


def _share(all_words: list[str], ngram: int) -> float:
    seen: set[tuple[str, ...]] = set()
    repeated, covered = 0, 0  # covered: words before this place are counted already
    for start in range(len(all_words) - ngram + 1):
        gram = tuple(all_words[start : start + ngram])
        if gram in seen:
            repeated += start + ngram - max(start, covered)
            covered = start + ngram
        seen.add(gram)
    return repeated / len(all_words) if all_words else 0.0


def longest_loop(all_words: Sequence[str], *, ngram: int = NGRAM, times: int = LOOP_TIMES) -> int:
    """How many of these words (`words`) the longest stretch has in which one phrase follows itself at least `times` times in
    a row; 0 where none does. A phrase may be of any length. Loops shorter than `ngram` words in all are not seen.

    A loop of period p shows as n-grams that each stood p words before: a run of r of them spans p + r + ngram - 1.
    """
    last: dict[tuple[str, ...], int] = {}
    longest, period, run = 0, 0, 0
    for start in range(len(all_words) - ngram + 1):
        gram = tuple(all_words[start : start + ngram])
        distance = start - last.get(gram, start)
        last[gram] = start
        run = run + 1 if distance and distance == period else int(distance > 0)
        period = distance
        span = period + run + ngram - 1
        if run and span >= times * period:
            longest = max(longest, span)
    return longest
