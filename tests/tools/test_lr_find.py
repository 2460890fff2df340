"""The learning-rate finder and the probe on the smallest of runs: a tiny student on forty sums."""

import json

import pytest

from redistill.cli import main
from redistill.config.parsing import parse_recipe
from redistill.config.tables import BenchmarkSettings, GuardSettings
from redistill.errors import OperatorError
from redistill.pipeline.plan import make_plan
from redistill.records import FINAL, Outcome, Verdict, make_problem, make_trace
from redistill.tools import lr_find as module
from redistill.tools.lr_find import lr_find, table_text
from redistill.train.eval_probe import dev_probe, ends_in_a_loop, probe_figures
from tiny_recipe import RECIPE, fresh_fingerprints


def find(runs_dir, **changes):
    arguments = {"stage": "redi", "weights": [0.8], "rates": [1e30, 1e-5], "steps": 6, **changes}
    return lr_find(parse_recipe(RECIPE, "here"), runs_dir=runs_dir, **arguments)


def test_the_largest_rate_without_an_alarm_is_found_and_finished_trials_are_kept(tmp_path, monkeypatch):
    found = find(tmp_path)
    # a step of 1e30 leaves no finite number: two steps without a gradient end the trial
    good, bad = found["trials"]
    assert (good["learning_rate"], good["steps"], good["good"]) == (1e-5, 6, True)
    assert (bad["learning_rate"], bad["state"], bad["reasons"]) == (1e30, "collapse", ["no_finite_gradient"])
    assert bad["steps"] < 6 and good["probe_accuracy"] is not None and good["held_out_margin"] is not None
    assert found["largest"] == [{"rejected_weight": 0.8, "learning_rate": 1e-5}]
    assert "weight 0.8: largest rate without an alarm: 1e-05" in table_text(found)
    assert not (tmp_path / "tiny" / "lr-find" / "redi-trial").exists()

    monkeypatch.setattr(module, "train_stage", lambda *_, **__: pytest.fail("a finished trial was run again"))
    assert find(tmp_path) == found


def test_rates_above_an_alarmed_one_are_not_tried_and_are_named(tmp_path, capsys):
    found = find(tmp_path, rates=[1e30, 1e31], weights=[])
    assert [trial["learning_rate"] for trial in found["trials"]] == [1e30]
    assert found["skipped"] == [{"rejected_weight": None, "learning_rate": 1e31, "after": 1e30}]
    said = "not tried: 1e+31, because a lower rate (1e+30) already raised an alarm"
    assert said in capsys.readouterr().err and said in table_text(found)
    assert found["largest"] == [{"rejected_weight": None, "learning_rate": None}]


def test_several_ranks_are_refused_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(OperatorError, match=r"lr-find: it runs as one process"):
        find(tmp_path)
    assert not list(tmp_path.iterdir())


def test_settings_that_only_round_leave_a_finished_stage_finished():
    before = fresh_fingerprints(parse_recipe(RECIPE, "here"))
    stage = {
        **RECIPE["train"]["redi"],
        "tokens_per_micro_batch": 100,
        "gradient_checkpointing": True,
        "distributed": "fsdp2",
    }
    other = {**RECIPE, "train": {**RECIPE["train"], "redi": stage}}
    assert fresh_fingerprints(parse_recipe(other, "here")) == before
    other = {**RECIPE, "train": {**RECIPE["train"], "redi": {**stage, "batch_size": 5}}}
    assert fresh_fingerprints(parse_recipe(other, "here"))["train/redi"] != before["train/redi"]


def test_a_stage_or_weight_that_is_not_there_is_said_before_any_work(tmp_path):
    with pytest.raises(OperatorError, match=r"no stage is called 'red'; did you mean 'redi'\?"):
        find(tmp_path, stage="red")
    with pytest.raises(OperatorError, match=r"lr-find --weights \(sft\): rejected_weight: unknown key"):
        find(tmp_path, stage="sft")
    assert not (tmp_path / "tiny").exists()


