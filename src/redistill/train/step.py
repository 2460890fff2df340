"""One optimizer step: the rows of the step in, gradients and figures out, the same for any split into micro-batches.

    figures = backward_step(policy, objective, rows, row_numbers, tokens_per_micro_batch=8192)

Every objective is a function of the step's token log-probs, so its gradient is a coefficient on each token. Where the
objective is linear the coefficients are known beforehand (REDI: +1/|y_w| and -alpha/|y_l|, divided by the pairs of the
step). Where a row's coefficients depend on its own log-probs alone (DPO, SimPO) and every row fits into a micro-batch, a
micro-batch of whole rows finds its own between body and head. Else a first pass without gradient finds the log-probs.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from redistill.model.logps import Measured, Pack, TokenSequence, make_pack
from redistill.train.coefficients import (
    all_coefficients,
    gradient_is_row_local,
    is_linear,
    measures_stand_alone,
    step_loss,
    token_coefficients,
    vanishes_without_advantage,
)
from redistill.train.measures import Distribution, Measure, figures_of, measures_of
from redistill.train.modifiers import Modifier, reads_logps
from redistill.train.objectives import (
    Objective,
    needs_mismatched,
    needs_pairs,
    needs_scores,
    needs_values,
    trains_critic,
)
from redistill.train.objectives.implicit import figures_of_critic
from redistill.train.packing import first_fit_decreasing
from redistill.train.rows import Rows
from redistill.train.token_batch import Side, TokenBatch


@dataclass(frozen=True, slots=True)
class Ranks:
    """How this process works with the others: its number, their count, a sum over all, and DDP's pause of syncing."""

    number: int = 0
    count: int = 1
    sum: Callable[[Tensor], Tensor] = lambda tensor: tensor
    no_sync: Callable[[], AbstractContextManager[None]] = nullcontext
    backward: Callable[[Tensor], None] = lambda loss: loss.backward()


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference model's log-probs on the rows: of every completion token, end to end, and of mismatched sequences."""

    token_logps: np.ndarray  # (completion tokens of all sequences,), fp32
    mismatched_logps: np.ndarray | None = None  # (rows,), fp64


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What a step measured: the loss, tokens run, and of each sequence that was run (fp64) the summed log-probs (of a critic,
    scores), completion tokens, coefficient and how sure the student was."""

    loss: float
    logps: Tensor  # (sequences,)
    tokens: Tensor  # (sequences,)
    packed_tokens: int  # of the sequences that were run
    coefficients: Tensor  # (sequences,): d(loss)/d(-logp) of the first completion token, its weight on a shared prefix
    top_probs: Tensor  # (sequences,): probability of the likeliest token, mean over the completion
    row: Tensor  # (sequences,): the row of the step, 0..rows-1
    side: Tensor  # (sequences,): the Side
    without_signal: int = 0  # rows that were not run, because all their advantages are 0
    critic: dict[str, float | None] | None = None  # of a critic: how right it was about its targets
    measures: Mapping[str, float] = field(default_factory=dict)  # means over the step's tokens, for the log

    def of(self, side: Side, values: Tensor) -> Tensor:
        """(rows,): what `values` (sequences,) says of one side of each row, by rising row."""
        sides = self.side.unique()
        order = (self.row * len(Side) + self.side).argsort()
        # a column of the table rows x sides: torch sums a column in another order than a copy of it, and the figures of
        # a run that is repeated are to be equal to the last digit
        return values[order].view(-1, len(sides))[:, sides.tolist().index(side)]


def backward_step(
    policy: nn.Module,
    objective: Objective,
    rows: Rows,
    row_numbers: Sequence[int],
    *,
    tokens_per_micro_batch: int,
    modifiers: Sequence[Modifier] = (),
    reference: Reference | None = None,
    behaviour: np.ndarray | None = None,
    others: Mapping[str, Distribution] | None = None,
    device: torch.device | None = None,
    ranks: Ranks | None = None,
) -> StepFigures:
    """Add the step's gradient to the policy's parameters; returns its figures.

    others: "teacher" and "reference", where the objective or a modifier compares the student's distributions with theirs.

    The loss is divided once, by the weight of the whole step over all ranks, never by micro-batch. Every rank plans the
    whole step and runs its share of the packs, so the ranks agree without a word; a rank with fewer packs runs one of
    its own again with coefficients of zero, for DDP counts backward passes. Rows whose advantages are all exactly 0 count in
    the divisor and are not run: their gradient is 0 (but for one row where all of them are such, so that every parameter has
    a gradient, as in any step).
    """
    task = _Task(
        policy, objective, tuple(modifiers), rows, row_numbers, tokens_per_micro_batch,
        device or torch.device("cpu"), ranks or Ranks(), others or {}, measures_of([objective, *modifiers]),
    )  # fmt: skip
    batch = token_batch(rows, row_numbers, needs_values([objective, *modifiers]), reference, behaviour)
    sequences = [rows.sequence(n) for row in row_numbers for n in rows.sequences_of(row)]
    before = _before_the_packs(task, batch, sequences)
    idle = _idle(task, before)
    run = [number for number in range(len(sequences)) if number // rows.per_row not in idle]
    together = rows.per_row if before.late else 1
    plan = PackPlan(sequences, tokens_per_micro_batch, task.ranks, task.device, together, run)
    measured = task.ranks.sum(_run_packs(task, before, plan)).cpu()
    return _figures(task, before, measured, run, sum(len(sequences[number][0]) for number in run), len(idle))


@dataclass(frozen=True, slots=True)
class _Task:
    """What a step is asked to do, and with what; see backward_step."""

    policy: nn.Module
    objective: Objective
    modifiers: tuple[Modifier, ...]
    rows: Rows
    row_numbers: Sequence[int]
    tokens_per_micro_batch: int
    device: torch.device
    ranks: Ranks
    others: Mapping[str, Distribution]
    measures: Mapping[str, Measure]  # over the vocabulary, by name

    def first_pass(self, wanted: Sequence[TokenSequence]) -> Tensor:
        """The log-probs of these sequences' completion tokens, end to end, without gradient."""
        return find_token_logps(
            self.policy,
            wanted,
            tokens_per_micro_batch=self.tokens_per_micro_batch,
            device=self.device,
            ranks=self.ranks,
        )

    def filled(self, batch: TokenBatch, outputs: Tensor) -> TokenBatch:
        """The batch with what the policy says of its tokens: log-probs, or the scores of a critic."""
        return batch.with_scores(outputs) if needs_scores(self.objective) else batch.with_logps(outputs)


