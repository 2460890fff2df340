"""Every verb of the command line as a function: one place to import from.

    from redistill import api
    folder = api.run("quickstart", overrides=["seed=1"], name="seed1")
    api.scores(folder)["comparisons"][0]["sentence"]

A recipe is given as a file, as plain data or as a Recipe; folders as text or Path. `code` names Python files of your own whose
functions the recipe may name (config/user_plugins.py). Mistakes of the caller are OperatorError, whose text is what the command line
prints. Nothing slow is imported before a verb is called.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from redistill.config.tables import Recipe
    from redistill.tools.doctor import Findings
    from redistill.tools.lineage import Step
    from redistill.tools.rewards import RewardFunction


def run(
    recipe: "str | Path | Mapping[str, Any] | Recipe",
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
    runs_dir: str | Path = "runs",
    start: str | None = None,
    until: str | None = None,
    on_code_change: Literal["ask", "keep", "remake"] = "ask",
    overwrite: bool = False,
    from_run: str | Path | None = None,
    code: Sequence[str | Path] = (),
) -> Path:
    """Run a recipe from traces to report and return its folder; finished stages are skipped.

    overrides: `a.b=value`, as --set. start: make this stage and those after it again. until: stop after this stage.
    on_code_change: whether a trained student or paid answers are kept or made again where only code has changed since.
    overwrite: replace another recipe's finished run of that name. from_run: a run folder whose finished stages are taken
    where they fit. Call it under `if __name__ == "__main__":` in a script, for large inputs are spread over fresh processes.
    """
    found = _recipe(recipe, overrides, name, code)
    from redistill.pipeline.run import run as run_recipe

    return run_recipe(
        found, runs_dir=Path(runs_dir), start=start, until=until, on_code_change=on_code_change, overwrite=overwrite,
        from_run=Path(from_run) if from_run is not None else None, recipe_file=_file_of(recipe),
    )  # fmt: skip


def evaluate(
    model: str | Path,
    benchmarks: Sequence[str],
    *,
    n: int | None = None,
    temperature: float | None = None,
    max_new_tokens: int | None = None,
    max_problems: int | None = None,
    template: str | None = None,
    prefill: str | None = None,
    chat: bool | None = None,
    engine: str | None = None,
    base_url: str | None = None,
    seed: int = 0,
    who: str | None = None,
    name: str | None = None,
    runs_dir: str | Path = "runs",
    choose: Sequence[str] = (),
    few_shot: str | None = None,
    overrides: Sequence[str] = (),
    code: Sequence[str | Path] = (),
) -> Path:
    """Score a finished model and return the run's folder. benchmarks: names, `file:PATH` or tables as in a recipe.

    who: the model's name in folders and tables. choose: ways to choose one of the n samples (`majority`, or tables as in a
    recipe), each scored. few_shot: worked examples before each problem, `5:train` (of a split) or `5:FILE`. What is None is as of `redistill evaluate`. OperatorError where the folder
    holds answers that were drawn in another way.
    """
    _load(code)
    from redistill.tools.evaluate import evaluate_model

    return evaluate_model(
        str(model), benchmarks, n=n, temperature=temperature, max_new_tokens=max_new_tokens, max_problems=max_problems,
        template=template, prefill=prefill, chat=chat, engine=engine, base_url=base_url, seed=seed, student_name=who,
        name=name, runs_dir=Path(runs_dir), choose=choose, few_shot=few_shot, overrides=overrides,
    )  # fmt: skip


def rollout(
    model: str | Path,
    problems: str | Path,
    *,
    out: str | Path,
    source: str = "problems",
    n: int = 1,
    until_right: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    max_new_tokens: int | None = None,
    max_problems: int | None = None,
    template: str | None = None,
    prefill: str | None = None,
    chat: bool | None = None,
    engine: str | None = None,
    base_url: str | None = None,
    seed: int = 0,
    author: str | None = None,
    overrides: Sequence[str] = (),
    code: Sequence[str | Path] = (),
) -> dict[str, Any]:
    """Have a model answer problems and write them with its judged answers to `out`, a .jsonl that the source `traces` reads.

    until_right: ask n more answers as long as a problem has no right one, at most so many times in all. author: who the
    traces say wrote them. Returns the counts of problems, answers, outcomes and solved problems.
    """
    _load(code)
    from redistill.tools.rollout import rollout_file

    return rollout_file(
        str(model), Path(problems), out=Path(out), source=source, n=n, until_right=until_right, temperature=temperature,
        top_p=top_p, max_new_tokens=max_new_tokens, max_problems=max_problems, template=template, prefill=prefill,
        chat=chat, engine=engine, base_url=base_url, seed=seed, author=author, overrides=overrides,
    )  # fmt: skip


def verify(
    file: str | Path,
    *,
    gold: str,
    prediction: str,
    verifiers: Sequence[str] = ("cascade",),
    out: str | Path | None = None,
    bare: bool = False,
    workers: int | None = None,
    timeout_seconds: float = 5.0,
    code: Sequence[str | Path] = (),
) -> dict[str, Any]:
    """Judge the rows of any file; returns rows, outcomes and reasons by verifier. gold, prediction: columns. bare: predictions
    are answers, not completions. out: a file for the rows with their verdicts."""
    _load(code)
    from redistill.tools.verify_file import verify_file

    target = Path(out) if out is not None else None
    return verify_file(
        Path(file), gold=gold, prediction=prediction, verifiers=verifiers, out=target, bare=bare, workers=workers,
        timeout_seconds=timeout_seconds,
    )  # fmt: skip


def audit(
    files: "str | Path | Sequence[str | Path]",
    *,
    out: str | Path | None = None,
    split: str | None = None,
    benchmarks: Sequence[str] = (),
    traces: int | None = None,
    rows: int | None = None,
    characters: int | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Look at files of traces without training; write audit.html, verdicts.parquet and audit.json, and return the counts.

    benchmarks: whose problems are looked for (names, `file:PATH`, or `all`). traces, rows, characters: how much is judged and
    read at most, 0 for all. The files themselves are only read.
    """
    from redistill.tools.audit.audit import audit as audit_files
    from redistill.tools.audit.audit import limits_of

    named = [files] if isinstance(files, str | Path) else files
    return audit_files(
        [str(file) for file in named], out=None if out is None else Path(out), split=split, benchmarks=benchmarks,
        limits=limits_of(traces, rows, characters, workers),
    )  # fmt: skip


