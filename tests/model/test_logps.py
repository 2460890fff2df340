"""The linear log-prob kernel and packed attention: exact, and never holding tokens x vocabulary."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from redistill.errors import OperatorError
from redistill.model import logps
from redistill.model.logps import PackedPolicy, make_pack, prepare_for_packing, token_logps, weighted_nll


def inputs(tokens=50, width=12, vocabulary=31, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, width, generator=generator).to(dtype).requires_grad_(True)
    weight = torch.randn(vocabulary, width, generator=generator).to(dtype).requires_grad_(True)
    targets = torch.randint(0, vocabulary, (tokens,), generator=generator)
    return hidden, weight, targets, torch.randn(tokens, generator=generator)


def truth(hidden, weight, targets, coefficients):
    """fp64 log-softmax of all logits at once, and autograd's own gradients."""
    h, w = hidden.detach().double().requires_grad_(True), weight.detach().double().requires_grad_(True)
    values = torch.log_softmax(h @ w.t(), -1).gather(-1, targets[:, None]).squeeze(-1)
    (-(coefficients.double() * values).sum()).backward()
    return values.detach(), h.grad, w.grad


@pytest.mark.parametrize("dtype,tolerance", [(torch.float32, 1e-6), (torch.bfloat16, 4e-3)])
@pytest.mark.parametrize("kernel", ["token_logps", "weighted_nll"])
def test_values_and_gradients_equal_fp64_over_several_chunks(monkeypatch, kernel, dtype, tolerance):
    monkeypatch.setattr(logps, "chunk_tokens", lambda vocabulary, device: 16)  # 50 tokens: chunks of 16, 16, 16, 2
    hidden, weight, targets, coefficients = inputs(dtype=dtype)
    values, hidden_grad, weight_grad = truth(hidden, weight, targets, coefficients)
    if kernel == "token_logps":
        found = token_logps(hidden, weight, targets)
        loss = -(coefficients * found).sum()
    else:
        loss, found, _ = weighted_nll(hidden, weight, targets, coefficients)
    loss.backward()
    assert found.dtype == torch.float32
    # values in fp32 accuracy even from bf16 inputs; a gradient is as accurate as the dtype of what it belongs to
    assert torch.allclose(found.double(), values, rtol=1e-6, atol=1e-6)
    assert float((hidden.grad.double() - hidden_grad).norm() / hidden_grad.norm()) < tolerance
    assert float((weight.grad.double() - weight_grad).norm() / weight_grad.norm()) < tolerance


def test_torchs_own_kernel_gives_the_same_in_fp32_and_is_refused_for_bf16():
    hidden, weight, targets, coefficients = inputs()
    values, hidden_grad, weight_grad = truth(hidden, weight, targets, coefficients)
    found = token_logps(hidden, weight, targets, backend="torch")
    (-(coefficients * found).sum()).backward()
    assert torch.allclose(found.double(), values, rtol=1e-5, atol=1e-5)
    assert float((hidden.grad.double() - hidden_grad).norm() / hidden_grad.norm()) < 1e-5
    assert float((weight.grad.double() - weight_grad).norm() / weight_grad.norm()) < 1e-5
    with pytest.raises(ValueError, match="fp32 inputs"):
        token_logps(*inputs(dtype=torch.bfloat16)[:3], backend="torch")


def test_the_likeliest_tokens_log_prob_comes_with_the_same_pass(monkeypatch):
    monkeypatch.setattr(logps, "chunk_tokens", lambda vocabulary, device: 16)
    hidden, weight, targets, coefficients = inputs()
    found = weighted_nll(hidden, weight, targets, coefficients)[2]
    likeliest = torch.log_softmax((hidden @ weight.t()).double(), -1).amax(-1)
    assert torch.allclose(found.double(), likeliest, atol=1e-5) and not found.requires_grad


def test_without_gradient_no_gradient_is_formed(monkeypatch):
    formed = []
    monkeypatch.setattr(logps._Head, "add_gradients", lambda *a: formed.append(a))
    with torch.no_grad():
        weighted_nll(*inputs())
    assert not formed


