"""Help that fits the terminal: paragraphs are filled, no word is broken, and commands that are too long go on after a backslash.

wrapped(TEXT, 80)       the text of a verb for a terminal of 80 columns
first_sentence(TEXT)    what the list of verbs says of it
"""

import argparse
import re
import textwrap
from typing import Any

CONTINUED = "      "  # before the second line of a command


def wrapped(text: str, width: int) -> str:
    """The text with its paragraphs filled to `width`; indented lines are commands and keep their line breaks."""
    paragraphs: list[list[str]] = [[]]
    for line in text.strip("\n").splitlines():
        if line.strip():
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    return "\n\n".join("\n".join(_paragraph(lines, width)) for lines in paragraphs if lines)


def _paragraph(lines: list[str], width: int) -> list[str]:
    found: list[str] = []
    prose: list[str] = []
    for line in [*lines, None]:
        if line is not None and not line.startswith(" ") and not line.endswith(":"):
            prose.append(line)
            continue
        if line is not None and not line.startswith(" "):  # `examples:` ends a stretch of prose
            prose.append(line)
        found += textwrap.wrap(" ".join(prose), width, break_long_words=False, break_on_hyphens=False)
        prose = []
        if line is not None and line.startswith(" "):
            found += _command(line, width)
    return found


def _command(line: str, width: int) -> list[str]:
    """A command on as many lines as it needs, parted at spaces outside quotes; the words after two or more spaces, which say what it
    does, go on a line of their own where they do not fit."""
    if len(line) <= width:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    command, gap, about = line.lstrip().partition("   ")  # three spaces part a command from what it is for
    command, about = indent + command.rstrip(), about.strip()
    words = re.findall(r"(?:'[^']*'|\"[^\"]*\"|[^\s'\"])+", command)
    rows, row = [], indent
    for word in words:
        glued = f"{row}{'' if row.strip() == '' else ' '}{word}"
        if len(glued) > width - 2 and row.strip():
            rows.append(f"{row} \\")
            row = indent + CONTINUED + word
        else:
            row = glued
    rows.append(row)
    if gap:
        note = textwrap.wrap(about, width - len(indent) - 2, break_long_words=False, break_on_hyphens=False)
        rows = [*(f"{indent}# {part}" for part in note), *rows]
    return rows


def first_sentence(text: str) -> str:
    """The first sentence of the first paragraph, whole."""
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    end = re.search(r"\.(?= [A-Z])|\.$", paragraph)
    return paragraph[: end.end()] if end else paragraph


class Formatter(argparse.RawDescriptionHelpFormatter):
    """argparse's, with descriptions filled to the terminal."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return wrapped(text, width)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)


def slip(message: str, known: dict[str, Any], typed: list[str]) -> str:
    """argparse's sentence on a word that it does not know, with the nearest one that it knows. known: verb -> its parser; typed: the
    command line."""
    import difflib

    what, invalid, rest = message.partition(": invalid choice: ")
    if invalid:
        word, _, choices = rest.partition(" (choose from ")
        word = word.strip("'\"")
        if what == "argument VERB":
            near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"the commands are {', '.join(known)}."
            return f"there is no command {word!r}; {hint}"
        near = difflib.get_close_matches(word, [c.strip(" '\")") for c in choices.split(",")], n=1, cutoff=0.5)
        return f"{message}; did you mean {near[0]!r}?" if near else message
    _, unrecognized, rest = message.partition("unrecognized arguments: ")
    verb = next((known[word] for word in typed if word in known), None)
    if unrecognized and verb is not None:
        strange = next((word.partition("=")[0] for word in rest.split() if word.startswith("-")), None)
        near = difflib.get_close_matches(strange, verb._option_string_actions, n=1, cutoff=0.6) if strange else []
        if near:
            return f"{message}; did you mean {near[0]!r}?"
    return message
