"""Loss and gradients of every objective and modifier, and packed rows, against single rows in higher precision."""

import copy
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface

from gpu_checks import formulas, students
from gpu_checks.formulas import PairOfSides, Side
from gpu_checks.students import END, encoded, ids_of, policy_of, tiny_model, token_logps
from gpu_checks.table import Bench, Row, below, holds
from redistill.model.logps import PACKED, PackedPolicy, make_pack, prepare_for_packing, register_packed, takes_varlen
from redistill.records import Pair
from redistill.train.coefficients import step_loss
from redistill.train.modifiers import MODIFIERS, adds_loss
from redistill.train.objectives import OBJECTIVES, needs_pairs, needs_teacher, trains_critic
from redistill.train.objectives.calling import inputs_of
from redistill.train.step import Reference, backward_step, token_batch
from redistill.train.token_batch import VALUES

# largest relative error of loss and gradients. fp32 on a CPU: 1e-6; bf16 rounds to 0.4%, over two layers and their backward pass
FP32_LIMIT, BF16_LIMIT = 2e-5, 0.1
UNDER_MODIFIERS = ("redi", "dpo_norm")  # one linear objective and one that is not


# --- objectives and modifiers -------------------------------------------------------------------------------------------


@dataclass
class Truth:
    """The fp64 student, its log-probs of every completion with a graph, and the reference's."""

    model: Any
    pairs: list[Pair]
    logps: list[tuple[Tensor, Tensor]]  # of chosen and rejected
    reference: list[tuple[Tensor, Tensor]]  # as stored: rounded to fp32
    mismatched: list[Tensor]  # the student's sum on each row's mismatched completion
    reference_mismatched: list[Tensor]
    spans: list[tuple[Tensor, Tensor]]

    def rows(self) -> list[PairOfSides]:
        """The step's pairs, unmodified."""
        gap = [float(a - b) for a, b in zip(self.mismatched, self.reference_mismatched, strict=True)]
        divergence = max(0.0, sum(gap) / len(gap))
        sides = [
            [
                Side([*ids_of(text), END], lp, ref, spans, torch.ones_like(lp).detach(), torch.tensor(float(len(lp))))
                for text, lp, ref, spans in zip((pair.chosen, pair.rejected), *numbers, strict=True)
            ]
            for pair, *numbers in zip(self.pairs, self.logps, self.reference, self.spans, strict=True)
        ]
        zero = torch.zeros((), dtype=torch.float64)
        return [PairOfSides(*s, p.weight, divergence, zero) for s, p in zip(sides, self.pairs, strict=True)]

    def gradients(self, loss: Tensor) -> dict[str, Tensor]:
        """d loss / d parameter, by name."""
        named = dict(self.model.named_parameters())
        return dict(zip(named, torch.autograd.grad(loss, list(named.values()), retain_graph=True), strict=True))