def test_a_frozen_head_gets_no_gradient_and_costs_none():
    hidden, weight, targets, coefficients = inputs()
    weight = weight.detach()
    weighted_nll(hidden, weight, targets, coefficients)[0].backward()
    assert hidden.grad is not None and weight.grad is None


# Each measurement is a fork of a process that has imported torch. VmHWM is the fork's own: `ru_maxrss` is handed down through
# exec, so that a child of a worker with a gigabyte of other tests would seem to need nothing.
PEAKS = """
import os, torch
from redistill.model.logps import weighted_nll, token_logps

def high():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])

def measure(tokens, vocabulary, kernel, width=8):
    hidden = torch.randn(tokens, width, requires_grad=True)
    weight = torch.randn(vocabulary, width, requires_grad=True)
    targets = torch.randint(0, vocabulary, (tokens,))
    before = high()
    if kernel:
        weighted_nll(hidden, weight, targets, torch.ones(tokens))[0].backward()
    else:
        token_logps(hidden, weight, targets).sum().backward()
    print(kernel, vocabulary, (high() - before) // 1024, flush=True)

for kernel in (0, 1):
    for vocabulary in (30_000, 60_000):
        if (child := os.fork()) == 0:
            measure(2400, vocabulary, kernel)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
"""


def test_peak_memory_does_not_hold_tokens_times_vocabulary(tool, tmp_path):
    """2,400 tokens x 60,000 words are 549 MiB of fp32 logits. Twice the vocabulary must not cost twice the memory."""
    done = tool.code(tmp_path, PEAKS)
    assert done.returncode == 0, done.stderr
    peaks = {(kernel, vocabulary): mib for kernel, vocabulary, mib in (map(int, line.split()) for line in done.stdout.splitlines())}  # fmt: skip
    for kernel in (0, 1):
        small, large = peaks[kernel, 30_000], peaks[kernel, 60_000]
        assert 0 < large < 400, f"{large} MiB"
        assert large - small < 60, (small, large)


def tiny(kind, **options):
    config = AutoConfig.for_model(kind, vocab_size=40, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
                                  num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, **options)  # fmt: skip
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config)


def rows_of(*lengths):
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 40, (n,), generator=generator).tolist() for n in lengths]


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "mistral"])
def test_packed_rows_of_many_lengths_equal_single_rows(kind):
    options = {"head_dim": 4} if kind == "qwen3" else {"sliding_window": 5} if kind == "mistral" else {}
    model = tiny(kind, **options).eval()
    rows = rows_of(3, 9, 9, 17, 2, 9)
    model.set_attn_implementation("eager")
    alone = {}
    for number, row in enumerate(rows):
        logits = model(torch.tensor([row])).logits[0, :-1].log_softmax(-1)
        alone[number] = logits.gather(-1, torch.tensor(row[1:])[:, None]).squeeze(-1)
    assert prepare_for_packing(model)
    pack = make_pack([(row, 1) for row in rows], range(6), [1.0] * 6)
    _, found, _ = PackedPolicy(model)(pack)
    for number in range(6):
        assert torch.allclose(found[pack.row_of_target == number], alone[number], atol=1e-5), number


def test_a_head_that_is_more_than_a_matrix_product_is_refused_with_a_sentence():
    model = tiny("gemma2", head_dim=4, final_logit_softcapping=5.0)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(50)  # logits that the cap bites
    with pytest.raises(OperatorError, match=r"its head does more than a matrix product"):
        prepare_for_packing(model)


