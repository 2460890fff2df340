"""Divergences between student and teacher over the vocabulary: exact, in chunks, never holding tokens x vocabulary."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from redistill.errors import OperatorError
from redistill.model.divergences import TeacherHead, TeacherTopK, token_divergence, token_entropy

T, D, V, K = 11, 5, 13, 4
NAMES = ("forward-kl", "reverse-kl", "jsd")


def randn(*shape, seed, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def student(dtype=torch.float64):
    return [x.requires_grad_(True) for x in (randn(T, D, seed=1, dtype=dtype), randn(V, D, seed=2, dtype=dtype))]


def full_teacher(dtype=torch.float64):  # another hidden size than the student's
    return TeacherHead(
        randn(T, 7, seed=3, dtype=dtype), randn(V, 7, seed=4, dtype=dtype), randn(V, seed=5, dtype=dtype)
    )


def softmax(logits):
    powers = torch.exp(logits - logits.detach().max())
    return powers / powers.sum()


def top_k(k, tail, temperature=1.0):
    teacher = full_teacher()
    rows = [softmax((teacher.weight @ h + teacher.bias) / temperature) for h in teacher.hidden]
    probs, ids = torch.stack(rows).topk(k, dim=-1)
    return TeacherTopK(ids, probs.log(), tail)


def by_hand(name, p, q, beta):
    if name == "forward-kl":
        return sum(a * torch.log(a / b) for a, b in zip(p, q, strict=True))
    if name == "reverse-kl":
        return sum(b * torch.log(b / a) for a, b in zip(p, q, strict=True))
    if name == "entropy":
        return -sum(b * torch.log(b) for b in q)
    m = beta * p + (1 - beta) * q
    return beta * by_hand("forward-kl", p, m, beta) + (1 - beta) * by_hand("forward-kl", q, m, beta)


def truth(name, hidden, weight, bias, teacher, temperature, beta, upstream):
    """One token at a time, ordinary autograd in fp64: the values, and the gradients of sum_t upstream_t * value_t."""
    leaves = [x.detach().double().requires_grad_(True) for x in (hidden, weight, bias)]
    values = []
    for i in range(len(hidden)):
        q = softmax((leaves[1] @ leaves[0][i] + leaves[2]) / temperature)
        p = None
        if isinstance(teacher, TeacherHead):
            p = softmax((teacher.weight.double() @ teacher.hidden[i].double() + teacher.bias.double()) / temperature)
        elif isinstance(teacher, TeacherTopK):
            p, q = teacher.logps[i].exp(), q[teacher.ids[i]]
            if teacher.tail == "bucket":
                p, q = torch.cat([p, 1 - p.sum(0, keepdim=True)]), torch.cat([q, 1 - q.sum(0, keepdim=True)])
            else:
                p, q = p / p.sum(), q / q.sum()
        values.append(by_hand(name, p, q, beta))
    values = torch.stack(values)
    (upstream * values).sum().backward()
    return values.detach(), [x.grad for x in leaves]


def call(name, hidden, weight, teacher, **options):
    if name == "entropy":
        options.pop("beta", None)
        return token_entropy(hidden, weight, **options)
    return token_divergence(hidden, weight, teacher, divergence=name, **options)


CASES = [(name, kind) for name in NAMES for kind in ("full", "bucket", "renormalise")] + [("entropy", None)]


@pytest.mark.parametrize("temperature", [1.0, 1.7])
@pytest.mark.parametrize("name,kind", CASES)
def test_values_and_gradients_equal_softmaxes_one_token_at_a_time(name, kind, temperature):
    hidden, weight = student()
    bias, upstream = randn(V, seed=6).requires_grad_(True), randn(T, seed=7)
    teacher = None if kind is None else full_teacher() if kind == "full" else top_k(K, kind, temperature)
    values, grads = truth(name, hidden, weight, bias, teacher, temperature, 0.3, upstream)
    found = call(name, hidden, weight, teacher, beta=0.3, bias=bias, temperature=temperature, chunk=4)
    (upstream * found).sum().backward()
    assert found.dtype == torch.float64 and torch.allclose(found, values, rtol=1e-12, atol=1e-12)
    for leaf, grad in zip((hidden, weight, bias), grads, strict=True):
        assert torch.allclose(leaf.grad, grad, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype,tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 8e-3)])
@pytest.mark.parametrize("name", NAMES)
def test_values_have_fp32_accuracy_and_gradients_that_of_their_dtype(name, dtype, tolerance):
    (hidden, weight), teacher, upstream = student(dtype), full_teacher(dtype), randn(T, seed=7)
    values, grads = truth(name, hidden, weight, torch.zeros(V), teacher, 1.0, 0.5, upstream)
    found = call(name, hidden, weight, teacher, chunk=4)
    (upstream.float() * found).sum().backward()
    assert found.dtype == torch.float32 and torch.allclose(found.double(), values, rtol=1e-5, atol=1e-5)
    for leaf, grad in zip((hidden, weight), grads, strict=False):
        assert leaf.grad.dtype == dtype
        assert float((leaf.grad.double() - grad).norm() / grad.norm()) < tolerance


P, Q = torch.tensor([[1 / 2, 1 / 4, 1 / 4]]).double(), torch.tensor([[1 / 8, 1 / 8, 3 / 4]]).double()
LN2, LN3, LN5, LN7 = (math.log(n) for n in (2, 3, 5, 7))


def test_a_vocabulary_of_three_tokens_worked_by_hand():
    """Logits are log-probs where the head is the identity: p = (1/2, 1/4, 1/4), q = (1/8, 1/8, 3/4)."""
    eye, teacher = torch.eye(3).double(), TeacherHead(P.log(), torch.eye(3).double())
    # m = (5/16, 3/16, 1/2): KL(p || m) = ln(8/5)/2 + ln(4/3)/4 - ln(2)/4, KL(q || m) = ln(2/5)/8 + ln(2/3)/8 + 3 ln(3/2)/4
    p_m, q_m = (3 * LN2 - LN5) / 2 + (LN2 - LN3) / 4, (2 * LN2 - LN5 - LN3) / 8 + 3 * (LN3 - LN2) / 4
    top1 = TeacherTopK(torch.tensor([[0]]), P[:, :1].log(), "bucket")  # (1/2, 1/2) against (1/8, 7/8)
    top2 = TeacherTopK(torch.tensor([[2, 0]]), P[:, [2, 0]].log(), "renormalise")  # (1/3, 2/3) against (6/7, 1/7)
    for name, given, value, slope in (
        ("forward-kl", teacher, 5 / 4 * LN2 - LN3 / 4, (-3 / 8, -1 / 8, 1 / 2)),
        ("reverse-kl", teacher, 3 / 4 * LN3 - 3 / 8 * LN2, None),
        ("jsd", teacher, (p_m + q_m) / 2, None),
        ("entropy", None, 9 / 4 * LN2 - 3 / 4 * LN3, None),
        ("forward-kl", top1, LN2 + (2 * LN2 - LN7) / 2, (-3 / 8, 3 / 8 / 7, 3 / 8 * 6 / 7)),
        ("forward-kl", top2, (LN7 - LN2 - 2 * LN3) / 3 + 2 / 3 * (LN2 + LN7 - LN3), (-11 / 21, 0, 11 / 21)),
    ):
        hidden = Q.log().requires_grad_(True)
        found = call(name, hidden, eye, given)
        found.sum().backward()
        assert found.item() == pytest.approx(value, abs=1e-14)
        if slope is not None:
            assert hidden.grad[0].tolist() == pytest.approx(slope, abs=1e-14)


@pytest.mark.parametrize("kind", ["full", "bucket", "renormalise"])
@pytest.mark.parametrize("name", NAMES)
def test_a_student_that_is_its_teacher_has_no_divergence_and_no_gradient(name, kind):
    hidden, weight = student()
    teacher = TeacherHead(hidden, weight)
    if kind != "full":
        logps, ids = (hidden @ weight.t()).detach().log_softmax(-1).topk(K, dim=-1)
        teacher = TeacherTopK(ids, logps, kind)
    found = call(name, hidden, weight, teacher, chunk=4)
    found.sum().backward()
    assert float(found.detach().abs().max()) < 1e-14
    assert float(hidden.grad.abs().max()) < 1e-14 and float(weight.grad.abs().max()) < 1e-14


def test_half_jensen_shannon_is_symmetric_and_at_most_log_2():
    (hidden, weight), teacher = student(), full_teacher()
    there = call("jsd", hidden, weight, teacher)
    back = call("jsd", teacher.hidden, teacher.weight, TeacherHead(hidden, weight), bias=teacher.bias)
    assert (
        torch.allclose(there, back, rtol=1e-13)
        and float(there.detach().min()) > 0
        and float(there.detach().max()) < LN2
    )
    far = call("jsd", torch.tensor([[80.0, 0.0]]), torch.eye(2), TeacherHead(torch.tensor([[0.0, 80.0]]), torch.eye(2)))
    assert far.item() == pytest.approx(LN2, abs=1e-6) and far.item() <= LN2 + 1e-6


def test_jensen_shannon_scaled_tends_to_the_two_kls():
    """GKD (arXiv 2306.13649), section 2: JSD(beta) / beta -> KL(p || q) as beta -> 0; its mirror image at 1."""
    (hidden, weight), teacher, beta = student(), full_teacher(), 1e-9
    forward, reverse = (call(name, hidden, weight, teacher) for name in ("forward-kl", "reverse-kl"))
    assert torch.allclose(call("jsd", hidden, weight, teacher, beta=beta) / beta, forward, rtol=1e-4)
    assert torch.allclose(call("jsd", hidden, weight, teacher, beta=1 - beta) / beta, reverse, rtol=1e-4)
    assert not torch.allclose(forward, reverse, rtol=0.05)


@pytest.mark.parametrize("tail", ["bucket", "renormalise"])
@pytest.mark.parametrize("name", NAMES)
def test_top_k_of_the_whole_vocabulary_is_the_full_divergence(name, tail):
    results = []
    for teacher in (full_teacher(), top_k(V, tail)):
        hidden, weight = student()
        found = call(name, hidden, weight, teacher)
        found.sum().backward()
        results.append((found.detach(), hidden.grad, weight.grad))
    for full, stored in zip(*results, strict=True):
        assert torch.allclose(full, stored, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", ["full", "bucket"])
def test_the_size_of_a_chunk_changes_nothing(kind):
    teacher, results = full_teacher() if kind == "full" else top_k(K, kind), []
    for chunk in (None, 1, 3, T, 100):
        hidden, weight = student()
        found = call("jsd", hidden, weight, teacher, chunk=chunk)
        found.sum().backward()
        results.append((found.detach(), hidden.grad, weight.grad))
    for other in results[1:]:
        assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-13) for a, b in zip(results[0], other, strict=True))


def test_a_head_tied_to_the_embedding_gets_both_gradients():
    ids, teacher = torch.arange(T) % V, full_teacher()
    tied = randn(V, D, seed=8).requires_grad_(True)
    call("reverse-kl", tied[ids].tanh(), tied, teacher, chunk=4).sum().backward()
    embedding, head = (tied.detach().clone().requires_grad_(True) for _ in range(2))
    values = [
        by_hand("reverse-kl", softmax(teacher.weight @ h + teacher.bias), softmax(head @ embedding[i].tanh()), 0.5)
        for i, h in zip(ids, teacher.hidden, strict=True)
    ]
    torch.stack(values).sum().backward()
    assert torch.allclose(tied.grad, embedding.grad + head.grad, rtol=1e-11, atol=1e-12)


class Largest(TorchDispatchMode):
    """The most elements of any tensor that an operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(x, torch.Tensor):
                self.elements = max(self.elements, x.numel())
        return out


