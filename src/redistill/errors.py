"""The operator's slip: one sentence that says what is wrong, where, and what to do; never a traceback.

Raised anywhere, caught once, in cli/, which prints the sentence and exits with code 2. A troublesome *record* is
not an error but data with a reason (see `Dropped` in records.py), and a bug of ours crashes at once.
"""

from collections.abc import Callable
from typing import Any


class OperatorError(Exception):
    """One clear sentence for the person at the keyboard: what, where, what to do."""


class Slips:
    """Mistakes gathered as they are found, so that a person hears of all of them at once.

    slips = Slips(); objective = slips.ask(bind, OBJECTIVES, plugin, "train.sft.objective"); slips.end()
    """

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function returns, or None where it found a mistake, which is noted."""
        try:
            return function(*arguments)
        except OperatorError as error:
            self.sentences.append(str(error))
            return None

    def end(self) -> None:
        """OperatorError with every mistake noted, one a line; nothing where there was none."""
        if self.sentences:
            raise OperatorError("\n  ".join(dict.fromkeys(self.sentences)))
