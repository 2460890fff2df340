"""Commands on recipes before they run: recipes, validate (and its schema), init, doctor."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from redistill.api.parameters import (
    SHIPPED,
    Code,
    Overrides,
    Parameter,
    RecipeSource,
    Split,
    check,
    load_code,
    option,
    read_recipe,
)

if TYPE_CHECKING:
    from redistill.tools.doctor import Findings


def recipes() -> dict[str, str]:
    """List the recipes that ship with redistill, one line each.

    `redistill run NAME` runs one, and `redistill datafree NAME` those of image classifiers (cmi-...).

    Returns:
        Name -> what the recipe does, in the first sentence of its own header.

    Examples:
        redistill recipes
        redistill recipes --json
    """
    from redistill.tools.recipes import shipped

    return shipped()


def validate(
    recipe: Annotated[str | Path, Parameter(help=SHIPPED)], *, overrides: Overrides = (), code: Code = ()
) -> list[str]:
    """List every mistake of a recipe at once, or say that it is fine; nothing is read through, fetched or written.

    For a recipe without mistakes it lists what its sources leave out of a sample of the rows: columns, splits, rows with a
    reason. Checked are keys, types, plug-ins and their options, files, stages that name stages, what objectives and modifiers
    need, the student's tokens and context. Exit code 2 where there is a mistake. What lies on the hub is left alone.

    --schema instead of a recipe shows the JSON schema of recipes.

    Returns:
        The mistakes, a sentence each; empty where the recipe is fine.

    Examples:
        redistill validate my.yaml
        redistill validate my.yaml --set train.redi.learning_rate=1e-6 --json
        redistill validate --schema > recipe.schema.json
    """
    load_code(code)
    from redistill.tools.validate import mistakes

    return mistakes(recipe, overrides)


def schema() -> dict[str, Any]:
    """Show the JSON schema of recipes, for editors.

    The recipes that ship begin with `# yaml-language-server: $schema=../docs/recipe.schema.json`.

    Returns:
        The schema.

    Examples:
        redistill validate --schema > recipe.schema.json
    """
    from redistill.tools.schema import recipe_schema

    return recipe_schema()


def init(
    traces: Annotated[str | Path | None, option("--traces", metavar="FILE")] = None,
    model: Annotated[
        str | None, option("--model", help="the student: a folder, hub id, .gguf file or package:NAME", metavar="M")
    ] = None,
    *,
    name: Annotated[str | None, Parameter(metavar="N")] = None,
    out: Annotated[str | Path | None, Parameter(metavar="FILE")] = None,
    split: Split = None,
) -> Path:
    r"""Look at a file of traces and write a commented recipe that runs on it.

    Four questions are asked (the file, the model, the name, where to write the recipe); an argument answers one beforehand.
    The layout is recognised from the first rows: every source is tried, under its own column names and the usual others,
    and what each of them made of the rows is shown. Of a folder with splits the split train is looked at, or the one that
    --split names. No file is overwritten.

    Args:
        traces: a .jsonl, .json, .csv, .parquet, .arrow, .tar or .zip, a folder or a glob
        name: name of the recipe and of its run (default: the file's)
        out: where to write it (default: NAME.yaml)

    Returns:
        The recipe's path.

    Examples:
        redistill init
        redistill init --traces my_traces.jsonl --name mine --out mine.yaml \
              --model HuggingFaceTB/SmolLM2-135M-Instruct
    """
    from redistill.tools.init_answers import init_recipe

    return init_recipe(traces, model, name=name, out=out, split=split).path


def doctor(
    model: Annotated[str | None, Parameter(help="a folder, hub id, .gguf file or package:NAME")] = None,
    *,
    recipe: Annotated[RecipeSource | None, Parameter(metavar="RECIPE")] = None,
    overrides: Overrides = (),
    rows: Annotated[int, Parameter(metavar="N")] = 2,
    code: Code = (),
) -> "Findings":
    r"""Show the rows that training would see, the tokens with loss in colour, and check for common tokenizer mistakes.

    Checked: the chat template keeps the question, the thinking and the answer, and opens the assistant's turn; no space of
    the tokenizer's own before a completion; one opening token; the end token is there, carries loss and is the template's
    own; the prompt's tokens are a prefix of the whole; <think> is opened once; evaluation asks as training taught; the
    context is long enough, or the edit that makes it so. What fails is one sentence each, and exit code 2. Notes are no
    failures: a system message of the template's own, thinking that it deletes from past turns, white space that it trims.

    With --recipe its prompts, lengths and first traces are looked at; MODEL then defaults to the recipe's student. In a pipe
    [...] stands for the colour.

    Args:
        recipe: whose prompts, lengths and data to look at
        rows: rows to show

    Returns:
        The rows and the checks; `.sentences` is empty where all is well.

    Examples:
        redistill doctor Qwen/Qwen2.5-Math-1.5B --recipe qwen2.5-math-1.5b-openr1
        redistill doctor --recipe my.yaml --rows 5
        redistill doctor runs/quickstart/train/redi/model --json
    """
    check(model is not None or recipe is not None, "doctor: name a MODEL, or a recipe with --recipe.")
    check(not overrides or recipe is not None, "doctor: --set changes a recipe; name one with --recipe.")
    from redistill.config.tables import StudentSettings

    tables = read_recipe(recipe, overrides, None, code) if recipe is not None else None
    student = tables.student if tables is not None else StudentSettings(model=model)
    if tables is not None and model is not None:
        student = student.model_copy(update={"model": model, "from_config": None, "alphabet": None})
    from redistill.tools.doctor import examine

    return examine(student, tables, num_rows=max(0, rows))
