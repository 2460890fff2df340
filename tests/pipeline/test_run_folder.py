"""A run's folder: nothing of a user's is removed unasked, what is replaced waits, what fits is taken."""

import copy as copying
import json
import shutil

import pytest

from redistill.config.parsing import parse_recipe
from redistill.errors import OperatorError
from redistill.io.parquet import read_records
from redistill.pipeline.run import run
from tiny_recipe import RECIPE

TREE = copying.deepcopy(RECIPE)
TREE["evaluate"] = {"max_new_tokens": 2, "n": 1, "models": ["redi"]}
TREE["corpus"]["sources"][0]["problems"] = 40


def recipe(**changes):
    tree = copying.deepcopy(TREE)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = tree
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = value
    return parse_recipe(tree, "here")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run(recipe(), runs_dir=folder, recipe_file="tiny.yaml")
    return folder / "tiny"


@pytest.fixture
def runs(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "tiny")
    return tmp_path


def files(folder):
    return {
        str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.name != ".lock"
    }


def code_changed(folder, *stages):
    for name in stages:
        path = folder / name / "key.json"
        keys = json.loads(path.read_text())["keys"]
        for key in keys.values():
            key["code"]["redistill.train.step"] = "another"
        path.write_text(json.dumps({"keys": keys}))


def test_another_recipes_finished_run_of_that_name_is_refused_with_what_differs_and_left_alone(runs):
    before = files(runs / "tiny")
    with pytest.raises(OperatorError, match=r"finished run of tiny\.yaml.*seed: 0, now 1.*--name NAME.*--overwrite"):
        run(recipe(seed=1), runs_dir=runs, recipe_file="tiny.yaml")
    with pytest.raises(
        OperatorError, match=r"learning_rate: 0\.001, now 0\.01"
    ):  # all but a rate is the same, from another file
        run(recipe(train__redi__learning_rate=1e-2), runs_dir=runs, recipe_file=__file__)
    assert files(runs / "tiny") == before


def test_an_edited_recipe_replaces_what_depends_on_it_and_the_old_waits_until_the_new_is_whole(runs, monkeypatch):
    def dies(*arguments, **named):
        raise RuntimeError("killed")

    edited = recipe(train__redi__learning_rate=1e-2)
    old = (runs / "tiny/train/redi/model/model.safetensors").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("redistill.pipeline.stages.train_stage", dies)
        with pytest.raises(RuntimeError, match="killed"):
            run(edited, runs_dir=runs, recipe_file="tiny.yaml")
    kept = list((runs / "tiny/trash").glob("*/train/redi/model/model.safetensors"))
    assert [path.read_bytes() for path in kept] == [old]
    run(edited, runs_dir=runs, recipe_file="tiny.yaml")
    assert not (runs / "tiny/trash").exists()
    assert (runs / "tiny/train/redi/model/model.safetensors").read_bytes() != old


def test_what_waits_in_the_trash_comes_back_when_it_is_asked_for_again(runs):
    before = files(runs / "tiny/train/redi")
    run(recipe(train__redi__learning_rate=1e-2), runs_dir=runs, recipe_file="tiny.yaml", until="select")
    assert not (runs / "tiny/train/redi").exists()
    run(recipe(), runs_dir=runs, recipe_file="tiny.yaml")
    assert files(runs / "tiny/train/redi").items() >= {k: v for k, v in before.items() if k != "key.json"}.items()
    assert not (runs / "tiny/trash").exists()


def test_where_only_code_changed_the_user_decides(runs):
    code_changed(runs / "tiny", "train/redi")
    before = files(runs / "tiny")
    with pytest.raises(OperatorError, match=r"train/redi.*only the code has changed since \(redistill\.train\.step\)"):
        run(recipe(), runs_dir=runs, recipe_file="tiny.yaml")
    assert files(runs / "tiny") == before
    run(recipe(), runs_dir=runs, recipe_file="tiny.yaml", on_code_change="keep")
    student = "train/redi/model/model.safetensors"
    assert files(runs / "tiny")[student] == before[student]
    run(recipe(), runs_dir=runs, recipe_file="tiny.yaml")  # it is on record, and not asked again
    code_changed(runs / "tiny", "train/redi")
    weights = (runs / "tiny" / student).read_bytes()
    run(recipe(), runs_dir=runs, recipe_file="tiny.yaml", on_code_change="remake")
    assert files(runs / "tiny")[student] != before[student] and (runs / "tiny" / student).read_bytes() == weights


