"""The stages of a recipe whose answers are search queries: the index that stays as it is, and what is found without a student.

    runs/x/retrieval/4f1c.../              the index of each search that a verifier names, made once (retrieval/index.py)
    runs/x/retrieval/ledger.json           the SHA-256 of each of its files, and of the documents
    runs/x/retrieval/baselines.json        per benchmark and problem: the score of the raw query and of pseudo-feedback

Verify, rollouts and evaluation read this index and no other, and their keys hold its: other documents are other results.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from redistill.config.tables import BenchmarkSettings, Plugin, Recipe
from redistill.evaluate.intervals import difference_interval, mean_interval
from redistill.io.atomic import read_json, write_json
from redistill.io.progress import say
from redistill.pipeline.keys import values
from redistill.pipeline.stage import Run, Stage, stage_folder
from redistill.records import Problem
from redistill.retrieval import collection
from redistill.retrieval.baselines import Feedback, baseline_scores
from redistill.retrieval.index import index_folder, open_searcher, save_index
from redistill.verify.retrieval import frozen, measure_of, ready, relevant_of, search_of

if TYPE_CHECKING:
    from redistill.pipeline.plan import Plan

ProblemsOf = Callable[[Run, BenchmarkSettings], list[Problem]]
NAME = "retrieval"  # of the verifier, and of the stage's folder


def searches_of(recipe: Recipe) -> list[Plugin]:
    """Every `retrieval` that judges something in the recipe."""
    judges = [*recipe.verify.verifiers, recipe.evaluate.verifier]
    judges += [benchmark.verifier for benchmark in recipe.evaluate.benchmarks if benchmark.verifier]
    judges += [s.rollouts.verifier for s in recipe.train.values() if s.rollouts and s.rollouts.verifier]
    return [judge for judge in judges if judge.name == NAME]


def index_inputs(recipe: Recipe) -> tuple[str, ...]:
    """What a stage that judges reads beside its groups: the index, where the recipe has one."""
    return (NAME,) if searches_of(recipe) else ()


def retrieval_stages(plan: "Plan", problems_of: ProblemsOf) -> list[Stage]:
    """The index and the baselines; nothing for a recipe that searches nothing. problems_of: those of a benchmark."""
    if not (searches := _distinct(plan.recipe)):
        return []
    documents = [collection.identity(index) if index is not None else None for index, _ in searches]
    return [
        Stage(
            NAME,
            settings=values(searches=[list(search) for search in searches], documents=documents),
            run=run_index,
            command="verify",
        ),
        Stage(
            f"{NAME}/baselines",
            inputs=(NAME, "select:dev"),
            settings=values(benchmarks=[b.model_dump(mode="json") for b in plan.recipe.evaluate.benchmarks],
                            verifier=plan.recipe.evaluate.verifier, seed=plan.recipe.seed),
            run=partial(run_baselines, problems_of=problems_of),
            command="evaluate",
            path=f"{NAME}/baselines.json",
        ),
    ]  # fmt: skip


def baselines_of(recipe: Recipe) -> tuple[str, ...]:
    """What the report waits for beside the scores."""
    return (f"{NAME}/baselines",) if searches_of(recipe) else ()


def _distinct(recipe: Recipe) -> list[tuple[str | None, Any]]:
    """(index, retriever) of every search, each once."""
    distinct: list[tuple[str | None, Any]] = []
    for judge in searches_of(recipe):
        search = search_of(judge.options)
        if search not in distinct:
            distinct.append(search)
    return distinct


def run_index(run: Run) -> None:
    """Make every index that the recipe names."""
    folder = stage_folder(run, NAME, {"searches": _distinct(run.recipe)})
    if folder.is_finished():
        return
    folder.open()
    files, made = dict[str, Any](), list[Mapping[str, Any]]()
    for index, retriever in _distinct(run.recipe):
        if index is None:
            continue
        entry = save_index(folder.folder, index, retriever)
        place = index_folder(folder.folder, index, retriever)
        files |= {f"{place.name}/{name}": {"sha256": digest} for name, digest in entry["files"].items()}
        made.append({"folder": place.name, "index": index, "retriever": retriever, "documents": entry["documents"]})
        say(f"verify   index of {index} for {retriever if isinstance(retriever, str) else retriever['name']}: {place}")
    ledger = folder.finish(0, indexes=made)
    write_json(folder.ledger_path, {**ledger, "files": files})


def run_baselines(run: Run, *, problems_of: ProblemsOf) -> None:
    """Score the raw query and pseudo-feedback on every benchmark whose answers are queries."""
    path = run.folder / NAME / "baselines.json"
    if path.exists():
        return
    baselines = {}
    for benchmark in run.recipe.evaluate.benchmarks:
        verifier = run.plan.eval_config(benchmark).judge.get(NAME)
        if verifier is not None:
            ready_made = with_index(run.folder, {NAME: verifier})[NAME]
            baselines[benchmark.name] = _baselines(ready_made, problems_of(run, benchmark))
    write_json(path, baselines)


def _baselines(verifier: partial[Any], problems: list[Problem]) -> dict[str, Any]:
    options = dict(ready(verifier).keywords)
    index, retriever = search_of(options)
    searcher = open_searcher(index, retriever, options["_folder"], options.get("_own"))
    feedback = Feedback(collection.documents(index)) if index is not None else None
    rows = {}
    for problem in problems:
        relevant = relevant_of(problem)
        measure = partial(measure_of(options), relevant)
        rows[problem.id] = baseline_scores(problem.statement, searcher, feedback, measure, f"problem {problem.id}")
    return {"measure": f"{options.get('metric', 'ndcg')}@{options.get('k', 1000)}", "problems": rows}


def write_gains(run: Run) -> None:
    """Lay every student's queries beside the raw query and pseudo-feedback, for the report."""
    baselines = read_json(run.folder / NAME / "baselines.json")
    gains = {}
    for benchmark, table in baselines.items():
        if not isinstance(table, dict) or not table["problems"]:
            continue
        means = {
            name: {id: scores[name] for id, scores in table["problems"].items()}
            for name in ("raw", "feedback")
            if all(name in scores for scores in table["problems"].values())
        }
        for student in run.plan.scored:
            scores = read_json(run.folder / "evaluate" / student / benchmark / "scores.json")
            graded = scores.get("per_problem_scores", {})
            if graded.keys() == means["raw"].keys():
                means[student] = {id: sum(values) / len(values) for id, values in graded.items()}
        gains[benchmark] = [gain_row(name, of, means["raw"]) for name, of in means.items()]
    write_json(run.folder / NAME / "gains.json", gains)


def gain_row(name: str, means: Mapping[str, float], raw: Mapping[str, float]) -> dict[str, Any]:
    """A row of gains.json: mean score with its interval, and the paired difference to the raw query."""
    values = [min(1.0, means[id]) for id in raw]
    gains = [value - min(1.0, raw[id]) for value, id in zip(values, raw, strict=True)]
    row: dict[str, Any] = {"query_by": name, "mean": fmean(values), "interval95": mean_interval(values)}
    if name != "raw":
        row |= {"gain": fmean(gains), "gain_interval95": difference_interval(gains),
                "better": sum(gain > 1e-9 for gain in gains), "worse": sum(gain < -1e-9 for gain in gains)}  # fmt: skip
    return row


def index_files(run_folder: Path, task: Any) -> Iterator[Path]:
    """What a task that judges reads beside its traces: the files of the run's indexes, where it has any."""
    return (path for path in (run_folder.absolute() / NAME).rglob("*") if path.is_file())


def with_index(run_folder: Path, verifiers: Mapping[str, partial[Any]]) -> dict[str, partial[Any]]:
    """The verifiers as a run uses them: `retrieval` searches the run's own index."""
    return frozen(verifiers, run_folder.absolute() / NAME)
