"""The stages of a recipe as values: corpus, verify, select, train (each stage), evaluate (each student and benchmark), report.

    stages_of(plan)  ->  [Stage("corpus"), Stage("verify", inputs=("corpus",)), ..., Stage("report")]

What a stage computes is in its own folder's code; here it is given the plan's bound members and the folder to write to. To add
one: a function that makes it, and a line in BUILDERS.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from redistill.config.tables import STAGES, BenchmarkSettings, StudentSettings
from redistill.config.validation_messages import did_you_mean
from redistill.corpus import benchmark_leaks, collect, remove_shuffle
from redistill.errors import OperatorError
from redistill.evaluate import paired_difference
from redistill.evaluate.stage import choices_key, description, run_evaluation, samples_of, step_facts
from redistill.io.atomic import read_json, write_json
from redistill.io.executors import cores
from redistill.io.parquet import read_table
from redistill.io.progress import bar, say
from redistill.io.shards import make_parts, parts_to_do, size_bytes
from redistill.io.stage_folder import StageFolder
from redistill.model import loading
from redistill.pipeline import rollouts
from redistill.pipeline.benchmarks import asked, corpus_problems, problems_of, subset_key
from redistill.pipeline.choosing import score_answers, scorer_stages
from redistill.pipeline.conversations import every_turn, modifiers_of
from redistill.pipeline.extra_stages import extra_stages
from redistill.pipeline.guidance import engine_of, guidance_inputs, guidance_key, guidance_uses, settings_outside_keys
from redistill.pipeline.images import corpus_store, key_of_images
from redistill.pipeline.keys import table, values
from redistill.pipeline.plan import Plan, input_name, reads_labelled, stage_stream
from redistill.pipeline.prospects import check_held_out, say_prospects
from redistill.pipeline.retrieval import (
    baselines_of,
    index_files,
    index_inputs,
    retrieval_stages,
    with_index,
    write_gains,
)
from redistill.pipeline.run_tracking import mirror_finished, mirror_scores, stage_mirror
from redistill.pipeline.scoring import draws_traces, score_stages
from redistill.pipeline.stage import Run, Stage, Stream, account_text, records_of, stage_folder
from redistill.pipeline.step_heads import head_stages
from redistill.pipeline.step_judging import asked_of_critic, probability_stages, scored_by, student_of
from redistill.pipeline.student_identity import student_identity
from redistill.pipeline.students import critic_loader, load_start, load_student, model_card, run_model_cards
from redistill.pipeline.teachers import key_of_teachers, loader_of, needs_traces, stages_named, transport_of
from redistill.report import pairs_shown, stage_of_tokens, write_report
from redistill.rollout.answer import EvalConfig
from redistill.select import SelectTask, check_split, compare, explain_empty, split_key, split_of
from redistill.select.keep import Choice
from redistill.select.labelled import labelled_rows
from redistill.select.ranking import with_cuts
from redistill.select.stage import attempts_of, select_all, sides_against_labels
from redistill.text.wordwise import WordwiseTokenizer
from redistill.train.eval_probe import dev_probe
from redistill.train.guard_state import read_lines
from redistill.train.stage import StageJob, is_finished, tidy, train_stage
from redistill.train.supply import DrawnRows
from redistill.train.token_changes import write_token_changes
from redistill.verify.judge import NON_RESULT_OPTIONS
from redistill.verify.judge_stage import apply_llm_judge
from redistill.verify.label_agreement import compare_labels, example_lines
from redistill.verify.policy import counted_labels
from redistill.verify.segments import with_segments
from redistill.verify.stage import VerifyTask, closing_pool, label_noise, verify_part

# Settings of a training stage that change where and in which order a step is computed, not the step: a stage that was cut
# short may go on with others, and one that is finished stays so.
ROUNDING = ("tokens_per_micro_batch", "gradient_checkpointing", "distributed", "offload_optimizer", "memory_gib")
SPLIT = ("dev_fraction", "dev_problems", "split", "split_seed", "split_by")  # settings of select, not of the corpus
WORKER = "redistill.verify.fork_server"  # the entry point of a process: no import leads to its `main`


def stages_of(plan: Plan) -> list[Stage]:
    """Every stage of the plan's recipe."""
    stages = [stage for build in BUILDERS.values() for stage in build(plan)]
    last = {name: name for name in STAGES} | {"train": "cards", "evaluate": "comparisons"}
    return [*stages, *extra_stages(plan.extra, last)]