def test_changed_code_of_a_later_stage_does_not_hold_up_a_run_that_ends_before_it(runs):
    code_changed(runs / "tiny", "train/redi")
    run(recipe(), runs_dir=runs, recipe_file="tiny.yaml", until="select")


def test_a_run_starts_from_anothers_finished_stages(runs, capsys):
    other = recipe(name="other", train__redi__learning_rate=1e-2)
    run(other, runs_dir=runs, from_run=runs / "tiny")
    said = capsys.readouterr().err
    for name in ("corpus", "verify", "select", "train/sft"):
        assert f"taken    {name} from" in said
    assert "train    redi: 4 steps" in said and "train    sft" not in said
    one, two = ((runs / name / "train/sft/model/model.safetensors") for name in ("tiny", "other"))
    assert one.read_bytes() == two.read_bytes() and (runs / "tiny/report.html").exists()
    with pytest.raises(
        OperatorError, match=r"no stage of it matches this recipe; for corpus, the settings or the code differ"
    ):
        run(recipe(name="third", corpus__near_duplicates="merge"), runs_dir=runs, from_run=runs / "tiny")


def test_a_run_of_an_older_layout_is_refused(runs):
    (runs / "tiny/layout.json").unlink()
    with pytest.raises(OperatorError, match="made by an older version of redistill"):
        run(recipe(), runs_dir=runs)


def test_a_run_and_an_evaluation_never_share_a_folder(runs):
    from redistill.tools.evaluate import evaluate_model

    student, before = str(runs / "tiny/train/sft/model"), files(runs / "tiny")
    asked = {
        name: None for name in ("n", "temperature", "max_new_tokens", "max_problems", "template", "prefill", "chat")
    }
    asked |= {"engine": None, "base_url": None, "seed": 0, "student_name": "sft", "runs_dir": runs, "overrides": []}
    (runs / "sums.jsonl").write_text('{"problem": "1+1=", "answer": "2"}\n')
    with pytest.raises(OperatorError, match="is the run of a recipe; choose another --name"):
        evaluate_model(student, [f"file:{runs / 'sums.jsonl'}"], name="tiny", **asked)
    assert files(runs / "tiny") == before
    evaluate_model(student, [f"file:{runs / 'sums.jsonl'}"], name="scored", **{**asked, "n": 1, "max_new_tokens": 2})
    with pytest.raises(OperatorError, match="is an evaluation of `redistill evaluate`; write --name NAME"):
        run(recipe(name="scored"), runs_dir=runs)


def test_a_stage_between_two_feeds_the_next_and_a_stage_after_reads_the_run(tmp_path):
    stages = [{"name": "limit-traces", "after": "corpus", "per_problem": 2}, {"name": "score-csv", "after": "evaluate"}]
    folder = run(recipe(stages=stages), runs_dir=tmp_path)
    groups = [group for path in sorted((folder / "verify/groups").iterdir()) for group in read_records(path)]
    assert max(len(group.traces) for group in groups) == 2
    account = json.loads((folder / "limit-traces/ledger.json").read_text())["accounts"]["traces"]
    assert (
        account["in"] == account["kept"] + sum(account["dropped"].values()) and account["dropped"]["limit-traces"] > 0
    )
    header, row = (folder / "score-csv/scores.csv").read_text().splitlines()
    assert header.startswith("student,benchmark,pass_at_1") and row.startswith("redi,dev,")


def test_a_stage_that_cannot_stand_there_is_a_sentence():
    from redistill.pipeline.plan import make_plan

    for stage, said in (
        (
            {"name": "score-csv", "after": "verify"},
            "score-csv comes after select, train, evaluate or report, not after verify",
        ),
        ({"name": "limit-traces", "after": "verify"}, "per_problem"),
        ({"name": "limit-trace", "after": "verify", "per_problem": 1}, "did you mean 'limit-traces'"),
    ):
        with pytest.raises(OperatorError, match=said):
            make_plan(recipe(stages=[stage]))
    with pytest.raises(OperatorError, match="two stages are called 'limit-traces'"):
        recipe(stages=[{"name": "limit-traces", "after": "corpus", "per_problem": n} for n in (1, 2)])


def test_a_stage_whose_key_is_damaged_is_made_again_and_said(runs, capsys):
    path = runs / "tiny/train/redi/key.json"
    path.write_bytes(path.read_bytes()[:-40])
    weights = (runs / "tiny/train/redi/model/model.safetensors").read_bytes()
    run(recipe(), runs_dir=runs, recipe_file="tiny.yaml")
    assert "replaced train/redi: its key.json is missing or corrupt" in capsys.readouterr().err
    assert (runs / "tiny/train/redi/model/model.safetensors").read_bytes() == weights
