"""What a user sees while a stage trains: a live view at a terminal, a plain line now and then in a pipe, nothing under CI.

    with live_view("redi", total=420, history=[]) as show:
        show({"step": 1, "loss": 0.69, "chosen_logp": -0.51, "rejected_logp": -1.92, "guard": "steady", ...})

    train redi  ━━━━━━━━━━━━━━━━━━━━━━━━  120/420 steps  0:42 left  5,312 tokens/s
    loss               0.4120  █▇▆▅▅▄▄▃▃▃▂▂▂▁▁▁▁
    chosen log-prob   -0.5134  ▁▁▂▂▃▃▄▄▅▅▆▆▇▇███
    rejected          -1.9213  ██▇▇▆▆▅▅▄▄▃▃▂▂▁▁▁
    guard              steady

Lines of metrics.jsonl come in, numbers go out: no text of a trace is ever printed. The view leaves nothing behind, and the
cursor is never hidden, so that a process killed with -9 leaves the terminal as it was. A stage with rollouts shows its round,
the answers a second and the round's reward and pass rate, and while a round is drawn how far it is; a round without rows has
no loss, and none is shown.
"""

import itertools
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from redistill.io.progress import is_main, say, unbarred

Line = Mapping[str, Any]
BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
CURVES = {  # what is drawn, and how a user calls it; what a stage has not is left out
    "reward": "reward",
    "pass_rate": "pass rate",
    "loss": "loss",
    "chosen_logp": "chosen log-prob",
    "rejected_logp": "rejected",
    "held_out_margin": "held-out margin",
    "accuracy": "critic is right",
    "held_out_accuracy": "on held-out rows",
    "probe_accuracy": "probe accuracy",
}
OF_A_ROUND = ("reward", "pass_rate")  # only the line that opens a round has them
STYLES = {"steady": "green", "drift": "yellow", "warning": "bold red", "collapse": "bold red reverse"}
SECONDS_A_FRAME, SECONDS_A_LINE = 0.2, 30.0
REMEMBERED = 50  # steps from which the time left is estimated


@dataclass(frozen=True, slots=True)
class Drawing:
    """How far the round is that is being drawn: answers that have come, of how many, in how many seconds."""

    round: int  # from 1
    rounds: int
    answers: int
    asked: int
    seconds: float

    def words(self, left: float | None = None) -> str:
        """`drawing round 3 of 20, 57 of 128 answers, 12.3 answers/s, 0:06 left in the round`. left: seconds to the end of the stage
        by its earlier rounds. Answers of one batch end together, so a round that has hardly begun seems slower than it is: a
        time for the round that is longer than that for the whole stage is left out."""
        said = [f"drawing round {self.round} of {self.rounds}", f"{self.answers:,} of {self.asked:,} answers"]
        if self.answers and self.seconds > 0:
            pace = self.answers / self.seconds
            of_round = (self.asked - self.answers) / pace
            if left is None or of_round <= left:
                said += [f"{pace:,.3g} answers/s", f"{clock(of_round)} left in the round"]
        return ", ".join(said)


class Shown:
    """What is shown of a stage; by itself nothing. Called with each line of metrics.jsonl."""

    def __call__(self, line: Line) -> None:
        """A step is done."""

    def drawing(self, drawing: Drawing) -> None:
        """Another answer of the open round has come."""


class Pace:
    """Steps seen in this session, and what is left by the pace of the last ones. total: a function where it may change as the
    stage goes on (rounds whose steps follow from their rows)."""

    def __init__(self, total: int | Callable[[], int]) -> None:
        self._total, self.stamps = total, deque[tuple[float, int]](maxlen=REMEMBERED)

    @property
    def total(self) -> int:
        return self._total() if callable(self._total) else self._total

    def note(self, line: Line) -> None:
        """A step is done now."""
        if self.stamps and line["step"] <= self.stamps[-1][1]:
            self.stamps.clear()  # the guard went back
        self.stamps.append((time.monotonic(), int(line["step"])))

    def left(self) -> float | None:
        """Seconds to the end; None before two steps are done."""
        if not self.stamps:
            return None
        (begun, first), (now, last) = self.stamps[0], self.stamps[-1]
        return (now - begun) / (last - first) * max(0, self.total - last) if last > first else None