def scores(run: str | Path, *, choose: Sequence[str] = (), code: Sequence[str | Path] = ()) -> dict[str, Any]:
    """A run's scores (`scores`: one a student and benchmark) and what may be claimed of each two (`comparisons`).

    choose: ways to choose one of a problem's stored samples (`majority`, or tables as in a recipe) to score now, beside those of
    the recipe. Nothing is drawn or written.
    """
    _load(code)
    from redistill.tools.scores import score_table

    return score_table(Path(run), choose)


def compare(
    run_a: str | Path,
    run_b: str | Path,
    *,
    students: tuple[str | None, str | None] = (None, None),
    benchmarks: Sequence[str] | None = None,
    verifier: str | None = None,
    common: bool = False,
) -> list[dict[str, Any]]:
    """Two students on the same problems, from stored answers; one finding a benchmark, also kept in `compare/` of run_a.

    students: their names, one a run, where a run has several. common: only problems that both answered.
    """
    from redistill.tools.compare import compare_runs, keep

    chosen = list(benchmarks) if benchmarks is not None else None
    found = compare_runs(
        Path(run_a), Path(run_b), students=students, benchmarks=chosen, verifier=verifier, common=common
    )
    keep(Path(run_a), found)
    return found


def regrade(
    run: str | Path,
    verifiers: Sequence[str],
    *,
    students: Sequence[str] | None = None,
    benchmarks: Sequence[str] | None = None,
    workers: int | None = None,
    code: Sequence[str | Path] = (),
) -> list[dict[str, Any]]:
    """Judge a run's stored answers by other verifiers (names, or tables as in a recipe), beside; how all of them agree."""
    _load(code)
    from redistill.config.parsing import read_plugin
    from redistill.config.tables import LimitSettings
    from redistill.tools.regrade import label_of
    from redistill.tools.regrade import regrade as regrade_run

    plugins = [read_plugin(text, f"verifiers {text!r}") for text in verifiers]
    return regrade_run(
        Path(run),
        {label_of(plugin): plugin for plugin in plugins},
        students=list(students) if students is not None else None,
        benchmarks=list(benchmarks) if benchmarks is not None else None,
        limits=LimitSettings(workers=workers),
    )


def score(
    file: str | Path,
    scorers: "Sequence[str | Mapping[str, Any]]",
    *,
    out: str | Path,
    source: str = "traces",
    student: str | Path | None = None,
    template: str = "plain",
    chat: bool = False,
    seed: int = 0,
    code: Sequence[str | Path] = (),
) -> dict[str, Any]:
    """Score the traces of a file and write them with scores, spans and notes to `out`, which the source `traces` reads.

    scorers: entries of a recipe's `score`. student: the model of scorers that ask for the student; template, chat: how a
    problem is asked. Returns the counts of problems and traces, and per scorer of those without a score by reason.
    """
    _load(code)
    from redistill.tools.score_file import score_file

    return score_file(
        Path(file), scorers, out=Path(out), source=source, student=None if student is None else str(student),
        template=template, chat=chat, seed=seed,
    )  # fmt: skip


