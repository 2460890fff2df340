"""A recipe with a critic: it reads right and wrong traces, is never asked to answer, and cannot stand in a student's place."""

import json
import shutil

import pytest

from redistill.config.parsing import parse_recipe
from redistill.errors import OperatorError
from redistill.io.parquet import read_records
from redistill.model.score_heads import load_critic, objective_of
from redistill.pipeline.plan import make_plan, stage_stream
from redistill.pipeline.run import run
from redistill.score.outcome import outcome
from redistill.tools.estimate.estimate import forecast
from tiny_recipe import RECIPE, fresh_fingerprints

ORM = {"objective": "outcome", "start": "sft", "learning_rate": 1e-2, "steps": 3, "batch_size": 4}
GUARD = {"every": 2, "held_out_pairs": 8}


def recipe(train=None, **more):
    train = {"sft": RECIPE["train"]["sft"], "orm": ORM, "redi": RECIPE["train"]["redi"]} if train is None else train
    return {**RECIPE, "train": train, **more}


def refused(tree):
    with pytest.raises(OperatorError) as caught:
        make_plan(parse_recipe(tree, "here"))
    return str(caught.value)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run: SFT, a guarded critic on its body, another that goes on from it, REDI; the students are scored."""
    train = {
        "sft": RECIPE["train"]["sft"],
        "orm": {**ORM, "guard": GUARD},
        "more": {**ORM, "start": "orm", "steps": 1},
        "redi": RECIPE["train"]["redi"],
    }
    runs = tmp_path_factory.mktemp("runs")
    few = {"max_new_tokens": 4, "n": 1}
    return run(parse_recipe(recipe(train, diagnosis="two-habits", evaluate=few), "here"), runs_dir=runs)


def test_a_critic_is_trained_from_a_students_body_on_labelled_traces_and_is_not_scored(done):
    plan = make_plan(parse_recipe(recipe(), "here"))
    assert (plan.critics, plan.scored, stage_stream(plan, "orm")) == (["orm"], ["base", "sft", "redi"], "labelled")
    lines = [json.loads(line) for line in (done / "train" / "orm" / "metrics.jsonl").read_text().splitlines()]
    assert lines[1]["loss"] == pytest.approx(0.693147, abs=1e-6) and "held_out_accuracy" in lines[0]
    assert load_critic(done / "train" / "orm" / "model")[0].config.num_labels == 1
    assert not (done / "evaluate" / "orm").exists() and (done / "evaluate" / "redi").exists()
    accounts = json.loads((done / "select" / "ledger.json").read_text())["accounts"]
    assert accounts["labelled"]["kept"] > accounts["examples"]["kept"] > 0


def test_a_critic_may_go_on_from_a_critic(done):
    first = json.loads((done / "train" / "more" / "metrics.jsonl").read_text().splitlines()[0])
    assert first["right_score"] != 0.0  # its head is not new


def test_the_card_and_the_report_say_what_a_critic_is(done):
    card = (done / "train" / "orm" / "model" / "README.md").read_text()
    assert "pipeline_tag: token-classification" in card and "as a critic, on right and wrong traces" in card
    assert "critic: accuracy on completions" in (done / "report.html").read_text()


def test_the_plan_counts_a_critics_rows_before_and_after_they_are_made(done, tmp_path):
    plan = parse_recipe(recipe(), "here")
    sampled = forecast(plan, runs_dir=tmp_path)["stages"]["orm"]
    counted = json.loads((done / "select" / "ledger.json").read_text())["accounts"]["labelled"]["kept"]
    assert sampled["stream"] == "labelled" and sampled["rows"]["value"] == counted


def test_adding_a_critic_leaves_the_other_stages_as_they_are():
    before, after = fresh_fingerprints(parse_recipe(RECIPE, "a")), fresh_fingerprints(parse_recipe(recipe(), "b"))
    same = ("select:examples", "select:pairs", "train/sft", "train/redi", "verify")
    assert [before[name] for name in same] == [after[name] for name in same]
    assert before["select"] != after["select"]


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"orm": {**ORM, "start": "base"}, "redi": {**RECIPE["train"]["redi"], "start": "orm"}},
         "train.redi.start: orm is a critic, which gives scores and no text; name a student."),
        ({"orm": {**ORM, "start": "base"}, "dpo": {**RECIPE["train"]["redi"], "objective": "dpo", "start": "base", "reference": "orm"}},
         "train.dpo.reference: orm is a critic"),
        ({"orm": {**ORM, "start": "base", "rollouts": {"problems": 2, "n": 2, "rounds": 1}}},
         "train.orm.rollouts: a critic gives scores and samples no answers"),
        ({"orm": {**ORM, "start": "base", "modifiers": ["span-weights"]}},
         "train.orm.modifiers: span-weights works on log-probs, and outcome is of scores; leave it out."),
    ],
)  # fmt: skip
def test_a_critic_in_a_students_place_is_one_sentence(train, said):
    assert said in refused(recipe(train))


def test_a_critic_is_no_student_to_be_scored():
    said = refused(recipe(evaluate={"models": ["orm"], "max_new_tokens": 4}))
    assert said == (
        "evaluate.models: orm is a critic, which does not answer problems; leave it out, or use only benchmark files of labelled steps."
    )


CREDIT = {**RECIPE["train"]["redi"], "start": "base", "critic": "orm", "modifiers": ["token-credit"]}


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"orm": {**ORM, "start": "base"}, "redi": {**CREDIT, "modifiers": []}},
         "train.redi.critic: its scores are not used; add token-credit to the stage's modifiers."),
        ({"redi": {key: value for key, value in CREDIT.items() if key != "critic"}},
         "train.redi.modifiers: token-credit weights tokens by a critic's scores; set train"),
        ({"sft": RECIPE["train"]["sft"], "redi": {**CREDIT, "critic": "sft"}},
         "train.redi.critic: sft is a student, not a critic; name a stage with the objective outcome."),
        ({"prm": {**ORM, "start": "base", "objective": "process"}, "redi": {**CREDIT, "critic": "prm"}},
         "train.redi.critic: prm scores the ends of steps, not every token"),
        ({"redi": {**CREDIT, "critic": "no/such/folder"}}, "train.redi.critic: no/such/folder holds no critic"),
        ({"redi": {**CREDIT, "critic": "omr"}}, "train.redi.critic: no earlier stage is called 'omr'"),
        ({"orm": {**ORM, "start": "base"}, "own": {**CREDIT, "rollouts": {"problems": 2, "n": 2, "rounds": 1}}},
         "train.own.critic: it scores rows of the corpus, but this stage samples its own; leave it out, and name a "
         "critic that learns from them as rollouts.critic."),
    ],
)  # fmt: skip
def test_a_critic_that_cannot_give_token_credit_is_one_sentence(train, said):
    assert said in refused(recipe(train))


def test_a_critic_of_another_run_gives_credit_and_one_with_other_tokens_is_refused(done, tmp_path):
    folder = str(done / "train" / "orm" / "model")
    plan = make_plan(parse_recipe(recipe({"redi": {**CREDIT, "critic": folder}}), "here"))
    assert plan.scored == ["base", "redi"]
    other = {**RECIPE["student"], "alphabet": "#;=*-+9876543210"}
    said = refused(recipe({"redi": {**CREDIT, "critic": folder}}, student=other))
    assert "has another tokenizer than the student, so its scores belong to other tokens" in said


def test_a_critic_of_step_ends_gives_no_credit_wherever_it_comes_from(done, tmp_path):
    """Its folder says what it was trained with; one that does not say, of before or of another tool, is taken at its word."""
    folder = tmp_path / "prm"
    shutil.copytree(done / "train" / "orm" / "model", folder)
    assert objective_of(folder) == "outcome" and objective_of(done / "train" / "sft" / "model") is None
    config = json.loads((folder / "config.json").read_text())

    def of(objective):
        said = (
            {**config, "critic_objective": objective}
            if objective
            else {k: v for k, v in config.items() if k != "critic_objective"}
        )
        (folder / "config.json").write_text(json.dumps(said))
        return recipe({"redi": {**CREDIT, "critic": str(folder)}})

    (folder / "checksums.json").unlink()
    said = refused(of("process"))
    assert (
        "train.redi.critic" in said
        and "scores the ends of steps, not every token; name a critic of the objective outcome" in said
    )
    with pytest.raises(OperatorError, match=r"score \(orm\): model: .* scores the ends of steps, not every token"):
        outcome([], model=str(folder), _into="orm", _prompt=None, _held={})
    for objective in ("outcome", None):
        assert make_plan(parse_recipe(of(objective), "here"))


def test_the_teachers_step_truth_teaches_a_process_critic_where_a_line_slips(tmp_path):
    """The last step's line: both the completion's label and the steps' targets have been looked at."""
    teacher = {"name": "two-habits", "problems": 40, "step_truth": True, "slip_step": 0.2}
    tree = recipe(
        {"prm": {**ORM, "start": "base", "objective": {"name": "process", "loss": "mse"}}},
        corpus={"sources": [teacher], "dev_fraction": 0},
        select={"labelled": {"spans": "truth"}},
        evaluate={"benchmarks": []},
    )
    folder = run(parse_recipe(tree, "here"), runs_dir=tmp_path)
    first = json.loads((folder / "train" / "prm" / "metrics.jsonl").read_text().splitlines()[0])
    # all scores 0, so every target of 0 or 1 is 1/2 away: 1/4 over the steps, and 1/4 for the end of the turn
    assert first["loss"] == pytest.approx(0.5) and 0 < first["step_accuracy"] < 1
    corpus, select = (
        json.loads((folder / name / "ledger.json").read_text())["accounts"] for name in ("corpus", "select")
    )
    assert select["labelled"]["kept"] == corpus["traces"]["kept"] > 140