# --- corpus: source rows -> Groups --------------------------------------------------------------------------------


def corpus_stage(plan: Plan) -> list[Stage]:
    """Read, merge, deduplicate, decontaminate."""
    recipe = plan.recipe
    paths = [f"sources.{number}.options.path" for number in range(len(recipe.corpus.sources))]
    settings = values(
        files=list(plan.inputs.values()),
        seed=recipe.corpus.split_seed,
        corpus=table(recipe.corpus, *SPLIT, "decontaminate", *paths),
        leaks=benchmark_leaks.identity(recipe, plan.avoided),
        **key_of_images(plan),
    )
    return [Stage("corpus", settings=settings, run=run_corpus, uses=(*plan.sources,))]


def run_corpus(run: Run) -> None:
    """Make the corpus stage."""
    settings = run.recipe.corpus
    folder = stage_folder(run, "corpus", settings.model_dump(mode="json"))
    if folder.is_finished():
        remove_shuffle(folder)
        _check_traces(folder.ledger(), run.plan)
        return
    folder.open()
    ledger = collect(
        folder,
        run.plan.sources,
        seed=settings.split_seed,
        num_shards=settings.shards,
        max_problems=settings.max_problems,
        max_chars=settings.max_chars,
        benchmarks=benchmark_leaks.index(run.recipe, run.plan.avoided),
        leaks=settings.decontaminate.leaks,
        near=settings.near_duplicates,
        near_threshold=settings.near_threshold,
        executor=run.executor,
        progress=lambda **options: bar(label="corpus", **options),
        images=corpus_store(run.plan, run.folder),
    )
    say(
        f"corpus   {account_text(ledger, 'rows')}; {account_text(ledger, 'problems')}; {account_text(ledger, 'traces')}"
    )
    _check_traces(ledger, run.plan)
    check_split(run.recipe, folder.read("groups"))


def _check_traces(corpus: Mapping[str, Any], plan: Plan) -> None:
    """OperatorError for a corpus without a trace, unless every training stage or a scorer draws its own from the problems."""
    drawn = plan.rollouts.keys() == plan.recipe.train.keys() or any(draws_traces(scorer) for _, scorer in plan.scorers)
    problems, traces = (corpus["accounts"][name]["kept"] for name in ("problems", "traces"))
    if traces or (problems and drawn):
        return
    if problems:
        raise OperatorError(
            f"corpus: {problems:,} problem{'s' if problems > 1 else ''} but no trace, which verify, select and train "
            f"need; add a source with traces to corpus.sources (`problems` and `queries` have none), or give every training stage `rollouts`."
        )
    raise OperatorError(
        f"corpus: no trace is left ({account_text(corpus, 'rows')}); to train on a benchmark's problems, write "
        f"corpus.decontaminate.leaks: report, or corpus.decontaminate.benchmarks: false."
    )


# --- verify: Groups -> Groups with verdicts -------------------------------------------------------------------------


def verify_stage(plan: Plan) -> list[Stage]:
    """Verdicts of the verifiers, and of the LLM judge where there is one."""
    judge = plan.second_opinion
    transport = [f"judge.options.{option}" for option in NON_RESULT_OPTIONS]
    return [
        Stage(
            "verify",
            inputs=(plan.feeding("verify"), *index_inputs(plan.recipe)),
            settings=values(verify=table(plan.recipe.verify, "workers", *transport)),
            run=run_verify,
            uses=(*plan.verifiers.values(), WORKER, *([type(judge)] if judge else [])),
            costly=judge is not None,
        )
    ]


