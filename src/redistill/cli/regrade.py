"""`redistill regrade RUN --verifier NAME`: the same answers, judged again."""

import argparse
import json
from typing import Any

from redistill.cli.common import add_code, add_json, add_run, plain

TEXT = """\
Judge the stored answers of a run with other verifiers, without drawing them again, and print where they disagree.

The new verdicts and scores are written beside, in regraded/VERIFIER/STUDENT/BENCHMARK/; the run's own stay as they are.
A verifier is written as in a recipe: a name, or a table with its options. `--benchmark _rollouts` judges the answers that a
training stage sampled itself.

examples:
  redistill regrade runs/smollm2 --verifier math-verify --verifier exact
  redistill regrade runs/grpo-quickstart --verifier exact --student grpo --benchmark _rollouts
  redistill regrade runs/smollm2 --verifier '{name: cascade, percent: strip}' --benchmark gsm8k
"""

MAX_EXAMPLES = 6  # on the screen; more are in regraded/agreement.json


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    add_run(parser)
    parser.add_argument(
        "--verifier", action="append", required=True, metavar="NAME", help="a name or {table} (repeatable)"
    )
    add_code(parser)
    parser.add_argument("--student", action="append", metavar="NAME", help="only this student (repeatable)")
    parser.add_argument("--benchmark", action="append", metavar="NAME", help="only this benchmark (repeatable)")
    parser.add_argument("--workers", type=int, metavar="N", help="judges side by side (default: CPU cores)")
    add_json(parser, "the tables")


def do(options: argparse.Namespace) -> None:
    """Regrade, print the tables, and write the page again where there is one."""
    from redistill.config.parsing import read_plugin
    from redistill.config.tables import LimitSettings
    from redistill.errors import OperatorError
    from redistill.report import write_report
    from redistill.tools.regrade import label_of, regrade

    plugins = [read_plugin(text, f"--verifier {text!r}") for text in options.verifier]
    if options.workers is not None and options.workers < 1:
        raise OperatorError("regrade: --workers must be 1 or more.")
    found = regrade(
        options.run,
        {label_of(plugin): plugin for plugin in plugins},
        students=options.student,
        benchmarks=options.benchmark,
        limits=LimitSettings(workers=options.workers),
    )
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print(plain("\n\n".join(map(_readable, found))))
        print(plain(f"\nkept in {options.run / 'regraded'}"))
    if (options.run / "report.html").exists():
        write_report(options.run)


def _readable(found: dict[str, Any]) -> str:
    a, b = found["a"], found["b"]
    share = "-" if found["agree"] is None else f"{found['agree']:.1%}"
    lines = [
        f"{found['student']} on {found['benchmark']}: {a} and {b} agree on {share} of {found['num_samples']:,} answers; "
        f"correct by {a} alone: {found['only_a_correct']}, by {b} alone: {found['only_b_correct']}."
    ]
    columns = sorted({word for row in found["table"].values() for word in row})
    lines.append(f"  {a + ' down, ' + b + ' across':<36}" + "".join(f"{word:>12}" for word in columns))
    for word, row in found["table"].items():
        lines.append(f"  {word:<36}" + "".join(f"{row.get(column, 0):>12,}" for column in columns))
    for example in found["examples"][:MAX_EXAMPLES]:
        one, other = example[a], example[b]
        lines.append(f"  {example['trace_id']} gold {_cut(example['gold'])}: {a} {_said(one)}; {b} {_said(other)}")
    return "\n".join(lines)


def _said(verdict: dict[str, Any]) -> str:
    return f"{verdict['outcome']} ({verdict['reason']}, read {_cut(verdict['read'])})"


def _cut(text: str | None) -> str:
    line = "nothing" if text is None else " ".join(text.split())
    return line if len(line) <= 40 else f"{line[:37]}..."
