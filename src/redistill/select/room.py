"""The select room: one shard of verified Groups -> Examples, Pairs and held-out Problems, with every drop accounted for.

    shard = select_shard(groups, render=..., count_tokens=..., is_dev=..., settings=recipe.select, pairing=certain)
    shard.accounts["pairs"].to_json()  ->  {"unit": "problem", "in": 9, "kept": 7, "dropped": {"no_correct_trace": 2}}

Three accounts: `examples` counts traces, `pairs` counts problems (kept when at least one pair of it stays; its extra
pairs that a filter turns away are tallied under `extra_pairs`), `dev` counts held-out problems.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from redistill.records import DECIDED, Dropped, Example, Group, Outcome, Pair, Problem, Trace, pair_id
from redistill.select.lengths import END_OF_TURN_TOKENS, count_all, first_reason
from redistill.select.pairing import Pairs
from redistill.settings import SelectSettings
from redistill.storage import Account, Shard

# On a token that chosen and rejected share, REDI's net weight is 1/|chosen| - a/|rejected| with a the rejected_weight:
# negative, so that even the common opening is pushed down, where |rejected| < a |chosen|. The paper's a is 0.8.
PAPER_REJECTED_WEIGHT = 0.8


def select_shard(
    groups: Iterable[Group],
    *,
    render: Callable[[Problem], str],
    count_tokens: Callable[[list[str]], list[int]],
    is_dev: Callable[[str], bool],
    settings: SelectSettings,
    pairing: Callable[[Group], Pairs | str],
) -> Shard:
    """Streams `examples`, `pairs` and `dev` of these groups, whose traces carry the joined verdict.

    `render` makes the prompt, once a problem, so examples and pairs share it to the letter; `count_tokens` gives the
    student's token counts of texts, without special tokens; `pairing` has its options bound.
    Tallies: `tokens_correct`, `tokens_incorrect` (completion tokens of the training problems' decided traces, in bins
    "256-511"), `prefix_net_weight` (kept pairs, "negative" or "positive"), `extra_pairs` (see above).
    """
    groups = list(groups)
    train = [g for g in groups if not is_dev(g.problem.id)]
    held_out = [g for g in groups if is_dev(g.problem.id)]
    pairings = [pairing(g) for g in train]
    prompts = {g.problem.id: render(g.problem) for g in train}
    tokens = _measure(train, pairings, prompts, count_tokens)
    books = _Books()
    examples = [e for g in train for e in _examples(g, prompts, tokens, settings, books)]
    pairs = [p for g, found in zip(train, pairings) for p in _pairs(g, found, prompts, tokens, settings, books)]
    dev = [p for g in held_out for p in _held_out(g, books)]
    for name, outcome in (("tokens_correct", Outcome.correct), ("tokens_incorrect", Outcome.incorrect)):
        books.tallies[name].update(_bin(tokens[t.id]) for g in train for t in g.traces if t.verdict.outcome is outcome)
    return Shard(
        {"examples": (Example, examples), "pairs": (Pair, pairs), "dev": (Problem, dev)},
        books.accounts,
        books.dropped,
        books.tallies,
    )


class _Books:
    """What a shard writes down beside its records: accounts, drops and tallies."""

    def __init__(self) -> None:
        self.accounts = {"examples": Account("trace"), "pairs": Account("problem"), "dev": Account("problem")}
        self.dropped: list[Dropped] = []
        names = ("tokens_correct", "tokens_incorrect", "prefix_net_weight", "extra_pairs")
        self.tallies: dict[str, Counter[str]] = {name: Counter() for name in names}

    def keep(self, account: str) -> None:
        self.accounts[account].keep()

    def drop(self, account: str, id: str, reason: str) -> None:
        self.accounts[account].drop(reason)
        self.dropped.append(Dropped(id, f"select/{account}", reason))


def _measure(
    train: Sequence[Group],
    pairings: Sequence[Pairs | str],
    prompts: Mapping[str, str],
    count_tokens: Callable[[list[str]], list[int]],
) -> dict[str, int]:
    """Tokens by problem id (its prompt) and trace id (its completion with the end-of-turn token), of what may be used."""
    decided = [t for g in train for t in g.traces if t.verdict.outcome in DECIDED]
    paired = [t for found in pairings if not isinstance(found, str) for pair in found for t in pair]
    completions = count_all({t.id: t.completion for t in decided + paired}, count_tokens)
    return count_all(prompts, count_tokens) | {id: n + END_OF_TURN_TOKENS for id, n in completions.items()}


def _examples(
    group: Group, prompts: Mapping[str, str], tokens: Mapping[str, int], settings: SelectSettings, books: _Books
) -> Iterable[Example]:
    """The problem's right traces, or the first of them (the paper's D_SFT), that fit."""
    id = group.problem.id
    first = next(
        (t for t in group.traces if t.verdict.outcome is Outcome.correct and t.finish_reason != "length"), None
    )
    for trace in group.traces:
        reason: str | None
        if trace.verdict.outcome is not Outcome.correct:
            reason = f"not_correct:{trace.verdict.outcome}"
        elif trace.finish_reason == "length":
            reason = "truncated"  # right, but cut: the student would learn to stop in the middle
        elif settings.examples == "first" and trace is not first:
            reason = "not_the_first_correct"
        else:
            reason = first_reason({"prompt": tokens[id], "completion": tokens[trace.id]}, settings)
        if reason:
            books.drop("examples", trace.id, reason)
        else:
            books.keep("examples")
            yield Example(id, trace.id, prompts[id], trace.completion)


def _pairs(
    group: Group,
    found: Pairs | str,
    prompts: Mapping[str, str],
    tokens: Mapping[str, int],
    settings: SelectSettings,
    books: _Books,
) -> list[Pair]:
    """The pairs of one problem that fit; the problem is dropped for its first pair's reason when none does."""
    id = group.problem.id
    if isinstance(found, str):
        books.drop("pairs", id, found)
        return []
    reasons = [first_reason(_pair_tokens(id, pair, tokens), settings) for pair in found]
    kept = [pair for pair, reason in zip(found, reasons) if reason is None]
    if not kept:
        books.drop("pairs", id, str(reasons[0]))
        return []
    books.keep("pairs")
    rows = []
    for (chosen, rejected), reason in zip(found, reasons):
        row = Pair(id, prompts[id], chosen.completion, rejected.completion, chosen.id, rejected.id)
        if reason:
            books.tallies["extra_pairs"][reason] += 1
            books.dropped.append(Dropped(pair_id(row), "select/pairs", reason))
            continue
        negative = tokens[rejected.id] < PAPER_REJECTED_WEIGHT * tokens[chosen.id]
        books.tallies["prefix_net_weight"]["negative" if negative else "positive"] += 1
        rows.append(row)
    return rows


