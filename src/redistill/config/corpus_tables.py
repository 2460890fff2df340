"""Tables of a recipe about problems: where traces come from, what is held out, and what students are scored on.

corpus: {sources: [{name: traces, path: my_traces.jsonl.gz}], dev_problems: 200}
evaluate: {benchmarks: [dev, math-500]}
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, model_validator

from redistill.config.model_tables import ImageSettings, Revision
from redistill.config.plugin_tables import Plugin, Seed, Settings
from redistill.safety.paths import FOLDER_NAME

_FOLDER_NAME = f"^{FOLDER_NAME.pattern}$"  # what becomes a folder of the run

STEP_BENCHMARKS = ("processbench", "prmbench", "bigbench-mistake")  # names of benchmarks of labelled steps


class FewShotSettings(Settings):
    """Worked examples before each problem, from a split of the same benchmark or a file; never one of the scored problems."""

    count: int = Field(gt=0)
    split: str | None = None  # of a benchmark of the registry
    file: str | None = None
    problem_column: str | None = None  # default: the benchmark's
    answer_column: str | None = None  # what is shown as the answer, such as a column of worked solutions
    seed: Seed = 0  # which of them, and in which order


class BenchmarkSettings(Settings):
    """Problems to score on: `dev` (the held-out problems of the corpus), a benchmark of the registry by its name, or a
    file with problem and answer columns."""

    name: str = Field("dev", pattern=_FOLDER_NAME)
    file: str | None = None  # or a folder that holds the file of a benchmark of the registry
    benchmark: str | None = None  # only rows whose `benchmark` column has this value
    problem_column: str | None = None
    answer_column: str | None = None
    revision: Revision | None = None  # of the hub; default: the one that the registry pins
    max_problems: int | None = Field(None, gt=0)
    template: str | None = None  # instead of the template that prompt names for evaluation
    verifier: Plugin | None = None  # instead of evaluate.verifier
    # steps: labelled steps, of which a critic is to find the wrong ones; choices: the likeliest of given options; default: by the name
    kind: Literal["answers", "steps", "choices"] | None = None
    choices_column: str | None = None  # of kind choices; default: `choices`, `options` or `endings`
    few_shot: FewShotSettings | None = None  # worked examples before each problem
    layout: str = "auto"  # of labelled steps

    @property
    def asks_steps(self) -> bool:
        """True where each step of a solution is judged."""
        return self.kind == "steps" or (self.kind is None and self.name in STEP_BENCHMARKS)

    @property
    def has_step_labels(self) -> bool:
        """True where whole solutions with labelled steps are there to be read, as a critic with a score head needs them."""
        return self.asks_steps and not self.is_held_out

    @property
    def is_held_out(self) -> bool:
        """True for the held-out problems of the corpus, which are not a file."""
        return self.name == "dev" and self.file is None


class DecontaminateSettings(Settings):
    """Problems that may not stay in the corpus: those of evaluate.benchmarks, and of any further files."""

    benchmarks: bool = True
    files: list[str | BenchmarkSettings] = Field(default_factory=list)
    leaks: Literal["remove", "report"] = "remove"
    ngram: int = Field(5, ge=2, le=50)  # tokens of a run
    threshold: float = Field(0.6, gt=0, le=1)  # share of a benchmark problem's runs, by weight


class CorpusSettings(Settings):
    """Where traces come from. `dev_fraction` of the problems, or `dev_problems` of them, chosen by id and `split_seed`, are never
    trained on."""

    sources: list[Plugin] = Field(min_length=1)
    max_problems: int | None = Field(None, gt=0)
    max_chars: int = Field(
        1_000_000, gt=0
    )  # of a statement or a trace; longer ones are dropped: this bounds the memory of all stages
    dev_fraction: float = Field(0.05, ge=0, lt=1)
    dev_problems: int | None = Field(None, gt=0)  # exactly so many instead of a share
    # exact: its share of the problems with a gold answer, to the problem; hash: about the share, each problem by its id alone;
    # default: exact, and hash where a recipe writes dev_fraction, as before
    split: Literal["exact", "hash"] = "exact"
    # not that of training: seeds of training are compared on the same problems; `seed`: that of training all the same
    split_seed: Annotated[Seed, WithJsonSchema({"anyOf": [{"type": "integer"}, {"const": "seed"}], "default": 0})] = 0
    # question: problems about steps of one question (source step-judgements) are held out together
    split_by: Literal["problem", "question"] = "problem"
    shards: int | None = Field(None, gt=0, le=100_000)
    near_duplicates: Literal["merge", "report", "off"] = "report"  # problems stated again in other words
    near_threshold: float = Field(0.8, gt=0, le=1)
    decontaminate: DecontaminateSettings = DecontaminateSettings()
    images: ImageSettings = ImageSettings()

    @property
    def holds_out(self) -> bool:
        """True where any problem is to be held out."""
        return self.dev_problems is not None or self.dev_fraction > 0

    @model_validator(mode="before")
    @classmethod
    def _one_way_to_split(cls, value: Any) -> Any:
        """A written dev_fraction is split as before it could be exact, unless `split` says otherwise; dev_problems takes its place."""
        if not isinstance(value, Mapping):
            return value
        if value.get("dev_problems") is not None:
            if value.get("dev_fraction"):
                raise ValueError("write one of dev_problems and dev_fraction")
            return {**value, "dev_fraction": 0, "split": "exact"}
        return {"split": "hash", **value} if "dev_fraction" in value else value
