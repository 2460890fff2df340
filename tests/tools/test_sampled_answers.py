"""What `why`, `show` and `regrade` say of answers that a training stage sampled: a made-up run of two rounds, worked by hand."""

import json

import pytest
import yaml

from redistill.config.parsing import read_plugin
from redistill.config.tables import LimitSettings
from redistill.errors import OperatorError
from redistill.io.atomic import read_json, write_json
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.records import FINAL, Dropped, Group, Outcome, Sampled, Verdict, make_problem, make_trace
from redistill.tools.cross_run import ROLLOUTS, regrade
from redistill.tools.lineage import as_text, way
from redistill.tools.sampled_answers import occurrences, rounds, streams
from redistill.tools.show import one_record, readable
from tiny_recipe import write_layout

EASY, HARD = make_problem("1 + 1?", answer="2"), make_problem("7 * 8?", answer="56")
OWN = {"problems": 2, "n": 3, "rounds": 2, "undecided": "drop", "advantage": {"name": "group", "options": {}}}
RECIPE = {
    "name": "made-up",
    "evaluate": {"verifier": {"name": "exact", "options": {}}},
    "train": {
        "grpo": {"objective": {"name": "grpo", "options": {}}, "start": "base", "batch_size": 4, "rollouts": OWN},
        "dpo": {"objective": {"name": "dpo", "options": {}}, "start": "grpo", "batch_size": 4, "rollouts": OWN},
        "mine": {"objective": {"name": "my.py:loss", "options": {}}, "start": "base", "rollouts": OWN},
    },
}


def answer(problem, text, outcome, stage, reward):
    verdicts = {FINAL: Verdict(Outcome(outcome), text, "equal_number", "policy:exact")}
    scores = {} if reward is None else {"reward": reward}
    return make_trace(problem.id, text, author=stage, scores=scores, verdicts=verdicts)


def draw(folder, stage, number, step, groups, *, unit="answer", dropped=()):
    stage_dir = StageFolder(folder / f"train/{stage}/rollouts", stage)
    if number == 0:
        stage_dir.open()
    samples = [
        Sampled(g.problem.id, trace.id, index, [1, 2], [3] * (index + 1), [-0.5] * (index + 1))
        for g in groups for index, trace in enumerate(g.traces)
    ]  # fmt: skip
    account = Account(unit, len(samples), len(samples))
    stage_dir.finish_shard(
        number, Shard({"groups": (Group, groups), "samples": (Sampled, samples)}, {"rows": account}, list(dropped))
    )
    write_json(stage_dir.folder / f"round-{number:05d}.json", {"round": number, "step": step})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "made-up"
    folder.mkdir()
    write_layout(folder)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    for stage in ("grpo", "dpo", "mine"):
        right = answer(EASY, "it is 2", "correct", stage, 1.0)
        wrong = answer(EASY, "it is 3", "incorrect", stage, 0.0)
        unknown = answer(EASY, "who knows", "disagree", stage, None)
        alike = [answer(HARD, text, "incorrect", stage, 0.0) for text in ("54", "55", "54")]
        groups = [Group(EASY, (right, wrong, unknown)), Group(HARD, tuple(alike))]
        drops = [Dropped(unknown.id, stage, "undecided", f"answer 2 to {EASY.id}")]
        unit = "problem" if stage == "dpo" else "answer"
        if unit == "problem":
            drops = [Dropped(HARD.id, stage, "no_correct_trace")]
        draw(folder, stage, 0, 0, groups, unit=unit, dropped=drops)
        draw(folder, stage, 1, 3, [Group(EASY, (right, right, wrong))], unit=unit)
        StageFolder(folder / f"train/{stage}/rollouts", stage).finish(2)
        write_json(folder / f"train/{stage}/ledger.json", {"steps": 5, "rows": {"kept": 6}})
    return folder


def of(text):
    return make_trace((HARD if text in ("54", "55") else EASY).id, text).id


def said(run, id):
    return as_text(way(run, id)).split("\n")


def block(lines, start):
    """The lines of the step that begins so."""
    first = next(n for n, line in enumerate(lines) if line.startswith(start))
    more = [n for n, line in enumerate(lines) if n > first and not line.startswith(" ")]
    return lines[first : more[0] if more else None]