def datafree(
    recipe: "str | Path | Mapping[str, Any]",
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
    runs_dir: str | Path = "runs",
    overwrite: bool = False,
    code: Sequence[str | Path] = (),
) -> Path:
    """Distil an image classifier without its data, and return the run's folder; finished arms are skipped.

    recipe: a file, the name of a shipped one (`cmi-digits`) or plain data. overwrite: make again what other settings or code
    have made. Scores are in `datafree.json` of the folder.
    """
    _load(code)
    from redistill.datafree.settings import load
    from redistill.tools.datafree import run_datafree

    return run_datafree(load(recipe, overrides, name), runs_dir=Path(runs_dir), overwrite=overwrite)


def show(path: str | Path, number: int = 0) -> Any:
    """Record `number` (0 the first, negative from the end) of any file that a run wrote, as plain data."""
    from redistill.tools.show import one_record

    return one_record(Path(path), number)


def why(id: str, run: str | Path) -> "list[Step]":
    """The way of one trace, pair or problem through every stage; `id` may be the beginning of one."""
    from redistill.tools.lineage import way

    return way(Path(run), id)


def recipes() -> dict[str, str]:
    """The recipes that ship: name -> what it does, in the first sentence of its own header."""
    from redistill.tools.recipes import shipped

    return shipped()


def validate(recipe: str | Path, *, overrides: Sequence[str] = (), code: Sequence[str | Path] = ()) -> list[str]:
    """Every mistake of a recipe, a sentence each; empty where it is fine."""
    _load(code)
    from redistill.tools.validate import mistakes

    return mistakes(recipe, overrides)


def doctor(
    model: str | None = None,
    *,
    recipe: "str | Path | Mapping[str, Any] | Recipe | None" = None,
    overrides: Sequence[str] = (),
    rows: int = 2,
    code: Sequence[str | Path] = (),
) -> "Findings":
    """The rows that training would see, and the traps of tokens: `.sentences` is empty where all is well."""
    from redistill.config.tables import StudentSettings
    from redistill.errors import OperatorError

    if model is None and recipe is None:
        raise OperatorError("doctor: name a model or a recipe.")
    found = _recipe(recipe, overrides, None, code) if recipe is not None else None
    student = found.student if found is not None else StudentSettings(model=model)
    if found is not None and model is not None:
        student = student.model_copy(update={"model": model, "from_config": None, "alphabet": None})
    from redistill.tools.doctor import examine

    return examine(student, found, num_rows=rows)


def init(
    traces: str | Path,
    model: str,
    *,
    name: str | None = None,
    out: str | Path | None = None,
    split: str | None = None,
) -> Path:
    """Look at a file of traces, write a commented recipe that runs on it, and return its path. No file is overwritten.

    split: the split of a folder to read (default: train).
    """
    from redistill.corpus import SOURCES
    from redistill.corpus.sources.layouts import survey
    from redistill.tools.init import judge, name_of, write_recipe

    found, chosen = survey(str(traces), SOURCES, split), name or name_of(str(traces))
    return write_recipe(found, judge(found.best), str(traces), model, chosen, Path(out or f"{chosen}.yaml"))


def plan(
    recipe: "str | Path | Mapping[str, Any] | Recipe",
    *,
    gpus: Sequence[str] = ("H100",),
    price: float | None = None,
    utilisation: float = 0.35,
    overrides: Sequence[str] = (),
    name: str | None = None,
    runs_dir: str | Path = "runs",
    code: Sequence[str | Path] = (),
) -> dict[str, Any]:
    """What a run will come to, before any GPU hour: rows, steps, memory, hours, money, disk (docs/plan.md).

    gpus: their names; price: dollars an hour of one; utilisation: the share of a GPU's peak that is reached.
    """
    found = _recipe(recipe, overrides, name, code)
    from redistill.tools.estimate.estimate import forecast

    return forecast(found, runs_dir=Path(runs_dir), gpus=gpus, price=price, utilisation=utilisation)


def lr_find(
    recipe: "str | Path | Mapping[str, Any] | Recipe",
    *,
    stage: str,
    rates: Sequence[float],
    weights: Sequence[float] = (),
    steps: int = 100,
    overrides: Sequence[str] = (),
    name: str | None = None,
    runs_dir: str | Path = "runs",
    on_code_change: Literal["ask", "keep", "remake"] = "ask",
    code: Sequence[str | Path] = (),
) -> dict[str, Any]:
    """Short trials of a stage over learning rates, each ended at the guard's first alarm; the trials and the largest good rates."""
    found = _recipe(recipe, overrides, name, code)
    from redistill.tools.lr_find import lr_find as find

    return find(
        found, runs_dir=Path(runs_dir), stage=stage, weights=list(weights), rates=list(rates), steps=steps,
        recipe_file=_file_of(recipe), on_code_change=on_code_change,
    )  # fmt: skip