@pytest.mark.parametrize("name,kind", CASES)
def test_no_tensor_is_larger_than_a_chunk_of_logits(name, kind):
    tokens, vocabulary, chunk = 200, 300, 8
    hidden, weight = (randn(n, 4, seed=n).float().requires_grad_(True) for n in (tokens, vocabulary))
    logps, ids = randn(tokens, 5, seed=9).log_softmax(-1) - 1, torch.arange(5).repeat(tokens, 1)
    teacher = None if kind is None else TeacherHead(hidden, weight) if kind == "full" else TeacherTopK(ids, logps, kind)
    with Largest() as seen:
        call(name, hidden, weight, teacher, chunk=chunk).sum().backward()
    assert seen.elements == chunk * vocabulary  # a chunk was seen, forward and backward, and nothing above it
    with Largest() as dense:
        (hidden @ weight.t()).log_softmax(-1).sum().backward()
    assert dense.elements == tokens * vocabulary  # the measure sees what it should


def test_a_tail_too_small_for_fp32_stays_finite():
    """The stored log-probs add up to 1; the student puts e^-120 elsewhere, which no fp32 probability can hold."""
    hidden = torch.tensor([[120.0, 0.0, 0.0]]).requires_grad_(True)
    for name in NAMES:
        found = call(name, hidden, torch.eye(3), TeacherTopK(torch.tensor([[0]]), torch.zeros(1, 1)))
        assert torch.isfinite(found).all() and abs(found.item()) < 2e-5
        (grad,) = torch.autograd.grad(found.sum(), hidden)
        assert torch.isfinite(grad).all()


