"""Perplexity is that of a plain computation; what cannot be measured has a reason and no score."""

import copy
import math

import pytest
import torch

from redistill.config.tables import PromptText, StudentSettings
from redistill.errors import OperatorError
from redistill.model.batches import batches
from redistill.model.loading import load_model, load_tokenizer
from redistill.records import Group, make_problem, make_trace
from redistill.rollout.requests import Student
from redistill.score import reasons_of
from redistill.score.perplexity import perplexity

SETTINGS = StudentSettings(
    from_config={"model_type": "llama", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2,
                 "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 24},
    alphabet="0123456789+-*=;#",
)  # fmt: skip


@pytest.fixture(scope="module")
def loaded():
    tokenizer = load_tokenizer(SETTINGS)
    return load_model(SETTINGS, tokenizer, seed=5), tokenizer


@pytest.fixture(scope="module")
def groups():
    one, two = make_problem("2+2="), make_problem("11*3=")
    told = [make_trace(one.id, text) for text in ("4", "2+2=4;#4", "", "1" * 30)]
    return [Group(one, tuple(told)), Group(two, (make_trace(two.id, "33#33"),))]


def measured(groups, loaded, **options):
    student = Student(lambda: (copy.deepcopy(loaded[0]), loaded[1]))  # a scorer's own, which it may change
    needs = {"_into": "ppl", "_student": student, "_prompt": PromptText(template="bare"), "_held": {}}
    return perplexity(groups, **options, **needs)


def plain(loaded, prompt, completion, end_of_turn=False):
    """exp of the mean negative log-prob, one row at a time, without padding, in fp64, by transformers' own logits."""
    model, tokenizer = copy.deepcopy(loaded[0]).double(), loaded[1]
    model.set_attn_implementation("eager")
    ids = tokenizer(prompt + completion, add_special_tokens=False)["input_ids"]
    ids += [tokenizer.eos_token_id] if end_of_turn else []
    first = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        logps = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    taken = [float(logps[place - 1, ids[place]]) for place in range(first, len(ids))]
    return math.exp(-sum(taken) / len(taken))


@pytest.mark.parametrize("end_of_turn", [False, True])
def test_perplexity_equals_a_plain_unpadded_computation_in_double_precision(loaded, groups, end_of_turn):
    after = measured(groups, loaded, end_of_turn=end_of_turn)
    found = {trace.completion: trace.scores["ppl"] for group in after for trace in group.traces if trace.scores}
    expected = {text: plain(loaded, "2+2=", text, end_of_turn) for text in ("4", "2+2=4;#4")}
    expected["33#33"] = plain(loaded, "11*3=", "33#33", end_of_turn)
    if end_of_turn:  # the end of an empty completion is a token that can be measured
        expected[""] = plain(loaded, "2+2=", "", True)
    assert found == pytest.approx(expected, rel=1e-5)


def test_batches_of_any_size_give_the_same_perplexity(loaded, groups):
    small, large = (measured(groups, loaded, tokens_per_batch=size) for size in (1, 4096))
    values = [[t.scores["ppl"] for g in after for t in g.traces if t.scores] for after in (small, large)]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_an_empty_or_too_long_completion_has_a_reason_and_no_score(loaded, groups):
    told = measured(groups, loaded)[0].traces
    assert [reasons_of(trace) for trace in told] == [{}, {}, {"ppl": "empty"}, {"ppl": "too_long"}]
    assert told[2].scores == told[3].scores == {}


def test_the_longest_rows_come_first_and_no_batch_is_over_its_budget_unless_one_row_is():
    assert list(batches({0: 3, 1: 9, 2: 4, 3: 4}, 8)) == [[1], [2, 3], [0]]


def test_without_a_student_a_model_must_be_named(groups):
    with pytest.raises(OperatorError, match=r"score \(ppl\): no student is available; set `model`\."):
        perplexity(groups, _into="ppl", _student=None, _prompt=PromptText(), _held={})
    with pytest.raises(OperatorError, match=r"score \(ppl\): model: no-such-folder/x/y is neither a folder"):
        perplexity(groups, model="no-such-folder/x/y", _into="ppl", _student=None, _prompt=PromptText(), _held={})
