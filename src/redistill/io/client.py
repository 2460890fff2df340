"""Asking a server that speaks OpenAI's HTTP dialect (vLLM, SGLang, llama.cpp, `transformers serve`, a hosted one).

    server = Server("http://127.0.0.1:8000/v1", concurrency=32)
    asks = [Ask("completions", {"model": "m", "prompt": "1+2=", "max_tokens": 8, "seed": 7})]
    ask(server, asks, kept=Kept(Path("answers.jsonl")))      [Reply("3", "stop", 4, 1)], in the order of the asks

Every reply is written to `kept` the moment it comes, so a run that is killed asks, and pays for, only what is missing.
Troubles that pass (429, 5xx, a lost connection, a time-out, an answer that cannot be read) are tried again with growing
waits (tenacity over httpx2), or after as long as the server's Retry-After says. What no library does stands here: one pause and one
stop for all requests, a bound on what is read at a time, and the outcomes of a request that is never answered. One request that the server goes on refusing while it answers
others (400, a content filter, 500 after every try) costs that one answer: its Reply says so under `refused`, and a share
of them above MOST_REFUSED ends the run. What concerns all requests is one sentence. The key comes from the environment
alone and is in nothing that this file writes or raises.
"""

import asyncio
import contextlib
import dataclasses
import email.utils
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from typing import Any

import httpx2
from pydantic import TypeAdapter
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from redistill.errors import OperatorError
from redistill.io.api_keys import KEY_ENV, BaseUrl, without, without_in_text
from redistill.io.atomic import sentence
from redistill.io.kept import Kept as Kept
from redistill.io.progress import say
from redistill.io.replies import Reply as Reply
from redistill.io.replies import read_reply as read_reply
from redistill.text.utf8 import utf8_values

FIRST_WAIT_SECONDS = 1.0  # then 2, 4, 8 ...: five retries bridge half a minute
LONGEST_WAIT_SECONDS = 300.0  # a server that asks for more is one to come back to later
SHOWN_CHARS = 300  # of a server's own words in a sentence of ours
# Decompressed: a token with its log-probability and id takes about 100 bytes of JSON, and some servers send alternatives. Of answers
# over BYTES_PER_ANSWER so many are read at a time, whatever the concurrency; the others wait in the network.
MAX_ANSWER_BYTES = 64 * 2**20
BYTES_PER_ANSWER, BYTES_PER_TOKEN = 2**20, 4 * 2**10
LARGE_AT_ONCE = 2
MOST_REFUSED = 0.1  # of the requests of a call, where FEW_REFUSED or more were refused
FEW_REFUSED = 5
_ADDRESS = TypeAdapter(BaseUrl)
_MET: set[str] = set()  # addresses where a server has answered this process: a later blip of theirs is waited out
_NAMED: set[str] = set()  # names of models of which a warning was printed
KEPT = "Replies received so far are kept."
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask and how hard. `base_url` ends in /v1; the key is the value of the environment variable `key_env`.

    timeout_seconds: one try of one request, whole. requests_per_minute counts tries, over all connections.
    """

    base_url: str
    key_env: str = KEY_ENV
    concurrency: int = 32
    retries: int = 5
    timeout_seconds: float = 600.0
    requests_per_minute: float | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: the path below base_url and its JSON body."""

    path: str
    body: Mapping[str, Any]

    @property
    def key(self) -> str:
        """A hash of what is asked. The server's address is not part of it: the model's name is in the body."""
        return hashlib.sha256(json.dumps([self.path, self.body], sort_keys=True).encode()).hexdigest()


Refusal = Callable[[Ask, str], Reply | None]
Reader = Callable[[Ask, Any], Reply]  # what was asked, and the body of the answer; `read_reply` where none is named


