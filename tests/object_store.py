"""An S3 server of this machine for tests: moto's, behind a door that can refuse, delay, cut and count requests.

    with s3_server() as server:
        server.put("bucket/rows.jsonl", b"...")
        server.fault = lambda method, path: (500, 0.0) if method == "PUT" else None

It listens on loopback; the environment points s3fs at it, also in child processes.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from s3fs import S3FileSystem
from werkzeug.serving import make_server

KEYS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "2",  # a fault that lasts is told soon
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
ERROR = b'<?xml version="1.0"?><Error><Code>%s</Code><Message>as the test has it</Message></Error>'
CODES = {403: b"AccessDenied", 500: b"InternalError", 503: b"ServiceUnavailable"}


class Server:
    """The server: its address, what was asked of it, and how it fails.

    fault: of (method, path) what the door does: None, (status, seconds) to wait and then answer so, or (0, seconds) to wait
    and go on. asked: every (method, path).
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.fault: Callable[[str, str], tuple[int, float] | None] = lambda method, path: None
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._door, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.client = boto3.client("s3", endpoint_url=self.url, aws_access_key_id="tests", aws_secret_access_key="tests",
                                   region_name="us-east-1")  # fmt: skip

    def _door(self, environ: dict[str, Any], answer: Any) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        own = "Boto3" in environ.get("HTTP_USER_AGENT", "")
        if not own:
            self.asked.append((method, path))
            if found := self.fault(method, path):
                status, seconds = found
                time.sleep(seconds)
                if status:
                    answer(f"{status} refused", [("Content-Type", "application/xml")])
                    return [b"" if method == "HEAD" else ERROR % CODES[status]]
        return self._app(environ, answer)

    def bucket(self, name: str) -> str:
        """A new bucket's name, as given."""
        self.client.create_bucket(Bucket=name)
        return name

    def put(self, place: str, data: bytes) -> None:
        """An object at bucket/key."""
        bucket, _, key = place.partition("/")
        self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def get(self, place: str) -> bytes:
        """The bytes at bucket/key."""
        bucket, _, key = place.partition("/")
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def remove(self, place: str) -> None:
        """No object at bucket/key any more."""
        bucket, _, key = place.partition("/")
        self.client.delete_object(Bucket=bucket, Key=key)

    def keys(self, bucket: str, below: str = "") -> list[str]:
        """The keys of a bucket that begin so."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=below)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def put_folder(self, folder: Path, place: str) -> None:
        """Every file of a folder, below bucket/key."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{place}/{path.relative_to(folder)}", path.read_bytes())

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def s3_server() -> Iterator[Server]:
    """The server on a free port, the environment set for its clients; both as before at the end."""
    server = Server()
    before = {name: os.environ.get(name) for name in (*KEYS, "AWS_ENDPOINT_URL")}
    os.environ.update(KEYS, AWS_ENDPOINT_URL=server.url)
    S3FileSystem.clear_instance_cache()  # one of another server
    try:
        yield server
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        server.close()
