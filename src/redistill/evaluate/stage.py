"""A student on a benchmark: problems -> samples -> verdicts -> scores. One code for a stage's dev score, the guard's probe and
`redistill evaluate`.

    config = EvalConfig(engine, render, judge, "cascade", sampling, seed=0, limits=recipe.verify)
    with config.pool() as pool:
        groups = judged(pool, answered(config, student, problems, author="redi"), config.verifier)
    run_evaluation(folder, config, problems, student, author="redi", label="evaluate redi")         the same, into a stage, resumable

What is drawn is kept at once (rollout/journal.py), what is judged is kept by the shard, and scores are a function of that.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from redistill.config.binding import bind, options_of
from redistill.config.tables import BenchmarkSettings, CriticSettings, EvaluateSettings, Evaluation, Plugin, Recipe
from redistill.errors import OperatorError
from redistill.evaluate import BENCHMARKS, load_benchmark, score, subsample
from redistill.evaluate.by_likelihood import answered_by_likelihood, check_engine, choice_scores, measure_of
from redistill.evaluate.choose import bind_choices, reads_logprobs
from redistill.evaluate.few_shot import shots_of, stops_of
from redistill.evaluate.scores import STRICT
from redistill.evaluate.search_costs import cost_of
from redistill.evaluate.step_benchmarks import questions_of, sentence_of, solutions_asked, step_problems, step_scores
from redistill.io.atomic import read_json, write_json
from redistill.io.client import Kept
from redistill.io.progress import bar, say
from redistill.io.stage_folder import StageFolder
from redistill.records import Group, Problem
from redistill.rollout import Sampling, Student
from redistill.rollout.answer import EvalConfig, answered
from redistill.rollout.requests import Sample
from redistill.rollout.step_rewards import Analysis, yes_probabilities
from redistill.text.figures import percent
from redistill.text.prompts import ASKED_ANCHORS
from redistill.text.segments import CUES
from redistill.verify import VERIFIERS, check_bound, check_verifiers
from redistill.verify.pool import VerifierPool
from redistill.verify.segments import with_segments
from redistill.verify.stage import judged, verified_shard

QUESTION_ANSWER = "question-answer"  # the template of worked examples and of options, where the benchmark names none
ROLLOUTS_PER_SHARD = 512  # completions between two done-markers; what is drawn before one is in the journal


def samples_of(settings: EvaluateSettings, benchmark: BenchmarkSettings | None = None) -> int:
    """How many samples a problem gets: of a labelled step as many as the critic has analyses, of options one choice."""
    if benchmark is not None and benchmark.kind == "choices":
        return 1
    return settings.critic.analyses if benchmark is not None and benchmark.asks_steps else settings.n


def sampling_of(settings: EvaluateSettings, benchmark: BenchmarkSettings | None = None, template: str = "") -> Sampling:
    """How a recipe draws its samples, on a benchmark; with log-probabilities where it chooses by them. template: of the prompt, where
    worked examples stand before the problem: a model that goes on with them is stopped."""
    n = samples_of(settings, benchmark)
    sampling = Sampling(n, settings.temperature, settings.top_p, settings.max_new_tokens, settings.prefill)
    if benchmark is not None and benchmark.few_shot is not None:
        sampling = replace(sampling, stop=stops_of(benchmark, template))
    return replace(sampling, logprobs=any(map(reads_logprobs, settings.choose)))


def cues_of(settings: EvaluateSettings, benchmark: BenchmarkSettings) -> str | None:
    """The cues by which answers are cut into attempts and verifications; None where they are not, and of labelled steps."""
    return None if benchmark.asks_steps else settings.self_correction


def choices_key(settings: EvaluateSettings) -> dict[str, Any]:
    """What the choices add to the key of scores; nothing where there are none."""
    return {"choose": [choice.model_dump() for choice in settings.choose]} if settings.choose else {}


def eval_settings_for(
    benchmark: BenchmarkSettings, recipe: Recipe | Evaluation
) -> tuple[str, Plugin, str, tuple[str, ...]]:
    """(template, verifier, its place in the recipe, strict anchors): the benchmark's own entry goes first, then what the
    registry says of a benchmark that cannot be asked like others, then the recipe."""
    if benchmark.asks_steps:
        return _steps_asked(benchmark, recipe)
    check_engine(benchmark, recipe.evaluate)
    known = None if benchmark.is_held_out else BENCHMARKS.get(benchmark.name)
    template = benchmark.template or (known and known.template) or recipe.prompt.for_evaluation.template
    if benchmark.template is None and (
        benchmark.kind == "choices" or (benchmark.few_shot and not (known and known.template))
    ):
        template = QUESTION_ANSWER
    verifier, where = recipe.evaluate.verifier, "evaluate.verifier"
    if known and known.verifier:
        verifier = Plugin(name=known.verifier, options=dict(known.verifier_options))
    if benchmark.verifier:
        verifier, where = benchmark.verifier, f"evaluate.benchmarks ({benchmark.name}): verifier"
    strict = recipe.evaluate.strict_anchors
    return template, verifier, where, ASKED_ANCHORS.get(template, ()) if strict is None else tuple(strict)


def _steps_asked(benchmark: BenchmarkSettings, recipe: Recipe | Evaluation) -> tuple[str, Plugin, str, tuple[str, ...]]:
    """The same of a benchmark of labelled steps: asked with the recipe's own prompt, unless that asks for an answer in a box or the
    like, and judged by the verdict line."""
    own = recipe.prompt.for_evaluation.template
    template = benchmark.template or ("step-judgement" if own in ASKED_ANCHORS else own)
    verifier = benchmark.verifier or Plugin(name="verdict-line", options={"line": recipe.evaluate.critic.line})
    return template, verifier, f"evaluate.benchmarks ({benchmark.name})", ()


def join_of(recipe: Recipe | Evaluation) -> str:
    """What stands between the previous steps of a step to judge: as evaluate.critic says, else as in the recipe's corpus."""
    if recipe.evaluate.critic.join is not None:
        return recipe.evaluate.critic.join
    sources = recipe.corpus.sources if isinstance(recipe, Recipe) else []
    joins = [source.options.get("join") for source in sources if source.name == "step-judgements"]
    return next((str(join) for join in joins if join), "blank-line")


