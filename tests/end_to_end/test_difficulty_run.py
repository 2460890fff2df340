"""Problems alone, a search of each for its difficulty, and a stage that learns from the sample of hard ones, in one run."""

import json

import pyarrow.parquet as pq
import pytest

from redistill import api
from redistill.errors import OperatorError
from redistill.io.parquet import read_records
from redistill.records import Outcome
from redistill.rollout import journal
from tiny_recipe import RECIPE

# A student that knows nothing is right now and then: where the answer, one digit, stands at the end of what it says.
CODE = """
from redistill.records import Outcome, Verdict

def at_the_end(problem, trace):
    found = Outcome.correct if problem.answer in trace.completion[-3:] else Outcome.incorrect
    return Verdict(found, verifier="end", verifier_version="1")
"""
SEARCH = {
    "name": "difficulty", "budget": 6, "step_end": ";", "max_steps": 3, "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 8,
}  # fmt: skip
OWN = {"problems": 3, "n": 2, "rounds": 3, "updates": 1, "max_new_tokens": 8}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The recipe and its code: 40 problems without traces."""
    folder = tmp_path_factory.mktemp("data")
    rows = [{"problem": f"{a}+{b}=", "answer": str((a + b) % 10)} for a in range(8) for b in range(5)]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "ends.py").write_text(CODE)
    tree = {
        **RECIPE,
        "corpus": {
            "sources": [{"name": "problems", "path": str(folder / "problems.jsonl")}],
            "dev_fraction": 0.2,
            "shards": 2,
        },
        "verify": {"verifiers": ["ends:at_the_end"], "policy": "ends:at_the_end", "workers": 1},
        "score": [SEARCH],
        "select": {"sample": {"by": "difficulty", "least": 3}, "truncated_correct": "keep"},
        "train": {"grpo": {"objective": "grpo", "start": "base", "learning_rate": 1e-3, "rollouts": OWN}},
        "evaluate": {"max_new_tokens": 8},
    }
    return tree, folder / "ends.py"


@pytest.fixture(scope="module")
def done(asked, tmp_path_factory):
    tree, code = asked
    return api.run(tree, runs_dir=tmp_path_factory.mktemp("runs"), until="train", code=[code])


def records(folder, stream):
    return [record for path in sorted((folder / stream).glob("*.parquet")) for record in read_records(path)]


def held_out(done):
    return {problem.id for problem in records(done, "select/dev")}


def test_every_problem_that_is_not_held_out_gets_its_tries_and_keeps_all_answers(done):
    dev = held_out(done)
    groups = records(done, "score/groups")
    assert len(groups) == 40 and 2 < len(dev) < 20
    for group in groups:
        if group.problem.id in dev:
            assert not group.traces
            continue
        tried = group.problem.metadata["difficulty_tries"]
        right = [trace.verdict.outcome for trace in group.traces].count(Outcome.correct)
        assert right == (tried["solved_at"] is not None)
        assert {t.scores["difficulty"] for t in group.traces} == {tried["solved_at"] or 7}
        assert {"unsolved" in t.notes for t in group.traces} == {tried["solved_at"] is None}
        assert {t.author for t in group.traces} == {"base"} and len(group.traces) <= tried["tries"]
    tries = [g.problem.metadata["difficulty_tries"]["solved_at"] for g in groups if g.traces]
    assert None in tries and len(set(tries)) > 2


def test_the_ledger_counts_what_was_drawn(done):
    cost = [g.problem.metadata["difficulty_cost"] for g in records(done, "score/groups") if g.traces]
    ledger = json.loads((done / "scorers" / "difficulty" / "ledger.json").read_text())
    assert ledger["tallies"]["cost"] == {name: sum(c[name] for c in cost) for name in ("samples", "tokens")}
    assert not (done / "scorers" / "difficulty" / "samples.jsonl").exists()


def test_the_stage_is_asked_only_the_problems_of_the_sample(done):
    dev, hard = held_out(done), set()
    for group in records(done, "score/groups"):
        solved_at = group.problem.metadata.get("difficulty_tries", {}).get("solved_at")
        if group.problem.id not in dev and (solved_at is None or solved_at >= 3):
            hard.add(group.problem.id)
    assert {problem.id for problem in records(done, "select/problems")} == hard
    account = json.loads((done / "select" / "ledger.json").read_text())["accounts"]["problems"]
    assert account["kept"] == len(hard) and account["dropped"]["below_least"] == 40 - len(dev) - len(hard)
    drawn = {group.problem.id for group in records(done, "train/grpo/rollouts/groups")}
    assert drawn and drawn <= hard


def test_an_export_asks_the_same_problems(asked, done, tmp_path):
    folder = api.export(done, to="trl", out=tmp_path / "out", code=[asked[1]])
    prompts = pq.read_table(folder / "prompts.parquet").column("prompt").to_pylist()
    assert sorted(prompts) == sorted(problem.statement for problem in records(done, "select/problems"))


def test_right_and_wrong_answers_of_a_problem_are_pairs(done):
    groups = {g.problem.id: g for g in records(done, "score/groups")}
    both = set()
    for id in {problem.id for problem in records(done, "select/problems")}:
        told = [t for t in groups[id].traces if t.finish_reason == "stop" or t.verdict.outcome is Outcome.correct]
        if {t.verdict.outcome for t in told} == {Outcome.correct, Outcome.incorrect}:  # a cut answer is not pushed down
            both.add(id)
    assert both and {pair.problem_id for pair in records(done, "select/pairs")} == both


def test_a_killed_search_goes_on_to_the_same_bytes_and_draws_nothing_twice(asked, done, tmp_path, monkeypatch):
    tree, code = asked
    written, append = [], journal._append

    def dying(file, data):
        if len(written) in (40, 120):
            written.append(b"")
            raise KeyboardInterrupt
        written.append(data)
        append(file, data)

    monkeypatch.setattr(journal, "_append", dying)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            api.run(tree, runs_dir=tmp_path, until="score", code=[code])
    folder = api.run(tree, runs_dir=tmp_path, until="score", code=[code])
    for part in ("part-00000.parquet", "part-00001.parquet"):
        one, other = (run / "score" / "groups" / part for run in (done, folder))
        assert one.read_bytes() == other.read_bytes()
    keys = [json.loads(line)["key"] for line in written if line]
    assert len(keys) == len(set(keys))


def test_a_sample_that_leaves_no_problem_is_one_sentence(asked, tmp_path):
    tree, code = asked
    nothing = {**tree, "select": {"sample": {"by": "difficulty", "least": 99}}, "score": [{**SEARCH, "budget": 1}]}
    with pytest.raises(OperatorError, match=r"select\.sample keeps no problem"):
        api.run(nothing, runs_dir=tmp_path, until="train", code=[code])
