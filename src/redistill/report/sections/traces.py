"""The sections that show texts: pairs of teacher traces side by side, and a few of the student's answers.

Texts are cut in the middle, the cut is counted, and only the first records of a few shards are read.
"""

from redistill.records import FINAL, Group, Outcome, Pair, Problem, Trace
from redistill.report.blocks import Block, Browser, Key, Leaf, Passage, Passages, Tag, Text, not_run
from redistill.report.files import RunFiles
from redistill.report.remarks import remarks
from redistill.report.sections.results import main_model, not_scored
from redistill.report.shapes import PairTokens
from redistill.report.text import cut, first_difference, percent, prompt_words, ranges_from, said_end, short, spans_of
from redistill.report.thumbnails import thumbnails
from redistill.report.tokens import WORDS, coloured, named
from redistill.text.image_marks import with_names

WEIGHTS = "weight in the loss"  # the name under which a pair's own spans are shown
NUM_PAIRS = 12  # where the recipe's report.example_traces says nothing
_LEGEND = [*(Tag(f"falls by {word}", f"down{i}") for i, word in reversed(list(enumerate(WORDS, 1)))),
           *(Tag(f"rises by {word}", f"up{i}") for i, word in enumerate(WORDS, 1))]  # fmt: skip


def pairs(run: RunFiles) -> list[Block]:
    """Pairs spread over the first shards, to leaf through: problem, chosen and rejected side by side, verdicts, the first
    difference marked and, where a model was at hand, every token coloured by what training did to it."""
    ledger = run.ledger("select")
    if ledger is None:
        return not_run("select", "pair")
    wanted, sampled, picked = _picked(run)
    if not picked:
        return [Text("No pair was kept in this run." if wanted else "The recipe asks for no example.", "missing")]
    groups = _groups_of(run, {p.problem_id for p in picked})
    note = f"{len(picked)} of the {len(sampled):,} pairs read, evenly spaced."
    prompt = prompt_words(ledger.describe.get("prompt") or {})
    note += f" Their prompt: {prompt}." if prompt else ""
    shared = "Grey: what the two traces share from the start; marked: where they first differ."
    blocks: list[Block] = [Text(f"{note} {shared}", "quiet"), *_prefix_weight(run)]
    stage = stage_of_tokens(run)
    changes = run.token_changes(stage) if stage else None
    tokens = {(p.chosen_id, p.rejected_id): p for p in changes.pairs} if changes else {}
    if any((p.chosen_id, p.rejected_id) in tokens for p in picked):
        words = f"Colour: what {stage} did to each token, the change of its log-prob in nats from {changes.start} to {stage}"  # type: ignore[union-attr]
        blocks += [Text(words + "; what falls is underlined too.", "quiet"), Key(_LEGEND)]
    elif stage:
        blocks.append(Text("`redistill report RUN --tokens` colours every token by what training did to it.", "quiet"))
    longest = max(len(text) for pair in picked for text in (pair.chosen, pair.rejected))
    leaves = [
        _pair(
            run, n, pair, groups.get(pair.problem_id), tokens.get((pair.chosen_id, pair.rejected_id)), max(1, longest)
        )
        for n, pair in enumerate(picked, 1)
    ]
    return [*blocks, Browser("Pairs", leaves)]


def pairs_shown(run: RunFiles) -> list[Pair]:
    """The pairs that the page shows."""
    return _picked(run)[2]


def stage_of_tokens(run: RunFiles) -> str | None:
    """The stage whose effect on tokens is shown: the one the report is about where it learned from pairs, else the last
    that did; None where none did."""
    silent = ("", "sft", "outcome", "process", "implicit")  # on right answers alone, or a critic
    stages = [stage for stage in run.stages if run.objective(stage)[0] not in silent]
    main = main_model(run)
    return main if main in stages else stages[-1] if stages else None


def num_wanted(run: RunFiles) -> int:
    """How many pairs the recipe asks for."""
    wanted = run.setting("report", "example_traces")
    return NUM_PAIRS if wanted is None else int(wanted)


