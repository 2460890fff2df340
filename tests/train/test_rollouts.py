"""One round: which problems, which answers, which rows; the tokens are those that were sampled."""

import dataclasses

import numpy as np
import pytest
import torch

from redistill.records import FINAL, Group, Outcome, Sampled, Verdict, make_problem, make_trace
from redistill.train.objectives import redi, sft
from redistill.train.objectives.policy import grpo
from redistill.train.rollouts import SAMPLED_LOGPS, Round, draw_round, round_figures, rows_of_round

from .conftest import tiny_student
from .rollout_cases import PROBLEMS, job_of, right


def a_round(*groups):
    """A round from (outcome, token ids) of each problem's answers; the text of an answer is its ids, the reward 0 or 1."""
    made, sampled = [], []
    for number, answers in enumerate(groups):
        problem, traces = make_problem(f"problem {number}", answer="1"), []
        for index, (outcome, ids) in enumerate(answers):
            reward = right(None, make_trace("", "").with_verdict(FINAL, Verdict(outcome)))
            scores = {} if reward is None else {"reward": reward}
            trace = make_trace(problem.id, " ".join(map(str, ids)), scores=scores, finish_reason="stop")
            traces.append(trace.with_verdict(FINAL, Verdict(outcome)))
            sampled.append(Sampled(problem.id, trace.id, index, [9, 9], ids, [-0.5] * len(ids)))
        made.append(Group(problem, tuple(traces)))
    return Round(made, sampled)


C, W, U = Outcome.correct, Outcome.incorrect, Outcome.disagree


def test_policy_gradient_takes_every_answer_whose_reward_is_known_with_its_advantage_on_every_token():
    drawn = a_round([(C, [1, 2]), (W, [3]), (U, [4])], [(W, [5]), (W, [6, 7])])
    rows, account, dropped = rows_of_round(job_of(advantage="mean"), grpo, drawn, max_tokens=10)
    assert rows.tokens.tolist() == [9, 9, 1, 2, 9, 9, 3, 9, 9, 5, 9, 9, 6, 7]
    assert rows.starts.tolist() == [0, 4, 7, 10, 14] and rows.prompt_tokens.tolist() == [2] * 4
    assert rows.values["advantage"].tolist() == [0.5, 0.5, -0.5, 0.0, 0.0, 0.0]
    assert rows.values[SAMPLED_LOGPS].tolist() == [-0.5] * 6
    assert rows.groups.tolist() == [0, 0, 1, 1] and rows.weights.tolist() == [1.0] * 4
    assert account.to_json() == {"unit": "answer", "in": 5, "kept": 4, "dropped": {"undecided": 1}}
    assert [(d.id, d.reason) for d in dropped] == [(drawn.sampled[2].trace_id, "undecided")]


def test_rejection_sampling_takes_right_answers_each_text_once():
    drawn = a_round([(C, [1]), (C, [1]), (W, [2]), (C, [3])], [(U, [4]), (C, [1])])
    rows, account, _ = rows_of_round(job_of(), sft, drawn, max_tokens=10)
    assert rows.tokens.tolist() == [9, 9, 1, 9, 9, 3, 9, 9, 1]
    assert account.dropped == {"not_correct": 2, "duplicate": 1}
    one_each, account, _ = rows_of_round(job_of(per_problem=1), sft, drawn, max_tokens=10)
    assert one_each.tokens.tolist() == [9, 9, 1, 9, 9, 1] and account.dropped["over_per_problem"] == 1


def test_pairs_are_what_the_pairing_takes_of_certain_answers():
    drawn = a_round([(W, [2]), (C, [1]), (W, [2]), (C, [3])], [(C, [4]), (U, [5])])
    rows, account, dropped = rows_of_round(job_of(), redi, drawn, max_tokens=10)
    assert rows.per_row == 2 and rows.tokens.tolist() == [9, 9, 1, 9, 9, 2, 9, 9, 3, 9, 9, 2]
    assert account.to_json()["dropped"] == {"only_undecided_wrong": 1} and account.unit == "problem"
    assert [d.id for d in dropped] == [drawn.groups[1].problem.id]


def test_what_is_too_long_or_has_no_token_is_counted():
    drawn = a_round([(C, [1, 2, 3]), (C, []), (W, [4])])
    _, account, _ = rows_of_round(job_of(), grpo, drawn, max_tokens=4)
    assert account.dropped == {"too_long": 1, "no_tokens": 1} and account.kept == 1


