"""Runs beside one another: answers judged again, students of other runs, and the page of several runs.

    other_verifiers(run), other_runs(run)      sections of a run's page, where `redistill regrade` and `compare` left files in its folder
    write_runs_page([Path("runs/a"), Path("runs/b")], found, [], Path("runs/a--b.html"))

`found` is what `redistill compare` finds of every two of them (tools/cross_run.py): files are read here, and nothing is compared.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from redistill.config.differences import differing_paths, differing_words
from redistill.records import Outcome
from redistill.report import charts
from redistill.report.blocks import Block, Details, Figure, Passage, Passages, Sentences, Table, Tag, Text
from redistill.report.files import RunFiles
from redistill.report.render import write_page
from redistill.report.sections.costs import device_hours, stage_cost
from redistill.report.sections.results import main_model
from redistill.report.sections.training import MIN_POINTS, curve
from redistill.report.shapes import Against, Agreement, Bins, Flip, FlipSide
from redistill.report.text import count, cut, duration, interval, percent, plural, short
from redistill.text.figures import p_value

MAX_FLIPS = 12  # shown with both answers; all of them are in the file
MAX_EXAMPLES = 12
MAX_SETTINGS = 60  # rows of the table of what differs
_IGNORED = ("name", "report", "card", "execution", "tracking")  # how a run is called, shown and spread, not what it is
_PANELS = (
    ("chosen_logp", "log-prob of chosen, per token"),
    ("rejected_logp", "log-prob of rejected, per token"),
    ("margin", "margin (chosen − rejected)"),
    ("lr_x_grad_norm", "learning rate × gradient norm"),
    ("update_norm", "update norm"),
    ("probe_accuracy", "probe accuracy, %"),
)
Runs = Mapping[str, RunFiles]  # what a run is called on the page -> its folder
LinePanel = tuple[
    str, str, Sequence[charts.Line], bool
]  # title, what a screen reader says, lines, whether the axis may be logarithmic


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
        blocks.append(Table("The same answers, judged again; the run's own results do not change", head, rows, (1, 2)))
    for agreement in run.agreements:
        blocks.append(Text(_agreed(agreement)))
        blocks.append(_outcomes(agreement))
        if agreement.examples:
            blocks.append(_disagreements(agreement))
    return blocks


def _agreed(agreement: Agreement) -> str:
    where = f"{agreement.student} on {agreement.benchmark}"
    return (
        f"{where}: {agreement.a} and {agreement.b} agree on {percent(agreement.agree)}% of {plural(agreement.num_samples, 'answer')}. "
        f"Called correct by {agreement.a} alone: {count(agreement.only_a_correct)}; by {agreement.b} alone: {count(agreement.only_b_correct)}."
    )


def _outcomes(agreement: Agreement) -> Table:
    columns = [o.value for o in Outcome if any(o.value in row for row in agreement.table.values())]
    rows = [[word, *(count(row.get(column, 0)) for column in columns)] for word, row in agreement.table.items()]
    return Table(
        f"{agreement.benchmark}: {agreement.a} (rows) against {agreement.b} (columns), answers", ["", *columns], rows
    )


def _disagreements(agreement: Agreement) -> Details:
    head = ("answer", "gold", *(f"{who} {what}" for who in (agreement.a, agreement.b) for what in ("says", "read")))
    rows = []
    for example in agreement.examples[:MAX_EXAMPLES]:
        said = (
            [example.model_extra.get(name) or {} for name in (agreement.a, agreement.b)]
            if example.model_extra
            else [{}, {}]
        )
        cells = [
            cell for one in said for cell in (f"{one.get('outcome')} ({one.get('reason')})", _read(one.get("read")))
        ]
        rows.append((example.trace_id, short(example.gold or "–", 40), *cells))
    table = Table(
        f"{agreement.benchmark}: answers on which {agreement.a} and {agreement.b} disagree",
        head,
        rows,
        tuple(range(1, 6)),
    )
    return Details(f"{plural(len(rows), 'answer')} on which {agreement.a} and {agreement.b} disagree", [table])


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
        caption = (
            "Difference in pass@1 on the same problems, with its 95% interval; the vertical line marks no difference."
        )
        blocks.append(Figure([("", chart)], caption, single=True))
    for against in found_all:
        blocks.append(Sentences(_sentences(against)))
        tables = [
            _bins(against, title, bins)
            for title, bins in (("by difficulty", against.by_difficulty), ("by length", against.by_length))
            if bins.bins
        ]
        notes: list[Block] = [Text(f"{title}: {b.note}", "quiet") for title, b in _notes(against) if b.note]
        title = f"{against.a} against {against.b} on {against.benchmark}: on hard and easy problems, in short and long answers"
        blocks.append(Details(title, [*tables, *notes]))
        if against.flipped:
            blocks.append(_flips(against))
    return blocks


def _notes(against: Against) -> list[tuple[str, Bins]]:
    return [("By difficulty", against.by_difficulty), ("By length", against.by_length)]


def _sentences(against: Against) -> list[str]:
    judge = f" by {against.verifier}" if against.verifier else ""
    lines = [f"{against.benchmark}{judge}: {against.sentence}"]
    lines += [one.sentence for one in against.self_correction.values() if one.sentence]
    flips = against.flips
    if flips:
        p = "" if against.mcnemar_p is None else f" McNemar's exact test: {p_value(against.mcnemar_p)}."
        lines.append(
            f"Solved by both {count(flips.get('both'))}, by {against.a} alone {count(flips.get('only_a'))}, by {against.b} alone "
            f"{count(flips.get('only_b'))}, by neither {count(flips.get('neither'))}.{p}"
        )
    lines += [
        f"Not the same: {key} {' against '.join(differing_words(values, 60))}."
        for key, values in against.settings_differ.items()
        if len(values) == 2
    ]
    if any(against.left_out):
        lines.append(f"Left out, answered by one side only: {count(sum(against.left_out))}.")
    return lines


def _bins(against: Against, title: str, bins: Bins) -> Table:
    head = ("problems", "how many", f"{against.a}, %", f"{against.b}, %", "difference, points", "95% interval")
    rows = [
        (b.label, count(b.num_problems), percent(b.a), percent(b.b), percent(b.difference), interval(b.interval95))
        for b in bins.bins
    ]
    return Table(f"{against.benchmark}: pass@1 {title}", head, rows)


def _flips(against: Against) -> Details:
    blocks: list[Block] = []
    for flip in against.flipped[:MAX_FLIPS]:
        lines = [f"gold answer: {short(flip.a.gold or '–')}", f"solved by {flip.solved_by} alone"]
        problem = Passage("problem", "", lines, cut(flip.a.statement, 600, 200))
        sides = [_side(name, side, flip) for name, side in ((against.a, flip.a), (against.b, flip.b))]
        blocks += [Passages([problem]), Passages(sides)]
    more = len(against.flipped) - MAX_FLIPS
    if more > 0:
        blocks.append(Text(f"{plural(more, 'more problem')} in the file of the comparison.", "quiet"))
    return Details(
        f"{plural(len(against.flipped), 'problem')} on {against.benchmark} that only one of the two solves", blocks
    )


def _side(name: str, side: FlipSide, flip: Flip) -> Passage:
    tone = "right" if flip.solved_by == name else "wrong"
    lines = [f"{side.outcome}, read {_read(side.read)}", f"{side.correct} of {side.samples} samples right"]
    return Passage(name, tone, lines, cut(side.completion_end, 500, 400))


# --- the page of several runs -------------------------------------------------------------------------------------------


def write_runs_page(
    folders: Sequence[Path], comparisons: Sequence[Any], not_compared: Sequence[str], path: Path
) -> Path:
    """Write the page and return its path. found: the findings about every two runs; not_compared: sentences that say why
    two runs have none. OperatorError for a missing folder or damaged file."""
    runs = dict(zip(run_names(folders), map(RunFiles, folders)))
    sections = [
        ("Side by side", _scores(runs)),
        ("Paired differences", _differences(comparisons, not_compared)),
        ("Differences between the runs", _settings(runs)),
        ("Funnels", _funnels(runs)),
        ("Training", _curves(runs)),
        ("What it cost", _costs(runs)),
    ]
    title = f"{plural(len(runs), 'run')}: {short(', '.join(runs), 60)}"
    toy = any(run.is_toy for run in runs.values())
    return write_page(path, title, sections, kind="runs side by side", is_toy=toy)


def run_names(folders: Sequence[Path]) -> list[str]:
    """Each run's folder name; with the folder above where two have one name."""
    names = [folder.resolve().name for folder in folders]
    return [n if names.count(n) == 1 else f"{f.resolve().parent.name}/{n}" for n, f in zip(names, folders)]


