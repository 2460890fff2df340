"""`redistill score`: a file of traces in, the same file with scores out; stopped anywhere it goes on, and nothing is written over."""

import json
import sys

import pytest

from local_servers import scripted_server
from redistill.api import score
from redistill.config.tables import StudentSettings
from redistill.config.user_plugins import load_code
from redistill.corpus import SOURCES
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.records import Outcome, Span
from redistill.tools import score_file as tool
from tiny_recipe import RECIPE

CODE = '''
from dataclasses import replace
from redistill.records import Span
from redistill.score import scored, unscored

CALLS = []


def length(groups, *, fail_at: int = -1, _into: str) -> list:
    """Characters of a trace; none of an empty one."""
    if len(CALLS) == fail_at:
        raise KeyboardInterrupt
    CALLS.append([group.problem.statement for group in groups])
    mark = lambda t: scored(t, scores={_into: float(len(t.completion))}, spans={_into: [Span(0, 1, 0.5)]}) if t.completion != "-" else unscored(t, _into, "dash")
    return [replace(group, traces=tuple(mark(trace) for trace in group.traces)) for group in groups]
'''


@pytest.fixture(scope="module", autouse=True)
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "my_length.py"
    path.write_text(CODE)
    load_code(path)
    return sys.modules["my_length"]


@pytest.fixture
def traces(tmp_path, own):
    own.CALLS.clear()
    rows = [
        {"problem": f"{n}+{n}=", "answer": str(2 * n), "metadata": {"n": n}, "generations": [
            {"text": f"{2 * n}", "correct": True, "teacher": "t", "scores": {"old": 0.5}, "notes": {"said": "so"}}, "-",
        ]}
        for n in range(5)
    ]  # fmt: skip
    path = tmp_path / "traces.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "broken\n")
    return path


def test_the_file_holds_the_same_traces_with_scores_spans_notes_and_reasons(traces, tmp_path):
    counts = score(traces, ["my_length:length"], out=tmp_path / "scored.jsonl")
    assert counts == {
        "problems": 5, "traces": 10, "unreadable": {"bad_json": 1}, "out": str(tmp_path / "scored.jsonl"),
        "scored": {"length": {"unit": "trace", "in": 10, "kept": 5, "dropped": {"dash": 5}}},
    }  # fmt: skip
    groups = list(SOURCES["traces"](path=str(tmp_path / "scored.jsonl")))
    assert [(g.problem.statement, g.problem.metadata) for g in groups] == [(f"{n}+{n}=", {"n": n}) for n in range(5)]
    one, dash = groups[1].traces
    assert one.scores == {"old": 0.5, "length": 1.0} and one.spans == {"length": (Span(0, 1, 0.5),)}
    assert one.notes == {"said": "so"} and one.author == "t"
    assert one.verdicts["teacher_label"].outcome is Outcome.correct and dash.verdicts == {}
    assert dash.scores == {} and dash.notes == {"length_unscored": "dash"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scored.jsonl", "traces.jsonl"]


def test_a_stopped_command_goes_on_with_the_shards_that_are_missing(traces, tmp_path, monkeypatch, own):
    monkeypatch.setattr(tool, "PER_SHARD", 2)
    spec = {"name": "my_length:length", "into": "len"}
    with pytest.raises(KeyboardInterrupt):
        score(traces, [{**spec, "fail_at": 1}], out=tmp_path / "a.jsonl")
    assert own.CALLS == [["0+0=", "1+1="]] and not (tmp_path / "a.jsonl").exists()
    own.CALLS.extend([[], []])  # so that the same option fails no more
    score(traces, [{**spec, "fail_at": 1}], out=tmp_path / "a.jsonl")
    assert own.CALLS[3:] == [["2+2=", "3+3="], ["4+4="]]
    own.CALLS.clear()
    score(traces, [spec], out=tmp_path / "whole.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_nothing_is_written_over(traces, tmp_path):
    before = traces.read_bytes()
    with pytest.raises(OperatorError, match="is the input itself, which is never written over; name another file"):
        score(traces, ["my_length:length"], out=traces)
    (tmp_path / "there.jsonl").write_text("mine")
    with pytest.raises(OperatorError, match="already exists; name another file, or remove it first"):
        score(traces, ["my_length:length"], out=tmp_path / "there.jsonl")
    assert traces.read_bytes() == before and (tmp_path / "there.jsonl").read_text() == "mine"


@pytest.mark.parametrize(
    ("scorers", "out", "sentence"),
    [
        (["perplexty"], "o.jsonl", "--with perplexty: there is no 'perplexty'; did you mean 'perplexity'?"),
        (["{name: perplexity, mdel: x}"], "o.jsonl", r"--with perplexity \(perplexity\): mdel: unknown key"),
        (["my_length:length", "my_length:length"], "o.jsonl", "give two of one name an `into` each"),
        (["my_length:length"], "o.csv", "must end in .jsonl, .jsonl.gz, .jsonl.zst"),
        (["perplexity"], "o.jsonl", r"score \(perplexity\): no student is available; set `model`"),
    ],
)
def test_a_mistake_is_one_sentence(traces, tmp_path, scorers, out, sentence):
    with pytest.raises(OperatorError, match=sentence):
        score(traces, scorers, out=tmp_path / out)


def test_a_model_and_the_student_score_alike(traces, tmp_path):
    settings = StudentSettings(**RECIPE["student"])
    tokenizer = loading.load_tokenizer(settings)
    folder = tmp_path / "model"
    loading.save_model(loading.load_model(settings, tokenizer, seed=0), tokenizer, folder, card="")
    text = f"{{name: perplexity, model: '{folder}', into: ppl}}"
    score(traces, [text, "perplexity"], out=tmp_path / "o.jsonl.gz", student=folder, template="bare")
    for group in SOURCES["traces"](path=str(tmp_path / "o.jsonl.gz")):
        for trace in group.traces:
            assert trace.scores["ppl"] == trace.scores["perplexity"] > 1


def test_what_a_paid_scorer_costs_is_said_before_its_first_call_and_its_replies_stay(traces, tmp_path, capsys):
    with scripted_server(tmp_path, answers='{"+": "LABEL: easy"}') as server:
        spec = {"name": "label", "base_url": server.base_url, "model": "m", "price_in": 1, "price_out": 1}
        with pytest.raises(OperatorError, match="5 calls are needed and max_calls is 4; no call was made"):
            score(traces, [{**spec, "max_calls": 4}], out=tmp_path / "o.jsonl")
        assert not server.asked()
        counts = score(traces, [spec], out=tmp_path / "o.jsonl")
        assert len(server.asked()) == 5 and counts["scored"]["label"]["kept"] == 10
        (tmp_path / "o.jsonl").unlink()
        score(traces, [spec], out=tmp_path / "o.jsonl")
        assert len(server.asked()) == 5
    assert "score    label: m: 5 calls to ask (0 answered before)" in capsys.readouterr().err
