"""Sweeps of the smallest of recipes: what is shared, what is repeated after a kill, what is stopped, and the table's numbers."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import redistill
from redistill.cli import main
from redistill.evaluate.seeds import compare_over_seeds
from redistill.tools.sweep import workers
from redistill.tools.sweep.grid import make_trials, read_sweep
from redistill.tools.sweep.table import table_text, tabulate
from redistill.tools.sweep.trial import _shared, link_tree

RECIPE = """\
name: tiny
student:
  from_config: {model_type: llama, hidden_size: 8, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 1,
                num_key_value_heads: 1, max_position_embeddings: 64, tie_word_embeddings: true}
  alphabet: "0123456789+-*=;#"
prompt: {template: bare}
corpus: {sources: [{name: two-habits, problems: 40, traces: 3, digits: 3, jump_length: 2}], dev_fraction: 0.2, shards: 1}
verify: {verifiers: [exact], policy: exact}
select: {examples: first}
train:
  sft: {objective: sft, batch_size: 4, steps: 3, learning_rate: 1e-2}
  redi: {objective: redi, start: sft, batch_size: 4, steps: 4, learning_rate: 1e-3}
  unused: {objective: redi, start: sft, batch_size: 4, steps: 4, learning_rate: 1e-3}
evaluate: {benchmarks: [dev], n: 1, max_new_tokens: 12, verifier: exact}
"""
SWEEP = """\
name: mini-sweep
recipe: tiny.yaml
stage: redi
seeds: [0, 1]
variants:
  sft: {stage: sft}
  control: {set: {train.redi.objective: {name: redi, rejected_weight: 0.0}}}
  redi: {axes: {train.redi.objective.rejected_weight: [0.5, 0.8]}}
control: control
"""
SOURCE = Path(redistill.__file__).parents[1]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    return tmp_path


def test_a_grid_is_every_variant_with_its_axes_and_seeds_and_only_the_stages_it_needs(here: Path) -> None:
    trials = make_trials(read_sweep(here / "sweep.yaml", ["axes={train.redi.learning_rate: [1e-3, 1e-2]}"]))
    # sft has no redi, so its rate is not an axis of it: (1 + 1 * 2 + 2 * 2) points of 2 seeds
    assert len(trials) == 14 and len({t.id for t in trials}) == 14
    assert [t.settings for t in trials if t.variant == "sft"] == [{}, {}]
    assert list(trials[0].recipe.train) == ["sft"] and list(trials[-1].recipe.train) == ["sft", "redi"]
    last = trials[-1].recipe
    assert (last.seed, last.train["redi"].learning_rate) == (1, 1e-2)
    assert last.train["redi"].objective.options == {"rejected_weight": 0.8}
    assert last.evaluate.models == ["redi"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("control=contrl", "no variant is called 'contrl'; did you mean 'control'"),
        ("seeds=[1, 1]", "one stands there twice"),
        ("choose=[train.redi.rate]", "is not an axis"),
        ("stage=rdi", "no stage is called 'rdi'"),
        ("set={train.redi.learning_rat: 1}", "unknown key; did you mean 'learning_rate'"),
        ("sedes=[1]", "unknown key; did you mean 'seeds'"),
    ],
)
def test_a_mistake_is_one_sentence_before_any_work(here: Path, change: str, sentence: str, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["sweep", str(here / "sweep.yaml"), "--set", change, "--runs-dir", str(here / "runs")])
    assert end.value.code == 2 and sentence in capsys.readouterr().err
    assert not (here / "runs").exists()


def start(here: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "CI": "1"}
    command = [sys.executable, "-m", "redistill", "sweep", "sweep.yaml", "--workers", "2"]
    return subprocess.Popen(command, cwd=here, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def sweep(here: Path, *more: str) -> None:
    """The same command in this process, which has imported torch already."""
    main(["sweep", str(here / "sweep.yaml"), "--runs-dir", str(here / "runs"), "--workers", "1", *more])


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials are done here, one after the other: a process of their own would import torch first, for seconds."""

    def do_jobs(jobs, workers_, tell) -> None:
        for job in jobs:
            streams = [os.dup(number) for number in (1, 2)]  # a trial's own log takes their place
            try:
                result = workers._attempt(job)
            finally:
                for number, stream in zip((1, 2), streams):
                    os.dup2(stream, number)
                    os.close(stream)
            tell(job.id, result)

    monkeypatch.setattr("redistill.tools.sweep.sweep.do_jobs", do_jobs)


