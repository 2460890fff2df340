"""The run folder as the report reads it: each file checked once, here, and nothing else touches the disk.

    run = RunFiles(Path("runs/demo"))
    run.ledger("select").accounts["pairs"].kept  ->  701
    run.scores["redi", "dev"].pass_at_1.value    ->  0.84

A file that is not there is None or empty (its stage has not run); a file that is there and damaged is an OperatorError
that names it. Keys the report does not know are passed over, so a stage may write more than is shown.
"""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from redistill.config.yaml_text import read_value
from redistill.errors import OperatorError
from redistill.io.atomic import read_json
from redistill.io.parquet import read_records
from redistill.io.stage_folder import check_layout
from redistill.report.shapes import (
    Against,
    Agreement,
    BenchmarkBaselines,
    Comparison,
    Diagnosis,
    Gain,
    LabelAgreements,
    LabelNoise,
    Ledger,
    RunFacts,
    Scores,
    StageLedger,
    Statistics,
    Step,
    TokenChanges,
    TokenWeights,
)
from redistill.report.unscored import why_unscored
from redistill.safety.paths import check_links

_T = TypeVar("_T")


def _check(path: Path, kind: type[_T], value: Any) -> _T:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise OperatorError(
            f"{path} is damaged: {place}: {first['msg']}. Delete it and run its stage again to rebuild it."
        ) from error


# --- the folder -------------------------------------------------------------------------------------------------


