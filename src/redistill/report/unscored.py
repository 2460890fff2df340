"""Why a run has no scores and will get none as it is written: its recipe names no problems to score on.

    why_unscored(Path("runs/x"))  ->  "nothing could be scored, because no problem has a gold answer; to get scores, write ..."

A run that names benchmarks and has not come to them is another matter: there is nothing to say of it.
"""

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from redistill.io.atomic import read_yaml

_ADVICE = (
    "to get scores, write a file with the columns problem and answer and name it in the recipe (evaluate.benchmarks: [{name: mine, "
    "file: my_problems.jsonl}]) or in `redistill evaluate RUN/train/STAGE/model --benchmark file:my_problems.jsonl`"
)


def why_unscored(folder: Path) -> str:
    """One sentence on why a run has nothing to score on and what to write; "" where its recipe names benchmarks.

    OperatorError where its recipe cannot be read."""
    path = folder / "recipe.yaml"
    recipe = read_yaml(path) if path.exists() else {}
    asked = recipe.get("evaluate") if isinstance(recipe, dict) else None
    if not isinstance(asked, dict) or asked.get("benchmarks") != []:
        return ""
    if _has_gold_answers(folder):
        return (
            f"nothing was scored, because evaluate.benchmarks is empty; {_ADVICE}, or hold some of the problems out "
            "(corpus.dev_fraction: 0.05, evaluate.benchmarks: [dev])."
        )
    return f"nothing could be scored, because no problem has a gold answer; {_ADVICE}."


def _has_gold_answers(folder: Path) -> bool:
    """True where a problem of the corpus has one; only that column is read."""
    for path in sorted((folder / "corpus" / "groups").glob("*.parquet")):
        problems = pq.ParquetFile(path).read(columns=["problem.answer"])["problem"].combine_chunks()
        if len(problems) and pc.any(pc.is_valid(pc.struct_field(problems, "answer"))).as_py():
            return True
    return False
