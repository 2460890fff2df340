"""A run's scores as one table, from its files.

score_table(Path("runs/quickstart"))["comparisons"][0]["sentence"]
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.errors import OperatorError


def score_table(folder: Path, choose: Sequence[str] = ()) -> dict[str, Any]:
    """Scores and comparisons of a run, from its files; an OperatorError where there are none. Of a sweep's folder what its
    sweep.json holds, and its table as `text`.

    choose: ways to choose among the stored samples, names or tables as in a recipe, scored beside those of the recipe. Where the recipe names nothing to score on, there are none either, and `unscored` says why and what to write."""
    from redistill.io.atomic import read_json, read_yaml
    from redistill.io.stage_folder import check_layout
    from redistill.report.unscored import why_unscored
    from redistill.safety.paths import check_links

    if (folder / "sweep.json").exists() and not choose:
        sweep = read_json(folder / "sweep.json")
        table = folder / "table.md"
        return {
            **sweep,
            "text": table.read_text("utf-8") if table.exists() else f"{table} is not there; run the sweep again.",
        }
    if runs := runs_in(folder):
        raise OperatorError(f"{folder} is a folder of runs and none itself; name one: {runs}.")
    if not (folder / "recipe.yaml").exists():
        raise OperatorError(
            f"{folder} is not a run's folder (it has no recipe.yaml); give one such as runs/quickstart."
        )
    check_links(folder)
    check_layout(folder)
    files = sorted(folder.glob("evaluate/*/*/scores.json"))
    train = read_yaml(folder / "recipe.yaml").get("train")
    stages = ["base", *train] if train else [p.parent.parent.name for p in files]
    sweep = [p for p in files if p.parent.parent.name in stages]
    files = sorted(sweep, key=lambda p: (p.parent.name, stages.index(p.parent.parent.name)))
    if not files and (why := why_unscored(folder)):
        return {"run": str(folder), "scores": [], "comparisons": [], "unscored": why}
    if not files:
        raise OperatorError(f"{folder} holds no scores; run its recipe to the stage `evaluate`.")
    scores = [_scores(path, _bound(choose)) for path in files]
    comparisons = folder / "evaluate" / "comparisons.json"
    return {"run": str(folder), "scores": scores, "comparisons": read_json(comparisons) if comparisons.exists() else []}


def runs_in(folder: Path) -> str:
    """The runs of a folder that is none itself, as words for a sentence; "" where it is a run, or holds none."""
    if (folder / "recipe.yaml").exists() or (folder / "run.json").exists() or not folder.is_dir():
        return ""
    runs = [p.name for p in sorted(folder.iterdir()) if (p / "recipe.yaml").exists() or (p / "sweep.json").exists()]
    if not runs:
        return ""
    more = f" and {len(runs) - 6} more" if len(runs) > 6 else ""
    return ", ".join(str(folder / name) for name in runs[:6]) + more


def _bound(choose: Sequence[str]) -> dict[str, Any]:
    """The choices with their options bound. Imported here: `scores` of a run answers at once, and so does --help."""
    if not choose:
        return {}
    from redistill.config.parsing import read_plugin
    from redistill.evaluate.choose import bind_choices

    return bind_choices([read_plugin(text, f"choose {text!r}") for text in choose], "choose")


def _scores(path: Path, choices: Mapping[str, Any]) -> dict[str, Any]:
    """What a scores.json says of the whole benchmark, with the choices that are asked for now."""
    from redistill.io.atomic import read_json

    scores = read_json(path)
    scores.get("steps", {}).pop("per_solution", None)
    if choices:
        from redistill.evaluate.scores import score_choices
        from redistill.pipeline.choosing import with_scores

        chosen_scores = score_choices(with_scores(path.parent), n=scores["num_samples"], choices=choices)
        scores["choose"] = {**scores.get("choose", {}), **chosen_scores["choose"]}
    return {
        key: value
        for key, value in scores.items()
        if key not in ("per_problem", "per_problem_choose", "per_problem_self_correction")
    }