class RunFiles:
    """A run folder, read only. OperatorError when there is no such folder."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise OperatorError(f"there is no run folder at {folder}; give the folder that `redistill run` wrote.")
        check_links(folder)
        check_layout(folder)
        self.folder = folder
        self.most_texts = (
            1000  # pairs and answers of each kind at most; page.py lowers it where the page grows too large
        )

    def _json(self, relative: str, kind: type[_T]) -> _T | None:
        path = self.folder / relative
        return _check(path, kind, read_json(path)) if path.exists() else None

    @cached_property
    def facts(self) -> RunFacts:
        return self._json("run.json", RunFacts) or RunFacts(name=self.folder.name)

    @cached_property
    def recipe_text(self) -> str:
        """The resolved recipe as it stands in recipe.yaml; '' where there is none."""
        path = self.folder / "recipe.yaml"
        try:
            return path.read_text("utf-8") if path.exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise OperatorError(f"cannot read {path}: {error}. Restore it from the recipe of the run.") from error

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The resolved recipe as plain data: from recipe.yaml, else from run.json."""
        tree = read_value(self.recipe_text, str(self.folder / "recipe.yaml")) or self.facts.recipe
        return _check(self.folder / "recipe.yaml", dict[str, Any], tree)

    def setting(self, *keys: str) -> Any:
        """A value of the recipe by its path; None where any part of it is missing."""
        place: Any = self.recipe
        for key in keys:
            place = place.get(key) if isinstance(place, dict) else None
        return place

    @cached_property
    def baselines(self) -> dict[str, BenchmarkBaselines]:
        """What a search finds without a student, by benchmark; empty where answers are not queries."""
        table = self._json("retrieval/baselines.json", dict[str, Any]) or {}
        rows = {name: value for name, value in table.items() if isinstance(value, dict)}
        return _check(self.folder / "retrieval/baselines.json", dict[str, BenchmarkBaselines], rows)

    @cached_property
    def gains(self) -> dict[str, list[Gain]]:
        """Scores of queries by who wrote them, by benchmark."""
        table = self._json("retrieval/gains.json", dict[str, Any]) or {}
        rows = {name: value for name, value in table.items() if isinstance(value, list)}
        return _check(self.folder / "retrieval/gains.json", dict[str, list[Gain]], rows)

    @cached_property
    def unscored(self) -> str:
        """Why this run has nothing to score on; "" where it has (report/unscored.py)."""
        return why_unscored(self.folder)

    @property
    def is_toy(self) -> bool:
        """True when the student was built from nothing: its numbers are about the method, not the paper."""
        return bool(self.setting("student", "from_config"))

    @property
    def is_evaluation(self) -> bool:
        """True for a run that only scored a finished student (`redistill evaluate`): no corpus, no stages."""
        return bool(self.recipe) and not self.setting("corpus") and not self.setting("train")

    def ledger(self, stage_dir: str) -> Ledger | None:
        """The ledger of corpus, verify or select; None before that stage has finished."""
        return self._json(f"{stage_dir}/ledger.json", Ledger)

    @cached_property
    def statistics(self) -> Statistics | None:
        """What select wrote of every pairing and of its traces; None before the select stage has finished."""
        return self._json("select/statistics.json", Statistics)

    # --- stages and models

    def _in_order(self, names: set[str]) -> list[str]:
        """base first, then the stages in the recipe's order. What another recipe has left in the folder is not this
        run's and is left out; where no recipe lists stages, all of them by name."""
        stages = self.setting("train")
        planned = ["base", *(stages or sorted(names - {"base"}))]
        return [n for n in planned if n in names]

    @cached_property
    def stages(self) -> list[str]:
        """The stages that have begun, in the recipe's order."""
        names = {
            p.parent.name for name in ("metrics.jsonl", "ledger.json") for p in self.folder.glob(f"train/*/{name}")
        }
        return self._in_order(names)

    @cached_property
    def models(self) -> list[str]:
        """Every model the page names; its place here is its colour on the page."""
        return self._in_order({"base", *self.stages, *(model for model, _ in self.scores)})

    def series(self, model: str) -> int:
        """The colour number of a model."""
        return self.models.index(model) if model in self.models else 0

    def objective(self, stage: str) -> tuple[str, dict[str, Any]]:
        """(name, options) of a stage's objective, from either way a recipe may write it; ('', {}) where unknown."""
        value = self.setting("train", stage, "objective")
        if isinstance(value, dict):
            return str(value.get("name", "")), {**value, **(value.get("options") or {})}
        return str(value or ""), {}

    def draws_own_rows(self, stage: str) -> bool:
        """True for a stage with `rollouts`."""
        return bool(self.setting("train", stage, "rollouts"))

    def stage_ledger(self, stage: str) -> StageLedger | None:
        return self._json(f"train/{stage}/ledger.json", StageLedger)

    def steps(self, stage: str) -> list[Step]:
        """The metrics of a stage in the order of their steps; step 0, where there is one, is a look before the first.

        After a resume the last line of a step counts. A last line without its newline is a write in progress and is
        passed over; any other unreadable line is damage.
        """
        rows = {row.step: row for row in self._lines(stage, "metrics.jsonl")}
        return [rows[step] for step in sorted(rows)]

    def abandoned(self, stage: str) -> list[list[Step]]:
        """The steps that the guard went back behind, an attempt at a time."""
        attempts: dict[int, list[Step]] = {}
        for row in self._lines(stage, "abandoned.jsonl"):
            attempts.setdefault(row.attempt, []).append(row)
        return [sorted(attempts[n], key=lambda row: row.step) for n in sorted(attempts)]

    def _lines(self, stage: str, name: str) -> list[Step]:
        path = self.folder / "train" / stage / name
        if not path.exists():
            return []
        lines = path.read_text("utf-8", "replace").split("\n")[:-1]
        try:
            values = [json.loads(line) for line in lines if line.strip()]
        except ValueError as error:
            raise OperatorError(
                f"{path} is damaged ({error}). Delete the stage's folder and train it again."
            ) from error
        return _check(path, list[Step], values)

    def checksums(self, stage: str) -> dict[str, str]:
        """File -> SHA-256 of the student that a stage left; empty where there is none."""
        return self._json(f"train/{stage}/model/checksums.json", dict[str, str]) or {}

    def token_changes(self, stage: str) -> TokenChanges | None:
        """What a stage did to the tokens of the pairs shown; None where no model was at hand to say."""
        return self._json(f"train/{stage}/token_changes.json", TokenChanges)

    def token_weights(self, stage: str) -> TokenWeights | None:
        """What the critic beside a stage's student says of its last answers; None where there is none."""
        return self._json(f"train/{stage}/token_weights.json", TokenWeights)

    # --- scores

    @cached_property
    def scores(self) -> dict[tuple[str, str], Scores]:
        """(model, benchmark) -> scores."""
        loaded: dict[tuple[str, str], Scores] = {}
        for path in sorted(self.folder.glob("evaluate/*/*/scores.json")):
            loaded[path.parent.parent.name, path.parent.name] = _check(path, Scores, read_json(path))
        return loaded

    def scores_on(self, benchmark: str) -> dict[str, Scores]:
        """Model -> its scores on a benchmark, in the page's order of models."""
        return {model: self.scores[model, benchmark] for model in self.models if (model, benchmark) in self.scores}

    @cached_property
    def benchmarks(self) -> list[str]:
        """The benchmarks that have scores, in the recipe's order."""
        listed = self.setting("evaluate", "benchmarks") or []
        planned = [b.get("name") if isinstance(b, dict) else b for b in listed]
        names = {benchmark for _, benchmark in self.scores}
        return [b for b in planned if b in names] + sorted(names - set(planned))

    @cached_property
    def comparisons(self) -> list[Comparison]:
        return self._json("evaluate/comparisons.json", list[Comparison]) or []

    @cached_property
    def against(self) -> list[Against]:
        """Comparisons with other runs that `redistill compare` has kept here."""
        loaded: list[Against] = []
        for path in sorted(self.folder.glob("compare/*.json")):
            loaded += _check(path, list[Against], read_json(path))
        return loaded

    @cached_property
    def agreements(self) -> list[Agreement]:
        return self._json("regraded/agreement.json", list[Agreement]) or []

    @cached_property
    def regraded(self) -> dict[tuple[str, str, str], Scores]:
        """(verifier, model, benchmark) -> scores by that verifier."""
        scores: dict[tuple[str, str, str], Scores] = {}
        for path in sorted(self.folder.glob("regraded/*/*/*/scores.json")):
            verifier, model, benchmark = path.parts[-4:-1]
            scores[verifier, model, benchmark] = _check(path, Scores, read_json(path))
        return scores

    @cached_property
    def diagnosis(self) -> Diagnosis | None:
        return self._json("evaluate/diagnosis.json", Diagnosis)

    @cached_property
    def label_noise(self) -> LabelNoise | None:
        return self._json("verify/label_noise.json", LabelNoise)

    @cached_property
    def label_agreement(self) -> LabelAgreements | None:
        return self._json("verify/label_agreement.json", LabelAgreements)

    # --- records

    def shards(self, stream: str) -> list[Path]:
        """The Parquet files of a stream such as `verify/groups`."""
        return sorted((self.folder / stream).glob("part-*.parquet"))

    def sample(self, stream: str, *, max_shards: int, max_records: int) -> Iterator[Any]:
        """The first records of a few shards spread evenly over the stream: at most max_records, read one by one."""
        shards = self.shards(stream)
        some = (
            [shards[i * len(shards) // max_shards] for i in range(max_shards)] if len(shards) > max_shards else shards
        )
        for path in some:
            yield from self.records(path, max_records // len(some))

    def records(self, path: Path, most: int) -> Iterator[Any]:
        """The first records of a shard."""
        try:
            for index, record in enumerate(read_records(path)):
                if index >= most:
                    break
                yield record
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise OperatorError(f"{path} is damaged ({error}). Delete it and run its stage again.") from error
