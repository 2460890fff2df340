"""What is seen while work goes on: an answer that is being drawn moves the bar, also before one is finished."""

import io as io_

import pytest

from redistill.io import progress


class Terminal(io_.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    found = Terminal()
    for name in ("CI", "RANK", "TQDM_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(progress, "_no_bars", 0)
    monkeypatch.setattr(progress, "_bars", [])
    return found


def test_a_beat_is_shown_before_anything_is_finished_but_not_in_the_first_two_seconds(terminal, monkeypatch):
    monkeypatch.setattr("sys.stderr", terminal)  # here, for pytest sets its own between a fixture and the test
    with progress.bar(label="evaluate x", unit="answer", total=20) as bar:
        progress.beat("10 tokens drawn")
        assert "10 tokens" not in terminal.getvalue()
        bar.start_t -= 10  # ten seconds ago
        progress.beat("5,120 tokens drawn, 20 answers under way")
        said = terminal.getvalue()
        assert "0/20" in said and "5,120 tokens drawn, 20 answers under way" in said
        progress.beat("again")  # within the same second: nothing
        assert "again" not in terminal.getvalue()
    progress.beat("after")
    assert "after" not in terminal.getvalue()


def test_no_bar_no_beat(monkeypatch):
    monkeypatch.setattr("sys.stderr", io_.StringIO())
    with progress.bar(label="x", total=1):
        progress.beat("words")
    assert "words" not in __import__("sys").stderr.getvalue()