def test_the_verb_refuses_what_is_no_rate(tmp_path, capsys):
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(RECIPE))
    for rates in ("fast", "0"):
        with pytest.raises(SystemExit) as stopped:
            main(["lr-find", str(path), "--stage", "redi", "--rates", rates])
        assert stopped.value.code == 2
    assert "numbers parted by commas" in capsys.readouterr().err


# --- the probe ---------------------------------------------------------------------------------------------------


def test_two_probes_of_one_student_are_equal():
    plan = make_plan(parse_recipe(RECIPE, "here"))
    problems = [make_problem(f"{n}+{n + 1}=", answer=str(2 * n + 1), source="s", source_row=str(n)) for n in range(6)]
    from redistill.model import loading

    student = loading.load_model(plan.recipe.student, plan.tokenizer, seed=0)
    config = plan.eval_config(BenchmarkSettings())
    with dev_probe(config, GuardSettings(), problems[:4]) as probe:
        one, two = probe(student, plan.tokenizer), probe(student, plan.tokenizer)
    assert one == two and one["probe_problems"] == 4
    assert one["probe_tokens"] <= 4 and 0 <= one["probe_accuracy"] <= 1


def test_the_probes_figures_by_hand():
    def trace(text, tokens, reason, outcome="incorrect"):
        verdicts = {FINAL: Verdict(Outcome(outcome))}
        return make_trace("p", text, finish_reason=reason, num_tokens=tokens, verdicts=verdicts)

    traces = [
        trace("1+1=2;####2", 12, "stop", "correct"),
        trace("1;" * 20, 40, "length"),
        trace("3", 2, "stop"),
        trace("4", 2, "stop"),
    ]
    assert probe_figures(traces) == {
        "probe_problems": 4,
        "probe_accuracy": 0.25,
        "probe_tokens": 14.0,
        "probe_unfinished": 0.25,
        "probe_repetition": 0.25,
    }


@pytest.mark.parametrize(
    "text,loops",
    [
        ("so it is. " * 4, True),
        ("A start, and then: " + "wait, " * 9, True),
        ("so it is. " * 3, False),  # three times is emphasis
        ("1" * 16, True),
        ("####0000", False),  # too short to be called a loop
        ("so it is. " * 4 + "The end", False),  # it found its way out
        ("", False),
    ],
)
def test_a_text_that_ends_by_repeating_itself_ends_in_a_loop(text, loops):
    assert ends_in_a_loop(text) is loops


def test_a_trial_trains_with_the_modifiers_and_the_reference_of_its_stage(tmp_path, monkeypatch):
    seen = {}
    real = module.train_stage

    def watched(job, *, reference, **more):
        seen.update(modifiers=[m.func.__name__ for m in job.modifiers], reference=reference is not None)
        return real(job, reference=reference, **more)

    monkeypatch.setattr(module, "train_stage", watched)
    tree = {**RECIPE, "train": {**RECIPE["train"]}}
    tree["train"]["redi"] = {
        **RECIPE["train"]["redi"],
        "objective": "dpo",
        "reference": "base",
        "modifiers": ["nll-anchor"],
    }
    lr_find(parse_recipe(tree, "here"), runs_dir=tmp_path, stage="redi", weights=[], rates=[1e-5], steps=2)
    assert seen == {"modifiers": ["nll_anchor"], "reference": True}


def test_a_stage_that_draws_its_own_rows_is_refused_with_a_sentence(tmp_path):
    own = {"objective": "grpo", "start": "sft", "learning_rate": 1e-3, "rollouts": {"problems": 2, "n": 2}}
    recipe = parse_recipe({**RECIPE, "train": {**RECIPE["train"], "own": own}}, "here")
    with pytest.raises(OperatorError, match=r"^lr-find: train\.own samples its own rows"):
        lr_find(recipe, runs_dir=tmp_path, stage="own", weights=[], rates=[1e-4], steps=4)
    assert not list(tmp_path.iterdir())
