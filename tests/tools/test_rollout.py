"""`redistill rollout`: problems in, a file of traces out; stopped anywhere it goes on, and nothing is written over."""

import json

import pytest

from redistill.api import rollout
from redistill.config.tables import StudentSettings
from redistill.corpus import SOURCES
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.records import Outcome
from redistill.rollout import ENGINES, local_sampling
from redistill.rollout.requests import Sample
from tiny_recipe import RECIPE


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    settings = StudentSettings(**RECIPE["student"])
    tokenizer = loading.load_tokenizer(settings)
    folder = tmp_path_factory.mktemp("student") / "tiny" / "model"
    loading.save_model(loading.load_model(settings, tokenizer, seed=0), tokenizer, folder, card="")
    return folder


@pytest.fixture
def problems(tmp_path):
    path = tmp_path / "problems.jsonl"
    rows = [{"problem": f"{n}+{n}=", "answer": str(2 * n), "metadata": {"n": n}} for n in range(5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0]]))
    return path


SETTINGS = {"template": "bare", "max_new_tokens": 6, "overrides": ["evaluate.verifier=exact"]}


def test_the_file_is_one_of_traces_with_all_that_is_known(model, problems, tmp_path):
    counts = rollout(model, problems, out=tmp_path / "out.jsonl", n=3, **SETTINGS)
    assert counts["problems"] == 5 and counts["answers"] == 15 == sum(counts["outcomes"].values())
    groups = list(SOURCES["traces"](path=str(tmp_path / "out.jsonl")))
    assert [g.problem.statement for g in groups] == [f"{n}+{n}=" for n in range(5)]
    assert [g.problem.metadata for g in groups] == [{"n": n} for n in range(5)]
    traces = [t for g in groups for t in g.traces]
    assert {t.author for t in traces} == {"tiny"} and [t.sampling["sample_index"] for t in traces] == [0, 1, 2] * 5
    assert all(t.num_tokens and t.finish_reason in ("stop", "length") for t in traces)
    assert len({t.sampling["seed"] for t in traces}) == 15 and {t.sampling["temperature"] for t in traces} == {0.6}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.jsonl", "problems.jsonl"]


def scripted(answers, asked):
    """An engine that gives these answers in turn; an exception among them is raised."""

    def engine(student, requests, sampling, *, _finished):
        samples = []
        for place, request in enumerate(requests):
            answer = answers[len(asked)]
            asked.append(request)
            if isinstance(answer, Exception):
                raise answer
            answer = f"####{answer}" if answer.isdigit() else answer
            samples.append(Sample(answer, len(answer), "stop"))
            _finished(place, samples[-1])
        return samples

    return engine


def test_asked_until_one_is_right_and_no_longer(problems, tmp_path, monkeypatch):
    asked = []
    # problem 0 is right at once, 1 in its second turn, the others never: an answer without a number cannot be judged
    first, second, third = ["0", "3", "x", "5", "7"], ["2", "x", "5", "7"], ["x", "5", "7"]
    monkeypatch.setitem(ENGINES, "scripted", scripted([*first, *second, *third], asked))
    counts = rollout(
        "teacher", problems, out=tmp_path / "out.jsonl", until_right=3, engine="scripted", chat=False, **SETTINGS
    )
    assert counts["solved"] == 2 and counts["answers"] == 12 == len(asked)
    assert len({(r.prompt, r.seed) for r in asked}) == 12  # every turn draws anew
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [len(row["generations"]) for row in rows] == [1, 2, 3, 3, 3]
    assert [g["sampling"]["sample_index"] for g in rows[4]["generations"]] == [0, 1, 2]
    labels = [[g.get("correct") for g in row["generations"]] for row in rows]
    assert labels[:2] == [[True], [False, True]]
    undecided = [g for row in rows for g in row["generations"] if g["text"] == "x"]
    assert undecided and all("correct" not in g for g in undecided)  # not a wrong answer


