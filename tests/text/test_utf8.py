"""Lone surrogates are "?" wherever text comes in: of servers, benchmarks, journals of before, and columns' names; nothing computed is lost."""

import http.server
import json
import threading

import pyarrow.parquet as pq
import pytest

from redistill.cli import main
from redistill.config.tables import BenchmarkSettings
from redistill.config.yaml_text import read_value
from redistill.errors import OperatorError
from redistill.evaluate.benchmarks import load_benchmark
from redistill.io.atomic import mark
from redistill.retrieval.collection import documents
from redistill.rollout.journal import _read
from redistill.text.utf8 import utf8, utf8_values

HALF = "half \ud800 é \udfff"


def test_only_halves_of_characters_are_replaced():
    assert utf8(HALF) == "half ? é ?" and utf8("\U0001f600") == "\U0001f600"
    assert utf8_values({HALF: [HALF, {"a": HALF}, 1.5, None, True]}) == {
        "half ? é ?": ["half ? é ?", {"a": "half ? é ?"}, 1.5, None, True]
    }


@pytest.fixture
def server():
    """An OpenAI server whose every text is broken."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_error(404)

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            choice = {"text": f"\\boxed{{4}} {HALF}", "finish_reason": f"stop{HALF}"}
            body = {
                "model": HALF,
                "choices": [{**choice, "index": n} for n in range(asked.get("n") or 1)],
                "usage": {"prompt_tokens": 1, "completion_tokens": 2},
            }
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}/v1"
    found.shutdown()
    found.server_close()


def test_rollout_keeps_the_answers_of_a_server_that_breaks_characters(server, tmp_path, capsys):
    rows = [{"problem": f"2+2? {HALF}", "answer": "4"}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "o.jsonl"
    main(
        [
            "rollout",
            "m",
            str(tmp_path / "p.jsonl"),
            "--out",
            str(out),
            "--engine",
            "openai",
            "--base-url",
            server,
            "--no-chat",
        ]
    )
    (row,) = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert row["problem"] == "2+2? half ? é ?" and row["generations"][0]["text"] == "\\boxed{4} half ? é ?"
    assert row["generations"][0]["correct"] is True
    main(["show", str(out)])
    assert "half ? é ?" in capsys.readouterr().out


def test_an_answer_that_was_stored_before_is_read_by_the_rule(tmp_path):
    line = {"key": "s1", "text": HALF, "num_tokens": 1, "finish_reason": "stop"}
    (tmp_path / "journal").write_text(json.dumps(mark(line)) + "\n")
    assert _read(tmp_path / "journal")["s1"].text == "half ? é ?"


def test_benchmarks_and_documents_are_read_by_the_rule(tmp_path):
    (tmp_path / "b.jsonl").write_text(json.dumps({"problem": HALF, "answer": "4"}) + "\n")
    (problem,) = load_benchmark(BenchmarkSettings(name="b", file=str(tmp_path / "b.jsonl")))
    assert problem.statement == "half ? é ?"
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"_id": "1", "title": "", "text": HALF}) + "\n")
    assert "half ? é ?" in next(iter(documents(str(tmp_path))))[1]


def test_columns_of_broken_names_are_written_as_parquet(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"gold": "4", "said": f"\\boxed{{4}} {HALF}", HALF: [HALF]}) + "\n")
    main(
        [
            "verify",
            str(tmp_path / "rows.jsonl"),
            "--gold",
            "gold",
            "--prediction",
            "said",
            "--out",
            str(tmp_path / "o.parquet"),
        ]
    )
    (row,) = pq.read_table(tmp_path / "o.parquet").to_pylist()
    assert row["half ? é ?"] == ["half ? é ?"] and row["cascade_outcome"] == "correct"


def test_a_recipe_with_half_a_character_is_a_sentence():
    with pytest.raises(OperatorError, match=r"x\.yaml is not valid YAML: 'half.*' holds half a character"):
        read_value('{prompt: {template: "half \\ud800 {problem}"}}', "x.yaml")
