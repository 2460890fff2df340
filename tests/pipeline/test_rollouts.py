"""A stage on its student's own answers, in a run: what is refused, what it asks, what its key sees."""

import copy
import json

import pytest

from redistill.config.parsing import parse_recipe
from redistill.errors import OperatorError
from redistill.io.parquet import read_records
from redistill.io.stage_folder import StageFolder
from redistill.pipeline.plan import make_plan
from redistill.pipeline.run import run
from redistill.select import is_dev
from tiny_recipe import RECIPE, fresh_fingerprints

ROLLOUTS = {"problems": 2, "n": 2, "rounds": 2, "updates": 1, "max_new_tokens": 4}
OWN = {"objective": "grpo", "start": "sft", "learning_rate": 1e-3}


def recipe_of(rollouts=ROLLOUTS, corpus=None, **stage):
    tree = copy.deepcopy(RECIPE)
    tree["train"] = {"sft": tree["train"]["sft"], "own": {**OWN, **stage}}
    if rollouts is not None:
        tree["train"]["own"]["rollouts"] = rollouts
    tree["corpus"] |= corpus or {}
    return parse_recipe(tree, "here")


@pytest.mark.parametrize(
    ("rollouts", "stage", "said"),
    [
        (
            None,
            {},
            "grpo needs advantages, which only a student's own answers have; add a table `rollouts` to the stage",
        ),
        (ROLLOUTS | {"reward": ["accurate"]}, {}, r"rollouts\.reward\.0: there is no 'accurate'.*accuracy"),
        (ROLLOUTS | {"reward": [{"name": "length", "eech": 1}]}, {}, r"rollouts\.reward\.0 \(length\): .*eech"),
        (ROLLOUTS | {"reward": [{"name": "accuracy", "weight": 0}]}, {}, "every reward has weight 0"),
        (ROLLOUTS | {"advantage": "grup"}, {}, "there is no 'grup'.*group"),
        (ROLLOUTS | {"advantage": "teacher"}, {}, "go together; name a teacher"),
        (ROLLOUTS | {"teacher": "sft"}, {}, "go together"),
        (ROLLOUTS | {"teacher": "sfft"}, {}, r"rollouts\.teacher: no earlier stage is called 'sfft'"),
        (ROLLOUTS | {"advantage": "mean"}, {"objective": "sft"}, "does not use advantages"),
        (ROLLOUTS | {"pairing": "certain"}, {}, "grpo does not use pairs"),
        (ROLLOUTS | {"keep": "correct"}, {}, "compares right answers with wrong ones"),
        (ROLLOUTS | {"keep": "correct"}, {"objective": "redi"}, "with pairs, the pairing decides"),
        (ROLLOUTS, {"epochs": 2}, "leave out train.own.steps and epochs"),
        (ROLLOUTS, {"objective": "kto"}, "kto compares rows across a whole data set"),
        (ROLLOUTS | {"problems": 0}, {}, "problems"),
        (ROLLOUTS, {"objective": "redi", "modifiers": ["kl"]}, "kl works on examples"),
    ],
)
def test_what_does_not_fit_together_is_one_sentence_before_any_work(rollouts, stage, said):
    with pytest.raises(OperatorError, match=said) as refused:
        make_plan(recipe_of(rollouts, **stage))
    assert len(str(refused.value).splitlines()) == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run(recipe_of(), runs_dir=tmp_path_factory.mktemp("runs"))


def test_a_run_trains_on_answers_to_problems_that_are_not_held_out(folder):
    ledger = json.loads((folder / "train" / "own" / "ledger.json").read_text())
    assert ledger["steps"] == 2 and ledger["rows"]["in"] == 8
    rounds = folder / "train" / "own" / "rollouts"
    asked = {g.problem.id for p in sorted((rounds / "groups").iterdir()) for g in read_records(p)}
    dev = {problem.id for problem in StageFolder(folder / "select", "").read("dev")}
    assert len(asked) == 4 and not asked & dev and not any(is_dev(id, seed=0, dev_fraction=0.2) for id in asked)
    assert (folder / "report.html").exists()
    scores = json.loads((folder / "evaluate" / "own" / "dev" / "scores.json").read_text())
    assert len(scores["per_problem"]) == len(dev)


def test_a_finished_run_is_not_trained_again(folder):
    before = (folder / "train" / "own" / "ledger.json").stat().st_mtime_ns
    run(recipe_of(), runs_dir=folder.parent)
    assert (folder / "train" / "own" / "ledger.json").stat().st_mtime_ns == before


def test_the_key_sees_what_decides_the_answers_and_no_more():
    base = fresh_fingerprints(recipe_of())
    for changed in (ROLLOUTS | {"n": 3}, ROLLOUTS | {"reward": [{"name": "accuracy", "unanswered": "undecided"}]}):
        other = fresh_fingerprints(recipe_of(changed))
        assert other["train/own"] != base["train/own"] and other["train/sft"] == base["train/sft"]
        assert other["select"] == base["select"]
    corpus = fresh_fingerprints(recipe_of(corpus={"dev_fraction": 0.3}))
    assert corpus["train/own"] != base["train/own"]


def test_a_teacher_may_be_an_earlier_stage_and_then_its_key_counts():
    stage = {"objective": "reinforce"}
    taught = ROLLOUTS | {"advantage": "teacher", "teacher": "base"}
    base, sft = (fresh_fingerprints(recipe_of(taught | {"teacher": t}, **stage)) for t in ("base", "sft"))
    assert base["train/own"] != sft["train/own"]


def test_problems_without_gold_are_not_asked_and_a_corpus_of_them_is_one_sentence(tmp_path):
    path = tmp_path / "problems.jsonl"
    rows = [{"problem": f"{n}+{n}=", "answer": str(2 * n) if n % 2 else None} for n in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources = [{"name": "two-habits", "problems": 20}, {"name": "problems", "path": str(path)}]
    found = run(recipe_of(corpus={"sources": sources}), runs_dir=tmp_path, until="train")
    groups = [g for p in (found / "train" / "own" / "rollouts" / "groups").iterdir() for g in read_records(p)]
    assert all(g.problem.answer is not None for g in groups)
