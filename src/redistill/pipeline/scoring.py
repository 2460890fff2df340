"""The score stage of a run: one stage per scorer, and the one that joins what they found.

score_stages(plan)  ->  [Stage("scorers/perplexity"), Stage("scorers/difficulty"), Stage("score")]

A scorer runs in this process, shard by shard, because it may hold a model or ask a server; finished shards are not made again. On a Ray
cluster each actor holds a scorer of its own, but for those that pay, draw or say how far they are: they stay here, and all do
where this machine has a GPU, for actors compute on CPUs, with other last bits.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redistill.config.binding import bind
from redistill.config.tables import BenchmarkSettings, Recipe, ScorerSettings, StudentSettings
from redistill.errors import OperatorError
from redistill.io.atomic import read_json, sha256_file
from redistill.io.kept import order_lines
from redistill.io.progress import bar, say
from redistill.io.shards import ShardInput, files_of_shard, make_parts, parts_to_do
from redistill.io.stage_folder import StageFolder
from redistill.model import loading
from redistill.pipeline.benchmarks import corpus_problems
from redistill.pipeline.keys import values
from redistill.pipeline.retrieval import with_index
from redistill.pipeline.stage import Run, Stage, account_text, stage_folder
from redistill.rollout import Student
from redistill.rollout.guided import GUIDED, unguided
from redistill.safety.paths import home_path
from redistill.score import SCORERS, BoundScorer, join_part, marks_files, marks_folder, score_part
from redistill.select import split_key, split_of

if TYPE_CHECKING:
    from redistill.pipeline.plan import Plan

# Options of a scorer that change no result: where a server is and how it is asked, prices, sizes of batches.
NON_RESULT_OPTIONS = (
    *("base_url", "policy_url", "key_env", "concurrency", "retries", "timeout_seconds", "requests_per_minute"),
    *("price_in", "price_out", "max_calls", "cache", "tokens_per_batch"),
)


REPLIES = ".replies.jsonl"  # after a scorer's name, in the run's folder: what a server was paid for
JOURNAL = "samples.jsonl"  # in a scorer's folder: samples of the shard at work


def bind_scorer(settings: ScorerSettings, where: str) -> partial[Any]:
    """A scorer with its options bound. OperatorError for an unknown one, and where it asks for what no stage can give."""
    scorer = bind(SCORERS, settings, where)
    for name in needs_of(scorer):
        if name not in NEEDS:
            raise OperatorError(
                f"{where} ({settings.name}): a scorer cannot ask for {name}; available: {', '.join(NEEDS)}."
            )
    return scorer


def needs_of(function: Callable[..., Any]) -> list[str]:
    """What a scorer names beside its options: its keyword-only parameters that begin with an underscore."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name.startswith("_")]


def score_stages(plan: "Plan") -> list[Stage]:
    """A stage per scorer, and the one whose groups select reads; none where the recipe names no scorer."""
    if not plan.scorers:
        return []
    before = plan.feeding("score")
    stages = [
        Stage(
            f"scorers/{settings.folder}",
            inputs=(before,),
            settings=values(**scorer_settings(plan, settings, function)),
            run=partial(run_scorer, settings=settings, function=function),
            uses=(function,),
            command="score",
            costly=True,
        )
        for settings, function in plan.scorers
    ]
    joined = Stage(
        "score", inputs=(before, *(stage.name for stage in stages)), settings=values(scorers=[s.folder for s, _ in plan.scorers]),
        run=run_score,
    )  # fmt: skip
    return [*stages, joined]


def scorer_settings(plan: "Plan", settings: ScorerSettings, function: partial[Any]) -> dict[str, Any]:
    """What the marks of a scorer depend on: its options, the files of a model on this machine, and what it names."""
    settings_ = option_settings(settings)
    for name in needs_of(function):
        value = NEEDS[name]
        if value is not None:
            settings_ |= value(plan)
    return settings_