def run_verify(run: Run) -> None:
    """Make the verify stage."""
    settings = run.recipe.verify
    folder = stage_folder(run, "verify", settings.model_dump(mode="json"))
    if folder.is_finished():
        return
    corpus = StageFolder(run.folder / "corpus", "").ledger()
    present = sorted({word.partition("=")[0] for word in corpus["tallies"]["labels"]})
    for label in settings.labels or ():
        if label not in present:
            none = "; the corpus has no labels" if not present else ""
            raise OperatorError(
                f"verify.labels: no trace of the corpus has the label {label!r}{none}{did_you_mean(label, present)}"
            )
    counted = counted_labels(settings.labels, settings.policy, present)
    folder.open()
    judge, extra = run.plan.second_opinion, dict[str, Any]()
    rules = folder if judge is None else StageFolder(folder.folder / "rules", folder.fingerprint)
    if judge is None or not rules.is_finished():
        if judge is not None:
            rules.open()
        _apply_verifiers(run, rules, counted)
    if judge is not None:
        rules.finish(corpus["num_shards"])
        extra["judge"] = apply_llm_judge(folder, rules, judge, own_cache=run.folder / "judge.jsonl")
    write_json(folder.folder / "label_noise.json", label_noise(folder, seed=run.recipe.seed))
    differ = compare_labels(
        folder, labels=counted or present, verifiers=list(run.plan.verifiers), policy=settings.policy
    )
    write_json(folder.folder / "label_agreement.json", {"tables": differ})
    extra["labels"] = {"counted": counted, "agreement": [table["sentence"] for table in differ]}
    ledger = folder.finish(corpus["num_shards"], **extra)
    by_count = sorted(ledger["tallies"]["outcomes"].items(), key=lambda item: -item[1])
    say(f"verify   {account_text(ledger, 'traces')}: {', '.join(f'{n} {word}' for word, n in by_count)}")
    if "golds" in ledger["accounts"] and ledger["accounts"]["golds"]["dropped"]:
        say(f"verify   gold answers: {account_text(ledger, 'golds')}; the others are in {folder.folder}/ungradable")
    for line in example_lines(differ):
        say(f"verify   {line}")


def _apply_verifiers(run: Run, folder: StageFolder, labels: Sequence[str]) -> None:
    """Every shard of the groups before it with the verifiers' verdicts and their policy's."""
    settings, before = run.recipe.verify, StageFolder(run.folder / run.plan.feeding("verify"), "")
    total = before.ledger()["accounts"]["traces"]["kept"]
    parts = parts_to_do(before, folder)
    left = sum(read_json(before.marker(part.index))["accounts"]["traces"]["kept"] for part in parts)
    spread = run.executor.spreads(len(parts), size_bytes(parts))  # then each process has a verifier of its own
    workers = 1 if spread else settings.workers or run.recipe.execution.workers or cores()
    task = VerifyTask(
        with_index(run.folder, run.plan.verifiers),
        workers,
        settings.timeout_seconds,
        settings.memory_mb,
        settings.policy,
        tuple(labels),
    )
    work = partial(verify_part, folder, task)
    with closing_pool(), bar(label="verify", unit="trace", total=total, initial=total - left) as progress:
        make_parts(run.executor, folder, work, parts, progress.update, partial(index_files, run.folder))


# --- select: Groups -> Examples, Pairs, held-out problems -----------------------------------------------------------


def select_stage(plan: Plan) -> list[Stage]:
    """Examples and held-out problems do not depend on the pairing, pairs only on the recipe's own."""
    recipe = plan.recipe
    shared = values(
        prompt=recipe.prompt.for_training,
        dev_fraction=recipe.corpus.dev_fraction,
        split_by=recipe.corpus.split_by,
        **split_key(recipe),
        seed=recipe.seed,
        context=plan.context,
        template=plan.render.keywords["template"],
        **student_identity(recipe.student),
    )
    own = recipe.select.pairing.name
    uses = (*_prompt_uses(plan.render), *(bound.judge for bound in plan.filters), *filter(None, [every_turn(plan)]))
    unpaired = shared.also(select=table(recipe.select, "pairing", "labelled"))
    whole = shared.also(select=table(recipe.select, "labelled"))
    critics = reads_labelled(plan)
    streams = {
        "examples": Stream(unpaired, uses),
        "dev": Stream(unpaired, uses),
        "pairs": Stream(whole, (*uses, plan.policies[own])),
    }
    if critics:
        streams["labelled"] = Stream(unpaired.also(labelled=recipe.select.labelled), (*uses, labelled_rows))
    if recipe.select.sample is not None:
        streams["problems"] = Stream(unpaired, uses)
    return [
        Stage(
            "select",
            inputs=(plan.feeding("select"),),
            settings=whole.also(
                compared=sorted(plan.policies), **({"labelled": recipe.select.labelled} if critics else {})
            ),
            run=run_select,
            uses=(*uses, *plan.policies.values()),
            streams=streams,
        )
    ]


