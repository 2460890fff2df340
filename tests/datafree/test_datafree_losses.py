"""The losses of contrastive model inversion, against numbers worked out by hand and against sums over single rows."""

import math

import pytest
import torch
from torch import nn

from redistill.datafree.bank import MemoryBank
from redistill.datafree.features import BatchNormInputs, image_features, mean_cosine_distance, mean_distance_within
from redistill.datafree.losses import adversarial, bn_statistics, class_prior, contrastive, distillation
from redistill.datafree.views import crop, flip, resized_crop

D = torch.float64


def rows(*values):
    return torch.tensor(values, dtype=D)


def test_the_class_prior_is_minus_the_log_of_the_asked_probability():
    logits = rows([math.log(3), 0.0], [0.0, math.log(4)])  # 3/4 for class 0; 1/5 for class 0
    assert class_prior(logits, torch.tensor([0, 0])).item() == pytest.approx(
        (math.log(4 / 3) + math.log(5)) / 2, rel=1e-12
    )


def test_the_distance_of_statistics_is_a_norm_per_layer_and_not_its_square():
    # one layer of two channels; channel 0 holds 1 and 5 (mean 3, biased variance 4), channel 1 holds 2 and 2 (mean 2, variance 0)
    batch = rows([[[1.0]], [[2.0]]], [[[5.0]], [[2.0]]])
    means, variances = [rows(0.0, -2.0)], [rows(1.0, 4.0)]  # differences (3, 4) and (3, -4): both of length 5
    assert bn_statistics([batch], means, variances).item() == pytest.approx(10.0, rel=1e-12)
    assert bn_statistics([batch], means, variances, distance="squared").item() == pytest.approx(50.0, rel=1e-12)
    assert bn_statistics([batch] * 3, means * 3, variances * 3).item() == pytest.approx(30.0, rel=1e-12)


def test_on_the_very_data_of_the_stored_statistics_the_distance_is_zero():
    torch.manual_seed(0)
    network = (
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))
        .double()
        .eval()
    )
    data = torch.rand(16, 1, 8, 8, dtype=D)
    inputs = BatchNormInputs(network)
    for layer in inputs.layers:  # the statistics of each layer depend on those before it
        network(data)
        seen = dict(zip(inputs.layers, inputs.tensors))[layer]
        layer.running_mean.copy_(seen.mean((0, 2, 3)).detach())
        layer.running_var.copy_(seen.var((0, 2, 3), unbiased=False).detach())
    network(data)
    assert bn_statistics(inputs.tensors, inputs.means, inputs.variances).item() < 1e-12
    network(data + 0.1)
    assert bn_statistics(inputs.tensors, inputs.means, inputs.variances).item() > 1e-2
    inputs.close()
    network(data)
    assert len(inputs.tensors) == 2  # of the pass before: it listens no more


def test_a_layer_that_is_used_twice_counts_twice():
    norm = nn.BatchNorm2d(1)
    network = nn.Sequential(norm, nn.ReLU(), norm).eval()
    inputs = BatchNormInputs(network)
    network(torch.ones(2, 1, 1, 1))
    assert len(inputs.tensors) == len(inputs.means) == 2


def test_the_adversarial_term_is_minus_the_divergence_of_those_that_agree():
    teacher = rows([math.log(3), 0.0], [math.log(3), 0.0])  # 3/4, 1/4
    student = rows([0.1, 0.0], [0.0, 0.1])  # agrees, does not
    q = torch.softmax(student, 1).tolist()
    kl = [0.75 * math.log(0.75 / one[0]) + 0.25 * math.log(0.25 / one[1]) for one in q]
    assert adversarial(teacher, student).item() == pytest.approx(-kl[0] / 2, rel=1e-12)
    assert adversarial(teacher, student, mask="none").item() == pytest.approx(-sum(kl) / 2, rel=1e-12)


def test_where_the_models_disagree_everywhere_there_is_no_adversarial_gradient():
    teacher = rows([2.0, 0.0], [0.0, 1.0]).requires_grad_()
    student = rows([0.0, 1.0], [3.0, 0.0])
    loss = adversarial(teacher, student)
    loss.backward()
    assert loss.item() == 0 and not teacher.grad.any()


def test_distillation_is_the_divergence_at_the_temperature_times_its_square():
    temperature = 4.0
    teacher, student = rows([4 * math.log(3), 0.0]), rows([0.0, 0.0])
    kl = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert distillation(teacher, student, temperature=temperature).item() == pytest.approx(16 * kl, rel=1e-12)
    assert distillation(teacher, teacher, temperature=temperature).item() == pytest.approx(0.0, abs=1e-12)


def info_nce(local, global_, tau):
    """One row at a time, in plain Python."""
    losses = []
    for i, query in enumerate(local.tolist()):
        similar = [sum(a * b for a, b in zip(query, key)) / tau for key in global_.tolist()]
        losses.append(math.log(sum(math.exp(s) for s in similar)) - similar[i])
    return losses


def identity(features):
    return features


def test_with_an_empty_bank_the_contrastive_term_is_info_nce():
    local, global_, none = rows([1.0, 0.0], [0.6, 0.8]), rows([0.0, 1.0], [1.0, 0.0]), torch.zeros(0, 2, dtype=D)
    expected = sum(info_nce(local, global_, 0.5)) / 2
    # by hand: similarities over tau are (0, 2) and (1.6, 1.2)
    by_hand = (math.log(1 + math.exp(2)) + math.log(math.exp(1.6) + math.exp(1.2)) - 1.2) / 2
    assert expected == pytest.approx(by_hand, rel=1e-12)
    for form in ("split", "joint"):
        assert contrastive(local, global_, none, none, head=identity, tau=0.5, rows=form).item() == pytest.approx(
            by_hand, rel=1e-12
        )


