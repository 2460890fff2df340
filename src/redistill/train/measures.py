"""What is measured over the vocabulary at each token of a step, and who says what it is compared with.

    measures = measures_of([objective, *modifiers])     {"teacher_divergences": Measure("jsd", "teacher", beta=0.5)}
    measures["teacher_divergences"].values(hidden, weight, teacher.at(pack, places))          (N,), differentiable

An objective or a modifier asks by its parameter names (objectives/calling.py), and its options say which divergence. A teacher
is a model that runs beside the student, or its stored top-k log-probs.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from redistill.errors import OperatorError
from redistill.model.divergences import TeacherHead, TeacherTopK, token_divergence, token_entropy, top_logps
from redistill.model.logps import Pack
from redistill.train.objectives import measures_asked, name_of

Teacher = TeacherHead | TeacherTopK


class Distribution(Protocol):
    """A model that does not learn, asked for its next-token distributions at the targets of a pack."""

    def at(self, pack: Pack, places: np.ndarray) -> Teacher:
        """places: (N,), where each of the pack's targets lies among all completion tokens of the rows, end to end."""
        ...


@dataclass(frozen=True, slots=True)
class Measure:
    """One quantity of each token: the student's entropy, or its divergence from another model's distribution."""

    name: Literal["forward-kl", "reverse-kl", "jsd", "entropy"]
    of: str = ""  # whom the student is compared with: "teacher", "reference"
    beta: float = 0.5
    temperature: float = 1.0
    top_k: int | None = None
    tail: Literal["bucket", "renormalise"] = "bucket"

    def values(self, hidden: Tensor, weight: Tensor, other: Teacher | None) -> Tensor:
        """(N,) in nats, differentiable in hidden (N, D) and weight (V, D)."""
        if self.name == "entropy":
            return token_entropy(hidden, weight, temperature=self.temperature)
        if other is None:
            raise ValueError(f"a divergence from the {self.of} is needed, but there is no {self.of}")
        if isinstance(other, TeacherHead) and len(other.weight) != len(weight):
            # heads are often padded to a size of their own; that the tokenizer's tokens are in both was asked before
            size = min(len(other.weight), len(weight))
            other = TeacherHead(other.hidden, other.weight[:size], other.bias)
            weight = weight[:size]
        return token_divergence(
            hidden, weight, other, divergence=self.name, beta=self.beta, temperature=self.temperature
        )


def measures_of(functions: Iterable[Callable[..., Any]]) -> dict[str, Measure]:
    """What objectives and modifiers ask to be measured, by the parameter's name without a side. OperatorError where two of
    them mean different things by one name."""
    measures: dict[str, Measure] = {}
    for function in functions:
        options = _options(function)
        for model, quantity in sorted(measures_asked(function)):
            name = f"{model}_{quantity}".lstrip("_")
            chosen = {key: options[key] for key in ("beta", "temperature", "top_k", "tail") if key in options}
            # the divergence from a reference is the KL of policy gradients: KL(student || reference)
            measure = (
                Measure("entropy")
                if quantity == "entropies"
                else Measure(options.get("divergence", "reverse-kl"), model, **(chosen if model == "teacher" else {}))
            )
            if measures.setdefault(name, measure) != measure:
                raise OperatorError(f"{name_of(function)} asks for other {name} than the stage's other parts do.")
    return measures


def _options(function: Callable[..., Any]) -> dict[str, Any]:
    plain = function.func if isinstance(function, functools.partial) else function
    parameters = inspect.signature(plain).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    return {**defaults, **(function.keywords if isinstance(function, functools.partial) else {})}


@dataclass(frozen=True, slots=True)
class ModelDistribution:
    """A model in memory, which runs on the student's own packs. policy: a PackedStates."""

    policy: nn.Module
    measure: Measure
    vocabulary: int  # tokens that the student's head has too

    def at(self, pack: Pack, places: np.ndarray) -> Teacher:
        """Its hidden states and head, or its likeliest tokens where the measure asks for those alone."""
        with torch.no_grad():
            hidden, weight = self.policy(pack)
            weight = weight[: self.vocabulary]
            if self.measure.top_k is None:
                return TeacherHead(hidden, weight)
            ids, logps = top_logps(hidden, weight, self.measure.top_k, temperature=self.measure.temperature)
        return TeacherTopK(ids, logps, self.measure.tail)


@dataclass(frozen=True, slots=True)
class StoredDistribution:
    """A teacher's likeliest tokens on all completion tokens of the rows, end to end: ids (T, k) int32, logps (T, k) fp32."""

    ids: np.ndarray
    logps: np.ndarray
    tail: Literal["bucket", "renormalise"] = "bucket"

    def at(self, pack: Pack, places: np.ndarray) -> Teacher:
        """Those of the pack's targets."""
        device = pack.targets.device
        return TeacherTopK(
            torch.from_numpy(np.asarray(self.ids[places], dtype=np.int64)).to(device),
            torch.from_numpy(np.asarray(self.logps[places], dtype=np.float32)).to(device),
            self.tail,
        )


def figures_of(measures: Mapping[str, Tensor]) -> dict[str, float]:
    """For metrics.jsonl: means over the step's completion tokens, in nats, under names of single tokens."""
    return {_FIGURE.get(name, name): float(values.mean()) for name, values in measures.items()}


_FIGURE = {
    "teacher_divergences": "teacher_divergence",
    "reference_divergences": "reference_divergence",
    "entropies": "token_entropy",
}