@contextmanager
def live_view(stage: str, *, total: int | Callable[[], int], history: Sequence[Line]) -> Iterator[Shown]:
    """What shows lines of metrics.jsonl in the manner that fits where stderr goes. history: those before."""
    pace = Pace(total)
    if os.environ.get("CI") or not is_main():
        yield Shown()
    elif not sys.stderr.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        yield _PlainLines(stage, pace, history)
    else:
        with _screen(stage, pace, list(history)) as show:
            yield show


class _PlainLines(Shown):
    """A line of text at most every SECONDS_A_LINE; none for a stage that is over before."""

    def __init__(self, stage: str, pace: Pace, history: Sequence[Line]) -> None:
        self.stage, self.pace = stage, pace
        self.said, self.opening = time.monotonic(), opening_of_round(history)

    def _is_due(self) -> bool:
        due = time.monotonic() - self.said >= SECONDS_A_LINE
        self.said = time.monotonic() if due else self.said
        return due

    def __call__(self, line: Line) -> None:
        self.pace.note(line)
        self.opening = line if line.get("round") is not None else self.opening
        if line["step"] < self.pace.total and self._is_due():
            say(plain_line(self.stage, line, self.pace.total, self.pace.left(), self.opening))

    def drawing(self, drawing: Drawing) -> None:
        if self._is_due():
            left = self.pace.left()
            in_all = f", {clock(left)} left in all" if left is not None else ""
            say(f"train    {self.stage}: {drawing.words(left)}{in_all}")


def opening_of_round(history: Sequence[Line]) -> Line | None:
    """The line of the first step of the round that `history` ends in; None for a stage without rollouts."""
    return next((line for line in reversed(history) if line.get("round") is not None), None)


def answers_per_second(opening: Line) -> float | None:
    """Answers of a round over the seconds in which they were drawn and judged; None where that is not known."""
    pace = opening.get("samples_per_second")
    return float(pace) if pace else None


def plain_line(stage: str, line: Line, total: int, left: float | None, opening: Line | None = None) -> str:
    """`train    redi: step 120 of 420, 0:42 left, 5,312 tokens/s, loss 0.412, chosen -0.51, rejected -1.92, steady`.

    opening: the line of its round's first step, `... round 12, 96 answers/s, reward 0.62, pass rate 62%, ...`.
    """
    said = [f"step {line['step']} of {total}", *([f"{clock(left)} left"] if left is not None else [])]
    if opening is not None:
        pace, reward, passed = answers_per_second(opening), opening.get("reward"), opening.get("pass_rate")
        said += [f"round {opening['round']}", *([f"{pace:,.3g} answers/s"] if pace is not None else [])]
        said += [f"reward {reward:.3g}"] if reward is not None else []
        said += [f"pass rate {passed:.0%}"] if passed is not None else []
    said += [f"{line['tokens_per_second']:,.0f} tokens/s"] if line.get("tokens_per_second") is not None else []
    said += [f"loss {line['loss']:.4g}"] if line.get("loss") is not None else ["no row to train on"]
    said += [f"accuracy {line['accuracy']:.0%}"] if line.get("accuracy") is not None else []
    for name in ("chosen", "rejected"):
        said += [f"{name} {line[f'{name}_logp']:.3g}"] if line.get(f"{name}_logp") is not None else []
    return f"train    {stage}: " + ", ".join([*said, *([line["guard"]] if "guard" in line else [])])


@contextmanager
def _screen(stage: str, pace: Pace, history: list[Line]) -> Iterator[Shown]:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=sys.stderr, highlight=False)
    # no thread draws: a frame follows a step. Lines that are said meanwhile go above the view.
    live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False, vertical_overflow="crop")
    with live, unbarred():
        console.show_cursor(True)
        yield _Screen(stage, pace, history, console, live)