def ask(
    server: Server,
    asks: Sequence[Ask],
    *,
    kept: Kept,
    on_reply: Callable[[int, Reply], object] = lambda place, reply: None,
    refused: Refusal = lambda ask, words: None,
    read: Reader | None = None,
) -> list[Reply]:
    """One reply an ask, in order; what `kept` holds is not asked again, and equal asks are asked once.

    on_reply: called with each new reply and the place of its ask. refused: what a request that the server calls wrong (400, 413,
    422) is answered with, from the server's own words; None: it has no answer, which its Reply says under `refused`. Such a
    reply is not kept: another run asks again. OperatorError in one sentence when the server is gone, refuses the caller,
    cannot be understood, or refuses too many; the replies that came before are kept.
    """
    replies = {asked.key: kept.get(asked.key) for asked in asks}
    missing: dict[str, list[int]] = {}  # key -> places
    for place, asked in enumerate(asks):
        if replies[asked.key] is None:
            missing.setdefault(asked.key, []).append(place)

    def put(asked: Ask, reply: Reply) -> None:
        replies[asked.key] = reply
        kept.put(asked.key, reply)
        for place in missing[asked.key]:
            on_reply(place, reply)

    if missing:
        asking, firsts = _Asking(server, put, refused, read), [asks[places[0]] for places in missing.values()]
        _run(lambda: asking.connected(lambda: asking.all(firsts, before=len(replies) - len(missing))))
    answered = [reply for asked in asks if (reply := replies[asked.key]) is not None]
    assert len(answered) == len(asks), "a request was neither answered nor refused"
    return answered


def served_models(server: Server) -> list[str]:
    """The names that the server lists under /models. OperatorError when nothing answers there."""
    asking = _Asking(server)
    answer = _run(lambda: asking.connected(asking.models))
    rows = answer.get("data") if isinstance(answer, dict) else None
    return [str(row["id"]) for row in rows or () if isinstance(row, dict) and "id" in row]


def post(server: Server, path: str, body: Mapping[str, Any], hint: str) -> dict[str, Any]:
    """What the server answers to one POST that is not a completion, such as a command to load weights: its JSON table, {} where
    it answers none. path: below base_url, or below the server's root where it begins with a slash. OperatorError in one sentence
    that ends with `hint` where it refuses, and where it is gone after the retries."""
    asking = _Asking(server)
    response = _run(lambda: asking.connected(lambda: asking.command(path, body, hint)))
    return response if isinstance(response, dict) else {}


def _run(work: Callable[[], Any]) -> Any:
    """A coroutine to its end, also from inside a running loop (a notebook's)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


def _check_url(server: Server) -> None:
    _ADDRESS.validate_python(server.base_url)  # before anything could say the address back
    try:
        url = httpx2.URL(server.base_url)
    except httpx2.InvalidURL as error:
        raise OperatorError(f"base_url: {server.base_url!r} is not an address ({error}).") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise OperatorError(
            f"base_url: {server.base_url!r} is not the address of a server; write one such as http://127.0.0.1:8000/v1."
        )


LATE = "late"


class _Passing(Exception):
    """A trouble that may pass. kind: what the library calls it where there was no answer, LATE where there was none in time."""

    def __init__(self, what: str, kind: str = "") -> None:
        super().__init__(what)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a server answered: its JSON, None where it is none, and what it says for people, short and on one line."""

    status: int
    body: Any
    words: str


def _most_bytes(asked: Ask) -> int:
    """How long the answer to a request may be: by the tokens that it asks for, at most MAX_ANSWER_BYTES."""
    tokens = asked.body.get("max_tokens")
    says_prompt = asked.body.get("prompt_logprobs") is not None or asked.body.get("echo")
    if not isinstance(tokens, int) or says_prompt:  # a prompt that is said back is as long as it is
        return MAX_ANSWER_BYTES
    return min(MAX_ANSWER_BYTES, BYTES_PER_ANSWER + BYTES_PER_TOKEN * tokens)


