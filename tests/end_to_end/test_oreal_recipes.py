"""The shipped recipes of OREAL in miniature: from problems to a student and its critic, and what the log and the report say."""

import json

import pytest
import yaml

from redistill.config.parsing import parse_recipe
from redistill.config.user_plugins import load_code
from redistill.config.yaml_text import SHIPPED
from redistill.model.score_heads import load_critic
from redistill.pipeline.run import run
from tiny_recipe import RECIPE

pytestmark = pytest.mark.recipes

FIGURES = {"problems_kept", "weight_right", "weight_wrong", "weighted_right", "weighted_wrong", "critic_loss", "critic_accuracy",
           "reference_kl", "pass_rate"}  # fmt: skip


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


LUCK = """
from redistill.records import Outcome, Verdict

def even(problem, trace):
    first = next((c for c in trace.completion if c.isdigit()), "1")
    return Verdict(Outcome.incorrect if int(first) % 2 else Outcome.correct)
"""


@pytest.fixture(scope="module")
def even(tmp_path_factory):
    """A verifier by which a student that has learned nothing is right by luck: where its answer's first digit is even."""
    path = tmp_path_factory.mktemp("code") / "luck_of_oreal.py"
    path.write_text(LUCK)
    return f"{load_code(path)}:even"


@pytest.fixture(scope="module")
def toy(tmp_path_factory, even):
    """oreal-toy on a tiny student."""
    tree = yaml.safe_load((SHIPPED / "oreal-toy.yaml").read_text())
    tree |= {"student": RECIPE["student"], "corpus": RECIPE["corpus"], "evaluate": {"max_new_tokens": 6, "n": 1}}
    tree["train"]["sft"] |= {"steps": 2, "batch_size": 4}
    for stage in ("oreal", "grpo"):
        tree["train"][stage]["rollouts"] |= {"problems": 4, "n": 8, "rounds": 4, "max_new_tokens": 6, "verifier": even}
    tree["train"]["oreal"]["rollouts"]["critic"]["warm_rounds"] = 1
    return run(parse_recipe(tree, "here"), runs_dir=tmp_path_factory.mktemp("runs"))


def test_the_toy_recipe_trains_student_and_critic_and_logs_what_it_promises(toy):
    rounds = [line for line in lines(toy / "train" / "oreal") if "round" in line]
    assert len(rounds) == 4 and set(rounds[0]) >= {"problems_kept", "pass_rate", "reference_kl"}
    told = [line for line in rounds if line["num_rows"]]
    assert len(told) >= 3 and all(set(line) >= FIGURES for line in told)
    assert load_critic(toy / "train" / "oreal" / "critic" / "model")[0].config.num_labels == 1
    assert (toy / "evaluate" / "oreal" / "dev" / "scores.json").exists()
    page = (toy / "report.html").read_text()
    assert "Token weights of oreal" in page and "problems with a right and a wrong answer" in page
    card = (toy / "train" / "oreal" / "model" / "README.md").read_text()
    assert "trained together with the student (outcome), 1 rounds before its first step" in card
    account = json.loads((toy / "train" / "oreal" / "rollouts" / "ledger.json").read_text())["accounts"]["rows"]
    assert account["in"] == 4 * 4 * 8 == account["kept"] + sum(account["dropped"].values())


def test_the_papers_recipe_asks_harder_problems_more_often(tmp_path, even):
    """oreal.yaml with its own sampling, repetition and schedule, on four problems and a tiny student."""
    tree = yaml.safe_load((SHIPPED / "oreal.yaml").read_text())
    rows = [
        {"question": f"{a}+{a}=", "gold_answer": str(2 * a), "pass_rate": rate}
        for a, rate in ((1, 0.1), (2, 0.3), (3, 0.7), (4, 0.9))
    ]
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tree["student"], tree["prompt"] = RECIPE["student"], {"template": "bare"}
    tree["corpus"] |= {"dev_fraction": 0.0}
    tree["corpus"]["sources"][0]["path"] = str(path)
    stage = tree["train"]["oreal"]
    stage |= {"mixed_precision": "no", "guard": None, "max_tokens": 64}
    stage["rollouts"] |= {"problems": 2, "n": 4, "rounds": 6, "max_new_tokens": 4, "verifier": even}
    stage["rollouts"]["critic"]["warm_rounds"] = 2
    tree["evaluate"] = {"benchmarks": [], "max_new_tokens": 4}
    folder = run(parse_recipe(tree, "here"), runs_dir=tmp_path, until="train")
    from redistill.io.parquet import read_records

    shards = sorted((folder / "train" / "oreal" / "rollouts" / "groups").glob("*.parquet"))
    asked = [[group.problem.statement for group in read_records(shard)] for shard in shards]
    assert all(len(set(round_)) == 2 for round_ in asked)  # never twice in one round
    # a pass asks 1+1 six times, 2+2 four times and 3+3 twice, 4+4 never: six rounds of two
    flat = [statement for round_ in asked for statement in round_]
    assert {statement: flat.count(statement) for statement in set(flat)} == {"1+1=": 6, "2+2=": 4, "3+3=": 2}
    rates = [line["learning_rate"] for line in lines(folder / "train" / "oreal")]
    assert rates[0] == pytest.approx(5e-7) and 1e-7 < rates[-1] < 2e-7
