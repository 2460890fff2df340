"""Per-token divergences between student and teacher over the vocabulary, never holding tokens x vocabulary.

What is not a function of the targets' log-probs alone: forward and reverse KL, generalized Jensen-Shannon and the student's
entropy, from hidden states and the head's weight. The teacher is a second model's hidden states and head, or stored
top-k log-probs. Logits exist for one chunk of tokens at a time; the backward pass makes them again.

    teacher = TeacherTopK(ids, logps, tail="bucket")                        ids, logps (T, k)
    loss = token_divergence(hidden, head.weight, teacher, divergence="forward-kl").mean()

Letters: T tokens, D hidden size, V vocabulary, k stored tokens; p teacher, q student, t = log p, s = log q.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from redistill.errors import OperatorError
from redistill.model.logps import chunk_tokens

Divergence = Literal["forward-kl", "reverse-kl", "jsd"]
Tail = Literal["bucket", "renormalise"]

TAIL_FLOOR = 1e-7  # mass of the teacher's tail where stored fp32 log-probs add up to 1: what fp32 can tell from none
_LIVE = 3  # a chunk holds about three times what `chunk_tokens` counts: two models' log-probs, their terms, the slope


@dataclass(frozen=True, slots=True)
class TeacherHead:
    """A teacher by its last hidden states (T, D') and head weight (V, D'), with the head's bias (V,) if it has one. It
    gets no gradient. Its hidden size may differ from the student's, its vocabulary may not."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None = None


@dataclass(frozen=True, slots=True)
class TeacherTopK:
    """A teacher by stored token ids (T, k) and log-probs (T, k) in nats, made at the temperature that the student is
    compared at: the tail's mass at another temperature cannot be known.

    tail: what becomes of the mass outside the k tokens; both options are those of SDPO's code (arXiv 2601.20802).
    `bucket` makes it one more outcome for both models, so the student learns how much mass belongs elsewhere, not where.
    `renormalise` compares both models given that the token is one of the k; mass that the student puts elsewhere is free.
    """

    ids: Tensor
    logps: Tensor
    tail: Tail = "bucket"

    def outcomes(self, vocabulary: int) -> Tensor:
        """fp64 log-probs (T, k), or (T, k + 1) with the tail last; each row adds up to 1."""
        logps = self.logps.detach().double()
        if self.tail == "renormalise" or logps.shape[-1] == vocabulary:
            return logps.log_softmax(-1)
        tail = (1 - logps.exp().sum(-1, keepdim=True)).clamp_min(TAIL_FLOOR).log()
        return torch.cat([logps, tail], -1).log_softmax(-1)


# --- the divergences of one chunk: log-probs (n, outcomes) of both to values (n,) and slopes (n, outcomes) ---------


def _value(name: str, s: Tensor, t: Tensor | None, beta: float) -> Tensor:
    if t is None:  # entropy
        return -(s.exp() * s).sum(-1)
    if name == "forward-kl":
        return (t.exp() * (t - s)).sum(-1)
    if name == "reverse-kl":
        return (s.exp() * (s - t)).sum(-1)
    m = _log_mixture(s, t, beta)
    return beta * (t.exp() * (t - m)).sum(-1) + (1 - beta) * (s.exp() * (s - m)).sum(-1)


def _slope(name: str, s: Tensor, t: Tensor | None, beta: float) -> Tensor:
    """d value / d logit: q - p for the forward KL, otherwise q (r - sum q r) with r = d value / d q up to a constant."""
    q = s.exp()
    if t is None:
        r = -s
    elif name == "forward-kl":
        return q.sub_(t.exp())
    elif name == "reverse-kl":
        r = s - t
    else:  # what the mixture's own change adds cancels
        r = (s - _log_mixture(s, t, beta)).mul_(1 - beta)
    return q.mul_(r.sub_((q * r).sum(-1, keepdim=True)))


def _log_mixture(s: Tensor, t: Tensor, beta: float) -> Tensor:
    """log(beta p + (1 - beta) q)."""
    return torch.logaddexp(t + math.log(beta), s + math.log1p(-beta))


# --- logits in chunks -------------------------------------------------------------------------------------------


