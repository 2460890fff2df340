"""A language model that is asked for a judgement: the request, and what it costs, said before anything is asked.

    model = AskedModel(Server("http://127.0.0.1:8000/v1"), "some-model", max_tokens=256)
    cost_of(model, asks, kept).words(before=True)     "12 calls to ask (3 answered before), about 4,210 tokens in, ..."

The LLM judge and the scorers that ask a served model share it. Replies lie in a file under a hash of model and prompt: each is
asked for, and paid for, once.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from redistill.errors import OnlyCounted, OperatorError
from redistill.io.client import Ask, Kept, Server
from redistill.io.progress import say

CHARS_PER_TOKEN = 3.5  # a guess, for the cost before anything is asked; what was paid is counted by the server


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


@dataclass(slots=True)
class CallCost:
    """What asking costs: calls, how many of them were answered before, tokens, and dollars where prices are
    known. Before anything is asked tokens and dollars are of what is missing; afterwards of all calls, whenever they were paid."""

    calls: int = 0
    kept: int = 0
    tokens_in: float = 0
    tokens_out: float = 0
    dollars: float | None = None

    def words(self, before: bool) -> str:
        """A line for people; `before`: tokens are guessed from the text, and answers counted at their longest."""
        about, most = ("about ", "at most ") if before else ("", "")
        cost = "price unknown" if self.dollars is None else f"{most}${self.dollars:,.2f}"
        calls = f"{self.calls - self.kept:,} calls to ask" if before else f"{self.calls:,} calls"
        return f"{calls} ({self.kept:,} answered before), {about}{self.tokens_in:,.0f} tokens in, {most}{self.tokens_out:,.0f} out, {cost}"


def filled(prompt: str, **data: str) -> str:
    """A prompt with its {names} filled in. Data stands between marks `<name>`, and what looks like such a mark is taken out of it."""
    names = "|".join(data)
    clean = {
        name: re.sub(rf"<\s*(?:/\s*)?({names})\s*>", " ", text, flags=re.IGNORECASE).strip()
        for name, text in data.items()
    }
    return re.sub(rf"\{{({names})\}}", lambda match: clean[match[1]], prompt)


def cost_of(model: AskedModel, asks: Iterable[Ask], kept: Kept) -> CallCost:
    """What these requests come to at most, each counted once; asks nothing."""
    cost, seen = CallCost(), set[str]()
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


def check_calls(where: str, model: AskedModel, cost: CallCost, what: str) -> int:
    """How many calls are to be asked. OperatorError, with nothing asked, where these are more than `max_calls`; what: of which fewer
    make fewer calls."""
    needed = cost.calls - cost.kept
    if model.max_calls == 0 and needed:
        raise OnlyCounted(
            f"{where}: {needed:,} calls are needed; no call was made, because max_calls is 0 (count only). Raise max_calls to make them."
        )
    if model.max_calls is not None and needed > model.max_calls:
        raise OperatorError(
            f"{where}: {needed:,} calls are needed and max_calls is {model.max_calls:,}; no call was made. Raise it, or use fewer "
            f"{what}."
        )
    return needed


def kept_replies(
    held: dict[str, Any], cache: Path, scorer: str, model: AskedModel, asks: Callable[[], Iterable[Ask]]
) -> Kept:
    """The replies that a scorer keeps in `cache`. At its first call, before anything is asked, what all its requests cost is said;
    OperatorError where they are more than `max_calls`. held: what lives as long as the scorer."""
    if "kept" not in held:
        held["kept"] = Kept(cache)
        cost = cost_of(model, asks(), held["kept"])
        say(f"score    {scorer}: {model.model}: {cost.words(before=True)}")
        check_calls(f"score ({scorer})", model, cost, "problems")
    kept: Kept = held["kept"]
    return kept
