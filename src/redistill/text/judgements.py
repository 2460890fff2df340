"""One step of a solution to be judged, as the text of a problem, and the verdict line that ends a written judgement.

    step_statement("What is 2+2*3?", ["2*3=6"], "2+6=9")
      ->  "Question:\\nWhat is 2+2*3?\\n\\nPrevious Steps:\\n2*3=6\\n\\nNow Step:\\n2+6=9"
    read_verdict("... 2+6 is 8.\\nVerdict: is the Now Step correct (Yes/No)? No")   ->  ("No", "")

The three inputs (question, previous steps, now step) and the fixed closing line are R-PRM's (arXiv 2503.21295); the words are
our own. A critic that was trained on another closing line is read with `line`.
"""

from collections.abc import Callable, Sequence

# What every judgement ends with, Yes or No behind it.
VERDICT_LINE = "Verdict: is the Now Step correct (Yes/No)?"
YES, NO = "Yes", "No"
QUESTION_ID = "question_id"  # in the metadata of such a problem: the id of the question whose step it is about
FIRST_STEP = "(none)"

QUESTION, PREVIOUS, NOW = "Question:\n", "\n\nPrevious Steps:\n", "\n\nNow Step:\n"


def step_statement(question: str, previous: Sequence[str], now: str, *, join: str = "blank-line") -> str:
    """The statement of the problem "is this step correct?"; `join` is a name of JOINS. Source: R-PRM's three inputs."""
    before = joined_steps(previous, join)[0] if previous else FIRST_STEP
    return f"{QUESTION}{question}{PREVIOUS}{before}{NOW}{now}"


def read_verdict(text: str, line: str = VERDICT_LINE) -> tuple[str | None, str]:
    """(`Yes` or `No`, "") of a judgement that ends in the verdict line, else (None, why it cannot be read).

    The rule is R-PRM's: the line stands there exactly once, with one polarity, and the text ends with it; a full stop may
    follow. Reasons: `no_verdict_line`, `several_verdict_lines`, `both_verdicts`, `no_verdict_word`, `text_after_verdict`.
    """
    said = text.split(line)[1:]
    if not said:
        return None, "no_verdict_line"
    words = {word for rest in said if (word := _first_word(rest))}
    if len(said) > 1:
        return None, "both_verdicts" if len(words) == 2 else "several_verdict_lines"
    word = _first_word(said[0])
    if word is None:
        return None, "no_verdict_word"
    if said[0].strip().removesuffix(".") != word:
        return None, "text_after_verdict"
    return word, ""


def before_verdict(text: str, line: str = VERDICT_LINE) -> str | None:
    """The judgement up to the end of its last verdict line, where Yes or No comes next; None where it has none."""
    at = text.rfind(line)
    return None if at < 0 else text[: at + len(line)]


def _first_word(rest: str) -> str | None:
    """Yes or No where the text behind the line begins with one of them as a word."""
    rest = rest.lstrip()
    for word in (YES, NO):
        if rest.startswith(word) and not rest[len(word) : len(word) + 1].isalnum():
            return word
    return None


def joined_steps(steps: Sequence[str], join: str) -> tuple[str, list[tuple[int, int]]]:
    """(the steps as one text, where each of them stands in it: [start, end) in characters); `join` is a name of JOINS."""
    pieces, ranges, at = list[str](), list[tuple[int, int]](), 0
    for place, step in enumerate(steps):
        opening = JOINS[join](place)
        start = at + len(opening)
        at = start + len(step)
        pieces += [opening, step]
        ranges.append((start, at))
    return "".join(pieces), ranges


def blank_line(place: int) -> str:
    """A blank line between two steps."""
    return "\n\n" if place else ""


def line(place: int) -> str:
    """A line for each step."""
    return "\n" if place else ""


def numbered(place: int) -> str:
    """`Step 1: ...` and so on, a line for each."""
    return f"{line(place)}Step {place + 1}: "


def plain(place: int) -> str:
    """Nothing between them: of steps that bring what parts them."""
    return ""


# What stands before a step, by its place from 0.
JOINS: dict[str, Callable[[int], str]] = {
    "blank-line": blank_line,
    "line": line,
    "numbered": numbered,
    "none": plain,
}