def test_a_round_without_a_row_has_none():
    drawn = a_round([(W, [1]), (W, [2])])
    for objective in (sft, redi):
        rows, account, _ = rows_of_round(job_of(), objective, drawn, max_tokens=9)
        assert len(rows) == 0 and account.kept == 0 and len(rows.tokens) == 0


def test_the_figures_of_a_round_by_hand():
    drawn = a_round([(C, [1, 2]), (W, [3]), (U, [4])], [(W, [5]), (W, [6, 7])])
    found = round_figures(drawn, 4)
    assert found["reward"] == 0.25 and found["pass_rate"] == 0.2 and found["undecided"] == pytest.approx(0.2)
    assert found["no_variance"] == 0.5 and found["length"] == 7 / 5 and found["generated_tokens"] == 7
    assert found["entropy"] == 0.5 and found["cut"] == 0.0 and found["rows"] == 4


# --- drawing ------------------------------------------------------------------------------------------------------------


def test_problems_come_in_whole_rounds_each_epoch_in_an_order_of_its_own():
    job = job_of()  # 9 problems, 3 a round
    epochs = [[p.id for r in range(3) for p in job.problems_of(3 * e + r)] for e in range(2)]
    assert [sorted(ids) for ids in epochs] == [sorted(p.id for p in PROBLEMS)] * 2
    assert epochs[0] != epochs[1] and epochs[0] != [p.id for p in job_of(seed=1).problems_of(0)]
    few = job_of(problems=PROBLEMS[:2])
    assert {p.id for p in few.problems_of(5)} == {p.id for p in PROBLEMS[:2]}


def test_a_round_is_a_function_of_student_seed_and_number():
    model, tokenizer = tiny_student()
    first, again, other = (draw_round(job_of(), number, model, tokenizer) for number in (0, 0, 3))
    assert first == again
    assert {s.problem_id for s in first.sampled} != {s.problem_id for s in other.sampled}
    assert draw_round(job_of(seed=1), 0, model, tokenizer) != first


def test_drawing_leaves_the_student_as_it_is():
    model, tokenizer = tiny_student()
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    draw_round(job_of(), 0, model, tokenizer)
    assert model.training and all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_what_is_undecided_has_no_reward_unless_the_recipe_says_zero():
    model, tokenizer = tiny_student()
    for how in ("drop", "zero"):
        drawn = draw_round(job_of(undecided=how, n=8), 0, model, tokenizer)
        unreadable = [t for _, t in drawn.answers if t.verdict.outcome is U]
        assert unreadable
        assert [t.scores.get("reward") for t in unreadable] == [None if how == "drop" else 0.0] * len(unreadable)


def test_tokens_go_in_as_they_came_out_where_the_text_would_be_cut_otherwise():
    """A tokenizer that joins 1 and 2: the student may well say 1, then 2, and that is what is trained on."""
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate(["<end>", "<pad>", "1", "2", "12"])}
    joined = Tokenizer(models.BPE(vocabulary, [("1", "2")]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=joined, eos_token="<end>", pad_token="<pad>")
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=5, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
                    num_key_value_heads=2, max_position_embeddings=64)
    )  # fmt: skip
    problems = [dataclasses.replace(PROBLEMS[0], statement="112")]
    drawn = draw_round(job_of(problems=problems, n=16, max_new_tokens=12), 0, model, tokenizer)
    rows, _, _ = rows_of_round(job_of(problems=problems), grpo, drawn, max_tokens=64)
    asked = tokenizer("112")["input_ids"]
    assert [rows.sequence(n)[0] for n in range(len(rows))] == [
        [*asked, *s.token_ids] for s, (_, t) in zip(drawn.sampled, drawn.answers) if "reward" in t.scores
    ]
    cut_otherwise = [
        s for s, (_, t) in zip(drawn.sampled, drawn.answers)
        if tokenizer(t.completion)["input_ids"] != [i for i in s.token_ids if i > 1]
    ]  # fmt: skip
    assert cut_otherwise  # else this test could not fail
    assert all(len(s.logprobs) == len(s.token_ids) for s in drawn.sampled)
    assert np.isfinite(rows.values[SAMPLED_LOGPS]).all()
