"""The linear log-prob of the head: ours, torch's linear_cross_entropy, and all logits at once; time, memory, error.

    python benchmarks/head_kernel.py [--tokens 2048] [--width 576] [--vocabulary 49152] [--repeats 5] [--device cpu]

Each kernel computes the loss sum_t c_t * -logp_t and its gradients with respect to hidden states (bf16, as under
autocast, or fp32) and weight (fp32 master). Error: largest difference of a log-prob from fp64 on the same inputs.
Time: median of paired repeats, in turn; memory: peak resident (or CUDA) memory above the inputs, in a fresh process.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable

import torch
from measure import machine, measured, peak_mib, ratio, reset_peak
from torch import Tensor

from redistill.model.logps import token_logps, weighted_nll

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def own_linear(hidden: Tensor, weight: Tensor, targets: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """weighted_nll: the gradient is formed in the forward pass."""
    return weighted_nll(hidden, weight, targets, coefficients)[:2]


def own(hidden: Tensor, weight: Tensor, targets: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """token_logps: the logits are made again in the backward pass."""
    found = token_logps(hidden, weight, targets)
    return -(coefficients * found).sum(), found


def torch_chunked(policy: str) -> Kernel:
    """torch's linear_cross_entropy, in chunks, one value a token."""

    def kernel(hidden: Tensor, weight: Tensor, targets: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        options = torch.nn.LinearCrossEntropyOptions(acc_policy=policy)
        losses = torch.nn.functional.linear_cross_entropy(
            hidden, weight.to(hidden.dtype), targets, reduction="none", options=options
        )
        return (coefficients * losses).sum(), -losses

    return kernel


def all_logits(hidden: Tensor, weight: Tensor, targets: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """The usual way: logits of every token, then cross_entropy in fp32."""
    logits = hidden @ weight.to(hidden.dtype).t()
    losses = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    return (coefficients * losses).sum(), -losses


KERNELS: dict[str, Kernel] = {
    "redistill weighted_nll": own_linear,
    "redistill token_logps": own,
    "torch linear_cross_entropy auto": torch_chunked("auto"),
    "torch linear_cross_entropy accurate": torch_chunked("accurate"),
    "all logits": all_logits,
}


def inputs(case: dict) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    device, dtype = case["device"], getattr(torch, case["dtype"])
    hidden = torch.randn(case["tokens"], case["width"], generator=generator).to(device, dtype).requires_grad_(True)
    # fp32 weights that bf16 holds exactly, so that rounding a master weight is not a kernel's error
    weight = (torch.randn(case["vocabulary"], case["width"], generator=generator) * 0.1).bfloat16().float()
    targets = torch.randint(0, case["vocabulary"], (case["tokens"],), generator=generator)
    return hidden, weight.to(device).requires_grad_(True), targets.to(device), torch.ones(case["tokens"], device=device)


def step(kernel: Kernel, given: tuple[Tensor, Tensor, Tensor, Tensor]) -> float:
    """Seconds of one forward and backward pass."""
    given[0].grad = given[1].grad = None
    started = time.perf_counter()
    kernel(*given)[0].backward()
    if given[0].is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def memory_and_error(case: dict) -> dict:
    """Peak memory of one step above its inputs, then the error of its log-probs."""
    kernel, given = KERNELS[case["kernel"]], inputs(case)
    small = inputs({**case, "tokens": 16})
    step(kernel, small)
    cuda = case["device"] == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() >> 20
    else:
        reset_peak()
        before = peak_mib()
    step(kernel, given)
    peak = (torch.cuda.max_memory_allocated() >> 20 if cuda else peak_mib()) - before
    with torch.no_grad():
        found = torch.cat([kernel(given[0][i : i + 256], given[1], *(x[i : i + 256] for x in given[2:]))[1]
                           for i in range(0, min(case["tokens"], 1024), 256)]).double()  # fmt: skip
        logits = given[0][: len(found)].double() @ given[1].double().t()
        truth = logits.log_softmax(-1).gather(-1, given[2][: len(found), None]).squeeze(-1)
    return {"peak": peak, "error": float((found - truth).abs().max())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("tokens", 2048), ("width", 576), ("vocabulary", 49152), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--worker")
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(memory_and_error(json.loads(options.worker))))
        return
    print(machine("torch"), file=sys.stderr)
    print("| hidden | kernel | seconds | time against weighted_nll | peak MiB above inputs | largest error, nats |")
    print("|---|---|---|---|---|---|")
    for dtype in ("bfloat16", "float32"):
        case = {k: getattr(options, k) for k in ("tokens", "width", "vocabulary", "device")} | {"dtype": dtype}
        given, times = inputs(case), {name: [] for name in KERNELS}
        for turn in range(options.repeats + 1):
            for name, kernel in KERNELS.items():
                seconds = step(kernel, given)
                if turn:
                    times[name].append(seconds)
        del given
        for name in KERNELS:
            found = measured({**case, "kernel": name})
            middle = sorted(times[name])[len(times[name]) // 2]
            against = ratio(times[name], times["redistill weighted_nll"])
            print(
                f"| {dtype} | {name} | {middle:.2f} | {against} | {found['peak']} | {found['error']:.1e} |", flush=True
            )


if __name__ == "__main__":
    main()
