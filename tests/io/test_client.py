"""The client against real server processes: what passes is tried again, what does not is one sentence, what came is kept."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import redistill
from local_servers import SOURCE, scripted_server, words_of
from redistill.errors import OperatorError
from redistill.io import api_keys, client
from redistill.io.client import Ask, Kept, Reply, Server, ask, read_reply, served_models

SECRET = "sk-very-secret-0123"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.01)


def asks(count=6):
    return [Ask("completions", {"model": "m", "prompt": f"p{i}", "seed": i, "max_tokens": 4}) for i in range(count)]


def texts(count=6):
    return [words_of(f"p{i}", i) for i in range(count)]


def test_replies_come_in_the_order_of_the_asks_and_equal_asks_are_asked_once(tmp_path):
    with scripted_server(tmp_path) as server:
        found = ask(Server(server.base_url, concurrency=4), [*asks(), asks()[0]], kept=Kept())
        assert [r.text for r in found] == [*texts(), texts()[0]]
        assert found[0] == Reply(texts()[0], "stop", 1, 2) and len(server.asked()) == 6


@pytest.mark.parametrize("fail", ["429", "500", "503", "garbage", "empty", "cut"])
def test_a_trouble_that_passes_is_tried_again(tmp_path, fail):
    with scripted_server(tmp_path, fail=fail, times=3) as server:
        found = ask(Server(server.base_url, concurrency=1), asks(2), kept=Kept())
        assert [r.text for r in found] == texts(2) and len(server.asked()) == 5


def test_a_hanging_answer_is_given_up_and_asked_again(tmp_path):
    with scripted_server(tmp_path, fail="hang", times=1) as server:
        found = ask(Server(server.base_url, timeout_seconds=0.3), asks(1), kept=Kept())
        assert [r.text for r in found] == texts(1) and len(server.asked()) == 2


def test_the_servers_own_waiting_time_is_kept_by_all_requests(tmp_path):
    with scripted_server(tmp_path, fail="429", times=1, retry_after="1") as server:
        began = time.monotonic()
        ask(Server(server.base_url, concurrency=1), asks(2), kept=Kept())
        assert 1.0 <= time.monotonic() - began < 60
    with (
        scripted_server(tmp_path, fail="429", retry_after="86400") as server,
        pytest.raises(OperatorError, match="asks to retry in 86400 seconds"),
    ):
        ask(Server(server.base_url), asks(2), kept=Kept())


def test_requests_per_minute_spaces_the_requests(tmp_path):
    with scripted_server(tmp_path) as server:
        began = time.monotonic()
        ask(Server(server.base_url, requests_per_minute=600), asks(6), kept=Kept())
        assert time.monotonic() - began >= 0.5  # six requests, five gaps of 0.1 s


@pytest.mark.parametrize(
    ("fail", "sentence"),
    [
        ("500", r"no usable answer to any of 5 requests \(500: not now after 3 attempts\)"),
        ("garbage", r"no usable answer to any of 5 requests \(not a completion: <html>.* after 3 attempts\)"),
        ("400", r"no usable answer to any of 5 requests \(400: not now\)"),
        ("404", r"has no /completions or no model 'm' \(404: not now\)"),
    ],
)
def test_a_trouble_that_does_not_pass_is_one_sentence(tmp_path, fail, sentence):
    with scripted_server(tmp_path, fail=fail) as server, pytest.raises(OperatorError, match=sentence) as error:
        ask(Server(server.base_url, retries=2), asks(), kept=Kept())
    assert "\n" not in str(error.value)


def test_a_server_that_vanishes_costs_nothing_that_was_answered(tmp_path):
    path = tmp_path / "kept.jsonl"
    with (
        scripted_server(tmp_path, die_after=4) as server,
        Kept(path) as kept,
        pytest.raises(OperatorError, match=r"run the same command again. Replies received so far are kept"),
    ):
        ask(Server(server.base_url, concurrency=1, retries=1), asks(), kept=kept)
    before = len(path.read_text().split())
    with scripted_server(tmp_path) as server, Kept(path) as kept:
        found = ask(Server(server.base_url), asks(), kept=kept)
        answered = 6 - len(server.asked())
    assert before and answered in (3, 4) and [r.text for r in found] == texts()


KILLED = """
import sys
from pathlib import Path
from redistill.io.client import Ask, Kept, Server, ask
asks = [Ask("completions", {"model": "m", "prompt": f"p{i}", "seed": i, "max_tokens": 4}) for i in range(40)]
with Kept(Path(sys.argv[2])) as kept:
    ask(Server(sys.argv[1], concurrency=2), asks, kept=kept)