def _pair_tokens(problem_id: str, pair: tuple[Trace, Trace], tokens: Mapping[str, int]) -> dict[str, int]:
    chosen, rejected = pair
    return {"prompt": tokens[problem_id], "chosen": tokens[chosen.id], "rejected": tokens[rejected.id]}


def _held_out(group: Group, books: _Books) -> list[Problem]:
    """The problem itself where it can be graded; its traces and pairs are dropped as `held_out_for_dev`."""
    for trace in group.traces:
        books.drop("examples", trace.id, "held_out_for_dev")
    books.drop("pairs", group.problem.id, "held_out_for_dev")
    if group.problem.answer is None:
        books.drop("dev", group.problem.id, "ungradable")
        return []
    books.keep("dev")
    return [group.problem]


def _bin(tokens: int) -> str:
    """The power-of-two bin of a count of 1 or more: 300 -> "256-511"."""
    low = 1 << (tokens.bit_length() - 1)
    return f"{low}-{2 * low - 1}"


# --- when nothing is left ---------------------------------------------------------------------------------------

_ADVICE = {
    "held_out_for_dev": "lower corpus.dev_fraction or bring more problems",
    "no_correct_trace": "bring more traces a problem or an easier problem set, or check verify.verifiers",
    "no_incorrect_trace": "bring more traces a problem or harder problems: a pair needs a wrong trace beside a right one",
    "only_undecided_wrong": "look at the verdicts' reasons, and give verify.timeout_seconds more or add a verifier",
    "only_truncated_wrong": "let the teacher write longer, or add traces that finish",
    "ungradable": "check that the source's answer column is read",
    "prompt_too_long": "raise select.max_prompt_tokens",
    "completion_too_long": "raise select.max_completion_tokens",
    "chosen_too_long": "raise select.max_completion_tokens",
    "rejected_too_long": "raise select.max_completion_tokens",
    "not_correct:incorrect": "bring traces of a stronger teacher or easier problems, or check verify.verifiers",
    "not_correct:no_answer": "check that the traces end in an answer the verifiers can find",
    "not_correct:truncated": "let the teacher write longer",
    "truncated": "let the teacher write longer",
    "not_correct:timeout": "raise verify.timeout_seconds",
    "not_correct:ungradable": "check that the source's answer column is read",
    "not_correct:disagree": "choose another verify.policy",
}


def explain_empty(ledger: Mapping[str, Any]) -> str:
    """One sentence on why a finished room has no examples or no pairs, with counts and what to try; "" when it has both.

    `ledger` is the room's ledger.json. Where both are empty it speaks of the examples first, for they are the cause.
    """
    parts = []
    for name in ("examples", "pairs"):
        account = ledger["accounts"][name]
        if account["kept"] == 0:
            parts.append(_explain(name.removesuffix("s"), account))
    return "; ".join(parts) and "; ".join(parts) + "."


def _explain(noun: str, account: Mapping[str, Any]) -> str:
    if account["in"] == 0:
        return f"no {noun} was made because no {account['unit']} came in: check corpus.sources"
    counts = ", ".join(f"{count} {reason}" for reason, count in account["dropped"].items())
    advice = _ADVICE.get(next(iter(account["dropped"])), "look at the `dropped` files of the select room")
    unit = account["unit"] + "s" * (account["in"] != 1)
    return f"no {noun} was made from {account['in']} {unit} ({counts}): {advice}"
