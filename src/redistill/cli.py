"""The door: one verb a thing a person wants. Errors of the operator are one sentence and exit code 2.

redistill run recipes/quickstart.yaml --set seed=1
redistill show runs/quickstart/select/pairs/part-00000.parquet 3
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from redistill import __version__
from redistill.errors import OperatorError

ROOMS = ("corpus", "verify", "select", "train", "evaluate", "report")

ABOUT = """\
redistill: right and wrong teacher traces in, a better student and an honest report out.

A recipe (a YAML file) says where the traces are, who judges them, which become examples and pairs, how the student is
trained in stages, and what it is scored on. `redistill run` walks through the rooms
corpus > verify > select > train > evaluate > report and leaves one folder with everything in it.
"""

RUN = """\
Run a recipe from traces to report.

The rooms, in order: corpus (read and merge the traces), verify (judge every answer), select (examples and pairs),
train (every stage of the recipe), evaluate (score every student on problems it never saw), report (one HTML page).

Run it again and finished rooms are passed by; change a setting and only what depends on it is made again; kill it
anywhere and it goes on from its last finished shard or checkpoint, to the same result.

examples:
  redistill run recipes/quickstart.yaml
  redistill run recipes/quickstart.yaml --name seed1 --set seed=1
  redistill run my.yaml --until select            look at the pairs before training
  redistill run my.yaml --from train              train again on the same pairs
  accelerate launch -m redistill run my.yaml      the same on several GPUs
"""

SHOW = """\
Print record N (0 is the first) of any file the tool wrote, readably: a problem with its traces and their verdicts, a
pair with chosen and rejected, an example, a dropped record, a line of metrics.jsonl, a ledger, scores.

examples:
  redistill show runs/quickstart/verify/groups/part-00000.parquet
  redistill show runs/quickstart/select/pairs/part-00000.parquet 3
  redistill show runs/quickstart/train/redi/metrics.jsonl -1
  redistill show runs/quickstart/corpus/ledger.json
"""

SCORES = """\
Print the scores of a run: pass@1 of every student with both standard errors, and what may be claimed of each pair.

"columns" is the spread over sample columns (std of the n whole-benchmark scores / sqrt(n), as in the REDI paper): how far
other samples on these problems would move the score. "problems" is the spread over problems (as in lighteval): how far
other problems would. They answer different questions and can differ several-fold.

examples:
  redistill scores runs/quickstart
  redistill scores runs/quickstart --json
"""

LR_FIND = """\
Find how high a stage's learning rate may be: short trials over a grid, each ended at the guard's first alarm.

Every trial starts from the stage's start student on its own pairs (made first where they are missing), warms up as the
stage does, then holds its rate. A rate is good when the guard saw no warning in all of its steps; rates are tried from the
smallest, and larger ones than an alarmed one are not tried. What the states mean is in docs/guard.md.

examples:
  redistill lr-find recipes/quickstart.yaml --stage redi --weights 0.5,0.8,1.0 --rates 3e-5,1e-4,3e-4
  redistill lr-find my.yaml --stage dpo --rates 1e-7,3e-7,1e-6 --steps 200
"""

REPORT = """\
Write report.html of a run again, from its files alone, and print where it is.

