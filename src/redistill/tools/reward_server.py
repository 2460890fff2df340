"""A server of rewards: a batch of answers in, what a recipe's stage gives for each out. `redistill serve --rewards RECIPE`.

    POST /rewards     {"rows": [{"problem": "2+2=", "answer": "4", "completion": "\\\\boxed{4}"}]}     ->  {"rewards": [1.0]}
    POST /get_reward  {"query": ["2+2=4"], "prompts": ["2+2="], "labels": ["4"]}                  ->  {"rewards": [1.0], ...}
    GET /health       {"status": "ok", "recipe": "x", "stage": "grpo"}

/get_reward is what OpenRLHF (0.10, utils/agent.py) asks of `--reward.remote_url`: whole texts, their prompts and gold answers. It
takes numbers alone, so an answer that nobody can say the reward of has 0 there and `undecided` 1 in `extra_logs`; /rewards gives null.
Bad input is one sentence under `error`, status 422.
"""

import hmac
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from redistill.errors import OperatorError
from redistill.text.nesting import parsed
from redistill.tools.rewards import RewardFunction, RowError

if TYPE_CHECKING:
    from fastapi import FastAPI

MAX_BODY_BYTES = 256 * 2**20  # 4,000 answers of 64 kB


def reward_app(
    rewards: RewardFunction,
    *,
    recipe: str,
    key: str = "",
    end_tokens: Sequence[str] = (),
    max_body_bytes: int = MAX_BODY_BYTES,
) -> "FastAPI":
    """The application. key: what callers must send as `Authorization: Bearer KEY`; empty: nothing. end_tokens: texts of special
    tokens that are cut off the end of OpenRLHF's texts, which hold them."""
    from fastapi import FastAPI, Request
    from fastapi.concurrency import run_in_threadpool
    from fastapi.responses import JSONResponse

    app = FastAPI(title="redistill rewards", docs_url=None, redoc_url=None, openapi_url=None)

    async def answer(request: Request, work: Any) -> JSONResponse:
        given = request.headers.get("authorization", "")
        if key and not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
            return JSONResponse({"error": "the key is missing or wrong; send it as Authorization: Bearer KEY."}, 401)
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > max_body_bytes:
                return JSONResponse({"error": f"the body is larger than {max_body_bytes} bytes; send fewer rows."}, 413)
        try:
            return JSONResponse(await run_in_threadpool(work, _table(bytes(data))))
        except RowError as error:
            return JSONResponse({"error": str(error)}, 422)
        except OperatorError as error:  # the recipe's own reward or verifier failed
            return JSONResponse({"error": str(error)}, 500)

    @app.api_route("/health", methods=["GET", "HEAD"])  # load balancers ask by HEAD
    def health() -> dict[str, str]:
        return {"status": "ok", "recipe": recipe, "stage": rewards.stage}

    @app.post("/rewards")
    async def of_rows(request: Request) -> JSONResponse:
        return await answer(request, lambda body: {"rewards": rewards(_list(body, "rows"))})

    @app.post("/get_reward")
    async def of_texts(request: Request) -> JSONResponse:
        return await answer(request, lambda body: _of_texts(rewards, body, end_tokens))

    return app


def _table(data: bytes) -> Mapping[str, Any]:
    try:
        body = parsed(data)
    except ValueError as error:
        raise RowError(f"the body is not JSON ({str(error)[:100]}).") from None
    if not isinstance(body, Mapping):
        raise RowError('the body must be a table, such as {"rows": [...]}.')
    return body


def _list(body: Mapping[str, Any], key: str) -> list[Any]:
    if not isinstance(body.get(key), list):
        raise RowError(f"the body must hold a list under `{key}`.")
    return list(body[key])


def _of_texts(rewards: RewardFunction, body: Mapping[str, Any], end_tokens: Sequence[str]) -> dict[str, Any]:
    """OpenRLHF's dialect: each text begins with its prompt."""
    texts, prompts, golds = (_list(body, key) for key in ("query", "prompts", "labels"))
    if not len(texts) == len(prompts) == len(golds):
        raise RowError(f"{len(texts)} texts, {len(prompts)} prompts and {len(golds)} labels; send as many of each.")
    rows = []
    for place, (text, prompt, gold) in enumerate(zip(texts, prompts, golds, strict=True)):
        if not isinstance(text, str) or not isinstance(prompt, str) or prompt not in text:
            raise RowError(f"row {place}: `query` must be text that holds its prompt.")
        completion = text[text.index(prompt) + len(prompt) :]
        cut = completion
        for end in end_tokens:
            cut = cut.removesuffix(end)
        rows.append({"prompt": prompt, "answer": gold, "completion": cut})
    values = rewards(rows)
    numbers = [0.0 if reward is None else reward for reward in values]
    return {
        "rewards": numbers,
        "scores": numbers,
        "extra_logs": {"undecided": [float(reward is None) for reward in values]},
    }


def run_server(app: "FastAPI", host: str, port: int) -> None:
    """Serve until Ctrl-C."""
    import uvicorn

    uvicorn.run(app, host=host, port=port, log_level="warning")
