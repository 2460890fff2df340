"""Servers that tests start as processes of their own: a scripted one for faults, and `transformers serve` for the real thing.

    with scripted_server(tmp_path, fail="429", times=2) as server:
        server.base_url, server.asked()        every body that was posted, in order

Run as a program this file is the scripted server: it answers a prompt with words made of the prompt and the seed, or with what
`--answers` says for a piece of the prompt; `--fail` makes the first `--times` posts go wrong; `--die-after` N ends the process
after N answers.
"""

import argparse
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[1] / "src"


@dataclass
class Local:
    """A server of a test: where it is, its process, and what it was asked."""

    base_url: str
    process: subprocess.Popen | None  # None: a fork of the tool's process
    log: Path

    def asked(self) -> list[dict[str, Any]]:
        """Bodies of the posts that arrived."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@contextlib.contextmanager
def scripted_server(folder: Path, **options: object) -> Iterator[Local]:
    """The scripted server on a free port; options as on its command line (fail="429", times=2, die_after=5 ...)."""
    log = folder / f"asked-{time.monotonic_ns()}.jsonl"
    words = [
        f"--{name.replace('_', '-')}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in options.items()
    ]
    process = subprocess.Popen([sys.executable, __file__, str(log), *words], stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline())
        yield Local(f"http://127.0.0.1:{port}/v1", process, log)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def transformers_server(model: Path, folder: Path, seconds: float = 120.0) -> Iterator[Local]:
    """`redistill serve --engine transformers` of a model folder on a free port, ready to answer."""
    port = free_port()
    command = [sys.executable, "-m", "redistill", "serve", str(model), "--engine=transformers", f"--port={port}"]
    with open(folder / "serve.log", "w") as log:
        process = subprocess.Popen(
            [*command, "--server-args", "--device=cpu"], stdout=log, stderr=log,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(SOURCE)},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                break
            assert process.poll() is None and time.monotonic() < deadline, (folder / "serve.log").read_text()[-2000:]
            time.sleep(0.1)
        yield Local(f"http://127.0.0.1:{port}/v1", process, folder / "none")
    finally:
        process.kill()
        process.wait()


LLAMA_CPP = """
import sys, time
import xllamacpp
options = xllamacpp.CommonParams()
options.model.path, options.port, options.n_ctx, options.n_parallel = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), 4
options.kv_unified, options.ui, options.warmup, options.verbosity = True, False, False, 0
options.cpuparams.n_threads = options.cpuparams_batch.n_threads = options.n_threads_http = 1
server = xllamacpp.Server(options)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def llama_cpp_server(gguf: Path, folder: Path, *, port: int | None = None, context: int = 1024) -> Iterator[Local]:
    """llama.cpp's own server of a GGUF file, out of the package xllamacpp; with `port` a server comes back where it was."""
    command = [sys.executable, "-c", LLAMA_CPP, str(gguf), str(port or free_port()), str(context)]
    with open(folder / "llama.log", "a") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        address = process.stdout.readline().strip()
        assert address, (folder / "llama.log").read_text()[-2000:]
        yield Local(f"{address}/v1", process, folder / "none")
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def words_of(prompt: str, seed: object) -> str:
    """What the scripted server says to a prompt and a seed."""
    return "word " + hashlib.sha256(f"{prompt}|{seed}".encode()).hexdigest()[:8]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("log", type=Path)
    parser.add_argument("--fail", default="")
    parser.add_argument("--times", type=int, default=1_000_000)
    parser.add_argument("--retry-after")
    parser.add_argument("--die-after", type=int, default=1_000_000)
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--key")
    parser.add_argument("--refuse", type=json.loads, default={})  # a piece of the prompt -> status
    parser.add_argument("--choice", type=json.loads, default={})  # a piece of the prompt -> fields of the choice
    parser.add_argument("--usage", type=json.loads, default=None)
    parser.add_argument("--name", default=None)  # as whom it answers
    parser.add_argument("--bytes", type=int, default=0)  # of filling in each reply
    parser.add_argument("--listings", type=int, default=1_000_000)  # GET /models fails after so many
    parser.add_argument("--blips", type=int, default=0)  # so many of the first GET /models fail
    parser.add_argument("--models", default="m")
    parser.add_argument("--context", type=int, default=1_000_000)
    parser.add_argument("--answers", type=json.loads, default={})
    parser.add_argument(
        "--tops", type=json.loads, default={}
    )  # a piece of the prompt -> alternatives of the next token
    parser.add_argument(
        "--stop-key", default="stop_reason"
    )  # vLLM's; SGLang's is matched_stop; "": a server that says none
    parser.add_argument("--outputs", type=int, default=1)
    parser.add_argument("--step-id", type=int, default=-1)
    options = parser.parse_args()
    counts = {"posts": 0, "answers": 0, "listings": 0}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def say(self, status: int, body: object, **headers: str) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            counts["listings"] += 1
            if not options.blips < counts["listings"] <= options.listings:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.say(200, {"data": [{"id": name} for name in options.models.split(",") if name]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with open(options.log, "a") as log:
                log.write(json.dumps({"path": self.path, **body}) + "\n")
            counts["posts"] += 1
            if options.key and self.headers["Authorization"] != f"Bearer {options.key}":
                given = (self.headers["Authorization"] or "").removeprefix("Bearer ")
                return self.say(401, {"error": {"message": f"Incorrect key: {given}"}})
            if counts["posts"] <= options.times and options.fail:
                if options.fail.isdigit():
                    headers = {"Retry-After": options.retry_after} if options.retry_after else {}
                    return self.say(int(options.fail), {"error": {"message": "not now"}}, **headers)
                if options.fail == "garbage":
                    return self.say(200, b"<html>not a completion</html>")
                if options.fail == "empty":
                    return self.say(200, {"choices": []})
                if options.fail == "hang":
                    time.sleep(60)
                if options.fail == "cut":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
                    self.close_connection = True
                    return None
            time.sleep(options.slow)
            pieces = [str(body.get("prompt")), str(body.get("messages"))]
            for piece, status in options.refuse.items():
                if any(piece in said for said in pieces):
                    return self.say(status, {"error": {"message": "not this one"}})
            if self.path.endswith("/pooling"):  # as vLLM's token_classify: numbers per token, made of its id
                rows = [[((7 * place + id) % 10) / 10 for place in range(options.outputs)] for id in body["input"]]
                rows = [row for row, id in zip(rows, body["input"]) if options.step_id in (-1, id)]
                return self.say(200, {"object": "list", "data": [{"index": 0, "object": "reward", "data": rows}]})
            chat = "messages" in body
            prompt = body["messages"][-1]["content"] if chat else body["prompt"]
            if len(prompt) >= options.context:
                message = f"The input ({len(prompt)} tokens) is longer than the model's context length ({options.context} tokens)."
                return self.say(400, {"error": {"message": message}})
            text = next((a for piece, a in options.answers.items() if piece in prompt), None)
            text = words_of(prompt, body.get("seed")) if text is None else text
            details = {}
            if body.get(
                "return_token_ids"
            ):  # as vLLM: a token a word, and the end-of-turn token, which is not part of the text
                ids = [*range(100, 100 + len(text.split())), 2]
                values = [-0.5 * place for place in range(len(ids))]
                found = {"content": [{"logprob": v} for v in values]} if chat else {"token_logprobs": values}
                details = {"token_ids": ids, "logprobs": found}
            if tops := next((found for piece, found in options.tops.items() if piece in prompt), None):
                details = {"logprobs": {"token_logprobs": [-0.1], "top_logprobs": [tops]}}
            if found := [place for stop in body.get("stop", []) if (place := text.find(stop)) >= 0]:
                details[options.stop_key] = next(s for s in body["stop"] if text.startswith(s, min(found)))
                text = text[: min(found)]
            elif "stop" in body:
                details[options.stop_key] = None
            details.pop("", None)
            choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())}
            own = next((fields for piece, fields in options.choice.items() if piece in prompt), {})
            reply = {
                "choices": [{**choice, **details, "finish_reason": "stop", **own}],
                "usage": usage if options.usage is None else options.usage,
                "filling": "x" * options.bytes,
            }
            self.say(200, {**reply, **({"model": options.name} if options.name else {})})
            counts["answers"] += 1
            if counts["answers"] >= options.die_after:
                os._exit(1)
            return None

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
