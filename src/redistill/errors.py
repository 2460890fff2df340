"""The user's mistake: one sentence that says what is wrong, where, and what to do; never a traceback.

Raised anywhere, caught once, in cli/, which prints the sentence and exits with code 2. A troublesome *record* is
not an error but data with a reason (see `Dropped` in records.py), and a bug of ours crashes at once.
"""

from collections.abc import Callable
from typing import Any


class OperatorError(Exception):
    """One clear sentence for the user: what, where, what to do."""


class OnlyCounted(OperatorError):
    """What was asked for was to count, and it was counted: the sentence says how many, and the command ends with exit code 0."""


class ErrorCollector:
    """Mistakes gathered as they are found, so that a user hears of all of them at once.

    errors = ErrorCollector(); objective = errors.try_call(bind, OBJECTIVES, plugin, "train.sft.objective"); errors.raise_if_any()
    """

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def try_call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function returns, or None where it found a mistake, which is noted."""
        try:
            return function(*arguments)
        except OperatorError as error:
            self.sentences.append(str(error))
            return None

    def raise_if_any(self) -> None:
        """OperatorError with every mistake noted, one a line; nothing where there was none."""
        if self.sentences:
            raise OperatorError("\n  ".join(dict.fromkeys(self.sentences)))