@dataclass(frozen=True, slots=True)
class _Before:
    """What is known before any pack is run."""

    batch: TokenBatch
    linear: bool  # no coefficient depends on a log-prob
    late: bool  # each micro-batch, of whole rows, finds the coefficients of its own between body and head
    known: Tensor  # (T,): log-probs at which the coefficients are found; any where they are not looked at
    coefficients: Tensor  # (T,); zeros where late
    of_measures: Mapping[str, Tensor]  # (T,) each: coefficients of what is measured


def _before_the_packs(task: _Task, batch: TokenBatch, sequences: Sequence[TokenSequence]) -> _Before:
    """How the step's coefficients are found, and those that can be found now; a first pass where they depend on log-probs."""
    objective, modifiers, rows, measures = task.objective, task.modifiers, task.rows, task.measures
    batch = dataclasses.replace(batch, measures=dict.fromkeys(measures, torch.zeros(len(batch.ids)).double()))
    if needs_mismatched(objective):
        batch = dataclasses.replace(batch, mismatched_logps=_mismatched_logps(task))
    linear = is_linear(objective) and not any(map(reads_logps, modifiers))
    whole_rows = [sum(rows.length(n) for n in rows.sequences_of(row)) for row in task.row_numbers]
    late = (
        not linear
        and max(whole_rows) <= task.tokens_per_micro_batch
        and gradient_is_row_local(objective, modifiers)
        and (not measures or measures_stand_alone(objective, modifiers))
    )
    # where the log-probs are not looked at, any point has the same gradient
    known = torch.full(batch.ids.shape, -1.0, dtype=torch.float64) if linear or late else task.first_pass(sequences)
    coefficients, of_measures = torch.zeros_like(known), dict[str, Tensor]()
    if measures or not late:
        weights, of_measures = all_coefficients(objective, modifiers, batch.with_logps(known))
        coefficients = coefficients if late else weights
    return _Before(batch, linear, late, known, coefficients, of_measures)


