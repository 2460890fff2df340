"""What scorers that ask a language model share: the request, and what it costs, said before anything is asked.

    model = AskedModel(Server("http://127.0.0.1:8000/v1"), "some-model", max_tokens=256)
    cost_of(model, asks, kept).words(before=True)     "12 calls to ask (3 answered before), about 4,210 tokens in, ..."

Replies lie in a file under a hash of model and prompt: each is asked for, and paid for, once.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from redistill.errors import OnlyCounted, OperatorError
from redistill.io.client import Ask, Kept, Server
from redistill.io.progress import say
from redistill.verify.judge import CHARS_PER_TOKEN, JudgeCost


@dataclass(frozen=True, slots=True)
class AskedModel:
    """A model behind a server that speaks OpenAI's HTTP dialect. Prices are dollars for a million tokens; None: unknown."""

    server: Server
    model: str
    max_tokens: int = 512
    api: Literal["chat", "completions"] = "chat"
    price_in: float | None = None
    price_out: float | None = None
    max_calls: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def ask(self, prompt: str) -> Ask:
        """The request of one prompt, at temperature 0."""
        common = {"model": self.model, "max_tokens": self.max_tokens, "temperature": 0.0, **self.extra}
        if self.api == "chat":
            return Ask("chat/completions", {**common, "messages": [{"role": "user", "content": prompt}]})
        return Ask("completions", {**common, "prompt": prompt})

    def dollars(self, tokens_in: float, tokens_out: float) -> float | None:
        """None where a price is unknown."""
        if self.price_in is None or self.price_out is None:
            return None
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6


def filled(prompt: str, **data: str) -> str:
    """A prompt with its {names} filled in. Data stands between marks `<name>`, and what looks like such a mark is taken out of it."""
    names = "|".join(data)
    clean = {
        name: re.sub(rf"<\s*/?\s*({names})\s*>", " ", text, flags=re.IGNORECASE).strip() for name, text in data.items()
    }
    return re.sub(rf"\{{({names})\}}", lambda match: clean[match[1]], prompt)


def cost_of(model: AskedModel, asks: Iterable[Ask], kept: Kept) -> JudgeCost:
    """What these requests come to at most; asks nothing."""
    cost, seen = JudgeCost(), set[str]()
    for asked in asks:
        if asked.key in seen:
            continue
        seen.add(asked.key)
        cost.calls += 1
        if kept.get(asked.key) is not None:
            cost.kept += 1
            continue
        text = asked.body.get("prompt") or asked.body["messages"][0]["content"]
        cost.tokens_in += len(text) / CHARS_PER_TOKEN
        cost.tokens_out += model.max_tokens
    cost.dollars = model.dollars(cost.tokens_in, cost.tokens_out)
    return cost


def announce(name: str, model: AskedModel, asks: Iterable[Ask], kept: Kept) -> None:
    """Say what scorer `name` is about to ask. OperatorError, with nothing asked, where that is more than `max_calls`."""
    cost = cost_of(model, asks, kept)
    say(f"score    {name}: {model.model}: {cost.words(before=True)}")
    needed = cost.calls - cost.kept
    if model.max_calls == 0 and needed:
        raise OnlyCounted(
            f"score ({name}): {needed:,} calls are needed and max_calls is 0; nothing was asked. They were counted, as max_calls: 0 wants "
            "it; raise it to ask."
        )
    if model.max_calls is not None and cost.calls - cost.kept > model.max_calls:
        raise OperatorError(
            f"score ({name}): {cost.calls - cost.kept:,} calls are needed and max_calls is {model.max_calls:,}; nothing was asked. "
            "Raise it, or take fewer problems."
        )
