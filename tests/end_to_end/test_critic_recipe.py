"""R-PRM in miniature: labelled steps and judgements in, a critic out, scored on held-out steps and on a benchmark file."""

import json

import pytest
import yaml

from redistill.config.parsing import parse_evaluation, parse_recipe
from redistill.config.yaml_text import SHIPPED
from redistill.pipeline.run import run
from redistill.tools.evaluate import evaluate

pytestmark = pytest.mark.recipes

PROCESSBENCH = [
    {"id": "toy-0", "problem": "1+1+1=", "steps": ["1+1=2;", "2+1=3;"], "final_answer_correct": True, "label": -1},
    {"id": "toy-1", "problem": "1+1+2=", "steps": ["1+1=3;", "3+2=5;"], "final_answer_correct": False, "label": 0},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("critic")
    path = root / "processbench.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PROCESSBENCH))
    tree = yaml.safe_load((SHIPPED / "r-prm-toy.yaml").read_text())
    small = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    tree["student"]["from_config"] |= small
    tree["corpus"]["sources"][0] |= {"problems": 120, "agreeable": 0.5}
    tree["train"]["sft"] |= {"steps": 20, "batch_size": 16, "learning_rate": 1.0e-2}
    tree["train"]["dpo"] |= {"epochs": 8, "batch_size": 8, "learning_rate": 3.0e-3, "warmup": 0.0, "decay": "constant"}
    tree["evaluate"] |= {"models": ["sft", "dpo"], "max_new_tokens": 12}
    tree["evaluate"]["critic"] |= {"analyses": 2, "no_marker": "append"}
    tree["evaluate"]["benchmarks"].append({"name": "processbench", "file": str(path)})
    return run(parse_recipe(tree, "here"), runs_dir=root)


def test_dpo_tells_right_judgements_from_wrong_ones_better_than_sft_did(folder):
    lines = [json.loads(line) for line in (folder / "train" / "dpo" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["loss"] == pytest.approx(0.6931, abs=1e-3)  # the policy is its reference: log 2
    assert sum(line["loss"] for line in lines[-4:]) / 4 < 0.6


@pytest.mark.parametrize("student", ["sft", "dpo"])
def test_a_critic_is_scored_on_held_out_solutions_and_on_a_file(folder, student):
    dev = json.loads((folder / "evaluate" / student / "dev" / "scores.json").read_text())
    assert dev["num_samples"] == 2 and dev["steps"]["num_traces"] >= 3 and dev["steps"]["unjudged"] == 0
    assert 0 <= dev["steps"]["correct_accuracy"]["value"] <= 1 and set(dev["steps"]["by_analyses"]) == {"1", "2"}
    file = json.loads((folder / "evaluate" / student / "processbench" / "scores.json").read_text())
    assert [row[:3] for row in file["steps"]["per_solution"]] == [["toy-0", "toy", -1], ["toy-1", "toy", 0]]
    probabilities = json.loads((folder / "evaluate" / student / "processbench" / "p_yes.json").read_text())["p_yes"]
    assert len(probabilities) == 3 * 2 and all(0 < p < 1 for p in probabilities.values())  # three labelled steps


def test_no_question_has_steps_on_both_sides(folder):
    from redistill.io.stage_folder import StageFolder

    held = {p.metadata["question_id"] for p in StageFolder(folder / "select", "").read("dev")}
    dev_ids = {p.id for p in StageFolder(folder / "select", "").read("dev")}
    of = {g.problem.id: g.problem.metadata["question_id"] for g in StageFolder(folder / "select", "").read("groups")}
    assert held and not held & {question for id, question in of.items() if id not in dev_ids}


def test_the_page_has_a_section_on_labelled_steps(folder):
    assert "Labelled steps" in (folder / "report.html").read_text()


def test_the_written_critic_guides_a_search(folder, tmp_path):
    """A student that says anything, and the critic that the run left: each candidate gets two analyses, and the answers are kept."""
    problems = tmp_path / "sums.jsonl"
    problems.write_text("".join(json.dumps({"problem": f"{i}+1=", "answer": str(i + 1)}) + "\n" for i in range(4)))
    critic = {"name": "critic", "model": str(folder / "train/dpo/model"), "analyses": 2, "template": "bare", "join": "none", "line": "? ",
              "first_piece": True, "no_marker": "append", "max_new_tokens": 12, "steps": "line"}  # fmt: skip
    engine = {"name": "guided", "critic": critic, "candidates": 3, "steps": 2, "step_end": "\n", "max_step_tokens": 8}
    settings = {
        "name": "searched", "student": {"model": str(folder / "train/sft/model")}, "prompt": {"template": "bare"},
        "evaluate": {"n": 2, "temperature": 1.0, "max_new_tokens": 16, "engine": engine,
                     "benchmarks": [{"name": "sums", "file": str(problems)}]},
    }  # fmt: skip
    found = evaluate(parse_evaluation(settings, "here"), runs_dir=tmp_path, student_name="sft")
    cost = json.loads((found / "evaluate/sft/sums/ledger.json").read_text())["tallies"]["cost"]
    assert 8 < cost["critic_calls"] <= 8 * 2 * 3 and cost["critic_calls"] * 2 <= cost["critic_tokens"]
    assert cost["critic_tokens"] <= cost["critic_calls"] * 2 * 12 and "unguided_steps" not in cost
