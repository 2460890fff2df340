"""No text that a user's file may hold takes a regular expression more than linear time."""

import re
import time

import pytest
from linear_patterns import Pattern, attacks, patterns

SHORT, FACTOR = 800, 4
END = "\x00"  # after the repeats, so that none of them may reach the end of the text
SLOW_SECONDS = 0.004  # of FACTOR * SHORT characters: what is faster cannot hurt and cannot be measured
MAX_RATIO = 9.0  # linear: 4; quadratic: 16


def seconds(pattern: Pattern, text: str) -> float:
    """CPU time of one pass over the text, the better of two."""
    best = float("inf")
    for _ in range(2):
        start = time.thread_time()
        if pattern.use == "search":
            for _ in pattern.compiled.finditer(text):
                pass
        else:
            getattr(pattern.compiled, pattern.use)(text)
        best = min(best, time.thread_time() - start)
    return best


def growth(pattern: Pattern) -> list[tuple[str, float, float]]:
    """(piece, seconds, times the seconds of a text a quarter as long) of the attacks that take more than linear time."""
    found = []
    for opening, piece in attacks(pattern.compiled):
        repeats = SHORT // len(piece) + 1
        long = seconds(pattern, opening + piece * (FACTOR * repeats) + END)
        if long < SLOW_SECONDS:
            continue
        ratio = long / max(seconds(pattern, opening + piece * repeats + END), 1e-7)
        if ratio > MAX_RATIO:
            found.append((piece, long, ratio))
    return found


def test_the_measurement_knows_a_slow_pattern_from_a_fast_one():
    assert growth(Pattern("m", 1, "slow", re.compile(r"\s+$"), "search"))
    assert growth(Pattern("m", 1, "slow", re.compile(r"<[^<>]*>|a.*b"), "search"))
    assert not growth(Pattern("m", 1, "fast", re.compile(r"\s{1,9}x"), "search"))
    assert not growth(Pattern("m", 1, "fast", re.compile(r"\s+$"), "match"))


# These match what matplotlib wrote and the name of a file, of at most 255 bytes.
ELSEWHERE = ("redistill.report.charts", "redistill.tools.init")
VERIFY = "redistill.verify."  # hundreds of patterns: minutes of CPU


def slow_ones(found: list[Pattern]) -> list[str]:
    return [
        f"{pattern.module}:{pattern.line} {pattern.name} ({pattern.use}): {taken:.3f} s, x{ratio:.0f}, {piece[:40]!r} repeated"
        for pattern in found
        for piece, taken, ratio in growth(pattern)[:1]
    ]


def test_every_pattern_on_text_of_any_length_takes_linear_time():
    found = [pattern for pattern in patterns() if not pattern.module.startswith((*ELSEWHERE, VERIFY))]
    assert len(found) > 80 and {"redistill.text.thinking", "redistill.text.statements"} <= {p.module for p in found}
    slow = slow_ones(found)
    assert not slow, "\n".join(slow)


@pytest.mark.soak
def test_so_does_every_pattern_of_the_verifiers():
    """They read answers of at most MAX_COMPARED characters in workers with a limit of CPU time: a slow one would cost verdicts."""
    found = [pattern for pattern in patterns() if pattern.module.startswith(VERIFY)]
    assert len(found) > 100 and {"redistill.verify.anchors", "redistill.verify.exact"} <= {p.module for p in found}
    slow = slow_ones(found)
    assert not slow, "\n".join(slow)
