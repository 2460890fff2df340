"""A self-correction trace -> its parts: attempts at the problem and the checks between them, as character ranges.

    segments("2+2=5\\n\\nWait, let me recheck my solution.\\n2+2 is 4. Therefore, the answer is incorrect.\\n\\nLet me try again.\\n2+2=4\\n\\n"
             "Wait, let me recheck my solution.\\n4-2=2. Therefore, the answer is correct.")
      ->  [Segment("solve", 0, 5, None), Segment("verify", 5, 88, "incorrect"), Segment("solve", 88, 113, None), ...]

The grammar is S2R's (arXiv 2502.12853, section 3): a solution, its verification, and the same again; an attempt that is verified
as incorrect is followed by another one. The ranges are a partition: joined they are the text. A cue, with the white space
before it, belongs to the part that it opens. The end-of-turn token is not part.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple

from redistill.records import Span

Kind = Literal["solve", "verify"]
Said = Literal["correct", "incorrect", "undecided"]
SOLVES, VERIFICATIONS = "solve", "verification"  # the names of the spans that hold what is known of a trace's segments


class Segment(NamedTuple):
    """Characters `start` to `end`, end excluded; `verdict` is what a verification says of the attempt before it, None where it does
    not say, and of every attempt."""

    kind: Kind
    start: int
    end: int
    verdict: Said | None


@dataclass(frozen=True)
class Cues:
    """The words that open a verification and another attempt, and the sentence that ends a verification. Texts are written with
    exactly these words, and read with any case and any white space around them."""

    verify: str
    retry: str
    correct: str
    incorrect: str
    undecided: str
    phrases: bool = False  # of a verification without such a sentence: read the last phrase that says as much

    def verdict_sentence(self, said: Said) -> str:
        """The sentence that says so."""
        return {"correct": self.correct, "incorrect": self.incorrect, "undecided": self.undecided}[said]

    @cached_property
    def opening(self) -> re.Pattern[str]:
        """The cue of a verification (group 1) or of an attempt (group 2)."""
        return re.compile(rf"(?:({_loose(self.verify)})|({_loose(self.retry)}))\.?", re.IGNORECASE)

    @cached_property
    def sentence(self) -> re.Pattern[str]:
        """A verdict sentence: correct (group 1), incorrect (group 2) or undecided (group 3)."""
        flags = 0 if len(self.correct) == 1 else re.IGNORECASE
        parts = "|".join(f"({_loose(words)})" for words in (self.correct, self.incorrect, self.undecided))
        return re.compile(parts, flags)


def _loose(words: str) -> str:
    """The words with any white space between them and no punctuation at their end."""
    return r"\s+".join(map(re.escape, words.strip().rstrip(".").split()))


CUES: dict[str, Cues] = {
    # the words of S2R's data
    "s2r": Cues(
        "\n\nWait, let me recheck my solution.\n",
        "\n\nLet me try again.\n",
        "Therefore, the answer is correct.",
        "Therefore, the answer is incorrect.",
        "Therefore, the answer cannot be verified.",
        phrases=True,
    ),
    # for toys with an alphabet of single characters
    "compact": Cues("\n?", "\n!", "Y", "N", "U"),
}


def segments(text: str, *, cues: Cues = CUES["s2r"], cut: bool = False) -> list[Segment] | str:
    """The parts of a self-correction trace, or why the grammar refuses it. cut: its length limit cut it, so it may end anywhere: in
    an attempt, or behind a cue.

    Reasons: `empty`, `no_verification` (no cue at all), `no_attempt` (it begins with a verification), `two_attempts` and
    `two_verifications` (in a row), `not_verified` (it ends in an attempt), `blank_part` (a cue with nothing behind it).
    """
    if not text.strip():
        return "empty"
    cuts: list[tuple[int, int, Kind]] = [(0, 0, "solve")]
    for cue in cues.opening.finditer(text):
        before = text[cuts[-1][1] : cue.start()].rstrip()
        cuts.append((cuts[-1][1] + len(before), cue.end(), "verify" if cue[1] else "solve"))
    if len(cuts) == 1 and not cut:
        return "no_verification"
    if len(cuts) > 1 and not text[: cuts[1][0]].strip():
        if cuts[1][2] == "verify":
            return "no_attempt"
        cuts = [(0, *cuts[1][1:]), *cuts[2:]]  # an answer that begins with the cue of another attempt
    parts: list[Segment] = []
    for (start, body, kind), (end, _, _) in pairwise([*cuts, (len(text), len(text), "solve")]):
        if parts and parts[-1].kind == kind:
            return "two_attempts" if kind == "solve" else "two_verifications"
        if not text[body:end].strip() and not (cut and end == len(text)):
            return "blank_part"
        parts.append(Segment(kind, start, end, read_verdict(text[body:end], cues) if kind == "verify" else None))
    return "not_verified" if parts[-1].kind == "solve" and not cut else parts


def body_of(text: str, segment: Segment, cues: Cues) -> str:
    """The segment's text without its cue and the white space around it."""
    part = text[segment.start : segment.end].strip()
    opened = cues.opening.match(part)
    return part[opened.end() :].strip() if opened else part