def option_settings(settings: ScorerSettings) -> dict[str, Any]:
    """A scorer's name and the options that decide its results; of a model on this machine also the checksums of its files."""
    options = {name: value for name, value in settings.options.items() if name not in NON_RESULT_OPTIONS}
    bound: dict[str, Any] = {"name": settings.name, "into": settings.folder, "options": options}
    model = options.get("model")
    if isinstance(model, str) and home_path(model).is_dir():
        bound["model_files"] = _files(home_path(model))
    return bound


def _files(folder: Path) -> dict[str, str]:
    kinds = (".safetensors", ".json", ".model", ".jinja")
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.suffix in kinds}


def _of_student(plan: "Plan") -> dict[str, Any]:
    from redistill.pipeline.student_identity import student_identity

    return {"seed": plan.recipe.seed, **student_identity(plan.recipe.student)}


def _of_config(plan: "Plan") -> dict[str, Any]:
    config, recipe = plan.eval_config(BenchmarkSettings()), plan.recipe
    return {
        "sampling": asdict(config.sampling),
        "template": config.render.keywords["template"],
        "chat": recipe.prompt.for_evaluation.chat,
        "engine": "transformers" if recipe.evaluate.engine.name == GUIDED else recipe.evaluate.engine.name,
        "limits": [recipe.verify.timeout_seconds, recipe.verify.memory_mb],
        "verifiers": {name: [v.func.__qualname__, v.keywords] for name, v in config.judge.items()},
        "seed": recipe.seed,
    }


def _of_split(plan: "Plan") -> dict[str, Any]:
    corpus = plan.recipe.corpus
    split = {"seed": plan.recipe.seed, "dev_fraction": corpus.dev_fraction, "split_by": corpus.split_by}
    return split | split_key(plan.recipe)


# What a scorer may name, and what of it decides a result; None: nothing beyond what is in its key anyway.
NEEDS: Mapping[str, "Callable[[Plan], dict[str, Any]] | None"] = {
    "_into": None,
    "_seed": lambda plan: {"seed": plan.recipe.seed},
    "_student": _of_student,
    "_prompt": lambda plan: {"prompt": plan.recipe.prompt.for_training.model_dump(mode="json")},
    "_config": _of_config,
    "_all_groups": None,
    "_is_dev": _of_split,
    "_cache": None,
    "_journal": None,
    "_tick": None,
    "_held": None,
}


STAYS_HERE = frozenset(("_cache", "_journal", "_tick"))  # one file of paid replies or samples, one bar


def draws_traces(function: Callable[..., Any]) -> bool:
    """Whether a scorer draws traces of its own, so that a corpus may come without any."""
    return "_journal" in needs_of(function)


def given(
    run: Run,
    settings: ScorerSettings,
    function: partial[Any],
    before: StageFolder,
    folder: Path,
    tick: Callable[[int], object] = lambda count: None,
) -> partial[Any]:
    """The scorer of the groups in `before` with all that it names; it works in `folder`."""
    recipe: Recipe = run.recipe
    makers: dict[str, Callable[[], Any]] = {
        "_into": lambda: settings.folder,
        "_seed": lambda: recipe.seed,
        "_student": lambda: Student(
            partial(_base, recipe.student, run.plan.tokenizer, recipe.seed), str(recipe.student.model or ""), owned=True
        ),
        "_prompt": lambda: recipe.prompt.for_training,
        "_config": lambda: _config(run),
        "_all_groups": lambda: partial(before.read, "groups"),
        "_is_dev": lambda: split_of(recipe, partial(corpus_problems, run.folder)),
        "_journal": lambda: folder / JOURNAL,
        "_tick": lambda: tick,
        "_cache": lambda: run.folder / f"{settings.folder}{REPLIES}",
        "_held": dict,
    }
    return partial(function, **{name: makers[name]() for name in needs_of(function)})


def _base(student: StudentSettings, tokenizer: Any, seed: int) -> Any:
    return loading.load_model(student, tokenizer, seed=seed), tokenizer


def _config(run: Run) -> Any:
    from dataclasses import replace

    config = run.plan.eval_config(BenchmarkSettings())
    return replace(config, engine=unguided(config.engine), judge=with_index(run.folder, config.judge))


