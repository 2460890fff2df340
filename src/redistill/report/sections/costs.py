"""What a run cost: tokens, device hours, floating-point operations and their share of what the hardware could do.

FLOPs are those of the model, counted once each way, as is usual (Kaplan et al. 2020, arXiv 2001.08361; Chowdhery et al. 2022,
arXiv 2204.02311, appendix B): 6 N a token for N parameters, and for causal attention 6 x layers x width x the mean row a
token. What is recomputed, and reference passes, are work of the machine and not counted. Rows that differ in length have a
larger mean square than the square of their mean, so the attention's part is a lower bound.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.model.flops import GPUS, Gpu
from redistill.report.blocks import Block, Table, Tag, Text
from redistill.report.files import RunFiles
from redistill.report.text import count, duration, join


@dataclass(frozen=True, slots=True)
class Cost:
    """One stage's tokens, seconds of training steps, processes, and model FLOPs (None where the student is not there)."""

    stage: str
    tokens: int
    seconds: float
    processes: int
    device: str
    flops: float | None

    @property
    def device_hours(self) -> float:
        return self.seconds * self.processes / 3600


def costs(run: RunFiles) -> list[Block]:
    """A table of the stages, and of the whole; nothing before a stage has ended."""
    costs_of_stages = [cost for stage in run.stages if (cost := stage_cost(run, stage))]
    if not costs_of_stages:
        return []
    gpus = [str(name) for name in run.facts.hardware.get("gpus") or []]
    gpu = gpu_of(gpus[0]) if gpus else None
    rows: list[tuple[str | Tag | None, ...]] = [
        (
            Tag(cost.stage, run.series(cost.stage)), count(cost.tokens), duration(cost.seconds), _hours(cost.device_hours),
            _flops(cost.flops), _flops(cost.flops / cost.seconds) if cost.flops and cost.seconds else None, _share(run, cost, gpu),
        )
        for cost in costs_of_stages
    ]  # fmt: skip
    flops = [cost.flops for cost in costs_of_stages if cost.flops]
    rows.append(
        (
            "all", count(sum(c.tokens for c in costs_of_stages)), duration(sum(c.seconds for c in costs_of_stages)),
            _hours(sum(c.device_hours for c in costs_of_stages)), _flops(sum(flops)) if len(flops) == len(costs_of_stages) else None, None, None,
        )
    )  # fmt: skip
    unit = "GPU-hours" if any(cost.device.startswith("cuda") for cost in costs_of_stages) else "process-hours"
    head = ("stage", "tokens", "time in steps", unit, "model FLOPs", "FLOP/s", "of the peak")
    note = "FLOPs: 6 per parameter and token, and 6 × layers × width × mean row for attention; recomputation is not counted. "
    if gpu:
        note += f"Peak: {gpu.bf16_tflops:,.0f} TFLOP/s per GPU in bf16, {gpu.fp32_tflops:,.0f} in fp32 ({join(sorted(set(gpus)))})."
    elif gpus:
        note += f"Share of the peak: left out, because the peak of {join(sorted(set(gpus)))} is not known."
    else:
        note += "Share of the peak: left out, because no GPU was used."
    if sampling := [cost.stage for cost in costs_of_stages if run.draws_own_rows(cost.stage)]:
        note += f" The time of {join(sampling)} includes sampling and judging its own answers; the FLOPs do not."
    return [Table("Cost of training", head, rows), Text(note, "quiet")]


def device_hours(costs: Sequence[Cost]) -> str | None:
    """'12.50 GPU', or '0.0123 process' where no GPU was at work."""
    if not costs:
        return None
    unit = "GPU" if any(cost.device.startswith("cuda") for cost in costs) else "process"
    return f"{_hours(sum(cost.device_hours for cost in costs))} {unit}"


def stage_cost(run: RunFiles, stage: str) -> Cost | None:
    """The cost of a stage whose ledger is there; steps that a guard went back behind cost too."""
    ledger = run.stage_ledger(stage)
    if ledger is None:
        return None
    steps = [s for s in [*run.steps(stage), *(s for part in run.abandoned(stage) for s in part)] if s.step > 0]
    tokens = int(sum(s.tokens or 0 for s in steps))
    seconds = sum(s.seconds or 0.0 for s in steps)
    shape = model_shape(run.folder / "train" / stage / "model")
    batch = run.setting("train", stage, "batch_size")
    flops = None
    if shape and tokens:
        sides = 2 if any(s.rejected_logp is not None for s in steps) else 1
        # rounds whose steps are set take each of their rows once, whatever batch_size says
        by_rounds = run.setting("train", stage, "rollouts", "updates") and ledger.rows
        rows = ledger.rows.kept if by_rounds and ledger.rows else len(steps) * (batch or 0)
        row = tokens / (rows * sides) if rows else 0.0
        flops = tokens * (6.0 * shape["parameters"] + 6.0 * shape["layers"] * shape["width"] * row)
    return Cost(stage, tokens, seconds, ledger.processes, ledger.device, flops)


def model_shape(folder: Path) -> Mapping[str, int] | None:
    """Parameters, layers and width of a checkpoint, from its config and the headers of its weights; no weight is read."""
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").exists():
        return None
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        config = config.get("text_config", config)
        parameters = sum(_numbers(path) for path in files)
        return {
            "parameters": parameters,
            "layers": int(config["num_hidden_layers"]),
            "width": int(config["hidden_size"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a model of another kind: its time and tokens are still shown


def _numbers(path: Path) -> int:
    """How many numbers a safetensors file holds: its first eight bytes give the length of a header in JSON."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(min(length, 100_000_000)))
    total = 0
    for name, entry in header.items():
        if name != "__metadata__":
            size = 1
            for side in entry["shape"]:
                size *= int(side)
            total += size
    return total


def gpu_of(name: str) -> Gpu | None:
    """The data sheet of a GPU by the name that its driver gives; None for one that is not in our table. The PCIe versions
    are slower than those in it, so they are not taken for them."""
    plain = name.replace(" ", "").lower()
    if "pcie" in plain:
        return None
    return next((gpu for key, gpu in GPUS.items() if key.partition("-")[0].lower() in plain), None)


def _share(run: RunFiles, cost: Cost, gpu: Gpu | None) -> str | None:
    """Of the dense peak at the stage's precision."""
    if not (gpu and cost.flops and cost.seconds and cost.device.startswith("cuda")):
        return None
    precision = str(run.setting("train", cost.stage, "mixed_precision"))
    peak = gpu.peak("bf16" if precision == "auto" else precision)  # every GPU of the table has bf16
    return f"{100 * cost.flops / (cost.seconds * cost.processes * peak):.1f}%"


def _hours(hours: float) -> str:
    return f"{hours:.4f}" if hours < 0.1 else f"{hours:,.2f}"


def _flops(value: float | None) -> str | None:
    """1.23e+15 -> '1.23 PFLOP' by thousands."""
    if not value:
        return None
    for size, unit in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"