def test_no_token_gives_no_value_and_a_zero_gradient():
    weight = randn(V, D, seed=2).requires_grad_(True)
    found = call("jsd", randn(0, D, seed=1), weight, TeacherHead(randn(0, 7, seed=3), randn(V, 7, seed=4)))
    found.sum().backward()
    assert found.shape == (0,) and not weight.grad.any()


IDS, LOGPS = torch.tensor([[0, 1]] * T), torch.full((T, 2), math.log(0.4))


@pytest.mark.parametrize(
    "teacher,options,message",
    [
        (full_teacher(), {"divergence": "kl"}, "choose one of forward-kl, reverse-kl, jsd"),
        (full_teacher(), {"divergence": "jsd", "beta": 0.0}, "forward-kl for the limit at 0"),
        (full_teacher(), {"temperature": 0.0}, "must be above 0"),
        (full_teacher(), {"chunk": 0}, "must be 1 or more"),
        (TeacherHead(torch.zeros(T, 2), torch.zeros(V + 1, 2)), {}, "has 14 tokens, the student's 13"),
        (TeacherHead(torch.zeros(T + 1, 2), torch.zeros(V, 2)), {}, "hidden states of 12 tokens, not 11"),
        (TeacherTopK(IDS, LOGPS, "ignore"), {}, "choose one of bucket, renormalise"),
        (TeacherTopK(IDS[1:], LOGPS[1:]), {}, "must both be"),
        (TeacherTopK(IDS + V - 1, LOGPS), {}, "outside the student's vocabulary of 13"),
        (TeacherTopK(IDS * 0, LOGPS), {}, "twice"),
        (TeacherTopK(IDS, LOGPS * math.inf), {}, "must be finite"),
        (TeacherTopK(IDS, LOGPS * 0), {}, "add up to at most 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(teacher, options, message):
    with pytest.raises(OperatorError, match=message):
        token_divergence(*student(), teacher, **options)
