"""Distillation from whole distributions: the step against plain autograd over the full vocabulary, one unpadded row at a time."""

import functools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from redistill.config.tables import StageSettings, StudentSettings
from redistill.errors import OperatorError
from redistill.model.divergences import TeacherHead, TeacherTopK
from redistill.model.logps import PackedPolicy, PackedStates, prepare_for_packing
from redistill.train.coefficients import all_coefficients, measures_stand_alone, step_loss
from redistill.train.measures import ModelDistribution, StoredDistribution, measures_of
from redistill.train.modifiers import MODIFIERS, entropy, full_kl, in_full, kl
from redistill.train.objectives import OBJECTIVES, Losses, reinforce, sft
from redistill.train.objectives.distillation import distill
from redistill.train.stage import StageJob, train_stage
from redistill.train.step import backward_step

from .conftest import TINY, batch_of, encoded, some_examples, tiny_student
from .rollout_cases import SETTINGS as OWN_SETTINGS
from .rollout_cases import job_of
from .rollout_cases import stage as own_stage

KINDS = ("forward-kl", "reverse-kl", "jsd")
SETTINGS = StageSettings(
    objective="distill", learning_rate=1e-2, batch_size=4, steps=3, tokens_per_micro_batch=200, warmup=0.0
)


def softmax_rows(student, example):
    """(completion tokens, V): the model's own next-token probabilities on one unpadded row, fp64."""
    model, tokenizer = student
    prompt = tokenizer(example.prompt, add_special_tokens=False)["input_ids"]
    answer = [*tokenizer(example.completion, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    logits = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0]
    powers = torch.exp(logits[len(prompt) - 1 : -1])
    return powers / powers.sum(-1, keepdim=True)


def kl_of(p, q):
    return (p * (p / q).log()).sum(-1)


def by_definition(kind, p, q, beta=0.3):
    if kind == "forward-kl":
        return kl_of(p, q)
    if kind == "reverse-kl":
        return kl_of(q, p)
    m = beta * p + (1 - beta) * q
    return beta * kl_of(p, m) + (1 - beta) * kl_of(q, m)


def sharp(settings=TINY, seed=0):
    """A student whose distributions are far from uniform, so that divergences are of the size of nats."""
    model, tokenizer = tiny_student(settings, seed)
    with torch.no_grad():
        model.get_output_embeddings().weight *= 30
    return model, tokenizer


def plain(seed=0):
    model, tokenizer = sharp(seed=seed)
    model = model.double()
    model.set_attn_implementation("eager")
    return model, tokenizer


def states_of(student):
    model, _ = student
    packs = prepare_for_packing(model)
    return PackedStates(model, packs=packs).eval()


def beside(student, objective, modifiers=(), of="teacher"):
    """The student given as a teacher or reference that runs on the same packs."""
    (measure,) = [m for m in measures_of([objective, *modifiers]).values() if m.of == of]
    return {of: ModelDistribution(states_of(student), measure, len(student[0].get_output_embeddings().weight))}


def our_step(objective, rows, others, modifiers=(), budget=120, seed=0):
    model, _ = sharp(seed=seed)
    prepare_for_packing(model)
    policy = PackedPolicy(model)
    figures = backward_step(
        policy,
        objective,
        rows,
        range(len(rows)),
        tokens_per_micro_batch=budget,
        modifiers=[in_full(modifier) for modifier in modifiers],
        others=others,
    )
    return figures, {name: p.grad.clone() for name, p in model.named_parameters()}


def equal(ours, theirs, bound=2e-6):
    return all(float((ours[n].double() - g).norm() / g.norm()) < bound for n, g in theirs.items())


@pytest.mark.parametrize("aggregation", ["token", "sequence"])
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_every_gradient_equal_fp64_over_the_whole_vocabulary_row_by_row(tmp_path, kind, aggregation):
    examples, student, teacher = some_examples(5), plain(), plain(seed=1)
    found = []
    for example in examples:
        with torch.no_grad():
            p = softmax_rows(teacher, example)
        found.append(by_definition(kind, p, softmax_rows(student, example)))
    loss = torch.cat(found).mean() if aggregation == "token" else torch.stack([d.mean() for d in found]).mean()
    loss.backward()
    theirs = {name: p.grad for name, p in student[0].named_parameters()}

    objective = functools.partial(distill, divergence=kind, beta=0.3, aggregation=aggregation)
    rows = encoded(tmp_path, examples, student[1])
    figures, ours = our_step(objective, rows, beside(sharp(seed=1), objective))
    assert figures.loss == pytest.approx(float(loss.detach()), rel=1e-6)
    assert figures.measures["teacher_divergence"] == pytest.approx(float(torch.cat(found).detach().mean()), rel=1e-6)
    assert equal(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("top_k", [None, 4])
def test_a_teacher_that_is_the_student_gives_no_loss_and_no_gradient(tmp_path, kind, top_k):
    objective = functools.partial(distill, divergence=kind, beta=0.3, top_k=top_k)
    rows = encoded(tmp_path, some_examples(4), tiny_student()[1])
    figures, ours = our_step(objective, rows, beside(sharp(), objective))
    assert abs(figures.loss) < 1e-6
    assert max(float(gradient.abs().max()) for gradient in ours.values()) < 1e-6


def test_three_tokens_by_hand():
    """Two rows of one and two tokens with divergences 3, 1 and 2: the mean over tokens is 2, that over rows 2.25."""
    held = batch_of(
        [1, 2],
        ["single"] * 2,
        logps=-torch.ones(3).double(),
        measures={"teacher_divergences": torch.tensor([3.0, 1, 2]).double()},
    )
    assert float(step_loss(distill, [], held)) == 2.0
    by_row = functools.partial(distill, aggregation="sequence")
    assert float(step_loss(by_row, [], held)) == 2.25
    logps, coefficients = all_coefficients(by_row, [], held)
    assert logps.tolist() == [0, 0, 0] and coefficients["teacher_divergences"].tolist() == [0.5, 0.25, 0.25]


def test_top_k_of_the_whole_vocabulary_is_the_full_divergence_and_fewer_is_less_or_equal(tmp_path):
    """By the data processing inequality a divergence over k tokens and one bucket is at most the full one."""
    rows = encoded(tmp_path, some_examples(4), tiny_student()[1])
    found = {}
    for top_k in (None, len(tiny_student()[1]), 4, 1):
        objective = functools.partial(distill, top_k=top_k)
        found[top_k] = our_step(objective, rows, beside(sharp(seed=1), objective))
    (full, full_grads), (whole, whole_grads) = found.pop(None), found.pop(len(tiny_student()[1]))
    assert whole.loss == pytest.approx(full.loss, rel=1e-5) and equal(
        whole_grads, {n: g.double() for n, g in full_grads.items()}, 1e-5
    )
    assert 0 < found[1][0].loss < found[4][0].loss < full.loss


# --- modifiers ----------------------------------------------------------------------------------------------------


def test_an_entropy_bonus_has_the_gradient_of_the_entropy_itself(tmp_path):
    examples, student = some_examples(4), plain()
    losses, lengths, entropies = [], [], []
    for example in examples:
        q = softmax_rows(student, example)
        _, tokenizer = student
        ids = [*tokenizer(example.completion, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        losses.append(-q[range(len(ids)), ids].log().sum())
        lengths.append(len(ids))
        entropies.append(-(q * q.log()).sum(-1))
    loss = sum(losses) / sum(lengths) - 0.3 * torch.cat(entropies).mean()
    loss.backward()
    theirs = {name: p.grad for name, p in student[0].named_parameters()}
    rows = encoded(tmp_path, examples, student[1])
    figures, ours = our_step(sft, rows, {}, [functools.partial(entropy, coefficient=0.3)])
    assert figures.loss == pytest.approx(float(loss.detach()), rel=1e-6)
    assert figures.measures["token_entropy"] == pytest.approx(float(torch.cat(entropies).detach().mean()), rel=1e-6)
    assert equal(ours, theirs)


def test_full_kl_is_the_divergence_that_the_estimators_estimate(tmp_path):
    """Two rows' KL(student || reference), summed over the vocabulary: its mean joins the loss with weight beta."""
    examples, student, reference = some_examples(3), plain(), plain(seed=2)
    found = []
    for example in examples:
        with torch.no_grad():
            p = softmax_rows(reference, example)
        found.append(kl_of(softmax_rows(student, example), p).mean())
    (0.2 * torch.stack(found).mean()).backward()
    theirs = {name: p.grad for name, p in student[0].named_parameters()}
    rows = encoded(tmp_path, examples, student[1])
    rows.values["advantage"] = np.zeros(int(rows.completion_starts()[-1]))
    full = functools.partial(kl, beta=0.2, estimator="full")
    others = beside(sharp(seed=2), reinforce, [in_full(full)], of="reference")
    figures, ours = our_step(reinforce, rows, others, [full])
    assert figures.loss == pytest.approx(0.2 * float(torch.stack(found).detach().mean()), rel=1e-6)
    assert equal(ours, theirs)


def test_only_the_full_estimator_is_another_function():
    assert in_full(functools.partial(kl, estimator="k2")).func is kl and in_full(kl) is kl
    full = in_full(functools.partial(kl, beta=0.5, estimator="full"))
    assert full.func is full_kl and full.keywords == {"beta": 0.5}
    assert "full" in MODIFIERS["kl"].__kwdefaults__ or MODIFIERS["kl"] is kl


def test_a_loss_that_bends_in_a_divergence_is_refused_and_one_weighed_by_log_probs_is_known():
    def squared(teacher_divergences, tokens):
        return Losses(teacher_divergences.sum_by_row(teacher_divergences.values**2, len(tokens)), tokens)

    def by_logps(teacher_divergences, token_logps, tokens):
        weighed = token_logps.values.exp() * teacher_divergences.values
        return Losses(teacher_divergences.sum_by_row(weighed, len(tokens)), tokens)

    with pytest.raises(OperatorError, match="not linear in divergences"):
        measures_stand_alone(squared, ())
    assert not measures_stand_alone(by_logps, ()) and measures_stand_alone(distill, (entropy,))


@pytest.mark.parametrize("objective", [reinforce, functools.partial(distill, divergence="jsd")])
def test_the_split_of_a_step_changes_nothing(tmp_path, objective):
    """A policy gradient with an entropy bonus, and a divergence from a teacher with one."""
    rows = encoded(tmp_path, some_examples(7), tiny_student()[1])
    rows.values["advantage"] = np.linspace(-1, 1, int(rows.completion_starts()[-1]))
    others = beside(sharp(seed=1), objective) if objective is not reinforce else {}
    found = [our_step(objective, rows, others, [entropy], budget) for budget in (4000, 150, 1)]
    for figures, gradients in found[1:]:
        assert figures.loss == pytest.approx(found[0][0].loss, rel=1e-6)
        assert equal(gradients, {name: g.double() for name, g in found[0][1].items()})


# --- memory -------------------------------------------------------------------------------------------------------

WIDE = StudentSettings(
    from_config=TINY.from_config, alphabet="".join(map(chr, range(0x4E00, 0x4E00 + 4000))) + TINY.alphabet
)


class Largest(TorchDispatchMode):
    """The most elements of any tensor that an operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(x, torch.Tensor):
                self.elements = max(self.elements, x.numel())
        return out


def test_a_step_never_holds_tokens_times_vocabulary(tmp_path, monkeypatch):
    monkeypatch.setattr("redistill.model.divergences.chunk_tokens", lambda *_: 16)
    monkeypatch.setattr("redistill.model.logps.chunk_tokens", lambda *_: 16)
    rows = encoded(tmp_path, some_examples(8), tiny_student(WIDE)[1])
    student, others = tiny_student(WIDE), beside(sharp(WIDE, seed=1), distill)
    prepare_for_packing(student[0])
    with Largest() as seen:
        backward_step(PackedPolicy(student[0]), distill, rows, range(8), tokens_per_micro_batch=4000, others=others)
    tokens, vocabulary = int(rows.completion_starts()[-1]), len(student[1])
    assert seen.elements <= 16 * vocabulary < tokens * vocabulary / 10


# --- whole stages -------------------------------------------------------------------------------------------------


def stage(folder, objective=distill, settings=SETTINGS, student=sharp, **more):
    teacher = more.pop("teacher", functools.partial(sharp, seed=1))
    job = StageJob(Path(folder), "distil", settings, objective, "f", seed=0, card="a card")
    return train_stage(job, records=some_examples(12), student=student, teacher=teacher, **more)


def metrics(folder):
    lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")} for line in lines]


def test_a_student_comes_nearer_to_its_teacher(tmp_path):
    stage(tmp_path / "a", settings=SETTINGS.model_copy(update={"steps": 25}))
    losses = [line["teacher_divergence"] for line in metrics(tmp_path / "a")]
    assert losses[-1] < losses[0] / 3


def test_stored_top_k_trains_as_the_teacher_beside_the_student_does_and_is_computed_once(tmp_path):
    full = functools.partial(distill, top_k=len(tiny_student()[1]))
    stage(tmp_path / "beside" / "a")
    stage(tmp_path / "stored" / "a", full)
    folder = tmp_path / "stored" / ".references"
    names = sorted(path.name.split(".", 1)[1] for path in folder.iterdir())
    assert names == ["top-20.ids.npy", "top-20.json", "top-20.logps.npy"]
    for here, there in zip(metrics(tmp_path / "beside" / "a"), metrics(tmp_path / "stored" / "a"), strict=True):
        assert there["loss"] == pytest.approx(here["loss"], rel=1e-4)
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    stage(tmp_path / "stored" / "b", full)  # the same rows and teacher
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    assert metrics(tmp_path / "stored" / "a") == metrics(tmp_path / "stored" / "b")


def test_stored_log_probs_are_the_teachers_likeliest_tokens_at_the_stages_temperature(tmp_path):
    stage(tmp_path / "a", functools.partial(distill, top_k=3, temperature=2.0))
    ids, logps = (np.load(next((tmp_path / ".references").glob(f"*.{part}.npy"))) for part in ("ids", "logps"))
    teacher = plain(seed=1)
    with torch.no_grad():
        p = torch.cat([softmax_rows(teacher, example) for example in some_examples(12)])
    p = p.sqrt() / p.sqrt().sum(-1, keepdim=True)  # temperature 2 is the square root
    best, order = p.topk(3, dim=-1)
    assert np.allclose(logps, best.log().numpy(), atol=1e-5) and (ids == order.numpy()).mean() > 0.99


def test_a_stored_file_that_was_damaged_is_named_and_made_again(tmp_path, capsys):
    few = functools.partial(distill, top_k=3)
    stage(tmp_path / "a", few)
    path = next((tmp_path / ".references").glob("*.logps.npy"))
    sound = path.read_bytes()
    path.write_bytes(sound[:-3] + b"\x00\x00\x01")
    stage(tmp_path / "b", few)
    assert "corrupt" in capsys.readouterr().err and path.read_bytes() == sound


def test_a_stage_on_own_answers_learns_a_teachers_distributions(tmp_path):
    """Generalized knowledge distillation: all answers are rows, also wrong ones and those that nobody could judge."""
    settings = OWN_SETTINGS.model_copy(update={"objective": SETTINGS.objective})
    job = job_of(updates=1, rounds=4)
    objective = functools.partial(distill, divergence="jsd")
    ledger = own_stage(
        tmp_path / "own", objective, job, settings, student=sharp, teacher_of_objective=functools.partial(sharp, seed=1)
    )
    assert ledger["rows"]["kept"] == ledger["rows"]["in"] == 4 * 3 * 4
    divergences = [line["teacher_divergence"] for line in metrics(tmp_path / "own")]
    assert len(divergences) == 4 and divergences[-1] < divergences[0]


def test_a_teacher_with_another_vocabulary_is_one_sentence(tmp_path):
    other = StudentSettings(from_config=TINY.from_config, alphabet="abcdefghijklmnop")
    with pytest.raises(OperatorError, match=r"train\.distil: the teacher has another vocabulary"):
        stage(tmp_path / "a", teacher=lambda: tiny_student(other))
    with pytest.raises(OperatorError, match="distill learns from a teacher; name it by `teacher`"):
        stage(tmp_path / "b", teacher=None)


def test_heads_padded_to_different_sizes_are_compared_on_the_tokens_that_both_have(tmp_path):
    def padded():
        model, tokenizer = sharp(seed=1)
        model.resize_token_embeddings(32, mean_resizing=False)
        return model, tokenizer

    for place, objective in enumerate((distill, functools.partial(distill, top_k=4))):
        stage(tmp_path / f"p{place}" / "a", objective)
        stage(tmp_path / f"q{place}" / "a", objective, teacher=padded)
        for here, there in zip(
            metrics(tmp_path / f"p{place}" / "a"), metrics(tmp_path / f"q{place}" / "a"), strict=True
        ):
            assert there["loss"] == pytest.approx(here["loss"], rel=1e-6)


def test_teachers_say_what_a_pack_asks_in_its_own_order(tmp_path):
    stored = StoredDistribution(np.arange(10)[:, None], np.full((10, 1), math.log(0.5)))
    pack = type("P", (), {"targets": torch.zeros(3)})
    said = stored.at(pack, np.array([7, 0, 3]))
    assert isinstance(said, TeacherTopK) and said.ids[:, 0].tolist() == [7, 0, 3]
    assert OBJECTIVES["distill"] is distill and TeacherHead is not TeacherTopK
