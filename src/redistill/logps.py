"""Per-token log-probabilities of packed rows, without padding and without ever holding tokens x vocabulary.

Three parts: `token_logps`, a token-chunked linear log-prob that recomputes in its backward pass; `weighted_nll`, the
same for a loss that is linear in the log-probs, whose gradient is formed in the forward pass; and `PackedPolicy`, a
causal language model run on rows laid end to end, where attention is computed row by row so that no row sees another.

    policy = PackedPolicy(model)
    loss, logps, top_logps = policy(pack)      loss = sum_t coefficient_t * -logp_t; logps (targets,) in fp32

Letters: T packed tokens, N targets (completion tokens), D hidden size, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from redistill.errors import OperatorError

CHUNK_BYTES = 64 << 20  # of fp32 logits alive at a time; 441 tokens at a vocabulary of 152 thousand


def chunk_tokens(vocabulary: int) -> int:
    """How many tokens' logits are alive at a time."""
    return max(16, min(8192, CHUNK_BYTES // (4 * vocabulary)))


def _as_fp32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float32 else tensor.float()


def _logits(hidden: Tensor, weight: Tensor) -> Tensor:
    """fp32 (n, V) from (n, D) and (V, D). On CUDA bf16 inputs are multiplied as bf16 with fp32 accumulation and output;
    elsewhere both are widened first. Never a bf16 logit: a sum of 3,000 of them would be off by whole nats."""
    if hidden.is_cuda and hidden.dtype == torch.bfloat16:
        return torch.mm(hidden, weight.to(torch.bfloat16).t(), out_dtype=torch.float32)
    return _as_fp32(hidden) @ _as_fp32(weight).t()


class _TokenLogps(torch.autograd.Function):
    """Forward keeps one log-normaliser a token; backward makes each chunk's logits again. A chunk loop under ordinary
    autograd would keep every chunk's softmax alive and save nothing."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        step = chunk_tokens(weight.shape[0])
        logps = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        normalisers = torch.empty_like(logps)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, hidden.shape[0], step):
                part = slice(start, start + step)
                logits = _logits(hidden[part], weight)
                normalisers[part] = torch.logsumexp(logits, -1)
                logps[part] = logits.gather(-1, targets[part, None]).squeeze(-1) - normalisers[part]
        ctx.save_for_backward(hidden, weight, targets, normalisers)
        return logps

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        hidden, weight, targets, normalisers = ctx.saved_tensors
        step = chunk_tokens(weight.shape[0])
        hidden_grad = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        weight_grad = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, hidden.shape[0], step):
                part = slice(start, start + step)
                logits = _logits(hidden[part], weight)
                # d(-c logp)/d logits = c (softmax - onehot), here with c = -upstream
                _add_gradients(
                    part, logits, normalisers[part], targets, -upstream[0], hidden, weight, hidden_grad, weight_grad
                )
        return hidden_grad, None if weight_grad is None else weight_grad.to(weight.dtype), None


def _add_gradients(
    part: slice,
    logits: Tensor,
    normalisers: Tensor,
    targets: Tensor,
    coefficients: Tensor,
    hidden: Tensor,
    weight: Tensor,
    hidden_grad: Tensor | None,
    weight_grad: Tensor | None,
) -> None:
    """Gradients of sum_t c_t * -logp_t for one chunk; `logits` (n, V) is overwritten."""
    slope = logits.sub_(normalisers[:, None]).exp_()
    slope.scatter_add_(-1, targets[part, None], slope.new_full((slope.shape[0], 1), -1.0))
    slope.mul_(coefficients[part, None])
    if hidden.is_cuda and hidden.dtype == torch.bfloat16:
        slope = slope.to(torch.bfloat16)
        if hidden_grad is not None:
            hidden_grad[part] = slope @ weight.to(torch.bfloat16)
        if weight_grad is not None:
            weight_grad += torch.mm(slope.t(), hidden[part], out_dtype=torch.float32)
        return
    if hidden_grad is not None:
        hidden_grad[part] = (slope @ _as_fp32(weight)).to(hidden.dtype)
    if weight_grad is not None:
        weight_grad.addmm_(slope.t(), _as_fp32(hidden[part]))


def token_logps(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """log softmax(hidden @ weight.T)[targets], differentiable. hidden (N, D), weight (V, D), targets (N,) -> fp32 (N,).

    Values and gradients in fp32 accuracy; peak extra memory is one chunk of logits, whatever N is.
    """
    return _TokenLogps.apply(hidden, weight, targets)


class _WeightedNll(torch.autograd.Function):
    """The loss is linear in the log-probs, so its gradient needs no upstream value and no second pass over the logits."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, coefficients: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        step = chunk_tokens(weight.shape[0])
        logps = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        top_logps = torch.empty_like(logps)
        hidden_grad = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        weight_grad = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, hidden.shape[0], step):
                part = slice(start, start + step)
                logits = _logits(hidden[part], weight)
                normalisers = torch.logsumexp(logits, -1)
                logps[part] = logits.gather(-1, targets[part, None]).squeeze(-1) - normalisers
                top_logps[part] = logits.amax(-1) - normalisers
                if hidden_grad is not None or weight_grad is not None:
                    _add_gradients(
                        part, logits, normalisers, targets, coefficients, hidden, weight, hidden_grad, weight_grad
                    )
        ctx.save_for_backward(hidden_grad, weight_grad)
        ctx.weight_dtype = weight.dtype
        ctx.mark_non_differentiable(logps, top_logps)
        return -(coefficients.double() * logps.double()).sum().float(), logps, top_logps

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden_grad, weight_grad = ctx.saved_tensors
        scale = upstream[0]
        return (
            None if hidden_grad is None else hidden_grad.mul_(scale),
            None if weight_grad is None else weight_grad.mul_(scale).to(ctx.weight_dtype),
            None,
            None,
        )


def weighted_nll(
    hidden: Tensor, weight: Tensor, targets: Tensor, coefficients: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(sum_t c_t * -logp_t, logps, top_logps): for losses linear in the log-probs, at half the head's cost of
    `token_logps`.

    hidden (N, D), weight (V, D), targets (N,), coefficients fp32 (N,). logps (N,) and top_logps (N,), the log-prob of
    each position's likeliest token, carry no gradient.
    """
    if not torch.is_grad_enabled():  # a parameter asks for its gradient even where nobody will want it
        hidden, weight = hidden.detach(), weight.detach()
    return _WeightedNll.apply(hidden, weight, targets, coefficients)


# --- packed rows ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows laid end to end, sorted by length. `runs` are (start, rows, length): neighbours of one length, which share an
    attention call. `target_index` (N,) says from which packed position each target token is predicted; `coefficients`
    (N,) are d(step loss)/d(-logp) of each target; `row_of_target` (N,) is the row's number in the optimizer step."""

    input_ids: Tensor  # (1, T)
    position_ids: Tensor  # (1, T), starts at 0 in each row
    runs: tuple[tuple[int, int, int], ...]
    target_index: Tensor
    targets: Tensor
    row_of_target: Tensor
    coefficients: Tensor

    def to(self, device: torch.device) -> "Pack":
        """The same pack on another device."""
        moved = {
            name: getattr(self, name).to(device, non_blocking=True)
            for name in ("input_ids", "position_ids", "target_index", "targets", "row_of_target", "coefficients")
        }
        return Pack(runs=self.runs, **moved)


def make_pack(
    rows: Sequence[tuple[Sequence[int], int]], numbers: Sequence[int], coefficients: Sequence[Tensor | float]
) -> Pack:
    """A Pack of rows (ids, prompt_tokens). `numbers` are the rows' numbers in the step; coefficients are one value a
    row, or one a completion token. Completion tokens are the targets; prompt tokens carry no loss."""
    places = sorted(range(len(rows)), key=lambda i: (len(rows[i][0]), numbers[i]))
    ids: list[int] = []
    positions: list[int] = []
    runs: list[tuple[int, int, int]] = []
    index, targets, owners, weights = [], [], [], []
    for place in places:
        row, prompt = rows[place]
        start, length = len(ids), len(row)
        if runs and runs[-1][2] == length:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, length)
        else:
            runs.append((start, 1, length))
        ids.extend(row)
        positions.extend(range(length))
        first = max(prompt, 1)  # nothing predicts the very first token of a row
        index.append(torch.arange(start + first - 1, start + length - 1))
        targets.append(torch.as_tensor(row[first:], dtype=torch.long))
        owners.append(torch.full((length - first,), numbers[place], dtype=torch.long))
        weight = torch.as_tensor(coefficients[place], dtype=torch.float32)
        weights.append(weight.expand(length - first) if weight.ndim == 0 else weight)
    return Pack(
        torch.tensor([ids]),
        torch.tensor([positions]),
        tuple(runs),
        torch.cat(index),
        torch.cat(targets),
        torch.cat(owners),
        torch.cat(weights).contiguous(),
    )


def _packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    runs: Sequence[tuple[int, int, int]] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside each row of a pack; query (1, heads, T, d), key and value (1, key heads, T, d).

    Rows of one length are one batched call, so the cost is the sum of the rows' squares and nothing is padded. A dense
    mask over the pack would pay for attention across rows only to throw it away.
    """
    if runs is None or rest.get("softcap") is not None:
        raise OperatorError(
            "this model cannot be trained on packed rows (its attention asks for more than a causal row)."
        )
    grouped = query.shape[1] != key.shape[1]
    # one split for all rows: its backward is one concatenation, where a slice a row would each zero a whole gradient
    sizes = [rows * length for _, rows, length in runs]
    pieces = zip(*(x[0].split(sizes, dim=1) for x in (query, key, value)), strict=True)
    parts = []
    for (_, rows, length), piece in zip(runs, pieces, strict=True):
        q, k, v = (x.unflatten(1, (rows, length)).transpose(0, 1) for x in piece)  # (rows, heads, length, d)
        mask = None
        if sliding_window is not None and length > sliding_window:
            step = torch.arange(length, device=query.device)
            gap = step[:, None] - step[None, :]
            mask = (gap >= 0) & (gap < sliding_window)
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=mask is None, scale=scaling, enable_gqa=grouped
        )
        parts.append(out.transpose(1, 2).flatten(0, 1))  # (rows * length, heads, d)
    return torch.cat(parts)[None], None


PACKED = "redistill_packed"
AttentionInterface.register(PACKED, _packed_attention)


class PackedPolicy(nn.Module):
    """A causal language model on packed rows. forward(pack) -> (sum_t c_t * -logp_t, logps (N,), top_logps (N,)).

    It is one module so that DDP and FSDP wrap body and head together. `without_gradient` gives the log-probs alone. A
    model that cannot be packed (`packs` False) is given packs of one row, and runs as it would anywhere.
    """

    def __init__(self, model: PreTrainedModel, *, packs: bool = True) -> None:
        super().__init__()
        self.model, self.packs = model, packs

    def forward(self, pack: Pack) -> tuple[Tensor, Tensor, Tensor]:
        model: Any = self.model
        core = model.get_base_model() if hasattr(model, "get_base_model") else model  # peft wraps it
        body, head = core.base_model, core.get_output_embeddings()
        more: dict[str, Any] = {"position_ids": pack.position_ids, "runs": pack.runs} if self.packs else {}
        if not self.packs and sum(rows for _, rows, _ in pack.runs) != 1:
            raise ValueError("a model that cannot be packed was given a pack of several rows")
        hidden = body(input_ids=pack.input_ids, use_cache=False, **more).last_hidden_state[0]
        return weighted_nll(hidden[pack.target_index], head.weight, pack.targets, pack.coefficients)


def prepare_for_packing(model: PreTrainedModel) -> bool:
    """True where rows may be packed: the model is switched to packed attention and proved, on two short rows, to give the
    log-probs that each has alone, whatever its neighbour says. False where it carries state across rows (Mamba, linear
    attention, short convolutions) or has attention of its own: it is left as it was, for packs of one row.

    OperatorError for models whose head adds a bias, scale or cap: their log-probs would be silently wrong either way.
    """
    vocabulary = model.config.vocab_size
    long, short, other = (
        [(a * i + b) % vocabulary for i in range(n)] for a, b, n in ((7, 3, 11), (5, 2, 7), (3, 1, 7))
    )
    before, training = model.config._attn_implementation, model.training
    device = next(model.parameters()).device
    model.eval()

    def packed(rows: Sequence[list[int]], packs: bool) -> Tensor:
        pack = make_pack([(row, 1) for row in rows], range(len(rows)), [1.0] * len(rows)).to(device)
        return PackedPolicy(model, packs=packs)(pack)[1]

    try:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([long], device=device), use_cache=False).logits[0].float()
            targets = torch.tensor(long[1:], device=device)
            alone = logits[:-1].log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)
            gap = float((packed([long], False) - alone).abs().max())
            if not gap < 1e-3 or getattr(model.get_output_embeddings(), "bias", None) is not None:
                raise OperatorError(
                    f"{model.config.model_type} gives other log-probs than its own logits say (off by {gap:.3g} nats): its "
                    "head does more than a matrix product (a bias, scale or cap), so it cannot be trained here."
                )
            try:
                model.set_attn_implementation(PACKED)
                found, again = (packed([first, long], True)[len(short) - 1 :] for first in (short, other))
            except (ValueError, TypeError, KeyError, AttributeError, OperatorError):
                packs = False
            else:
                # exactly 0 where rows are apart; a state that leaks is above rounding even in a model of random weights
                leak, gap = float((found - again).abs().max()), float((found - alone).abs().max())
                packs = leak < 2e-6 and gap < 1e-3
            if not packs:
                model.set_attn_implementation(before)
    finally:
        model.train(training)
    return packs
