"""A recipe's rewards for answers from anywhere: those of a stage's own rounds, and one sentence for a row that is none."""

import dataclasses
import json

import pytest

from exported import exported, modules_of, recipe_of
from redistill.corpus.two_habits.teacher import two_habits
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.records import Group, Outcome
from redistill.rollout.answer import EvalConfig
from redistill.rollout.requests import Sample, Sampling
from redistill.select import PAIRINGS
from redistill.tools.rewards import RewardFunction, problem_facts, stage_for
from redistill.train.advantages import ADVANTAGES
from redistill.train.rollouts import RolloutJob, draw_round

REWARD = [{"name": "accuracy", "unanswered": "undecided"}, {"name": "length", "each": -0.01, "weight": 0.5}]


@pytest.fixture(scope="module")
def drawn():
    """500 stored answers of a round of our own, 4 to each of 125 problems: right, wrong, cut, without an answer and ungradable
    ones, with the rewards that the round gave them, and the recipe."""
    recipe = recipe_of(problems=125, n=4, reward=REWARD)
    groups = [group for group in two_habits(problems=150) if isinstance(group, Group)]
    groups = [g for g in groups if len({t.completion for t in g.traces}) >= 2][:125]
    problems = [g.problem if n % 25 else dataclasses.replace(g.problem, answer=None) for n, g in enumerate(groups)]
    tokenizer = loading.load_tokenizer(recipe.student)
    said = {}
    for n, group in enumerate(groups):
        texts = [trace.completion for trace in group.traces]
        texts = [texts[0], texts[1], texts[-1][: len(texts[-1]) // 2] if n % 3 else "", texts[n % len(texts)]]
        said[group.problem.statement] = texts

    def engine(student, requests, sampling, _finished):
        turn = {}
        found = []
        for request in requests:
            place = turn[request.prompt] = turn.get(request.prompt, -1) + 1
            text = said[request.prompt][place]
            reason = "length" if place == 2 else "stop"
            ids = (3,) * len(text) + (tokenizer.eos_token_id,) * (reason == "stop")
            found.append(Sample(text, len(ids), reason, token_ids=ids))
        return found

    with RewardFunction(recipe, workers=1) as of_recipe:
        config = EvalConfig(
            engine, lambda p: p.statement, {}, of_recipe.verifier, Sampling(4, 1.0, 1.0, 99), 0, recipe.verify
        )
        job = RolloutJob(
            recipe.train["own"].rollouts, config, problems, of_recipe.rewards, ADVANTAGES["group"], PAIRINGS["certain"],
            of_recipe._pool, "own", 0,
        )  # fmt: skip
        found = draw_round(job, 0, None, tokenizer)
        yield of_recipe, recipe, problems, found


def test_the_round_holds_every_kind_of_answer(drawn):
    *_, found = drawn
    traces = [trace for _, trace in found.answers]
    outcomes = {trace.verdict.outcome for trace in traces}
    assert len(traces) == 500
    assert {Outcome.correct, Outcome.incorrect, Outcome.ungradable} <= outcomes and outcomes & {
        Outcome.no_answer,
        Outcome.truncated,
    }
    assert sum("reward" in trace.scores for trace in traces) not in (0, 500)


def test_rewards_of_500_stored_answers_are_those_of_the_stage(drawn):
    rewards, _, _, found = drawn
    rows = [
        {
            "problem": problem_facts(problem), "completion": trace.completion, "finish_reason": trace.finish_reason,
            "num_tokens": trace.num_tokens,
        }
        for problem, trace in found.answers
    ]  # fmt: skip
    assert rewards(rows) == [trace.scores.get("reward") for _, trace in found.answers]


def test_exported_rewards_of_500_stored_answers_are_those_of_the_stage(drawn, tmp_path):
    _, recipe, problems, found = drawn
    folder = exported(tmp_path, "trl", recipe, [p for p in problems if p.answer is not None])
    with modules_of(folder, "reward") as (module,):
        given = module.reward(
            prompts=None,
            completions=[trace.completion for _, trace in found.answers],
            completion_ids=[list(sampled.token_ids) for sampled in found.sampled],
            problem=[json.dumps(problem_facts(problem)) for problem, _ in found.answers],
            answer=None,
        )
        module._held[0].close()
    assert given == [trace.scores.get("reward") for _, trace in found.answers]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("text", "row 0: it is not a table"),
        ({"problem": "1+1=", "completion": 3}, "`completion` must be the text of an answer, not 3"),
        ({"problem": "1+1=", "answer": "2"}, "`completion` must be the text of an answer, not None"),
        ({"completion": "2"}, "write either `problem` or `prompt`"),
        ({"problem": "1+1=", "prompt": "1+1=", "completion": "2"}, "write either `problem` or `prompt`"),
        ({"problem": {"text": "1+1="}, "completion": "2"}, "problem has no 'text'"),
        ({"problem": "1+1=", "anwser": "2", "completion": "2"}, "unknown key 'anwser'; did you mean 'answer'?"),
        ({"problem": "1+1=", "answer": "2", "gold": "2", "completion": "2"}, "write either `answer` or `gold`"),
        (
            {"problem": "1+1=", "answer": ["2"], "completion": "2"},
            r"`answer` must be the gold answer as text, not \['2'\]",
        ),
        ({"problem": "1+1=", "completion": "2", "finish_reason": "eos"}, "`finish_reason` must be"),
        ({"problem": "1+1=", "completion": "2", "num_tokens": -1}, "`num_tokens` must be a count of tokens, not -1"),
        (
            {"problem": {"statement": "1+1=", "metadata": [1]}, "completion": "2"},
            "`metadata` of its problem must be a table",
        ),
    ],
)
def test_a_row_that_cannot_be_read_is_one_sentence(drawn, row, said):
    with pytest.raises(OperatorError, match=said):
        drawn[0]([row])


def test_the_stage_is_the_last_one_with_rollouts_unless_one_is_named(drawn):
    recipe = drawn[1]
    assert stage_for(recipe, None) == "own" and stage_for(recipe, "sft") == "sft"
    with pytest.raises(OperatorError, match="no stage is called 'owm'; did you mean 'own'"):
        stage_for(recipe, "owm")
