"""A server with log-probs, in a thread of the test: a real tiny model behind the HTTP that vLLM and OpenAI's completions speak.

    with scoring_server(model, tokenizer) as server:
        server.base_url, server.asked

It answers a prompt of token ids with their log-probs, by `prompt_logprobs` (vLLM) or `echo` with `logprobs`. `says` changes what
it says: "nothing" (no log-probs at all), "shifted" (another tokenizer: every id is the one before), "longer" (it adds a token),
"nan" (its last log-prob is not a number).
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch


@dataclass
class Scoring:
    """Where the server is, every body that was posted, and how many answers it gives before it fails for good."""

    base_url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    says: str = ""
    answers_left: int = 1_000_000


def logps_of(model: Any, ids: list[int]) -> list[float | None]:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double()
    found = logits[:-1].log_softmax(-1).gather(-1, torch.tensor(ids[1:])[:, None]).squeeze(-1)
    return [None, *found.tolist()]


@contextlib.contextmanager
def scoring_server(model: Any, tokenizer: Any, says: str = "") -> Iterator[Scoring]:
    """The server on a free port, for as long as the block lasts."""
    model.eval()
    state, lock = Scoring(says=says), threading.Lock()

    def choice(body: dict[str, Any]) -> dict[str, Any]:
        ids = list(body["prompt"])
        plain = {"index": 0, "text": "x", "finish_reason": "length"}
        if state.says == "nothing":
            return plain
        logps = logps_of(model, ids)
        texts = [tokenizer.decode([(id - 1) % len(tokenizer) if state.says == "shifted" else id]) for id in ids]
        if state.says == "nan":
            logps = [*logps[:-1], float("nan")]
        if state.says == "longer":
            logps, texts, ids = [*logps, -1.0, -1.0], [*texts, "0", "0"], [*ids, 5, 5]
        if "prompt_logprobs" in body:
            said = [
                None if logp is None else {str(id): {"logprob": logp, "rank": 1, "decoded_token": text}}
                for id, logp, text in zip(ids, logps, texts, strict=True)
            ]
            return {**plain, "prompt_logprobs": said}
        return {**plain, "logprobs": {"tokens": [*texts, "x"], "token_logprobs": [*logps, -0.1]}}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def say(self, status: int, body: object) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.say(200, {"data": [{"id": "big"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                state.asked.append({"path": self.path, **body})
                state.answers_left -= 1
                if state.answers_left < 0:
                    return self.say(404, {"error": {"message": "the model was unloaded"}})
                return self.say(200, {"choices": [choice(body)], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
