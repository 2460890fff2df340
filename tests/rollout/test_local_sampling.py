"""Sampling leaves the student as it was, and knows the tokens that it drew and how likely the model found them."""

import copy
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from redistill.config.tables import StudentSettings
from redistill.model import loading
from redistill.records import make_problem
from redistill.rollout import Request, Sampling, Student, slots, traces_of
from redistill.rollout.transformers_engine import transformers_engine

LLAMA = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
WARM = Sampling(n=1, temperature=0.7, top_p=0.9, max_new_tokens=12, logprobs=True)
GREEDY = replace(WARM, temperature=0.0, top_p=1.0)
REQUESTS = [Request("1+2=;3*4-5"[: 1 + i % 7], seed=i) for i in range(12)]


def student(**config):
    settings = StudentSettings(from_config={**LLAMA, **config}, alphabet="0123456789+-*=;#")
    tokenizer = loading.load_tokenizer(settings)
    model = loading.load_model(settings, tokenizer, seed=1)
    tokenizer.eos_token = "4"  # which it says often: some rows end, at different times, and some do not
    with torch.no_grad():  # sharpened, so that rounding cannot change a draw
        model.lm_head.weight.mul_(6.0)
    return model, tokenizer


def ask(model, tokenizer, sampling=WARM, **options):
    return transformers_engine(lambda: (model, tokenizer), REQUESTS, sampling, batch_size=5, **options)


def state(model):
    """All that sampling could change of a model, and the random states."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    weights = {
        name: (t.dtype, t.device, t.requires_grad, t.data_ptr(), t.detach().numpy().tobytes())
        for name, t in tensors.items()
    }
    modes = {name: module.training for name, module in model.named_modules()}
    numpy = np.random.get_state()
    return weights, modes, torch.get_rng_state().tolist(), random.getstate(), numpy[1].tolist(), numpy[2]


@pytest.fixture(params=["slots", "generate"])
def way(request, monkeypatch):
    """Both ways of sampling."""
    if request.param == "generate":
        monkeypatch.setattr(slots, "fits", lambda model: False)


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
def test_a_borrowed_model_is_given_back_to_the_last_bit_and_says_the_same_again(way, dtype):
    model, tokenizer = student()
    model.train()
    model.model.layers[0].eval()
    model.model.norm.weight.requires_grad_(False)
    seen = []
    model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append((output.dtype, module.training)))
    before = state(model)
    first = ask(model, tokenizer, dtype=dtype)
    assert state(model) == before
    assert set(seen) == {(torch.bfloat16 if dtype == "bfloat16" else torch.float32, False)}
    assert ask(model, tokenizer, dtype=dtype) == first


def test_a_borrowed_model_is_given_back_after_an_error_too():
    model, tokenizer = student()
    model.train()
    before = state(model)

    def full_disk(place, sample):
        raise OSError

    with pytest.raises(OSError):
        ask(model, tokenizer, dtype="bfloat16", _finished=full_disk)
    assert state(model) == before and not torch.is_autocast_enabled("cpu")


def test_training_inside_the_same_autocast_still_finds_its_gradients():
    """Autocast keeps the copies of the weights that it casts; torch must not hand those of sampling, which have no gradient,
    to training."""
    model, tokenizer = student()
    with torch.autocast("cpu", torch.bfloat16):
        ask(model, tokenizer, dtype="bfloat16")
        model(input_ids=torch.tensor([[5, 6, 7]])).logits.float().logsumexp(-1).sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())


def test_an_owned_model_is_cast_in_place_to_what_loading_it_in_bf16_gives(tmp_path):
    model, tokenizer = student(tie_word_embeddings=True)
    loading.save_model(model, tokenizer, tmp_path / "model", card="")
    owner = Student(lambda: (model, tokenizer), owned=True)
    owned = transformers_engine(owner, REQUESTS, WARM, dtype="bfloat16")
    there = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.bfloat16)
    for mine, other in (
        (model.state_dict(), there.state_dict()),
        (dict(model.named_buffers()), dict(there.named_buffers())),
    ):
        assert mine.keys() == other.keys() and len(mine) > 0
        assert all(mine[k].dtype == other[k].dtype and torch.equal(mine[k], other[k]) for k in mine)
    assert model.lm_head.weight is model.model.embed_tokens.weight and not model.training
    assert transformers_engine(owner, REQUESTS, WARM, dtype="bfloat16") == owned
    assert (
        transformers_engine(Student(lambda: (there, tokenizer), owned=True), REQUESTS, WARM, dtype="bfloat16") == owned
    )


def test_a_student_is_borrowed_unless_it_says_otherwise():
    model, tokenizer = student()
    before = state(model)
    transformers_engine(Student(lambda: (model, tokenizer)), REQUESTS, WARM, dtype="bfloat16")
    after = state(model)
    assert after == before


@torch.no_grad()
def by_itself(model, tokenizer, request, sample):
    """The log-probabilities of a sample's tokens: one forward pass of this row alone in fp64, without padding or cache."""
    wide = copy.deepcopy(model).double()
    (prompt,) = loading.encode_prompts(tokenizer, [request.prompt])
    logits = wide(input_ids=torch.tensor([[*prompt, *sample.token_ids]])).logits[0]
    rows = torch.log_softmax(logits[len(prompt) - 1 : -1], -1)
    return [float(row[token]) for row, token in zip(rows, sample.token_ids)]


