"""Traces whose steps a scorer has scored, each step coloured by its chance of being right: where a trace goes wrong.

Shown are the traces with the lowest and with the highest weakest step. A step below one half is orange and underlined, one above
it blue, in four strengths; the first below one half is named under the text, and what a written judgement says of the trace stands there too.
"""

from bisect import bisect
from collections.abc import Sequence

from redistill.records import Group, Span, Trace
from redistill.report.blocks import Block, Browser, Leaf, MarkedText, Piece, Sentences, Text
from redistill.report.files import RunFiles
from redistill.report.sections.traces import tone_of
from redistill.report.text import both_ends, short, visible

MAX_SHARDS, MAX_GROUPS = 4, 400
SHOWN = 6  # traces of a scorer
MOST_STEPS = 60  # of a trace that is shown; a weight per token is not a step
STEP_CHARS = 500
BORDERS = (0.05, 0.2, 0.35, 0.45)  # of the distance from one half
NOTE_CHARS = 1_500


def scored_steps(run: RunFiles, scorers: Sequence[str]) -> list[Block]:
    """A browser per scorer that scored steps; nothing where none did."""
    traces_by_scorer: dict[str, list[tuple[float, Group, Trace]]] = {}
    for group in run.sample("score/groups", max_shards=MAX_SHARDS, max_records=MAX_GROUPS):
        for trace in group.traces:
            for name in scorers:
                spans = trace.spans.get(name, ())
                if 2 <= len(spans) <= MOST_STEPS and all(0 <= span.value <= 1 for span in spans):
                    traces_by_scorer.setdefault(name, []).append((min(span.value for span in spans), group, trace))
    blocks: list[Block] = []
    for name, traces in traces_by_scorer.items():
        wanted = min(SHOWN, run.most_texts)
        traces.sort(key=lambda one: (one[0], one[2].id))
        if leaves := [_leaf(name, *one) for one in both_ends(traces, wanted)]:
            words = f"Steps scored by {short(name, 60)}: the traces with the weakest and the strongest steps"
            blocks.append(Browser(words, leaves))
    if blocks:
        words = "Orange and underlined: a step that is more likely wrong than right; blue: more likely right. Hover over a step to see its score."
        blocks.insert(0, Text(words, "quiet"))
    return blocks


def tone(value: float) -> str:
    """'' for one half, else `up1` .. `up4` or `down1` .. `down4`."""
    level = bisect(BORDERS, abs(value - 0.5))
    return f"{'up' if value > 0.5 else 'down'}{level}" if level else ""


def pieces_of(text: str, spans: Sequence[Span]) -> list[Piece]:
    """A text in its steps; what no step covers has no tone, and a long step is cut in the middle."""
    pieces: list[Piece] = []
    at = 0
    for number, span in enumerate(sorted(spans), 1):
        start, end = max(at, span.start), min(span.end, len(text))
        if start > at:
            pieces.append(("", text[at:start], ""))
        if end > start:
            colour, said = tone(span.value), f"step {number}: {span.value:.3f}"
            whole = text[start:end]
            if len(whole) > STEP_CHARS:
                half = STEP_CHARS // 2
                left_out = f"{len(whole) - 2 * half:,} characters left out"
                pieces += [(colour, whole[:half], said), ("cut", left_out, ""), (colour, whole[-half:], said)]
            else:
                pieces.append((colour, whole, said))
            at = end
    if at < len(text):
        pieces.append(("", text[at:][:STEP_CHARS], ""))
    return pieces


def first_below_half(spans: Sequence[Span]) -> tuple[int, Span] | None:
    """(number from 1, the span) of the first step that is more likely wrong than right."""
    return next(((number, span) for number, span in enumerate(sorted(spans), 1) if span.value < 0.5), None)


def _leaf(name: str, weakest: float, group: Group, trace: Trace) -> Leaf:
    spans = trace.spans[name]
    first = first_below_half(spans)
    said = f"No step of {len(spans)} is below one half." if first is None else (
        f"First step below one half: {first[0]} of {len(spans)} ({first[1].value:.3f}): {short(trace.completion[first[1].start : first[1].end], 120)}"
    )  # fmt: skip
    lines = [said, *(f"{key}: {short(text, NOTE_CHARS)}" for key, text in trace.notes.items() if key.startswith(name))]
    outcome = trace.verdict.outcome if trace.verdicts else "not judged"
    title = f"{trace.id}: {outcome}. {short(str(visible(group.problem.statement)), 160)}"
    blocks: list[Block] = [
        Text(title, "quiet"),
        MarkedText(title, pieces_of(trace.completion, spans)),
        Sentences(lines),
    ]
    return Leaf(f"{trace.id}, weakest step {weakest:.2f}", f"{weakest:.2f}", blocks, tone_of(trace))