def sweep(
    sweep: str | Path,
    *,
    overrides: Sequence[str] = (),
    name: str | None = None,
    runs_dir: str | Path = "runs",
    workers: int | None = None,
    on_code_change: Literal["ask", "keep", "remake"] = "ask",
) -> dict[str, Any]:
    """Run a grid of trials over one recipe and return its table, as sweep.json holds it; finished trials are skipped.

    workers: trials side by side; default: the cores this process may use. Call it under `if __name__ == "__main__":`.
    """
    from redistill.io.executors import cores
    from redistill.tools.sweep.grid import read_sweep
    from redistill.tools.sweep.sweep import run_sweep

    return run_sweep(
        read_sweep(sweep, overrides, name),
        runs_dir=Path(runs_dir),
        workers=workers or cores(),
        on_code_change=on_code_change,
    )


def report(run: str | Path) -> Path:
    """Write report.html of a run from its files alone, and return its path."""
    from redistill.report import write_report

    return write_report(Path(run))


def reward(
    recipe: "str | Path | Mapping[str, Any] | Recipe",
    rows: Sequence[Mapping[str, Any]],
    *,
    stage: str | None = None,
    overrides: Sequence[str] = (),
    code: Sequence[str | Path] = (),
) -> list[float | None]:
    """The reward of each row by a stage's verifier and rewards; None where nobody can say.

    rows: tables with `problem` (text, or a table with `statement` and what its verifier reads), `answer`, `completion` and,
    where known, `finish_reason` and `num_tokens`. stage: default the last one with rollouts, else the last one.
    """
    with reward_function(recipe, stage=stage, overrides=overrides, code=code) as rewards:
        return rewards(rows)


def reward_function(
    recipe: "str | Path | Mapping[str, Any] | Recipe",
    *,
    stage: str | None = None,
    workers: int | None = None,
    overrides: Sequence[str] = (),
    code: Sequence[str | Path] = (),
) -> "RewardFunction":
    """`reward` for many calls: its worker processes live until `.close()`. Call it with rows."""
    found = _recipe(recipe, overrides, None, code)
    from redistill.tools.rewards import RewardFunction

    return RewardFunction(found, stage, workers=workers)


def export(
    run: str | Path,
    *,
    to: Literal["trl", "verl", "prime-rl", "tinker", "am", "hub", "gguf", "lm-eval", "lighteval", "vllm"],
    out: str | Path,
    stage: str | None = None,
    loss: Literal["ours", "engine"] = "ours",
    code: Sequence[str | Path] = (),
) -> Path:
    """Write a run's prompts, rewards and objective for another trainer, its examples (`am`), or its student for another program, into
    a new folder, and return it.

    stage: default the last one with rollouts, else the last one. loss: the stage's objective, or the trainer's own.
    """
    _load(code)
    from redistill.tools.export import export as export_run

    return export_run(Path(run), to=to, out=Path(out), stage=stage, loss=loss, code=[Path(file) for file in code])


def serve(
    model: str, *, engine: str = "vllm", env: str | Path | None = None, host: str = "127.0.0.1", port: int = 8000
) -> list[str]:
    """The command that serves a student over HTTP, for `subprocess.Popen`; the verb itself becomes that process."""
    from redistill.tools.serve import command, model_name

    return command(engine, model_name(model), env=Path(env) if env is not None else None, host=host, port=port)


def _load(code: Sequence[str | Path]) -> None:
    if code:
        from redistill.config.user_plugins import load_code

        for file in code:
            load_code(file)


def _file_of(recipe: "str | Path | Mapping[str, Any] | Recipe") -> str:
    """The file a recipe was read from; "" where it came as data."""
    from redistill.config.yaml_text import recipe_path

    return str(recipe_path(recipe).resolve()) if isinstance(recipe, str | Path) else ""


def _recipe(
    recipe: "str | Path | Mapping[str, Any] | Recipe | None",
    overrides: Sequence[str],
    name: str | None,
    code: Sequence[str | Path],
) -> "Recipe":
    """The recipe, whatever it was given as, with overrides applied."""
    _load(code)
    from redistill.config.parsing import load_recipe, parse_recipe
    from redistill.config.tables import Recipe
    from redistill.config.yaml_text import apply_override

    if isinstance(recipe, str | Path):
        return load_recipe(recipe, overrides, name)
    tree: dict[str, Any] = (
        recipe.model_dump(mode="json") if isinstance(recipe, Recipe) else copy.deepcopy(dict(recipe or {}))
    )
    for override in overrides:
        apply_override(tree, override)
    if name is not None:
        tree["name"] = name
    return parse_recipe(tree, "recipe")