def _mismatched_logps(task: _Task) -> Tensor:
    """(rows,): the log-prob of each row's mismatched sequence."""
    mismatched = [task.rows.mismatched(row) for row in task.row_numbers]
    lengths = [len(ids) - max(prompt, 1) for ids, prompt in mismatched]
    return torch.stack([part.sum() for part in task.first_pass(mismatched).split(lengths)])


def _idle(task: _Task, before: _Before) -> set[int]:
    """Places of the rows that need not be run, for their advantages are all 0."""
    if not (before.linear or before.late) or task.measures:
        return set()
    if not vanishes_without_advantage(task.objective, task.modifiers):
        return set()
    return rows_without_signal(task.rows, task.row_numbers)


def _run_packs(task: _Task, before: _Before, plan: "PackPlan") -> Tensor:
    """One forward and backward pass for each of this rank's packs. (3 + measures, T), zeros where other ranks run: by token the
    log-prob, the likeliest token's probability, the coefficient that a micro-batch found for itself, and what is measured."""
    measures, ranks = task.measures, task.ranks
    measured = torch.zeros(3 + len(measures), len(before.batch.ids), dtype=torch.float64, device=task.device)
    in_rows = _places_in_rows(task.rows, task.row_numbers) if measures else np.zeros(0, np.int64)
    for turn in range(plan.turns):
        pack, places, mine = plan.pack(turn, before.coefficients)

        def weigh(logps: Tensor, places: Tensor = places, mine: bool = mine) -> Tensor:
            if not mine:
                return torch.zeros_like(logps)
            here = places.cpu()
            outputs = before.known.index_copy(0, here, logps.double().cpu())
            batch = task.filled(before.batch, outputs)
            own = token_coefficients(task.objective, task.modifiers, batch)[here].to(task.device)
            measured[2, places] = own
            return own.float()

        with nullcontext() if turn == plan.turns - 1 else ranks.no_sync():
            more = [_measured_in(task, before, pack, places.cpu(), in_rows, mine)] if measures else []
            loss, logps, top_logps, *values = task.policy(pack, weigh if before.late else None, *more)
            ranks.backward(loss * ranks.count)  # DDP averages over ranks; the step is a sum
        if mine:
            measured[0, places], measured[1, places] = logps.detach().double(), top_logps.detach().double().exp()
            for place, value in enumerate(values, 3):
                measured[place, places] = value.double()
    return measured


def _measured_in(
    task: _Task, before: _Before, pack: Pack, here: Tensor, in_rows: np.ndarray, mine: bool
) -> list[Measured]:
    """What the policy is to measure on a pack, with its coefficients; a rank's filler has coefficients of zero."""
    said = {name: other.at(pack, in_rows[here.numpy()]) for name, other in task.others.items()}
    return [
        Measured(
            functools.partial(measure.values, other=said.get(measure.of)),
            (before.of_measures[name][here] * float(mine)).float().to(task.device),
        )
        for name, measure in task.measures.items()
    ]


