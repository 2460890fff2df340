"""One step of training against an independent computation: fp64, one unpadded row at a time, transformers' own logits."""

import functools

import pytest
import torch

from redistill import models
from redistill.logps import PackedPolicy, prepare_for_packing
from redistill.train.objectives import OBJECTIVES, redi
from redistill.train.rows import read_rows, write_rows
from redistill.train.step import backward_step

from .conftest import TINY, some_examples, some_pairs, tiny_student


def encoded(tmp_path, records, tokenizer):
    write_rows(
        tmp_path,
        records,
        encode_prompts=lambda texts: models.encode_prompts(tokenizer, texts),
        encode_completions=lambda texts: models.encode_completions(tokenizer, texts),
        max_tokens=200,
    )
    return read_rows(tmp_path)[0]


def our_step(student, objective, rows, numbers, budget):
    model, _ = student
    prepare_for_packing(model)
    policy = PackedPolicy(model)
    policy.zero_grad()
    figures = backward_step(policy, objective, rows, numbers, tokens_per_micro_batch=budget)
    return figures, {name: p.grad.clone() for name, p in model.named_parameters()}


def their_logp(model, tokenizer, prompt, completion):
    """log p(completion, end of turn | prompt) and its tokens, from the model's own logits on one unpadded row."""
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer = tokenizer(completion, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    logits = model(input_ids=torch.tensor([ids + answer]), use_cache=False).logits[0]
    logps = torch.log_softmax(logits, -1)
    return sum(logps[len(ids) - 1 + i, token] for i, token in enumerate(answer)), len(answer)


def their_redi(pairs, weight):
    """The loss of Eq. 5 and every gradient, in fp64 with eager attention."""
    model, tokenizer = tiny_student()
    model = model.double()
    model.set_attn_implementation("eager")
    total, chosen, rejected = 0.0, [], []
    for pair in pairs:
        logp_w, tokens_w = their_logp(model, tokenizer, pair.prompt, pair.chosen)
        logp_l, tokens_l = their_logp(model, tokenizer, pair.prompt, pair.rejected)
        total = total + (-logp_w / tokens_w + weight * logp_l / tokens_l) / len(pairs)
        chosen.append(float(logp_w.detach()))
        rejected.append(float(logp_l.detach()))
    total.backward()
    return float(total.detach()), chosen, rejected, {name: p.grad for name, p in model.named_parameters()}


def relative(ours, theirs):
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


@pytest.mark.parametrize("weight", [0.0, 0.8, 1.0])
def test_loss_logps_and_every_gradient_of_redi_equal_fp64_row_by_row(tmp_path, weight):
    pairs = some_pairs(9, longest=120)
    loss, chosen, rejected, gradients = their_redi(pairs, weight)
    student = tiny_student()
    rows = encoded(tmp_path, pairs, student[1])
    figures, ours = our_step(student, functools.partial(redi, rejected_weight=weight), rows, range(9), budget=300)
    assert figures.loss == pytest.approx(loss, rel=1e-6, abs=1e-6)
    assert figures.logps[0::2].tolist() == pytest.approx(chosen, rel=1e-6)
    assert figures.logps[1::2].tolist() == pytest.approx(rejected, rel=1e-6)
    worst = {name: relative(ours[name], gradient) for name, gradient in gradients.items()}
    assert max(worst.values()) < 1e-6, worst


def bins_for(rows, numbers, budget):
    from redistill.train.packing import first_fit_decreasing

    return len(first_fit_decreasing([rows.length(n) for r in numbers for n in rows.sequences_of(r)], budget))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_is_the_same_split_1_2_and_7_ways(tmp_path, name):
    """Micro-batches are a matter of memory: the budgets that cut the step into 1, 2 and 7 packs give one gradient."""
    records = some_examples(12) if name == "sft" else some_pairs(8, seed=4, longest=110)
    numbers = range(len(records))
    rows = encoded(tmp_path, records, tiny_student()[1])
    budgets = {bins_for(rows, numbers, b): b for b in range(2000, 20, -1)}
    found = {ways: our_step(tiny_student(), OBJECTIVES[name], rows, numbers, budgets[ways]) for ways in (1, 2, 7)}
    for ways in (2, 7):
        assert found[ways][0].loss == pytest.approx(found[1][0].loss, rel=1e-6)
        for key, gradient in found[1][1].items():
            assert relative(found[ways][1][key], gradient) < 2e-6, (ways, key)


def test_the_order_of_rows_in_a_step_does_not_matter(tmp_path):
    rows = encoded(tmp_path, some_pairs(8, seed=5), tiny_student()[1])
    _, forward = our_step(tiny_student(), redi, rows, [0, 1, 2, 3, 4, 5], 200)
    _, backward = our_step(tiny_student(), redi, rows, [5, 3, 1, 4, 2, 0], 200)
    assert max(relative(backward[k], forward[k]) for k in forward) < 2e-6


def test_a_rows_logp_does_not_depend_on_what_it_is_packed_with(tmp_path):
    rows = encoded(tmp_path, some_pairs(6, seed=6), tiny_student()[1])
    together, _ = our_step(tiny_student(), redi, rows, range(6), 4000)
    for row in range(6):
        alone, _ = our_step(tiny_student(), redi, rows, [row], 4000)
        assert alone.logps.tolist() == pytest.approx(together.logps[2 * row : 2 * row + 2].tolist(), rel=1e-6)


def test_the_weight_of_a_pair_multiplies_its_loss(tmp_path):
    import dataclasses

    pairs = some_pairs(3, seed=7)
    weighted = [dataclasses.replace(p, weight=w) for p, w in zip(pairs, (1.0, 0.0, 3.0))]
    rows = encoded(tmp_path / "w", weighted, tiny_student()[1])
    figures, _ = our_step(tiny_student(), redi, rows, range(3), 4000)
    means = figures.logps / figures.tokens
    losses = -means[0::2] + 0.8 * means[1::2]
    assert figures.loss == pytest.approx(float((losses[0] + 3 * losses[2]) / 4), rel=1e-9)


def test_tied_embeddings_get_the_gradient_of_both_their_uses(tmp_path):
    settings = TINY.model_copy(update={"from_config": {**TINY.from_config, "tie_word_embeddings": True}})
    pairs = some_pairs(4, seed=8)
    rows = encoded(tmp_path, pairs, tiny_student()[1])
    _, ours = our_step(tiny_student(settings), redi, rows, range(4), 100)
    model, tokenizer = tiny_student(settings)
    model = model.double()
    total = 0.0
    for pair in pairs:
        (up, up_tokens), (down, down_tokens) = (
            their_logp(model, tokenizer, pair.prompt, side) for side in (pair.chosen, pair.rejected)
        )
        total = total + (-up / up_tokens + 0.8 * down / down_tokens) / len(pairs)
    total.backward()
    assert relative(ours["model.embed_tokens.weight"], model.get_input_embeddings().weight.grad) < 1e-6