class _Asking:
    """The requests of one call of `ask`: shared pace, shared stop."""

    def __init__(
        self,
        server: Server,
        put: Callable[[Ask, Reply], None] = lambda asked, reply: None,
        refused: Refusal = lambda asked, words: None,
        read: Reader | None = None,
    ) -> None:
        _check_url(server)
        self.server, self.put, self.refused = server, put, refused
        self.read = read or (lambda asked, body: read_reply(body))
        self.secret = os.environ.get(server.key_env, "").strip()
        if not self.secret.isascii() or not self.secret.replace(" ", "x").isprintable():
            raise OperatorError(
                f"the key in the environment variable {server.key_env} has characters that a key cannot have."
            )
        self.stopped, self.large = asyncio.Event(), asyncio.Semaphore(LARGE_AT_ONCE)
        self.next_slot = self.paused_until = 0.0  # by the loop's clock
        self.answered = self.total = 0
        self.refusals: list[str] = []
        self.names: Counter[str] = Counter()

    # --- one request -------------------------------------------------------------------------------------------------

    async def connected(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """What `work` returns, done with connections to the server."""
        async with httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {self.secret}"} if self.secret else {},
            timeout=None,  # asyncio.timeout holds the whole try, also a body that drips
            limits=httpx2.Limits(max_connections=self.server.concurrency),
            # a proxy of the environment has no business between us and this machine
            trust_env=httpx2.URL(self.server.base_url).host not in LOOPBACK,
        ) as self.http:
            return await work()

    def _tries(self) -> AsyncRetrying:
        """Troubles that pass are tried again, after waits of 1, 2, 4 ... seconds; the last one is raised."""
        return AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, _Passing) and self._may_pass(error)),
            stop=stop_after_attempt(self.server.retries + 1),
            wait=wait_exponential_jitter(multiplier=FIRST_WAIT_SECONDS, jitter=FIRST_WAIT_SECONDS / 2),
            sleep=self._sleep,
            reraise=True,
        )

    def _may_pass(self, trouble: _Passing) -> bool:
        """Where nobody has ever listened, nobody will: that is said at once."""
        return trouble.kind != "ConnectError" or self.server.base_url in _MET

    async def _answer(self, method: str, path: str, most_bytes: int, body: Any = None, seconds: float = inf) -> _Answer:
        """One try: the whole answer without our key in it. _Passing for what may pass; OperatorError where the key is refused."""
        base, seconds = self.server.base_url.rstrip("/"), min(seconds, self.server.timeout_seconds)
        url = f"{base.removesuffix('/v1')}{path}" if path.startswith("/") else f"{base}/{path}"
        # escaped by json itself: httpx would stumble over the lone surrogates that broken texts can hold
        content, kind = (None, {}) if body is None else (json.dumps(body), {"Content-Type": "application/json"})
        data = bytearray()
        try:
            async with asyncio.timeout(seconds), contextlib.AsyncExitStack() as turn:
                async with self.http.stream(method, url, content=content, headers=kind) as response:
                    async for part in response.aiter_bytes():
                        if len(data) <= BYTES_PER_ANSWER < len(data) + len(part):
                            await turn.enter_async_context(self.large)
                        data += part
                        if len(data) > most_bytes:
                            raise _Passing(f"a response of over {most_bytes >> 20} MiB")
                answer = self._read(response.status_code, without(self.secret, bytes(data)))
        except TimeoutError:
            raise _Passing(f"no response within {seconds:g} seconds", LATE) from None
        except httpx2.TransportError as error:
            name = type(error).__name__
            raise _Passing(self._plain(f"{name} {error}".strip()), name) from None
        if answer.status in (401, 403):
            there = "the key in" if self.secret else "no key is in"
            raise OperatorError(
                f"the server at {self.server.base_url} refuses access ({answer.status}: {answer.words}); {there} the environment "
                f"variable {self.server.key_env}{' is not accepted' if self.secret else ''}."
            )
        if answer.status in (408, 425, 429) or answer.status >= 500:
            self._pause(_retry_after(response.headers), f"{answer.status}: {answer.words}")
            raise _Passing(f"{answer.status}: {answer.words}")
        return answer

    def _read(self, status: int, data: bytes) -> _Answer:
        body, words = None, data[: 4 * SHOWN_CHARS].decode("utf-8", "replace")
        with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError, RecursionError):
            body = utf8_values(json.loads(data))
            error = body.get("error") or body.get("detail") or body.get("message")
            words = error if isinstance(error, str) else str(error["message"])
        return _Answer(status, body, self._plain(words))

    def _plain(self, text: str) -> str:
        text = text.replace(self.secret, "***") if self.secret else text
        return " ".join(text.split())[:SHOWN_CHARS]

    async def models(self) -> Any:
        """What GET /models answers; any other answer than JSON counts as {}."""
        try:
            listed: _Answer = await self._tries()(self._answer, "GET", "models", MAX_ANSWER_BYTES, None, 30.0)
            return listed.body or {}
        except _Passing as trouble:
            if not trouble.kind:
                return {}  # it is there, and does not know /models
            raise OperatorError(
                f"no server answers at {self.server.base_url} ({trouble}); start one (`redistill serve MODEL` shows how) or "
                "correct base_url."
            ) from trouble

    async def command(self, path: str, body: Mapping[str, Any], hint: str) -> Any:
        """What one POST is answered; troubles that pass are tried again."""
        try:
            answer: _Answer = await self._tries()(self._answer, "POST", path, BYTES_PER_ANSWER, dict(body))
            if answer.status == 200:
                return answer.body or {}
            last = f"{answer.status}: {answer.words}"
        except _Passing as trouble:
            last = str(trouble)
        raise OperatorError(
            f"the server at {self.server.base_url} does not support /{path.lstrip('/')} ({last}); {hint}."
        )

    # --- all of them -------------------------------------------------------------------------------------------------

    async def all(self, asks: Sequence[Ask], before: int) -> None:
        """Ask everything; `before` others are answered already. At the first trouble that does not pass nothing new "
        "is sent, but what is on its way (and paid
        for) is waited for and kept."""
        if self.server.base_url not in _MET:
            await self.models()  # a server that is not there is said at once, without retries
            _MET.add(self.server.base_url)
        queue, self.total, self.answered = iter(asks), len(asks) + before, before
        troubles: list[BaseException] = []

        async def work() -> None:
            for asked in queue:  # shared: each worker takes the next
                if self.stopped.is_set():
                    return
                try:
                    reply = await self._one(asked)
                    if reply is None:
                        return
                    self.put(asked, reply)
                    self._count(asked, reply)
                except (OperatorError, OSError) as trouble:  # OSError: the file of replies cannot be written
                    troubles.append(trouble)
                    self.stopped.set()
                    return

        await self._finish([asyncio.create_task(work()) for _ in range(min(self.server.concurrency, len(asks)))])
        if troubles and isinstance(troubles[0], OSError):
            said = sentence(troubles[0], "the file of replies") or f"{troubles[0]}; run the same command again."
            raise OperatorError(f"cannot store a reply: {said} {KEPT}") from troubles[0]
        if troubles:
            raise troubles[0]
        self._say_names(asks)

    async def _finish(self, tasks: Sequence["asyncio.Task[None]"]) -> None:
        """Wait for all tasks. Ctrl-C sends nothing new and waits for what is on its way, which is paid for; a second one drops it."""
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            self.stopped.set()
            say("stopping: waiting for the requests in flight, whose replies are kept; Ctrl-C again drops them")
            await asyncio.wait(tasks)
            raise
        for task in tasks:
            task.result()  # what is no trouble of the server's is a bug, and goes up

    def _count(self, asked: Ask, reply: Reply) -> None:
        """Note a reply; OperatorError where the server refuses too many."""
        if not reply.refused:
            self.answered += 1
            if reply.model:
                self.names[reply.model] += 1
            return
        self.refusals.append(reply.refused)
        if len(self.refusals) < FEW_REFUSED:
            return
        if not self.answered:
            raise OperatorError(
                f"the server at {self.server.base_url} gives no usable answer to any of {len(self.refusals)} requests "
                f"({self.refusals[-1]}); check the server and run the same command again."
            )
        if len(self.refusals) > MOST_REFUSED * self.total:
            raise OperatorError(
                f"the server at {self.server.base_url} refuses {len(self.refusals)} of {self.total} requests, the "
                f"last with {self.refusals[-1]}; check why and run the same command again. {KEPT}"
            )

    def _say_names(self, asks: Sequence[Ask]) -> None:
        """Say it once where the server answers as another model than the one that was asked for."""
        for name in sorted(self.names.keys() - {str(a.body.get("model")) for a in asks} - _NAMED):
            _NAMED.add(name)
            say(f"warning  {self.server.base_url} replies as {name!r}, but {asks[0].body.get('model')!r} was requested")

    async def _one(self, asked: Ask) -> Reply | None:
        """A reply, after as many tries as it takes; None when another request has stopped us all."""
        try:
            return await self._tries()(self._try, asked)
        except _Passing as trouble:
            tries = f"after {self.server.retries + 1} attempts"
            if trouble.kind in ("", LATE):
                await self.models()  # OperatorError where it answers nobody; else it is this request that it cannot do
                return Reply("", None, None, None, refused=f"{trouble} {tries}")
            raise OperatorError(
                f"the server at {self.server.base_url} gives no usable answer {tries} ({trouble}); check the server "
                f"and run the same command again. {KEPT}"
            ) from None

    async def _try(self, asked: Ask) -> Reply | None:
        await self._turn()
        if self.stopped.is_set():
            return None
        answer = await self._answer("POST", asked.path, _most_bytes(asked), dict(asked.body))
        status, words = answer.status, answer.words
        if status in (400, 413, 422):
            return self.refused(asked, words) or Reply("", None, None, None, refused=f"{status}: {words}")
        if status == 404:
            raise OperatorError(
                f"the server at {self.server.base_url} has no /{asked.path.removeprefix('../')} or no model {asked.body.get('model')!r} (404: {words}); "
                "base_url usually ends in /v1."
            )
        if status != 200:
            raise OperatorError(f"the server at {self.server.base_url} refuses a request ({status}: {words}). {KEPT}")
        try:
            reply = self.read(asked, answer.body)
            return dataclasses.replace(reply, text=without_in_text(self.secret, reply.text))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            raise _Passing(f"not a completion: {words}") from None

    # --- the pace ----------------------------------------------------------------------------------------------------

    def _pause(self, seconds: float, what: str) -> None:
        """The server asks to be left alone: all of us wait, or come back later where that is too long."""
        if seconds > LONGEST_WAIT_SECONDS:
            raise OperatorError(
                f"the server at {self.server.base_url} asks to retry in {seconds:.0f} seconds ({what}); run the same command again after that. {KEPT}"
            )
        self.paused_until = max(self.paused_until, asyncio.get_running_loop().time() + seconds)

    async def _turn(self) -> None:
        """Wait for a slot of the pace, and for the end of a pause that the server has asked for."""
        now = asyncio.get_running_loop().time
        slot = self.next_slot = max(now(), self.next_slot)
        if self.server.requests_per_minute:
            self.next_slot += 60.0 / self.server.requests_per_minute
        await self._sleep(slot - now())
        while self.paused_until > now() and not self.stopped.is_set():
            await self._sleep(self.paused_until - now())

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or wake when somebody stops us all."""
        if seconds <= 0:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopped.wait(), seconds)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds from a Retry-After header: a number, or a date; 0 where there is none that can be read.

    A date is read by the server's own clock where it tells it: ours may be wrong, or jump.
    """
    said = headers.get("retry-after", "")
    with contextlib.suppress(ValueError):
        return max(0.0, float(said))
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        then, now = (email.utils.parsedate_tz(text) for text in (said, headers.get("date", "")))
        if then is not None:
            return max(0.0, email.utils.mktime_tz(then) - (email.utils.mktime_tz(now) if now else time.time()))
    return 0.0
