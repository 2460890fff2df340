"""The select stage: one shard of verified Groups -> Examples, Pairs and held-out Problems, with every drop accounted for.

    shard = select_shard(groups, render=..., encode=..., is_dev=..., pairing=certain)
    shard.accounts["pairs"].to_json()  ->  {"unit": "problem", "in": 9, "kept": 7, "dropped": {"no_correct_trace": 2}}

Three accounts: `examples` counts traces, `pairs` counts problems (kept when at least one pair of it stays; its extra
pairs that a filter drops are tallied under `extra_pairs`), `dev` counts held-out problems. Two more streams go
beside: `groups`, the same groups with the columns of columns.py, and `candidates`, the pairs of every pairing policy.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from redistill.config.tables import PARTS, LabelledSettings, SelfCorrectionSettings, TokenWeightSettings
from redistill.io.executors import Executor
from redistill.io.joined import Base
from redistill.io.parquet import read_records, read_without_text
from redistill.io.shards import ShardInput, files_of_shard, make_parts, parts_to_do
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.records import Candidate, Dropped, Example, Group, Outcome, Pair, Problem, Ranked, Trace, pair_id
from redistill.select.filters import Filter, Side
from redistill.select.keep import Choice, balance, find_cuts
from redistill.select.labelled import labelled_reasons, labelled_rows
from redistill.select.pairing import Pairing, Pairs
from redistill.select.self_correction import self_correction
from redistill.select.span_weights import example_weights, pair_weights
from redistill.select.statistics import PAPER_REJECTED_WEIGHT, TraceTables, describe
from redistill.select.tokens import END_OF_TURN_TOKENS, Encode, encode_all, shared_prefix
from redistill.select.trace_features import with_columns
from redistill.verify.policy import labels_of
from redistill.verify.relevance import has_gold


@dataclass(frozen=True, slots=True)
class BoundFilter:
    """A filter with its options bound, and the parts of a row that it looks at."""

    judge: Filter
    on: frozenset[str]


def select_shard(
    groups: Iterable[Group],
    *,
    render: Callable[[Problem], str],
    encode: Encode,
    is_dev: Callable[[Problem], bool],
    pairing: Callable[..., Pairs | str],
    examples: str | SelfCorrectionSettings = "all",
    keep_truncated: bool = False,
    bound_filters: Sequence[BoundFilter] = (),
    policies: Mapping[str, Callable[..., Pairs | str]] | None = None,
    choice: Choice | None = None,
    labelled: LabelledSettings | None = None,
    weights: TokenWeightSettings | None = None,
    every_turn: Callable[..., Any] | None = None,
    seed: int = 0,
) -> Shard:
    """Streams `examples`, `pairs`, `dev`, `groups` and `candidates` of these groups, whose traces carry the joined verdict.

    `render` makes the prompt, once a problem, so examples and pairs share it to the letter; `encode` gives the
    student's token ids of texts, without special tokens; `pairing` has its options bound; `examples` is `all`, `first`, `last`, or how rows of self-correction are made;
    `keep_truncated`: right traces that their length limit cut are examples too (`pairing` has this bound by itself);
    `filters` are tried in their order and the first reason counts; `policies` are compared offline, under the same filters;
    `choice` is what sample and keep leave, its cuts found: right traces that it leaves out are in no pair either.
    `labelled`: where a critic is trained, its rows are a further stream of that name, of all traces of the sample; `seed`
    draws them. `weights`: spans that rows get as weights of their tokens. `every_turn`: text/conversations.all_turns bound, where examples of conversations learn all turns of the assistant.
    With a sample there are the stream `problems`, those of it that are trained on, with or without a right trace, and their account.
    Tallies: `tokens_correct`, `tokens_incorrect` (completion tokens of the training problems' decided traces, in bins
    "256-511"), `prefix_net_weight` (kept pairs, "negative" or "positive"), `extra_pairs` (see above), `repeated` (how often more
    than once a problem's rows are written, by its value), `sampled_values` (problems by value, where a sample names values).
    """
    there = _Prepared(groups, render, encode, is_dev)
    ids = there.token_ids
    pairing = _with_tokens(pairing, ids)
    compared = {name: _with_tokens(policy, ids) for name, policy in (policies or {}).items()}
    ledger = _Ledger()
    rows: list[Example] = []
    pairs: list[Pair] = []
    candidates: list[Candidate] = []
    for_critics: list[Example] = []
    for group in there.train:
        prompt = there.prompts[group.problem.id]
        judge = _Judge(group, there.prompt_tokens[group.problem.id], bound_filters)
        reasons = _example_reasons(group, examples, keep_truncated, judge, weights)
        chosen = _chosen(group, reasons, choice, ledger)
        if isinstance(examples, SelfCorrectionSettings):
            rows += _self_corrections(group, prompt, chosen, examples, judge, encode, seed, ledger)
        else:
            rows += _examples(group, prompt, chosen, ledger, every_turn, weights)
        if labelled is not None:
            left_out = choice.problem_reason(group) if choice is not None else None
            why = labelled_reasons(group, labelled, keep_truncated, judge, seed)
            for_critics += _labelled(group, prompt, labelled, why, left_out, ledger)
        if isinstance(chosen.rest, str):
            ledger.drop("pairs", group.problem.id, chosen.rest)
            continue
        pairs += _pairs(chosen.rest, pairing(chosen.rest), prompt, judge, choice, ledger, weights) * chosen.times
        known: dict[tuple[str, str], Candidate] = {}  # policies make the same pairs
        for name, policy in compared.items():
            candidates += _candidates(chosen.rest, name, policy(chosen.rest), judge, ids, known)
    dev = [p for g in there.groups if is_dev(g.problem) for p in _held_out(g, ledger)]
    for name, outcome in (("tokens_correct", Outcome.correct), ("tokens_incorrect", Outcome.incorrect)):
        decided = (t for g in there.train for t in g.traces if t.verdict.outcome is outcome)
        ledger.tallies[name].update(_bin(_tokens(t)) for t in decided)
    streams: dict[str, tuple[type, Iterable[Any]]] = {
        "examples": (Example, rows),
        "pairs": (Pair, pairs),
        "dev": (Problem, dev),
        "groups": (Group, there.groups),
        "candidates": (Candidate, candidates),
    }
    if labelled is None:
        del ledger.accounts["labelled"]
    else:
        streams["labelled"] = (Example, for_critics)
        for trace in (trace for group in there.groups if is_dev(group.problem) for trace in group.traces):
            ledger.drop("labelled", trace.id, "held_out_for_dev")
    if choice is not None and choice.sample is not None:
        streams["problems"] = (Problem, _in_sample(there, choice, is_dev, ledger))
    return Shard(streams, ledger.accounts, ledger.dropped, ledger.tallies)


def _labelled(
    group: Group,
    prompt: str,
    settings: LabelledSettings,
    why: Mapping[str, str | None],
    left_out: str | None,
    ledger: "_Ledger",
) -> Iterator[Example]:
    """A critic's rows of a group, whose traces are counted; left_out: why the sample leaves its problem out."""
    reasons = {id: reason or left_out for id, reason in why.items()}
    for trace in group.traces:
        ledger.put("labelled", trace.id, reasons[trace.id])
    return labelled_rows(group, prompt, settings, reasons)


def _in_sample(
    there: "_Prepared", choice: Choice, is_dev: Callable[[Problem], bool], ledger: "_Ledger"
) -> list[Problem]:
    """The problems that the sample leaves, for stages that ask problems and read no trace, each as often as it is repeated."""
    ledger.accounts["problems"] = Account("problem")
    kept = []
    for group in there.groups:
        reason = "held_out_for_dev" if is_dev(group.problem) else choice.problem_reason(group)
        if reason:
            ledger.drop("problems", group.problem.id, reason)
        else:
            ledger.keep("problems")
            kept += [group.problem] * choice.times(group)
    return kept


def rank_shard(
    groups: Iterable[Group],
    *,
    render: Callable[[Problem], str],
    encode: Encode,
    is_dev: Callable[[Problem], bool],
    choice: Choice,
    examples: str | SelfCorrectionSettings = "all",
    keep_truncated: bool = False,
    bound_filters: Sequence[BoundFilter] = (),
    weights: TokenWeightSettings | None = None,
) -> Shard:
    """Stream `ranked`: what keep and sample choose from, the right traces of these groups that no filter drops."""
    there = _Prepared(groups, render, encode, is_dev)
    rows = []
    for group in there.train:
        judge = _Judge(group, there.prompt_tokens[group.problem.id], bound_filters)
        reasons = _example_reasons(group, examples, keep_truncated, judge, weights)
        if choice.balances or choice.problem_reason(group) is None:
            rows += [choice.row(group, trace) for trace in group.traces if reasons[trace.id] is None]
    return Shard({"ranked": (Ranked, rows)})


class _Prepared:
    """A shard's groups with their columns, and of those that are trained on the prompts and all token ids."""

    def __init__(
        self,
        groups: Iterable[Group],
        render: Callable[[Problem], str],
        encode: Encode,
        is_dev: Callable[[Problem], bool],
    ) -> None:
        groups = list(groups)
        self.token_ids = encode_all({t.id: t.completion for g in groups for t in g.traces}, encode)
        lengths = {id: len(tokens) + END_OF_TURN_TOKENS for id, tokens in self.token_ids.items()}
        self.groups = [with_columns(g, {t.id: lengths[t.id] for t in g.traces}) for g in groups]
        self.train = [g for g in self.groups if not is_dev(g.problem)]
        self.prompts = {g.problem.id: render(g.problem) for g in self.train}
        self.prompt_tokens = {id: len(tokens) for id, tokens in encode_all(self.prompts, encode).items()}


class _Ledger:
    """What a shard writes down beside its records: accounts, drops and tallies."""

    def __init__(self) -> None:
        units = {"examples": "trace", "pairs": "problem", "dev": "problem", "labelled": "trace"}
        self.accounts = {name: Account(unit) for name, unit in units.items()}
        self.dropped: list[Dropped] = []
        names = ("tokens_correct", "tokens_incorrect", "prefix_net_weight", "extra_pairs", "chosen_labelled_wrong", "rejected_labelled_right", "repeated")  # fmt: skip
        self.tallies: dict[str, Counter[str]] = {name: Counter() for name in names}

    def keep(self, account: str) -> None:
        self.accounts[account].keep()

    def put(self, account: str, id: str, reason: str | None) -> None:
        """Kept, or dropped where there is a reason."""
        if reason is None:
            self.keep(account)
        else:
            self.drop(account, id, reason)

    def drop(self, account: str, id: str, reason: str) -> None:
        self.accounts[account].drop(reason)
        self.dropped.append(Dropped(id, f"select/{account}", reason))


class _Judge:
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
                    side = Side(part, self.group, trace, self.prompt_tokens, _tokens(trace))
                    self.found[key] = bound.judge(side)
                if reason := self.found[key]:
                    return reason
        return None


def _with_tokens(pairing: Callable[..., Pairs | str], token_ids: Mapping[str, Sequence[int]]) -> Pairing:
    """A pairing that compares tokens names `_token_ids` among its parameters and gets them."""
    if "_token_ids" not in inspect.signature(pairing).parameters:
        return pairing
    return lambda group: pairing(group, _token_ids=token_ids)


def _tokens(trace: Trace) -> int:
    assert trace.num_tokens is not None, f"{trace.id} has no token count"
    return trace.num_tokens


def _example_reasons(
    group: Group, wanted: str | SelfCorrectionSettings, keep_truncated: bool, judge: _Judge,
    weights: TokenWeightSettings | None,
) -> dict[str, str | None]:  # fmt: skip
    """Why each trace is not an example, None where it is one: the problem's right traces, the first (the paper's D_SFT) or the
    last of them, that pass the filters. Of self-correction: those that a row may end with."""
    wanted = wanted if isinstance(wanted, str) else "all"
    right = [t for t in group.traces if t.verdict.outcome is Outcome.correct]
    whole = [t for t in right if keep_truncated or t.finish_reason != "length"]
    only = {"all": None, "first": whole[:1], "last": whole[-1:]}[wanted]
    reasons: dict[str, str | None] = {}
    for trace in group.traces:
        if trace.verdict.outcome is not Outcome.correct:
            reasons[trace.id] = f"not_correct:{trace.verdict.outcome}"
        elif trace.finish_reason == "length" and not keep_truncated:
            reasons[trace.id] = "truncated"  # right, but cut: the student would learn to stop in the middle
        elif only is not None and trace not in only:
            reasons[trace.id] = f"not_the_{wanted}_correct"
        elif example_weights(trace, weights) is None:
            reasons[trace.id] = "no_weight_spans"
        else:
            reasons[trace.id] = judge(completion=trace)
    return reasons


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What sample and keep leave of a problem: why each trace is not an example, the group that pairs are made of or the reason
    why there are none, and how often its rows are written."""

    reasons: Mapping[str, str | None]
    rest: Group | str
    times: int


def _chosen(group: Group, reasons: Mapping[str, str | None], choice: Choice | None, ledger: "_Ledger") -> _Chosen:
    if choice is None:
        return _Chosen(reasons, group, 1)
    if choice.sample is not None and choice.sample.named_values:
        choice.tally(group, ledger.tallies.setdefault("sampled_values", Counter()))
    if reason := choice.problem_reason(group):
        return _Chosen({id: why or reason for id, why in reasons.items()}, reason, 1)
    gone = choice.trace_reasons(group, [t for t in group.traces if reasons[t.id] is None])
    rest: Group | str = replace(group, traces=tuple(t for t in group.traces if t.id not in gone))
    right = [t.id for t in group.traces if t.verdict.outcome is Outcome.correct]
    if right and all(id in gone for id in right):
        rest = gone[right[0]]
    times = choice.times(group)
    if times > 1:
        ledger.tallies["repeated"][choice.value(group) or ""] += times - 1
    return _Chosen({id: why or gone.get(id) for id, why in reasons.items()}, rest, times)


def _examples(
    group: Group, prompt: str, chosen: _Chosen, ledger: "_Ledger", every_turn: Callable[..., Any] | None,
    weights: TokenWeightSettings | None,
) -> Iterable[Example]:  # fmt: skip
    """A row for each trace that has no reason against it, written as often as its problem is repeated."""
    for trace in group.traces:
        reason = chosen.reasons[trace.id]
        row = (prompt, trace.completion, example_weights(trace, weights) or ())
        if not reason and every_turn is not None:
            turns = every_turn(group.problem, prompt, trace.completion)
            reason, row = (turns, row) if isinstance(turns, str) else (None, turns or row)
        if reason:
            ledger.drop("examples", trace.id, reason)
            continue
        ledger.keep("examples")
        if every_turn is not None and row[2]:
            ledger.tallies.setdefault("conversations", Counter())["every_turn"] += 1
        asked, completion, spans = row
        yield from [Example(group.problem.id, trace.id, asked, completion, spans=spans)] * chosen.times


def _self_corrections(
    group: Group, prompt: str, chosen: _Chosen, settings: SelfCorrectionSettings, judge: _Judge, encode: Encode, seed: int,
    ledger: _Ledger,
) -> list[Example]:  # fmt: skip
    """The problem's row of attempts and verifications, written as often as the problem is repeated; none where there is none."""

    def num_tokens(text: str) -> int:
        return len(encode([text])[0]) + END_OF_TURN_TOKENS

    built = self_correction(group, prompt, chosen.reasons, settings, judge=judge, num_tokens=num_tokens, seed=seed)
    for trace in group.traces:
        ledger.put("examples", trace.id, built.reasons[trace.id])
    for name, counts in (("attempts", built.attempts), ("verifications", built.verifications)):
        ledger.tallies.setdefault(name, Counter()).update(counts)
    return [] if built.row is None else [built.row] * chosen.times


def _pairs(
    group: Group, made: Pairs | str, prompt: str, judge: _Judge, choice: Choice | None, ledger: _Ledger,
    weights: TokenWeightSettings | None = None,
) -> list[Pair]:  # fmt: skip
    """The pairs of one problem that pass; the problem is dropped for its first pair's reason when none does."""
    id = group.problem.id
    if isinstance(made, str):
        ledger.drop("pairs", id, made)
        return []
    spans = [pair_weights(chosen, rejected, weights) for chosen, rejected in made]
    reasons = [
        judge(chosen=chosen, rejected=rejected) or ("no_weight_spans" if weighed is None else None)
        for (chosen, rejected), weighed in zip(made, spans, strict=True)
    ]
    if choice is not None:
        ids = (pair_id(chosen.id, rejected.id) for chosen, rejected in made)
        reasons = [why or choice.pair_reason(group, id) for why, id in zip(reasons, ids, strict=True)]
    if None not in reasons:
        ledger.drop("pairs", id, str(reasons[0]))
        return []
    ledger.keep("pairs")
    rows = []
    for (chosen, rejected), reason, weighed in zip(made, reasons, spans, strict=True):
        if reason:
            ledger.tallies["extra_pairs"][reason] += 1
            ledger.dropped.append(Dropped(pair_id(chosen.id, rejected.id), "select/pairs", reason))
            continue
        for tally, side, against in (("chosen_labelled_wrong", chosen, Outcome.incorrect), ("rejected_labelled_right", rejected, Outcome.correct)):  # fmt: skip
            ledger.tallies[tally].update(name for name, outcome in labels_of(side).items() if outcome is against)
        negative = _tokens(rejected) < PAPER_REJECTED_WEIGHT * _tokens(chosen)
        ledger.tallies["prefix_net_weight"]["negative" if negative else "positive"] += 1
        right, wrong = weighed or ((), ())
        pair = Pair(id, prompt, chosen.completion, rejected.completion, chosen.id, rejected.id)
        rows.append(replace(pair, chosen_spans=right, rejected_spans=wrong))
    return rows


def _candidates(
    group: Group,
    policy: str,
    made: Pairs | str,
    judge: _Judge,
    token_ids: Mapping[str, Sequence[int]],
    known: dict[tuple[str, str], Candidate],
) -> Iterator[Candidate]:
    """What a policy would make of one problem, with the reason of those that a filter drops. known: the pairs of other policies."""
    for chosen, rejected in () if isinstance(made, str) else made:
        key = (chosen.id, rejected.id)
        if key not in known:
            known[key] = Candidate(
                id=pair_id(chosen.id, rejected.id),
                policy=policy,
                problem_id=group.problem.id,
                source=group.problem.source,
                chosen_id=chosen.id,
                rejected_id=rejected.id,
                chosen_author=chosen.author,
                rejected_author=rejected.author,
                chosen_tokens=_tokens(chosen),
                rejected_tokens=_tokens(rejected),
                shared_tokens=shared_prefix(token_ids[chosen.id], token_ids[rejected.id]),
                reason=judge(chosen=chosen, rejected=rejected) or "",
            )
        yield known[key] if known[key].policy == policy else replace(known[key], policy=policy)


def _held_out(group: Group, ledger: _Ledger) -> list[Problem]:
    """The problem itself where it can be graded; its traces and pairs are dropped as `held_out_for_dev`."""
    for trace in group.traces:
        ledger.drop("examples", trace.id, "held_out_for_dev")
    ledger.drop("pairs", group.problem.id, "held_out_for_dev")
    if not has_gold(group.problem):
        ledger.drop("dev", group.problem.id, "ungradable")
        return []
    ledger.keep("dev")
    return [group.problem]


def rank_pairs_shard(
    groups: Iterable[Group],
    *,
    render: Callable[[Problem], str],
    encode: Encode,
    is_dev: Callable[[Problem], bool],
    pairing: Callable[..., Pairs | str],
    choice: Choice,
    examples: str | SelfCorrectionSettings = "all",
    keep_truncated: bool = False,
    bound_filters: Sequence[BoundFilter] = (),
    weights: TokenWeightSettings | None = None,
) -> Shard:
    """Stream `ranked`: the pairs of these groups that sample, keep and filters leave, to be balanced."""
    there, ledger = _Prepared(groups, render, encode, is_dev), _Ledger()
    pairing = _with_tokens(pairing, there.token_ids)
    rows = []
    for group in there.train:
        judge = _Judge(group, there.prompt_tokens[group.problem.id], bound_filters)
        reasons = _example_reasons(group, examples, keep_truncated, judge, weights)
        rest = _chosen(group, reasons, choice, ledger).rest
        made = rest if isinstance(rest, str) else pairing(rest)
        for chosen, rejected in () if isinstance(made, str) else made:
            if judge(chosen=chosen, rejected=rejected) is None and pair_weights(chosen, rejected, weights) is not None:
                rows.append(choice.pair_row(group, pair_id(chosen.id, rejected.id)))
    return Shard({"ranked": (Ranked, rows)})


def _bin(tokens: int) -> str:
    """The power-of-two bin of a count of 1 or more: 300 -> "256-511"."""
    low = 1 << (tokens.bit_length() - 1)
    return f"{low}-{2 * low - 1}"


def rank_part(stage_dir: StageFolder, rank: Callable[[Iterator[Group]], Shard], part: ShardInput) -> int:
    """Write down what one shard has to choose from; returns 1. rank: rank_shard with all but the groups bound."""
    stage_dir.finish_shard(part.index, rank(read_records(part.path)))
    return 1


def with_cuts(
    choice: Choice,
    stage_dir: StageFolder,
    before: StageFolder,
    rank: Callable[[Iterator[Group]], Shard],
    executor: Executor,
) -> Choice:
    """The choice with the cuts of the whole corpus: `stage_dir` gets what there is to choose from, once, shard by shard."""
    if not (choice.balances or choice.ranks):
        return choice
    _rank_all(stage_dir, before, rank, executor)
    return find_cuts(choice, lambda: stage_dir.read("ranked"))


def cut_choice(
    choice: Choice,
    folder: StageFolder,
    before: StageFolder,
    pairing: Callable[..., Pairs | str],
    executor: Executor,
    shared: Mapping[str, Any],
) -> Choice:
    """The choice with the cuts of its sample and keep, then those that balance its pairs; what there is to choose from is written
    in folders beside the stage's own. shared: arguments of rank_shard and rank_pairs_shard that do not depend on the choice."""
    ranked = StageFolder(folder.folder / "ranked", folder.fingerprint)
    choice = with_cuts(choice, ranked, before, partial(rank_shard, choice=choice, **shared), executor)
    if choice.balance_pairs is None:
        return choice
    pairs = StageFolder(folder.folder / "ranked_pairs", folder.fingerprint)
    _rank_all(pairs, before, partial(rank_pairs_shard, choice=choice, pairing=pairing, **shared), executor)
    return balance(choice, lambda: pairs.read("ranked"))


def _rank_all(
    stage_dir: StageFolder, before: StageFolder, rank: Callable[[Iterator[Group]], Shard], executor: Executor
) -> None:
    if stage_dir.is_finished():
        return
    stage_dir.open()
    make_parts(executor, stage_dir, partial(rank_part, stage_dir, rank), parts_to_do(before, stage_dir))
    stage_dir.finish(before.ledger()["num_shards"])


def select_part(stage_dir: StageFolder, choose: Callable[[Iterable[Group]], Shard], part: ShardInput) -> TraceTables:
    """Choose from one shard into the stage; returns what its traces look like. choose: select_shard with all but the groups bound."""
    groups: list[Group] = list(read_records(part.path))
    shard = choose(groups)
    stage_dir.finish_shard(part.index, shard, base=Base(part.path), before=groups)
    return describe(shard.records["groups"][1])


def describe_part(path: Path) -> TraceTables:
    """What the traces of a shard look like that an earlier process has made."""
    return describe(read_without_text(path))


def select_all(
    executor: Executor,
    stage_dir: StageFolder,
    choose: Callable[[Iterable[Group]], Shard],
    before: StageFolder,
    bars: Callable[..., AbstractContextManager[Any]],
) -> TraceTables:
    """Make every shard that is missing; what the traces of all shards look like. bars: as io.progress.bar."""
    tables, parts = TraceTables(), parts_to_do(before, stage_dir)
    made = [path for path in stage_dir.shard_files("groups") if path.stem not in {f"part-{p.index:05d}" for p in parts}]
    with bars(label="select", unit="shard", total=len(parts)) as progress:

        def tick(part: TraceTables) -> None:
            tables.merge(part)
            progress.update(1)

        make_parts(executor, stage_dir, partial(select_part, stage_dir, choose), parts, tick)
    size = sum(path.stat().st_size for path in made)
    for _, part in executor.map(describe_part, made, label="select", size_bytes=size, reads=files_of_shard):
        tables.merge(part)
    return tables


def sides_against_labels(ledger: Mapping[str, Any]) -> str | None:
    """How many sides of the pairs the data's own labels contradict, None where there is none."""
    tallies, pairs = ledger["tallies"], sum(ledger["tallies"].get("prefix_net_weight", {}).values())
    sides = (
        ("chosen_labelled_wrong", "chosen sides are wrong"),
        ("rejected_labelled_right", "rejected sides are right"),
    )
    said = [
        f"{count:,} of {pairs:,} {words} by {label}" for tally, words in sides for label, count in tallies.get(tally, {}).items()
    ]  # fmt: skip
    return f"{'; '.join(said)}: verify.policy agree leaves such traces out" if said else None


def attempts_of(ledger: Mapping[str, Any]) -> str | None:
    """How many attempts the rows of self-correction have, and how many verifications are true; None without such rows."""
    if "attempts" not in ledger["tallies"]:
        return None
    by_count = sorted(ledger["tallies"]["attempts"].items(), key=lambda item: int(item[0]))
    rows = ", ".join(f"{count:,} of {k} attempt{'s' if k != '1' else ''}" for k, count in by_count) or "none"
    tally = dict(ledger["tallies"]["verifications"])
    true, false = tally.get("true", 0), tally.get("false_verdict", 0)
    others = sum(tally.values()) - true - false
    return f"rows by attempts: {rows}; verifications: {true:,} true, {false:,} false (left out), {others:,} traces without one"
