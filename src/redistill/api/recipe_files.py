"""Commands on recipes before they run: recipes, validate (and its schema), init, doctor."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from redistill.api.parameters import (
    SHIPPED,
    Code,
    FirstArgument,
    Overrides,
    Parameter,
    RecipeSource,
    Split,
    check,
    check_counts,
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
    """List all mistakes in a recipe at once; no data is read in full, downloaded or written.

    It checks keys, types, plug-ins and their options, files, references between stages, what objectives and modifiers
    need, and the student's tokens and context. For a recipe without mistakes it also lists what its sources skip in a
    sample of the rows: columns, splits, rows with a reason. The exit code is 2 if there is a mistake. Files on the
    Hub are not checked.

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
    traces: Annotated[str | Path | None, option("--traces", metavar="FILE"), FirstArgument] = None,
    model: Annotated[
        str | None, option("--model", help="the student: a folder, hub id, .gguf file or package:NAME", metavar="M")
    ] = None,
    *,
    name: Annotated[str | None, Parameter(metavar="N")] = None,
    out: Annotated[str | Path | None, Parameter(metavar="FILE")] = None,
    split: Split = None,
) -> Path:
    r"""Look at a file of traces and write a commented recipe that runs on it.

    It asks four questions (the file, the model, the name, where to write the recipe); an argument answers one
    beforehand. The layout is recognised from the first rows: every source is tried, with its own and other common
    column names, and the result of each is shown. In a folder with splits it looks at the split train, or the one
    that --split names. No file is overwritten.

    Args:
        traces: a .jsonl, .json, .csv, .parquet, .arrow, .tar or .zip, a folder or a glob
        name: name of the recipe and of its run (default: the file's)
        out: where to write it (default: NAME.yaml)

    Returns:
        The recipe's path.

    Examples:
        redistill init
        redistill init my_traces.jsonl --name mine --out mine.yaml \
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
    r"""Show the rows that training would see, with tokens with a loss in colour, and check for common tokenizer
    mistakes.

    It checks that the chat template keeps the question, the thinking and the answer, and opens the assistant's turn;
    that the tokenizer adds no space before a completion and one opening token; that the end token is present, has a
    loss and is the template's own; that the prompt's tokens are a prefix of the row; that <think> is opened once;
    that evaluation uses the prompt of training; and that the context is long enough, perhaps after an edit. Each
    failure is one message, and the exit code is 2. Notes are not failures: a system message added by the template,
    thinking that it deletes from past turns, white space that it trims.

    With --recipe, doctor uses the recipe's prompts, lengths and first traces, and MODEL defaults to the recipe's
    student. In a pipe, [...] replaces the colour.

    Args:
        recipe: use this recipe's prompts, lengths and data
        rows: rows to show

    Returns:
        The rows and the checks; `.sentences` is empty where all is well.

    Examples:
        redistill doctor Qwen/Qwen2.5-Math-1.5B --recipe qwen2.5-math-1.5b-openr1
        redistill doctor --recipe my.yaml --rows 5
        redistill doctor runs/quickstart/train/redi/model --json
    """
    check_counts("doctor", least=0, rows=rows)
    check(model is not None or recipe is not None, "doctor: give a MODEL, or a recipe with --recipe.")
    check(not overrides or recipe is not None, "doctor: --set changes a recipe; give one with --recipe.")
    from redistill.config.tables import StudentSettings

    tables = read_recipe(recipe, overrides, None, code) if recipe is not None else None
    student = tables.student if tables is not None else StudentSettings(model=model)
    if tables is not None and model is not None:
        student = student.model_copy(update={"model": model, "from_config": None, "alphabet": None})
    from redistill.tools.doctor import examine

    return examine(student, tables, num_rows=rows)
