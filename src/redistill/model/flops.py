"""What training costs: floating-point operations from counts of tokens, hours on named GPUs, money; GPUS.

    work = Work(tokens=1_000_000, learned=800_000, squares=900_000_000)
    flops = training_flops(shape, work)["total"]
    hours(flops, GPUS["H100"], mixed_precision="bf16", utilisation=0.35, gpus=8)

Pure arithmetic, standard library only. Letters as in model/memory.py: D hidden size, Q width of all query heads, L layers,
V vocabulary.
"""

from dataclasses import dataclass

from redistill.model.memory import Shape


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU by its data sheet. memory_gib: what the driver shows. The peaks: dense, in TFLOP/s; fp32 without TF32, which
    torch leaves off. dollars_per_hour: an assumption, a usual price of renting one; look yours up."""

    memory_gib: float
    bf16_tflops: float
    fp32_tflops: float
    dollars_per_hour: float

    def peak(self, mixed_precision: str) -> float:
        """FLOP/s of a stage's products."""
        return (self.bf16_tflops if mixed_precision == "bf16" else self.fp32_tflops) * 1e12


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage runs through the student. tokens: of all sequences of all steps; learned: those that carry loss;
    squares: the sum of the squared lengths of the sequences, for attention."""

    tokens: float
    learned: float
    squares: float


def training_flops(
    shape: Shape, work: Work, *, extra_forwards: float = 0.0, made_again: float = 0.0, reference: Work | None = None
) -> dict[str, float]:
    """Floating-point operations by component.

    body: 6 N tokens, N the weights that a token visits in the layers (4 N where few of them are trained: frozen weights need
    no gradient). head: 6 D V for each token that carries loss. attention: 6 L Q for each causal pair of positions, half of
    length^2, times two products: 6 L Q squares. extra: forward passes (a third of all this) besides the step's own: over the
    step's tokens (`extra_forwards`, for objectives that look first) and over `reference`, once. made_again: the share of
    layers whose forward pass is done twice to save memory; hardware does it, but it is not part of the work.
    """
    body, head, attention = _forward(shape, work)
    frozen = shape.trainable < shape.parameters // 2
    products = {"body": (2 if frozen else 3) * body, "head": (2 if frozen else 3) * head, "attention": 3 * attention}
    products["extra_forwards"] = extra_forwards * (body + head + attention)
    if reference is not None:
        products["extra_forwards"] += sum(_forward(shape, reference))
    products["made_again"] = made_again * (body + attention)
    return {**products, "total": sum(products.values())}


def _forward(shape: Shape, work: Work) -> tuple[float, float, float]:
    """(body, head, attention) of a forward pass: 2 for each weight and token."""
    body = 2.0 * visited_weights(shape) * work.tokens
    return body, 2.0 * shape.hidden * shape.vocabulary * work.learned, 2.0 * shape.layers * shape.queries * work.squares


def visited_weights(shape: Shape) -> int:
    """Weights of the layers that multiply one token: all of a dense model's, of experts those that are visited."""
    layer = shape.hidden * (2 * shape.queries + 2 * shape.keys + 3 * shape.intermediate)
    ends = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
    return min(shape.layers * layer, max(0, shape.parameters - ends))


def hours(flops: float, gpu: Gpu, *, mixed_precision: str, utilisation: float, gpus: int) -> float:
    """Hours where `utilisation` of the peak is reached and the work parts evenly over the GPUs."""
    return flops / (gpu.peak(mixed_precision) * utilisation * gpus) / 3600


# Data sheets of NVIDIA (SXM versions where there are several; the RTX 4090's bf16 with fp32 sums). Prices: our assumption.
GPUS: dict[str, Gpu] = {
    "H100": Gpu(79.1, 989.0, 67.0, 2.50),
    "H200": Gpu(139.8, 989.0, 67.0, 3.50),
    "A100-80": Gpu(79.1, 312.0, 19.5, 1.60),
    "L40S": Gpu(44.4, 362.0, 91.6, 1.00),
    "RTX4090": Gpu(23.5, 165.2, 82.6, 0.40),
}
