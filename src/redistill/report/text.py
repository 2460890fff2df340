"""Text for people: numbers with their words, foreign text made visible and cut to size.

    visible("a\u202eb")        ->  "a⟨U+202E⟩b"
    cut("x" * 9000, 600, 300)  ->  [("", "xxx..."), ("cut", "8,100 characters left out"), ("", "...xxx")]

A trace is text of unknown origin. page.html escapes it; here the marks that a browser would obey and a reader would
not see (controls, bidi overrides, zero-width characters) become signs.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from markupsafe import Markup

from redistill.text.figures import plural as plural

T = TypeVar("T")
Spans = list[tuple[str, str]]
Ranges = list[tuple[str, int, int]]
MAX_REASONS = 12  # rows of a table of reasons; a verifier may write free text
_KEPT = {"\n", "\t"}


def _sign(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures ␀ .. ␟
    return f"⟨U+{code:04X}⟩"


def visible(value: Any) -> Any:
    """Text with controls, format characters (bidi, zero-width), lone surrogates and Unicode line ends made visible.

    Markup and numbers pass; None becomes a dash. page.html runs this over every value it prints.
    """
    if value is None:
        return "–"
    if not isinstance(value, str) or isinstance(value, Markup) or (value.isascii() and value.isprintable()):
        return value
    value = value.replace("\r\n", "\n")
    hidden = {c for c in set(value) - _KEPT if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    return value.translate({ord(c): _sign(c) for c in hidden})


def cut(text: str, head: int, tail: int) -> Spans:
    """Spans of a text; when it is longer than head + tail characters, its middle is left out and counted.

    No cut is made for fewer than 80 characters: the notice would be as long.
    """
    return spans_of(cut_ranges(0, len(text), head, tail), text)


def cut_ranges(start: int, end: int, head: int, tail: int, kind: str = "") -> Ranges:
    """(kind, start, end) of what stays and, as `cut`, of what is left out."""
    if end - start - head - tail < 80:
        return [(kind, start, end)]
    return [(kind, start, start + head), ("cut", start + head, end - tail), (kind, end - tail, end)]


def spans_of(ranges: Ranges, text: str) -> Spans:
    """The texts of ranges, those left out as a notice; empty ranges vanish."""
    said = [(kind, f"{b - a:,} characters left out" if kind == "cut" else text[a:b]) for kind, a, b in ranges]
    return [(kind, part) for kind, part in said if part]


def first_difference(one: str, other: str) -> int:
    """Where two texts part: the number of characters they share at the start, stepped back to the start of a word or
    number when they part inside one (12 and 13 differ as numbers, not by a digit)."""
    shared = next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    if not (_is_word(one[shared : shared + 1]) and _is_word(other[shared : shared + 1])):
        return shared
    start = shared - len(re.search(r"\w{0,30}\Z", one[max(0, shared - 30) : shared])[0])  # type: ignore[index]
    return start if start == 0 or not _is_word(one[start - 1]) else shared


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def ranges_from(text: str, shared: int, *, around: int = 160, head: int = 900, tail: int = 420) -> Ranges:
    """A long text around its first difference: the shared start (cut), the first different word, the rest (cut).

    shared: characters shared with the text beside it. around, head, tail: characters kept at each end of the cuts.
    """
    word = re.match(r"\s*(\w{1,40}|\S)", text[shared : shared + 80])
    stop = shared + (word.end() if word else 0)
    return [
        *cut_ranges(0, shared, around, around, "shared"),
        ("mark", shared, stop),
        *cut_ranges(stop, len(text), head, tail),
    ]


def said_end(spans: Spans, ends: bool) -> Spans:
    """The spans with the mark that a text has nothing more where the one beside it goes on."""
    return [*spans, ("mark", "(ends here)")] if ends else spans


def short(text: str, length: int = 120) -> str:
    """One line of at most about `length` characters, its middle replaced by an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length * 2 // 3]} … {line[-length // 4 :]}"


def both_ends(items: Sequence[T], most: int) -> Sequence[T]:
    """At most so many of a sorted sequence: the first half from its beginning, the rest from its end."""
    return items if len(items) <= most else [*items[: (most + 1) // 2], *items[len(items) - most // 2 :]]


def top(tally: Mapping[str, int], limit: int = MAX_REASONS) -> list[tuple[str, int]]:
    """The most frequent words of a tally, ties by name; the rest summed in one line."""
    ranked = sorted(tally.items(), key=lambda item: (-item[1], item[0]))
    rest = ranked[limit:]
    return ranked[:limit] + ([(f"{len(rest):,} more reasons", sum(n for _, n in rest))] if rest else [])


def count(value: float | None) -> str | None:
    """12345 -> '12,345'."""
    return None if value is None else f"{value:,.0f}"


def percent(value: float | None, digits: int = 1) -> str | None:
    """0.8412 -> '84.1' (a share in percent, the sign left to the heading)."""
    return None if value is None or value != value else f"{100 * value:.{digits}f}".replace("-", "−")


def interval(value: Sequence[float] | None) -> str | None:
    """(0.801, 0.875) -> '80.1 to 87.5' (percent, kept on one line)."""
    return None if value is None else f"{percent(value[0])}\u00a0to\u00a0{percent(value[1])}"


def number(value: Any) -> str | None:
    """A number of unknown size with four significant digits; other values as text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None if value is None else short(str(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def duration(seconds: float | None) -> str | None:
    """4510.0 -> '1 h 15 min'."""
    if seconds is None:
        return None
    if seconds < 100:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes:02d} min" if hours else f"{minutes} min"


def join(words: list[str]) -> str:
    """['a', 'b', 'c'] -> 'a, b and c'."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def prompt_words(prompt: Mapping[str, Any]) -> str:
    """A prompt's settings in words: `template plain, in the chat template`; "" where they are not known."""
    template = prompt.get("template")
    return f"template {short(str(template), 60)}{how_it_was_wrapped(prompt)}" if template else ""


def how_it_was_wrapped(prompt: Mapping[str, Any]) -> str:
    """`, in the chat template`, `, as a chat message under the server's chat template`, or "" for plain text."""
    engine = prompt.get("engine")
    options = engine.get("options") if isinstance(engine, Mapping) else None
    if isinstance(options, Mapping) and options.get("api") == "chat":
        return ", as a chat message under the server's chat template"
    return ", in the chat template" if prompt.get("chat") else ""