def _picked(run: RunFiles) -> tuple[int, list[Pair], list[Pair]]:
    """(how many are wanted, those read, those shown)."""
    wanted = min(num_wanted(run), run.most_texts)
    sampled: list[Pair] = list(run.sample("select/pairs", max_shards=4, max_records=200))
    picked = [sampled[i * len(sampled) // wanted] for i in range(wanted)] if len(sampled) > wanted else sampled
    return wanted, sampled, picked


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
    groups: dict[str, Group] = {}
    for group in run.sample("verify/groups", max_shards=4, max_records=1600):
        if group.problem.id in problem_ids:
            groups[group.problem.id] = group
            if len(groups) == len(problem_ids):
                break
    return groups


def _pair(run: RunFiles, index: int, pair: Pair, group: Group | None, tokens: PairTokens | None, longest: int) -> Leaf:
    traces = {t.id: t for t in group.traces} if group else {}
    shared = first_difference(pair.chosen, pair.rejected)
    sides, below = [], list[Block]()
    for title, tone, text, trace_id, weights, changes in (
        ("chosen", "right", pair.chosen, pair.chosen_id, pair.chosen_spans, tokens.chosen if tokens else []),
        ("rejected", "wrong", pair.rejected, pair.rejected_id, pair.rejected_spans, tokens.rejected if tokens else []),
    ):
        trace = traces.get(trace_id)
        verdicts = verdict_lines(trace) if trace else ["verdicts not in the shards read"]
        length = f"{len(text):,} characters"
        length += f", {trace.num_tokens:,} tokens by its author" if trace and trace.num_tokens else ""
        spans = (
            coloured(ranges_from(text, shared), text, changes) if changes else spans_of(ranges_from(text, shared), text)
        )
        sides.append(
            Passage(title, tone, [*verdicts, length, *named(text, changes)], said_end(spans, shared == len(text)))
        )
        own = {WEIGHTS: weights} if weights else {}
        below += remarks(title, text, {**own, **(trace.spans if trace else {})}, trace.notes if trace else {})
    statement = group.problem.statement if group else with_names(pair.prompt)
    shown = thumbnails(run.folder, group.problem) if group else ()
    lines = [f"gold answer: {short(group.problem.answer or '–')}", f"source: {_source(group)}"] if group else []
    lines += _pictures(group.problem) if group else []
    lines.append(f"the two share their first {shared:,} characters")
    problem = Passage("problem", "", lines, cut(statement, 700, 300), shown)
    bars = [("right", 100 * len(pair.chosen) / longest), ("wrong", 100 * len(pair.rejected) / longest)]
    return Leaf(
        f"Pair {index}: {short(statement, 70)}", str(index), [Passages([problem]), Passages(sides), *below], bars=bars
    )


def _source(group: Group) -> str:
    return short(f"{group.problem.source} {group.problem.source_row}".strip() or "–", 80)


def _pictures(problem: Problem) -> list[str]:
    """A line with the paths of a problem's images, where it has some."""
    paths = ", ".join(short(image.path, 60) for image in problem.images[:4])
    more = f" and {len(problem.images) - 4:,} more" if len(problem.images) > 4 else ""
    return [f"images: {paths}{more}"] if paths else []


def answers(run: RunFiles) -> list[Block]:
    """Some answers of the main model to leaf through: right, wrong, and undecided ones where there are any."""
    model = main_model(run)
    if model is None:
        return not_scored(run, "answer")
    benchmark = next(b for b in run.benchmarks if (model, b) in run.scores)
    wanted = {tone: min(most, run.most_texts) for tone, most in _ANSWERS.items()}
    picked: dict[str, list[tuple[Group, Trace]]] = {tone: [] for tone in wanted}
    for group in run.sample(f"evaluate/{model}/{benchmark}/groups", max_shards=4, max_records=400):
        for trace in group.traces:
            tone = tone_of(trace)
            if len(picked[tone]) < wanted[tone]:
                picked[tone].append((group, trace))
                break  # one answer a problem: twelve answers show twelve problems
    leaves = [
        answer_leaf(run, f"{_SIGNS[tone]}\u2009{n}", group, trace)
        for tone in wanted
        for n, (group, trace) in enumerate(picked[tone], 1)
    ]
    if not leaves:
        return [Text(f"The samples of {model} on {benchmark} are not in this folder.", "missing")]
    note = f"From {model} on {benchmark}: the first of each kind among the problems read, not a fair sample. "
    return [Text(note + "✓ right, ✗ wrong, ? undecided.", "quiet"), Browser("Answers", leaves)]


_ANSWERS = {"right": 4, "wrong": 6, "other": 2}  # of each kind
_SIGNS = {"right": "✓", "wrong": "✗", "other": "?"}


def answer_leaf(run: RunFiles, face: str, group: Group, trace: Trace) -> Leaf:
    """A trace with its problem, verdicts and pictures, to be leafed through in a browser."""
    lines = [f"gold answer: {short(group.problem.answer or '–')}", *verdict_lines(trace)]
    shown = thumbnails(run.folder, group.problem)
    problem = Passage("problem", "", _pictures(group.problem), cut(group.problem.statement, 600, 200), shown)
    answer = Passage("answer", tone_of(trace), lines, cut(trace.completion, 1000, 500))
    outcome = trace.verdicts[FINAL].outcome if FINAL in trace.verdicts else "not verified"
    below = remarks("answer", trace.completion, trace.spans, trace.notes)
    label = f"{outcome}: {short(group.problem.statement, 70)}"
    return Leaf(label, face, [Passages([problem]), Passages([answer]), *below])


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
        score = f", score {verdict.score:.3g}" if verdict.score is not None else ""
        lines.append(f"{name}: {verdict.outcome}{score}{read}{why}")
    return lines