@pytest.mark.soak  # eight trials twice over; kills of a single run are tests/faults/test_kills.py
def test_killed_with_9_and_run_again_it_repeats_nothing_that_is_finished(here: Path) -> None:
    folder = here / "runs" / "mini-sweep"
    process = start(here)
    deadline = time.monotonic() + 400
    while len(list(folder.glob("trials/*/trial.json"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/trial.json")}
    assert 3 <= len(before) < 8 and not (folder / "sweep.json").exists()
    sweep(here)
    found = json.loads((folder / "sweep.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in before} == before
    is_whole(folder, found, trials=8)


def test_trials_share_what_they_have_in_common_and_a_second_command_repeats_nothing(
    here: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one redi point of two and without the variant that stops at sft: four trials. What one process finished another one leaves
    alone, also under the command that the page gives."""
    variants = yaml.safe_load(SWEEP)["variants"]
    del variants["sft"]
    variants["redi"]["axes"]["train.redi.objective.rejected_weight"] = [0.8]
    folder, one = here / "runs" / "mini-sweep", f"variants={json.dumps(variants)}"
    sweep(here, "--set", one)
    found = json.loads((folder / "sweep.json").read_text())
    is_whole(folder, found, trials=4)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/*/ledger.json")}
    assert len(before) >= 12  # four times corpus, verify and select
    request.getfixturevalue("in_this_process")
    sweep(here, "--set", one)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    monkeypatch.chdir(here)
    (command,) = set(re.findall(r"redistill (sweep \S+ --runs-dir \w+)", (folder / "report.html").read_text()))
    assert main(command.split()) in (0, None)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def is_whole(folder: Path, found: dict, trials: int) -> None:
    """All trials are done, share what they can, and the tables say what the trials' own files say."""
    assert [trial["state"] for trial in found["trials"]] == ["done"] * trials

    # one SFT student a seed, whoever trained it, and one corpus: the trials' files are the same files
    for name in ("corpus/ledger.json", "select/ledger.json", "train/sft/model/model.safetensors"):
        for seed in (0, 1):
            files = [p / name for p in folder.glob(f"trials/*seed-{seed}")]
            assert len(files) == trials // 2 and len({path.stat().st_ino for path in files}) == 1, name

    # the table says what the trials' own files say
    scores = {
        (t["variant"], t["settings"].get("train.redi.objective.rejected_weight"), t["seed"]): t["scores"]["dev"]["mean"]
        for t in found["trials"]
    }
    for trial in found["trials"]:
        stage = "sft" if trial["variant"] == "sft" else "redi"
        path = folder / trial["run"] / "evaluate" / stage / "dev" / "scores.json"
        assert trial["scores"]["dev"]["mean"] == json.loads(path.read_text())["pass_at_1"]["value"]
    point = next(p for p in found["points"] if p["settings"] == {"train.redi.objective.rejected_weight": 0.8})
    column = point["benchmarks"]["dev"]
    assert column["mean"] == pytest.approx((scores["redi", 0.8, 0] + scores["redi", 0.8, 1]) / 2)
    differences = [scores["redi", 0.8, seed] - scores["control", None, seed] for seed in (0, 1)]
    assert column["against_control"]["each"] == pytest.approx(differences)
    assert "| redi | rejected_weight 0.8 | 2 |" in (folder / "table.md").read_text()
    assert "redi, rejected_weight 0.8" in (folder / "report.html").read_text()


def test_a_shared_folder_is_made_once_and_anew_where_it_is_damaged(tmp_path: Path) -> None:
    made = []

    def share(trial: str) -> Path:
        target = tmp_path / trial / "stage"

        def whole() -> bool:
            return target.exists() and (target / "data").read_text() == "whole"

        def make() -> None:
            if not whole():
                made.append(trial)
                shutil.rmtree(target, ignore_errors=True)
                target.mkdir(parents=True)
                (target / "data").write_text("whole")

        _shared(tmp_path / "shared" / "print", target, make, whole)
        return target / "data"

    first, second = share("a"), share("b")
    assert made == ["a"] and first.stat().st_ino == second.stat().st_ino
    first.write_text("damaged")  # the same file for all of them
    third, fourth = share("c"), share("d")
    assert made == ["a", "c"] and fourth.read_text() == "whole"
    assert third.stat().st_ino == fourth.stat().st_ino != first.stat().st_ino


def test_a_file_system_without_hard_links_gets_copies(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "file").write_text("text")
    (tmp_path / "a" / "half.part").write_text("what a killed process left")

    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr("os.link", refuse)
    link_tree(tmp_path / "a", tmp_path / "b")
    assert [p.name for p in (tmp_path / "b").rglob("*") if p.is_file()] == ["file"]
    assert (tmp_path / "b" / "deep" / "file").stat().st_ino != (tmp_path / "a" / "deep" / "file").stat().st_ino


def test_a_trial_that_fails_costs_itself_alone(here: Path, in_this_process: None, capsys) -> None:
    # seed 1 finds no trace in its file, seed 0 does
    row = {"problem": "2+2=", "answer": "4", "generations": [{"text": "####4"}, {"text": "####5"}]}
    rows = [{**row, "problem": f"{a}+{4 - a}="} for a in range(5)]
    (here / "traces-0.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (here / "traces-1.jsonl").write_text(json.dumps({**rows[0], "generations": []}) + "\n")
    changes = {
        "corpus.sources": [{"name": "traces", "path": f"{here}/traces-{{seed}}.jsonl"}],
        "corpus.dev_fraction": 0.5,
    }
    variants = {"redi": {}}
    with pytest.raises(SystemExit) as end:
        sweep(here, "--set", f"set={json.dumps(changes)}", "--set", f"variants={json.dumps(variants)}",
              "--set", "control=null")  # fmt: skip
    assert end.value.code == 2 and "1 of 2 trials failed" in capsys.readouterr().err
    found = json.loads((here / "runs" / "mini-sweep" / "sweep.json").read_text())
    done, failed = found["trials"]
    assert (done["state"], done["why"], failed["state"]) == ("done", "", "failed")
    assert "the corpus is empty" in failed["why"] and done["scores"]["dev"]["n"] > 0
    table = (here / "runs" / "mini-sweep" / "table.md").read_text()
    assert f"## Failed\n\n- {failed['id']}: {failed['why']}" in table


def test_each_seed_takes_the_value_that_was_best_on_the_other_seeds(here: Path) -> None:
    (here / "three.yaml").write_text(
        SWEEP.replace("[0, 1]", "[0, 1, 2]") + "axes: {train.redi.learning_rate: [1e-3, 1e-2]}\n"
        "choose: [train.redi.learning_rate]\n"
    )
    asked = read_sweep(here / "three.yaml", ["variants={redi: {}}", "control=null"])
    trials = make_trials(asked)
    values = {(1e-3, 0): 0.9, (1e-3, 1): 0.1, (1e-3, 2): 0.1, (1e-2, 0): 0.2, (1e-2, 1): 0.3, (1e-2, 2): 0.4}
    found = {}
    for trial in trials:
        value = values[trial.settings["train.redi.learning_rate"], trial.seed]
        path = here / "trials" / trial.id / "evaluate" / "redi" / "dev" / "scores.json"
        path.parent.mkdir(parents=True)
        scores = {"pass_at_1": {"value": value}, "per_problem": {"p": [1]}, "num_samples": 1}
        path.write_text(json.dumps(scores))
        found[trial.id] = {"state": "done", "scores": {"dev": {"mean": value}}}
    table = tabulate(asked, trials, found, here)
    (row,) = table["chosen"]
    # without seed 0 the means are .1 and .35; without 1 .5 and .3; without 2 .5 and .25
    assert [row["took"][str(s)]["train.redi.learning_rate"] for s in (0, 1, 2)] == [1e-2, 1e-3, 1e-3]
    assert row["each"] == [0.2, 0.1, 0.1]  # and not the .9, .3, .4 that each seed would have chosen for itself
    assert "learning_rate 0.001 (2 of 3)" in table_text({**table, "halving": []})


def test_omp_num_threads_may_give_a_worker_less_than_its_share_of_the_cores(monkeypatch) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 8)
    for asked, threads in ((None, 4), ("1", 1), ("4", 4), ("64", 4), ("0", 4), ("", 4), ("4,2", 4)):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if asked is not None:
            monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert workers.threads_each(2) == threads
    assert workers.threads_each(16) == 1


def test_differences_are_taken_seed_by_seed_and_problems_of_several_seeds_are_one() -> None:
    def scores(value: float, hits: dict[str, list[int]]) -> dict:
        return {"pass_at_1": {"value": value}, "per_problem": hits}

    mine = {0: scores(1.0, {"a": [1], "b": [1]}), 1: scores(0.5, {"b": [1], "c": [0]}), 2: scores(0.0, {"d": [0]})}
    control = {0: scores(0.5, {"a": [0], "b": [1]}), 1: scores(0.5, {"b": [0], "c": [1]})}
    found = compare_over_seeds(mine, control)
    assert found is not None
    assert (found["seeds"], found["each"], found["difference"]) == ([0, 1], [0.5, 0.0], 0.25)
    assert found["num_problems"] == 3  # a, b, c
    assert compare_over_seeds({5: mine[0]}, control) is None
