"""The optimizer of a stage: AdamW on fp32 master weights, whole, with 8-bit moments, or with its moments in host memory.

    optimizer = make_optimizer(model, settings, offloaded=False)
    set_rate(optimizer, 1e-6)

`adamw_8bit` is bitsandbytes' (Dettmers et al. 2022, arXiv 2110.02861): moments in blocks of 256 at 8 bits, tensors under
4,096 values at 32. It takes other steps than AdamW, near ones. OffloadedAdamW takes the very steps of AdamW.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from transformers import PreTrainedModel

from redistill.config.extras import missing
from redistill.config.tables import StageSettings
from redistill.errors import OperatorError


def make_optimizer(
    model: PreTrainedModel, settings: StageSettings, *, offloaded: bool = False
) -> torch.optim.Optimizer:
    """The stage's optimizer over the trained parameters; no weight decay on norms and biases, as transformers does it.

    OperatorError where `adamw_8bit` is asked for and bitsandbytes is not installed.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    options: dict[str, Any] = {
        "lr": settings.learning_rate,
        "betas": (settings.beta1, settings.beta2),
        "eps": settings.eps,
    }
    if settings.optimizer == "adamw":
        return OffloadedAdamW(groups, **options) if offloaded else torch.optim.AdamW(groups, **options, fused=True)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise OperatorError(missing("bitsandbytes", "train: optimizer adamw_8bit")) from error
    return AdamW8bit(groups, **options)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of the next step, in every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class OffloadedAdamW(torch.optim.AdamW):
    """AdamW whose moments lie in the host's memory and visit the weights' device one tensor at a time.

    The same fused kernel on the same numbers, so the same steps to the bit; it moves 16 bytes a parameter over the bus in
    each. On a CPU there is nowhere to move them to, and it is AdamW.
    """

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, **options, fused=True)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step; parameters without a gradient are skipped."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                    state["exp_avg"], state["exp_avg_sq"] = _on_host(parameter), _on_host(parameter)
                moments = [state[name].to(parameter.device, non_blocking=True) for name in ("exp_avg", "exp_avg_sq")]
                adamw(
                    [parameter], [parameter.grad], [moments[0]], [moments[1]], [], [state["step"]], fused=True,
                    amsgrad=False, beta1=beta1, beta2=beta2, lr=group["lr"], weight_decay=group["weight_decay"],
                    eps=group["eps"], maximize=False,
                )  # fmt: skip
                for name, moment in zip(("exp_avg", "exp_avg_sq"), moments, strict=True):
                    if moment is not state[name]:
                        state[name].copy_(moment)


def _on_host(parameter: Tensor) -> Tensor:
    """Zeros of a parameter's shape in host memory, pinned where a device will read them."""
    return torch.zeros(parameter.shape, dtype=torch.float32, device="cpu", pin_memory=parameter.is_cuda)