@pytest.mark.parametrize("sampling", [WARM, GREEDY], ids=["warm", "greedy"])
def test_log_probabilities_are_those_of_the_model_at_temperature_one_whatever_the_draw_used(way, sampling):
    model, tokenizer = student()
    said = ask(model, tokenizer, sampling)
    assert {sample.finish_reason for sample in said} == {"stop", "length"}
    for request, sample in zip(REQUESTS, said):
        assert len(sample.logprobs) == len(sample.token_ids) == sample.num_tokens
        np.testing.assert_allclose(sample.logprobs, by_itself(model, tokenizer, request, sample), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sampling", [WARM, GREEDY], ids=["warm", "greedy"])
def test_asking_for_log_probabilities_changes_no_draw(way, sampling):
    model, tokenizer = student()
    asked, plain = ask(model, tokenizer, sampling), ask(model, tokenizer, replace(sampling, logprobs=False))
    assert [replace(sample, logprobs=()) for sample in asked] == plain and any(plain)


def test_token_ids_hold_the_end_of_turn_and_decode_to_the_text(way):
    model, tokenizer = student()
    for sample in ask(model, tokenizer):
        stopped = sample.finish_reason == "stop"
        assert (sample.token_ids[-1] == tokenizer.eos_token_id) is stopped
        assert tokenizer.eos_token_id not in sample.token_ids[:-1]
        spoken = sample.token_ids[: len(sample.token_ids) - stopped]
        assert tokenizer.decode(spoken, skip_special_tokens=True) == sample.text


def test_the_ids_are_those_that_were_drawn_where_the_text_would_be_encoded_otherwise():
    """The tokenizer merges a and b, the model says them apart."""
    vocabulary = {"<pad>": 0, "<bos>": 1, "<eos>": 2, "a": 3, "b": 4, "ab": 5}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b")]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")
    options = {key: value for key, value in LLAMA.items() if key != "model_type"}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", vocab_size=6, **options))

    class AThenB(torch.nn.Module):
        """Says b after a, and a after anything else: the embedding of the last token is what it hears."""

        def forward(self, hidden):
            scores = torch.full((*hidden.shape[:-1], 6), -30.0)
            after_a = hidden.argmax(-1) == 3
            scores[..., 4] = torch.where(after_a, 0.0, -30.0)
            scores[..., 3] = torch.where(after_a, -30.0, 0.0)
            return scores

    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(100 * torch.eye(6, 32))
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    model.lm_head = AThenB()
    (said,) = transformers_engine(lambda: (model, tokenizer), [Request("b", 0)], replace(GREEDY, max_new_tokens=4))
    assert said.text == tokenizer.decode([3, 4, 3, 4]) and said.token_ids == (3, 4, 3, 4)
    (again,) = tokenizer([said.text.replace(" ", "")], add_special_tokens=False)["input_ids"]
    assert again == [5, 5]


def test_what_a_prompt_without_room_gets_has_no_tokens():
    model, tokenizer = student()
    (said,) = transformers_engine(lambda: (model, tokenizer), [Request("1" * 64, 1)], WARM)
    assert (said.text, said.token_ids, said.logprobs, said.finish_reason) == ("", (), (), "length")


def test_a_trace_does_not_change_with_what_is_known_of_its_tokens():
    model, tokenizer = student()
    problem = make_problem("1+2=", answer="3")
    asked, plain = ask(model, tokenizer), ask(model, tokenizer, replace(WARM, logprobs=False))
    bare = [replace(sample, token_ids=()) for sample in plain]
    traces = [traces_of(problem, samples, REQUESTS, WARM, author="me") for samples in (asked, plain, bare)]
    assert traces[0] == traces[1] == traces[2]
