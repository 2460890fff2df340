"""Which traces of a shard may be in a row: columns and prompts of its groups, filters, and what sample and keep leave.

    prepared = PreparedShard(groups, task)
    reasons = example_reasons(group, task, prepared.filters(group, task))  ->  {trace id: None or why it is no example}

stage.py makes rows of what is left; ranking.py finds the cuts of sample and keep in a pass before it.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace

from redistill.config.tables import PARTS
from redistill.records import Group, Outcome, Trace
from redistill.select.filters import Side
from redistill.select.keep import Choice
from redistill.select.pairing import Pairing, Pairs
from redistill.select.span_weights import example_weights
from redistill.select.task import BoundFilter, SelectTask
from redistill.select.tokens import END_OF_TURN_TOKENS, encode_all
from redistill.select.trace_features import with_columns


class PreparedShard:
    """A shard's groups with their columns, and of those that are trained on the prompts and all token ids."""

    def __init__(self, groups: Iterable[Group], task: SelectTask) -> None:
        groups = list(groups)
        self.token_ids = encode_all({t.id: t.completion for g in groups for t in g.traces}, task.encode)
        lengths = {id: len(tokens) + END_OF_TURN_TOKENS for id, tokens in self.token_ids.items()}
        self.groups = [with_columns(g, {t.id: lengths[t.id] for t in g.traces}) for g in groups]
        self.train = [g for g in self.groups if not task.is_dev(g.problem)]
        self.prompts = {g.problem.id: task.render(g.problem) for g in self.train}
        self.prompt_tokens = {id: len(tokens) for id, tokens in encode_all(self.prompts, task.encode).items()}

    def filters(self, group: Group, task: SelectTask) -> "GroupFilters":
        """The task's filters on one of its groups."""
        return GroupFilters(group, self.prompt_tokens[group.problem.id], task.bound_filters)

    def with_token_ids(self, pairing: Callable[..., Pairs | str]) -> Pairing:
        """A pairing that compares tokens names `_token_ids` among its parameters and gets them."""
        if "_token_ids" not in inspect.signature(pairing).parameters:
            return pairing
        return lambda group: pairing(group, _token_ids=self.token_ids)


class GroupFilters:
    """The filters on one problem's traces; what was found of a trace in one place is remembered, for policies share traces."""

    def __init__(self, group: Group, prompt_tokens: int, bound_filters: Sequence[BoundFilter]) -> None:
        self.group, self.prompt_tokens, self.bound_filters = group, prompt_tokens, bound_filters
        self.found: dict[tuple[int, str, str], str | None] = {}

    def __call__(self, **parts: Trace) -> str | None:
        """Why the row of these traces (completion=..., or chosen=..., rejected=...) may not stay: the first reason."""
        for place, bound in enumerate(self.bound_filters):
            for part in PARTS:
                trace = parts.get(part)
                if trace is None or part not in bound.on:
                    continue
                key = (place, part, trace.id)
                if key not in self.found:
                    side = Side(part, self.group, trace, self.prompt_tokens, tokens_of(trace))
                    self.found[key] = bound.judge(side)
                if reason := self.found[key]:
                    return reason
        return None


def tokens_of(trace: Trace) -> int:
    """Tokens of its completion, the end of the turn among them."""
    assert trace.num_tokens is not None, f"{trace.id} has no token count"
    return trace.num_tokens


def example_reasons(group: Group, task: SelectTask, filters: GroupFilters) -> dict[str, str | None]:
    """Why each trace is not an example, None where it is one: the problem's right traces, the first (the paper's D_SFT) or the
    last of them, that pass the filters. Of self-correction: those that a row may end with."""
    wanted = task.examples if isinstance(task.examples, str) else "all"
    right = [t for t in group.traces if t.verdict.outcome is Outcome.correct]
    whole = [t for t in right if task.keep_truncated or t.finish_reason != "length"]
    only = {"all": None, "first": whole[:1], "last": whole[-1:]}[wanted]
    reasons: dict[str, str | None] = {}
    for trace in group.traces:
        if trace.verdict.outcome is not Outcome.correct:
            reasons[trace.id] = f"not_correct:{trace.verdict.outcome}"
        elif trace.finish_reason == "length" and not task.keep_truncated:
            reasons[trace.id] = "truncated"  # right, but cut: the student would learn to stop in the middle
        elif only is not None and trace not in only:
            reasons[trace.id] = f"not_the_{wanted}_correct"
        elif example_weights(trace, task.weights) is None:
            reasons[trace.id] = "no_weight_spans"
        else:
            reasons[trace.id] = filters(completion=trace)
    return reasons


@dataclass(frozen=True, slots=True)
class Chosen:
    """What sample and keep leave of a problem: why each trace is not an example, the group that pairs are made of or the reason
    why there are none, and how often its rows are written."""

    reasons: Mapping[str, str | None]
    rest: Group | str
    times: int


def choose(
    group: Group, reasons: Mapping[str, str | None], choice: Choice | None, tallies: MutableMapping[str, Counter[str]]
) -> Chosen:
    """What sample and keep leave of a problem, whose `reasons` say which of its traces are no examples. Tallies: `sampled_values`
    where a sample names values, `repeated` where rows are written more than once."""
    if choice is None:
        return Chosen(reasons, group, 1)
    if choice.sample is not None and choice.sample.named_values:
        choice.tally(group, tallies.setdefault("sampled_values", Counter()))
    if reason := choice.problem_reason(group):
        return Chosen({id: why or reason for id, why in reasons.items()}, reason, 1)
    gone = choice.trace_reasons(group, [t for t in group.traces if reasons[t.id] is None])
    rest: Group | str = replace(group, traces=tuple(t for t in group.traces if t.id not in gone))
    right = [t.id for t in group.traces if t.verdict.outcome is Outcome.correct]
    if right and all(id in gone for id in right):
        rest = gone[right[0]]
    times = choice.times(group)
    if times > 1:
        tallies.setdefault("repeated", Counter())[choice.value(group) or ""] += times - 1
    return Chosen({id: why or gone.get(id) for id, why in reasons.items()}, rest, times)