def run_select(run: Run) -> None:
    """Make the select stage."""
    settings, plan = run.recipe.select, run.plan
    prompt = run.recipe.prompt.for_training.model_dump(mode="json")
    folder = stage_folder(run, "select", {**settings.model_dump(mode="json"), "prompt": prompt})
    statistics = folder.folder / "statistics.json"
    if not (folder.is_finished() and statistics.exists()):
        folder.open()
        before = StageFolder(run.folder / plan.feeding("select"), "")
        task = SelectTask(
            render=plan.render,
            encode=WordwiseTokenizer(plan.tokenizer),
            is_dev=split_of(run.recipe, partial(corpus_problems, run.folder)),
            pairing=plan.policies[settings.pairing.name],
            examples=settings.examples,
            keep_truncated=settings.truncated_correct == "keep",
            bound_filters=plan.filters,
            policies=plan.policies,
            choice=Choice(settings.sample, settings.keep, run.recipe.seed, balance_pairs=settings.balance_pairs),
            labelled=settings.labelled if reads_labelled(plan) else None,
            weights=settings.weights,
            every_turn=every_turn(plan),
            seed=run.recipe.seed,
        )
        task = with_cuts(task, folder, before, run.executor)
        traces = select_all(run.executor, folder, task, before, bar)
        candidates = map(read_table, folder.shard_files("candidates"))
        compared = compare(candidates, own=settings.pairing.name, policies=plan.policies)
        write_json(statistics, {**compared, "traces": traces.summary()})
        ledger = folder.finish(before.ledger()["num_shards"])
        accounts = [name for name in ("examples", "pairs", "labelled", "problems") if name in ledger["accounts"]]
        say(f"select   {'; '.join(account_text(ledger, name) for name in accounts)}")
        for line in filter(None, (sides_against_labels(ledger), attempts_of(ledger))):
            say(f"select   {line}")
        say_prospects(plan, ledger)
    needed = {stage_stream(plan, stage) for stage in run.recipe.train} - {"rollouts"}
    ledger = folder.ledger()
    if any(ledger["accounts"][stream]["kept"] == 0 for stream in needed):
        raise OperatorError(f"select: {explain_empty(ledger)}")
    for stream in sorted(needed):
        plan.check_rows(folder.read(stream))


# --- train: Examples and Pairs -> students ----------------------------------------------------------------------------


