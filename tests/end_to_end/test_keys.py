"""A canary key in the environment, servers that say it back in every way they can: it is in no file, page, line or error."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest

CANARY = "sk-canary-0f4d7c2e9b"
TOKEN = "hf_canaryTokenOfTheHub"
JUDGE = "verify.judge={name: llm, base_url: '%s', model: m, retries: 1, concurrency: 1}"


@pytest.fixture
def echo():
    """A server that answers every post with the status of `server.status` and the caller's key in body and headers."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, body: object) -> None:
            spelled = (self.headers["Authorization"] or "").removeprefix("Bearer ").replace("s", "\\u0073")
            data = json.dumps(body).replace("SPELLED", spelled).encode()  # the same text to a reader of JSON
            self.send_response(status)
            for name, value in {
                "Content-Length": str(len(data)),
                "X-Your-Key": self.headers["Authorization"] or "",
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.answer(200, {"data": [{"id": "m"}]})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            key = (self.headers["Authorization"] or "").removeprefix("Bearer ")
            self.server.keys.append(key)
            if self.server.status != 200:
                return self.answer(
                    self.server.status, {"error": {"message": f"your key {key} (SPELLED) is wrong: {key}"}}
                )
            text = f"You are {key}.\nVERDICT: unsure {key} SPELLED"
            choice = {"message": {"content": text}, "text": text, "finish_reason": "stop"}
            return self.answer(200, {"choices": [choice], "usage": {}, "key": key})

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.status, server.keys = 200, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def everything(folder: Path) -> str:
    """All text below a folder, Parquet unfolded, names of files among it."""
    said = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        said.append(str(path))
        if path.suffix == ".parquet":
            said.append(json.dumps(pq.read_table(path).to_pylist()))
        else:
            said.append(path.read_bytes().decode("latin-1"))
    return "\n".join(said)


@pytest.mark.parametrize("status", [401, 500, 400, 200])
def test_the_key_of_a_judge_and_of_generation_is_nowhere(tool, here, echo, status):
    url = f"http://127.0.0.1:{echo.server_address[1]}/v1"
    echo.status = status
    (here / "own.jsonl").write_text('{"problem": "1+1=", "answer": "2"}\n')
    env = {"REDISTILL_API_KEY": CANARY, "HF_TOKEN": TOKEN}
    judged = tool(here, "run", "mini.yaml", "--until", "verify", "--set", JUDGE % url, env=env)
    asked = len(echo.keys)
    drawn = tool(here, "evaluate", "m", "--engine", "openai", "--base-url", url, "--benchmark", "file:own.jsonl", "--n", "2",
                 "--set", "evaluate.engine.retries=1", env=env)  # fmt: skip
    assert asked and len(echo.keys) > asked and set(echo.keys) == {CANARY}  # both went to the server, with the key
    assert {judged.returncode, drawn.returncode} == ({0} if status == 200 else {2}), judged.stderr + drawn.stderr
    said = everything(here) + judged.stdout + judged.stderr + drawn.stdout + drawn.stderr
    for secret in (CANARY, TOKEN):
        assert secret not in said and secret.replace("s", "\\u0073") not in said
    if status == 200:
        assert "***" in said and (next(here.glob("runs/m-*")) / "report.html").exists()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (f"base_url: 'http://u:{CANARY}@127.0.0.1:9/v1'", "remove user, password"),
        (f"base_url: 'http://127.0.0.1:9/v1?api_key={CANARY}'", "remove user, password"),
        (f"base_url: 'http://127.0.0.1:9/v1', key_env: {CANARY}", "write the name of the environment variable"),
        (f"base_url: 'http://127.0.0.1:9/v1', extra: {{api_key: {CANARY}}}", "api_key looks like a key"),
        (
            f"base_url: 'http://127.0.0.1:9/v1', extra: {{extra_headers: {{Authorization: {CANARY}}}}}",
            "looks like a key",
        ),
    ],
)
def test_a_key_in_a_recipe_is_refused_before_anything_is_written_and_not_said_back(tool, here, option, words):
    for verb, setting in (
        ("run", f"verify.judge={{name: llm, model: m, {option}}}"),
        ("validate", f"evaluate.engine={{name: openai, model: m, {option}}}"),
    ):
        done = tool(here, verb, "mini.yaml", "--set", setting)
        assert done.returncode == 2 and words in done.stderr and CANARY not in done.stdout + done.stderr
    assert not (here / "runs").exists()
