"""The reference pages that are written from the code: docs/reference/, docs/recipe.schema.json, and the defaults in docs/recipes.md.

    python docs/generate.py            write them
    python docs/generate.py --check    exit 1 and name those that are not what this would write

Names, types, defaults and docstrings come from the code, so a page cannot say what the code does not. In docs/recipes.md the
meanings are written by hand, and only the cells of defaults are set from the code.
"""

import argparse
import ast
import functools
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docstring_parser
import yaml
from cyclopts import Group, Parameter
from cyclopts.help import HelpEntry, create_parameter_help_panel

from redistill import api, records
from redistill.api import parameters
from redistill.cli import COMMANDS
from redistill.cli.generate import docstring, make_app
from redistill.cli.help_format import with_notes
from redistill.config import tables
from redistill.config.binding import options_of
from redistill.tools.schema import recipe_schema

DOCS = Path(__file__).parent
WRITTEN = "<!-- written by docs/generate.py; change the code, not this page -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page is not up to date")
    check = parser.parse_args().check
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        print(f"{'not up to date' if check else 'written'}: {path.relative_to(DOCS.parent)}")
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(pages()[path], "utf-8")
    sys.exit(1 if stale and check else 0)


def pages() -> dict[Path, str]:
    """Every page that the code decides, with its text."""
    recipes = DOCS / "recipes.md"
    return {
        DOCS / "reference" / "commands.md": commands_page(),
        DOCS / "reference" / "python.md": python_page(),
        DOCS / "reference" / "records.md": records_page(),
        DOCS / "reference" / "modules.md": modules_page(),
        DOCS / "recipe.schema.json": json.dumps(recipe_schema(), indent=1) + "\n",
        recipes: with_defaults(recipes.read_text("utf-8")),
    }


# --- modules --------------------------------------------------------------------------------------------------------


def modules_page() -> str:
    """Every module of the package by folder, with the first sentence of its docstring."""
    root = Path(records.__file__).parent
    parts = [WRITTEN, "# Modules", "Every file of `src/redistill/`, and what it is for."]
    folders = sorted({path.parent for path in root.rglob("*.py")}, key=lambda folder: str(folder.relative_to(root)))
    for folder in folders:
        name = folder.relative_to(root).as_posix()
        init = folder / "__init__.py"
        parts.append(f"## {'redistill' if name == '.' else name}")
        if init.exists() and name != ".":
            parts.append(_first_sentence(init))
        rows = [
            (f"`{path.name}`", _first_sentence(path))
            for path in sorted(folder.glob("*.py"))
            if path.name != "__init__.py"
        ]
        if rows:
            parts.append(_table(("file", "what it is for"), rows))
    return "\n\n".join(parts) + "\n"