def train_stages(plan: Plan) -> list[Stage]:
    """One stage per entry of the recipe's `train`; before one that starts from another, what its start can do."""
    stages, diagnosed = list[Stage](), set[str]()
    searched = index_inputs(plan.recipe)
    dev = next((benchmark for benchmark in plan.recipe.evaluate.benchmarks if benchmark.is_held_out), None)
    diagnosis: tuple[str, ...] = ()
    for name, settings in plan.recipe.train.items():
        critic = name in plan.critics
        seen = ("base", *diagnosed)
        if plan.diagnosis is not None and dev is not None and not critic and settings.start not in seen:
            diagnosed.add(settings.start)
            diagnosis = (*diagnosis, f"diagnosis/{settings.start}")
            stages.append(
                Stage(
                    f"diagnosis/{settings.start}",
                    inputs=(f"evaluate/{settings.start}/{dev.name}/scores",),
                    run=partial(run_diagnosis, student=settings.start, benchmark=dev),
                    command="train",
                    cached=False,
                )
            )
        own = name in plan.rollouts  # rows of its student's own answers
        rows = rollouts.source_of(plan) if own else f"select:{stage_stream(plan, name)}"
        starts = {settings.start, settings.reference or settings.start, *stages_named(settings)}
        starts |= rollouts.critics_scoring(plan.recipe, name)
        of_critic = dict[str, Any]()
        if settings.critic_named in plan.critics:
            starts.add(settings.critic_named)
        elif settings.critic_named is not None:
            of_critic = {"critic": student_identity(StudentSettings(model=settings.critic_named))}
        probed = settings.guard is not None and settings.guard.probe_every > 0 and not critic
        of_base = student_identity(plan.recipe.student) if "base" in starts else {}
        of_probe = _probe_settings(plan) if probed else {}
        stages.append(
            Stage(
                f"train/{name}",
                inputs=(
                    rows,
                    *(f"train/{start}" for start in sorted(starts - {"base"})),
                    *(searched if own or probed else ()),
                    *([plan.feeding("select")] if needs_traces(settings) else []),
                ),
                settings=values(
                    seed=plan.recipe.seed,
                    **{f"train.{name}": table(settings, *ROUNDING, *rollouts.UNDECIDING, *transport_of(settings))},
                    **of_base,
                    **of_probe,
                    **key_of_teachers(settings),
                    **of_critic,
                    **({"rollouts": rollouts.key_settings(plan, name)} if own else {}),
                ),
                after=(*diagnosis, "select"),
                run=partial(run_train_on_own_answers if own else run_train, name=name),
                uses=(
                    plan.objectives[name],
                    *plan.modifiers[name],
                    *((*rollouts.uses(plan, name), WORKER) if own else ()),
                    *([dev_probe, WORKER, *_evaluation_uses(plan, BenchmarkSettings())] if probed else []),
                ),
                command="train",
                costly=True,
            )
        )
    return stages


def _probe_settings(plan: Plan) -> dict[str, Any]:
    recipe = plan.recipe
    sampled = ("temperature", "top_p", "max_new_tokens", "prefill", "verifier")
    sampling = recipe.evaluate.model_dump(mode="json", include=set(sampled))
    limits = [recipe.verify.timeout_seconds, recipe.verify.memory_mb]
    probed = {"probe_seed": drawn_by} if (drawn_by := recipe.corpus.split_seed) != recipe.seed else {}
    asked_otherwise = (
        recipe.prompt.for_evaluation.chat != recipe.prompt.for_training.chat
    )  # else the rows' key holds it
    chat = {"chat": recipe.prompt.for_evaluation.chat} if asked_otherwise else {}
    return {**probed, "probe": sampling, "limits": limits, "asked": {**asked(plan.probe_config()), **chat}}


def run_train_on_own_answers(run: Run, *, name: str) -> None:
    """Train one student on rows that it samples itself."""
    with rollouts.rollouts_of(run, name, partial(load_student, run)) as drawn:
        run_train(run, name=name, drawn=drawn)


def run_train(run: Run, *, name: str, drawn: DrawnRows | None = None) -> None:
    """Train one student on select's rows, or on those that are drawn."""
    recipe, settings = run.recipe, run.recipe.train[name]
    check_held_out(recipe, StageFolder(run.folder / "select", "").ledger()["accounts"]["dev"])
    folder, fingerprint = run.folder / "train" / name, run.fingerprints[f"train/{name}"]
    if is_finished(folder, fingerprint):
        tidy(folder, fingerprint)
        mirror_finished(run, name)
        return
    with run.plan.probe(name, settings, run.folder) as probe, stage_mirror(run, name) as mirror:
        job = StageJob(
            folder=folder,
            stage=name,
            settings=settings,
            objective=run.plan.objectives[name],
            fingerprint=fingerprint,
            seed=recipe.seed,
            card=model_card(run, name),
            modifiers=modifiers_of(run, name),
            describe=settings.model_dump(mode="json"),
        )
        teacher = settings.teacher and loader_of(settings.teacher, recipe, partial(load_student, run))
        ledger = train_stage(
            job,
            records=() if drawn else records_of(run.folder / "select", stage_stream(run.plan, name)),
            student=lambda: load_start(run, name),
            reference=(lambda: load_student(run, settings.reference or "base")) if settings.reference else None,
            teacher=teacher,
            probe=probe,
            mirror=mirror,
            drawn=drawn,
            critic=critic_loader(run, name),
        )
    last = read_lines(folder / "metrics.jsonl")[-1]
    loss = "no row in the last step" if last["loss"] is None else f"loss {last['loss']:.4f}"
    say(f"train    {name}: {ledger['steps']} steps on {ledger['rows']['kept']} rows, {loss}")
    if settings.guard is not None and ledger["guard"]:
        say(f"guard    {name}: {ledger['guard']['sentence']}")


