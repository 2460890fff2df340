"""The sections about what was found beside the run: its answers judged by other verifiers, and other runs' students.

Both stand on the page where `redistill regrade` and `redistill compare` have left their files in the run's folder.
"""

from collections.abc import Sequence

from redistill.config.differences import differing_words
from redistill.records import Outcome
from redistill.report import charts
from redistill.report.blocks import Block, Details, Figure, Passage, Passages, Sentences, Table, Text
from redistill.report.files import RunFiles
from redistill.report.pair_shapes import Against, Agreement, Bins, Flip, FlipSide
from redistill.report.text import count, cut, interval, percent, plural, short
from redistill.text.figures import p_value

MAX_FLIPS = 12  # shown with both answers; all of them are in the file
MAX_EXAMPLES = 12


def other_verifiers(run: RunFiles) -> list[Block]:
    """Who agrees with whom on the same answers, the table of outcomes, and what each read where they part."""
    blocks: list[Block] = []
    if run.regraded:
        head = ("student", "benchmark", "verifier", "pass@1, %", "95% interval", "no answer, %")
        rows = [
            (
                model,
                benchmark,
                verifier,
                percent(s.pass_at_1.value),
                interval(s.pass_at_1.interval95),
                percent(s.no_answer_rate),
            )
            for (verifier, model, benchmark), s in run.regraded.items()
        ]
        blocks.append(
            Table("The same answers, judged again: what the run itself shows stays as it was", head, rows, (1, 2))
        )
    for found in run.agreements:
        blocks.append(Text(_agreed(found)))
        blocks.append(_outcomes(found))
        if found.examples:
            blocks.append(_disagreements(found))
    return blocks


def _agreed(found: Agreement) -> str:
    where = f"{found.student} on {found.benchmark}"
    return (
        f"{where}: {found.a} and {found.b} agree on {percent(found.agree)}% of {plural(found.num_samples, 'answer')}. "
        f"Called correct by {found.a} alone: {count(found.only_a_correct)}; by {found.b} alone: {count(found.only_b_correct)}."
    )


def _outcomes(found: Agreement) -> Table:
    columns = [o.value for o in Outcome if any(o.value in row for row in found.table.values())]
    rows = [[word, *(count(row.get(column, 0)) for column in columns)] for word, row in found.table.items()]
    return Table(f"{found.benchmark}: {found.a} (rows) against {found.b} (columns), answers", ["", *columns], rows)


def _disagreements(found: Agreement) -> Details:
    head = ("answer", "gold", *(f"{who} {what}" for who in (found.a, found.b) for what in ("says", "read")))
    rows = []
    for example in found.examples[:MAX_EXAMPLES]:
        said = [example.model_extra.get(name) or {} for name in (found.a, found.b)] if example.model_extra else [{}, {}]
        cells = [
            cell for one in said for cell in (f"{one.get('outcome')} ({one.get('reason')})", _read(one.get("read")))
        ]
        rows.append((example.trace_id, short(example.gold or "–", 40), *cells))
    table = Table(f"{found.benchmark}: answers on which {found.a} and {found.b} part", head, rows, tuple(range(1, 6)))
    return Details(f"{plural(len(rows), 'answer')} on which {found.a} and {found.b} part", [table])


def _read(text: str | None) -> str:
    return "nothing" if text is None else f"“{short(text, 40)}”"


# --- other runs -----------------------------------------------------------------------------------------------------


def other_runs(run: RunFiles) -> list[Block]:
    """Paired differences against other runs, as `redistill compare` has kept them in this run's folder."""
    return differences(run.against)


def differences(found_all: Sequence[Against]) -> list[Block]:
    """Paired differences of students: the sentence, what was not the same, where the effect lies, what flipped."""
    blocks: list[Block] = []
    one_pair = len({(c.a, c.b) for c in found_all}) == 1  # then the sentences below say who it is
    drawn = [
        (c.benchmark if one_pair else f"{c.a} − {c.b}, {c.benchmark}", 0, c.difference, c.interval95)
        for c in found_all
        if c.difference is not None
    ]
    if drawn:
        chart = charts.intervals(drawn, "points of pass@1", "paired differences against other runs", zero_line=True)
        caption = "Difference in pass@1 on the same problems, with its 95% interval; the upright line is no difference."
        blocks.append(Figure([("", chart)], caption, single=True))
    for found in found_all:
        blocks.append(Sentences(_sentences(found)))
        tables = [
            _bins(found, title, bins)
            for title, bins in (("by difficulty", found.by_difficulty), ("by length", found.by_length))
            if bins.bins
        ]
        notes: list[Block] = [Text(f"{title}: {b.note}", "quiet") for title, b in _notes(found) if b.note]
        title = (
            f"{found.a} against {found.b} on {found.benchmark}: on hard and easy problems, in short and long answers"
        )
        blocks.append(Details(title, [*tables, *notes]))
        if found.flipped:
            blocks.append(_flips(found))
    return blocks


def _notes(found: Against) -> list[tuple[str, Bins]]:
    return [("By difficulty", found.by_difficulty), ("By length", found.by_length)]


def _sentences(found: Against) -> list[str]:
    judge = f" by {found.verifier}" if found.verifier else ""
    lines = [f"{found.benchmark}{judge}: {found.sentence}"]
    lines += [one.sentence for one in found.self_correction.values() if one.sentence]
    flips = found.flips
    if flips:
        p = "" if found.mcnemar_p is None else f" McNemar's exact test: {p_value(found.mcnemar_p)}."
        lines.append(
            f"Solved by both {count(flips.get('both'))}, by {found.a} alone {count(flips.get('only_a'))}, by {found.b} alone "
            f"{count(flips.get('only_b'))}, by neither {count(flips.get('neither'))}.{p}"
        )
    lines += [
        f"Not the same: {key} {' against '.join(differing_words(values, 60))}."
        for key, values in found.settings_differ.items()
        if len(values) == 2
    ]
    if any(found.left_out):
        lines.append(f"Left out, answered by one side only: {count(sum(found.left_out))}.")
    return lines


def _bins(found: Against, title: str, bins: Bins) -> Table:
    head = ("problems", "how many", f"{found.a}, %", f"{found.b}, %", "difference, points", "95% interval")
    rows = [
        (b.label, count(b.num_problems), percent(b.a), percent(b.b), percent(b.difference), interval(b.interval95))
        for b in bins.bins
    ]
    return Table(f"{found.benchmark}: pass@1 {title}", head, rows)


def _flips(found: Against) -> Details:
    blocks: list[Block] = []
    for flip in found.flipped[:MAX_FLIPS]:
        facts = [f"gold answer: {short(flip.a.gold or '–')}", f"solved by {flip.solved_by} alone"]
        problem = Passage("problem", "", facts, cut(flip.a.statement, 600, 200))
        sides = [_side(name, side, flip) for name, side in ((found.a, flip.a), (found.b, flip.b))]
        blocks += [Passages([problem]), Passages(sides)]
    more = len(found.flipped) - MAX_FLIPS
    if more > 0:
        blocks.append(Text(f"{plural(more, 'more problem')} in the file of the comparison.", "quiet"))
    return Details(
        f"{plural(len(found.flipped), 'problem')} on {found.benchmark} that only one of the two solves", blocks
    )


def _side(name: str, side: FlipSide, flip: Flip) -> Passage:
    tone = "right" if flip.solved_by == name else "wrong"
    facts = [f"{side.outcome}, read {_read(side.read)}", f"{side.correct} of {side.samples} samples right"]
    return Passage(name, tone, facts, cut(side.completion_end, 500, 400))