def _first_sentence(path: Path) -> str:
    """The first paragraph of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return _escaped(" ".join(text.split("\n\n")[0].split()))


# --- commands -------------------------------------------------------------------------------------------------------


def commands_page() -> str:
    """Every command: what `--help` says, its arguments and options as a table."""
    parts = [
        WRITTEN,
        "# Commands",
        "`redistill COMMAND --help` prints the same. Exit codes: 0 for success, 2 for an error that the printed message explains, 130 when stopped by Ctrl-C, 143 by SIGTERM, 129 by a terminal that closed. `--json` prints the result as JSON.\n"
        "Every command takes `--log-level error|warning|info|debug`: what is printed on stderr; `error` hides progress, `info` and `debug` add the logs of the libraries, `debug` also the traceback of an error.\n"
        "Every command is a [function](python.md) too. `redistill --install-completion` [completes](../install.md#completion) commands, options and choices in your shell.",
    ]
    app = make_app(COMMANDS, "")
    for name, command in COMMANDS.items():
        made = app
        for word in name.split():
            made = made[word]
        text = docstring(command.function)
        collection = made.assemble_argument_collection(parse_docstring=True)
        entries = create_parameter_help_panel(Group("all"), collection, "plaintext").entries
        rows = [(f"`{', '.join(one.display_labels_with_metavar)}`", _meaning(one)) for one in entries]
        parts += [f"## redistill {name}", _escaped(text[""])]
        parts += [_table(("argument", "meaning"), [row for row in rows if not row[0].startswith("`--log-level")])]
        parts += [f"```text\n{text['Examples']}\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _meaning(entry: HelpEntry) -> str:
    """What an argument or option means, as --help says it."""
    help = getattr(entry.description, "primary_renderable", "")
    return _escaped(with_notes(entry, " ".join(str(help).split())))


# --- functions ------------------------------------------------------------------------------------------------------


def python_page() -> str:
    """Every function of redistill.api: its signature, and its docstring with the parameters as a list."""
    parts = [WRITTEN, "# From Python: redistill.api", _escaped((inspect.getdoc(api) or "").split("\n\n", 2)[-1])]
    for name in api.__all__:
        function = getattr(api, name)
        text = docstring(function)
        parts += [f"## {name}", f"```text\n{_signature(function)}\n```", _escaped(text[""])]
        meanings = {one.arg_name: one.description for one in docstring_parser.parse(inspect.getdoc(function)).params}
        bullets = []
        for parameter, hint in inspect.get_annotations(function).items():
            shared = next((one.help for one in getattr(hint, "__metadata__", ()) if isinstance(one, Parameter)), None)
            if help := meanings.get(parameter) or shared:
                bullets.append(f"- `{parameter}`: {_escaped(' '.join(help.split()))}")
        parts += ["\n".join(bullets)] if bullets else []
        if "Returns" in text:
            parts.append(f"Returns: {_escaped(' '.join(text['Returns'].split()))}")
    return "\n\n".join(parts) + "\n"


def _signature(function: Callable[..., Any]) -> str:
    """The head of the function as it stands in its file, without what belongs to the command line."""
    tree = ast.parse(inspect.getsource(function)).body[0]
    assert isinstance(tree, ast.FunctionDef)
    lines, star = [], False
    defaults = [None] * (len(tree.args.args) - len(tree.args.defaults)) + list(tree.args.defaults)
    aliases = _aliases()
    both = [*zip(tree.args.args, defaults), *zip(tree.args.kwonlyargs, tree.args.kw_defaults)]
    for parameter, default in both:
        if parameter in tree.args.kwonlyargs and not star:
            lines, star = [*lines, "*"], True
        hint = parameter.annotation
        if (
            isinstance(hint, ast.Subscript)
            and ast.unparse(hint.value) == "Annotated"
            and isinstance(hint.slice, ast.Tuple)
        ):
            hint = hint.slice.elts[0]
        kind = aliases.get(ast.unparse(hint), ast.unparse(hint)) if hint is not None else ""
        lines.append(f"{parameter.arg}: {kind}" + ("" if default is None else f" = {ast.unparse(default)}"))
    inner = "".join(f"    {line},\n" for line in lines)
    returns = ast.unparse(tree.returns).strip("'") if tree.returns is not None else "None"
    return f"def {function.__name__}({chr(10) if inner else ''}{inner}) -> {returns}"


@functools.cache
def _aliases() -> dict[str, str]:
    """The types of api/parameters.py in plain words of Python: alias -> what a type checker sees."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(inspect.getsource(parameters))):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            hint = node.value
            if (
                isinstance(hint, ast.Subscript)
                and ast.unparse(hint.value) == "Annotated"
                and isinstance(hint.slice, ast.Tuple)
            ):
                text = ast.unparse(hint.slice.elts[0])
                found[node.targets[0].id] = found.get(text, text)
            elif isinstance(hint, ast.BinOp | ast.Subscript):
                found[node.targets[0].id] = ast.unparse(hint)
    return found


# --- records --------------------------------------------------------------------------------------------------------


def records_page() -> str:
    """Every record of records.py with its fields, and the outcomes."""
    source = inspect.getsource(records)
    lines = source.splitlines()
    parts = [
        WRITTEN,
        "# Records",
        "What the files of a run hold (Parquet columns are the fields) and what plug-ins are given: frozen dataclasses of `redistill.records`. Who makes "
        "and who reads each: [the architecture](../architecture.md#what-flows). One of them, readably: `redistill show FILE N`.",
    ]
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef):
            continue
        parts += [f"## {node.name}", _escaped(ast.get_docstring(node) or "")]
        rows = []
        for inner in node.body:
            note = lines[inner.lineno - 1].partition("  # ")[2]
            if isinstance(inner, ast.AnnAssign):
                default = ast.unparse(inner.value) if inner.value is not None else "required"
                default = {"field(default_factory=dict)": "{}", "''": "empty"}.get(default, default)
                rows.append((f"`{ast.unparse(inner.target)}`", f"`{ast.unparse(inner.annotation)}`", default, note))
            elif isinstance(inner, ast.Assign):
                rows.append((f"`{ast.unparse(inner.targets[0])}`", "outcome", "", note))
        if any(row[1] == "outcome" for row in rows):
            parts.append(_table(("outcome", "meaning"), [(row[0], _escaped(row[3])) for row in rows]))
        elif rows:
            parts.append(_table(("field", "type", "default"), [(a, b.replace("|", "\\|"), c) for a, b, c, _ in rows]))
    return "\n\n".join(parts) + "\n"