def run_diagnosis(run: Run, *, student: str, benchmark: BenchmarkSettings) -> None:
    """Objectives with negatives re-weight habits that the student has: look at its good habit before they begin."""
    path = run.folder / "evaluate" / "diagnosis.json"
    folder = run.folder / "evaluate" / student / benchmark.name
    made_from = run.fingerprints[f"evaluate/{student}/{benchmark.name}"]
    if path.exists() and (known := read_json(path)).get("student") == student and known.get("made_from") == made_from:
        return
    assert run.plan.diagnosis is not None
    diagnosis = {"student": student, "made_from": made_from, **run.plan.diagnosis(records_of(folder, "groups"))}
    write_json(path, diagnosis)
    say(f"diagnose {student}: {diagnosis['sentence']}")


# --- evaluate: students -> scores -------------------------------------------------------------------------------------


def evaluate_stages(plan: Plan) -> list[Stage]:
    """Answers of each student on each benchmark, scores of the answers, comparisons of the scores."""
    stages = [Stage("cards", inputs=tuple(f"train/{name}" for name in plan.recipe.train), run=run_model_cards,
                    command="train", cached=False)]  # fmt: skip
    started = [s.start for name, s in plan.recipe.train.items() if name not in plan.critics and s.start != "base"]
    for benchmark in plan.recipe.evaluate.benchmarks:
        for name in dict.fromkeys(
            [*plan.scored, *(started if plan.diagnosis is not None and benchmark.is_held_out else [])]
        ):
            stages += (head_stages if name in plan.critics else evaluation_of)(plan, name, benchmark)
    names = [f"evaluate/{name}/{b.name}/scores" for b in plan.recipe.evaluate.benchmarks for name in plan.scored]
    return [*stages, Stage("comparisons", inputs=tuple(names), run=run_comparisons, command="evaluate", cached=False)]


def evaluation_of(plan: Plan, name: str, benchmark: BenchmarkSettings) -> list[Stage]:
    """The answers of one student on one benchmark, and their scores."""
    recipe, dev = plan.recipe, benchmark.is_held_out
    settings = values(
        benchmark=table(benchmark, "file"),
        sampling=table(recipe.evaluate, *settings_outside_keys(recipe.evaluate)),
        prompt=recipe.prompt.for_evaluation,
        seed=recipe.seed,
        limits=[recipe.verify.timeout_seconds, recipe.verify.memory_mb],
        asked=asked(plan.eval_config(benchmark)),
        **(asked_of_critic(plan, benchmark) | subset_key(recipe, benchmark) | guidance_key(plan)),
        **({} if dev else {"problems": plan.inputs[input_name(benchmark)]}),
        **(student_identity(recipe.student) if name == "base" else {}),
    )
    read = (*(("select:dev",) if dev else ()), *((f"train/{name}",) if name != "base" else ()), *index_inputs(recipe))
    answers = f"evaluate/{name}/{benchmark.name}"
    return [
        Stage(
            answers,
            inputs=tuple(dict.fromkeys([*read, *guidance_inputs(plan)])),
            settings=settings,
            run=partial(run_answers, name=name, benchmark=benchmark),
            uses=(plan.engine, WORKER, *_evaluation_uses(plan, benchmark), *guidance_uses(plan.guide)),
            command="evaluate",
            costly=True,
        ),
        *(judging := [*probability_stages(plan, name, benchmark), *scorer_stages(plan, answers)]),
        Stage(
            f"{answers}/scores",
            inputs=(answers, *(stage.name for stage in judging)),
            settings=values(
                n=samples_of(recipe.evaluate, benchmark),
                seed=recipe.seed,
                **choices_key(recipe.evaluate),
                **scored_by(plan, benchmark),
            ),
            run=partial(run_scores, name=name, benchmark=benchmark),
            uses=tuple(_prompt_uses(plan.eval_config(benchmark).render)),
            command="evaluate",
            path=f"{answers}/scores.json",
        ),
    ]


