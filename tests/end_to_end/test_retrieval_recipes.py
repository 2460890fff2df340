"""The shipped search recipes, each as it is but a hundredth of its size, and a run that searches an index of its own."""

import json

import pytest
import yaml

from redistill.config.parsing import parse_recipe
from redistill.config.yaml_text import SHIPPED
from redistill.errors import OperatorError
from redistill.pipeline.plan import make_plan
from redistill.pipeline.run import run
from tiny_recipe import RECIPE

pytestmark = pytest.mark.recipes


def miniature(folder="made:catalogue"):
    tree = yaml.safe_load((SHIPPED / "rec-r1-catalogue.yaml").read_text())
    tree["student"]["from_config"] = RECIPE["student"]["from_config"]
    tree["corpus"]["sources"][0] |= {"folder": folder, "problems": 40, "traces": 1}
    tree["corpus"]["dev_fraction"] = 0.2
    tree["verify"]["workers"] = 1
    tree["train"]["sft"] |= {"steps": 2, "batch_size": 4}
    tree["train"]["grpo"]["rollouts"] |= {"problems": 3, "n": 2, "rounds": 2, "max_new_tokens": 6}
    tree["evaluate"] |= {"max_new_tokens": 6, "models": ["grpo"]}
    tree["evaluate"]["verifier"] |= {"index": folder}
    return tree


@pytest.mark.parametrize("folder", ["made:catalogue", "made:shop"])
def test_the_catalogue_recipe_runs_from_queries_to_the_report(tmp_path, folder):
    out = run(parse_recipe(miniature(folder), "here"), runs_dir=tmp_path)
    ledger = json.loads((out / "retrieval/ledger.json").read_text())
    assert ledger["indexes"][0]["index"] == folder and all(facts["sha256"] for facts in ledger["files"].values())
    scores = json.loads((out / "evaluate/grpo/dev/scores.json").read_text())
    assert scores["mean_score"]["value"] == 0.0 and scores["rates"]["truncated"] + scores["rates"]["no_answer"] == 1.0
    baselines = json.loads((out / "retrieval/baselines.json").read_text())["dev"]
    assert baselines["measure"] == "ndcg@100" and baselines["problems"].keys() == scores["per_problem_scores"].keys()
    assert {found["raw"] for found in baselines["problems"].values()} == {0.0}  # customers' words are in no document
    facts = json.loads((out / "train/grpo/rollouts/round-00000.json").read_text())
    assert facts["figures"]["reward"] == -2.0  # six characters are not an answer
    gains = json.loads((out / "retrieval/gains.json").read_text())["dev"]
    assert [row["query_by"] for row in gains] == ["raw", "feedback", "grpo"] and gains[2]["gain"] == 0.0
    page = (out / "report.html").read_text()
    assert "Retrieval" in page and "pseudo-feedback" in page
    before = (out / "evaluate/grpo/dev/scores.json").stat().st_mtime_ns
    run(parse_recipe(miniature(folder), "here"), runs_dir=tmp_path)
    assert (out / "evaluate/grpo/dev/scores.json").stat().st_mtime_ns == before  # nothing is made twice


def test_the_cranfield_recipe_runs_on_a_collection_in_its_layout(tmp_path):
    """Queries alone, no SFT: what is missed is said, and half of the queries are scored beside the raw ones."""
    words = ["wing", "heat", "flow", "plate", "shock", "drag"]
    texts = "".join(f".I {n}\n.T\n{word} study .\n.W\n{word} study . on {word}\n" for n, word in enumerate(words, 1))
    (tmp_path / "cran.all.1400").write_text(texts)
    (tmp_path / "cran.qry").write_text("".join(f".I {2 * n}\n.W\nwhat of {word}s\n" for n, word in enumerate(words, 1)))
    (tmp_path / "cranqrel").write_text("".join(f"{n} {n} 1\n" for n in range(1, 7)))
    tree = yaml.safe_load((SHIPPED / "rec-r1-cranfield.yaml").read_text())
    tree["student"] = {**RECIPE["student"], "alphabet": "abcdefghijklmnopqrstuvwxyz "}
    tree["student"]["from_config"] = {**RECIPE["student"]["from_config"], "max_position_embeddings": 1024}
    tree["prompt"] = {"template": "bare"}
    tree["corpus"]["sources"][0]["folder"] = tree["evaluate"]["verifier"]["index"] = str(tmp_path)
    tree["verify"] = {"verifiers": [{**tree["verify"]["verifiers"][0], "index": str(tmp_path)}], "workers": 1}
    tree["train"]["grpo"]["rollouts"] |= {"problems": 2, "n": 2, "rounds": 1, "max_new_tokens": 4}
    tree["evaluate"] |= {"n": 1, "max_new_tokens": 4, "models": ["base", "grpo"]}
    out = run(parse_recipe(tree, "here"), runs_dir=tmp_path / "runs")
    held_out = json.loads((out / "retrieval/baselines.json").read_text())["dev"]["problems"]
    assert held_out and {found["raw"] for found in held_out.values()} == {1.0}  # wings has the stem of wing
    gains = json.loads((out / "retrieval/gains.json").read_text())["dev"]
    assert [row["query_by"] for row in gains] == ["raw", "feedback", "base", "grpo"] and gains[2]["gain"] == -1.0


def test_an_index_that_is_not_there_is_said_before_anything_is_trained(tmp_path):
    tree = miniature()
    tree["evaluate"]["verifier"]["index"] = str(tmp_path / "nowhere")
    with pytest.raises(OperatorError, match=r"evaluate\.verifier: index: there are no documents at"):
        make_plan(parse_recipe(tree, "here"))


def test_a_corpus_of_queries_alone_does_where_every_stage_draws_its_own_rows(tmp_path):
    rows = {"d1": "soap", "d2": "towel"}
    (tmp_path / "corpus.jsonl").write_text("\n".join(json.dumps({"_id": i, "text": t}) for i, t in rows.items()))
    asked = [{"_id": f"q{n}", "text": "abc"[: n % 3 + 1] * (n // 3 + 1)} for n in range(12)]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels/train.tsv").write_text("".join(f"q{n}\td{1 + n % 2}\t1\n" for n in range(12)))
    tree = miniature()
    tree["corpus"] = {"sources": [{"name": "queries", "folder": str(tmp_path)}], "dev_fraction": 0.2}
    tree["verify"] = {"verifiers": [{"name": "retrieval", "index": str(tmp_path)}], "workers": 1}
    tree["evaluate"]["verifier"]["index"] = str(tmp_path)
    grpo = tree["train"]["grpo"] | {"start": "base"}
    out = run(parse_recipe({**tree, "train": {"grpo": grpo}}, "here"), runs_dir=tmp_path / "runs", until="train")
    assert (out / "train/grpo/model/model.safetensors").exists()
    with pytest.raises(OperatorError, match="no trace, which verify, select and train need"):
        run(parse_recipe(tree | {"name": "other"}, "here"), runs_dir=tmp_path / "runs", until="train")
