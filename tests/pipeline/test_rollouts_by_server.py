"""A recipe whose stage samples by a server: from traces to a student, over real HTTP."""

import copy
import json

import pytest

from redistill.config.parsing import parse_recipe
from redistill.io.parquet import read_records
from redistill.model import loading
from redistill.pipeline.run import run
from student_server import student_server
from tiny_recipe import RECIPE


def test_a_recipes_stage_is_answered_by_a_server_that_has_the_weights_of_the_stage_before(tmp_path, tool):
    tree = copy.deepcopy(RECIPE)
    plain = parse_recipe(tree, "here")
    tokenizer = loading.load_tokenizer(plain.student)
    loading.save_model(loading.load_model(plain.student, tokenizer, seed=3), tokenizer, tmp_path / "other", card="")
    with student_server(tool, tmp_path, tmp_path / "other") as server:
        engine = {"name": "openai", "base_url": server.base_url, "refresh": "vllm-reload"}
        rollouts = {"problems": 2, "n": 4, "rounds": 2, "updates": 2, "max_new_tokens": 4, "engine": engine}
        own = {"objective": "grpo", "start": "sft", "learning_rate": 1e-3, "rollouts": rollouts}
        tree["train"] = {"sft": tree["train"]["sft"], "own": own}
        folder = run(parse_recipe(tree, "here"), runs_dir=tmp_path / "runs", until="train")
        paths = [body["path"] for body in server.asked()]
    assert [p for p in paths if "completions" not in p] == ["/collective_rpc", "/reset_prefix_cache"] * 2
    assert paths.count("/v1/completions") == 16
    lines = [json.loads(line) for line in (folder / "train" / "own" / "metrics.jsonl").read_text().splitlines()]
    opened = [line for line in lines if "round" in line]
    assert [line["importance_mean"] for line in opened] == pytest.approx([1.0, 1.0], abs=1e-4)
    groups = read_records(folder / "train" / "own" / "rollouts" / "groups" / "part-00001.parquet")
    facts = [trace.sampling for group in groups for trace in group.traces]
    assert {f["engine"] for f in facts} == {"openai"} and not any(str(tmp_path) in str(f) for f in facts)
