"""What several commands share: parameters with their name and help on the command line, declared once, and how a recipe is read.

    def scores(run: RunFolder, *, choose: Choose = (), code: Code = ()) -> dict[str, Any]: ...

A parameter without a `Parameter` takes its name, and its help from the docstring's `Args:`. One that is named here with `--` is an
option of the command line although Python takes it by position too.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from redistill.errors import OperatorError

if TYPE_CHECKING:
    from redistill.config.tables import Recipe

    RecipeSource = str | Path | Mapping[str, Any] | Recipe
    DatafreeSource = str | Path | Mapping[str, Any]
    ScorerEntries = Sequence[str | Mapping[str, Any]]
    Paths = str | Path | Sequence[str | Path]
else:  # what the command line gives
    RecipeSource = DatafreeSource = str
    ScorerEntries = Paths = Sequence[str]


@dataclass(frozen=True)
class Flags:
    """A parameter whose values are flags of the command line, at most one of them given: value -> help."""

    help: Mapping[str, str]


def option(name: str, **more: Any) -> Parameter:
    """An option of the command line under another name than the parameter's."""
    return Parameter(name, **more)


class FirstArgument:
    """Marks an option that may be given as the command's argument too: `init FILE` is `init --traces FILE`."""


def repeated(name: str, help: str, **more: Any) -> Parameter:
    """An option that may be given several times, once a value."""
    return Parameter(name, help=f"{help} (repeatable)", **more)


SHIPPED = "a YAML file or a bundled recipe, such as quickstart"
ANY_SETTING = "any setting of evaluate, prompt, student, verify"
AnyRecipe = Annotated[RecipeSource, Parameter(help=SHIPPED)]
Overrides = Annotated[Sequence[str], repeated("--set", "change one setting", metavar="a.b=value")]
EvaluationOverrides = Annotated[Sequence[str], repeated("--set", ANY_SETTING, metavar="a.b=value")]
Code = Annotated[
    Sequence[str | Path],
    repeated("--code", "import this file, so that FILE:FUNCTION names your own plug-in", metavar="FILE.py"),
]
RunName = Annotated[str | None, Parameter(help="name of the run's folder (default: the recipe's name)")]
RunsDir = Annotated[str | Path, Parameter(help="folder of the run folders", metavar="DIR")]
RunFolder = Annotated[str | Path, Parameter(help="a run's folder, such as runs/quickstart")]
Out = Annotated[str | Path, Parameter(("--out", "-o"), metavar="PATH")]
Workers = Annotated[
    int | None, Parameter(help="worker processes (default: CPU cores); does not change results", metavar="N")
]
OnCodeChange = Annotated[
    Literal["ask", "keep", "remake"],
    Flags(
        {
            "keep": "keep trained students and paid answers although the code has changed",
            "remake": "recompute them if the code has changed",
        }
    ),
]
Model = Annotated[str | Path, Parameter(help="a folder, hub id, .gguf, package:NAME, or a server's model")]
Benchmarks = Annotated[
    Sequence[str], repeated("--benchmark", "a name, file:PATH or {table}", metavar="NAME", required=True)
]
OnlyBenchmarks = Annotated[Sequence[str] | None, repeated("--benchmark", "only this benchmark", metavar="NAME")]
Choose = Annotated[
    Sequence[str], repeated("--choose", "also score a way to choose one of a problem's samples", metavar="NAME")
]
Temperature = Annotated[float | None, Parameter(help="0 is greedy (default: 0.6)", metavar="T")]
MaxNewTokens = Annotated[int | None, Parameter(help="of an answer (default: 512)", metavar="N")]
Template = Annotated[
    str | None,
    Parameter(help="plain (default), paper, json, answer-tag, hashes, bare, or text with {problem}", metavar="NAME"),
]
Prefill = Annotated[str | None, Parameter(help="text that every answer begins with, such as '<think>'", metavar="TEXT")]
Chat = Annotated[
    bool | None,
    Parameter(negative="--no-chat", help="use the model's chat template or not (default: if it has one)"),
]
Engine = Annotated[
    str | None,
    Parameter(
        help="transformers (default, in this process), openai (a server) or guided (a search by a critic)",
        metavar="NAME",
    ),
]
BaseUrl = Annotated[str | None, Parameter(help="of the server, such as http://127.0.0.1:8000/v1", metavar="URL")]
FewShot = Annotated[
    str | None,
    Parameter(help="few-shot examples before each problem, 5:train (of a split) or 5:FILE", metavar="N:FROM"),
]
Split = Annotated[str | None, Parameter(help="the split of a folder to read (default: train)", metavar="S")]