def test_cached_rows_are_negatives_and_their_own_mean_is_added_or_joined():
    torch.manual_seed(1)
    local, global_ = torch.randn(2, 3, dtype=D), torch.randn(2, 3, dtype=D)
    old_local, old_global = torch.randn(5, 3, dtype=D), torch.randn(5, 3, dtype=D)
    every = info_nce(torch.cat([local, old_local]), torch.cat([global_, old_global]), 1.0)
    split = contrastive(local, global_, old_local, old_global, head=identity, tau=1.0)
    joint = contrastive(local, global_, old_local, old_global, head=identity, tau=1.0, rows="joint")
    assert split.item() == pytest.approx(sum(every[:2]) / 2 + sum(every[2:]) / 5, rel=1e-12)
    assert joint.item() == pytest.approx(sum(every) / 7, rel=1e-12)


def test_no_gradient_goes_into_the_global_side():
    torch.manual_seed(2)
    local, global_ = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    old = torch.randn(2, 4)
    head = nn.Linear(4, 2)
    contrastive(local, global_, old, old, head=head).backward()
    assert global_.grad is None and local.grad.abs().sum() > 0 and head.weight.grad.abs().sum() > 0


# --- the bank -------------------------------------------------------------------------------------------------------


def test_the_bank_is_a_ring_whose_newest_rows_take_the_place_of_the_oldest():
    bank = MemoryBank(4, features=1)
    assert len(bank) == 0 and bank.sample(3)[0].shape == (0, 1)
    bank.add(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[10.0], [20.0], [30.0]]))
    assert sorted(bank.sample(9)[0].flatten().tolist()) == [1, 2, 3]
    bank.add(torch.tensor([[4.0], [5.0]]), torch.tensor([[40.0], [50.0]]))
    assert bank.local.flatten().tolist() == [5, 2, 3, 4] and bank.next == 1 and len(bank) == 4
    local, global_ = bank.sample(3)
    assert torch.equal(global_, 10 * local) and len(set(local.flatten().tolist())) == 3
    bank.add(torch.arange(6.0)[:, None], torch.arange(6.0)[:, None])  # more than fit: the last four stay
    assert sorted(bank.local.flatten().tolist()) == [2, 3, 4, 5]


def test_the_bank_holds_no_gradients():
    bank = MemoryBank(2, features=1)
    bank.add(torch.ones(1, 1, requires_grad=True) * 2, torch.ones(1, 1, requires_grad=True))
    assert not bank.sample(1)[0].requires_grad


# --- views and features ---------------------------------------------------------------------------------------------


def test_a_crop_is_the_image_shifted_with_zeros_where_it_has_left():
    torch.manual_seed(3)
    image = torch.arange(1.0, 10.0).view(1, 1, 3, 3).repeat(50, 1, 1, 1)
    padded = torch.nn.functional.pad(image[:1], (1, 1, 1, 1))[0, 0]
    windows = {tuple(padded[y : y + 3, x : x + 3].flatten().tolist()) for y in range(3) for x in range(3)}
    assert {tuple(one.flatten().tolist()) for one in crop(image, 1)} == windows  # all nine, and no other
    assert crop(image, 0) is image


def test_a_resized_crop_lies_inside_the_image_and_of_a_plain_image_is_the_image():
    torch.manual_seed(4)
    plain = torch.full((20, 3, 8, 8), 0.7)
    assert torch.allclose(resized_crop(plain, 0.25), plain)
    slope = torch.linspace(0, 1, 16).view(1, 1, 1, 16).expand(200, 1, 16, 16)
    spans = [float(one.max() - one.min()) for one in resized_crop(slope, 0.25)]
    assert 0.35 < min(spans) < max(spans) <= 1  # a side is between sqrt(1/4 * 3/4) = 0.43 of the image's and all of it
    assert torch.allclose(resized_crop(slope, 1.0).mean(), torch.tensor(0.5), atol=0.05)


def test_half_of_the_images_are_mirrored_and_gradients_flow_through_every_view():
    torch.manual_seed(5)
    image = torch.tensor([[[[1.0, 2.0]]]]).repeat(400, 1, 1, 1)
    assert 150 < int((flip(image)[:, 0, 0, 0] == 2).sum()) < 250
    pixels = torch.rand(4, 1, 8, 8, requires_grad=True)
    (crop(pixels, 2).sum() + resized_crop(pixels, 0.25).sum() + flip(pixels).sum()).backward()
    assert pixels.grad.abs().sum() > 0


def test_features_are_means_over_space_and_diversity_is_the_mean_cosine_distance_of_pairs():
    tensors = [torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[4.0]], [[6.0]]]])]
    assert image_features(tensors).tolist() == [[2, 4, 6]]
    features = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    pairs = [0.0, math.sqrt(0.5), math.sqrt(0.5)]
    assert mean_cosine_distance(features) == pytest.approx(1 - sum(pairs) / 3, rel=1e-9)
    assert mean_distance_within(features, torch.tensor([0, 0, 1])) == pytest.approx(1.0)
    assert mean_distance_within(features, torch.tensor([0, 1, 2])) is None
