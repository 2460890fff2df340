"""One command from traces to report: what it leaves, what it does not do twice, and what it refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys

from mini import cut_at, environment

STUDENTS = ("base", "sft", "control", "redi")


def made_at(run):
    """Every file of a run that a stage made, and when; what tells of the whole run (recipe, facts, page, cards) left out."""
    stage_dirs, told = ("corpus", "verify", "select", "train", "evaluate"), ("comparisons.json", "README.md")
    files = (p for stage_dir in stage_dirs for p in (run / stage_dir).rglob("*") if p.is_file() and p.name not in told)
    return {str(p.relative_to(run)): p.stat().st_mtime_ns for p in files}


def changed(before, after):
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def weights(run, stage):
    return (run / "train" / stage / "model" / "model.safetensors").read_bytes()


def test_a_run_leaves_a_page_a_score_for_every_student_and_balanced_accounts(whole):
    run = whole / "runs" / "mini"
    assert "<html" in (run / "report.html").read_text() and "Two habits" not in (run / "report.html").read_text()
    scores = {name: json.loads((run / f"evaluate/{name}/dev/scores.json").read_text()) for name in STUDENTS}
    assert {s["num_samples"] for s in scores.values()} == {2} and len({s["num_problems"] for s in scores.values()}) == 1
    ledgers = list(run.rglob("ledger.json"))
    assert len(ledgers) == 3 + 3 + 4  # corpus, verify, select; three stages; four students
    for path in ledgers:
        for account in json.loads(path.read_text())["accounts"].values():
            assert account["in"] == account["kept"] + sum(account["dropped"].values())
    assert f"report: {run.resolve() / 'report.html'}" in (whole / "stdout").read_text()
    assert "%|" not in (whole / "stderr").read_text()  # no progress bar when piped
    assert not [p.name for p in (run / "train/redi").iterdir() if p.name in ("checkpoints", "rows")]


def test_texts_stand_in_the_corpus_alone_and_every_stage_shows_them(whole):
    import pyarrow.parquet as pq

    from redistill.io.parquet import read_records

    run = whole / "runs" / "mini"
    texts = {}
    for path in sorted(run.glob("corpus/groups/*.parquet")):
        for group in read_records(path):
            texts |= {trace.id: trace.completion for trace in group.traces}
    assert texts
    for stage in ("verify", "select"):
        found, files = {}, sorted(run.glob(f"{stage}/groups/*.parquet"))
        for path in files:
            rows = pq.read_table(path).to_pylist()
            assert {trace["completion"] for row in rows for trace in row["traces"]} <= {None}
            assert {row["problem"]["statement"] for row in rows} <= {None}
            for group in read_records(path):
                assert all("final" in trace.verdicts for trace in group.traces)
                found |= {trace.id: trace.completion for trace in group.traces}
        assert found == texts


def test_the_tokens_of_the_pairs_shown_carry_what_training_did_to_them(whole):
    import torch

    from redistill.io.parquet import read_records
    from redistill.model import loading

    run = whole / "runs" / "mini"
    found = json.loads((run / "train/redi/token_changes.json").read_text())
    pairs = {(p.chosen_id, p.rejected_id): p for path in run.glob("select/pairs/*") for p in read_records(path)}
    assert (found["stage"], found["start"], len(found["pairs"])) == ("redi", "sft", min(12, len(pairs)))
    first = found["pairs"][-1]
    pair = pairs[first["chosen_id"], first["rejected_id"]]
    for place, stage in ((2, "sft"), (3, "redi")):  # by the models' own logits, one sequence at a time
        model, tokenizer = loading.load_folder(run / f"train/{stage}/model")
        prompt, text = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in (pair.prompt, pair.rejected))
        ids = torch.tensor([[*prompt, *text, tokenizer.eos_token_id]])
        with torch.no_grad():
            logps = model.eval()(ids).logits[0].float().log_softmax(-1)
        wanted = [float(logps[i - 1, ids[0, i]]) for i in range(len(prompt), ids.shape[1])]
        assert max(abs(token[place] - logp) for token, logp in zip(first["rejected"], wanted, strict=True)) < 2e-3
    assert [token[:2] for token in first["rejected"]][-1] == [len(pair.rejected)] * 2  # the end-of-turn token
    assert "what falls is underlined" in (run / "report.html").read_text()


def test_a_damaged_file_of_token_changes_is_measured_again(whole, copy):
    from redistill.config.parsing import load_recipe
    from redistill.report import pairs_shown, stage_of_tokens
    from redistill.train.token_changes import write_token_changes

    run = copy("corpus", "verify", "select", "train", "evaluate") / "runs" / "mini"
    shutil.copy(whole / "runs/mini/recipe.yaml", run)
    path = run / "train/redi/token_changes.json"
    before = path.read_bytes()
    path.write_bytes(before[: len(before) // 2])
    assert (
        write_token_changes(run, load_recipe(run / "recipe.yaml"), stage_of_tokens(run), pairs_shown(run)) == path
        and path.read_bytes() == before
    )


def test_every_student_carries_a_card_with_its_scores(whole):
    from huggingface_hub import ModelCard

    run = whole / "runs" / "mini"
    for stage in STUDENTS[1:]:
        found = ModelCard((run / f"train/{stage}/model/README.md").read_text())
        score = json.loads((run / f"evaluate/{stage}/dev/scores.json").read_text())["pass_at_1"]["value"]
        assert [r.metric_value for r in found.data.eval_results] == [round(score, 4)]
        assert str(whole) not in found.content


def test_no_held_out_problem_was_trained_on(whole):
    from redistill.io.parquet import read_records

    run = whole / "runs" / "mini" / "select"
    held_out = {p.id for path in run.glob("dev/*.parquet") for p in read_records(path)}
    trained = {r.problem_id for name in ("pairs", "examples") for p in run.glob(f"{name}/*") for r in read_records(p)}
    assert held_out and trained and not held_out & trained


def test_run_again_it_makes_nothing_again(whole, tool):
    run = whole / "runs" / "mini"
    before = made_at(run)
    done = tool(whole, "run", "mini.yaml")
    assert done.returncode == 0 and made_at(run) == before
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["report"]


def test_another_rate_makes_only_that_stage_and_its_scores_again(copy, tool):
    folder = copy("corpus", "verify", "select", "train", "evaluate")
    run = folder / "runs" / "mini"
    before, old = made_at(run), weights(run, "redi")
    assert tool(folder, "run", "mini.yaml", "--set", "train.redi.learning_rate=5e-3").returncode == 0
    found = changed(before, made_at(run))
    assert {"train/redi/model/model.safetensors", "evaluate/redi/dev/scores.json"} <= found
    assert all(name.startswith(("train/redi/", "evaluate/redi/")) for name in found), found
    assert weights(run, "redi") != old


def test_the_number_of_workers_makes_nothing_again(copy, tool):
    folder = copy("corpus", "verify", "select")
    before = made_at(folder / "runs" / "mini")
    assert tool(folder, "run", "mini.yaml", "--set", "verify.workers=2", "--until", "select").returncode == 0
    assert made_at(folder / "runs" / "mini") == before


def test_until_stops_and_from_makes_again_to_the_same_bytes(whole, copy, tool):
    folder = copy("corpus", "verify", "select", "train")
    run = folder / "runs" / "mini"
    before = made_at(run)
    done = tool(folder, "run", "mini.yaml", "--from", "train", "--until", "train")
    assert done.returncode == 0 and "stopped after train" in done.stdout
    found = changed(before, made_at(run))
    assert {f"train/{stage}/model/model.safetensors" for stage in STUDENTS[1:]} <= found
    assert not [name for name in found if name.startswith(("corpus", "verify", "select"))]
    assert not (run / "report.html").exists()
    for stage in STUDENTS[1:]:
        assert weights(run, stage) == weights(whole / "runs" / "mini", stage)


def test_until_select_as_json_is_a_success_without_scores(copy, tool):
    done = tool(copy("corpus", "verify", "select"), "run", "mini.yaml", "--until", "select", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"] == []


def test_a_stage_that_left_the_recipe_leaves_the_scores_readable(copy, tool):
    folder = copy("corpus", "verify", "select", "train", "evaluate")
    text = (folder / "mini.yaml").read_text()
    (folder / "mini.yaml").write_text("\n".join(line for line in text.splitlines() if "control:" not in line))
    done = tool(folder, "run", "mini.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert [s["model"] for s in json.loads(done.stdout)["scores"]] == ["base", "sft", "redi"]
    again = tool(folder, "scores", "runs/mini")
    assert again.returncode == 0 and "control" not in again.stdout
    page = (folder / "runs/mini/report.html").read_text()
    assert "redi" in page and ">control" not in page  # its curves lie in the folder still, and are not this recipe's


def test_a_damaged_shard_is_made_again(copy, whole, tool):
    folder = copy("corpus", "verify", "select")
    path = folder / "runs/mini/verify/groups/part-00001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    assert tool(folder, "run", "mini.yaml", "--until", "select").returncode == 0
    for file in (whole / "runs/mini/select/pairs").iterdir():
        assert (folder / "runs/mini/select/pairs" / file.name).read_bytes() == file.read_bytes()


def test_a_second_process_on_one_folder_is_refused_and_told_by_whom(here, tool):
    stopped = cut_at("redistill.io.stage_folder:StageFolder.finish_shard", "/corpus", signal=signal.SIGSTOP)
    first = tool.start(here, "run", "mini.yaml", "--until", "corpus", cut=stopped)
    wait_until_stopped(first[0])
    second = tool(here, "run", "mini.yaml")
    os.kill(first[0], signal.SIGCONT)
    assert tool.wait(first).returncode == 0
    assert second.returncode == 2
    assert f"is in use by process {first[0]} on " in second.stderr and len(second.stderr.splitlines()) == 1


def wait_until_stopped(pid):
    import time

    for _ in range(600):
        with open(f"/proc/{pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] == "T":
                return
        time.sleep(0.1)
    raise AssertionError("the first run never came to its first shard")


def test_the_verbs_read_what_the_run_left(whole, tool):
    run = "runs/mini"
    scores = json.loads(tool(whole, "scores", run, "--json").stdout)
    assert [s["model"] for s in scores["scores"]] == list(STUDENTS) and len(scores["comparisons"]) == 6
    for file in ("verify/groups/part-00000.parquet", "select/dropped/part-00000.parquet", "corpus/ledger.json"):
        done = tool(whole, "show", f"{run}/{file}")
        assert done.returncode == 0 and done.stdout, done.stderr
    last = json.loads(tool(whole, "show", f"{run}/train/redi/metrics.jsonl", "-1", "--json").stdout)
    assert last["step"] == 4
    page = (whole / run / "report.html").read_bytes()
    assert tool(whole, "report", run).stdout.strip().endswith("report.html")
    assert (whole / run / "report.html").read_bytes() == page


def test_a_closed_pipe_is_no_error(whole):
    command = f"{sys.executable} -m redistill show runs/mini/verify/groups/part-00000.parquet | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=whole, env=environment(), capture_output=True, text=True
    )
    assert done.returncode in (0, -signal.SIGPIPE, 128 + signal.SIGPIPE) and done.stderr == ""
