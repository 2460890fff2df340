"""A server of a tiny student over real HTTP, a process of its own, that takes new weights as vLLM, SGLang and `transformers serve` do.

    with student_server(tool, tmp_path, folder, die_after=5) as server:
        server.base_url, server.asked()

It answers /v1/completions with the student of the folder that a request names as its model, else of the folder that it was last
told to load. In a request's body `tells` says what it returns beside the text, and `nudge` is added to every log-prob; `die_after` N
ends the process after N answers.
"""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_servers import Local

if TYPE_CHECKING:
    from mini import Tool


@contextlib.contextmanager
def student_server(tool: "Tool", folder: Path, student: Path, **options: object) -> Iterator[Local]:
    """The server on a free port, ready to answer, a fork of the tool's process; options as of `main`."""
    log = folder / f"asked-{time.monotonic_ns()}.jsonl"
    code = f"import student_server; student_server.main({str(log)!r}, {str(student)!r}, **{options!r})"
    started = pid, output = tool.start_code(folder, code, [Path(__file__).parent])
    said = Path(f"{output}.stdout")
    try:
        end = time.monotonic() + 120
        while not said.exists() or not said.read_text().endswith("\n"):
            assert time.monotonic() < end, Path(f"{output}.stderr").read_text()
            time.sleep(0.02)
        yield Local(f"http://127.0.0.1:{int(said.read_text())}/v1", None, log)
    finally:
        os.kill(pid, signal.SIGKILL)  # one that has ended is not reaped yet, so the number is still its own
        tool.wait(started)


class Students:
    """Students by their folder, one request at a time, for torch has one core here."""

    def __init__(self, folder: str) -> None:
        self.folder, self.held, self.lock = folder, {}, threading.Lock()
        self.load(folder)

    def load(self, folder: str) -> None:
        """Read a folder, also one that was read before: its files may have changed."""
        from redistill.model import loading

        self.held[folder], self.folder = loading.load_folder(Path(folder)), folder

    def answer(self, body: dict[str, Any]) -> tuple[Any, int]:
        """(sample, tokens of the prompt)."""
        from redistill.model import loading
        from redistill.rollout.requests import Request, Sampling
        from redistill.rollout.transformers_engine import transformers_engine

        with self.lock:
            if os.path.isdir(body["model"]) and body["model"] not in self.held:
                self.load(body["model"])
            student = self.held.get(body["model"], self.held[self.folder])
            sampling = Sampling(1, body["temperature"], body["top_p"], body["max_tokens"], logprobs=True)
            (sample,) = transformers_engine(lambda: student, [Request(body["prompt"], body["seed"])], sampling)
            return sample, len(loading.encode_prompts(student[1], [body["prompt"]])[0])


def main(log_file: str, student: str, die_after: int = 1_000_000) -> None:
    """Print the port and answer until the process ends, after `die_after` answers at the latest."""
    students, count, lock = Students(student), [0], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def say(self, status: int, body: object) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.say(200, {"data": [{"id": "the-student"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock, open(log_file, "a") as log:
                log.write(json.dumps({"path": self.path, **body}) + "\n")
            if self.path == "/collective_rpc":
                students.load(body["kwargs"]["weights_path"])
                self.say(200, b"")
            elif self.path == "/update_weights_from_disk":
                students.load(body["model_path"])
                self.say(200, {"success": True, "message": "Succeeded to update model weights."})
            elif self.path in ("/reset_prefix_cache", "/v1/load_lora_adapter"):
                self.say(200, b"")
            else:
                self.complete(body)

        def complete(self, body: dict[str, Any]) -> None:
            sample, prompt = students.answer(body)
            choice: dict[str, Any] = {"text": sample.text, "finish_reason": sample.finish_reason}
            tells = body.get("tells", ["token_ids", "logprobs"])
            if "token_ids" in tells:
                choice["token_ids"] = sample.token_ids
            if "logprobs" in tells:
                choice["logprobs"] = {"token_logprobs": [value + body.get("nudge", 0.0) for value in sample.logprobs]}
            usage = {"prompt_tokens": prompt, "completion_tokens": sample.num_tokens}
            self.say(200, {"choices": [choice], "usage": usage})
            with lock:
                count[0] += 1
                if count[0] >= die_after:
                    os._exit(1)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
