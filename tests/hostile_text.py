"""A trace as a stranger would write it, and how to see that a terminal was not driven by it."""

import re

HOSTILE = "\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b[2J\x1b[31m\x9b2J\roverwritten\x08\u202eturned\u2066<script>alert(1)</script>"
# tqdm ends a bar with \r and colours are ours in `doctor`; nothing else of this may reach a terminal
_COMMANDS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]|\r(?!\n)"
)


def commands_in(text: str) -> list[str]:
    """The characters of a text that a terminal would obey."""
    return _COMMANDS.findall(text)