class _Head:
    """One model's logits, a chunk at a time, in the manner of `logps`: on CUDA bf16 inputs are multiplied as bf16 with
    fp32 output; elsewhere logits are products of fp32, or of fp64 for fp64 inputs. Never a bf16 logit."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float) -> None:
        self.hidden, self.temperature = hidden, temperature
        self.wide = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        self.low = hidden.dtype == torch.bfloat16
        self.fused = self.low and hidden.is_cuda
        self.low_weight = weight.to(torch.bfloat16 if self.low else self.wide)
        self.wide_weight = self.low_weight if self.fused else weight.to(self.wide)
        self.bias = None if bias is None else bias.to(self.wide)

    def logits(self, part: slice) -> Tensor:
        """(n, V), divided by the temperature."""
        hidden = self.hidden[part]
        if self.fused:
            logits = torch.mm(hidden, self.low_weight.t(), out_dtype=torch.float32)
        else:
            logits = torch.mm(hidden.to(self.wide), self.wide_weight.t())
        if self.bias is not None:
            logits += self.bias
        return logits if self.temperature == 1 else logits.div_(self.temperature)

    def add_gradients(
        self, part: slice, slope: Tensor, upstream: Tensor, grads: tuple[Tensor | None, Tensor | None, Tensor | None]
    ) -> None:
        """Adds a chunk's share to the gradients of hidden, weight and bias. slope (n, V); upstream (n,) multiplies the
        narrow side, never tokens x vocabulary."""
        hidden_grad, weight_grad, bias_grad = grads
        scale = (upstream.to(self.wide) / self.temperature)[:, None]
        if bias_grad is not None:
            bias_grad += (scale.t() @ slope)[0]
        slope = slope.to(torch.bfloat16) if self.low else slope
        if hidden_grad is not None:
            hidden_grad[part] = ((slope @ self.low_weight).to(self.wide) * scale).to(hidden_grad.dtype)
        if weight_grad is None:
            return
        scaled = self.hidden[part].to(self.wide) * scale
        if self.fused:
            weight_grad += torch.mm(slope.t(), scaled.to(torch.bfloat16), out_dtype=torch.float32)
        else:
            weight_grad.addmm_(slope.to(self.wide).t(), scaled)


@dataclass(frozen=True, slots=True)
class _Settings:
    name: str
    beta: float
    temperature: float
    chunk: int
    bucket: bool = False


class _TokenDivergence(torch.autograd.Function):
    """Inputs beside the student's: `first`, `second`, `third` are the teacher's hidden states, weight and bias; or the
    stored ids and the outcomes' log-probs and None; or None for the entropy."""

    @staticmethod
    def _compare(
        settings: _Settings, student: _Head, teacher: _Head | None, stored: tuple[Tensor, Tensor] | None, part: slice
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """(s, t, and where a tail has its bucket: log-probs of the tail's tokens within the tail (n, V), else None)."""
        logits = student.logits(part)
        if stored is None:
            s = logits.log_softmax(-1)
            return s, None if teacher is None else teacher.logits(part).log_softmax(-1).to(student.wide), None
        ids, t = stored[0][part], stored[1][part].to(student.wide)
        chosen = logits.gather(-1, ids)
        if not settings.bucket:
            return chosen.log_softmax(-1), t, None
        rest = logits.scatter_(-1, ids, -math.inf)
        tail = rest.logsumexp(-1, keepdim=True)  # in logs: a tail of 1e-40 is still a tail
        return torch.cat([chosen, tail], -1).log_softmax(-1), t, rest.sub_(tail)

    @staticmethod
    def _inputs(
        settings: _Settings, tensors: tuple[Tensor | None, ...]
    ) -> tuple[_Head, _Head | None, tuple[Tensor, Tensor] | None, list[slice]]:
        hidden, weight, bias, first, second, third = tensors
        assert hidden is not None and weight is not None
        student = _Head(hidden, weight, bias, settings.temperature)
        teacher, stored = None, None
        if first is not None and second is not None:
            if first.is_floating_point():
                teacher = _Head(first, second, third, settings.temperature)
            else:
                stored = first, second
        return student, teacher, stored, [slice(i, i + settings.chunk) for i in range(0, len(hidden), settings.chunk)]

    @staticmethod
    def forward(ctx: Any, settings: _Settings, *tensors: Tensor | None) -> Tensor:
        ctx.settings = settings
        ctx.save_for_backward(*tensors)
        hidden: Any = tensors[0]
        with torch.autocast(hidden.device.type, enabled=False):
            student, teacher, stored, parts = _TokenDivergence._inputs(settings, tensors)
            values = hidden.new_empty(len(hidden), dtype=student.wide)
            for part in parts:
                s, t, _ = _TokenDivergence._compare(settings, student, teacher, stored, part)
                values[part] = _value(settings.name, s, t, settings.beta)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        settings, (hidden, weight, bias, *_) = ctx.settings, ctx.saved_tensors
        _, wants_hidden, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        with torch.autocast(hidden.device.type, enabled=False):
            student, teacher, stored, parts = _TokenDivergence._inputs(settings, ctx.saved_tensors)
            hidden_grad = torch.empty_like(hidden) if wants_hidden else None
            weight_grad = torch.zeros_like(weight, dtype=student.wide) if wants_weight else None
            bias_grad = torch.zeros_like(bias, dtype=student.wide) if wants_bias else None
            for part in parts:
                s, t, within = _TokenDivergence._compare(settings, student, teacher, stored, part)
                slope = _slope(settings.name, s, t, settings.beta)
                if stored is not None:
                    ids = stored[0][part]
                    # the tail's slope is shared among its tokens by their probability within the tail
                    if within is None:
                        wide = slope.new_zeros(len(ids), len(weight))
                    else:
                        wide = within.exp_().mul_(slope[:, -1:])
                    slope = wide.scatter_(-1, ids, slope[:, : ids.shape[-1]])
                student.add_gradients(part, slope, upstream[part], (hidden_grad, weight_grad, bias_grad))
        return (
            None,
            hidden_grad,
            None if weight_grad is None else weight_grad.to(weight.dtype),
            None if bias_grad is None else bias_grad.to(bias.dtype),
            *[None] * 3,
        )


# --- what others call -------------------------------------------------------------------------------------------


def token_divergence(
    hidden: Tensor,
    weight: Tensor,
    teacher: TeacherHead | TeacherTopK,
    *,
    divergence: Divergence = "forward-kl",
    beta: float = 0.5,
    bias: Tensor | None = None,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> Tensor:
    """(T,) divergences in nats, fp32 (fp64 for fp64 hidden states), differentiable in hidden, weight and bias, once.

    hidden (T, D), weight (V, D), bias (V,): the student's. Logits of student and teacher are divided by `temperature`;
    the value is not multiplied by its square. divergence, as GKD (arXiv 2306.13649) names them: `forward-kl` KL(p || q),
    `reverse-kl` KL(q || p), `jsd` beta KL(p || m) + (1 - beta) KL(q || m) with m = beta p + (1 - beta) q, which tends to
    beta KL(p || q) as beta goes to 0 and to (1 - beta) KL(q || p) as it goes to 1. chunk: tokens at a time; by memory
    where None. Peak extra memory is a few chunks of logits, whatever T is. OperatorError for a teacher that does not fit.
    """
    vocabulary = len(weight)
    if divergence not in get_args(Divergence):
        raise OperatorError(f"divergence {divergence!r} is unknown; choose one of {', '.join(get_args(Divergence))}.")
    if divergence == "jsd" and not 0 < beta < 1:
        raise OperatorError(
            f"beta of the Jensen-Shannon divergence is {beta}, but must lie between 0 and 1: at the ends it is 0 for "
            f"every student. Use forward-kl for the limit at 0, reverse-kl for that at 1."
        )
    _check_student(hidden, weight, temperature, chunk)
    bucket = False
    rest: tuple[Tensor, Tensor, Tensor | None]
    if isinstance(teacher, TeacherTopK):
        _check_top_k(teacher, len(hidden), vocabulary)
        bucket = teacher.tail == "bucket" and teacher.ids.shape[-1] < vocabulary
        rest = (teacher.ids.detach().long(), teacher.outcomes(vocabulary), None)
    else:
        if len(teacher.weight) != vocabulary:
            raise OperatorError(
                f"the teacher's head has {len(teacher.weight)} tokens, the student's {vocabulary}: divergences over "
                f"the vocabulary need the same tokenizer and head size (remove rows that only pad a head)."
            )
        if len(teacher.hidden) != len(hidden):
            raise OperatorError(f"the teacher has hidden states of {len(teacher.hidden)} tokens, not {len(hidden)}.")
        rest = (
            teacher.hidden.detach(),
            teacher.weight.detach(),
            None if teacher.bias is None else teacher.bias.detach(),
        )
    size = chunk or chunk_tokens(_LIVE * vocabulary, hidden.device.type)
    settings = _Settings(divergence, beta, temperature, size, bucket)
    return _TokenDivergence.apply(settings, hidden, weight, bias, *rest)


def token_entropy(
    hidden: Tensor, weight: Tensor, *, bias: Tensor | None = None, temperature: float = 1.0, chunk: int | None = None
) -> Tensor:
    """(T,) entropies of softmax(logits / temperature) in nats; shapes, types and gradients as in `token_divergence`."""
    _check_student(hidden, weight, temperature, chunk)
    size = chunk or chunk_tokens(_LIVE * len(weight), hidden.device.type)
    return _TokenDivergence.apply(_Settings("entropy", 0.5, temperature, size), hidden, weight, bias, None, None, None)


@torch.no_grad()
def top_logps(
    hidden: Tensor, weight: Tensor, k: int, *, temperature: float = 1.0, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """(ids (T, k) int64, log-probs (T, k) fp32) of each position's k likeliest tokens, likeliest first, as `TeacherTopK` reads
    them; all V of them where k is at least V. hidden (T, D), weight (V, D)."""
    _check_student(hidden, weight, temperature, chunk)
    vocabulary = len(weight)
    size, k = chunk or chunk_tokens(_LIVE * vocabulary, hidden.device.type), min(k, vocabulary)
    ids = torch.empty(len(hidden), k, dtype=torch.int64, device=hidden.device)
    logps = torch.empty(len(hidden), k, dtype=torch.float32, device=hidden.device)
    with torch.autocast(hidden.device.type, enabled=False):
        head = _Head(hidden, weight, None, temperature)
        for part in (slice(i, i + size) for i in range(0, len(hidden), size)):
            values, ids[part] = head.logits(part).log_softmax(-1).topk(k, dim=-1)
            logps[part] = values.float()
    return ids, logps


def _check_student(hidden: Tensor, weight: Tensor, temperature: float, chunk: int | None) -> None:
    if hidden.ndim != 2 or weight.ndim != 2 or hidden.shape[1] != weight.shape[1]:
        raise OperatorError(
            f"hidden states {tuple(hidden.shape)} and head weight {tuple(weight.shape)} must be (tokens, size) and "
            "(vocabulary, size)."
        )
    if not 0 < temperature < math.inf:
        raise OperatorError(f"temperature is {temperature}, but must be above 0.")
    if chunk is not None and chunk < 1:
        raise OperatorError(f"chunk is {chunk}, but must be 1 or more.")


def _check_top_k(teacher: TeacherTopK, tokens: int, vocabulary: int) -> None:
    ids, logps = teacher.ids, teacher.logps
    if teacher.tail not in get_args(Tail):
        raise OperatorError(f"tail {teacher.tail!r} is unknown; choose one of {', '.join(get_args(Tail))}.")
    if ids.shape != logps.shape or ids.ndim != 2 or len(ids) != tokens or not ids.shape[1]:
        raise OperatorError(
            f"the teacher's ids {tuple(ids.shape)} and log-probs {tuple(logps.shape)} must both be ({tokens}, k), k >= 1."
        )
    if not tokens:
        return
    if int(ids.min()) < 0 or int(ids.max()) >= vocabulary:
        raise OperatorError(f"the teacher's top-k names a token id outside the student's vocabulary of {vocabulary}.")
    if bool((ids.sort(-1).values.diff(dim=-1) == 0).any()):
        raise OperatorError("the teacher's top-k names a token twice at one position; each id may occur only once.")
    if not bool(logps.isfinite().all()) or float(logps.double().exp().sum(-1).max()) > 1.01:
        raise OperatorError(
            "the teacher's top-k log-probs must be finite natural logarithms of probabilities that add up to at most 1."
        )
