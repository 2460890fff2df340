"""The trainer by itself: steps on what its supply gives, state that comes back to the bit, samples that leave no trace."""

import functools

import pytest
import torch
from accelerate import Accelerator

from redistill.config.tables import StageSettings
from redistill.model.logps import PackedPolicy, prepare_for_packing
from redistill.train.objectives import redi
from redistill.train.optimizers import make_optimizer
from redistill.train.packing import rows_of_step
from redistill.train.step import backward_step
from redistill.train.supply import FileSupply, StepRows
from redistill.train.trainer import Trainer

from .conftest import encoded, some_pairs, tiny_student

SETTINGS = StageSettings(objective="redi", learning_rate=1e-3, batch_size=4, tokens_per_micro_batch=200, warmup=0.0)


@functools.cache
def rows_in(folder):
    return encoded(folder, some_pairs(12), tiny_student()[1])


def make_trainer(folder, supply=None, total=6):
    model, tokenizer = tiny_student()
    prepare_for_packing(model)
    accelerator = Accelerator(cpu=True)
    policy, optimizer = accelerator.prepare(PackedPolicy(model), make_optimizer(model, SETTINGS))
    supply = supply or FileSupply(rows_in(folder), range(12), SETTINGS.batch_size, seed=0, total=total)
    return Trainer(accelerator, policy, optimizer, tokenizer, redi, SETTINGS, supply)


def state(trainer):
    return {name: p.detach().clone() for name, p in trainer.policy.model.named_parameters()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_order_of_a_file_supply_is_a_function_of_seed_and_step_among_the_rows_trained_on(tmp_path):
    rows = rows_in(tmp_path)
    supply = FileSupply(rows, [1, 4, 7, 9], batch_size=2, seed=3)
    for step in (5, 0, 5):
        places = rows_of_step(seed=3, step=step, batch_size=2, num_rows=4)
        assert supply.at(step).numbers == [[1, 4, 7, 9][place] for place in places]
    epochs = [sorted(supply.at(2 * e).numbers + supply.at(2 * e + 1).numbers) for e in range(3)]
    assert epochs == [[1, 4, 7, 9]] * 3
    assert supply.at(0).ids == [rows.ids[n] for n in supply.at(0).numbers]


def test_a_trainer_steps_on_the_rows_that_its_supply_gives(tmp_path):
    """Any supply will do; the gradient is that of backward_step, and the first AdamW step moves each weight by the rate."""
    rows, asked = rows_in(tmp_path), []

    class Given:
        total = 2

        def at(self, step, trainer):
            asked.append(step)
            return StepRows(rows, [[3, 8], [5]][step])

    trainer = make_trainer(tmp_path, Given())
    before = state(trainer)
    result = trainer.step(1e-3)
    assert (result.step, result.finite, result.learning_rate, trainer.steps_done) == (1, True, 1e-3, 1)
    model, _ = tiny_student()
    prepare_for_packing(model)
    expected = backward_step(PackedPolicy(model), redi, rows, [3, 8], tokens_per_micro_batch=200)
    assert result.figures.loss == expected.loss
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert result.grad_norm == pytest.approx(float(norm), rel=1e-6)
    moved = max(float((p - before[n]).abs().max()) for n, p in state(trainer).items())
    assert moved == pytest.approx(1e-3, rel=1e-3)
    assert trainer.step(1e-3).learning_rate == 5e-4 and asked == [0, 1]  # half of the decay is over
    assert all(p.grad is None for p in trainer.policy.parameters())


def test_a_trainer_that_is_loaded_goes_on_as_if_it_had_never_stopped(tmp_path):
    trainer = make_trainer(tmp_path)
    for _ in range(3):
        trainer.step(1e-3)
    trainer.save(tmp_path / "checkpoints")
    saved = state(trainer)
    losses = [trainer.step(1e-3).figures.loss for _ in range(3)]
    ended = state(trainer)
    trainer.load(tmp_path / "checkpoints", 3)
    assert trainer.steps_done == 3 and same(state(trainer), saved) and not same(saved, ended)
    other = make_trainer(tmp_path)
    other.load(tmp_path / "checkpoints", 3)
    for resumed in (trainer, other):
        assert [resumed.step(1e-3).figures.loss for _ in range(3)] == losses
        assert same(state(resumed), ended)


def test_a_sample_sees_the_student_as_it_is_now_and_leaves_no_trace(tmp_path):
    plain, sampled = make_trainer(tmp_path), make_trainer(tmp_path)
    seen = []

    def probe(model, tokenizer):
        assert not model.training and model.config._attn_implementation == "sdpa"
        ids = torch.tensor([tokenizer("1+2=")["input_ids"]])
        seen.append(float(model(input_ids=ids).logits.sum()))
        return {"drawn": float(torch.rand(3).sum())}  # moves the random state

    for _ in range(3):
        torch.manual_seed(7)
        before = torch.get_rng_state()
        assert sampled.sample(probe).keys() == {"drawn"}
        assert torch.equal(torch.get_rng_state(), before)
        plain.step(1e-3)
        sampled.step(1e-3)
    assert len(set(seen)) == 3  # another student each time
    assert same(state(plain), state(sampled))
