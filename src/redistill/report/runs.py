"""The page of several runs side by side: scores, paired differences, what their recipes do not share, curves and costs.

    write_runs_page([Path("runs/a"), Path("runs/b")], found, [], Path("runs/a--b.html"))

`found` is what `redistill compare` finds of every two of them (tools/compare.py): this stage reads files and compares none.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from redistill.config.differences import differing_paths, differing_words
from redistill.io.atomic import write_bytes
from redistill.report import charts
from redistill.report.blocks import Block, Details, Figure, Sentences, Table, Tag, Text
from redistill.report.files import RunFiles
from redistill.report.page import render_page
from redistill.report.pair_shapes import Against
from redistill.report.sections.costs import device_hours, stage_cost
from redistill.report.sections.cross_run import differences
from redistill.report.sections.results import main_model
from redistill.report.sections.training import curve
from redistill.report.text import count, duration, interval, percent, plural, short

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


def write_runs_page(folders: Sequence[Path], found: Sequence[Any], not_compared: Sequence[str], path: Path) -> Path:
    """Write the page and return its path. found: the findings about every two runs; not_compared: sentences that say why
    two runs have none. OperatorError for a missing folder or damaged file."""
    runs = dict(zip(run_names(folders), map(RunFiles, folders)))
    sections = [
        ("Side by side", _scores(runs)),
        ("Paired differences", _differences(found, not_compared)),
        ("What is not the same", _settings(runs)),
        ("Funnels", _funnels(runs)),
        ("Training", _curves(runs)),
        ("What it cost", _costs(runs)),
    ]
    title = f"{plural(len(runs), 'run')}: {short(', '.join(runs), 60)}"
    toy = any(run.is_toy for run in runs.values())
    html = render_page(
        title, [(name, blocks) for name, blocks in sections if blocks], kind="runs side by side", is_toy=toy
    )
    write_bytes(path, html.encode("utf-8"))
    return path


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


def _differences(found: Sequence[Any], not_compared: Sequence[str]) -> list[Block]:
    blocks = differences(TypeAdapter(list[Against]).validate_python(list(found)))
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
        return [Text("The recipes, inputs and versions of these runs are the same; what differs is chance.")]
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
    return [Table("Kept of what came in", ("account", *runs), rows)] if rows else []


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
        if lines:
            panels.append((title, charts.curves(lines, f"{title} over steps, a line a run", log=key.endswith("norm"))))
    if not panels:
        return []
    legend = [Tag(f"{name}: {stages[name]}", place) for place, name in enumerate(runs) if name in stages]
    return [
        Figure(
            panels,
            "The stage of each run that its report is about; steps of different batch sizes are not alike.",
            legend,
        )
    ]


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