def _scores(runs: Runs) -> list[Block]:
    """Every run's main student on each benchmark, drawn; all students in a table."""
    blocks: list[Block] = []
    benchmarks = list(dict.fromkeys(b for run in runs.values() for b in run.benchmarks))
    for benchmark in benchmarks:
        drawn, rows = [], []
        for place, (name, run) in enumerate(runs.items()):
            main = main_model(run)
            for model in run.models:
                if (model, benchmark) not in run.scores:
                    continue
                score = run.scores[model, benchmark]
                at_1 = score.pass_at_1
                if model == main and at_1.value is not None:
                    drawn.append((name, place, at_1.value, at_1.interval95))
                rows.append(
                    (
                        Tag(name, place), model, percent(at_1.value), interval(at_1.interval95),
                        percent(at_1.sem_over_sample_columns, 2), percent(at_1.sem_over_problems, 2),
                        percent(score.majority_at_n.value) if score.majority_at_n else None,
                        percent(score.truncation_rate), count(score.num_problems), count(score.num_samples),
                    )
                )  # fmt: skip
        if drawn:
            caption = f"{benchmark}: pass@1 of the student that each run's report is about; the line is its 95% interval over problems."
            blocks.append(
                Figure([("", charts.intervals(drawn, "pass@1, %", f"pass@1 on {benchmark}"))], caption, single=True)
            )
        head = (
            "run",
            "student",
            "pass@1, %",
            "95% interval",
            "SEM (ddof 1) over columns",
            "SEM (ddof 1) over problems",
            "maj@n",
            "cut, %",
            "problems",
            "n",
        )
        blocks.append(Table(f"{benchmark}: every student of every run", head, rows, (1,)))
    return blocks or [Text("None of these runs has scores yet.", "missing")]


