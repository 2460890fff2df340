"""The section on accuracy against step: the guard's probes while a stage trained, and the scores of whole students.

Both stand in one picture but are two measurements: a probe is one sample on a few dev problems, with the same draws every
time; a score is n samples on the whole benchmark. The page says which is which.
"""

import math

from redistill.report import charts
from redistill.report.blocks import Block, Figure, Table, Tag, Text, not_run
from redistill.report.files import RunFiles
from redistill.report.sections.training import by_start
from redistill.report.shapes import Step
from redistill.report.text import count, join, percent

Point = tuple[float, float, float]


def accuracy(run: RunFiles) -> list[Block]:
    """One picture for every place a stage started from; a table of what the probes saw."""
    if not run.stages:
        return not_run("train", "accuracy over steps")
    benchmark = next(iter(run.benchmarks), None)
    starts = by_start(run, run.stages).items()
    blocks = [figure for start, stages in starts if (figure := _figure(run, start, stages, benchmark))]
    if not blocks and not run.scores:
        return [Text("No stage was probed and no student was scored, so there is no accuracy to show.", "missing")]
    probed = {
        stage: rows for stage in run.stages if (rows := [s for s in run.steps(stage) if s.probe_accuracy is not None])
    }
    if probed:
        return [*blocks, _table(run, probed)]
    hint = "Accuracy is known only before and after: no stage was probed during training (a guard with probe_every does that)."
    return [*blocks, Text(hint, "quiet")]


def _figure(run: RunFiles, start: str, stages: list[str], benchmark: str | None) -> Figure | None:
    lines = [(run.series(stage), points) for stage in stages if (points := _probes(run.steps(stage)))]
    ends = [(stage, _last_step(run, stage)) for stage in stages]
    scores = []
    for model, step in [(start, 0), *ends]:
        measured = run.scores.get((model, benchmark)) if benchmark else None
        if measured and measured.pass_at_1.value is not None:
            scores.append((run.series(model), float(step), measured.pass_at_1.value, measured.pass_at_1.interval95))
    if not lines and len(scores) < 3:  # two marks: the same numbers stand under Scores
        return None
    label = f"accuracy over steps of {join(stages)}, from {start}"
    words = [f"{join(stages)}, from {start}."]
    if scores:
        words.append(
            f"Marks: pass@1 of whole students on {benchmark} with 95% intervals; at step 0 the one it starts from."
        )
    if lines:
        words.append("Lines: the guard's probe, one sample on a few dev problems; band: one standard error.")
    legend = [Tag(model, run.series(model)) for model in [start, *stages]]
    return Figure([("accuracy, %", charts.accuracy(lines, scores, label))], " ".join(words), legend, single=True)


def _last_step(run: RunFiles, stage: str) -> int:
    """The step whose student the stage left: the last one, or the one that a stopped guard kept."""
    ledger = run.stage_ledger(stage)
    kept = ledger.guard.kept_step if ledger else None
    return max((s.step for s in run.steps(stage)), default=0) if kept is None else kept


def _probes(rows: list[Step]) -> list[Point]:
    """(step, accuracy, standard error) of each probe."""
    return [(float(row.step), row.probe_accuracy, probe_error(row)) for row in rows if row.probe_accuracy is not None]


def probe_error(row: Step) -> float:
    """The binomial standard error of a probe's accuracy, with two right and two wrong answers added (Agresti and Coull 1998), so that
    0 of 10 does not look certain."""
    n = max(row.probe_problems or 1, 1)
    share = ((row.probe_accuracy or 0.0) * n + 2) / (n + 4)
    return math.sqrt(share * (1 - share) / (n + 4))


def _table(run: RunFiles, probed: dict[str, list[Step]]) -> Table:
    head = (
        "stage",
        "probes",
        "problems",
        "first, %",
        "best, %",
        "at step",
        "last, %",
        "unfinished, %",
        "in a loop, %",
        "tokens",
    )
    body = []
    for stage, rows in probed.items():
        best, last = max(rows, key=lambda row: row.probe_accuracy or 0.0), rows[-1]
        body.append(
            (
                Tag(stage, run.series(stage)), count(len(rows)), count(last.probe_problems), percent(rows[0].probe_accuracy),
                percent(best.probe_accuracy), count(best.step), percent(last.probe_accuracy),
                percent(last.probe_unfinished), percent(last.probe_repetition), count(last.probe_tokens),
            )
        )  # fmt: skip
    return Table("Results of the probes; the last three columns are from the last probe", head, body)
