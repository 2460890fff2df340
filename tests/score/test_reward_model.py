"""A reward model's number is the one that transformers gives for the text alone, packed or not."""

import pytest
import torch
from test_process import CHAT, PROBLEM, SIZES, characters, saved, seeded
from transformers import AutoModelForSequenceClassification, BertConfig, LlamaConfig

from redistill.config.tables import PromptText
from redistill.errors import OperatorError
from redistill.model.reward_models import open_reward_model
from redistill.records import Group, make_trace
from redistill.score import reason_of
from redistill.score.reward_model import reward_model

THOUGHT = "<think>\nso 2+2=4\n</think>\n\nit is 5"
GROUPS = [Group(PROBLEM, tuple(make_trace(PROBLEM.id, t) for t in (THOUGHT, "it is 4", "<think>\nso", "7" * 300)))]


def scored(folder, **options):
    (group,) = reward_model(
        GROUPS, model=str(folder), _into="rm", _prompt=PromptText(template="bare"), _held={}, **options
    )
    return group.traces


def alone(model, tokenizer, text):
    with torch.no_grad():
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        return float(model.double()(input_ids=torch.tensor([ids])).logits[0, 0])


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    tokenizer = characters()
    config = LlamaConfig(vocab_size=len(tokenizer), num_labels=1, pad_token_id=0, **SIZES)
    model = seeded(AutoModelForSequenceClassification.from_config(config), 7).eval()
    folder = saved(
        tmp_path_factory.mktemp("rm") / "model", tokenizer, config, model.state_dict(), "LlamaForSequenceClassification"
    )
    return folder, tokenizer, model


def said(answer):
    return f"<|im_start|>user\n{PROBLEM.statement}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"


def test_the_answer_part_in_the_chat_template_gets_the_models_own_number(llama):
    folder, tokenizer, model = llama
    assert open_reward_model(str(folder), None, PromptText(), "here").packed is not None  # several rows in a pass
    first, second, cut, long = scored(folder)
    assert first.scores["rm"] == pytest.approx(alone(model, tokenizer, said("it is 5")), rel=1e-4)
    assert second.scores["rm"] == pytest.approx(alone(model, tokenizer, said("it is 4")), rel=1e-4)
    assert (reason_of(cut, "rm"), reason_of(long, "rm")) == ("no_answer", "too_long") and not cut.scores


def test_on_whole_the_thinking_is_shown_too(llama):
    folder, tokenizer, model = llama
    first, _, cut, _ = scored(folder, on="whole")
    assert first.scores["rm"] == pytest.approx(alone(model, tokenizer, said(THOUGHT)), rel=1e-4)
    assert "rm" in cut.scores


def test_a_model_that_looks_ahead_is_run_row_by_row(tmp_path):
    tokenizer = characters()
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=16, num_labels=1, max_position_embeddings=128)  # fmt: skip
    model = seeded(AutoModelForSequenceClassification.from_config(config), 8).eval()
    folder = saved(tmp_path / "bert", tokenizer, config, model.state_dict(), "BertForSequenceClassification")
    assert open_reward_model(str(folder), None, PromptText(), "here").packed is None
    assert scored(folder)[1].scores["rm"] == pytest.approx(alone(model, tokenizer, said("it is 4")), rel=1e-4)


def test_without_a_chat_template_the_prompt_of_training_comes_before_the_text(tmp_path, llama):
    _, _, model = llama
    tokenizer = characters()
    tokenizer.chat_template = None
    folder = saved(
        tmp_path / "bare", tokenizer, model.config, model.float().state_dict(), "LlamaForSequenceClassification"
    )
    assert scored(folder)[1].scores["rm"] == pytest.approx(
        alone(model, tokenizer, f"{PROBLEM.statement}it is 4"), rel=1e-4
    )
    assert CHAT


def test_another_kind_of_model_is_one_sentence(tmp_path):
    tokenizer = characters()
    config = LlamaConfig(vocab_size=len(tokenizer), num_labels=1, **SIZES)
    folder = saved(tmp_path / "critic", tokenizer, config, {}, "LlamaForTokenClassification")
    with pytest.raises(
        OperatorError,
        match=r"is not a reward model \(it is a LlamaForTokenClassification with 1 labels.* a critic of steps is scored by `process`",
    ):
        scored(folder)