def _differences(comparisons: Sequence[Any], not_compared: Sequence[str]) -> list[Block]:
    blocks = differences(TypeAdapter(list[Against]).validate_python(list(comparisons)))
    return [*blocks, *([Sentences(list(not_compared))] if not_compared else [])]


def _settings(runs: Runs) -> list[Block]:
    """Settings that two recipes do not share, by their dotted names; inputs and versions too."""
    stages = [set(run.setting("train") or {}) for run in runs.values()]
    everywhere = set.intersection(*stages)
    trees = []
    for run in runs.values():
        tree = {k: v for k, v in _without_odd_stages(run.recipe, everywhere).items() if k not in _IGNORED}
        tree |= {f"package {p}": v for p, v in run.facts.packages.items()}
        tree |= {f"input {Path(p).name}": sha[:12] for p, sha in run.facts.inputs.items()}
        trees.append(tree | {"git commit": (run.facts.git_commit or "unknown")[:12]})
    differ = differing_paths(trees)
    if not differ:
        return [Text("The recipes, inputs and versions of these runs are the same; any difference is due to chance.")]
    rows = [(short(key, 60), *differing_words(values, 60)) for key, values in list(differ.items())[:MAX_SETTINGS]]
    more = f": the first {MAX_SETTINGS} of {len(differ):,}" if len(differ) > MAX_SETTINGS else ""
    return [
        Table(
            f"Settings, inputs and versions that differ{more}", ("setting", *runs), rows, tuple(range(1, len(runs) + 1))
        )
    ]


