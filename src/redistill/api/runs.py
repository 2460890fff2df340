"""Commands that run recipes: run, sweep, lr-find, plan, datafree, report."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from redistill.api.parameters import (
    SHIPPED,
    AnyRecipe,
    Code,
    DatafreeSource,
    OnCodeChange,
    Overrides,
    Parameter,
    Paths,
    RunName,
    RunsDir,
    check,
    check_counts,
    file_of,
    here,
    load_code,
    numbers,
    option,
    optional_path,
    read_recipe,
    repeated,
)


def run(
    recipe: AnyRecipe,
    *,
    overrides: Overrides = (),
    name: RunName = None,
    runs_dir: RunsDir = "runs",
    start: Annotated[str | None, option("--from", metavar="STAGE")] = None,
    until: Annotated[str | None, Parameter(metavar="STAGE")] = None,
    on_code_change: OnCodeChange = "ask",
    overwrite: bool = False,
    from_run: Annotated[str | Path | None, Parameter(metavar="DIR")] = None,
    executor: Literal["local", "ray"] | None = None,
    workers: Annotated[int | None, Parameter(metavar="N")] = None,
    code: Code = (),
) -> Path:
    r"""Run a recipe from traces to report.

    The stages, in order: corpus (read and merge the traces), verify (judge every answer), select (examples and pairs),
    train (every student of the recipe), evaluate (score every student on held-out problems), report (one HTML page).

    When you run it again, finished stages are skipped, and after a changed setting only what depends on it is
    repeated. After a kill at any moment it resumes from its last finished shard or checkpoint, to the same result.
    Replaced results stay in the run's trash folder until the new ones are complete. If only the code has changed
    since a student was trained or an answer was paid for, you decide: --keep or --remake.

    Args:
        start: run this stage and those after it again
        until: stop after this stage
        overwrite: replace another recipe's finished run of that name
        from_run: reuse the finished stages of another run that still fit
        executor: where corpus, verify and select run (execution.executor)
        workers: processes of these stages (execution.workers)

    Returns:
        The run's folder. In a script call it under `if __name__ == "__main__":`, for large inputs are spread over fresh
        processes.

    Examples:
        redistill run quickstart
        redistill run quickstart --name seed1 --set seed=1
        # look at the pairs before training; every pairing is compared offline
        redistill run my.yaml --until select
        # train again on the same pairs
        redistill run my.yaml --from train
        # corpus, verdicts and pairs from a
        redistill run my.yaml --name b --from-run runs/a \
              --set train.redi.learning_rate=1e-6
        # the stages before training on a Ray cluster (RAY_ADDRESS, or one made here)
        redistill run my.yaml --executor ray
        # the same on several GPUs
        accelerate launch -m redistill run my.yaml
    """
    check_counts("run", workers=workers)
    chosen = {"executor": executor, "workers": workers}
    settings = [f"execution.{key}={value}" for key, value in chosen.items() if value is not None]
    tables = read_recipe(recipe, [*overrides, *settings], name, code)
    from redistill.pipeline.run import run as run_recipe

    return run_recipe(
        tables, runs_dir=Path(runs_dir), start=start, until=until, on_code_change=on_code_change, overwrite=overwrite,
        from_run=None if from_run is None else here(from_run, weights=True), recipe_file=file_of(recipe),
    )  # fmt: skip


def sweep(
    sweep: str | Path,
    *,
    overrides: Overrides = (),
    name: Annotated[str | None, Parameter(help="name of the sweep's folder (default: the sweep's name)")] = None,
    runs_dir: RunsDir = "runs",
    workers: Annotated[int | None, Parameter(metavar="N")] = None,
    on_code_change: OnCodeChange = "ask",
    dry_run: bool = False,
) -> dict[str, Any]:
    r"""Run a grid of trials over one recipe: named variants, axes (dotted settings) and seeds, several at a time.

    What trials have in common (corpus, verdicts, pairs, an SFT student, a reference's log-probs) is made once. After
    a stop or a kill the same command resumes and repeats no finished trial. It writes sweep.json, table.md and
    report.html: for every point n, seeds, the mean with a t-interval over seeds, and the difference from the named
    control, paired by problem. The file's settings: docs/sweep.md.

    Args:
        sweep: a YAML file that names a recipe and what varies
        workers: trials at a time (default: the available cores)
        dry_run: list the trials and stop

    Returns:
        The table, as sweep.json holds it; of a dry run {"trials": their names}. Call it under `if __name__ == "__main__":`.

    Examples:
        redistill sweep experiments/quickstart-kit/weights.yaml --workers 2
        redistill sweep my-sweep.yaml --set 'seeds=[0, 1]' --name try --dry-run
    """
    check_counts("sweep", workers=workers)
    from redistill.io.executors import cores
    from redistill.tools.sweep.grid import make_trials, read_sweep

    settings = read_sweep(sweep, overrides, name)
    if dry_run:
        return {"trials": [trial.id for trial in make_trials(settings)]}
    from redistill.tools.sweep.sweep import run_sweep

    return run_sweep(settings, runs_dir=Path(runs_dir), workers=workers or cores(), on_code_change=on_code_change)


def lr_find(
    recipe: AnyRecipe,
    *,
    stage: str,
    rates: Annotated[Sequence[float], Parameter(converter=numbers, metavar="R,R,..")],
    weights: Annotated[Sequence[float], Parameter(converter=numbers, metavar="W,W,..")] = (),
    steps: Annotated[int, Parameter(metavar="N")] = 100,
    overrides: Overrides = (),
    name: RunName = None,
    runs_dir: RunsDir = "runs",
    on_code_change: OnCodeChange = "ask",
    code: Code = (),
) -> dict[str, Any]:
    r"""Find the highest stable learning rate of a stage by short trials, each stopped at the guard's first warning.

    Every trial starts from the stage's start student on the run's own pairs (made first if they are missing), warms
    up as the stage does, and then keeps its rate constant. A rate is good if the guard gave no warning in any of its
    steps. Rates are tried from the smallest; after a warning, larger ones are skipped. docs/guard.md explains the
    states.

    Args:
        stage: the stage of the recipe to try
        rates: learning rates to try
        weights: values of the objective's rejected_weight
        steps: optimizer steps of a trial

    Returns:
        The trials and the largest good rates.

    Examples:
        redistill lr-find quickstart --stage redi --weights 0.5,0.8,1.0 \
              --rates 3e-5,1e-4,3e-4
        redistill lr-find my.yaml --stage dpo --rates 1e-7,3e-7,1e-6 --steps 200
    """
    check_counts("lr-find", steps=steps)
    check(all(0 < rate < math.inf for rate in rates), "lr-find: --rates must be numbers above 0.")
    check(all(0 <= weight < math.inf for weight in weights), "lr-find: --weights must be numbers of 0 or more.")
    tables = read_recipe(recipe, overrides, name, code)
    from redistill.tools.lr_find import lr_find as find

    return find(
        tables, runs_dir=Path(runs_dir), stage=stage, weights=list(weights), rates=list(rates), steps=steps,
        recipe_file=file_of(recipe), on_code_change=on_code_change,
    )  # fmt: skip


def plan(
    recipe: AnyRecipe,
    *,
    gpus: Annotated[Sequence[str], repeated("--gpu", "a GPU's name; default: all that are known", metavar="NAME")] = (),
    price: Annotated[float | None, Parameter(metavar="X")] = None,
    utilisation: Annotated[float, Parameter(metavar="X")] = 0.35,
    overrides: Overrides = (),
    name: RunName = None,
    runs_dir: RunsDir = "runs",
    code: Code = (),
) -> dict[str, Any]:
    r"""Estimate the cost of a run before it starts: rows, tokens, steps, memory, operations, hours, money, disk.

    It needs only the data and the student's config, on a CPU; no weights are loaded and nothing is written. If the
    run already has its pairs (`redistill run RECIPE --until select`), rows and steps are counted; otherwise they are
    estimated from a sample of problems that goes through the run's own stages, with 95% intervals over problems.
    Hours and money depend on an assumed utilisation and assumed prices; you can set both (docs/plan.md).

    Args:
        price: dollars per hour of one GPU (default: an assumption)
        utilisation: share of the GPU's peak that training reaches

    Returns:
        Everything as plain data.

    Examples:
        redistill plan quickstart
        redistill plan my.yaml --gpu A100-80 --price 1.29 --utilisation 0.4
        redistill plan my.yaml --set train.redi.tokens_per_micro_batch=32768 --json
    """
    check(price is None or 0 <= price < math.inf, "plan: --price must be a number of 0 or more.")
    check(0 < utilisation <= 1, "plan: --utilisation must be above 0 and at most 1.")
    tables = read_recipe(recipe, overrides, name, code)
    from redistill.io.progress import say

    say("plan     loading the libraries")  # seconds, before anything else can be said
    from redistill.model.flops import GPUS
    from redistill.tools.estimate.estimate import forecast

    return forecast(
        tables, runs_dir=Path(runs_dir), gpus=list(gpus) or list(GPUS), price=price, utilisation=utilisation
    )


def datafree(
    recipe: Annotated[DatafreeSource, Parameter(help=SHIPPED.replace("quickstart", "cmi-digits"))],
    *,
    overrides: Overrides = (),
    name: RunName = None,
    runs_dir: RunsDir = "runs",
    overwrite: bool = False,
    code: Code = (),
) -> Path:
    r"""Distil an image classifier without its data (contrastive model inversion, CMI).

    A trained classifier is inverted into a transfer set: a generator makes images that the classifier is confident
    about, that match its stored batch statistics, and that differ from each other. A student is distilled on them. A
    recipe has one or more arms, each a transfer set and a student; real images are needed only to score students.

    After a stop or a kill the same command resumes, to the same result; finished arms are skipped.

    Args:
        overwrite: remake results of other settings or code

    Returns:
        The run's folder; scores are in its `datafree.json`.

    Examples:
        redistill datafree cmi-digits
        redistill datafree cmi-digits --set seed=1 --name seed1
        # the teacher is a function of your own
        redistill datafree mine.yaml --code my_models.py
    """
    load_code(code)
    from redistill.datafree.settings import load
    from redistill.tools.datafree import run_datafree

    return run_datafree(load(recipe, overrides, name), runs_dir=Path(runs_dir), overwrite=overwrite)


def report(
    run: Paths,
    *,
    out: Annotated[str | Path | None, Parameter(metavar="FILE")] = None,
    tokens: bool = False,
) -> Path:
    r"""Write report.html of a run again from its files.

    With several runs one page shows them side by side: scores, paired differences on the problems that both answered, what
    differs between their recipes, curves and costs. The folder of a sweep gives the sweep's page with heat maps and table.

    With --tokens both students of the last stage on pairs are loaded, and every token of the pairs shown is coloured by
    what training did to it; `redistill run` does so automatically.

    Args:
        run: one run's folder, such as runs/quickstart, or several
        out: where the page of several runs goes (default: beside the first)
        tokens: measure what training did to each token (loads the models)

    Returns:
        The page's path.

    Examples:
        redistill report runs/quickstart
        redistill report runs/quickstart --tokens
        redistill report runs/weight-0.5 runs/weight-0.8 --out weights.html
    """
    from redistill.tools.report import report_page

    named = [run] if isinstance(run, str | Path) else run
    folders = [here(folder, weights=tokens) for folder in named]
    return report_page(folders, out=optional_path(out), tokens=tokens)