example:
  redistill report runs/quickstart
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, do the verb, exit 0, or 2 with one sentence on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without é shows \xe9 instead of a traceback
    options = _parser().parse_args(arguments)
    # our libraries' habits: no telemetry, no advice, one tokenizer thread pool that survives a fork
    for name in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        options.verb(options)
    except OperatorError as error:
        print(f"redistill: {_plain(str(error))}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `| head` closed the pipe: no complaint at exit
    except KeyboardInterrupt:
        print("\nredistill: stopped; run the same command again to go on from here.", file=sys.stderr)
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "redistill", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"redistill {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, text: str, function: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        short = text.strip().splitlines()[0]
        added = verbs.add_parser(
            name, help=short, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        added.set_defaults(verb=function)
        return added

    run = verb("run", RUN, _run)
    run.add_argument("recipe", metavar="RECIPE", help="a YAML file; those that ship are in recipes/")
    run.add_argument("--set", action="append", default=[], metavar="a.b=value", help="change one setting (repeatable)")
    run.add_argument("--name", help="name of the run's folder (default: the recipe's name)")
    run.add_argument(
        "--runs-dir", default="runs", metavar="DIR", type=Path, help="where run folders are (default: runs)"
    )
    run.add_argument(
        "--from", dest="start", choices=ROOMS, metavar="ROOM", help="make this room and those after it again"
    )
    run.add_argument("--until", choices=ROOMS, metavar="ROOM", help="stop after this room")
    run.add_argument("--json", action="store_true", help="print the scores as JSON at the end")
    show = verb("show", SHOW, _show)
    show.add_argument("path", metavar="PATH", type=Path, help="a .parquet, .jsonl or .json of a run")
    show.add_argument(
        "number", metavar="N", nargs="?", type=int, default=0, help="which record, from 0; negative from the end"
    )
    show.add_argument("--json", action="store_true", help="print the record as JSON")
    scores = verb("scores", SCORES, _scores)
    scores.add_argument("run", metavar="RUN", type=Path, help="a run's folder, such as runs/quickstart")
    scores.add_argument("--json", action="store_true", help="print the scores as JSON")
    find = verb("lr-find", LR_FIND, _lr_find)
    find.add_argument("recipe", metavar="RECIPE", help="a YAML file; those that ship are in recipes/")
    find.add_argument("--stage", required=True, help="the stage of the recipe to try")
    find.add_argument("--rates", required=True, type=_numbers, metavar="R,R,..", help="learning rates to try")
    find.add_argument(
        "--weights", default=(), type=_numbers, metavar="W,W,..", help="values of the objective's rejected_weight"
    )
    find.add_argument("--steps", default=100, type=int, metavar="N", help="optimizer steps of a trial (default: 100)")
    find.add_argument("--set", action="append", default=[], metavar="a.b=value", help="change one setting (repeatable)")
    find.add_argument("--name", help="name of the run's folder (default: the recipe's name)")
    find.add_argument(
        "--runs-dir", default="runs", metavar="DIR", type=Path, help="where run folders are (default: runs)"
    )
    find.add_argument("--json", action="store_true", help="print the table as JSON")
    report = verb("report", REPORT, _report)
    report.add_argument("run", metavar="RUN", type=Path, help="a run's folder, such as runs/quickstart")
    report.add_argument("--json", action="store_true", help="print the path as JSON")
    return parser


def _numbers(text: str) -> list[float]:
    """Numbers parted by commas: "1e-4,3e-4" -> [0.0001, 0.0003]."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers parted by commas, such as 1e-4,3e-4") from error


# --- the verbs; heavy imports wait inside them, so that --help answers at once ------------------------------------


def _run(options: argparse.Namespace) -> None:
    from redistill.settings import load_recipe

    recipe = load_recipe(options.recipe, options.set, options.name)
    if options.start and options.until and ROOMS.index(options.start) > ROOMS.index(options.until):
        raise OperatorError(f"--from {options.start} comes after --until {options.until}; nothing would be run.")
    from redistill.recipes.distill import run

    folder = run(recipe, runs_dir=options.runs_dir, start=options.start, until=options.until)
    if int(os.environ.get("RANK", "0")) > 0:
        return
    scored = options.until in (None, "evaluate", "report")
    if options.json:
        table = _score_table(folder) if scored else {"run": str(folder), "scores": [], "comparisons": []}
        print(json.dumps(table, indent=2))
    elif (folder / "report.html").exists() and options.until in (None, "report"):
        _print_scores(folder)
        print(f"\nreport: {(folder / 'report.html').resolve()}")
    else:
        print(f"stopped after {options.until}: {folder.resolve()}")


def _show(options: argparse.Namespace) -> None:
    from redistill.show import one_record, readable

    record = one_record(options.path, options.number)
    print(json.dumps(record, indent=2, ensure_ascii=True, default=str) if options.json else _plain(readable(record)))


def _scores(options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(_score_table(options.run), indent=2))
    else:
        _print_scores(options.run)


def _lr_find(options: argparse.Namespace) -> None:
    from redistill.settings import load_recipe

    recipe = load_recipe(options.recipe, options.set, options.name)
    if min(options.rates) <= 0 or options.steps < 1:
        raise OperatorError("lr-find: --rates must be above 0 and --steps at least 1.")
    from redistill.recipes.lr_find import lr_find, table_text

    found = lr_find(
        recipe,
        runs_dir=options.runs_dir,
        stage=options.stage,
        weights=options.weights,
        rates=options.rates,
        steps=options.steps,
    )
    print(json.dumps(found, indent=2) if options.json else table_text(found))


def _report(options: argparse.Namespace) -> None:
    from redistill.report import write_report

    path = write_report(options.run).resolve()
    print(json.dumps({"report": str(path)}) if options.json else path)


def _score_table(folder: Path) -> dict[str, Any]:
    from redistill.storage import read_json, read_yaml

    if not (folder / "recipe.yaml").exists():
        raise OperatorError(
            f"{folder} is not a run's folder (it has no recipe.yaml); give one such as runs/quickstart."
        )
    stages = ["base", *(read_yaml(folder / "recipe.yaml").get("train") or {})]
    found = [p for p in folder.glob("evaluate/*/*/scores.json") if p.parent.parent.name in stages]
    files = sorted(found, key=lambda p: (p.parent.name, stages.index(p.parent.parent.name)))
    if not files:
        raise OperatorError(f"{folder} holds no scores; run its recipe to the room `evaluate`.")
    scores = [{k: v for k, v in read_json(path).items() if k != "per_problem"} for path in files]
    comparisons = folder / "evaluate" / "comparisons.json"
    return {"run": str(folder), "scores": scores, "comparisons": read_json(comparisons) if comparisons.exists() else []}


def _print_scores(folder: Path) -> None:
    table = _score_table(folder)
    print(
        f"{'student':<14}{'benchmark':<14}{'pass@1':>8}  {'95% interval':<16}{'SEM columns':>12}{'SEM problems':>14}{'truncated':>11}"
    )
    for row in table["scores"]:
        one = row["pass_at_1"]
        low, high = one["interval95"] or (float("nan"), float("nan"))
        columns = "-" if one["sem_over_sample_columns"] is None else f"{one['sem_over_sample_columns']:.3f}"
        problems = "-" if one["sem_over_problems"] is None else f"{one['sem_over_problems']:.3f}"
        interval = f"{low:.3f} to {high:.3f}"
        print(
            f"{row['model']:<14}{row['benchmark']:<14}{one['value']:>8.3f}  {interval:<16}{columns:>12}{problems:>14}"
            f"{row['truncation_rate']:>10.1%}"
        )
    for line in table["comparisons"]:
        print(f"- {line['benchmark']}: {line['sentence']}")


def _plain(text: str) -> str:
    """Text that cannot drive the terminal: control and bidirectional characters are shown as \\x1b, \\u202e."""
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)
