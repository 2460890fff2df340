"""Text for a terminal that cannot drive it. Everything that the tool prints passes `plain`.

    plain("\x1b]52;c;...\x07 a\rb \u202e")   ->  "\\x1b]52;c;...\\x07 a\\rb \\u202e"
    guard()                                 what libraries log or warn, and what nobody caught, passes it too

A trace is text of unknown origin: an escape sequence in it could recolour, retitle or overwrite what stands on the screen,
or write the clipboard (OSC 52), and a bidirectional control could turn a line round.
"""

import logging
import sys
import traceback
import warnings
from types import TracebackType
from typing import Any


def plain(text: str) -> str:
    """The text with all but printable characters, line ends and tabs shown as \\x1b, \\r, \\u202e."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """`plain`, with line ends and tabs shown too: "a\\nb" -> "a\\\\nb"."""
    return plain(text).replace("\n", "\\n").replace("\t", "\\t")


def guard() -> None:
    """From here on log records, warnings and uncaught errors of this process are shown as `plain` text."""
    make_record, format_warning = logging.getLogRecordFactory(), warnings.formatwarning
    if getattr(make_record, "is_plain", False):
        return

    def plain_record(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make_record(*arguments, **named)
        if record.args or not isinstance(record.msg, str) or plain(record.msg) != record.msg:
            record.msg, record.args = plain(_message(record)), ()
        return record

    plain_record.is_plain = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(plain_record)
    warnings.formatwarning = lambda *arguments, **named: plain(format_warning(*arguments, **named))
    sys.excepthook = _show_uncaught


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # arguments that do not fit: the library's slip, logging would print a traceback
        return f"{record.msg} {record.args}"


def _show_uncaught(kind: type[BaseException], error: BaseException, place: TracebackType | None) -> None:
    """A bug of ours, with its traceback: its message may hold a trace's text."""
    sys.stderr.write(plain("".join(traceback.format_exception(kind, error, place))))
