"""Sampling by a server that speaks OpenAI's HTTP dialect: vLLM, SGLang, llama.cpp, `transformers serve`, a hosted one.

    evaluate: {engine: {name: openai, base_url: "http://127.0.0.1:8000/v1", model: runs/demo/train/redi/model}}

Each sample is a request of its own with a seed of its own, and is handed on as soon as it is there (rollout/journal.py keeps
it): a run that is killed asks only for the missing ones. By default the prompt goes as text to /completions, so the recipe's own template and the prefilled
`<think>` hold as they do in process.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from redistill.errors import OperatorError
from redistill.io.api_keys import KEY_ENV, BaseUrl, Extra, KeyEnv
from redistill.io.client import Ask, Kept, Reply, Server, ask, served_models
from redistill.io.progress import say
from redistill.records import REFUSED
from redistill.rollout.requests import Finished, Request, Sample, Sampling, Student, tell_nobody
from redistill.text.image_marks import images_in

# How the server is reached: no part of a result, so a change of these repeats no evaluation.
TRANSPORT = ("base_url", "key_env", "concurrency", "retries", "timeout_seconds", "requests_per_minute")
SEED_BITS = 31  # llama.cpp takes 32 bits, the others 63: the lowest 31 bits of a sample's seed fit all
OURS = ("model", "prompt", "messages", "max_tokens", "temperature", "top_p", "seed", "n", "stream")
# (tokens of the prompt, tokens of the context) in what servers say of a prompt that does not fit
TOO_LONG = (
    r"\((?P<prompt>\d+) tokens\) exceeds the available context size \((?P<context>\d+)",  # llama.cpp
    r"\((?P<prompt>\d+) tokens\) is longer than the model's context length \((?P<context>\d+)",  # SGLang
    r"context length is (?P<context>\d+) tokens.*?(?P<prompt>\d+) (?:input tokens|in the (?:messages|prompt))",  # vLLM
)


def openai_engine(
    student: Callable[[], Any],
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    base_url: BaseUrl,
    model: str | None = None,
    api: Literal["completions", "chat"] = "completions",
    key_env: KeyEnv = KEY_ENV,
    concurrency: Annotated[int, Field(gt=0)] = 32,
    retries: Annotated[int, Field(ge=0)] = 5,
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0,
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None,
    extra: Extra | None = None,
    _finished: Finished = tell_nobody,
    _replied: Callable[[int, Reply], None] = lambda place, reply: None,
    _where: str = "evaluate.engine",
) -> list[Sample]:
    """One sample a request from the server at base_url, in the order of the requests. `student` is not loaded.

    model: the name by which the server knows the student; `{student}` in it stands for the student's folder or hub id;
    default: the one model that the server lists. api: `chat` sends the prompt as a user message, under the server's own
    chat template. A request that the server refuses while it answers others gets an empty sample whose facts say so under
    `refused`. extra: more fields of the body, as this server knows them, such as {top_k: -1}. A prompt that the
    server calls too long for its context gets an empty sample with finish reason 'length'. Where `Sampling.logprobs` asks
    for them, log-probabilities and token ids are those that the server returns (vLLM: both, before temperature and top-p
    by its default `logprobs_mode`); what it does not return stays empty. Stop strings are sent as `stop`; which of them ended a
    sample, if any, is read from vLLM's `stop_reason` or SGLang's `matched_stop`, and not known of other servers.
    _replied: called with each reply as it came, before _finished. _where: what a sentence calls this engine.
    """
    here = student if isinstance(student, Student) else Student(student)
    if api == "chat" and sampling.prefill:
        raise OperatorError(
            "evaluate.engine: api: chat cannot start the answer with evaluate.prefill; set api: completions, or leave prefill empty."
        )
    extra = _checked(extra or {}, requests, _where)
    asked_too: dict[str, Any] = {}
    if sampling.logprobs:  # the number of alternatives a token, or for chat whether; the ids are an extension of vLLM's
        asked_too = {"logprobs": 1 if api == "completions" else True, "return_token_ids": True}
    if sampling.stop:
        if "stop" in extra:
            raise OperatorError(f"{_where}.extra: this task sets its own stop strings; leave `stop` out.")
        asked_too["stop"] = list(sampling.stop)
    server = Server(base_url, key_env, concurrency, retries, timeout_seconds, requests_per_minute)
    name = model_name(server, model, here, _where)

    def body(request: Request) -> Ask:
        said: dict[str, Any] = (
            {"prompt": request.prompt}
            if api == "completions"
            else {"messages": [{"role": "user", "content": request.prompt}]}
        )
        return Ask(
            "completions" if api == "completions" else "chat/completions",
            {
                "model": name, **said, "max_tokens": sampling.max_new_tokens, "temperature": sampling.temperature,
                "top_p": sampling.top_p, "seed": request.seed % (1 << SEED_BITS), **asked_too, **extra,
            },
        )  # fmt: skip

    asks = [body(request) for request in requests]

    def sample(place: int, reply: Reply) -> Sample:
        reason = reply.finish_reason if reply.finish_reason in ("stop", "length") else None
        facts = {"engine": "openai", "model": name, "seed_sent": asks[place].body["seed"]}
        if reply.refused:
            facts[REFUSED] = reply.refused
        stop = reply.stop if sampling.stop and reason == "stop" else ""
        return Sample(reply.text, reply.completion_tokens, reason, facts, reply.token_ids, reply.logprobs, stop)

    def report_reply(place: int, reply: Reply) -> None:
        _replied(place, reply)
        _finished(place, sample(place, reply))

    replies = ask(server, asks, kept=Kept(), refused=_empty_where_too_long, on_reply=report_reply)
    _warn_of_one_voice(requests, replies, sampling)
    return [sample(place, reply) for place, reply in enumerate(replies)]


def _checked(extra: Mapping[str, Any], requests: Sequence[Request], where: str) -> dict[str, Any]:
    """The further fields. OperatorError for one that is ours or no JSON, and for a prompt that shows an image."""
    if any(images_in(request.prompt) for request in requests):
        raise OperatorError(
            f"{where}: servers are sent text only, not images; sample in this process (engine: transformers)."
        )
    taken = [key for key in extra if key in OURS]
    if taken:
        raise OperatorError(f"{where}.extra: {taken[0]} has its own setting; set it there.")
    try:
        json.dumps(extra, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise OperatorError(f"{where}.extra: it cannot be sent as JSON ({error}).") from error
    return dict(extra)


def model_name(server: Server, model: str | None, student: Student, where: str) -> str:
    """The name to send. OperatorError where the server must be given one and none is set."""
    if model is not None:
        if "{student}" in model and not student.name:
            raise OperatorError(
                f"{where}.model: {{student}} stands for a folder or hub id, but this student has neither; name the model."
            )
        return model.replace("{student}", student.name)
    names = served_models(server)
    if len(names) != 1:
        listed = f"lists {len(names)} models ({', '.join(names[:5])})" if names else "lists no model"
        raise OperatorError(f"{where}.model: the server at {server.base_url} {listed}; name the model to use.")
    return names[0]


def _empty_where_too_long(asked: Ask, words: str) -> Reply | None:
    """An empty reply cut by length where the prompt alone fills the server's context; None for any other refusal."""
    for pattern in TOO_LONG:
        match = re.search(pattern, words)
        if match and int(match["prompt"]) >= int(match["context"]):
            return Reply("", "length", int(match["prompt"]), 0)
    return None


def _warn_of_one_voice(requests: Sequence[Request], replies: Sequence[Reply], sampling: Sampling) -> None:
    """Say it where every seed of every prompt got the same words: the server draws nothing. `transformers serve` is
    greedy, whatever the temperature, until the model's generation_config.json says `do_sample: true`."""
    texts: dict[str, list[str]] = defaultdict(list)
    for request, reply in zip(requests, replies, strict=True):
        texts[request.prompt].append(reply.text)
    several = [said for said in texts.values() if len(said) > 1 and any(said)]
    if sampling.temperature > 0 and len(several) > 1 and all(len(set(said)) == 1 for said in several):
        say(
            "warning  the server returns the same answer for every seed; it seems to ignore `temperature` (with transformers serve "
            'set "do_sample": true in the model\'s generation_config.json)'
        )
