"""A wrong attempt is context and no target: its label changes nothing in the loss, its text does."""

import functools

import torch

from redistill.config.tables import StudentSettings
from redistill.model.logps import PackedPolicy, prepare_for_packing
from redistill.records import Example
from redistill.select.self_correction import row_spans
from redistill.text.segments import CUES, segments, write
from redistill.train.coefficients import step_loss, token_coefficients
from redistill.train.modifiers import span_weights
from redistill.train.objectives import sft
from redistill.train.step import backward_step, token_batch

from .conftest import TINY, encoded, tiny_student

COMPACT = CUES["compact"]
STUDENT = StudentSettings(from_config=TINY.from_config, alphabet=TINY.alphabet + "?!YN\n")
MASK = functools.partial(span_weights, renormalise=True)


def row(wrong="1+1=3;####3"):
    text = write([wrong, "1+1=2;####2"], ["1+1=2;N", "1+1=2;Y"], COMPACT)
    return Example("p", "t", "1+1=", text, spans=row_spans(segments(text, cues=COMPACT), len(text), 2))


def rows_of(tmp_path, example, tokenizer):
    return encoded(tmp_path, [example], tokenizer, spans="weight")


def loss_of(tmp_path, example):
    model, tokenizer = tiny_student(STUDENT)
    prepare_for_packing(model)
    policy = PackedPolicy(model)
    rows = rows_of(tmp_path, example, tokenizer)
    figures = backward_step(policy, sft, rows, [0], tokens_per_micro_batch=512, modifiers=[MASK])
    return figures.loss, {name: p.grad.clone() for name, p in model.named_parameters()}, rows


def test_the_label_of_a_wrong_attempt_changes_nothing_and_all_other_labels_do(tmp_path):
    _, tokenizer = tiny_student(STUDENT)
    example = row()
    rows = rows_of(tmp_path / "a", example, tokenizer)
    batch = token_batch(rows, [0], {"weight"}).with_logps(-torch.rand(rows.completion_tokens(0)).double())
    wrong = int(example.spans[0].end)  # one token a character
    coefficients = token_coefficients(sft, [MASK], batch)
    assert coefficients[:wrong].eq(0).all()
    # the rest is the mean over what is learned: 7+2 characters of each check, 11+2 of the last attempt, and the end
    assert torch.allclose(coefficients[wrong:], torch.full((9 + 13 + 9 + 1,), 1 / 32).double(), rtol=0, atol=1e-12)
    before = float(step_loss(sft, [MASK], batch))
    for place in range(len(batch.ids)):  # another label at one place: another log-prob there
        logps = batch.logps.clone()
        logps[place] -= 1
        after = float(step_loss(sft, [MASK], batch.with_logps(logps)))
        assert after == before if place < wrong else after > before


def test_the_text_of_a_wrong_attempt_is_context(tmp_path):
    loss, gradients, _ = loss_of(tmp_path / "a", row())
    other, others, _ = loss_of(tmp_path / "b", row("1+1=9;####9"))
    assert abs(loss - other) > 1e-6
    assert any(not torch.allclose(gradients[name], others[name]) for name in gradients)


def test_the_loss_is_what_transformers_logits_say(tmp_path):
    """fp64, one row, targets by hand: the mean of -log p over verifications, the last attempt and the end of turn."""
    example = row()
    ours, _, rows = loss_of(tmp_path / "a", example)
    model, _ = tiny_student(STUDENT)
    model = model.double()
    ids, prompt = rows.sequence(0)
    logps = torch.log_softmax(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0], -1)
    learned = [place for place in range(prompt, len(ids)) if place - prompt >= example.spans[0].end]
    theirs = -sum(float(logps[place - 1, ids[place]].detach()) for place in learned) / len(learned)
    assert abs(ours - theirs) < 1e-6
