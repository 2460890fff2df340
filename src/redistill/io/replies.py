"""What a server that speaks OpenAI's HTTP dialect answers, read: text, tokens, why it stopped, or why there is no answer.

read_reply({"choices": [{"text": "4", "finish_reason": "stop"}]})      ->  Reply("4", "stop", None, None)
read_reply({"data": [{"index": 0, "data": [[0.1], [0.9]]}]})           ->  Reply("[[0.1], [0.9]]", None, None, None)
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NO_ANSWER = (
    "content_filter",
    "tool_calls",
    "function_call",
)  # finish reasons of a choice that holds no answer to the prompt


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer. Token counts are None where the server states none; token_ids and logprobs, one a token of the
    completion, are empty where it does not return them. stop: the stop string that ended it, empty where the model ended it;
    None where the server does not say which. refused: why there is no answer (the server's status and words, or a finish
    reason such as content_filter); "" for an answer. A refused one is not a wrong one. model: as whom the server answered. top:
    (token, log-probability) of the alternatives of the first token, where asked for."""

    text: str
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    stop: str | None = None
    refused: str = ""
    model: str = ""
    top: tuple[tuple[str, float], ...] = ()


def read_reply(body: Any) -> Reply:
    """The first choice of a completion or of a chat completion; of a pooling answer its numbers, as JSON text. ValueError, KeyError
    ... where it is none of these.

    `refused` where it stopped for a reason of NO_ANSWER or has no content at all; an empty text is an answer. Token counts that
    are none are unknown: the reply itself is paid for. A chat answer whose thinking the server has parted from its text gets it back in <think> marks:
    what the model said is judged whole.
    """
    if "choices" not in body and "data" in body and "data" in body["data"][0]:
        return Reply(json.dumps(body["data"][0]["data"]), None, None, None)
    choice = body["choices"][0]
    if "message" in choice:
        message = choice["message"]
        text, thinking = message.get("content"), message.get("reasoning_content") or message.get("reasoning")
        text = f"<think>{thinking}</think>{text or ''}" if thinking else text
    else:
        text = choice["text"]
    if not isinstance(text, str | None):
        raise ValueError("the text of a completion is not a string")
    usage = body.get("usage")
    prompt_tokens, completion_tokens = (_count_in(usage, name) for name in ("prompt_tokens", "completion_tokens"))
    reason = choice.get("finish_reason")
    refused = str(reason) if reason in NO_ANSWER else "" if text is not None else f"no content ({reason})"
    token_ids, logprobs = _tokens(choice, completion_tokens)
    return Reply(
        text or "",
        reason if isinstance(reason, str) else None,
        prompt_tokens,
        completion_tokens,
        token_ids,
        logprobs,
        _stop_string(choice),
        refused,
        str(body.get("model") or ""),
        _alternatives(choice),
    )


def _count_in(usage: Any, name: str) -> int | None:
    """A token count of a reply's `usage`; None where it states none, or none that is a number."""
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _stop_string(choice: Mapping[str, Any]) -> str | None:
    """What ended a choice, of those that say it: vLLM's `stop_reason` and SGLang's `matched_stop` hold the stop string, or the id
    of a token, or nothing for the model's own end of turn."""
    for name in ("stop_reason", "matched_stop"):
        if name in choice:
            return choice[name] if isinstance(choice[name], str) else ""
    return None


def _alternatives(choice: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    """(token, log-probability) of what might have stood in the place of the first token; empty where the server does not say. One
    whose log-probability is not a number is left out."""
    logprobs = choice.get("logprobs") or {}
    if logprobs.get("content"):  # chat
        rows = logprobs["content"][0].get("top_logprobs") or ()
        pairs = [(row["token"], row["logprob"]) for row in rows]
    else:
        pairs = list(((logprobs.get("top_logprobs") or [None])[0] or {}).items())
    return tuple((str(token), float(value)) for token, value in pairs if value is not None and not math.isnan(value))


def _tokens(choice: Mapping[str, Any], counted: int | None) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """(token ids, log-probabilities) of a choice. vLLM returns both where `return_token_ids` and `logprobs` ask for them, llama.cpp
    an `id` beside each log-probability, but not for the tokens that spell a stop string: then what was sampled is not known. Servers
    that do not know them leave them out. ValueError where both are there and differ in number."""
    token_ids = tuple(int(id) for id in choice.get("token_ids") or ())
    logprobs_of_choice = choice.get("logprobs") or {}
    if logprobs_of_choice.get("content") is not None:  # chat; of llama.cpp also /completions
        logprobs = tuple(float(token["logprob"]) for token in logprobs_of_choice["content"])
        if not token_ids and all("id" in token for token in logprobs_of_choice["content"]):
            if counted is not None and counted > len(logprobs):
                return (), ()
            token_ids = tuple(int(token["id"]) for token in logprobs_of_choice["content"])
    else:
        logprobs = tuple(float(value) for value in logprobs_of_choice.get("token_logprobs") or ())
    if not all(map(math.isfinite, logprobs)):
        raise ValueError("a log-probability is not a number")
    if token_ids and logprobs and len(token_ids) != len(logprobs):
        raise ValueError(f"{len(token_ids)} token ids and {len(logprobs)} log-probabilities")
    return token_ids, logprobs
