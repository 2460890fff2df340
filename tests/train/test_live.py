"""The view while a stage trains: at a real terminal (a pty), in a pipe, under CI; and the terminal is as it was, however it ends."""

import io
import os
import pty
import re
import signal
import sys
import termios
import threading
from contextlib import contextmanager

import pytest
from rich.console import Console

from redistill.io.progress import bar, say
from redistill.train import live
from redistill.train.guard_state import GuardState
from redistill.train.live import ASCII_BLOCKS, Drawing, Pace, answers_per_second, clock, live_view, sparkline, view

from .test_train_stage import SETTINGS, stage

ESCAPE = re.compile(r"\x1b\[[?0-9;]*[a-zA-Z]")


def line(step, **more):
    figures = {"loss": 0.5, "chosen_logp": -0.5, "rejected_logp": -1.5, "tokens_per_second": 5312.4, "guard": "steady"}
    return {"step": step, **figures, **more}


@pytest.fixture
def terminal(monkeypatch):
    """with terminal() as shown: stderr is a terminal; then shown() is all that was sent there."""

    @contextmanager
    def make():
        ours, theirs = pty.openpty()
        before, sent = termios.tcgetattr(theirs), []

        def read():
            while True:
                try:
                    sent.append(os.read(ours, 65536))
                except OSError:  # the other end is closed
                    return

        reader = threading.Thread(target=read)
        reader.start()
        with open(theirs, "w", encoding="utf-8") as stderr, monkeypatch.context() as patch:
            for name, value in (("TERM", "xterm-256color"), ("COLUMNS", "100"), ("LINES", "30")):
                patch.setenv(name, value)
            for name in ("CI", "NO_COLOR", "FORCE_COLOR", "RANK"):
                patch.delenv(name, raising=False)
            patch.setattr(sys, "stderr", stderr)
            try:
                yield lambda: b"".join(sent).decode()
            finally:
                assert sys.stderr is stderr and termios.tcgetattr(theirs) == before
        reader.join(timeout=10)
        os.close(ours)

    return make