def numbers(_: Any, tokens: Sequence[Any]) -> list[float]:
    """Numbers parted by commas: "1e-4,3e-4" -> [0.0001, 0.0003]."""
    try:
        return [float(part) for token in tokens for part in token.value.split(",")]
    except ValueError as error:
        raise ValueError(f"{tokens[0].value!r} is not numbers parted by commas, such as 1e-4,3e-4") from error


def two_names(_: Any, tokens: Sequence[Any]) -> tuple[str | None, str | None]:
    """ "redi:control" -> ("redi", "control"); "redi" -> ("redi", "redi")."""
    first, _, second = tokens[0].value.partition(":")
    return first or None, second or first or None


def check(fine: bool, sentence: str) -> None:
    """OperatorError with the sentence where a value cannot be."""
    if not fine:
        raise OperatorError(sentence)


def check_counts(command: str, least: int = 1, **counts: int | None) -> None:
    """OperatorError that names the option where a count that was given is below `least`."""
    for name, value in counts.items():
        option_name = f"--{name.replace('_', '-')}"
        check(value is None or value >= least, f"{command}: {option_name} must be {least} or more, and is {value}.")


def optional_path(path: str | Path | None) -> Path | None:
    """A path where one was given."""
    return None if path is None else Path(path)


def here(path: str | Path, *, weights: bool = False) -> Path:
    """The path; of an address in object storage what lies there, fetched. weights: with those of a run's students."""
    from redistill.io.stores import is_address

    if is_address(path):
        from redistill.io.remote_runs import copy_of

        return copy_of(path, weights=weights)
    return Path(path)


def model_here(model: str | Path) -> str:
    """A model as it was named; of an address in object storage the folder into which it was fetched."""
    from redistill.io.stores import is_address

    return str(here(model)) if is_address(model) else str(model)


def load_code(code: Sequence[str | Path]) -> None:
    """Import the user's files."""
    if code:
        from redistill.config.user_plugins import load_code as load

        for file in code:
            load(file)


def file_of(recipe: RecipeSource) -> str:
    """The file a recipe was read from; "" where it came as data."""
    from redistill.config.yaml_text import recipe_path

    return str(recipe_path(recipe).resolve()) if isinstance(recipe, str | Path) else ""


def read_recipe(
    recipe: RecipeSource, overrides: Sequence[str] = (), name: str | None = None, code: Sequence[str | Path] = ()
) -> "Recipe":
    """The recipe, whatever it was given as, with overrides applied."""
    load_code(code)
    from redistill.config.parsing import load_recipe, parse_recipe
    from redistill.config.tables import Recipe
    from redistill.config.yaml_text import apply_override

    if isinstance(recipe, str | Path):
        return load_recipe(recipe, overrides, name)
    tree: dict[str, Any] = recipe.model_dump(mode="json") if isinstance(recipe, Recipe) else copy.deepcopy(dict(recipe))
    for override in overrides:
        apply_override(tree, override)
    if name is not None:
        tree["name"] = name
    return parse_recipe(tree, "recipe")


def rewrite_report(run: Path) -> None:
    """The run's page again, where there is one."""
    if (run / "report.html").exists():
        from redistill.report import write_report

        write_report(run)


Numbers = Callable[[Any, Sequence[Any]], list[float]]
