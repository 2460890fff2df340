"""A hub that cannot be reached is one sentence within seconds, and a hub that replies is left to transformers."""

import http.server
import socket
import threading
import time
from functools import partial

import huggingface_hub
import pytest

from redistill.config.tables import StudentSettings
from redistill.errors import OperatorError
from redistill.model import hub
from redistill.model.loading import load_tokenizer


@pytest.fixture(autouse=True)
def _asked_anew():
    hub._answers.cache_clear()
    yield
    hub._answers.cache_clear()


def _at(monkeypatch, endpoint):
    monkeypatch.setattr(hub, "HfApi", partial(huggingface_hub.HfApi, endpoint=endpoint))


def test_no_network_is_one_sentence_soon_and_the_hub_is_asked_once(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _at(monkeypatch, f"http://127.0.0.1:{port}")
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(
            OperatorError, match=r"^student\.model: nobody/nothing is not a folder here, .* cannot be reached"
        ):
            load_tokenizer(StudentSettings(model="nobody/nothing"))
    assert time.monotonic() - began < 5
    assert hub._answers.cache_info().misses == 1


def test_a_hub_that_never_replies_is_given_up(monkeypatch):
    monkeypatch.setattr(hub, "SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        _at(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(OperatorError, match=r"score: nobody/nothing .* cannot be reached"):
            hub.hub_options("nobody/nothing", None, where="score")


def test_a_model_in_the_cache_is_taken_from_it(monkeypatch, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        _at(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}")
    snapshot = tmp_path / "models--some--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (tmp_path / "models--some--model" / "refs").mkdir()
    (tmp_path / "models--some--model" / "refs" / "main").write_text("abc")
    monkeypatch.setattr(
        hub, "try_to_load_from_cache", partial(huggingface_hub.try_to_load_from_cache, cache_dir=tmp_path)
    )
    assert hub.hub_options("some/model", None) == {"local_files_only": True}
    with pytest.raises(OperatorError, match="not in its cache"):
        hub.hub_options("some/model", "other-revision")


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_hub_that_refuses_is_reached(monkeypatch, status):
    class Refuse(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _at(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        assert hub.hub_options("nobody/nothing", None) == {"local_files_only": False}
        server.shutdown()


def test_a_folder_is_not_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "HfApi", None)
    assert hub.hub_options(str(tmp_path), None) == {}