def left_as_it_was(text):
    """The cursor is visible in the end and the view's lines are wiped."""
    return text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") and text.rstrip().endswith("\x1b[2K")


def test_at_a_terminal_a_stage_shows_its_figures_and_leaves_nothing_behind(terminal, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "SECONDS_A_FRAME", 0.0)
    with terminal() as shown:
        stage(tmp_path / "a")
    text = shown()
    read = ESCAPE.sub("", text)
    assert all(word in read for word in ("train redi", "4/9 steps", "9/9 steps", "tokens/s"))
    for label in ("loss", "chosen log-prob", "rejected", "guard"):
        assert re.search(rf"{label} +(-?\d+\.\d{{4}}  [{live.BLOCKS}]+|steady)", read)
    assert "[32m   steady" in text and left_as_it_was(text)


def test_ctrl_c_at_a_terminal_stops_after_the_step_and_the_terminal_is_as_it_was(terminal, tmp_path, monkeypatch):
    real = GuardState.judge

    def pressed(self, line):
        if line["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, line)

    monkeypatch.setattr(GuardState, "judge", pressed)
    with terminal() as shown, pytest.raises(KeyboardInterrupt):
        stage(tmp_path / "a", settings=SETTINGS.model_copy(update={"save_every": 100}))
    assert (tmp_path / "a/checkpoints/step-000003/done.json").exists()
    text = shown()
    assert "stopping after this step; Ctrl-C again stops at once" in text and left_as_it_was(text)


def test_what_is_said_stands_above_the_view_and_no_text_drives_the_terminal(terminal):
    with terminal() as shown, live_view("redi", total=9, history=[line(1)]) as show:
        show(line(2, text="\x1b]0;owned\x07", guard="warning", guard_reasons=["chosen_low"]))
        say("guard    redi: \x1b[2J warning")
        assert bar(range(3), "judge").disable
        show(line(9))
    text = shown()
    assert "guard    redi: \\x1b[2J warning\r\n" in ESCAPE.sub("", text)
    assert "owned" not in text and "\x1b[2J" not in text and "\x07" not in text and left_as_it_was(text)


@pytest.mark.parametrize("where", ["pipe", "a pipe that is told to be coloured", "dumb terminal", "CI", "second rank"])
def test_elsewhere_there_are_plain_lines_or_none(terminal, monkeypatch, where):
    monkeypatch.setattr(live, "SECONDS_A_LINE", 0.0)
    changes = {"CI": {"CI": "1"}, "second rank": {"RANK": "1"}, "dumb terminal": {"TERM": "dumb"}}
    with terminal() as shown:
        if "pipe" in where:
            monkeypatch.setattr(sys, "stderr", piped := io.StringIO())
        for name, value in changes.get(where, {"FORCE_COLOR": "1"} if "coloured" in where else {}).items():
            monkeypatch.setenv(name, value)
        with live_view("redi", total=3, history=[]) as show:
            for step in (1, 2, 3):
                show(line(step))
        say("done")
        monkeypatch.undo()
    text = piped.getvalue() if "pipe" in where else shown().replace("\r\n", "\n")
    rest = "5,312 tokens/s, loss 0.5, chosen -0.5, rejected -1.5, steady"
    lines = [f"train    redi: step 1 of 3, {rest}", f"train    redi: step 2 of 3, 0:00 left, {rest}", "done"]
    assert text.splitlines() == {"CI": ["done"], "second rank": []}.get(where, lines)


def test_the_time_left_is_told_from_the_last_steps_and_starts_again_after_a_rollback(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    pace = Pace(total=100)
    for step, at in ((1, 0.0), (2, 10.0), (3, 12.0)):
        now[0] = at
        pace.note(line(step))
    assert pace.left() == pytest.approx(97 * 6.0)  # two steps took 12 seconds
    now[0] = 20.0
    pace.note(line(2))
    assert pace.left() is None
    for step in range(3, 90):
        now[0] += 1.0
        pace.note(line(step))
    assert pace.left() == pytest.approx(11.0)


def test_a_sparkline_by_hand():
    assert sparkline([0, 1, 2, 3], 40) == "▁▃▆█"  # thirds of 7: 0, 2.3, 4.7, 7
    assert sparkline([3, float("nan"), 3, float("inf")], 40) == "▅▅" and sparkline([], 40) == ""
    assert sparkline([0, 0, 7, 7, 1, 1], 3) == "▁█▂"  # means of two: 0, 7, 1
    assert sparkline([0, 1], 40, ASCII_BLOCKS) == "_@"
    assert [clock(s) for s in (0.2, 42, 61, 4000)] == ["0:00", "0:42", "1:01", "1:06:40"]


@pytest.mark.parametrize("width", [40, 100])
def test_no_line_of_the_view_is_wider_than_the_terminal_and_old_terminals_get_ascii(width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    history = [line(step, loss=1 / (step + 1)) for step in range(5000)]
    console.print(view("a-stage-with-a-long-name", history, 12_345, 4000.0, width=width, ascii_only=True))
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 5 and max(map(len, lines)) <= width
    assert lines[1].startswith("loss               0.0002  @") and lines[4].split() == ["guard", "steady"]
    assert "4,999/12" in lines[0] and console.file.getvalue().isascii()


ROUND = {
    "round": 12,
    "reward": 0.625,
    "pass_rate": 0.5,
    "generated_tokens": 320,
    "samples_per_second": 16.0,
    "seconds": 0.5,
}


def test_a_stage_with_rollouts_says_its_round_in_every_plain_line(monkeypatch):
    """The second step of the round has no figures of its own, and is shown beside those of the first."""
    monkeypatch.setattr(live, "SECONDS_A_LINE", 0.0)
    monkeypatch.setattr(sys, "stderr", piped := io.StringIO())
    for name in ("CI", "RANK"):
        monkeypatch.delenv(name, raising=False)
    with live_view("grpo", total=9, history=[line(1, **ROUND)]) as show:
        show(line(2))
        show(line(3, **ROUND | {"round": 13, "reward": None, "pass_rate": None}))
        show({"step": 4, "loss": None, "num_rows": 0, "learning_rate": 1e-3, "tokens": 0, "seconds": 0.1})
    first, second, third = piped.getvalue().splitlines()
    assert first.startswith(
        "train    grpo: step 2 of 9, round 12, 16 answers/s, reward 0.625, pass rate 50%, 5,312 tokens/s"
    )
    assert "round 13, 16 answers/s, 5,312 tokens/s, loss" in second and "reward" not in second
    assert third.endswith("left, round 13, 16 answers/s, no row to train on")


def test_answers_a_second_are_not_shown_where_nothing_was_drawn():
    assert answers_per_second(ROUND) == 16
    assert answers_per_second(ROUND | {"samples_per_second": 0.0}) is None and answers_per_second({}) is None


def test_while_a_round_is_drawn_its_pace_and_the_time_left_are_said(monkeypatch):
    """32 of 128 answers in 4 seconds are 8 a second, so the other 96 take 12 seconds more."""
    drawing = Drawing(round=3, rounds=20, answers=32, asked=128, seconds=4.0)
    said = "drawing round 3 of 20, 32 of 128 answers, 8 answers/s, 0:12 left in the round"
    assert drawing.words() == drawing.words(left=12.0) == said
    assert (
        drawing.words(left=11.0) == "drawing round 3 of 20, 32 of 128 answers"
    )  # the round is no longer than the stage
    assert Drawing(1, 1, 0, 8, 0.1).words() == "drawing round 1 of 1, 0 of 8 answers"
    monkeypatch.setattr(live, "SECONDS_A_LINE", 0.0)
    monkeypatch.setattr(sys, "stderr", piped := io.StringIO())
    for name in ("CI", "RANK"):
        monkeypatch.delenv(name, raising=False)
    with live_view("grpo", total=9, history=[]) as show:
        show.drawing(drawing)
    assert piped.getvalue() == f"train    grpo: {said}\n"


def test_the_view_shows_a_round_that_is_drawn_before_the_first_step_is_done():
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    drawing = Drawing(round=1, rounds=20, answers=32, asked=128, seconds=4.0)
    console.print(view("grpo", [], 9, None, ascii_only=True, drawing=drawing))
    first, last = console.file.getvalue().splitlines()
    assert "0/9 steps" in first and last.startswith("drawing round 1 of 20, 32 of 128 answers, 8 answers/s")


def test_the_view_of_a_stage_with_rollouts_draws_reward_and_pass_rate_of_its_rounds():
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    # 3,000 steps, of which two opened a round: neither is thinned away
    history = [line(step) for step in range(3000)]
    history[7] |= ROUND | {"round": 1, "reward": 0.0}
    history[2990] |= ROUND
    console.print(view("grpo", history, 3000, 60.0, ascii_only=True))
    shown = console.file.getvalue().splitlines()
    assert "round 12  16 answers/s" in shown[0]
    assert shown[1].split() == ["reward", "0.6250", "_@"] and shown[2].split() == ["pass", "rate", "0.5000", "++"]
    assert not any(row.startswith(("reward", "pass")) for row in _shown([line(1), line(2)]))


def _shown(history):
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    console.print(view("redi", history, 9, None, ascii_only=True))
    return console.file.getvalue().splitlines()


def test_a_round_without_rows_breaks_no_view_and_a_total_may_move():
    empty = {"step": 2, "loss": None, "num_rows": 0, "tokens": 0, "seconds": 0.1, "guard": "steady"}
    assert any(row.startswith("loss") for row in _shown([line(1), empty]))
    totals = [10]
    pace = Pace(lambda: totals[0])
    assert pace.total == 10
    totals[0] = 4
    for step in (4, 5):
        pace.note(line(step))
    assert pace.total == 4 and pace.left() == 0.0  # never less than nothing
    assert "#" * 3 in _shown([line(12)])[0]  # past its total: a full bar, not an error