def benchmark_problems(benchmark: BenchmarkSettings, recipe: Recipe | Evaluation) -> list[Problem]:
    """The problems of a benchmark that is a file, by id: of labelled steps one per step."""
    if benchmark.asks_steps:
        problems = step_problems(benchmark, seed=recipe.seed, join=join_of(recipe))
    else:
        # the same subset for all seeds of training
        seed = recipe.corpus.split_seed if isinstance(recipe, Recipe) else recipe.seed
        problems = subsample(load_benchmark(benchmark), benchmark.max_problems, seed)
    return sorted(problems, key=lambda problem: problem.id)


def problems_to_avoid(benchmark: BenchmarkSettings) -> Iterable[Problem]:
    """What a corpus must not hold of a benchmark: its problems, or the questions whose steps it judges."""
    return questions_of(benchmark) if benchmark.asks_steps else load_benchmark(benchmark)


def step_facts(
    stage_dir: StageFolder,
    benchmark: BenchmarkSettings,
    recipe: Recipe | Evaluation,
    problems: Sequence[Problem],
) -> dict[str, Any]:
    """{"steps": ...} for the scores of a benchmark of labelled steps, from its stored analyses and their P(Yes), {"choices": ...} of
    one of options; {} of any other."""
    if benchmark.kind == "choices":
        choices = choice_scores(stage_dir.read("groups"))
        shares = ", ".join(f"{name} {percent(choices[name]['value'])}%" for name in choices)
        say(f"evaluate {benchmark.name}: {shares} by log-likelihood")
        return {"choices": choices}
    if not benchmark.asks_steps:
        return {}
    solutions = solutions_asked(benchmark, problems, seed=recipe.seed, join=join_of(recipe))
    if not solutions:
        raise OperatorError(
            f"evaluate.benchmarks ({benchmark.name}): kind steps, but none of its problems is a step of a solution; "
            f"use the source step-judgements to read labelled steps."
        )
    critic = recipe.evaluate.critic
    scores = step_scores(
        solutions, stage_dir.read("groups"), read_json(stage_dir.folder / PROBABILITIES)["p_yes"], critic
    )
    say(f"evaluate {benchmark.name}: {sentence_of(scores)}")
    return {"steps": scores}