def has_cue(text: str, cues: Cues) -> bool:
    """True for a text that could not stand as one part: it holds a cue itself."""
    return cues.opening.search(text) is not None


def write(attempts: Sequence[str], verifications: Sequence[str], cues: Cues) -> str:
    """The trace of these attempts, each with its verification behind it; one of each at least."""
    parts = [cues.verify.join(pair) for pair in zip(attempts, verifications, strict=True)]
    return cues.retry.join(parts)


# --- what a verification says -----------------------------------------------------------------------------------------

_NOT = r"(?<!not )(?<!n't )"
_PHRASES = re.compile(
    "|".join(
        (
            # correct
            rf"({_NOT}\b(?:(?:answer|solution|result|calculation)s? (?:is|are|was|remains?) (?:indeed |therefore |thus |also )?"
            r"(?:correct|right|verified|confirmed)|checks? out|this (?:confirms|verifies)|which (?:confirms|matches|is correct)|"
            r"confirm(?:s|ing|ed)? (?:that )?(?:the|my|our) (?:answer|solution|result|calculation)s?\b(?! (?:is|are) (?:in|not )))\b)",
            # incorrect
            r"(\b(?:(?:answer|solution|result|calculation)s? (?:is|are|was) (?:therefore |thus )?(?:incorrect|wrong|not (?:correct|right))|"
            r"(?:answer|solution|result|calculation)s? (?:is|are|was)n['’]t (?:correct|right)|"
            r"(?:does not|doesn't|do not|don't) (?:match|add up|check out|hold)|(?:made|is|there'?s|contains) (?:a|an) (?:mistake|error)|"
            r"this (?:contradicts|is a contradiction))\b)",
            # undecided: the second takes the doubted statement with it
            r"(\b(?:cannot|can't|could not|unable to|not possible to) (?:be )?(?:verif(?:y|ied)|confirm(?:ed)?|check(?:ed)?)\b|"
            r"\b(?:can(?:not|['’]t) (?:say|tell)|(?:not|n['’]t) (?:say|sure|certain|convinced|think|believe|know)|doubt)\b[^.!?\n]{0,80})",
        )
    ),
    re.IGNORECASE,
)
_SAID: tuple[Said, ...] = ("correct", "incorrect", "undecided")


def read_verdict(text: str, cues: Cues) -> Said | None:
    """What a verification says: its last verdict sentence, else the last phrase that says as much; None where there is none.

    A student that says first one thing and then another is taken at its last word. Source: S2R's released parser reads the last
    sentence "Therefore, the answer is X", then phrases; the phrases here are our own.
    """
    sentences = list(cues.sentence.finditer(text)) or (list(_PHRASES.finditer(text)) if cues.phrases else [])
    return _SAID[(sentences[-1].lastindex or 1) - 1] if sentences else None


def ends_in_one_verdict(text: str, cues: Cues) -> Said | str:
    """The verdict of a verification that was asked for: exactly one verdict sentence, at its end; else why it is none of that:
    `no_verdict`, `several_verdicts`, `text_after_verdict`."""
    sentences = list(cues.sentence.finditer(text))
    if not sentences:
        return "no_verdict"
    if len(sentences) > 1:
        return "several_verdicts"
    if text[sentences[0].end() :].strip(" \t\n.!*\"'"):
        return "text_after_verdict"
    return _SAID[(sentences[0].lastindex or 1) - 1]


# --- as spans of a trace ----------------------------------------------------------------------------------------------

UNKNOWN = 0.5  # the value of a span about which nobody can say: an attempt that could not be judged, a check without a verdict
_VALUE: dict[Said | None, float] = {"correct": 1.0, "incorrect": 0.0, "undecided": UNKNOWN, None: UNKNOWN}


def as_spans(parts: Sequence[Segment], right: Sequence[bool | None]) -> dict[str, tuple[Span, ...]]:
    """Spans `solve`, 1 where the attempt is right and 0 where it is wrong, and `verification`, 1 where it says correct and 0 where
    it says incorrect; .5 where nobody can say. right: of each attempt, in their order."""
    solves = [part for part in parts if part.kind == "solve"]
    truth = {True: 1.0, False: 0.0, None: UNKNOWN}
    return {
        SOLVES: tuple(Span(p.start, p.end, truth[ok]) for p, ok in zip(solves, right, strict=True)),
        VERIFICATIONS: tuple(Span(p.start, p.end, _VALUE[p.verdict]) for p in parts if p.kind == "verify"),
    }
