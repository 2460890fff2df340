"""A recipe whose evaluation is guided by a critic that it trains: what it leaves, what it depends on, and what is refused."""

import copy
import json

import pytest

from redistill.config.parsing import parse_evaluation, parse_recipe
from redistill.errors import OperatorError
from redistill.io.parquet import read_records
from redistill.io.stage_folder import StageFolder
from redistill.pipeline.plan import make_plan
from redistill.pipeline.run import run
from redistill.pipeline.stages import stages_of
from redistill.tools.estimate.estimate import forecast
from redistill.tools.evaluate import evaluate
from tiny_recipe import RECIPE, fresh_fingerprints

PROCESS = {"name": "process", "model": "prm", "steps": "semicolon"}
ENGINE = {"name": "guided", "critic": PROCESS, "candidates": 3, "steps": 4, "step_end": ";", "max_step_tokens": 5}


def tree(**evaluate):
    found = copy.deepcopy(RECIPE)
    found["corpus"]["sources"][0] |= {"step_truth": True}
    found["select"] = {"examples": "first", "labelled": {"spans": "truth"}}
    found["train"] = {
        "sft": RECIPE["train"]["sft"],
        "prm": {"objective": {"name": "process", "loss": "mse"}, "start": "sft", "learning_rate": 1e-3, "steps": 2, "batch_size": 4},
    }  # fmt: skip
    found["evaluate"] = {
        "models": ["sft"],
        "n": 2,
        "temperature": 1.0,
        "max_new_tokens": 12,
        "engine": ENGINE,
        **evaluate,
    }
    return found


def recipe(**evaluate):
    return parse_recipe(tree(**evaluate), "here")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run(recipe(), runs_dir=tmp_path_factory.mktemp("runs"))


def answers(folder):
    return list(StageFolder(folder / "evaluate" / "sft" / "dev", "").read("groups"))


def test_the_answers_say_what_their_search_cost_and_so_do_ledger_scores_and_report(done):
    traces = [trace for group in answers(done) for trace in group.traces]
    assert len(traces) == 2 * len(answers(done)) and all(trace.sampling["engine"] == "guided" for trace in traces)
    drawn, calls = (sum(t.sampling[name] for t in traces) for name in ("drawn_tokens", "critic_calls"))
    assert drawn > 2 * sum(t.num_tokens for t in traces) and 0 < calls <= 3 * 4 * len(traces)
    folder = done / "evaluate" / "sft" / "dev"
    cost = json.loads((folder / "ledger.json").read_text())["tallies"]["cost"]
    assert (cost["drawn_tokens"], cost["critic_calls"]) == (drawn, calls)
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["search"]["drawn_tokens"] == pytest.approx(drawn / len(traces)) and scores["search"][
        "answers"
    ] == len(traces)
    page = (done / "report.html").read_text()
    assert "guided search (3 candidates a step, at most 4 steps)" in page and "critic calls an answer" in page


def test_a_killed_evaluation_goes_on_to_the_same_bytes(done, tmp_path, monkeypatch):
    from redistill.evaluate import stage

    real, count = stage._counted, [0]

    def counted(bar, stored):
        tell = real(bar, stored)

        def stop(sample):
            tell(sample)
            count[0] += 1
            if count[0] == 9:
                raise KeyboardInterrupt

        return stop

    with monkeypatch.context() as patched:
        patched.setattr(stage, "_counted", counted)
        with pytest.raises(KeyboardInterrupt):
            run(recipe(), runs_dir=tmp_path)
    journal = tmp_path / "tiny" / "evaluate" / "sft" / "dev" / "samples.jsonl"
    assert len(journal.read_text().splitlines()) == 9
    again = run(recipe(), runs_dir=tmp_path)
    for name in ("evaluate/sft/dev/groups/part-00000.parquet", "evaluate/sft/dev/scores.json"):
        assert (again / name).read_bytes() == (done / name).read_bytes()


def test_a_folder_of_the_critic_guides_to_the_same_answers_outside_of_the_run(done, tmp_path):
    model = str(done / "train" / "prm" / "model")
    problems = tmp_path / "dev.jsonl"
    rows = [{"problem": g.problem.statement, "answer": g.problem.answer} for g in answers(done)]
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
    engine = ENGINE | {"critic": PROCESS | {"model": model}}
    settings = {
        "name": "again", "student": {"model": str(done / "train" / "sft" / "model")}, "prompt": {"template": "bare"},
        "evaluate": tree()["evaluate"] | {"models": None, "engine": engine, "benchmarks": [{"name": "mine", "file": str(problems)}]},
    }  # fmt: skip
    folder = evaluate(parse_evaluation(settings, "here"), runs_dir=tmp_path, student_name="sft")
    mine = {
        g.problem.statement: [t.completion for t in g.traces]
        for path in (folder / "evaluate" / "sft" / "mine" / "groups").glob("*.parquet")
        for g in read_records(path)
    }
    assert mine == {g.problem.statement: [t.completion for t in g.traces] for g in answers(done)}


