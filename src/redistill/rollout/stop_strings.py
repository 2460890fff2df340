"""Stop strings in a row's tokens: whether its last token completed one, and the text before it.

    stops = StopStrings(tokenizer, ("\\n\\n",))
    stops.completed(tokens)      True after the token that spelled the second line break
    stops.cut("a step\\n\\n")     ("a step", "\\n\\n")

A stop string may begin and end within tokens, so text is looked at, not ids: after each token that of the last few, and that of all
only where those hold one.
"""

import itertools
from collections.abc import Sequence
from typing import Any

_MORE = 2  # tokens decoded beside those that can spell a stop string: some decoders strip a blank before the first


class StopStrings:
    """The stop strings of one call, for rows of one tokenizer."""

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self.tokenizer, self.stops = tokenizer, tuple(stops)
        added = tokenizer.added_tokens_decoder.items()
        self.silent = {*tokenizer.all_special_ids, *(id for id, token in added if token.special)}
        # every other token spells a byte or more
        self.window = max((len(stop.encode()) for stop in self.stops), default=0) + _MORE

    def completed(self, tokens: Sequence[int]) -> bool:
        """Whether the text of these tokens holds a stop string, asked after each of them: the last one completes it."""
        if not self.stops:
            return False
        spoken = (token for token in reversed(tokens) if token not in self.silent)
        tail = self._text(list(itertools.islice(spoken, self.window))[::-1])
        if not any(stop in tail for stop in self.stops):
            return False
        return self.cut(self._text(tokens))[1] != ""

    def cut(self, text: str) -> tuple[str, str]:
        """The text before the first stop string and that string; the whole text and "" where it holds none."""
        matches = [(place, -len(stop), stop) for stop in self.stops if (place := text.find(stop)) >= 0]
        if not matches:
            return text, ""
        place, _, stop = min(matches)
        return text[:place], stop

    def _text(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
