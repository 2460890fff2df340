"""`redistill serve --rewards` over real HTTP: rewards of rows and of OpenRLHF's texts, and one sentence for what is neither."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
import yaml

from exported import exported, modules_of, recipe_of
from local_servers import SOURCE
from redistill.cli import main

KEY = "sk-of-the-test"


@contextlib.contextmanager
def serving(recipe_file, log, *more, key=KEY):
    """The command as a process of its own, ready to answer; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "redistill",
        "serve",
        "--rewards",
        str(recipe_file),
        f"--port={port}",
        "--workers=1",
        *more,
    ]
    with open(log, "w") as out:
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "REDISTILL_API_KEY": key}
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        deadline = time.monotonic() + 120
        while True:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply,
            ):
                assert json.load(reply) == {"status": "ok", "recipe": "tiny", "stage": "own"}
                break
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rewards")
    recipe = recipe_of(reward=[{"name": "accuracy", "unanswered": "undecided"}, {"name": "format", "pattern": "boxed"}])
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    with serving(folder / "recipe.yaml", folder / "log", "--end-token=<end>", "--end-token=;") as address:
        yield address


def post(address, path, body, key=KEY):
    """(status, answer)"""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(address + path, data, {"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(asked) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_rows_are_rewarded_and_undecided_ones_are_null(server):
    rows = [
        {"problem": "2+2=", "answer": "4", "completion": r"so \boxed{4}"},
        {"prompt": "2+2=", "gold": 4, "completion": r"so \boxed{5}"},
        {"problem": {"statement": "2+2=", "answer": "4"}, "completion": "I do not know", "finish_reason": "stop"},
        {"problem": "2+2=", "completion": r"\boxed{4}"},
    ]
    assert post(server, "/rewards", {"rows": rows}) == (200, {"rewards": [2.0, 1.0, None, None]})
    assert post(server, "/rewards", {"rows": []}) == (200, {"rewards": []})


def test_openrlhf_gets_numbers_and_how_many_are_undecided(server):
    texts = [r"<s>2+2=\boxed{4}<end>", r"2+2=\boxed{5};", "2+2=no"]
    body = {"query": texts, "prompts": ["2+2="] * 3, "labels": ["4"] * 3}
    numbers = [2.0, 1.0, 0.0]
    expected = {"rewards": numbers, "scores": numbers, "extra_logs": {"undecided": [0.0, 0.0, 1.0]}}
    assert post(server, "/get_reward", body) == (200, expected)


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/rewards", b"{", "the body is not JSON"),
        ("/rewards", b"\xff", "the body is not JSON"),
        ("/rewards", b"[" * 100_000, "the body is not JSON"),
        ("/rewards", [], "the body must be a table"),
        ("/rewards", {"row": []}, "must hold a list under `rows`"),
        ("/rewards", {"rows": [{"problem": "1", "completion": "1"}, 7]}, "row 1: it is not a table"),
        (
            "/rewards",
            {"rows": [{"problem": "1", "completion": None}]},
            "row 0: `completion` must be the text of an answer, not None",
        ),
        (
            "/rewards",
            b'{"rows": [{"problem": "1", "completion": "", "answer": 1' + b"0" * 400 + b"}]}",
            "row 0: `answer` must be",
        ),
        ("/rewards", b'{"rows": ' + b"[" * 150 + b"]" * 150 + b"}", "nested over 100 levels deep"),
        (
            "/rewards",
            b'{"rows": [{"problem": {"statement": "1", "metadata": {"a": NaN}}, "completion": "1"}]}',
            "row 0: `metadata` of its problem must be a table of JSON values",
        ),
        ("/get_reward", {"query": ["a"], "prompts": ["a"]}, "must hold a list under `labels`"),
        ("/get_reward", {"query": ["a"], "prompts": [], "labels": []}, "1 texts, 0 prompts and 0 labels"),
        (
            "/get_reward",
            {"query": ["a"], "prompts": ["b"], "labels": ["c"]},
            "row 0: `query` must be text that holds its prompt",
        ),
    ],
)
def test_bad_input_is_one_sentence(server, path, body, said):
    status, answer = post(server, path, body)
    assert status == 422 and set(answer) == {"error"} and said in answer["error"] and "\n" not in answer["error"]


def test_the_key_is_asked_for(server):
    assert post(server, "/rewards", {"rows": []}, key="another")[0] == 401


def test_an_export_asks_the_server_where_one_is_named(server, tmp_path, monkeypatch):
    folder = exported(tmp_path, "tinker", recipe_of("redi"))
    monkeypatch.setenv("REDISTILL_REWARDS", server)
    monkeypatch.setenv("REDISTILL_API_KEY", KEY)
    with modules_of(folder, "reward") as (module,):
        facts = json.dumps({"statement": "2+2=", "answer": "4"})
        assert module.reward(facts, [r"\boxed{4}", "?"], [9, 1], [True, False]) == [2.0, None]
        assert not module._held  # nothing was judged here


def test_what_cannot_be_served_is_one_sentence(capsys):
    for words, said in (
        ([], "name either a MODEL or --rewards"),
        (["m", "--rewards", "quickstart"], "name either a MODEL or --rewards"),
        (["--rewards", "quickstart", "--print"], "belong to a MODEL"),
        (["--rewards", "quickstart", "--stage", "rdi"], "no stage is called 'rdi'; did you mean 'redi'"),
        (["--rewards", "nothing.yaml"], "nothing.yaml"),
    ):
        with pytest.raises(SystemExit) as end:
            main(["serve", *words])
        assert end.value.code == 2 and said in capsys.readouterr().err
