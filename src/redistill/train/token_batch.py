"""The completion tokens of one optimizer step, described by name: what objectives and modifiers are computed from.

    batch = TokenBatch(ids, counts, row, side, group, row_weights, logps=logps, values={"weight": weights})
    sums = batch.by_sequence(batch.logps)                     (S,) summed log-probs
    sums[batch.of(Side.chosen)], sums[batch.of(Side.rejected)]    two (R,) tensors, pair by pair

Letters: T completion tokens of the step, end to end in the order of its sequences; S sequences; R rows (an example is a
row of one sequence, a pair a row of two). Everything about a sequence is looked up by its side and row, never by its
position, so a batch may hold its sequences in any order.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import torch
from torch import Tensor


class Side(IntEnum):
    """What a sequence is in its row; the codes of `TokenBatch.side`."""

    single = 0  # the completion of an example
    chosen = 1
    rejected = 2


# the names that `TokenBatch.values` may hold
VALUES = ("advantage", "weight", "target", "mask", "action", "critic_score")


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """A step's completion tokens. Floats are fp64; None where a quantity is unknown or nothing asks for it.

    ValueError where shapes disagree, or for a token value whose name is not one of VALUES.
    """

    ids: Tensor  # (T,) int64: token ids
    counts: Tensor  # (S,) completion tokens of each sequence, the end-of-turn token included
    row: Tensor  # (S,) int64: the row that each sequence belongs to, 0..R-1
    side: Tensor  # (S,) int64: the Side of each sequence
    group: Tensor  # (S,) int64: sequences of one problem have one number
    row_weights: Tensor  # (R,): multiplies the row's loss; may be negative, the divisor counts its absolute value
    logps: Tensor | None = None  # (T,): log-probs of the student
    reference_logps: Tensor | None = None  # (T,): log-probs of the reference model
    behaviour_logps: Tensor | None = None  # (T,): log-probs of the policy that sampled the completions
    scores: Tensor | None = None  # (T,): outputs of a score head, read at the token itself
    values: Mapping[str, Tensor] = field(default_factory=dict)  # name -> (T,): a value for each token
    # name -> (T,): what is measured over the vocabulary at each token: "teacher_divergences", "entropies"
    measures: Mapping[str, Tensor] = field(default_factory=dict)
    mismatched_logps: Tensor | None = None  # (R,): sums over another row's completion after this row's prompt
    reference_mismatched_logps: Tensor | None = None  # (R,): the same under the reference model

    def __post_init__(self) -> None:
        tokens, sequences, rows = len(self.ids), len(self.counts), len(self.row_weights)
        if int(self.counts.sum()) != tokens:
            raise ValueError(f"counts of {int(self.counts.sum())} tokens, but {tokens} ids")
        by_token = ("logps", "reference_logps", "behaviour_logps", "scores")
        by_row = ("mismatched_logps", "reference_mismatched_logps")
        sizes = {"row": sequences, "side": sequences, "group": sequences}
        sizes |= dict.fromkeys(by_token, tokens) | dict.fromkeys(by_row, rows)
        given = {name: getattr(self, name) for name in sizes} | dict(self.values) | dict(self.measures)
        for name, tensor in given.items():
            if tensor is not None and tensor.shape != (sizes.get(name, tokens),):
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}, not {(sizes.get(name, tokens),)}")
        unknown = sorted(set(self.values) - set(VALUES))
        if unknown:
            raise ValueError(f"no token value is called {unknown[0]!r}; there are {', '.join(VALUES)}")

    @property
    def sequence(self) -> Tensor:
        """(T,) int64: the number of the sequence that each token belongs to, 0..S-1."""
        return torch.repeat_interleave(torch.arange(len(self.counts)), self.counts.long())

    def by_sequence(self, values: Tensor) -> Tensor:
        """(S,): the sum of `values` (T,) over each sequence."""
        return values.new_zeros(len(self.counts)).index_add(0, self.sequence, values)

    def of(self, side: Side) -> Tensor:
        """The numbers of the sequences of one side, by rising row: chosen and rejected of a pair are at one place."""
        numbers = (self.side == side).nonzero().squeeze(1)
        return numbers[self.row[numbers].argsort()]

    def with_logps(self, logps: Tensor) -> "TokenBatch":
        """The same batch with the student's log-probs (T,)."""
        return dataclasses.replace(self, logps=logps)

    def with_scores(self, scores: Tensor) -> "TokenBatch":
        """The same batch with a critic's scores (T,)."""
        return dataclasses.replace(self, scores=scores)
