"""SIGTERM and SIGHUP stop a command as Ctrl-C does."""

import signal
import subprocess
import sys

import pytest

from redistill import cli
from redistill.cli.termination import like_ctrl_c
from redistill.train.stopping import at_the_next_step


@pytest.fixture(params=[signal.SIGTERM, signal.SIGHUP])
def number(request):
    """A signal that nobody ignores, also where the tests run under nohup."""
    before = signal.signal(request.param, signal.SIG_DFL)
    yield request.param
    signal.signal(request.param, before)


@pytest.fixture
def sigterm():
    """SIGTERM as a command meets it: a test before may have loaded a library that handles it."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield signal.SIGTERM
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN], ids=["at a terminal", "behind &"])
def ctrl_c(request):
    """What Ctrl-C does: a script's `command &` ignores it."""
    before = signal.signal(signal.SIGINT, request.param)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_command_that_is_ended_says_so_and_how_to_go_on(number, ctrl_c, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_do", lambda words: signal.raise_signal(number))
    with pytest.raises(SystemExit) as ended:
        cli.main(["run"])
    assert ended.value.code == 128 + number
    assert f"stopped by {number.name}; run the same command again" in capsys.readouterr().err
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_stage_that_trains_stops_after_its_step(sigterm):
    with like_ctrl_c() as ended_by, at_the_next_step() as asked:
        signal.raise_signal(sigterm)
        assert asked() and ended_by() == sigterm


def test_a_signal_that_is_ignored_stays_so(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)  # nohup
    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", lambda number, action: pytest.fail("somebody else's handler is replaced"))
        with like_ctrl_c():
            pass


def test_a_process_of_a_distributed_launch_ends_at_once(sigterm, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with like_ctrl_c():
        assert signal.getsignal(sigterm) is signal.SIG_DFL


@pytest.mark.parametrize("where", ["raise KeyboardInterrupt", "exec('raise KeyboardInterrupt')"])
def test_ctrl_c_ends_a_command_with_130_wherever_it_falls(where: str) -> None:
    # a dataclass is made by exec(), and CPython remembers an interrupt in there beyond the end of the program
    program = f"import redistill.cli as cli\ndef interrupted(words):\n    {where}\ncli._do = interrupted\ncli.main(['scores'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, "run the same command again" in done.stderr) == (130, True)
