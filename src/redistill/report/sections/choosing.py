"""The section about choosing one of n samples: curves over k between pass@1 and the ceiling, and what each choice is worth at n.

runs/x/evaluate/STUDENT/BENCHMARK/scores.json     {"choose": {"majority": {"curve": {"1": {"value": .41, ...}, ...}, ...}}}
"""

from redistill.report import charts
from redistill.report.blocks import Block, Details, Figure, Sentences, Table, Tag, Text
from redistill.report.files import RunFiles
from redistill.report.sections.results import main_model
from redistill.report.shapes import ChoiceScores, Scores
from redistill.report.text import interval, percent, short

CEILING = "some sample is right (pass@k)"
MAX_PANELS = 6  # students drawn per benchmark; the table has them all


def choosing(run: RunFiles) -> list[Block]:
    """Nothing for a run that chooses among no samples: the heading is left out with it."""
    blocks: list[Block] = []
    for benchmark in run.benchmarks:
        rows = {model: scores for model, scores in run.scores_on(benchmark).items() if scores.choose}
        if not rows:
            continue
        labels = list(dict.fromkeys(label for scores in rows.values() for label in scores.choose))
        series = {label: number for number, label in enumerate([CEILING, *labels])}
        blocks += [*_figures(benchmark, rows, series, main_model(run)), _table(run, benchmark, rows)]
        main = rows.get(main_model(run) or "") or next(iter(rows.values()))
        blocks.append(Sentences(_sentences(main)))
        blocks += [
            Text(f"{model}: {short(label, 60)} is left out, for {short(found.why, 200)}.", "missing")
            for model, scores in rows.items()
            for label, found in scores.choose.items()
            if found.why
        ]
    return [*blocks, Details("How this is computed", [Text(_HOW, "quiet")])] if blocks else []


_HOW = (
    "Each point is the mean over all subsets of k of the n samples, ties split equally, so no order of the samples matters. Undecided: the verdict on the "
    "chosen answer is neither correct nor incorrect, or there was nothing to choose from; it counts as neither right nor wrong, so the truth lies between "
    "“right” and the sum of both. Differences are paired over the problems."
)


def _figures(benchmark: str, rows: dict[str, Scores], series: dict[str, int], main: str | None) -> list[Figure]:
    shown = sorted(rows, key=lambda model: model != main)[:MAX_PANELS]
    panels = []
    for model in [model for model in rows if model in shown]:
        curves = {CEILING: _points({k: e.value for k, e in rows[model].pass_at_k.items()})}
        curves |= {
            label: _points({k: p.value for k, p in found.curve.items()}) for label, found in rows[model].choose.items()
        }
        drawn = {label: points for label, points in curves.items() if points}
        if not any(share for points in drawn.values() for _, share in points):  # flat lines on the axis show nothing
            continue
        chart = charts.pass_at_k(drawn, series, f"choices among k samples of {model} on {benchmark}", from_zero=False)
        panels.append((f"{short(model, 40)}, % right", chart))
    caption = f"{benchmark}: the share of problems with a right answer when one of k samples is chosen."
    legend = [Tag(short(label, 60), number % charts.NUM_SERIES) for label, number in series.items()]
    return [Figure(panels, caption, legend, single=len(panels) == 1)] if panels else []


def _points(curve: dict[str, float | None]) -> list[tuple[int, float]]:
    return sorted((int(k), value) for k, value in curve.items() if k.isdigit() and value is not None)


def _table(run: RunFiles, benchmark: str, rows: dict[str, Scores]) -> Table:
    body: list[list[str | Tag | None]] = []
    for model, scores in rows.items():
        tag = Tag(model, run.series(model))
        n = scores.num_samples
        body.append(
            [tag, "one sample (pass@1)", percent(scores.pass_at_1.value), interval(scores.pass_at_1.interval95)]
        )
        for label, choice_scores in scores.choose.items():
            if choice_scores.curve:
                body.append([tag, short(label, 80), *_cells(choice_scores, str(n))])
        ceiling = scores.pass_at_k.get(str(n))
        if ceiling:
            body.append(
                [tag, f"{CEILING.removesuffix('k)')}{n})", percent(ceiling.value), interval(ceiling.interval95)]
            )
    n = next(iter(rows.values())).num_samples
    head = (
        "model",
        "choice",
        "right",
        "95% interval",
        "undecided",
        "− pass@1",
        "95% interval",
        "− majority",
        "95% interval",
    )
    padded = [[*row, *[None] * (len(head) - len(row))] for row in body]
    return Table(f"{benchmark}: one of {n} samples chosen, in percent", head, padded, (1,))


def _cells(choice_scores: ChoiceScores, n: str) -> list[str | None]:
    point = choice_scores.curve.get(n)
    cells: list[str | None] = [None] * 3
    if point:
        cells = [percent(point.value), interval(point.interval95), percent(point.undecided)]
    for gain in (choice_scores.against_pass_at_1, choice_scores.against_majority):
        cells += [percent(gain.difference), interval(gain.interval95)] if gain else [None, None]
    return cells


def _sentences(scores: Scores) -> list[str]:
    gains = [gain for c in scores.choose.values() for gain in (c.against_pass_at_1, c.against_majority)]
    return [gain.sentence for gain in gains if gain and gain.sentence]