def _evaluation_uses(plan: Plan, benchmark: BenchmarkSettings) -> list[Any]:
    config = plan.eval_config(benchmark)
    return [EvalConfig, *_prompt_uses(config.render), *config.judge.values(), *([with_segments] if config.cues else [])]


def _prompt_uses(render: Any) -> list[Any]:
    return [render, *([loading.chat_function] if render.keywords["chat"] else [])]


def run_answers(run: Run, *, name: str, benchmark: BenchmarkSettings) -> None:
    """Draw and verify the answers of one student on one benchmark."""
    folder = stage_folder(run, f"evaluate/{name}/{benchmark.name}", description(benchmark, run.recipe))
    if folder.is_finished():
        return
    student, problems = student_of(run, name), problems_of(run, benchmark)
    config = run.plan.eval_config(benchmark)
    config = replace(config, judge=with_index(run.folder, config.judge), engine=engine_of(run))
    pool = rollouts.judging_pool(run, config)
    run_evaluation(folder, config, problems, student, author=name, label=f"evaluate {name}", pool=pool)


def run_scores(run: Run, *, name: str, benchmark: BenchmarkSettings) -> None:
    """Scores of the stored answers."""
    folder = stage_folder(run, f"evaluate/{name}/{benchmark.name}")
    if (folder.folder / "scores.json").exists():
        return
    steps = step_facts(folder, benchmark, run.recipe, problems_of(run, benchmark) if benchmark.asks_steps else [])
    score_answers(folder, run.recipe, benchmark, model=name, render=run.plan.eval_config(benchmark).render, **steps)


def run_comparisons(run: Run) -> None:
    """Paired differences of every two students; cards and trackers get the scores too."""
    names, comparisons = run.plan.scored, []
    for benchmark in run.recipe.evaluate.benchmarks:
        scores = {n: read_json(run.folder / "evaluate" / n / benchmark.name / "scores.json") for n in names}
        for place, name in reversed(list(enumerate(names))):  # the last stage against the one before it comes first
            for other in reversed(names[:place]):
                pair = paired_difference(scores[name], scores[other], names=(name, other))
                comparisons.append({"a": name, "b": other, "benchmark": benchmark.name, **pair})
    write_json(run.folder / "evaluate" / "comparisons.json", comparisons)
    run_model_cards(run)
    mirror_scores(run)


# --- report: all of it -> one page --------------------------------------------------------------------------------------


def report_stage(plan: Plan) -> list[Stage]:
    """The page, written anew in every run."""
    return [
        *retrieval_stages(plan, problems_of),
        Stage("report", inputs=("comparisons",), after=baselines_of(plan.recipe), run=run_report, cached=False),
    ]


def run_report(run: Run) -> None:
    """Write the report."""
    if baselines_of(run.recipe):
        write_gains(run)
    if run.recipe.report.token_changes:
        stage = stage_of_tokens(run.folder)
        shown = stage if stage not in run.plan.critics else None
        write_token_changes(run.folder, run.recipe, shown, pairs_shown(run.folder))
    say(f"report   {write_report(run.folder)}")


BUILDERS: dict[str, Callable[[Plan], list[Stage]]] = {
    "corpus": corpus_stage,
    "verify": verify_stage,
    "score": score_stages,
    "select": select_stage,
    "train": train_stages,
    "evaluate": evaluate_stages,
    "report": report_stage,
}