def _figures(
    task: _Task, before: _Before, measured: Tensor, run: Sequence[int], packed_tokens: int, idle: int
) -> StepFigures:
    """The step's figures from what its packs have measured on all ranks."""
    token_logps, top_probs, own, *values = measured
    coefficients = own if before.late else before.coefficients
    figures = dict(zip(task.measures, values, strict=True))
    batch = dataclasses.replace(task.filled(before.batch, token_logps), measures=figures)
    firsts = (batch.counts.cumsum(0) - batch.counts).long()
    return StepFigures(
        float(step_loss(task.objective, task.modifiers, batch)),
        batch.by_sequence(token_logps)[run],
        batch.counts[run],
        packed_tokens,
        coefficients[firsts][run],
        (batch.by_sequence(top_probs) / batch.counts)[run],
        batch.row[run],
        batch.side[run],
        idle,
        figures_of_critic(task.objective, batch) if trains_critic(task.objective) else None,
        figures_of(batch.measures),
    )


def rows_without_signal(rows: Rows, row_numbers: Sequence[int]) -> set[int]:
    """Places in `row_numbers` of rows of one sequence whose advantages are all exactly 0; all but the shortest where every
    row is such."""
    starts, advantages = rows.completion_starts(), rows.values["advantage"]
    idle = {p for p, n in enumerate(row_numbers) if not np.any(advantages[starts[n] : starts[n + 1]])}
    if len(idle) == len(row_numbers):
        idle.discard(min(idle, key=lambda place: (rows.length(row_numbers[place]), place)))
    return idle


def _places_in_rows(rows: Rows, row_numbers: Sequence[int]) -> np.ndarray:
    """(T,): where each completion token of the step lies among those of all rows, end to end."""
    starts = rows.completion_starts()
    return np.concatenate([np.arange(starts[n], starts[n + 1]) for row in row_numbers for n in rows.sequences_of(row)])


def token_batch(
    rows: Rows,
    row_numbers: Sequence[int],
    values: set[str],
    reference: Reference | None = None,
    behaviour: np.ndarray | None = None,
) -> TokenBatch:
    """What is known of these rows' completion tokens without running the student. values: the names of the token values
    that are asked for. behaviour: log-probs of the policy that sampled the rows, of all their completion tokens."""
    numbers = [number for row in row_numbers for number in rows.sequences_of(row)]
    starts = rows.completion_starts()

    def picked(array: np.ndarray) -> Tensor:
        parts = [np.asarray(array[starts[n] : starts[n + 1]], dtype=np.float64) for n in numbers]
        return torch.from_numpy(np.concatenate(parts))

    row = torch.arange(len(row_numbers)).repeat_interleave(rows.per_row)
    group = torch.as_tensor(row_numbers if rows.groups is None else rows.groups[list(row_numbers)])
    mismatched = None if reference is None else reference.mismatched_logps
    return TokenBatch(
        ids=torch.from_numpy(np.concatenate([rows.completion(n) for n in numbers]).astype(np.int64)),
        counts=torch.tensor([rows.completion_tokens(n) for n in numbers], dtype=torch.float64),
        row=row,
        side=torch.tensor(rows.sides * len(row_numbers)),
        group=group[row],
        row_weights=torch.tensor([float(rows.weights[number]) for number in row_numbers], dtype=torch.float64),
        reference_logps=None if reference is None else picked(reference.token_logps),
        behaviour_logps=None if behaviour is None else picked(behaviour),
        values={name: picked(array) for name, array in rows.values.items() if name in values},
        reference_mismatched_logps=None
        if mismatched is None
        else torch.from_numpy(np.array(mismatched[list(row_numbers)])),
    )