# --- defaults in recipes.md -----------------------------------------------------------------------------------------

TABLES: dict[str, type[tables.Settings]] = {  # heading, or the line above a second table -> the settings it lists
    "## The top": tables.Recipe,
    "## student": tables.StudentSettings,
    "## prompt": tables.PromptSettings,
    "## corpus": tables.CorpusSettings,
    "`decontaminate`": tables.DecontaminateSettings,
    "## verify": tables.VerifySettings,
    "## select": tables.SelectSettings,
    "## execution": tables.ExecutionSettings,
    "## train.STAGE": tables.StageSettings,
    "A stage's `guard`": tables.GuardSettings,
    "## evaluate": tables.EvaluateSettings,
    "An entry of `benchmarks`": tables.BenchmarkSettings,
    "## report": tables.ReportSettings,
    "## card": tables.CardSettings,
}
PLUG_INS = {  # heading -> where the functions are
    "### Sources": ("redistill.corpus", "SOURCES"),
    "### Judges": ("redistill.verify", "JUDGES"),
    "### Filters": ("redistill.select", "FILTERS"),
    "### Pairings": ("redistill.select", "PAIRINGS"),
    "### Objectives": ("redistill.train", "OBJECTIVES"),
    "### Modifiers": ("redistill.train", "MODIFIERS"),
    "### Engines": ("redistill.rollout", "ENGINES"),
}


def with_defaults(page: str) -> str:
    """The page with every default that is a plain value as the code has it; words for `none` and the like stay."""
    known: Mapping[str, Any] | Callable[[str], Mapping[str, Any]] = {}
    columns: list[str] = []
    plug_in, done = "", []
    for line in page.split("\n"):
        for opening, model in TABLES.items():
            if line.startswith(opening):
                known = {name: _plain_default(field) for name, field in model.model_fields.items()}
        if line.startswith("###") or (line.startswith("## ") and line not in TABLES):
            known, place = {}, PLUG_INS.get(line)
            if place:
                known = _options_of_table(getattr(importlib.import_module(place[0]), place[1]))
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] if line.startswith("|") else []
        if not cells:
            columns = []
        elif not columns:
            columns = cells
        elif "default" in columns and not set(cells[0]) <= {"-"}:
            names = re.findall(r"`([\w-]+)`", cells[columns.index("option")] if "option" in columns else cells[0])
            if callable(known):
                plug_in = (re.findall(r"`([\w-]+)`", cells[0]) or [plug_in])[0]
                found = known(plug_in)
            else:
                found = known
            place_ = columns.index("default")
            new = _cell(cells[place_], [found.get(name, ...) for name in names])
            if new != cells[place_]:
                cells[place_] = new
                line = "| " + " | ".join(cells) + " |"
        done.append(line)
    return "\n".join(done)


def _options_of_table(table: Mapping[str, Callable[..., Any]]) -> Callable[[str], Mapping[str, Any]]:
    def options(name: str) -> dict[str, Any]:
        if name not in table:
            return {}
        found = options_of(table[name]).items()
        return {key: ... if p.default is p.empty else p.default for key, p in found}

    return options


def _plain_default(field: Any) -> Any:
    """A field's default where it is a plain value, else ...: required, a table, or made by a function."""
    return field.default if isinstance(field.default, bool | int | float | str) else ...


def _cell(cell: str, defaults: list[Any]) -> str:
    """The cell, or what the code says where it says something else. Several settings in a row: their defaults by commas."""
    words = cell.split(", ") if len(defaults) > 1 else [cell]
    if not defaults or len(words) != len(defaults):
        return cell
    return ", ".join(_word(word, default) for word, default in zip(words, defaults))


def _word(word: str, default: Any) -> str:
    if not isinstance(default, bool | int | float | str) or default == "" or word.startswith(f"`{default}`"):
        return word
    try:
        said = yaml.safe_load(re.sub(r"^(\d+)e", r"\1.0e", word.strip("`").replace(",", "")))
    except yaml.YAMLError:
        said = None
    if said == default and isinstance(said, bool) == isinstance(default, bool):
        return word
    return (
        f"`{default}`"
        if isinstance(default, str)
        else str(default).lower()
        if isinstance(default, bool)
        else f"{default}"
    )


# --- small helpers --------------------------------------------------------------------------------------------------


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join(
        ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows)]
    )


def _escaped(text: str) -> str:
    """Plain text in Markdown: no tags, no accidental tables, no emphasis by *; what stands in backticks stays."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("*", "\\*") for part in parts[::2]]
    return "`".join(parts).replace("|", "\\|")


if __name__ == "__main__":
    main()
