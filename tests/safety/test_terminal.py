"""Nothing that a file, a library or an error says can drive the terminal."""

import logging
import subprocess
import sys

import pytest

from hostile_text import HOSTILE, commands_in
from redistill.cli import main
from redistill.io.progress import bar, say
from redistill.safety.terminal import plain

# every way by which a terminal is driven: CSI, OSC 52 (the clipboard), 8-bit CSI, bell, carriage return, bidi, line separators
WAYS = "\x1b[2J \x1b]52;c;aGk=\x07 \x9b31m \r \b \x00 \u202e\u2066 \u2028 \u200b \ue000 \U000e0041"


def test_only_printable_characters_line_ends_and_tabs_are_left():
    assert plain("a\tb\nc é 漢 🙂") == "a\tb\nc é 漢 🙂"
    shown = plain(WAYS)
    assert shown.isprintable() and shown.startswith(
        "\\x1b[2J \\x1b]52;c;aGk=\\x07 \\x9b31m \\r \\x08 \\x00 \\u202e\\u2066"
    )


def test_lines_and_bars_of_progress_are_plain(capsys, monkeypatch):
    say(f"verify  {WAYS}")
    assert not commands_in(capsys.readouterr().err)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert bar([], WAYS).desc.startswith(plain(WAYS))


def test_what_libraries_log_or_warn_and_what_nobody_caught_is_plain():
    code = (
        "import logging, sys, warnings\nfrom redistill.safety.terminal import guard\nguard(); guard()\n"
        f"text = {HOSTILE!r}\nlogging.warning('a %s', text)\nlogging.warning(text)\nlogging.warning('%d', 'no number')\n"
        "warnings.warn(text)\nraise ValueError(text)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    said = done.stderr.decode()
    assert done.returncode == 1 and not commands_in(said)
    assert said.count("\\x1b]52;") >= 4 and "ValueError" in said and "no number" in said


def test_the_guard_leaves_ordinary_records_as_they_are(caplog):
    main(["--version"])
    logging.getLogger("other").warning("%s of %s", 1, 2)
    assert caplog.records[-1].getMessage() == "1 of 2"


def test_an_argument_that_is_not_known_is_said_back_as_signs(capsys):
    with pytest.raises(SystemExit):
        main(["scores", "run", "--\x1b[31m"])
    assert not commands_in(capsys.readouterr().err)
