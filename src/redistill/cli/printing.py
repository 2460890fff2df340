"""What commands print of their results, where that is a few lines; tables are in the files of their commands."""

import contextlib
import dataclasses
import json
import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redistill.cli.scores import scores_text
from redistill.errors import OperatorError
from redistill.safety.paths import shell_word
from redistill.safety.terminal import plain
from redistill.text.figures import plural

if TYPE_CHECKING:
    from redistill.tools.doctor import Findings
    from redistill.tools.init_answers import WrittenRecipe
    from redistill.tools.lineage import Step

Options = Mapping[str, Any]
WIDTH = 120  # of the list of recipes


def run_text(folder: Path, options: Options) -> str | None:
    """Scores and the page of a whole run; of one that stopped early, where, and after select the pairs of every pairing. None in all
    processes of a launch but the first."""
    from redistill.io.progress import is_main

    if not is_main():
        return None
    until = options["until"]
    if (folder / "report.html").exists() and until in (None, "report"):
        return evaluate_text(folder, options)
    stopped = f"stopped after {until}: {folder.resolve()}"
    if until != "select":
        return stopped
    from redistill.io.atomic import read_json
    from redistill.select import table_text

    return f"{table_text(read_json(folder / 'select' / 'statistics.json'))}\n\n{stopped}"


def run_data(folder: Path, options: Options) -> Any:
    """The scores, empty where the run stopped before them; None in all processes of a launch but the first."""
    from redistill.io.progress import is_main

    if not is_main():
        return None
    if options["until"] in (None, "evaluate", "report"):
        return run_scores(folder)
    return {"run": str(folder), "scores": [], "comparisons": []}


def run_scores(folder: Path, _: object = None) -> Any:
    """The scores of a run's folder."""
    from redistill.tools.scores import score_table

    return score_table(folder)


def evaluate_text(folder: Path, _: Options) -> str:
    """The scores, and where the page is."""
    return f"{scores_text(run_scores(folder))}\n\nreport: {(folder / 'report.html').resolve()}"


def show_text(record: Any, _: Options) -> str:
    """The record, readably."""
    from redistill.tools.show import readable

    return readable(record)


def show_data(record: Any, _: Options) -> Any:
    """The record with what JSON does not know as text."""
    return json.loads(json.dumps(record, default=str))


def why_text(steps: "Sequence[Step]", _: Options) -> str:
    """The steps, a paragraph each."""
    from redistill.tools.lineage import as_text

    return as_text(steps)


def why_data(steps: "Sequence[Step]", _: Options) -> Any:
    """The steps as tables."""
    return [dataclasses.asdict(step) for step in steps]


def plan_text(plan: Mapping[str, Any], _: Options) -> str:
    """The forecast as tables."""
    from redistill.tools.estimate.render import text

    return text(plan)


def lr_find_text(probe: dict[str, Any], _: Options) -> str:
    """The trials as a table."""
    from redistill.tools.lr_find import table_text

    return table_text(probe)


def sweep_text(sweep: Mapping[str, Any], options: Options) -> str:
    """The trials as a table, and where the page is; of a dry run their names."""
    if options["dry_run"]:
        return "\n".join(sweep["trials"])
    from redistill.tools.sweep.table import table_text

    return f"{table_text(sweep)}\n{Path(options['runs_dir']) / sweep['name'] / 'report.html'}"


def recipes_text(recipes: Mapping[str, str], _: Options) -> str:
    """A line each, filled to WIDTH."""
    margin = max(map(len, recipes)) + 2
    return "\n".join(
        f"\n{' ' * margin}".join([f"{name.ljust(margin)}{first}", *rest])
        for name, line in recipes.items()
        for first, *rest in [textwrap.wrap(line, WIDTH - margin, break_on_hyphens=False)]
    )


def schema_text(schema: Mapping[str, Any], _: Options) -> str:
    """JSON, whatever else is asked for."""
    return json.dumps(schema, indent=1)


def doctor_text(findings: "Findings", _: Options) -> None:
    """The rows, with colour in a terminal, and one line per check."""
    from redistill.tools.doctor import picture

    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(picture(findings, colour=colour, clean=plain))


def doctor_data(findings: "Findings", _: Options) -> Any:
    """The rows and checks as tables."""
    from redistill.tools.doctor import as_json

    return as_json(findings)


class Checked(list[str]):
    """The mistakes of a recipe, with the notes on one that has none."""

    notes: Sequence[str] = ()


def validate_recipe(**options: Any) -> Checked:
    """api.validate, with notes; mistakes of keys and types are said at once, because the libraries behind the rest take seconds to load."""
    from redistill.cli.without_torch import is_torch_loaded
    from redistill.config.partial_parse import partial_parse
    from redistill.config.yaml_text import read_tree
    from redistill.io.progress import say

    try:
        tree = read_tree(options["recipe"], options["overrides"])
    except OperatorError as error:
        return Checked([str(error)])
    at_once, recipe, _ = partial_parse(tree)
    for mistake in at_once:
        say(f"validate {mistake}")
    say("validate loading the libraries that the recipe needs")
    # a student made from a config is built to see whether it can be, and the user's code may do anything: both need torch
    fast = not (at_once or recipe is None or recipe.student.from_config or options["code"] or is_torch_loaded())
    checked = _validate_without_torch(options, recipe.student.model) if fast and recipe is not None else None
    if checked is not None:
        return checked
    return _validate(options)