def test_stopped_in_the_middle_it_asks_only_what_is_missing(problems, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setitem(ENGINES, "scripted", scripted(["0", "3", "4", RuntimeError("gone")], asked))
    with pytest.raises(RuntimeError):
        rollout("teacher", problems, out=tmp_path / "out.jsonl", engine="scripted", chat=False, **SETTINGS)
    assert not (tmp_path / "out.jsonl").exists()
    again = []
    monkeypatch.setitem(ENGINES, "scripted", scripted(["6", "8"], again))
    rollout("teacher", problems, out=tmp_path / "out.jsonl", engine="scripted", chat=False, **SETTINGS)
    assert [r.prompt for r in again] == ["3+3=", "4+4="]
    texts = [json.loads(line)["generations"][0]["text"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert texts == ["####0", "####3", "####4", "####6", "####8"]


def test_ctrl_c_says_how_many_answers_are_stored_and_a_half_drawn_one_is_none_of_them(
    model, problems, tmp_path, monkeypatch, capsys
):
    """In process: it comes while the third of five answers is being drawn."""
    real, drawn = local_sampling.StopStrings.cut, []

    def cut(self, text):
        drawn.append(text)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return real(self, text)

    with monkeypatch.context() as patch:
        patch.setattr(local_sampling.StopStrings, "cut", cut)
        with pytest.raises(KeyboardInterrupt):
            rollout(model, problems, out=tmp_path / "out.jsonl", **SETTINGS)
    assert "rollout: stopped with 2 answers stored; the same command samples the rest" in capsys.readouterr().err
    assert len((tmp_path / "out.jsonl.journal").read_text().splitlines()) == 2
    rollout(model, problems, out=tmp_path / "out.jsonl", **SETTINGS)
    rollout(model, problems, out=tmp_path / "whole.jsonl", **SETTINGS)
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_what_cannot_be_done_is_one_sentence(problems, tmp_path, monkeypatch):
    (tmp_path / "there.jsonl").write_text("mine")
    with pytest.raises(OperatorError, match=r"there\.jsonl already exists"):
        rollout("teacher", problems, out=tmp_path / "there.jsonl", chat=False, **SETTINGS)
    assert (tmp_path / "there.jsonl").read_text() == "mine"
    with pytest.raises(OperatorError, match=r"end the name with \.jsonl"):
        rollout("teacher", problems, out=tmp_path / "out.parquet", chat=False, **SETTINGS)
    with pytest.raises(OperatorError, match="--until-right must be 1 or more, and is 0"):
        rollout("teacher", problems, out=tmp_path / "out.jsonl", until_right=0, chat=False, **SETTINGS)
    empty = tmp_path / "empty.jsonl"
    empty.write_text(json.dumps({"question?": "no"}) + "\n")
    with pytest.raises(OperatorError, match="finds no problem"):
        rollout("teacher", empty, out=tmp_path / "out.jsonl", chat=False, **SETTINGS)


def test_a_source_that_is_a_folder_gives_the_problems_and_one_without_a_file_is_refused(model, tmp_path):
    folder = beir(tmp_path / "beir")
    rollout(model, folder, out=tmp_path / "out.jsonl", source="queries", template="bare", max_new_tokens=2)
    (group,) = SOURCES["traces"](path=str(tmp_path / "out.jsonl"))
    assert group.problem.statement == "11+1" and group.problem.metadata["relevant"] == {"d1": 1.0}
    with pytest.raises(OperatorError, match="--source two-habits: this source reads no file; those that do: traces, "):
        rollout(model, folder, out=tmp_path / "none.jsonl", source="two-habits", template="bare")


def beir(folder):
    """A collection of one document and one query."""
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(json.dumps({"_id": "d1", "title": "", "text": "eleven"}))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "11+1"}))
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    return folder


def test_a_label_is_written_only_where_it_is_decided(problems, tmp_path, monkeypatch):
    monkeypatch.setitem(ENGINES, "scripted", scripted(["0", "9", "x", "", "8"], []))
    rollout("teacher", problems, out=tmp_path / "out.jsonl", engine="scripted", chat=False, **SETTINGS)
    groups = list(SOURCES["traces"](path=str(tmp_path / "out.jsonl")))
    outcomes = [t.verdicts["teacher_label"].outcome if t.verdicts else None for g in groups for t in g.traces]
    assert outcomes == [Outcome.correct, Outcome.incorrect, None, None, Outcome.correct]