def test_credit_needs_its_critics_key():
    """What the critic is trained with decides the credited stage too, and leaves the plain one alone."""
    train = {"orm": {**ORM, "start": "base"}, "redi": {**RECIPE["train"]["redi"], "start": "base"}, "credit": CREDIT}
    before = fresh_fingerprints(parse_recipe(recipe(train), "a"))
    train["orm"] = {**train["orm"], "steps": 5}
    after = fresh_fingerprints(parse_recipe(recipe(train), "b"))
    changed = {name for name in before if before[name] != after[name] and name.startswith("train/")}
    assert changed == {"train/orm", "train/credit"}


def test_a_scorers_spans_become_the_token_weights_of_a_later_run(done, tmp_path):
    """The offline half of OREAL over two runs: the critic of the first, its weights as spans, REDI with them in the second."""
    critic = str(done / "train" / "orm" / "model")
    redi = {**RECIPE["train"]["redi"], "start": "base", "steps": 1, "modifiers": ["span-weights"]}
    tree = recipe(
        {"redi": redi},
        score=[{"name": "outcome", "model": critic}],
        select={"turns": "last", "weights": {"right": "outcome_plus", "wrong": "outcome_minus"}},
    )
    folder = run(parse_recipe(tree, "here"), runs_dir=tmp_path, until="train")
    traces = {
        trace.id: trace
        for path in (folder / "score" / "groups").glob("*.parquet")
        for group in read_records(path)
        for trace in group.traces
    }
    pairs = [pair for path in (folder / "select" / "pairs").glob("*.parquet") for pair in read_records(path)]
    assert pairs
    for pair in pairs:
        assert tuple(pair.chosen_spans) == tuple(traces[pair.chosen_id].spans["outcome_plus"])
        assert tuple(pair.rejected_spans) == tuple(traces[pair.rejected_id].spans["outcome_minus"])
    assert (folder / "train" / "redi" / "model").is_dir()


def test_weights_that_no_stage_reads_and_a_second_source_of_weights_are_one_sentence():
    weights = {"turns": "last", "weights": {"right": "outcome_plus"}}
    assert refused(recipe(select=weights)).startswith("select.weights: no stage has the modifier span-weights")
    with pytest.raises(OperatorError, match=r"rows of self-correction have weights of their own"):
        parse_recipe(recipe(select={**weights, "examples": "self-correction"}), "here")
    with pytest.raises(OperatorError, match=r"applies only to the last answer of a conversation; set `turns: last`"):
        parse_recipe(recipe(select=weights | {"turns": "all"}), "here")
    with pytest.raises(OperatorError, match="write `right`, `wrong` or both"):
        parse_recipe(recipe(select={"weights": {}}), "here")