"""


def test_a_killed_run_asks_only_for_what_is_missing(tmp_path):
    path = tmp_path / "kept.jsonl"
    with scripted_server(tmp_path, slow=0.05) as server:
        command = [sys.executable, "-c", KILLED, server.base_url, str(path)]
        run = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(SOURCE)})
        deadline = time.monotonic() + 60
        while not path.exists() or path.read_text().count("\n") < 10:
            assert time.monotonic() < deadline and run.poll() is None
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        run.wait()
        time.sleep(0.3)  # what was on its way arrives
        before = len(server.asked())
        with Kept(path) as kept:
            assert [r.text for r in ask(Server(server.base_url), asks(40), kept=kept)] == texts(40)
        # what the kill caught on its way, two at most, was asked twice; nothing else was
        assert 10 <= before < 40 and len(server.asked()) <= 40 + 2


def test_a_line_that_a_kill_cut_short_is_asked_again_and_harms_no_other(tmp_path):
    path = tmp_path / "kept.jsonl"
    with scripted_server(tmp_path) as server:
        with Kept(path) as kept:
            ask(Server(server.base_url), asks(3), kept=kept)
        path.write_text(path.read_text()[:-20])
        with Kept(path) as kept:
            ask(Server(server.base_url), asks(3), kept=kept)
        with Kept(path) as kept:
            assert [kept.get(a.key).text for a in asks(3)] == texts(3)
        assert len(server.asked()) == 4


def test_what_is_kept_needs_no_server(tmp_path):
    kept = Kept()
    for asked, text in zip(asks(), texts()):
        kept.put(asked.key, Reply(text, "stop", None, None))
    assert [r.text for r in ask(Server("http://127.0.0.1:9/v1"), asks(), kept=kept)] == texts()


def test_no_server_is_said_at_once():
    began = time.monotonic()
    with pytest.raises(OperatorError, match=r"no server answers at http://127.0.0.1:9/v1 \(ConnectError"):
        ask(Server("http://127.0.0.1:9/v1", retries=9), asks(), kept=Kept())
    assert time.monotonic() - began < 30  # retries would take 0.01 s here and half a minute in use


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x/v1", "http://", "http://me:secret@x/v1"])
def test_an_address_that_is_none_is_refused_without_being_said_back_where_it_holds_a_password(url):
    with pytest.raises(OperatorError, match="base_url: ") as error:
        served_models(Server(url))
    assert "secret" not in str(error.value)


def test_the_key_is_sent_and_is_in_no_file_and_no_sentence(tmp_path, monkeypatch):
    path = tmp_path / "kept.jsonl"
    with scripted_server(tmp_path, key=SECRET) as server:
        with pytest.raises(OperatorError, match=r"401.*no key is in the environment variable REDISTILL_API_KEY"):
            ask(Server(server.base_url), asks(1), kept=Kept())
        monkeypatch.setenv("REDISTILL_API_KEY", SECRET + "x")
        with pytest.raises(OperatorError, match=r"Incorrect key: \*\*\*\); the key in .* is not accepted") as error:
            ask(Server(server.base_url), asks(1), kept=Kept())
        assert SECRET not in str(error.value) + repr(error.value.__cause__)
        monkeypatch.setenv("REDISTILL_API_KEY", SECRET + "\n")
        with Kept(path) as kept:
            assert ask(Server(server.base_url), asks(1), kept=kept)[0].text == texts(1)[0]
    assert SECRET not in "".join(p.read_text() for p in tmp_path.iterdir())


def test_a_key_that_cannot_be_a_key_is_refused_without_being_said(monkeypatch):
    monkeypatch.setenv("REDISTILL_API_KEY", "sk-\N{SNOWMAN}")
    with pytest.raises(OperatorError, match="characters that a key cannot have") as error:
        served_models(Server("http://127.0.0.1:9/v1"))
    assert "sk-" not in str(error.value)


def test_no_source_file_reads_the_key_but_the_client():
    """The client asks api_keys for the name; `serve` hands the key to vLLM, and its help (api/students.py) says so."""
    source = Path(redistill.__file__).parent
    readers = {path for path in source.rglob("*.py") if api_keys.KEY_ENV in path.read_text("utf-8")}
    assert {path.name for path in readers - {Path(api_keys.__file__)}} == {"serve.py", "students.py"}


def test_a_text_with_a_lone_surrogate_is_sent(tmp_path):
    broken = Ask("completions", {"model": "m", "prompt": "a\ud800", "seed": 1})
    with scripted_server(tmp_path, answers=json.dumps({"a": "yes"})) as server, Kept(tmp_path / "kept.jsonl") as kept:
        assert ask(Server(server.base_url), [broken], kept=kept)[0].text == "yes"


def test_thinking_that_a_server_parts_from_the_text_is_put_back():
    message = {"content": "4", "reasoning_content": "2+2"}
    body = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": None}
    assert read_reply(body) == Reply("<think>2+2</think>4", "stop", None, None)


def test_it_works_inside_a_running_loop(tmp_path):
    import asyncio

    async def notebook(url):
        return served_models(Server(url))

    with scripted_server(tmp_path, models="a,b") as server:
        assert asyncio.run(notebook(server.base_url)) == ["a", "b"]


# --- one request of many ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"refuse": {"p7": 400}}, "400: not this one"),
        ({"refuse": {"p7": 500}}, "500: not this one after 3 attempts"),
        ({"choice": {"p7": {"finish_reason": "content_filter"}}}, "content_filter"),
        ({"choice": {"p7": {"finish_reason": "tool_calls"}}}, "tool_calls"),
        ({"choice": {"p7": {"text": None}}}, "no content (stop)"),
    ],
)
def test_one_request_that_is_always_refused_costs_its_own_answer_alone(tmp_path, options, words):
    with scripted_server(tmp_path, **options) as server, Kept(tmp_path / "kept.jsonl") as kept:
        found = ask(Server(server.base_url, retries=2), asks(10), kept=kept)
        assert [reply.text for reply in found if not reply.refused] == [t for i, t in enumerate(texts(10)) if i != 7]
        assert [i for i, reply in enumerate(found) if reply.refused] == [7] and found[7].refused == words
        count = len(server.asked())
        ask(Server(server.base_url, retries=0), asks(10), kept=Kept(tmp_path / "kept.jsonl"))
        assert len(server.asked()) == count + 1  # what was refused is asked again, what was answered is not


def test_a_server_that_refuses_more_than_a_tenth_ends_the_run_and_the_answers_are_kept(tmp_path):
    wanted = [Ask("completions", {"model": "m", "prompt": f"{'bad' if i % 5 == 0 else 'good'} {i}"}) for i in range(40)]
    with scripted_server(tmp_path, refuse={"bad": 400}) as server, Kept(tmp_path / "kept.jsonl") as kept:
        with pytest.raises(
            OperatorError, match=r"refuses 5 of 40 requests, the last with 400: not this one; .* are kept"
        ):
            ask(Server(server.base_url, concurrency=1), wanted, kept=kept)
        assert sum(kept.get(asked.key) is not None for asked in wanted) == 16  # 0, 5, 10, 15 and 20 are bad


@pytest.mark.parametrize("usage", ["none", [1, 2], {"prompt_tokens": "many", "completion_tokens": True}, 7])
def test_a_good_reply_with_an_odd_bill_is_a_good_reply(tmp_path, usage):
    with scripted_server(tmp_path, usage=json.dumps(usage)) as server:
        found = ask(Server(server.base_url), asks(2), kept=Kept())
        assert [(r.text, r.prompt_tokens, r.completion_tokens) for r in found] == [
            (text, None, None) for text in texts(2)
        ]
        assert len(server.asked()) == 2


def test_a_server_that_has_answered_once_may_fail_to_list_its_models_later(tmp_path):
    with scripted_server(tmp_path, listings=1) as server:
        for _ in range(3):
            assert [r.text for r in ask(Server(server.base_url), asks(2), kept=Kept())] == texts(2)


def test_a_blip_of_the_list_of_models_ends_nothing(tmp_path):
    """The first question of every shard is which models there are; the connection may be lost on that one too."""
    with scripted_server(tmp_path, blips=2) as server:
        assert served_models(Server(server.base_url)) == ["m"]
    with scripted_server(tmp_path, blips=2) as server:
        assert [r.text for r in ask(Server(server.base_url), asks(2), kept=Kept())] == texts(2)


def test_a_server_that_comes_back_is_waited_for_where_it_has_answered_before(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.2)
    with scripted_server(tmp_path) as server:
        ask(Server(server.base_url), asks(2), kept=Kept())
        address = server.base_url
    began = time.monotonic()
    with pytest.raises(OperatorError, match="no server answers"):
        served_models(Server(address, retries=2))
    assert time.monotonic() - began > 0.5  # 0.2 and 0.4 seconds at the least


def test_a_reply_much_longer_than_the_tokens_asked_for_is_not_read_to_its_end(tmp_path):
    most = client.BYTES_PER_ANSWER + 4 * client.BYTES_PER_TOKEN  # asks() want 4 tokens
    with scripted_server(tmp_path, bytes=most - 1_000) as server:
        assert not ask(Server(server.base_url, retries=0), asks(1), kept=Kept())[0].refused
    with scripted_server(tmp_path, bytes=most) as server:
        (reply,) = ask(Server(server.base_url, retries=0), asks(1), kept=Kept())
        assert reply.refused.startswith("a response of over 1 MiB")


def test_a_server_that_answers_as_another_model_is_said_once(tmp_path, capsys):
    with scripted_server(tmp_path, name="a-quantised-m") as server:
        for _ in range(2):
            ask(Server(server.base_url), asks(2), kept=Kept())
    assert capsys.readouterr().err.count("replies as 'a-quantised-m', but 'm' was requested") == 1


CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
import sys
from pathlib import Path
from redistill.io.client import Ask, Kept, Server, ask
asks = [Ask("completions", {"model": "m", "prompt": f"p{i}", "seed": i, "max_tokens": 4}) for i in range(40)]
with Kept(Path(sys.argv[2])) as kept:
    ask(Server(sys.argv[1], concurrency=4), asks, kept=kept)
"""


def test_what_is_on_its_way_at_ctrl_c_is_waited_for_and_kept(tmp_path):
    with scripted_server(tmp_path, slow=0.5) as server:
        command = [sys.executable, "-c", CTRL_C, server.base_url, str(tmp_path / "kept.jsonl")]
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(SOURCE)}, stderr=subprocess.PIPE)
        while len(server.asked()) < 6:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.wait(30)
        asked = len(server.asked())
        kept = [line for line in (tmp_path / "kept.jsonl").read_text().splitlines() if line.strip()]
        assert asked == len(kept) < 40 and process.returncode
        process.stderr.close()