PROBABILITIES = "p_yes.json"  # beside the answers: P(Yes) of each analysis, by trace id


def find_probabilities(
    stage_dir: StageFolder, config: EvalConfig, student: Callable[[], Any], critic: CriticSettings
) -> None:
    """Read P(Yes) of every stored analysis and write it beside them; a server's replies are kept if this is interrupted."""
    path = stage_dir.folder / PROBABILITIES
    if path.exists():
        return
    rows = [(group.problem, trace) for group in stage_dir.read("groups") for trace in group.traces]
    prompts = {problem.id: config.render(problem) for problem, _ in rows}
    analyses = [Analysis(prompts[problem.id], config.sampling.prefill, trace.completion) for problem, trace in rows]
    replies = stage_dir.folder / "p_yes_replies.jsonl"
    with Kept(replies) as kept:
        probabilities = yes_probabilities(config.engine, student, analyses, critic, kept=kept)
    values = {trace.id: value for (_, trace), value in zip(rows, probabilities, strict=True)}
    write_json(path, {"p_yes": values})
    replies.unlink(missing_ok=True)


def description(benchmark: BenchmarkSettings, recipe: Recipe | Evaluation) -> dict[str, Any]:
    """How a benchmark was asked and judged, for the ledger, the scores and the page; `prefill` opens every completion."""
    template, verifier, _, anchors = eval_settings_for(benchmark, recipe)
    settings = recipe.evaluate.model_dump(mode="json", exclude={"models", "benchmarks", "choose", "critic"})
    if benchmark.asks_steps:
        settings |= {
            "n": samples_of(recipe.evaluate, benchmark),
            "critic": recipe.evaluate.critic.model_dump(mode="json"),
        }
    if benchmark.kind == "choices":
        settings |= {"n": 1, "kind": "choices", "verifier": None}
        settings = {name: settings[name] for name in settings if name not in ("temperature", "top_p", "max_new_tokens")}
    if benchmark.few_shot is not None:
        settings["few_shot"] = [list(shot) for shot in shots_of(benchmark, template)]
    if settings["self_correction"] is None:
        del settings["self_correction"]
    asked = {"template": template, "chat": recipe.prompt.for_evaluation.chat, "seed": recipe.seed}
    return {**settings, "verifier": verifier.model_dump(), "strict_anchors": list(anchors), **asked}


def verifiers_of(verifier: Plugin, where: str, strict_anchors: Sequence[str] = ()) -> dict[str, partial[Any]]:
    """The verifier by its name, and beside it `strict`: the same, reading an answer only where the prompt asked for it."""
    check_verifiers([verifier.name])
    judges = {verifier.name: bind(VERIFIERS, verifier, where)}
    check_bound(judges[verifier.name], where)
    if strict_anchors and "anchors" in options_of(judges[verifier.name].func):
        narrow = {**verifier.options, "anchors": list(strict_anchors)}
        judges[STRICT] = bind(VERIFIERS, Plugin(name=verifier.name, options=narrow), "evaluate.strict_anchors")
    return judges


