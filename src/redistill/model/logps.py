"""Per-token log-probabilities of packed rows, without padding and without ever holding tokens x vocabulary.

Three parts: `token_logps`, a token-chunked linear log-prob that recomputes in its backward pass; `weighted_nll`, the
same for a loss that is linear in the log-probs, whose gradient is formed in the forward pass; and `PackedPolicy`, a
causal language model run on rows laid end to end, where attention is computed row by row so that no row sees another.

    policy = PackedPolicy(model)
    loss, logps, top_logps = policy(pack)      loss = sum_t coefficient_t * -logp_t; logps (targets,) in fp32

Letters: T packed tokens, N targets (completion tokens), D hidden size, V vocabulary.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from redistill.errors import OperatorError
from redistill.model.pictures import image_token_ids, pictures_of, reads_images, text_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CHUNK_BYTES = {"cpu": 64 << 20, "cuda": 1 << 30}  # of fp32 logits and probabilities alive at a time


def chunk_tokens(vocabulary: int, device: str = "cpu") -> int:
    """How many tokens' logits, and their probabilities beside them, are alive at a time: 55 at a vocabulary of 152
    thousand on a CPU, where a chunk should stay near the caches; 883 on CUDA, where a chunk must fill the machine."""
    return max(16, min(8192, CHUNK_BYTES.get(device, CHUNK_BYTES["cuda"]) // (8 * vocabulary)))


def _as_fp32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float32 else tensor.float()


class _Head:
    """One chunk of tokens at a time against the head's weight, in two buffers that every chunk uses again.

    On CUDA bf16 inputs are multiplied as bf16 with fp32 accumulation and output; elsewhere logits are products of fp32.
    Never a bf16 logit: a sum of 3,000 of them would be off by whole nats. Gradients of a bf16 `hidden` are bf16 products
    anyway, so there the slope is rounded first; the weight's gradient is summed in fp32.
    """

    def __init__(self, hidden: Tensor, weight: Tensor, targets: Tensor) -> None:
        self.hidden, self.weight, self.targets = hidden, weight, targets
        self.low = hidden.dtype == torch.bfloat16
        self.fused = self.low and hidden.is_cuda
        self.low_weight = weight.to(torch.bfloat16) if self.low else weight
        self.fp32_weight = weight if self.fused else _as_fp32(weight)
        step = min(chunk_tokens(weight.shape[0], hidden.device.type), max(1, len(hidden)))
        self.parts = [slice(start, start + step) for start in range(0, len(hidden), step)]
        shape = (step, weight.shape[0])
        self.buffers = [hidden.new_empty(shape, dtype=torch.float32) for _ in range(2)]

    def probabilities(self, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        """(probabilities (n, V), log-probs of the targets (n,), log-prob of each position's likeliest token (n,))."""
        hidden = self.hidden[part]
        if self.fused:
            logits = torch.mm(hidden, self.low_weight.t(), out_dtype=torch.float32)
        else:
            logits = torch.mm(_as_fp32(hidden), self.fp32_weight.t(), out=self.buffers[0][: len(hidden)])
        probs = torch.softmax(logits, -1, out=self.buffers[1][: len(hidden)])
        top = logits.amax(-1)
        # the likeliest token's probability is 1 / sum exp(logit - top): the normaliser without a second exponential
        top_logps = probs.amax(-1).log()
        logps = logits.gather(-1, self.targets[part, None]).squeeze(-1) - top + top_logps
        return probs, logps, top_logps

    def add_gradients(
        self,
        part: slice,
        probs: Tensor,
        coefficients: Tensor,
        hidden_grad: Tensor | None,
        weight_grad: Tensor | None,
    ) -> None:
        """Gradients of sum_t c_t * -logp_t for one chunk: c (softmax - onehot); `probs` is overwritten."""
        targets, hidden, scale = self.targets[part, None], self.hidden[part], coefficients[part, None]
        probs.scatter_add_(-1, targets, probs.new_full(targets.shape, -1.0))
        # the coefficient multiplies the narrow side, never tokens x vocabulary
        slope = probs.to(torch.bfloat16) if self.low else probs
        if hidden_grad is not None:
            hidden_grad[part] = ((slope @ self.low_weight).float() * scale).to(hidden.dtype)
        if weight_grad is None:
            return
        scaled = _as_fp32(hidden) * scale
        if self.fused:
            weight_grad += torch.mm(slope.t(), scaled.to(torch.bfloat16), out_dtype=torch.float32)
        else:
            weight_grad.addmm_(probs.t(), scaled)


class _TokenLogps(torch.autograd.Function):
    """Backward makes each chunk's logits again. A chunk loop under ordinary autograd would keep every chunk's softmax
    alive and save nothing."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, weight, targets)
        logps = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        with torch.autocast(hidden.device.type, enabled=False):
            head = _Head(hidden, weight, targets)
            for part in head.parts:
                _, logps[part], _ = head.probabilities(part)
        return logps

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        hidden, weight, targets = ctx.saved_tensors
        hidden_grad = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        weight_grad = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        with torch.autocast(hidden.device.type, enabled=False):
            head = _Head(hidden, weight, targets)
            for part in head.parts:
                probs, _, _ = head.probabilities(part)
                head.add_gradients(part, probs, -upstream[0], hidden_grad, weight_grad)
        return hidden_grad, None if weight_grad is None else weight_grad.to(weight.dtype), None


def token_logps(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, backend: Literal["chunked", "torch"] = "chunked"
) -> Tensor:
    """log softmax(hidden @ weight.T)[targets], differentiable. hidden (N, D), weight (V, D), targets (N,) -> fp32 (N,).

    Values in fp32 accuracy, gradients in that of what they belong to; peak extra memory is a chunk of logits, whatever N
    is. backend: our own kernel, or torch's linear_cross_entropy (2.13 and later), which is as exact for fp32 inputs only
    and slower where it was measured (benchmarks/README.md). ValueError where torch's is asked for and cannot be exact.
    """
    if backend == "chunked":
        return _TokenLogps.apply(hidden, weight, targets)
    if not hasattr(F, "linear_cross_entropy") or {hidden.dtype, weight.dtype} != {torch.float32}:
        raise ValueError(
            "backend='torch' needs torch 2.13 or later and fp32 inputs: its bf16 logits are off by 0.1 nats."
        )
    options = nn.LinearCrossEntropyOptions(acc_policy="accurate")
    return -F.linear_cross_entropy(hidden, weight, targets, reduction="none", options=options)


class _WeightedNll(torch.autograd.Function):
    """The loss is linear in the log-probs, so its gradient needs no upstream value and no second pass over the logits."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, coefficients: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        logps = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        top_logps = torch.empty_like(logps)
        hidden_grad = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        weight_grad = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        with torch.autocast(hidden.device.type, enabled=False):
            head = _Head(hidden, weight, targets)
            for part in head.parts:
                probs, logps[part], top_logps[part] = head.probabilities(part)
                if hidden_grad is not None or weight_grad is not None:
                    head.add_gradients(part, probs, coefficients, hidden_grad, weight_grad)
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
    boundaries: Tensor  # (rows + 1,) int32: where each row begins, and the end of the last
    runs: tuple[tuple[int, int, int], ...]
    target_index: Tensor
    targets: Tensor
    row_of_target: Tensor
    coefficients: Tensor
    images: tuple[str, ...] = ()  # SHA-256 of those that its rows show, in their order (model/pictures.py)

    def to(self, device: torch.device) -> "Pack":
        """The same pack on another device."""
        tensors = (field.name for field in dataclasses.fields(self) if field.name not in ("runs", "images"))
        return Pack(
            runs=self.runs,
            images=self.images,
            **{name: getattr(self, name).to(device, non_blocking=True) for name in tensors},
        )


class TokenSequence(tuple[list[int], int]):
    """One sequence, (ids, prompt tokens), and beside them `images`: the SHA-256 of those that its prompt shows."""

    images: tuple[str, ...]

    def __new__(cls, ids: list[int], prompt_tokens: int, images: Sequence[str] = ()) -> "TokenSequence":
        """The pair, with its images."""
        made = super().__new__(cls, (ids, prompt_tokens))
        made.images = tuple(images)
        return made


def images_of(sequence: tuple[Sequence[int], int]) -> tuple[str, ...]:
    """The images that a sequence shows; none for a plain pair."""
    return sequence.images if isinstance(sequence, TokenSequence) else ()


def make_pack(
    rows: Sequence[tuple[Sequence[int], int]], numbers: Sequence[int], coefficients: Sequence[Tensor | float]
) -> Pack:
    """A Pack of rows (ids, prompt_tokens), or TokenSequences. `numbers` are the rows' numbers in the step; coefficients are one value a
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
        torch.tensor(
            [place for place, position in enumerate(positions) if position == 0] + [len(ids)], dtype=torch.int32
        ),
        tuple(runs),
        torch.cat(index),
        torch.cat(targets),
        torch.cat(owners),
        torch.cat(weights).contiguous(),
        tuple(image for place in places for image in images_of(rows[place])),
    )


def _packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    runs: Sequence[tuple[int, int, int]] | None = None,
    boundaries: Tensor | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside each row of a pack; query (1, heads, T, d), key and value (1, key heads, T, d).

    On CUDA in half precision one FlashAttention call that knows the boundaries. Elsewhere rows of one length are one
    batched call, so the cost is the sum of the rows' squares and nothing is padded. A dense mask over the pack would pay
    for attention across rows only to throw it away.
    """
    if runs is None or boundaries is None or rest.get("softcap") is not None:
        raise OperatorError(
            "this model cannot be trained on packed rows (its attention needs more than a causal mask)."
        )
    if query.is_cuda and torch.is_autocast_enabled("cuda"):
        # rotary embeddings give fp32 under autocast; the kernel below wants the type that autocast computes attention in
        query, key, value = (x.to(torch.get_autocast_dtype("cuda")) for x in (query, key, value))
    if takes_varlen(query, dropout):
        return _varlen_attention(query, key, value, boundaries, runs[-1][2], scaling, sliding_window), None
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


def takes_varlen(query: Tensor, dropout: float = 0.0) -> bool:
    """True where torch's FlashAttention with boundaries can serve: CUDA, half precision, no dropout, torch 2.11 or later
    (earlier ones take no scale)."""
    if not query.is_cuda or query.dtype not in (torch.bfloat16, torch.float16) or dropout:
        return False
    from torch.nn.attention import varlen

    return "window_size" in inspect.signature(varlen.varlen_attn).parameters


def _varlen_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    boundaries: Tensor,
    longest: int,
    scaling: float | None,
    sliding_window: int | None,
) -> Tensor:
    """(1, T, heads, d) in one call; rows lie between the boundaries, of which the longest has `longest` tokens."""
    from torch.nn.attention import varlen

    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # (T, heads, d)
    more: dict[str, Any] = {}
    if q.shape[1] != k.shape[1]:
        if "enable_gqa" in inspect.signature(varlen.varlen_attn).parameters:
            more["enable_gqa"] = True
        else:
            k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    # a window of w keys is the token itself and w - 1 before it
    window = (-1 if sliding_window is None else sliding_window - 1, 0)
    args = (q, k, v, boundaries, boundaries, longest, longest)
    out: Any = varlen.varlen_attn(*args, scale=scaling, window_size=window, **more)
    return out[None]