def find_token_logps(
    policy: nn.Module,
    sequences: Sequence[tuple[list[int], int]],
    *,
    tokens_per_micro_batch: int,
    device: torch.device,
    ranks: Ranks,
) -> Tensor:
    """The log-probs of all completion tokens of (ids, prompt tokens), end to end in their order: (T,) fp64, no gradient."""
    plan = PackPlan(sequences, tokens_per_micro_batch, ranks, device)
    token_logps = torch.zeros(int(plan.starts[-1]), dtype=torch.float64, device=device)
    zeros = torch.zeros(len(token_logps))
    with torch.no_grad():
        for turn in range(plan.turns):
            pack, places, mine = plan.pack(turn, zeros)
            _, logps, _ = policy(pack)
            if mine:
                token_logps[places] = logps.double()
    return ranks.sum(token_logps).cpu()


class PackPlan:
    """The packs of some sequences, and which of them this rank runs in each turn; every rank has as many turns."""

    def __init__(
        self,
        sequences: Sequence[tuple[list[int], int]],
        budget: int,
        ranks: Ranks,
        device: torch.device,
        together: int = 1,  # so many neighbours share a pack: 2 keeps pairs whole
        run: Sequence[int] | None = None,  # the numbers of those that are run; default: all
    ) -> None:
        self.sequences, self.device = sequences, device
        counts = [len(ids) - max(prompt, 1) for ids, prompt in sequences]
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        run = range(len(sequences)) if run is None else run
        lengths = np.array([len(sequences[number][0]) for number in run]).reshape(-1, together).sum(1)
        bins = first_fit_decreasing(lengths.tolist(), budget)
        self.bins = [[run[row * together + side] for row in rows for side in range(together)] for rows in bins]
        self.share = self.bins[ranks.number :: ranks.count]
        self.turns = -(-len(self.bins) // ranks.count)

    def pack(self, turn: int, coefficients: Tensor) -> tuple[Pack, Tensor, bool]:
        """(pack, the place of each of its targets among all completion tokens, whether it is this rank's own); the
        filler of a rank that has run out has coefficients of zero."""
        mine = turn < len(self.share)
        numbers = self.share[turn] if mine else self.bins[-1][-1:]
        slices = [slice(int(self.starts[n]), int(self.starts[n + 1])) for n in numbers]
        scale = 1.0 if mine else 0.0
        pack = make_pack(
            [self.sequences[n] for n in numbers], numbers, [coefficients[s].float() * scale for s in slices]
        )
        order, counts = torch.unique_consecutive(pack.row_of_target, return_counts=True)
        starts = torch.as_tensor(self.starts)[order]
        within = torch.arange(len(pack.targets)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        places = torch.repeat_interleave(starts, counts) + within
        return pack.to(self.device), places.to(self.device), mine


def all_finite(ranks: Ranks, device: torch.device, *values: float) -> bool:
    """True where the values are finite on every rank: one answer for all, lest one of them take a step that another skips."""
    not_finite = torch.tensor(float(not all(map(math.isfinite, values))), device=device)
    return float(ranks.sum(not_finite)) == 0


def suspects(rows: Rows, numbers: Sequence[int], figures: StepFigures) -> str:
    """The rows of a step whose log-probs are not finite, by id; all of its rows where they all are. Eight at most."""
    not_finite = set(figures.row[~torch.isfinite(figures.logps)].tolist())
    named = [number for row, number in enumerate(numbers) if row in not_finite] or numbers
    return ", ".join(rows.ids[n] for n in named[:8]) + (" ..." if len(named) > 8 else "")


def pair_figures(objective: Objective, figures: StepFigures) -> dict[str, float | None]:
    """What the step says for the log: mean per-token log-probs of chosen and rejected (their margin), or of the examples; of
    a critic its `critic_figures`."""
    if figures.critic is not None:
        return {"chosen_logp": None, "rejected_logp": None, "margin": None, **figures.critic}
    means = figures.logps / figures.tokens
    if not needs_pairs(objective):
        return {"chosen_logp": float(means.mean()), "rejected_logp": None, "margin": None}
    chosen, rejected = (float(figures.of(side, means).mean()) for side in (Side.chosen, Side.rejected))
    return {"chosen_logp": chosen, "rejected_logp": rejected, "margin": chosen - rejected}