def test_answers_depend_on_the_critic_and_its_options():
    name = "evaluate/sft/dev"
    before = fresh_fingerprints(recipe())
    for change in ({"critic": PROCESS | {"steps": "blank-line"}}, {"candidates": 4}, {"then": "sample"}):
        assert fresh_fingerprints(recipe(engine=ENGINE | change))[name] != before[name]
    longer = tree()
    longer["train"]["prm"]["steps"] = 3
    after = fresh_fingerprints(parse_recipe(longer, "here"))
    assert after[name] != before[name] and after["train/sft"] == before["train/sft"]
    (stage,) = [stage for stage in stages_of(make_plan(recipe())) if stage.name == name]
    assert set(stage.inputs) == {"select:dev", "train/sft", "train/prm"}
    plain = {"name": "transformers"}
    assert fresh_fingerprints(recipe(engine=plain))["train/sft"] == before["train/sft"]


def test_the_plan_counts_candidates_and_critic_calls(tmp_path):
    found, plain = (
        forecast(recipe(**changed), runs_dir=tmp_path)["evaluate"]
        for changed in ({}, {"engine": {"name": "transformers"}})
    )
    assert found["dev_tokens_at_most"] == 3 * plain["dev_tokens_at_most"] and plain["dev_answers"] > 0
    assert found["dev_critic_calls_at_most"] == 3 * 4 * plain["dev_answers"] and "candidates" not in plain


def test_the_short_form_names_a_stage():
    plan = make_plan(recipe(engine=ENGINE | {"critic": "prm"}))
    assert plan.engine.keywords["critic"] == "prm"


STEPS = {"name": "dev", "kind": "steps"}


@pytest.mark.parametrize(
    ("evaluate", "said"),
    [
        ({"engine": ENGINE | {"critic": "sft"}}, r"critic: sft is a student, which gives no scores; name a stage with the objective process"),
        ({"engine": ENGINE | {"critic": {"name": "critic", "model": "prm"}}}, "critic: prm gives scores and no text; write `critic: prm`"),
        ({"engine": ENGINE | {"critic": "pmr"}}, r"critic: there is no stage and no folder 'pmr'; did you mean 'prm'\?"),
        ({"engine": ENGINE | {"critic": "STUDENT"}}, "holds no critic; give a folder that a stage with the objective process has left"),
        ({"engine": ENGINE | {"critic": {"name": "critic", "model": "CRITIC"}}}, "gives scores and no text"),
        ({"engine": ENGINE | {"critic": {"model": "prm"}}}, "name a stage or a folder of a critic, or write a scorer out as a table with `name`"),
        ({"engine": ENGINE | {"critic": {"name": "perplexity"}}}, "critic: perplexity scores no steps; take process or critic"),
        ({"engine": ENGINE | {"critic": {"name": "critic"}}}, "critic: name its model, a stage or a folder"),
        ({"engine": ENGINE | {"critic": PROCESS | {"alpha": 0.5}}}, "alpha has no effect here"),
        ({"engine": ENGINE | {"critic": PROCESS | {"into": "x"}}}, "`into` has no effect"),
        ({"engine": ENGINE | {"critic": PROCESS | {"laoyut": "ours"}}}, r"evaluate\.engine \(guided\): critic \(process\): laoyut"),
        ({"engine": ENGINE | {"candidates": 1}}, r"evaluate\.engine \(guided\): candidates.*2"),
        ({"engine": ENGINE | {"steps": 0}}, r"evaluate\.engine \(guided\): steps.*0"),
        ({"engine": ENGINE | {"base_url": "http://127.0.0.1:1/v1"}}, r"evaluate\.engine \(guided\): base_url"),
        ({"engine": {"name": "guided"}}, r"evaluate\.engine \(guided\): critic"),
        ({"temperature": 0.0}, "at temperature 0 all candidates of a step are the same"),
        ({"benchmarks": [STEPS]}, r"evaluate\.engine \(guided\): dev asks for judgements of steps"),
    ],
)  # fmt: skip
def test_what_cannot_guide_is_one_sentence(done, evaluate, said):
    text = (
        json.dumps(evaluate)
        .replace("STUDENT", str(done / "train/sft/model"))
        .replace("CRITIC", str(done / "train/prm/model"))
    )
    with pytest.raises(OperatorError, match=said) as error:
        make_plan(recipe(**json.loads(text)))
    assert "\n" not in str(error.value)


def test_a_critic_of_another_objective_scores_no_steps():
    found = tree(engine=ENGINE | {"critic": "orm"})
    found["train"]["orm"] = {"objective": "outcome", "start": "sft", "learning_rate": 1e-3, "steps": 2, "batch_size": 4}
    with pytest.raises(OperatorError, match="orm has learned outcome and scores no steps"):
        make_plan(parse_recipe(found, "here"))
