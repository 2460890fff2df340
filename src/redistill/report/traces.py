"""The sections that show texts: pairs of teacher traces side by side, and a few of the student's answers.

Texts are cut in the middle, the cut is counted, and only the first records of a few shards are read.
"""

from redistill.records import FINAL, Group, Outcome, Pair, Trace
from redistill.report.blocks import Block, Details, Passage, Passages, Text, not_run
from redistill.report.files import RunFiles
from redistill.report.results import main_model
from redistill.report.text import cut, first_difference, percent, short, spans_from

NUM_PAIRS = 3  # where the recipe's report.example_traces says nothing
_OPENED = 1  # the first example stands open


def pairs(run: RunFiles) -> list[Block]:
    """Pairs spread over the first shards: problem, chosen and rejected, verdicts, the first difference marked."""
    if run.ledger("select") is None:
        return not_run("select", "pair")
    wanted = run.setting("report", "example_traces")
    wanted = NUM_PAIRS if wanted is None else int(wanted)
    found: list[Pair] = list(run.sample("select/pairs", max_shards=4, max_records=200))
    if not found or not wanted:
        return [Text("No pair was kept in this run." if wanted else "The recipe asks for no example.", "missing")]
    picked = [found[i * len(found) // wanted] for i in range(wanted)] if len(found) > wanted else found
    groups = _groups_of(run, {p.problem_id for p in picked})
    note = f"{len(picked)} of the {len(found):,} pairs read, evenly spaced."
    shared = "Grey: what the two traces share from the start; marked: where they first differ."
    blocks: list[Block] = [Text(f"{note} {shared}", "quiet"), *_prefix_weight(run)]
    blocks += [_pair(run, n, pair, groups.get(pair.problem_id)) for n, pair in enumerate(picked)]
    return blocks


def _prefix_weight(run: RunFiles) -> list[Block]:
    """How many pairs push their own shared opening down: REDI's net weight there is 1/|chosen| - 0.8/|rejected|."""
    ledger = run.ledger("select")
    signs = ledger.tallies.get("prefix_net_weight", {}) if ledger else {}
    total = sum(signs.values())
    if not total:
        return []
    n = signs.get("negative", 0)
    return [
        Text(
            f"In {n:,} of {total:,} pairs ({percent(n / total)}%) the rejected trace is shorter than 0.8 of the chosen one. "
            "There REDI's net weight on a token that both share is negative at the paper's weight of 0.8.",
            "quiet",
        )
    ]


def _groups_of(run: RunFiles, problem_ids: set[str]) -> dict[str, Group]:
    """The verified groups of these problems, as far as they lie in the shards read: select keeps the order of verify."""
    found: dict[str, Group] = {}
    for group in run.sample("verify/groups", max_shards=4, max_records=1600):
        if group.problem.id in problem_ids:
            found[group.problem.id] = group
            if len(found) == len(problem_ids):
                break
    return found


def _pair(run: RunFiles, index: int, pair: Pair, group: Group | None) -> Details:
    traces = {t.id: t for t in group.traces} if group else {}
    shared = first_difference(pair.chosen, pair.rejected)
    sides = []
    for title, tone, text, trace_id in (
        ("chosen", "right", pair.chosen, pair.chosen_id),
        ("rejected", "wrong", pair.rejected, pair.rejected_id),
    ):
        trace = traces.get(trace_id)
        verdicts = verdict_lines(trace) if trace else ["verdicts not in the shards read"]
        length = f"{len(text):,} characters"
        length += f", {trace.num_tokens:,} tokens by its author" if trace and trace.num_tokens else ""
        sides.append(Passage(title, tone, [*verdicts, length], spans_from(text, shared)))
    statement = group.problem.statement if group else pair.prompt
    facts = [f"gold answer: {short(group.problem.answer or '–')}", f"source: {_source(group)}"] if group else []
    facts.append(f"the two share their first {shared:,} characters")
    problem = Passage("problem", "", facts, cut(statement, 700, 300))
    return Details(
        f"Pair {index + 1}: {short(statement, 70)}", [Passages([problem]), Passages(sides)], is_open=index < _OPENED
    )


def _source(group: Group) -> str:
    return short(f"{group.problem.source} {group.problem.source_row}".strip() or "–", 80)


def answers(run: RunFiles) -> list[Block]:
    """A few answers of the main model: two right, two wrong, and one that could not be decided where there is one."""
    model = main_model(run)
    if model is None:
        return not_run("evaluate", "answer")
    benchmark = next(b for b in run.benchmarks if (model, b) in run.scores)
    wanted = {"right": 2, "wrong": 2, "other": 1}
    picked: dict[str, list[tuple[Group, Trace]]] = {tone: [] for tone in wanted}
    for group in run.sample(f"evaluate/{model}/{benchmark}/groups", max_shards=4, max_records=400):
        for trace in group.traces:
            tone = tone_of(trace)
            if len(picked[tone]) < wanted[tone]:
                picked[tone].append((group, trace))
                break  # one answer a problem: five answers show five problems
    shown = [pick for tone in wanted for pick in picked[tone]]
    if not shown:
        return [Text(f"The samples of {model} on {benchmark} are not in this folder.", "missing")]
    note = f"From {model} on {benchmark}: the first of each kind among the problems read, not a fair sample."
    return [Text(note, "quiet"), *(_answer(group, trace) for group, trace in shown)]


def _answer(group: Group, trace: Trace) -> Details:
    facts = [f"gold answer: {short(group.problem.answer or '–')}", *verdict_lines(trace)]
    problem = Passage("problem", "", [], cut(group.problem.statement, 600, 200))
    answer = Passage("answer", tone_of(trace), facts, cut(trace.completion, 1000, 500))
    outcome = trace.verdicts[FINAL].outcome if FINAL in trace.verdicts else "not verified"
    return Details(f"{outcome}: {short(group.problem.statement, 70)}", [Passages([problem]), Passages([answer])])


def tone_of(trace: Trace) -> str:
    """`right`, `wrong`, or `other` where the joined verdict is neither."""
    if FINAL not in trace.verdicts:
        return "other"
    return {Outcome.correct: "right", Outcome.incorrect: "wrong"}.get(trace.verdict.outcome, "other")


def verdict_lines(trace: Trace) -> list[str]:
    """One line a verdict: who, what, the answer it read, why."""
    lines = []
    for name, verdict in trace.verdicts.items():
        read = f", read “{short(verdict.extracted, 60)}”" if verdict.extracted is not None else ""
        why = f" ({short(verdict.reason, 100)})" if verdict.reason else ""
        lines.append(f"{name}: {verdict.outcome}{read}{why}")
    return lines
