"""What a student of the two-habits teacher does, line by line: is its careful habit sound before negatives come?

    diagnose(groups)  ->  {"title": ..., "sentence": "...", "rows": [{"label": "single steps that are right", ...}]}

Objectives with negatives only re-weight habits that a student already has. Where the careful habit itself is broken (it
copies the wrong digit, or slips on single steps) they have nothing good to turn to, and have been seen to do harm.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from redistill.corpus.two_habits.teacher import solve
from redistill.records import Group, Outcome

_LINE = re.compile(r"(\d)((?:[-+*]\d)+)=(\d)")
SOUND = 0.97  # of single steps and of copies: seven lines at .97 still end right four times in five


def diagnose(groups: Iterable[Group]) -> dict[str, Any]:
    """Shares over all lines of the samples of these groups.

    A line is `value operator digit ... = result;`. It is a single step or a jump; its copy is right when it begins with
    the result of the line before (the problem's first digit at the start) and goes on with the problem's next
    operations; its arithmetic is right when the result follows from what it says. `of jumps` and `of single steps` name
    the habit in which a wrong sample first went wrong.
    """
    seen: Counter[str] = Counter()
    for group in groups:
        for trace in group.traces:
            fault = _read(group.problem.statement, trace.completion, seen)
            if trace.verdict.outcome is not Outcome.correct:
                seen["wrong"] += 1
                seen[f"wrong:{fault}"] += 1
    copies = _share(seen["copy_right"], seen["lines"])
    steps = _share(seen["step_right"], seen["steps"])
    jumps = _share(seen["jump_right"], seen["jumps"])
    rows = [
        {"label": "lines copied without an error", "value": copies, "n": seen["lines"]},
        {"label": "single steps that are right", "value": steps, "n": seen["steps"]},
        {"label": "jumps that are right", "value": jumps, "n": seen["jumps"]},
        {"label": "lines that are jumps", "value": _share(seen["jumps"], seen["lines"]), "n": seen["lines"]},
        {
            "label": "wrong answers that went wrong in a jump",
            "value": _share(seen["wrong:jump"], seen["wrong"]),
            "n": seen["wrong"],
        },
    ]
    sound = copies is not None and steps is not None and min(copies, steps) >= SOUND
    if sound:
        verdict = (
            f"the careful habit works ({steps:.1%} of single steps and {copies:.1%} of copies are right, against "
            f"{'no jumps' if jumps is None else f'{jumps:.1%} of jumps'}): negatives can shift the student to it."
        )
    elif steps is None or copies is None:
        verdict = "the student writes no line in the teacher's form: train stage 1 longer before any negatives."
    else:
        verdict = (
            f"the careful habit is broken ({steps:.1%} of single steps and {copies:.1%} of copies are right, below {SOUND:.0%}): "
            "negatives cannot repair that and may make it worse; train stage 1 better first."
        )
    return {"title": "Habits of the student before negatives", "sentence": verdict, "rows": rows, "sound": sound}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _read(statement: str, completion: str, seen: Counter[str]) -> str:
    """Count the lines of one completion; returns the habit of its first fault (`copy`, `step`, `jump`, `form`, `none`)."""
    rest, value, fault = statement.rstrip("="), statement[:1], "none"
    rest = rest[1:]
    for text in completion.partition("####")[0].split(";")[:-1]:
        line = _LINE.fullmatch(text)
        if line is None:
            return "form" if fault == "none" else fault
        begins, said, result = line.groups()
        operations = [(said[i], int(said[i + 1])) for i in range(0, len(said), 2)]
        kind = "step" if len(operations) == 1 else "jump"
        seen["lines"] += 1
        seen[f"{kind}s"] += 1
        copied = begins == value and rest.startswith(said)
        right = solve(int(begins), operations) == int(result)
        seen["copy_right"] += copied
        seen[f"{kind}_right"] += right
        if fault == "none" and not (copied and right):
            fault = kind if copied else "copy"
        rest, value = rest[len(said) :], result
    return fault
