"""Written judgements -> the probability that a step is right: R-PRM's reward, averaged over several analyses.

    yes_probabilities(engine, student, rows, settings)     P(Yes) of each analysis, read where its verdict stands; None: none there
    step_reward([0.9, 0.7, None], "undecided")             0.8: the mean over those that say something

The reward of a step is R = mean over its K analyses of P(Yes), P(Yes) the two-way softmax of the words Yes and No behind the verdict
line (arXiv 2503.21295). An analysis without a verdict line says nothing; it is not a No.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from redistill.config.tables import CriticSettings
from redistill.errors import OperatorError
from redistill.io.client import Ask, Kept, Reply, Server, ask
from redistill.rollout.openai_engine import model_name, openai_engine
from redistill.rollout.requests import Student
from redistill.rollout.transformers_engine import transformers_engine
from redistill.text.judgements import NO, YES, before_verdict, read_verdict

NoMarker = Literal["undecided", "append", "drop"]
TOP = 20  # alternatives of the next token that a server is asked for: vLLM's own limit


@dataclass(frozen=True, slots=True)
class Analysis:
    """A written judgement: the prompt it answers, the prefill put before it, and what was written, prefill included."""

    prompt: str
    prefill: str
    completion: str


def yes_probabilities(
    engine: Callable[..., Any],
    student: Callable[[], Any],
    analyses: Sequence[Analysis],
    settings: CriticSettings,
    *,
    kept: Kept | None = None,
) -> list[float | None]:
    """P(Yes) of each analysis, None where it says nothing: no verdict line, too long for the model's context, or a model whose
    logits are not numbers.

    engine: the bound engine that the analyses were sampled with; with `read: verdict` nobody is asked, and P is 1 or 0. kept: a
    file for a server's replies. OperatorError for an engine or a server that gives no probabilities.
    """
    if settings.read == "verdict":
        verdicts = [read_verdict(one.completion, settings.line)[0] for one in analyses]
        return [None if word is None else float(word == YES) for word in verdicts]
    asked = {place: text for place, one in enumerate(analyses) if (text := forced_text(one, settings)) is not None}
    rows = [(analyses[place].prompt + analyses[place].prefill, text) for place, text in asked.items()]
    probabilities: list[float | None] = [None] * len(analyses)
    for place, value in zip(asked, _read(engine, student, rows, settings, kept or Kept()), strict=True):
        probabilities[place] = value if value is None or math.isfinite(value) else None
    return probabilities


def forced_text(analysis: Analysis, settings: CriticSettings) -> str | None:
    """What stands before the verdict, without the prefill: the analysis up to its verdict line; with `no_marker: append` the line is
    put behind an analysis that has none, else None."""
    text = analysis.completion.removeprefix(analysis.prefill)
    cut = before_verdict(text, settings.line)
    if cut is None and settings.no_marker == "append":
        return f"{text.rstrip()}\n{settings.line}"
    return cut


def words_of(line: str) -> tuple[str, str]:
    """Yes and No as they stand behind the line: with a space before them unless the line ends in one."""
    space = "" if line[-1:].isspace() else " "
    return f"{space}{YES}", f"{space}{NO}"


def step_reward(probabilities: Sequence[float | None], no_marker: NoMarker = "undecided") -> float | None:
    """R of a step: the mean of its analyses' P(Yes). None where nobody says anything; with `undecided` also where half of the
    analyses or more say nothing, with `drop` one is enough."""
    known = [value for value in probabilities if value is not None]
    if not known or (no_marker == "undecided" and 2 * len(known) <= len(probabilities)):
        return None
    return math.fsum(known) / len(known)


# --- who is asked -----------------------------------------------------------------------------------------------------


def _read(
    engine: Any, student: Callable[[], Any], rows: Sequence[tuple[str, str]], settings: CriticSettings, kept: Kept
) -> list[float | None]:
    options = engine.keywords if isinstance(engine, partial) else {}
    function = engine.func if isinstance(engine, partial) else engine
    if function is transformers_engine:
        return _in_process(student, rows, settings, options)
    if function is openai_engine:
        return _by_server(student, rows, settings, options, kept)
    raise OperatorError(
        "critic: this engine gives no next-token probabilities; use transformers or openai, or set read: verdict, which counts written verdicts."
    )


def _in_process(
    student: Callable[[], Any], rows: Sequence[tuple[str, str]], settings: CriticSettings, options: Any
) -> list[float | None]:
    from redistill.model.next_word import next_word
    from redistill.rollout.local_sampling import ready

    with ready(student, options.get("dtype", "auto")) as (model, tokenizer):
        return next_word(model, tokenizer, rows, words_of(settings.line), first_piece=settings.first_piece)


def _by_server(
    student: Callable[[], Any], rows: Sequence[tuple[str, str]], settings: CriticSettings, options: Any, kept: Kept
) -> list[float | None]:
    """Of a server: the alternatives of one token behind each text."""
    if options.get("api") == "chat":
        raise OperatorError(
            "critic: api: chat cannot continue a given text, so the verdict's probability cannot be read; set api: "
            "completions, or read: verdict, which counts written verdicts."
        )
    names = ("key_env", "concurrency", "retries", "timeout_seconds", "requests_per_minute")
    server = Server(options["base_url"], **{name: options[name] for name in names if name in options})
    here = student if isinstance(student, Student) else Student(student)
    name = model_name(server, options.get("model"), here, "evaluate.engine")
    asks = [
        Ask(
            "completions",
            {"model": name, "prompt": prompt + text, "max_tokens": 1, "temperature": 0.0, "logprobs": TOP},
        )
        for prompt, text in rows
    ]
    replies = ask(server, asks, kept=kept)
    return [_of_reply(reply, server, settings) for reply in replies]


def _of_reply(reply: Reply, server: Server, settings: CriticSettings) -> float | None:
    """The two-way softmax of the alternatives; None where neither word is among them, or the request is refused. A "
    "word that is not among them has the
    probability of the rarest that is, at most: that bound is taken."""
    if reply.refused:  # this text alone: too long for it, or filtered
        return None
    if not reply.top:
        raise OperatorError(
            f"critic: the server at {server.base_url} returns no log-probabilities (`logprobs: {TOP}` of "
            f"/completions), so the verdict's probability cannot be read; use a server that does, such as vLLM, or "
            f"set read: verdict, which counts written verdicts."
        )
    wrong = next((value for _, value in reply.top if not value <= 0.01), None)  # nan too; a rounding above 0 is none
    if wrong is not None:
        raise OperatorError(
            f"critic: the server at {server.base_url} returns {wrong} as the log-probability of a token, which is none, so its "
            f"verdicts cannot be weighed; use another server, or set read: verdict, which counts written verdicts."
        )
    tops = {token.replace("\u2581", " ").replace("\u0120", " "): value for token, value in reply.top}
    yes, no = words_of(settings.line)
    values = [_logprob(tops, word, other, settings.first_piece) for word, other in ((yes, no), (no, yes))]
    if values == [None, None]:
        return None
    least = min(tops.values())
    up, down = (least if value is None else value for value in values)
    if up == down:  # also where both are said to be impossible
        return 0.5
    return 1.0 / (
        1.0 + math.exp(min(down - up, 700.0))
    )  # vLLM says -9999 for an impossible token; a double ends at exp(709)


def _logprob(tops: dict[str, float], word: str, other: str, first_piece: bool) -> float | None:
    if word in tops or not first_piece:
        return tops.get(word)
    alternatives = [
        value for token, value in tops.items() if token and word.startswith(token) and not other.startswith(token)
    ]
    return max(alternatives, default=None)