def _without_odd_stages(recipe: Mapping[str, Any], everywhere: set[str]) -> dict[str, Any]:
    """The recipe with a stage that not every run has as one line, its objective, instead of thirty."""
    stages = {
        name: stage if name in everywhere or not isinstance(stage, dict) else str(stage.get("objective"))
        for name, stage in (recipe.get("train") or {}).items()
    }
    return {**recipe, "train": stages} if stages else dict(recipe)


def _funnels(runs: Runs) -> list[Block]:
    """What came in and was kept, an account a row."""
    accounts: dict[str, dict[str, str]] = {}
    for name, run in runs.items():
        for stage_dir in ("corpus", "verify", "select"):
            ledger = run.ledger(stage_dir)
            for account, value in (ledger.accounts if ledger else {}).items():
                accounts.setdefault(f"{stage_dir}/{account}", {})[name] = f"{value.kept:,} of {value.came_in:,}"
    rows = [(short(account, 60), *(one.get(name) for name in runs)) for account, one in accounts.items()]
    return [Table("Kept, by stage", ("account", *runs), rows)] if rows else []


def _curves(runs: Runs) -> list[Block]:
    """The last stage on pairs of each run, laid over one another."""
    stages = {}
    for name, run in runs.items():
        on_pairs = [s for s in run.stages if any(step.rejected_logp is not None for step in run.steps(s)[:3])]
        main = main_model(run)
        if on_pairs:
            stages[name] = main if main in on_pairs else on_pairs[-1]
    panels = []
    for key, title in _PANELS:
        lines = [
            charts.Line(place, *found)
            for place, (name, run) in enumerate(runs.items())
            if name in stages and (found := curve(run.steps(stages[name]), key))
        ]
        if any(len(line.steps) >= MIN_POINTS for line in lines):  # one or two points are no curve
            panels.append((title, f"{title} over steps, one line per run", lines, key.endswith("norm")))
    legend = [Tag(f"{name}: {stages[name]}", place) for place, name in enumerate(runs) if name in stages]
    words = "The stage of each run that its report is about; steps of different batch sizes are not comparable."
    return line_figure(panels, words, legend)


def line_figure(panels: Sequence[LinePanel], caption: str, legend: Sequence[Tag]) -> list[Block]:
    """Small multiples of lines over steps; nothing where no panel has a line."""
    drawn = [(title, charts.curves(lines, label, log=log)) for title, label, lines, log in panels if lines]
    return [Figure(drawn, caption, legend, single=len(drawn) == 1)] if drawn else []


def _costs(runs: Runs) -> list[Block]:
    rows = []
    for place, (name, run) in enumerate(runs.items()):
        costs = [cost for stage in run.stages if (cost := stage_cost(run, stage))]
        gpus = run.facts.hardware.get("gpus") or []
        rows.append(
            (
                Tag(name, place), count(sum(c.tokens for c in costs)), duration(sum(c.seconds for c in costs)),
                device_hours(costs), duration(sum(run.facts.seconds.values()) or None), short(", ".join(map(str, gpus)) or "no GPU", 40),
            )
        )  # fmt: skip
    head = ("run", "tokens trained on", "time in steps", "device hours", "wall time, all stages", "GPUs")
    details = Details(
        "Folders", [Table("Folders", ("run", "folder"), [(n, str(r.folder)) for n, r in runs.items()], (1,))]
    )
    return [Table("Training and the whole run", head, rows, (5,)), details]