HYBRID = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 24}
LINEAR = {  # models whose layers carry a state from token to token, whatever the position ids say
    "mamba": {"num_hidden_layers": 2, "state_size": 4},
    "mamba2": {"num_hidden_layers": 2, "state_size": 8, "num_heads": 4, "head_dim": 8, "n_groups": 1, "chunk_size": 8},
    "recurrent_gemma": {**HYBRID, "num_hidden_layers": 3, "head_dim": 8, "lru_width": 16},
    "lfm2": {**HYBRID, "layer_types": ["conv", "full_attention"]},
    "falcon_h1": {**HYBRID, "mamba_d_ssm": 16, "mamba_n_heads": 2, "mamba_d_head": 8, "mamba_d_state": 8,
                  "mamba_n_groups": 1, "mamba_chunk_size": 8},
    "qwen3_next": {**HYBRID, "head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 2,
                   "linear_key_head_dim": 8, "linear_value_head_dim": 8, "num_experts": 2, "num_experts_per_tok": 1,
                   "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8,
                   "layer_types": ["linear_attention", "full_attention"]},
}  # fmt: skip


@pytest.mark.parametrize("kind", LINEAR)
def test_a_model_with_a_state_is_found_out_even_with_small_random_weights_and_runs_row_by_row(kind):
    """Weights of a fresh config leak only 1e-5 to 1e-3 nats into the next row; what is asked is whether it changes at all."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=40, hidden_size=16, **LINEAR[kind])
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    before = model.config._attn_implementation
    assert prepare_for_packing(model) is False and model.config._attn_implementation == before
    (row,) = rows_of(9)
    alone = model(torch.tensor([row]), use_cache=False).logits[0, :-1].log_softmax(-1)
    _, found, _ = PackedPolicy(model, packs=False)(make_pack([(row, 4)], [0], [1.0]))
    assert torch.allclose(found, alone.gather(-1, torch.tensor(row[1:])[:, None])[3:, 0], atol=1e-5)
    with pytest.raises(ValueError, match="several rows"):
        PackedPolicy(model, packs=False)(make_pack([(row, 1), (row, 1)], [0, 1], [1.0, 1.0]))


def row_by_row(q, k, v, starts, starts_k, longest, longest_k, *, scale=None, window_size=(-1, -1), enable_gqa=False):
    """What torch's varlen_attn promises, from its documentation, with an explicit mask and softmax. (T, heads, d)."""
    assert window_size[1] == 0 and torch.equal(starts, starts_k) and longest == longest_k == int(starts.diff().max())
    assert starts.dtype == torch.int32 and (enable_gqa or q.shape[1] == k.shape[1])
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    out = torch.zeros_like(q)
    for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        step = torch.arange(b - a)
        gap = step[:, None] - step[None, :]
        seen = (gap >= 0) & ((gap <= window_size[0]) | (window_size[0] < 0))
        scores = torch.einsum("ihd,jhd->hij", q[a:b], k[a:b]) * (q.shape[-1] ** -0.5 if scale is None else scale)
        out[a:b] = torch.einsum("hij,jhd->ihd", scores.masked_fill(~seen, -torch.inf).softmax(-1), v[a:b])
    return out


def without_gqa(q, k, v, starts, starts_k, longest, longest_k, *, scale=None, window_size=(-1, -1)):
    """torch 2.11 takes no enable_gqa."""
    return row_by_row(q, k, v, starts, starts_k, longest, longest_k, scale=scale, window_size=window_size)


@pytest.mark.parametrize("kernel", [row_by_row, without_gqa])
@pytest.mark.parametrize("kind,options", [("llama", {}), ("mistral", {"sliding_window": 5})])
def test_attention_with_boundaries_is_asked_for_what_the_rows_need(monkeypatch, kernel, kind, options):
    """No GPU here: torch's kernel is replaced by its documented meaning, and the packed log-probs must not change."""
    from torch.nn.attention import varlen

    model = tiny(kind, **options).eval()
    prepare_for_packing(model)
    rows = rows_of(9, 3, 14, 9)
    pack = make_pack([(row, 2) for row in rows], range(4), [1.0] * 4)
    assert pack.boundaries.tolist() == [0, 3, 12, 21, 35]
    with torch.no_grad():
        before = PackedPolicy(model)(pack)[1]
        monkeypatch.setattr(logps, "takes_varlen", lambda query, dropout=0.0: True)
        monkeypatch.setattr(varlen, "varlen_attn", kernel)
        after = PackedPolicy(model)(pack)[1]
    assert torch.allclose(before, after, atol=1e-5)