PACKED = "redistill_packed"


@functools.cache
def register_packed() -> None:
    """Make packed attention known to transformers, which takes seconds to load and is not needed before there is a model."""
    from transformers import AttentionInterface

    AttentionInterface.register(PACKED, _packed_attention)


def attend_packed(model: Any) -> None:
    """Switch a model of transformers to packed attention."""
    register_packed()
    model.set_attn_implementation(PACKED)


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity of a pack's tokens that is not a function of their log-probs alone, such as a divergence from a teacher."""

    values_of: Callable[[Tensor, Tensor], Tensor]  # (hidden (N, D), head weight (V, D)) -> (N,), differentiable
    coefficients: Tensor  # (N,): d(step loss)/d(value) of each token


class PackedPolicy(nn.Module):
    """A causal language model on packed rows. forward(pack) -> (sum_t c_t * -logp_t, logps (N,), top_logps (N,)).

    It is one module so that DDP and FSDP wrap body and head together. `without_gradient` gives the log-probs alone. A
    model that cannot be packed (`packs` False) is given packs of one row, and runs as it would anywhere.
    """

    def __init__(self, model: "PreTrainedModel", *, packs: bool = True) -> None:
        super().__init__()
        self.model, self.packs = model, packs

    def forward(
        self,
        pack: Pack,
        weigh: Callable[[Tensor], Tensor] | None = None,
        measures: Sequence[Measured] = (),
    ) -> tuple[Tensor, ...]:
        """`weigh` makes the coefficients from the pack's own log-probs, (N,) -> (N,); without it they are the pack's.

        measures: each adds sum_t c_t * value_t to the loss, and its values (N,), without a gradient, to what is returned.
        """
        hidden, weight = self.states(pack)
        coefficients = pack.coefficients
        if weigh is not None:  # the head once more is far cheaper than the body once more
            with torch.no_grad():
                logps = weighted_nll(hidden, weight, pack.targets, coefficients)[1]
            coefficients = weigh(logps)
        if torch.is_grad_enabled() and pictures_of(self.model) and not (hidden.requires_grad or weight.requires_grad):
            raise OperatorError(
                "train: freeze: [language] leaves nothing to train in a row without an image; remove such rows, or leave freeze out."
            )
        if not measures:
            return weighted_nll(hidden, weight, pack.targets, coefficients)
        with torch.set_grad_enabled(torch.is_grad_enabled() and bool(coefficients.any())):
            loss, logps, top_logps = weighted_nll(hidden, weight, pack.targets, coefficients)
        values = [measure.values_of(hidden, weight) for measure in measures]
        for measure, value in zip(measures, values, strict=True):
            loss = loss + (measure.coefficients * value).sum().to(loss.dtype)
        return loss, logps, top_logps, *(value.detach() for value in values)

    def states(self, pack: Pack) -> tuple[Tensor, Tensor]:
        """(hidden states from which the pack's targets are predicted (N, D), the head's weight (V, D))."""
        model: Any = self.model
        core = model.get_base_model() if hasattr(model, "get_base_model") else model  # peft wraps it
        body, head = core.base_model, core.get_output_embeddings()
        more: dict[str, Any] = {}
        if self.packs:
            more = {"position_ids": pack.position_ids, "runs": pack.runs, "boundaries": pack.boundaries}
        elif sum(rows for _, rows, _ in pack.runs) != 1:
            raise ValueError("a model that cannot be packed was given a pack of several rows")
        if pack.images:
            pictures = pictures_of(core)
            if pictures is None:
                raise ValueError("a text-only model was given a row with an image")
            more |= pictures.inputs(pack.images, pack.input_ids, body)
        hidden = body(input_ids=pack.input_ids, use_cache=False, **more).last_hidden_state[0]
        return hidden[pack.target_index], head.weight