def run_evaluation(
    stage_dir: StageFolder,
    config: EvalConfig,
    problems: Sequence[Problem],
    student: Callable[[], Any],
    *,
    author: str,
    label: str,
    pool: VerifierPool | None = None,
) -> None:
    """Fill the stage with the student's judged answers; what a killed run left there is kept. pool: who judges, closed at the end;
    workers of this machine where there is none."""
    if stage_dir.is_finished():
        return
    stage_dir.open()
    n = config.sampling.n
    size = max(1, ROLLOUTS_PER_SHARD // n)
    shards = [problems[i : i + size] for i in range(0, len(problems), size)]
    journal = stage_dir.folder / "samples.jsonl"
    load = student if isinstance(student, Student) else Student(student)
    measure = measure_of(load.load)
    total, stored = len(problems) * n, [sum(len(part) * n for i, part in enumerate(shards) if stage_dir.is_done(i))]
    say(f"{label}: {total - stored[0]:,} of {total:,} answers to sample; each is stored as soon as it is finished")
    try:
        with pool or config.pool() as pool, bar(label=label, unit="answer", total=total) as bar_:
            for index, part in enumerate(shards):
                if stage_dir.is_done(index):
                    bar_.update(len(part) * n)
                    continue
                if config.by_likelihood:
                    chosen = answered_by_likelihood(part, config.render, measure, author=author)
                    stage_dir.finish_shard(index, verified_shard(chosen))
                    continue
                answers = answered(config, load, part, author=author, journal=journal, tell=_counted(bar_, stored))
                groups = list(judged(pool, answers, config.verifier))
                if config.cues is not None:
                    groups = with_segments(pool, groups, config.verifier, CUES[config.cues])
                shard = verified_shard(groups)
                if cost := cost_of(groups):
                    shard.tallies["cost"] = cost
                stage_dir.finish_shard(index, shard)
                journal.unlink(missing_ok=True)  # its samples lie in the shard now
    except KeyboardInterrupt:
        say(f"{label}: stopped with {stored[0]:,} of {total:,} answers stored; the same command samples the rest")
        raise
    journal.unlink(missing_ok=True)
    stage_dir.finish(len(shards))


def keep_judged(stage_dir: StageFolder, config: EvalConfig, groups: Sequence[Group], *, label: str) -> None:
    """Fill the stage with answers that are there already, judged: a head's verdicts on steps."""
    stage_dir.open()
    shards = [groups[i : i + ROLLOUTS_PER_SHARD] for i in range(0, len(groups), ROLLOUTS_PER_SHARD)]
    say(f"{label}: {len(groups):,} steps scored")
    with config.pool() as pool:
        for index, part in enumerate(shards):
            if not stage_dir.is_done(index):
                stage_dir.finish_shard(index, verified_shard(list(judged(pool, part, config.verifier))))
    stage_dir.finish(len(shards))


def write_scores(
    stage_dir: StageFolder,
    *,
    n: int,
    choose: Sequence[Plugin] = (),
    groups: Iterable[Group] | None = None,
    word: str = "evaluate",
    **fields: Any,
) -> dict[str, Any]:
    """Score what lies in a finished stage, write scores.json with `facts` beside the scores, and say it in a line.

    groups: the stage's own, with what scorers found of them, where samples are chosen by that."""
    choices = bind_choices(choose, "evaluate.choose")
    scores = {**fields, **score(stage_dir.read("groups") if groups is None else groups, n=n, choices=choices)}
    write_json(stage_dir.folder / "scores.json", scores)
    value, error = scores["pass_at_1"]["value"], scores["pass_at_1"]["sem_over_problems"]
    spread = (
        "" if error is None else f" ± {percent(error)} points (SEM, ddof 1, over {scores['num_problems']} problems)"
    )
    refused = f"; left out: {len(scores['left_out'])} problems that the server refused" if "left_out" in scores else ""
    say(f"{word} {fields['model']} on {fields['benchmark']}: pass@1 {percent(value)}%{spread}{refused}")
    for label, chosen in scores.get("choose", {}).items():
        if "why" in chosen:
            say(f"{word} {fields['model']} on {fields['benchmark']}: {label} was left out: {chosen['why']}")
    return scores


def _counted(bar_: Any, stored: list[int]) -> Callable[[Sample], None]:
    """Moves the bar on by one answer, and shows how many tokens a second have been drawn since it began. stored: one number, of the
    answers that are on disk."""
    tokens = 0

    def tell(sample: Sample) -> None:
        nonlocal tokens
        tokens += sample.num_tokens or 0
        stored[0] += 1
        seconds = bar_.format_dict["elapsed"]
        if seconds > 0:
            bar_.set_postfix_str(f"{tokens / seconds:,.0f} tokens/s", refresh=False)
        bar_.update(1)

    return tell
