"""A process reward model in the loop: the mixing by hand on stored rounds, weight 0 is the rule alone bit for bit, and a scorer that
says nothing counts as nobody's word."""

import copy
import json

import pytest
import yaml

from redistill.config.parsing import parse_recipe
from redistill.config.user_plugins import load_code
from redistill.config.yaml_text import SHIPPED
from redistill.errors import OperatorError
from redistill.io.parquet import read_records
from redistill.pipeline.plan import make_plan
from redistill.pipeline.run import run
from tiny_recipe import RECIPE, fresh_fingerprints

pytestmark = pytest.mark.recipes

LUCK = """
from redistill.records import Outcome, Verdict

def even(problem, trace):
    first = next((c for c in trace.completion if c.isdigit()), "1")
    return Verdict(Outcome.incorrect if int(first) % 2 else Outcome.correct)
"""
PROCESS = {"name": "process", "model": "prm", "steps": "semicolon"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    path = tmp_path_factory.mktemp("code") / "luck_in_the_loop.py"
    path.write_text(LUCK)
    even = f"{load_code(path)}:even"
    tree = yaml.safe_load((SHIPPED / "reasonflux-loop.yaml").read_text())
    teacher = {"name": "two-habits", "problems": 40, "step_truth": True}
    tree |= {"student": RECIPE["student"], "corpus": {"sources": [teacher], "dev_fraction": 0.2}}
    tree["evaluate"] = {"max_new_tokens": 6, "n": 1}
    for stage in tree["train"].values():
        stage.pop("guard", None)
        if "rollouts" in stage:
            stage["rollouts"] |= {"problems": 3, "n": 4, "rounds": 2, "max_new_tokens": 8, "verifier": even}
        else:
            stage |= {"steps": 3, "batch_size": 8}
    zero = copy.deepcopy(tree["train"]["mixed"])  # beta 0: the model is asked, and its score counts nothing
    zero["rollouts"]["reward"] = [
        {"name": "accuracy", "weight": 1.0},
        {"name": "score", "by": "process", "weight": 0.0},
    ]
    tree["train"]["zero"] = zero
    return tree


@pytest.fixture(scope="module")
def done(tree, tmp_path_factory):
    return run(parse_recipe(tree, "here"), runs_dir=tmp_path_factory.mktemp("runs"), until="train")


def traces(folder, stage):
    parts = sorted((folder / "train" / stage / "rollouts" / "groups").glob("*.parquet"))
    return [trace for part in parts for group in read_records(part) for trace in group.traces]


def test_a_mixed_reward_is_a_quarter_rule_and_three_quarters_model(done):
    judged = [trace for trace in traces(done, "mixed") if "reward" in trace.scores]
    assert len(judged) > 10
    for trace in judged:
        right = float(trace.verdict.outcome == "correct")
        assert trace.scores["reward"] == pytest.approx(0.25 * right + 0.75 * trace.scores["process"], abs=1e-12)
        assert 0 < trace.scores["process"] < 1 and trace.spans["process"]
    alone = [trace for trace in traces(done, "model-alone") if "reward" in trace.scores]
    assert all(trace.scores["reward"] == trace.scores["process"] for trace in alone)


def test_the_models_share_at_0_is_the_rule_alone_bit_for_bit(done):
    rule, zero = ((done / "train" / stage / "model" / "model.safetensors").read_bytes() for stage in ("rule", "zero"))
    assert rule == zero
    assert rule != (done / "train" / "mixed" / "model" / "model.safetensors").read_bytes()


def test_an_answer_that_the_model_cannot_score_is_nobodys_word_and_is_counted(done):
    empty = [trace for trace in traces(done, "mixed") if not trace.completion]
    assert all("process" not in trace.scores and "reward" not in trace.scores for trace in empty)
    account = json.loads((done / "train" / "mixed" / "ledger.json").read_text())["rows"]
    unknown = [trace for trace in traces(done, "mixed") if "reward" not in trace.scores]
    assert account["dropped"].get("undecided", 0) + account["dropped"].get("no_tokens", 0) == len(unknown)


def test_the_stage_depends_on_the_model_that_scores_it(tree):
    before = fresh_fingerprints(parse_recipe(tree, "a"))
    other = copy.deepcopy(tree)
    other["train"]["prm"]["steps"] = 4
    after = fresh_fingerprints(parse_recipe(other, "b"))
    changed = {name for name in before if before[name] != after[name] and name.startswith("train/")}
    assert changed == {"train/prm", "train/mixed", "train/model-alone", "train/zero"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"score": []}, r"rollouts\.reward: no scorer gives the answers a score 'process'; name one in train\.mixed\.rollouts\.score\."),
        ({"score": [{**PROCESS, "into": "other"}]}, r"no scorer gives the answers a score 'process'.*\(there: other\)"),
        ({"score": [PROCESS, PROCESS]}, r"rollouts\.score: two scorers write the same name"),
        ({"score": ["difficulty"]}, r"rollouts\.score\.0: difficulty scores a corpus, not a round's answers"),
        ({"score": [{"name": "proces", "model": "prm"}]}, r"rollouts\.score\.0: there is no 'proces'"),
    ],
)  # fmt: skip
def test_a_score_that_nobody_gives_is_one_sentence(tree, changes, said):
    other = copy.deepcopy(tree)
    other["train"]["mixed"]["rollouts"] |= changes
    with pytest.raises(OperatorError, match=said):
        make_plan(parse_recipe(other, "here"))
