"""How help is printed: plain text, filled to the terminal, names on the left and their meaning on the right, no word broken."""

import textwrap
from typing import Any

INDENT = 26  # of what a name means
UNSAID = (None, "False", "()", "(None, None)")  # defaults that say nothing


class HelpFormat:
    """A help formatter of cyclopts (its protocol `HelpFormatter`): usage, description, then a table of two columns each for commands,
    arguments and options. rich's panels would cost a tenth of a second."""

    def render_usage(self, console: Any, options: Any, usage: Any) -> None:
        """The line of usage."""
        _print(console, f"Usage: {_text(console, usage)}\n\n")

    def render_description(self, console: Any, options: Any, description: Any) -> None:
        """The text; every part after it begins with an empty line."""
        _print(console, _text(console, description))

    def __call__(self, console: Any, options: Any, panel: Any) -> None:
        """A table under its title."""
        if panel.entries:
            _print(console, f"\n{panel.title}:")
        for entry in panel.entries:
            meaning = _text(console, entry.description)
            if panel.format == "command":
                _columns(console, ", ".join([*entry.positive_names, *entry.positive_shorts]), meaning)
            else:
                _columns(console, ", ".join(entry.display_labels_with_metavar), with_notes(entry, meaning))


def _text(console: Any, renderable: Any) -> str:
    """What rich makes of it, filled to the console's width."""
    with console.capture() as capture:
        console.print(renderable, highlight=False)
    return str(capture.get()).rstrip()


def _print(console: Any, text: str) -> None:
    """As it is: rich would replace `:name:` by emoji."""
    console.file.write("".join(f"{line.rstrip()}\n" for line in text.splitlines()))


def _columns(console: Any, name: str, meaning: str) -> None:
    lines = textwrap.wrap(
        " ".join(meaning.split()), console.width - INDENT, break_long_words=False, break_on_hyphens=False
    )
    left = f"  {name}"
    if lines and len(left) < INDENT:
        left = left.ljust(INDENT) + lines.pop(0)
    _print(console, "\n".join([left, *(" " * INDENT + line for line in lines)]))


def with_notes(entry: Any, meaning: str) -> str:
    """What a parameter means, with its choices, its default where it says something, and whether it is required."""
    notes = [meaning]
    if entry.choices:
        notes.append(f"({', '.join(entry.choices)})")
    if entry.default not in UNSAID and "default" not in meaning:
        notes.append(f"(default: {str(entry.default).strip(chr(39))})")
    if entry.required:
        notes.append("[required]")
    return " ".join(filter(None, notes))
