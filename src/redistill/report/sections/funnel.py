"""The section that shows what became of the traces: a picture, bars on one scale, and every reason in a table.

All counts come from the stages' ledgers, where in = kept + sum(dropped by reason).
"""

from redistill.report.blocks import Bar, Bars, Block, Details, Figure, Table, Text, not_run
from redistill.report.files import RunFiles
from redistill.report.pictures import Level, Part, Ribbon, flow
from redistill.report.shapes import AccountShape, Ledger
from redistill.report.text import join, percent, short, top

_TONES = {"correct": "right", "incorrect": "wrong"}
_STEPS = (  # stage, account, what its bar is called
    ("corpus", "rows", "rows of the sources"),
    ("corpus", "traces", "traces"),
    ("verify", "traces", "verdicts on the traces"),
    ("select", "examples", "traces kept as examples"),
    ("select", "pairs", "problems that gave pairs"),
)


def funnel(run: RunFiles) -> list[Block]:
    """From source rows to examples and pairs: the picture, bars with the main reasons, then every reason in a table."""
    ledgers = {stage_dir: run.ledger(stage_dir) for stage_dir in ("corpus", "verify", "select")}
    accounts = [
        (stage_dir, name, ledger.accounts[name])
        for stage_dir, ledger in ledgers.items()
        if ledger
        for name in ledger.accounts
    ]
    if not accounts:
        return not_run("corpus", "funnel")
    widest = max(max(account.came_in for _, _, account in accounts), 1)
    bars = [
        _bar(label, ledger, account, widest)
        for stage_dir, name, label in _STEPS
        if (ledger := ledgers[stage_dir]) and (account := ledger.accounts.get(name))
    ]
    missing = [
        b for stage_dir, ledger in ledgers.items() if ledger is None for b in not_run(stage_dir, f"{stage_dir} step")
    ]
    caption = "The length of a bar is the number of inputs, on one scale for all bars; the pale part was dropped."
    rows: list[tuple[str, ...]] = []
    for stage_dir, name, account in accounts:
        rows.append((f"{stage_dir}/{name}", account.unit, f"{account.came_in:,} in", "", ""))
        rows.append(("", "", "kept", f"{account.kept:,}", share(account.kept, account)))
        rows += [("", "", f"dropped: {short(w, 60)}", f"{n:,}", share(n, account)) for w, n in top(account.dropped)]
    table = Table(
        "Inputs, what was kept, and what was dropped for which reason",
        ("account", "unit", "", "count", "%"),
        rows,
        (1, 2),
    )
    details = Details("The funnel as a table, with every reason", [table])
    own = [stage for stage in run.stages if run.draws_own_rows(stage)]
    note = f"Not in these charts: the answers that {join(own)} sampled and trained on; they are in the section Own answers."
    return [*_picture(run, ledgers), Bars(bars, caption), *([Text(note, "quiet")] if own else []), *missing, details]


def share(n: int, account: AccountShape) -> str:
    """Percent of what came in."""
    return percent(n / account.came_in) or "" if account.came_in else ""


def _bar(label: str, ledger: Ledger, account: AccountShape, widest: int) -> Bar:
    outcomes = ledger.tallies.get("outcomes")
    if outcomes:
        undecided = {w: n for w, n in outcomes.items() if w not in _TONES}
        segments = [(_TONES[w], w, outcomes[w]) for w in _TONES if outcomes.get(w)]
        segments += [("other", w, n) for w, n in top(undecided, 4)]
    else:
        segments = [("kept", "kept", account.kept)]
    segments += [("dropped", short(word, 40), n) for word, n in top(account.dropped, 4)]
    segments = [s for s in segments if s[2] > 0]
    return Bar(label, account.unit, account.came_in, 100 * account.came_in / widest, segments)


# --- the picture --------------------------------------------------------------------------------------------------


def _picture(run: RunFiles, ledgers: dict[str, Ledger | None]) -> list[Block]:
    """Traces from the sources to the two sets that train, all on one scale; left out before there is a verdict."""
    corpus, verify, select = (ledgers[stage_dir] for stage_dir in ("corpus", "verify", "select"))
    traces = corpus.accounts.get("traces") if corpus else None
    outcomes = verify.tallies.get("outcomes", {}) if verify else {}
    if traces is None or not sum(outcomes.values()):
        return []
    right, wrong = outcomes.get("correct", 0), outcomes.get("incorrect", 0)
    other = sum(outcomes.values()) - right - wrong
    turned_away = traces.came_in - traces.kept
    levels = [
        Level("traces read", _row(("kept", "kept", traces.kept), ("dropped", "dropped", turned_away))),
        Level("verdicts", _row(("right", "correct", right), ("wrong", "incorrect", wrong), ("other", "undecided", other))),
    ]  # fmt: skip
    ribbons: list[Ribbon] = [(0, 0.0, 1, 0.0, traces.kept, "kept")]
    examples = select.accounts["examples"].kept if select and "examples" in select.accounts else 0
    if examples:
        levels.append(Level("examples for SFT", _row(("right", "right traces", examples))))
        ribbons.append((1, 0.0, 2, 0.0, examples, "right"))
    pairs = _num_pairs(run, select)
    if pairs:
        place = len(levels)
        parts = [Part("right", "chosen", 0.0, pairs), Part("wrong", "rejected", max(right, pairs), pairs)]
        levels.append(Level("traces in pairs", parts))
        ribbons += [
            (1, 0.0, place, 0.0, min(pairs, right), "right"),
            (1, right, place, max(right, pairs), pairs, "wrong"),
        ]
    caption = "Traces, all on one scale. A right trace can be both an example and the chosen side of a pair. Traces that do not "
    caption += "continue were dropped for the reasons below."
    return [Figure([("", flow(levels, ribbons, "traces from the sources to examples and pairs"))], caption, single=True)]  # fmt: skip


def _row(*parts: tuple[str, str, int]) -> list[Part]:
    bands, at = [], 0
    for tone, name, n in parts:
        if n > 0:
            bands.append(Part(tone, name, at, n))
        at += n
    return bands


def _num_pairs(run: RunFiles, select: Ledger | None) -> int:
    """Pairs as the select stage counted them; where it left no statistics, the problems that gave some."""
    paper = run.statistics
    if paper and paper.own in paper.policies:
        return paper.policies[paper.own].pairs
    return select.accounts["pairs"].kept if select and "pairs" in select.accounts else 0