class PackedStates(PackedPolicy):
    """A causal language model that is compared with and never trained: forward(pack) -> (hidden (N, D), weight (V, D))."""

    def forward(self, pack: Pack, *unused: Any) -> tuple[Tensor, ...]:
        """What `PackedPolicy.states` says, as a module's forward pass, which is where sharded weights are gathered."""
        return self.states(pack)


def prepare_for_packing(model: "PreTrainedModel") -> bool:
    """True where rows may be packed: the model is switched to packed attention and proved, on two short rows, to give the
    log-probs that each has alone, whatever its neighbour says. False where it carries state across rows (Mamba, linear
    attention, short convolutions), has attention of its own, or reads images, whose positions have three dimensions: it is left as
    it was, for packs of one row.

    OperatorError for models whose head adds a bias, scale or cap: their log-probs would be silently wrong either way.
    """
    config, sees = text_config(model.config), reads_images(model.config)
    # no probe may hold the tokens of an image, which would ask for its pixels; they stand at the end of a vocabulary
    vocabulary = min([config.vocab_size, *image_token_ids(model.config)])
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
                    f"{model.config.model_type} gives log-probs that differ from its own logits (by {gap:.3g} nats): its "
                    "head does more than a matrix product (a bias, scale or cap), so it cannot be trained here."
                )
            if sees:
                return False
            try:
                attend_packed(model)
                scores, again = (packed([first, long], True)[len(short) - 1 :] for first in (short, other))
            except (ValueError, TypeError, KeyError, AttributeError, OperatorError):
                packs = False
            else:
                # exactly 0 where rows are apart; a state that leaks is above rounding even in a model of random weights
                leak, gap = float((scores - again).abs().max()), float((scores - alone).abs().max())
                packs = leak < 2e-6 and gap < 1e-3
            if packs and device.type == "cuda":  # the kernel for half precision is another one
                with torch.autocast("cuda", torch.bfloat16):
                    scores, again = (packed([first, long], True)[len(short) - 1 :] for first in (short, other))
                leak, gap = float((scores - again).abs().max()), float((scores - alone).abs().max())
                if not (leak < 2e-6 and gap < 0.25):
                    raise OperatorError(
                        f"{model.config.model_type} on this GPU: packed attention in bf16 gives other log-probs than "
                        f"single rows (off by {gap:.3g} nats, {leak:.3g} from a neighbour); set mixed_precision: 'no'."
                    )
            if not packs:
                model.set_attn_implementation(before)
    finally:
        model.train(training)
    return packs
