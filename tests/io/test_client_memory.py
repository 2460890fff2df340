"""What many large answers at once cost: a few of them, whatever the concurrency."""

import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from local_servers import SOURCE

SIZE, REQUESTS = 24 * 2**20, 12
BODY = b'{"choices": [{"text": "a", "finish_reason": "stop"}], "filling": "' + b"x" * SIZE + b'"}'

CHILD = """
import resource, sys
from redistill.io.client import Ask, Kept, Server, ask
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
asks = [Ask("completions", {"model": "m", "prompt": f"p{i}"}) for i in range(int(sys.argv[2]))]
found = ask(Server(sys.argv[1], concurrency=len(asks)), asks, kept=Kept())
assert [reply.text for reply in found] == ["a"] * len(asks)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


class AllAtOnce(BaseHTTPRequestHandler):
    """Sends every answer but its end, and the ends when all have come so far, or after a while."""

    protocol_version = "HTTP/1.1"
    nearly = 0

    def do_GET(self):
        self.answer(b'{"data": []}')

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(BODY)

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(memoryview(body)[:-2])
        if body is BODY:
            AllAtOnce.nearly += 1
            deadline = time.monotonic() + 0.4
            while AllAtOnce.nearly < REQUESTS and time.monotonic() < deadline:
                time.sleep(0.02)
        self.wfile.write(body[-2:])

    def log_message(self, *arguments):
        pass


def test_the_memory_of_large_answers_does_not_grow_with_the_number_of_connections():
    """A model or a broken server may send 24 MiB to each of twelve requests; read at once they are 288 MiB before any is parsed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), AllAtOnce)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    done = subprocess.run(
        [sys.executable, "-c", CHILD, url, str(REQUESTS)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True, text=True,
    )  # fmt: skip
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr
    megabytes = int(done.stdout) / 1024
    assert megabytes < 8 * SIZE / 2**20, f"{megabytes:.0f} MiB"  # two answers, each as bytes, text and copies of both
