"""One batch of images: what is fresh, what stays, which iterate is kept; and the order of an arm's units."""

from pathlib import Path

import pytest
import torch

import redistill.datafree.synthesis as synthesis
from redistill.datafree.arm import ArmRun, num_batches, units_of
from redistill.datafree.networks import Normalised, cnn
from redistill.datafree.settings import load
from redistill.errors import OperatorError

BASE = {
    "name": "tiny",
    "images": {"size": 8, "channels": 1, "classes": 3},
    "teacher": {"network": {"name": "folder", "path": "nowhere"}},
    "student": {"network": {"name": "cnn", "width": 2}},
    "synthesis": {"batches": 2, "batch_size": 6, "steps": 4, "latent": 5, "width": 4, "head_width": 3, "cached": 4, "views": {"pad": 1}},
    "distill": {"epochs": 2, "batch_size": 4},
}  # fmt: skip


def arm_run(tmp_path: Path, **changes) -> ArmRun:
    recipe = load({**BASE, **changes})
    torch.manual_seed(0)
    teacher = Normalised(cnn(recipe.images, width=3), recipe.images).eval().requires_grad_(False)
    return ArmRun(recipe, recipe.arm("cmi"), tmp_path / "arm", teacher, None)


@pytest.fixture
def seen(monkeypatch):
    """The generators that are made, with their first weights, and every step's latent vectors and total loss."""
    found = {"weights": [], "z": [], "total": [], "made": []}

    class Spy(synthesis.Generator):
        def __init__(self, **options):
            super().__init__(**options)
            found["weights"].append(self.first.weight.detach().clone())

        def forward(self, z):
            found["z"].append(z)
            made = super().forward(z)
            found["made"].append(made.detach().clone())
            return made

    real = synthesis._one_step

    def one_step(*arguments):
        iterate = real(*arguments)
        found["total"].append(iterate.total.item())
        return iterate

    monkeypatch.setattr(synthesis, "Generator", Spy)
    monkeypatch.setattr(synthesis, "_one_step", one_step)
    return found


def test_generator_and_latent_vectors_are_fresh_for_every_batch_head_and_bank_stay(tmp_path, seen):
    run = arm_run(tmp_path)
    head = [p.detach().clone() for p in run.head.parameters()]
    run._invert(0)
    after_one = [p.detach().clone() for p in run.head.parameters()]
    assert len(run.bank) == 6 and run.head_optimizer.state_dict()["state"][0]["step"] == 4
    run._invert(1)
    first, second = seen["weights"]
    assert not torch.equal(first, second) and seen["z"][0] is not seen["z"][4]
    assert seen["z"][0] is seen["z"][3]  # one set of latent vectors, trained through the batch's steps
    assert any(not torch.equal(a, b) for a, b in zip(head, after_one))
    assert run.head_optimizer.state_dict()["state"][0]["step"] == 8 and len(run.bank) == 12
    assert abs(first.std().item() - 0.02) < 0.004


def test_the_iterate_with_the_lowest_total_loss_is_kept(tmp_path, seen, monkeypatch):
    run = arm_run(tmp_path)
    real, losses = synthesis._one_step, iter([5.0, 1.0, 3.0, 1.0])

    def planted(*arguments):
        iterate = real(*arguments)
        return synthesis._Iterate(iterate.total * 0 + next(losses), iterate.terms, iterate.local, iterate.global_)

    monkeypatch.setattr(synthesis, "_one_step", planted)
    run._invert(0)
    assert run.history[-1]["best_step"] == 1 and run.history[-1]["total"] == 1.0
    assert torch.equal(run.pool[0], (seen["made"][1] * 255).round().to(torch.uint8))


def test_the_teacher_is_not_changed_and_the_total_is_the_weighted_sum(tmp_path):
    run = arm_run(tmp_path, synthesis={**BASE["synthesis"], "bn": 2.0, "oh": 3.0, "cr": 0.25, "adv": 7.0})
    before = {name: value.clone() for name, value in run.teacher.state_dict().items()}
    run._invert(0)
    line = run.history[-1]
    assert "adv" not in line  # nobody to oppose yet
    assert line["total"] == pytest.approx(2 * line["bn"] + 3 * line["oh"] + 0.25 * line["cr"], rel=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in run.teacher.state_dict().items())
    run.arm = run.arm.model_copy(update={"mode": "adversarial"})
    run._invert(2)
    line = run.history[-1]
    assert line["total"] == pytest.approx(
        2 * line["bn"] + 3 * line["oh"] + 0.25 * line["cr"] + 7 * line["adv"], rel=1e-5
    )


def test_the_three_modes_are_three_orders_of_the_same_units():
    def order(mode, batches, **synthesis_):
        recipe = load(
            {
                **BASE,
                "mode": mode,
                "synthesis": {**BASE["synthesis"], "batches": batches, **synthesis_},
                "distill": {"epochs": 3},
            }
        )
        return " ".join(f"{kind[0]}{number}" for kind, number in units_of(recipe.arm("cmi")))

    assert order("non-adversarial", 2) == "i0 i1 d0 d1 d2"
    assert order("adversarial", 2) == "i0 i1 i2 d0 i3 d1 i4 d2"
    assert order("adversarial", 2, invert_every=2) == "i0 i1 i2 d0 d1 i3 d2"
    assert order("from-scratch", 0) == "i0 d0 i1 d1 i2 d2"


def test_an_arm_of_noise_has_as_many_images_as_one_that_is_inverted(tmp_path):
    run = arm_run(tmp_path, arms={"cmi": {"images": "noise", "mode": "adversarial"}})
    run._take_images()
    assert len(run.pool[0]) == (2 + 2) * 6 and num_batches(run.arm) == 0
    assert set(run.labels[0].tolist()) == {-1}


def test_a_teacher_without_batch_normalisation_is_one_sentence(tmp_path):
    recipe = load(BASE)
    teacher = Normalised(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), recipe.images).requires_grad_(
        False
    )
    with pytest.raises(OperatorError, match=r"no batch-normalisation layer.*bn: 0, cr: 0"):
        ArmRun(recipe, recipe.arm("cmi"), tmp_path / "arm", teacher, None)
    recipe = load({**BASE, "synthesis": {**BASE["synthesis"], "bn": 0, "cr": 0}})
    run = ArmRun(recipe, recipe.arm("cmi"), tmp_path / "arm", teacher, None)
    run._invert(0)
    assert set(run.history[0]) == {"unit", "number", "best_step", "total", "oh"}