class _Screen(Shown):
    """Frames of the view, one every SECONDS_A_FRAME at most."""

    def __init__(self, stage: str, pace: Pace, history: list[Line], console: Any, live: Any) -> None:
        self.stage, self.pace, self.history, self.console, self.live = stage, pace, history, console, live
        self.shown = 0.0

    def __call__(self, line: Line) -> None:
        self.pace.note(line)
        while self.history and self.history[-1]["step"] >= line["step"]:
            self.history.pop()
        self.history.append(line)
        self._frame(None, at_once=line["step"] == self.pace.total)

    def drawing(self, drawing: Drawing) -> None:
        self._frame(drawing, at_once=False)

    def _frame(self, drawing: Drawing | None, *, at_once: bool) -> None:
        if not at_once and time.monotonic() - self.shown < SECONDS_A_FRAME:
            return
        self.shown = time.monotonic()
        width, ascii_only = self.console.width, self.console.options.ascii_only
        drawn = view(
            self.stage, self.history, self.pace.total, self.pace.left(), width=width, ascii_only=ascii_only, drawing=drawing
        )  # fmt: skip
        self.live.update(drawn, refresh=True)


def view(
    stage: str,
    history: Sequence[Line],
    total: int,
    left: float | None,
    *,
    width: int = 100,
    ascii_only: bool = False,
    drawing: Drawing | None = None,
) -> Any:
    """The view after the last line of `history`, `width` characters wide at most, as something rich prints. drawing: the
    round that is being drawn now."""
    from rich.console import Group
    from rich.text import Text

    last: Line = history[-1] if history else {"step": 0}
    parts = [f"{last['step']:,}/{total:,} steps", *([f"{clock(left)} left"] if left is not None else [])]
    openings = [line for line in history if line.get("round") is not None]
    if openings:
        pace = answers_per_second(openings[-1])
        parts += [f"round {openings[-1]['round']:,}", *([f"{pace:,.3g} answers/s"] if pace is not None else [])]
    parts += [f"{last['tokens_per_second']:,.0f} tokens/s"] if "tokens_per_second" in last else []
    name, said = f"train {stage}", "  ".join(parts)
    cells = min(24, width - len(name) - len(said) - 4)
    rows = [Text.assemble((name, "bold"), "  ")]
    if cells >= 6:
        full = min(cells, cells * last["step"] // max(1, total))
        done, open_ = ("#", ".") if ascii_only else ("━", "━")
        rows[0].append(done * full, "cyan").append(open_ * (cells - full), "dim").append("  ")
    rows[0].append(said)
    drawn, rounds = _some(history), _some(openings)
    for key, label in CURVES.items():
        lines = rounds if key in OF_A_ROUND else drawn
        values = [float(line[key]) for line in lines if line.get(key) is not None]
        if values:
            curve = sparkline(values, max(0, min(40, width - 28)), ASCII_BLOCKS if ascii_only else BLOCKS)
            rows.append(Text(f"{label:<15} {values[-1]:>9.4f}  {curve}"))
    if "guard" in last:
        state = Text.assemble("guard".ljust(15), " ", (last["guard"].rjust(9), STYLES[last["guard"]]))
        rows.append(state.append("  " + ", ".join(last.get("guard_reasons", ()))))
    if drawing is not None:
        rows.append(Text(drawing.words(left)))
    for row in rows:
        row.truncate(width, overflow="crop")
    return Group(*rows)


def _some(lines: Sequence[Line]) -> list[Line]:
    """About a thousand lines at most, the last one among them: a frame costs the same in a long stage."""
    return [*lines[:-1][:: 1 + len(lines) // 1000], *lines[-1:]]


def sparkline(values: Sequence[float], width: int, blocks: str = BLOCKS) -> str:
    """The values' course in at most `width` characters, each the mean of its share of them: [0, 1, 2, 3] -> ▁▃▆█.

    From the smallest to the largest mean; all alike is the middle; what is not finite is left out.
    """
    finite = [value for value in values if abs(value) < float("inf")]
    count = min(width, len(finite))
    cuts = [len(finite) * place // count for place in range(count + 1)] if count else []
    means = [sum(finite[a:b]) / (b - a) for a, b in itertools.pairwise(cuts)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    if high <= low:
        return blocks[len(blocks) // 2] * count
    return "".join(blocks[round((mean - low) / (high - low) * (len(blocks) - 1))] for mean in means)


def clock(seconds: float) -> str:
    """A duration for people: 42 -> 0:42, 4000 -> 1:06:40."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
