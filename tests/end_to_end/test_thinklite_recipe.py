"""The two recipes of ThinkLite-VL's toy, a hundredth of their size: a student, and a search, a selection and GRPO that start from it."""

import json
from pathlib import Path

import pytest
import yaml

from redistill.config.parsing import parse_recipe
from redistill.config.yaml_text import SHIPPED
from redistill.io.parquet import read_records
from redistill.pipeline.run import run
from tiny_recipe import RECIPE

pytestmark = pytest.mark.recipes


def tree_of(name, problems):
    tree = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())
    for source in tree["corpus"]["sources"]:
        source["problems"] = problems
    return tree


def problems_in(folder, stream):
    found = [record for path in (folder / stream).glob("*.parquet") for record in read_records(path)]
    return {getattr(record, "problem", record).id: record for record in found}


def test_the_toy_goes_from_a_student_over_a_search_to_a_student_of_the_hard_problems(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree = tree_of("thinklite-student", 12)
    tree["student"] = {
        **RECIPE["student"],
        "from_config": {**RECIPE["student"]["from_config"], "max_position_embeddings": 256},
    }
    tree["train"]["sft"] |= {"steps": 2, "batch_size": 4}
    run(parse_recipe(tree, "here"), runs_dir=Path("runs"), until="train")  # into ./runs, where the other recipe looks

    tree = tree_of("thinklite-difficulty", 6)
    tree["score"][0] |= {"budget": 3, "max_steps": 2, "max_new_tokens": 6}
    tree["train"]["grpo"]["rollouts"] |= {"problems": 3, "n": 2, "rounds": 2, "max_new_tokens": 6}
    tree["select"]["sample"]["least"] = 2
    folder = run(parse_recipe(tree, "here"), runs_dir=Path("runs"), until="train")

    searched = {
        id: g for id, g in problems_in(folder, "score/groups").items() if "difficulty_tries" in g.problem.metadata
    }
    assert len(searched) > 12
    late = {id for id, g in searched.items() if g.problem.metadata["difficulty_tries"]["solved_at"] != 1}
    assert set(problems_in(folder, "select/problems")) == late
    assert set(problems_in(folder, "train/grpo/rollouts/groups")) <= late
    assert json.loads((folder / "train/grpo/ledger.json").read_text())["steps"] >= 1
    assert (folder / "train/grpo/model/model.safetensors").exists()