def run_scorer(run: Run, *, settings: ScorerSettings, function: partial[Any]) -> None:
    """Make what one scorer finds of the traces that select reads."""
    folder = stage_folder(run, f"scorers/{settings.folder}", settings.model_dump(mode="json"))
    before = StageFolder(run.folder / run.plan.feeding("score"), "")
    score_shards(run, folder, before, settings, function)


def score_shards(
    run: Run, folder: StageFolder, before: StageFolder, settings: ScorerSettings, function: partial[Any]
) -> None:
    """Fill `folder` with what a scorer finds of the groups in `before`; shards that are there are not made again."""
    name = settings.folder
    if folder.is_finished():
        return
    folder.open()
    parts = parts_to_do(before, folder)
    total = before.ledger()["accounts"]["traces"]["kept"]
    left = sum(read_json(before.marker(part.index))["accounts"]["traces"]["kept"] for part in parts)
    ticks = "_tick" in needs_of(function)  # then the scorer says itself how many problems it has done
    shown: dict[str, Any] = {"unit": "problem"} if ticks else {"unit": "trace", "total": total, "initial": total - left}
    with bar(label=f"score {name}", **shown) as progress:
        if run.executor.is_cluster and goes_apart(function):
            scorer = BoundScorer(name, given(run, settings, function, before, folder.folder))
            work = partial(score_apart, folder, scorer, threads())
            whole = cache(partial(_files_of_all, before if "_all_groups" in needs_of(function) else None))
            make_parts(run.executor, folder, work, parts, progress.update, lambda part: whole())
            parts = []
        else:
            scorer = BoundScorer(name, given(run, settings, function, before, folder.folder, progress.update))
        for part in parts:
            count = score_part(folder, scorer, part)
            (folder.folder / JOURNAL).unlink(missing_ok=True)  # its samples lie in the shard now
            progress.update(0 if ticks else count)
    for kept in (REPLIES, REPLIES.replace(".jsonl", ".samples.jsonl")):
        order_lines(run.folder / f"{name}{kept}")
    ledger = folder.finish(before.ledger()["num_shards"])
    cost = ", ".join(f"{number:,} {what}" for what, number in sorted(ledger["tallies"].get("cost", {}).items()))
    say(f"score    {account_text(ledger, f'scored:{name}')}" + (f"; drawn: {cost}" if cost else ""))


def _files_of_all(before: StageFolder | None) -> list[Path]:
    """What a scorer reads beside its shard: all of them, where it names all groups."""
    shards = before.shard_files("groups") if before is not None else []
    return [file for path in shards for file in files_of_shard(path.resolve())]


def goes_apart(function: Callable[..., Any]) -> bool:
    """Whether each actor of a cluster may have a scorer of its own, and finds what this process would."""
    import torch

    return not STAYS_HERE & set(needs_of(function)) and not torch.cuda.is_available()


def threads() -> int:
    """How many threads torch computes with here."""
    import torch

    return torch.get_num_threads()


def score_apart(folder: StageFolder, scorer: BoundScorer, num_threads: int, part: ShardInput) -> int:
    """One shard in a process of a cluster, with as many threads as the run's own process has: their number decides the last bit."""
    import torch

    torch.set_num_threads(num_threads)
    return score_part(folder, scorer, part)


def run_score(run: Run) -> None:
    """Join the groups with what every scorer found."""
    scorers = [settings.folder for settings, _ in run.plan.scorers]
    folder = stage_folder(run, "score", {"scorers": scorers})
    if folder.is_finished():
        return
    folder.open()
    before = StageFolder(run.folder / run.plan.feeding("score"), "")
    marks = {name: StageFolder(marks_folder(run.folder.absolute(), name), "") for name in scorers}
    parts = parts_to_do(before, folder)
    make_parts(
        run.executor, folder, partial(join_part, folder, marks), parts, reads=partial(marks_files, marks.values())
    )
    folder.finish(before.ledger()["num_shards"])