def truth_of(pairs: list[Pair]) -> Truth:
    """Everything in fp64 on the CPU, eager attention, one row a pass."""
    student, before = (tiny_model("qwen2", seed=seed).double().eval() for seed in (0, 1))
    for model in (student, before):
        model.set_attn_implementation("eager")

    def both(model: Any, pair: Pair) -> tuple[Tensor, Tensor]:
        first, second = (
            token_logps(model, ids_of(pair.prompt), [*ids_of(text), END]) for text in (pair.chosen, pair.rejected)
        )
        return first, second

    longest = max(
        len(ids_of(p.prompt)) + len(ids_of(text)) + 1 for p in pairs for text in (p.chosen, p.rejected)
    )  # mismatched rows are cut to it
    others = []
    for number, pair in enumerate(pairs):
        other = pairs[(number + len(pairs) // 2) % len(pairs)]
        text = other.rejected if number % 2 else other.chosen
        prompt = ids_of(pair.prompt)
        others.append((prompt, [*ids_of(text), END][: longest - len(prompt)]))
    with torch.no_grad():
        reference = [tuple(side.float().double() for side in both(before, pair)) for pair in pairs]
        mismatched = [[token_logps(model, *row).sum() for row in others] for model in (student, before)]
    spans = []
    for pair in pairs:
        sides = []
        for text, weighed in ((pair.chosen, pair.chosen_spans), (pair.rejected, pair.rejected_spans)):
            characters = np.ones(len(text))
            for start, end, weight in weighed:
                characters[start:end] = weight
            means = [characters[a:b].mean() for a, b in students.offsets_of(text)]
            sides.append(torch.tensor([*means, 1.0], dtype=torch.float32).double())  # stored as fp32
        spans.append((sides[0], sides[1]))
    return Truth(
        student, pairs, [both(student, pair) for pair in pairs], [(a, b) for a, b in reference], mismatched[0],
        mismatched[1], spans,
    )  # fmt: skip


def stored_reference(truth: Truth) -> Reference:
    """The reference's log-probs in the form that a stage reads from disk."""
    flat = torch.cat([side for pair in truth.reference for side in pair])
    return Reference(flat.float().numpy(), torch.stack(truth.reference_mismatched).numpy())


def step_error(
    policy: Any, rows: Any, objective: Any, modifiers: Sequence[Any], reference: Reference | None, bench: Bench,
    loss: Tensor, gradients: dict[str, Tensor], behaviour: np.ndarray | None = None,
) -> float:  # fmt: skip
    """The largest relative error of our step: of its loss, and of each parameter's gradient by norm (a gradient under a
    thousandth of the whole is held against that thousandth)."""
    policy.zero_grad(set_to_none=True)
    budget = 3 * max(rows.length(n) for n in range(len(rows.prompt_tokens)))  # several packs, each of several rows
    figures = backward_step(
        policy, objective, rows, range(len(rows)), tokens_per_micro_batch=budget, modifiers=modifiers,
        reference=reference, behaviour=behaviour, device=bench.device,
    )  # fmt: skip
    whole = float(torch.stack([g.norm() for g in gradients.values()]).norm())
    found = dict(policy.model.named_parameters())
    worst = max(
        float((found[name].grad.double().cpu() - true).norm()) / max(float(true.norm()), 1e-3 * whole)
        for name, true in gradients.items()
    )
    value = float(loss.detach())
    return max(worst, abs(figures.loss - value) / max(abs(value), 0.1))


def own_loss(objective: Any, rows: Any, logps: Tensor, reference: Reference | None) -> Tensor:
    """The loss of an objective that formulas.py does not know, from fp64 log-probs of single rows: what is checked is the
    device and the packing, and its formula only by its own test."""
    batch = token_batch(rows, range(len(rows)), set(VALUES), reference)
    return step_loss(objective, (), dataclasses.replace(batch, logps=logps))


def asks_a_critic(modifier: Any) -> bool:
    """True of a modifier that weighs tokens by the scores of a trained critic, which is not at hand here."""
    return "critic_scores" in inputs_of(modifier)


def objectives(bench: Bench) -> Iterator[Row]:
    """Every objective of log-probs and every modifier, in fp32 and under bf16 autocast. Objectives of scores want a score head,
    and distill a teacher's distributions: these are other kernels, with tests of their own."""
    longest = 16 if bench.tiny else 200
    truth = truth_of(students.pairs(6, longest))
    rows, reference = encoded(truth.pairs, bench.work / "objective-pairs"), stored_reference(truth)
    singles = students.examples(5, longest)
    example_rows = encoded(singles, bench.work / "objective-examples")
    answers = [token_logps(truth.model, ids_of(e.prompt), [*ids_of(e.completion), END]) for e in singles]
    # what a policy that sampled them, or a reference, would have given: near enough that some ratios are clipped, not all
    draw = torch.Generator().manual_seed(0)
    drawn = [torch.randn(2, len(lp), generator=draw, dtype=torch.float64) for lp in answers]
    before = [lp.detach() + 0.2 * noise[0] for lp, noise in zip(answers, drawn, strict=True)]
    advantages = [noise[1] for noise in drawn]
    action = torch.cat([torch.arange(len(lp)) // formulas.ACTION for lp in answers]).double()
    values = {**example_rows.values, "advantage": torch.cat(advantages).numpy(), "action": action.numpy()}
    own_rows = dataclasses.replace(example_rows, values=values)
    behaviour = torch.cat(before).numpy()
    truths: dict[str, tuple[Any, Any, Sequence[Any], Tensor, dict[str, Tensor]]] = {}
    for name in OBJECTIVES:
        if trains_critic(OBJECTIVES[name]) or needs_teacher(OBJECTIVES[name]):
            continue
        if name in formulas.POLICY:
            loss = formulas.policy_loss(name, answers, advantages, before)
            truths[name] = (OBJECTIVES[name], own_rows, (), loss, truth.gradients(loss))
        elif name in formulas.EXAMPLES:
            loss = -torch.cat(answers).mean()
            truths[name] = (OBJECTIVES[name], example_rows, (), loss, truth.gradients(loss))
            loss = loss + 0.1 * formulas.divergence(answers, before)
            bound = [functools.partial(MODIFIERS["kl"], beta=0.1)]
            truths[f"{name} with kl"] = (OBJECTIVES[name], own_rows, bound, loss, truth.gradients(loss))
        elif name in formulas.OBJECTIVES:
            loss = formulas.step_loss(name, truth.rows())
            truths[name] = (OBJECTIVES[name], rows, (), loss, truth.gradients(loss))
        else:
            pairs = needs_pairs(OBJECTIVES[name])
            each = [side for pair in truth.logps for side in pair] if pairs else answers
            used, known = (rows, reference) if pairs else (example_rows, None)
            loss = own_loss(OBJECTIVES[name], used, torch.cat(each), known)
            truths[name] = (OBJECTIVES[name], used, (), loss, truth.gradients(loss))
            yield holds(f"{name}: second formula", True, "none", "held against its own function in fp64")
    for under in UNDER_MODIFIERS:
        of_pairs = [n for n, m in MODIFIERS.items() if (needs_pairs(m) or not adds_loss(m)) and not asks_a_critic(m)]
        for chosen in [*([name] for name in of_pairs), of_pairs]:
            if any(name not in formulas.MODIFIERS for name in chosen):
                yield holds(f"{under} with {chosen[0]}", False, "no second formula", "one in gpu_checks/formulas.py")
                continue
            bound = [functools.partial(MODIFIERS[name], **formulas.MODIFIERS[name][0]) for name in chosen]
            changed = truth.rows()
            for name in chosen:
                for pair in changed:
                    formulas.MODIFIERS[name][1](pair, changed)
            loss = formulas.step_loss(under, changed)
            label = f"{under} with {chosen[0] if len(chosen) == 1 else 'all modifiers'}"
            truths[label] = (OBJECTIVES[under], rows, bound, loss, truth.gradients(loss))
    torch.set_float32_matmul_precision("highest")  # no TF32
    for bf16, limit in ((False, FP32_LIMIT), (True, BF16_LIMIT)):
        policy = policy_of(tiny_model("qwen2").to(bench.device), bf16=bf16)
        for label, (objective, used, modifiers, loss, gradients) in truths.items():
            if bf16 and ("negative-floor" in label or "all modifiers" in label or label in ("grpo", "actions")):
                continue  # a threshold: rounding may put a token on its other side
            known = {id(example_rows): None, id(own_rows): Reference(behaviour)}.get(id(used), reference)
            sampled = behaviour if used is own_rows else None
            error = step_error(policy, used, objective, modifiers, known, bench, loss, gradients, sampled)
            yield below(f"{label}, {'bf16' if bf16 else 'fp32'}", error, limit)


# --- packed rows against single rows --------------------------------------------------------------------------------------

LEAK_LIMIT = 1.5  # times the error that rounding alone makes


def packed(bench: Bench) -> Iterator[Row]:
    """Log-probs of rows in a pack against each row alone, for kinds of attention and precisions; then the kernel itself."""
    lengths = [70, 33, 33, 9] if bench.tiny else [700, 301, 301, 64, 9]
    for kind in ("llama", "qwen2", "qwen3", "mistral"):
        yield from _model_packed(bench, kind, lengths, width=32, label=kind)
    long = [400, 90, 90] if bench.tiny else [16_384, 4_096, 4_096, 777]
    yield from _model_packed(bench, "qwen2", long, width=32 if bench.tiny else 256, label=f"qwen2, {long[0]:,} tokens")
    yield from _kernel(bench, long)
    if bench.cuda:
        yield _kernel_in_use(bench)


def _model_packed(bench: Bench, kind: str, lengths: list[int], *, width: int, label: str) -> Iterator[Row]:
    draw = torch.Generator().manual_seed(0)
    rows = [torch.randint(5, students.VOCABULARY, (n,), generator=draw).tolist() for n in lengths]
    model = tiny_model(kind, width=width).to(bench.device).eval()
    alone = {}
    with torch.no_grad():
        for bf16 in (False, True):
            with students.autocast(bench.device, bf16):
                alone[bf16] = torch.cat([token_logps(model, row[:1], row[1:]).double() for row in rows])
        if not prepare_for_packing(model):
            yield holds(label, False, "found unfit for packing", "packs")
            return
        policy = PackedPolicy(model)

        def run(these: list[list[int]], bf16: bool) -> Tensor:
            pack = make_pack([(row, 1) for row in these], range(len(these)), [1.0] * len(these)).to(bench.device)
            with students.autocast(bench.device, bf16):
                found = policy(pack)[1].double()
            return torch.cat([found[pack.row_of_target == number] for number in range(len(these))])

        scale = float(alone[False].abs().mean())
        yield below(
            f"{label}, fp32: largest error, relative",
            float((run(rows, False) - alone[False]).abs().max()) / scale,
            FP32_LIMIT,
        )
        rounding = float((alone[True] - alone[False]).abs().mean())
        error = float((run(rows, True) - alone[False]).abs().mean())
        yield below(f"{label}, bf16: mean error against that of a row alone in bf16", error / rounding, LEAK_LIMIT)
        # the shortest row lies first in a pack, where a mask that is only causal would show it to all others
        neighbour = [*rows[:-1], [5 + (token + 7) % 200 for token in rows[-1]]]
        kept = sum(len(row) - 1 for row in rows[:-1])
        leak = max(float((run(rows, b)[:kept] - run(neighbour, b)[:kept]).abs().max()) for b in (False, True))
        yield below(f"{label}: change from another neighbour, nats", leak, 1e-6)


def _kernel(bench: Bench, lengths: list[int]) -> Iterator[Row]:
    """The packed attention itself in bf16, 12 heads on 2, forward and backward, plain and in a window, against each row's
    own softmax; its error over that of bf16 attention on a row alone."""
    heads, keys, width = (4, 2, 8) if bench.tiny else (12, 2, 128)
    lengths = sorted(n for n in lengths if n <= 4_096)
    pack = make_pack([([5] * n, 1) for n in lengths], range(len(lengths)), [1.0] * len(lengths)).to(bench.device)
    draw = torch.Generator(bench.device).manual_seed(0)
    shapes = [(1, count, sum(lengths), width) for count in (heads, keys, keys)]
    leaves = [torch.randn(s, device=bench.device, generator=draw).bfloat16() for s in shapes]
    upstream = torch.randn((1, sum(lengths), heads, width), device=bench.device, generator=draw)
    register_packed()
    attend: Any = AttentionInterface()[PACKED]
    for window in (None, lengths[0] // 2 + 1):

        def ours(q: Tensor, k: Tensor, v: Tensor, window: int | None = window) -> Tensor:
            return attend(None, q, k, v, None, runs=pack.runs, boundaries=pack.boundaries, sliding_window=window)[0]

        def explicit(q: Tensor, k: Tensor, v: Tensor, window: int | None = window) -> Tensor:
            done, start = [], 0
            for n in lengths:
                q_row, k_row, v_row = (x[0, :, start : start + n] for x in (q, k, v))
                k_row, v_row = (x.repeat_interleave(heads // keys, dim=0) for x in (k_row, v_row))
                gap = torch.arange(n, device=q.device)[:, None] - torch.arange(n, device=q.device)[None, :]
                seen = (gap >= 0) & (gap < (window or n))
                scores = (q_row @ k_row.transpose(1, 2)) * width**-0.5
                done.append((scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v_row).transpose(0, 1))
                start += n
            return torch.cat(done)[None]

        true = _with_gradients(explicit, [x.float() for x in leaves], upstream)
        rounded = _with_gradients(explicit, leaves, upstream)  # the same sums in bf16: what rounding alone does
        found = _with_gradients(ours, leaves, upstream)
        path = "varlen" if takes_varlen(leaves[0]) else "row by row"
        worst = max(_gap(a, t) / _gap(r, t) for a, r, t in zip(found, rounded, true, strict=True))
        kind = "plain" if window is None else "sliding window"
        yield below(
            f"kernel in bf16 ({path}, {kind}): error of output, dq, dk, dv against bf16 sums", worst, LEAK_LIMIT
        )


def _with_gradients(function: Any, leaves: Sequence[Tensor], upstream: Tensor) -> list[Tensor]:
    used = [x.detach().clone().requires_grad_(True) for x in leaves]
    out = function(*used)
    out.backward(upstream.to(out.dtype))
    return [out.detach().float(), *(x.grad.float() for x in used)]


def _gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def _kernel_in_use(bench: Bench) -> Row:
    """Which attention a stage under bf16 autocast runs on this GPU: docs/training.md says the one call with boundaries."""
    from torch.nn.attention import varlen

    calls, real = [], varlen.varlen_attn

    @functools.wraps(real)
    def counted(*args: Any, **more: Any) -> Any:
        calls.append(1)
        return real(*args, **more)

    model = copy.deepcopy(tiny_model("qwen2")).to(bench.device)
    policy = policy_of(model, bf16=True)
    pack = make_pack([([5, 6, 7, 8], 1)], [0], [1.0]).to(bench.device)
    varlen.varlen_attn = counted
    try:
        policy(pack)
    finally:
        varlen.varlen_attn = real
    said = f"{len(calls)} of 2 layers in the varlen kernel"
    return holds("a stage in bf16 uses the kernel with boundaries", len(calls) == 2, said, "both layers")