def test_an_answer_is_found_in_every_round_that_sampled_it(run):
    lines = said(run, of("it is 2"))
    heads = [line for line in lines if line.startswith("train     grpo")]
    assert heads == [
        f"train     grpo: round 1, answer 1 of 3 to {EASY.id}: correct, reward 1",
        f"train     grpo: round 2, answer 1 of 3 to {EASY.id}: correct, reward 1",
        f"train     grpo: round 2, answer 2 of 3 to {EASY.id}: correct, reward 1",
    ]
    first = "\n".join(block(lines, heads[0]))
    # rewards 1 and 0, the third unknown: 0.5 over a sample standard deviation of 0.7071
    assert "advantage +0.707 (group, over 2 answers with a reward)" in first
    assert "its round is trained on in steps 1 to 3" in first and "1 tokens, log-prob -0.5 a token" in first
    # rewards 1, 1, 0: a third over 0.5774; steps 4 and 5 of the stage's 5
    second = "\n".join(block(lines, heads[2]))
    assert "advantage +0.5773 (group, over 3 answers" in second and "in steps 4 to 5" in second and "2 tokens" in second


def test_a_dropped_answer_says_why_and_which_setting_decides(run):
    lines = said(run, of("who knows"))
    step = "\n".join(block(lines, "train     grpo"))
    assert "disagree, no reward (unknown)" in step and "dropped: undecided" in step
    assert "setting train.grpo.rollouts.undecided = drop" in step and "advantage" not in step


def test_equal_rewards_teach_nothing_and_it_is_said(run):
    step = "\n".join(block(said(run, of("55")), "train     grpo"))
    assert (
        "advantage +0 (group, over 3 answers with a reward): nothing to learn from, because all of them earn the same"
        in step
    )


def test_of_a_stage_on_pairs_it_is_said_in_which_pair_an_answer_stands(run):
    right = "\n".join(block(said(run, of("it is 2")), "train     dpo: round 1"))
    assert f"chosen against {of('it is 3')}" in right
    wrong = "\n".join(block(said(run, of("it is 3")), "train     dpo: round 1"))
    assert f"rejected by {of('it is 2')}" in wrong
    assert "in no pair: the pairing chose others" in "\n".join(block(said(run, of("who knows")), "train     dpo"))
    none = "\n".join(block(said(run, of("54")), "train     dpo"))
    assert "dropped: no_correct_trace" in none and "setting train.dpo.rollouts.n = 3" in none


def test_of_an_objective_of_somebodys_own_no_advantage_is_made_up(run):
    step = "\n".join(block(said(run, of("it is 2")), "train     mine"))
    assert "not redistill's own, so its advantage cannot be recomputed" in step


def test_a_problem_says_in_which_rounds_it_was_asked(run):
    lines = said(run, EASY.id)
    step = block(lines, "train     grpo: asked in 2 rounds")
    assert "round 1: 1 correct, 1 incorrect, 1 disagree, mean reward 0.5" in step[1]
    assert "round 2: 2 correct, 1 incorrect, mean reward 0.6667" in step[2]
    assert "asked in 1 rounds" in "\n".join(said(run, HARD.id))


def test_a_round_that_is_not_finished_is_not_told(run, tmp_path):
    import shutil

    other = tmp_path / "made-up"
    shutil.copytree(run, other)
    (other / "train/grpo/rollouts/part-00001.done").unlink()
    assert rounds(other, "grpo") == [0] and "train/grpo/rollouts/groups" in streams(other)
    assert [o.round for o in occurrences(other, RECIPE, of("it is 2")) if o.stage == "grpo"] == [1]


def test_show_prints_a_sampled_group_with_rewards_and_its_tokens_in_one_line_and_names_them_of_a_folder(run):
    group = readable(one_record(run / "train/grpo/rollouts/groups/part-00000.parquet", 0))
    assert "score reward: 1" in group and "final: disagree" in group
    tokens = readable(one_record(run / "train/grpo/rollouts/samples/part-00000.parquet", 2))
    assert "token_ids: [3, 3, 3]" in tokens and "logprobs: [-0.5, -0.5, -0.5]" in tokens
    with pytest.raises(OperatorError, match=r"train/grpo/rollouts/groups/part-\*\.parquet \(2\)"):
        one_record(run, 0)


def test_sampled_answers_are_judged_again_where_they_are_asked_for(run):
    limits = LimitSettings(workers=1)
    plugins = {"choice": read_plugin("choice", "here")}
    with pytest.raises(OperatorError, match="holds no scores"):
        regrade(run, plugins, limits=limits)
    (table,) = regrade(run, plugins, students=["grpo"], benchmarks=[ROLLOUTS], limits=limits)
    assert (table["student"], table["benchmark"], table["a"], table["b"]) == ("grpo", ROLLOUTS, "exact", "choice")
    assert table["num_samples"] == 9  # two rounds: six answers and three
    ledger = read_json(run / "regraded/choice/grpo/_rollouts/ledger.json")
    assert ledger["num_shards"] == 2 and not (run / "regraded/choice/grpo/_rollouts/scores.json").exists()
    stored = one_record(run / "train/grpo/rollouts/groups/part-00000.parquet", 0)
    assert "choice" not in json.dumps(stored)  # the run's own verdicts stay