OF_DATA = ("corpus", "verify", "select")  # tables whose checks have no use for torch, so what they say stands


def _validate_without_torch(options: Options, student: str | None) -> Checked | None:
    """The same without torch, in a third of the time; None where a check needs it, or says what torch may see otherwise."""
    from redistill.cli.without_torch import NeedsTorch, without_torch

    is_local = student is None or ":" in student or Path(student).expanduser().exists()
    checked = None
    # whatever goes wrong here is found again with the libraries, or was a stand-in's
    with contextlib.suppress(NeedsTorch, Exception), without_torch(transformers=is_local):
        checked = _validate(options)
    return checked if checked is not None and all(mistake.startswith(OF_DATA) for mistake in checked) else None


def _validate(options: Options) -> Checked:
    from redistill import api

    checked = Checked(api.validate(**options))
    if not checked:
        from redistill.tools.validate import notes

        checked.notes = notes(options["recipe"], options["overrides"])
    return checked


def validate_text(mistakes: Checked, options: Options) -> str | None:
    """That the recipe is fine, with notes; its mistakes are an error."""
    if mistakes:
        return None
    return "\n".join([*(f"note: {note}" for note in mistakes.notes), f"{options['recipe']} is fine"])


def validate_data(mistakes: Checked, options: Options) -> Any:
    """Mistakes and notes."""
    return {"recipe": options["recipe"], "fine": not mistakes, "mistakes": mistakes, "notes": mistakes.notes}


def validate_error(mistakes: Sequence[str], options: Options) -> str:
    """All mistakes, a line each."""
    count = "one mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return "\n  ".join([f"{options['recipe']} has {count}:", *mistakes]) if mistakes else ""


def init_recipe(**options: Any) -> "WrittenRecipe":
    """api.init, and what it has seen on the way."""
    from redistill.io.progress import say

    say("init     loading the libraries")  # seconds, before anything else can be said
    from redistill.tools.init_answers import init_recipe

    return init_recipe(**options)


def init_text(written: "WrittenRecipe", _: Options) -> str:
    """What was seen, where the recipe is, and what to do next."""
    from redistill.tools.init import advice_for, table

    layout, out = written.survey.best, shell_word(written.path)
    notes = [written.choices.power, *(f"warning: {one}" for one in written.choices.warnings)]
    return "\n".join(
        [
            table(written.survey, written.judged),
            *filter(None, notes),
            f"{written.traces} reads as `{layout.source}`: {plural(len(layout.traces), 'trace')} of {plural(layout.groups, 'problem')} seen",
            advice_for(written.survey, written.judged, written.choices).why,
            f"wrote {written.path}; next: redistill doctor --recipe {out}, then redistill run {out} --until select",
        ]
    )


def init_data(written: "WrittenRecipe", _: Options) -> Any:
    """What was seen, and where the recipe is."""
    from redistill.tools.init import as_facts

    return {"recipe": str(written.path), **as_facts(written.survey)}


def audit_text(audit: Mapping[str, Any], _: Options) -> str:
    """The result, and notes."""
    return "\n".join([audit["sentence"], *(f"- {note}" for note in audit["notes"])])


def score_text(counts: Mapping[str, Any], _: Options) -> str:
    """The counts."""
    from redistill.tools.score_file import summary

    return summary(counts)


def rollout_text(counts: Mapping[str, Any], options: Options) -> str:
    """The counts, and where the traces are."""
    outcomes = ", ".join(f"{count:,} {word}" for word, count in counts["outcomes"].items())
    return (
        f"{plural(counts['answers'], 'answer')} to {plural(counts['problems'], 'problem')} ({outcomes}); with a right one: "
        f"{plural(counts['solved'], 'problem')}\ntraces: {Path(options['out']).resolve()}"
    )


def datafree_data(folder: Path, _: Options) -> Any:
    """The scores of teacher and arms."""
    from redistill.tools.datafree import summary

    return summary(folder)


def datafree_text(folder: Path, options: Options) -> str:
    """One line per arm, and where the page is."""
    data, lines = datafree_data(folder, options), []
    if "accuracy" in data["teacher"]:
        teacher = data["teacher"]
        lines.append(f"teacher: {100 * teacher['accuracy']:.1f}% right of {teacher['n']:,} test images")
    for name, arm in data["arms"].items():
        right = f"{100 * arm['accuracy']:.1f}% right, " if "accuracy" in arm else ""
        varied = f", diversity {arm['diversity']:.3f}" if arm["diversity"] is not None else ""
        lines.append(f"{name}: {right}{arm['images']:,} images{varied}")
    return "\n".join([*lines, f"\nreport: {(folder / 'report.html').resolve()}"])


def export_text(folder: Path, _: Options) -> str:
    """The folder, and where its commands are."""
    return f"exported: {folder.resolve()}\nnext steps: {(folder / 'README.md').resolve()}"


def path_text(path: Path, _: Options) -> str:
    """The path that was written."""
    return str(path.resolve())


def path_data(key: str) -> Callable[[Path, Options], dict[str, str]]:
    """The path that was written, under its key."""
    return lambda path, _: {key: str(path.resolve())}
