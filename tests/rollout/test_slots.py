"""Slots: what a row says does not depend on who shares the batch, and rows that have ended cost nothing."""

import pytest
import torch

from redistill.config.tables import StudentSettings
from redistill.model import loading
from redistill.rollout import Request, Sampling, slots
from redistill.rollout.transformers_engine import transformers_engine

LLAMA = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
END, PAD = 2, 0


def student(**config):
    settings = StudentSettings(from_config={**LLAMA, **config}, alphabet="0123456789+-*=;#")
    tokenizer = loading.load_tokenizer(settings)
    model = loading.load_model(settings, tokenizer, seed=1)
    with torch.no_grad():  # sharpened, so that rounding cannot change a choice
        model.lm_head.weight.mul_(12.0)
    return model.eval(), tokenizer


@pytest.fixture(scope="module")
def llama():
    return student()


PROMPTS = [[5, 6, 7], [8], [5, 6, 7], [9, 10, 11, 12, 13, 14, 15], [4, 5], [8], [7, 7, 7, 7], [19, 3], [6, 5, 4, 3, 4]]
LIMITS = [1, 9, 30, 4, 17, 2, 25, 6, 12]


def greedy(scores, places, steps):
    return scores.argmax(-1)


def all_rows(model, count=None, order=None, end=END, prompts=PROMPTS, limits=LIMITS):
    found = {}
    order = order or list(range(len(prompts)))
    slots.rows(
        model, [prompts[i] for i in order], [limits[i] for i in order], slots=count or 3, end=end, pad=PAD, choose=greedy,
        done=lambda place, tokens: found.__setitem__(order[place], list(tokens)),
    )  # fmt: skip
    return [found[i] for i in range(len(prompts))]


@torch.inference_mode()
def alone(model, end=END):
    """Each prompt by itself through the model's own greedy search."""
    rows = []
    for ids, limit in zip(PROMPTS, LIMITS):
        out = model.generate(
            torch.tensor([ids]), max_new_tokens=limit, do_sample=False, eos_token_id=end, pad_token_id=PAD
        )
        rows.append(out[0, len(ids) :].tolist())
    return rows


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 100])
def test_every_number_of_slots_says_what_each_prompt_says_alone(llama, count):
    assert all_rows(llama[0], count) == alone(llama[0])
    assert all_rows(llama[0], count, order=[8, 3, 1, 0, 7, 5, 2, 6, 4]) == alone(llama[0])


def test_rows_that_end_by_themselves_leave_and_others_go_on(llama):
    # take for the end a token that the student says often but not always: rows then end at many different times
    said = [token for row in alone(llama[0], end=-1) for token in row]
    end = max(set(said), key=said.count)
    expected = alone(llama[0], end=end)
    ended = [row[-1] == end for row in expected]
    assert any(ended) and not all(ended)
    assert all_rows(llama[0], 3, end=end) == expected


def test_rows_that_have_ended_are_not_computed(llama):
    model = llama[0]
    seen = []
    handle = model.lm_head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[0]))
    limits = [2] * 24 + [40]
    prompts = [[5 + i % 9] for i in range(25)]
    all_rows(model, 8, end=-1, prompts=prompts, limits=limits)
    handle.remove()
    # 24 * 2 + 40 = 88 tokens; batches of eight by `generate` would compute 3 * 8 * 2 + 40 rows at best, 8 * 40 + 2 * 16 + 2 at worst.
    # Here a row is computed once a token, and rows that have ended are at most an eighth of those computed.
    assert sum(seen) <= 88 * 9 / 8


def test_models_whose_rows_cannot_leave_are_served_by_generate():
    model, tokenizer = student(model_type="mistral", sliding_window=4)
    assert slots.fits(student()[0]) and not slots.fits(model)
    asked = [Request("1+2=;3*4-5"[: 1 + i], seed=i) for i in range(5)]
    warm = Sampling(n=1, temperature=1.0, top_p=0.95, max_new_tokens=8)
    together = transformers_engine(lambda: (model, tokenizer), asked, warm, batch_size=4)
    assert together == [transformers_engine(lambda: (model, tokenizer), [r], warm)[0] for r in asked]


def test_slots_and_generate_draw_the_same(llama, monkeypatch):
    asked = [Request("1+2=;3*4-5"[: 1 + i % 7], seed=i) for i in range(12)]
    warm = Sampling(n=1, temperature=0.8, top_p=0.9, max_new_tokens=20)
    by_slots = transformers_engine(lambda: llama, asked, warm, batch_size=5)
    monkeypatch.setattr(slots, "fits", lambda model: False)
    assert transformers_engine(lambda: llama, asked, warm, batch_size=5) == by_slots
    assert len({s.text for s in by_slots}) > 6
