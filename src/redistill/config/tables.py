"""Recipes: YAML in, typed settings out, and every mistake one sentence that says where and what to write instead.

    student: {model: HuggingFaceTB/SmolLM2-135M-Instruct}
    corpus: {sources: [{name: traces, path: my_traces.jsonl.gz}]}
    train:
      sft: {objective: sft, start: base, learning_rate: 2e-5, epochs: 3}
      redi: {objective: {name: redi, rejected_weight: 0.8}, start: sft, learning_rate: 1e-6}

Plug-ins stand in plugin_tables.py. Floats may be written 1e-6, which YAML itself would read as text.
"""

import itertools
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from redistill.config.corpus_tables import STEP_BENCHMARKS as STEP_BENCHMARKS
from redistill.config.corpus_tables import BenchmarkSettings as BenchmarkSettings
from redistill.config.corpus_tables import CorpusSettings as CorpusSettings
from redistill.config.corpus_tables import DecontaminateSettings as DecontaminateSettings
from redistill.config.model_tables import AnyTeacher as AnyTeacher
from redistill.config.model_tables import ImageSettings as ImageSettings
from redistill.config.model_tables import Revision as Revision
from redistill.config.model_tables import SelfTeacher as SelfTeacher
from redistill.config.model_tables import ServerTeacher as ServerTeacher
from redistill.config.model_tables import StudentSettings as StudentSettings
from redistill.config.model_tables import TeachersBySource as TeachersBySource
from redistill.config.plugin_tables import PARTS as PARTS
from redistill.config.plugin_tables import STAGES as STAGES
from redistill.config.plugin_tables import ExtraStage as ExtraStage
from redistill.config.plugin_tables import FilterSettings as FilterSettings
from redistill.config.plugin_tables import Part as Part
from redistill.config.plugin_tables import Plugin as Plugin
from redistill.config.plugin_tables import RewardSettings as RewardSettings
from redistill.config.plugin_tables import ScorerSettings as ScorerSettings
from redistill.config.plugin_tables import Seed as Seed
from redistill.config.plugin_tables import Settings as Settings
from redistill.config.rollout_tables import JointCriticSettings as JointCriticSettings
from redistill.config.rollout_tables import RolloutSettings as RolloutSettings
from redistill.config.segment_tables import CueName as CueName
from redistill.config.segment_tables import SelfCorrectionSettings as SelfCorrectionSettings
from redistill.config.user_plugins import is_own
from redistill.config.validation_messages import did_you_mean
from redistill.safety.paths import FOLDER_NAME
from redistill.text.judgements import VERDICT_LINE

_FOLDER_NAME = f"^{FOLDER_NAME.pattern}$"  # what becomes a folder of the run


class PromptText(Settings):
    """How a problem becomes a prompt: a template's name, or text with {problem}, wrapped in the chat template or not."""

    template: str = "plain"
    chat: bool = False  # wrap it in the tokenizer's chat template

    @property
    def for_evaluation(self) -> "PromptText":
        """The prompt of students that are scored."""
        return self


class PromptOfUse(Settings):
    """The prompt of one use; what is left out is as in `prompt` itself."""

    template: str | None = None
    chat: bool | None = None


class PromptSettings(PromptText):
    """How a problem becomes a prompt: the same in training and in evaluation, unless `train` or `evaluate` say otherwise."""

    train: PromptOfUse | None = None  # of the rows that students learn from
    evaluate: PromptOfUse | None = None  # of benchmarks, dev and the guard's probe

    @property
    def for_training(self) -> PromptText:
        """The prompt of examples and pairs."""
        return self._of(self.train)

    @property
    def for_evaluation(self) -> PromptText:
        """The prompt of students that are scored or probed."""
        return self._of(self.evaluate)

    def place(self, use: Literal["train", "evaluate"], key: str) -> str:
        """Where a recipe writes this setting of a use: `prompt.train.template` where that names it, else `prompt.template`."""
        own = getattr(getattr(self, use), key, None) is not None
        return f"prompt.{use}.{key}" if own else f"prompt.{key}"

    def _of(self, use: PromptOfUse | None) -> PromptText:
        own = {} if use is None else {key: value for key, value in use if value is not None}
        return PromptText(**{"template": self.template, "chat": self.chat, **own})

    def _shadowed(self) -> list[str]:
        """The settings that both uses name themselves, so that the plain one is read by nobody."""
        uses = (self.train, self.evaluate)
        return [
            key for key in PromptText.model_fields if all(u is not None and getattr(u, key) is not None for u in uses)
        ]

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> "PromptSettings":
        for key in self._shadowed():
            if key in self.model_fields_set:
                raise ValueError(
                    f"`{key}` has no effect, because prompt.train and prompt.evaluate both set it; change "
                    f"prompt.train.{key} or prompt.evaluate.{key}, or remove them"
                )
        return self

    @model_serializer(mode="wrap")
    def _without_what_nobody_reads(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As it may be written: one prompt for both uses is `template` and `chat` alone."""
        tree: dict[str, Any] = handler(self)
        for key in self._shadowed():
            tree.pop(key, None)
        for use in ("train", "evaluate"):
            named = {key: value for key, value in (tree.pop(use, None) or {}).items() if value is not None}
            if named:
                tree[use] = named
        return tree


class LimitSettings(Settings):
    """What one answer may cost its judge, and how many judges work side by side."""

    workers: int | None = Field(None, ge=1)
    timeout_seconds: float = Field(5.0, gt=0)
    memory_mb: int = Field(2048, ge=256)


class VerifySettings(LimitSettings):
    """Which verifiers judge the traces, and how several verdicts become one (`agree`, `all`, `any`, `decided`, or one name). `labels` are
    verdicts that the data brings (`teacher_label`, `llama_verification`, `math_verify`) and that count beside the verifiers';
    not written: all that the data brings under the policy `agree`, none under another."""

    verifiers: list[Plugin] = Field(default_factory=lambda: [Plugin(name="cascade")])
    labels: list[str] | None = None
    policy: str = "agree"
    judge: Plugin | None = None  # a second opinion where these verdicts are incorrect or disagree

    @model_validator(mode="before")
    @classmethod
    def _one_judge_decides(cls, value: Any) -> Any:
        """Where the labels are written and a single one counts, it is that one's word unless a policy is written too."""
        if not isinstance(value, Mapping) or "policy" in value or value.get("labels") is None:
            return value
        judges = [*(value.get("labels") or []), *(value.get("verifiers", ["cascade"]) or [])]
        name = judges[0].get("name") if len(judges) == 1 and isinstance(judges[0], Mapping) else (judges or [None])[0]
        return {**value, "policy": name} if len(judges) == 1 and isinstance(name, str) else value

    @field_validator("verifiers")
    @classmethod
    def _names_differ(cls, value: list[Plugin]) -> list[Plugin]:
        _check_differ([v.name for v in value], "verifiers")
        return value


class KeepSettings(Settings):
    """The best right traces by a score: `top` of them, a `share` of them, or those of at `least` so much.

    Ranked are the right traces that every filter lets through; `per`: over the whole corpus, or within each problem or source.
    """

    by: str  # a name of the traces' scores
    top: int | None = Field(None, gt=0)
    share: float | None = Field(None, gt=0, le=1)
    least: float | None = None
    best: Literal["highest", "lowest"] = "highest"  # lowest: of a score that falls with quality, such as perplexity
    per: Literal["corpus", "problem", "source"] = "corpus"

    @model_validator(mode="after")
    def _one_measure(self) -> "KeepSettings":
        if sum(measure is not None for measure in (self.top, self.share, self.least)) != 1:
            raise ValueError("write one of `top`, `share` and `least`")
        if self.least is not None and {"best", "per"} & self.model_fields_set:
            raise ValueError("`best` and `per` have no effect with `least`; for an upper limit use the filter `score`")
        return self


class SampleSettings(Settings):
    """Which problems stay, by a value that each has: a score or note of its traces, an entry of its metadata, or its answer,
    source or answer_type. Drawn by the recipe's seed and the problem's id."""

    by: str
    # the share of a value's problems that stays (1 where it is not named), or the same number of each value
    keep: dict[str, Annotated[float, Field(ge=0, le=1)]] | Literal["balanced"] | None = None
    # edges between bins of a value that is a number: [0.25, 0.75] makes the values "below 0.25", "0.25 to 0.75", "0.75 or more"
    bins: list[float] | None = Field(None, min_length=1)
    least: float | None = None
    most: float | None = None
    unsolved: Literal["keep", "drop"] = "keep"  # problems that a search for their difficulty did not solve
    repeat: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict
    )  # rows of a value's problems, this often

    @field_validator("keep", "repeat", mode="before")
    @classmethod
    def _values_are_words(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        if any(isinstance(key, bool) for key in value):
            raise ValueError("quote true and false if they are text")
        return {value_text(key): inner for key, inner in value.items()}

    @property
    def named_values(self) -> frozenset[str]:
        """The values that `keep` and `repeat` name."""
        return frozenset((*(self.keep if isinstance(self.keep, dict) else ()), *self.repeat))

    @model_validator(mode="after")
    def _has_an_effect(self) -> "SampleSettings":
        if (
            self.keep is None
            and self.least is None
            and self.most is None
            and not self.repeat
            and self.unsolved == "keep"
        ):
            raise ValueError("write `keep`, `least`, `most`, `repeat` or `unsolved: drop`")
        if self.bins is None:
            return self
        if sorted(set(self.bins)) != self.bins:
            raise ValueError("the edges of `bins` must increase")
        if self.keep is None and not self.repeat:
            raise ValueError("`bins` has no effect without `keep` or `repeat`")
        for value in sorted(self.named_values):
            if value not in self.bin_names:
                known = ", ".join(f'"{name}"' for name in self.bin_names)
                raise ValueError(f"there is no bin {value!r}; the bins are {known}")
        return self

    @property
    def bin_names(self) -> list[str]:
        """The values that `bins` makes, from the lowest; none without it."""
        edges = [value_text(edge) for edge in self.bins or ()]
        between = [f"{low} to {high}" for low, high in itertools.pairwise(edges)]
        return [f"below {edges[0]}", *between, f"{edges[-1]} or more"] if edges else []


def value_text(value: Any) -> str:
    """A value as `select.sample` names it: 6.0 and 6 are "6"."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class LabelledSettings(Settings):
    """Rows of critics, the stages whose objective is of scores: right and wrong traces with what is to be said of them."""

    spans: str | list[str] | None = (
        None  # of the traces: targets of their parts; the end of a turn has the verdict besides
    )
    per_problem: Literal["all", "one-each"] = "all"  # one-each: one right and one wrong trace, drawn; else none (OREAL)

    @property
    def names(self) -> list[str]:
        """The names of the spans."""
        return [self.spans] if isinstance(self.spans, str) else list(self.spans or ())


class TokenWeightSettings(Settings):
    """Names of traces' spans whose values are the weights of the rows' tokens, for the modifier `span-weights`: of right traces
    (examples, and the chosen side of pairs), and of wrong ones (the rejected side)."""

    right: str | None = None
    wrong: str | None = None

    @model_validator(mode="after")
    def _has_an_effect(self) -> "TokenWeightSettings":
        if self.right is None and self.wrong is None:
            raise ValueError("write `right`, `wrong` or both, each the name of spans that a scorer or source writes")
        return self


class SelectSettings(Settings):
    """Which traces become examples and pairs. Lengths in tokens of the student's tokenizer."""

    examples: Literal["first", "last", "all"] | SelfCorrectionSettings = "all"
    # right traces that are flagged as cut off by their length limit; default: drop, and keep under the pairing redi-paper
    truncated_correct: Literal["drop", "keep"] = "drop"
    # of a conversation: every answer of the assistant is learned, or the last one alone; pairs are of the last one
    turns: Literal["all", "last"] = "all"
    max_prompt_tokens: int | None = Field(None, gt=0)
    max_completion_tokens: int | None = Field(None, gt=0)
    limits_on: list[Part] = Field(default_factory=lambda: list(PARTS), min_length=1)  # parts of rows these two limit
    filters: list[FilterSettings] = Field(default_factory=list)
    sample: SampleSettings | None = None  # which problems stay; after the filters
    keep: KeepSettings | None = None  # the best right traces by a score; after the sample
    # the same number of pairs of each value of their problem, named as in sample.by: `answer` for as many pairs whose right
    # judgement says Yes as No (R-PRM, arXiv 2503.21295)
    balance_pairs: str | None = None
    labelled: LabelledSettings = LabelledSettings()  # rows of critics
    weights: TokenWeightSettings | None = None  # what the modifier span-weights reads
    pairing: Plugin = Plugin(name="certain")

    @model_validator(mode="before")
    @classmethod
    def _the_papers_rule_is_whole(cls, value: Any) -> Any:
        """The official script looks at no such flag: under its pairing its examples are chosen likewise."""
        if not isinstance(value, Mapping) or "truncated_correct" in value:
            return value
        pairing = value.get("pairing")
        name = pairing.get("name") if isinstance(pairing, Mapping) else getattr(pairing, "name", pairing)
        return {**value, "truncated_correct": "keep"} if name == "redi-paper" else value

    @model_validator(mode="after")
    def _one_source_of_weights(self) -> "SelectSettings":
        if self.weights is not None and self.weights.right and isinstance(self.examples, SelfCorrectionSettings):
            raise ValueError("rows of self-correction have weights of their own; leave `weights.right` out")
        if self.weights is not None and self.weights.right and self.turns == "all":
            raise ValueError("`weights.right` applies only to the last answer of a conversation; set `turns: last`")
        return self


GUARD_STATES = ("steady", "drift", "warning", "collapse")  # of a stage in training, from harmless to bad


class GuardSettings(Settings):
    """What watches over a stage, and what it does when the student collapses. The signs, the states and why the numbers
    are what they are: docs/guard.md. A stage without `guard` trains on all its rows and logs the state of each step."""

    action: Literal["log", "rollback", "stop"] = "log"
    act_on: Literal["collapse", "warning"] = "collapse"
    every: int = Field(50, gt=0)  # steps between looks at the held-out pairs
    held_out_pairs: int = Field(64, ge=0)  # never trained on in this stage; at most a tenth of the pairs
    probe_every: int = Field(50, ge=0)  # steps between generation probes on dev problems; 0: none
    probe_problems: int = Field(64, gt=0)
    probe_max_new_tokens: int | None = Field(None, gt=0)  # default: evaluate.max_new_tokens
    max_rollbacks: int = Field(3, ge=0)  # after these, stop and keep the best
    rollback_rate_factor: float = Field(0.5, gt=0, lt=1)
    update_norm_every: int = Field(10, ge=0)  # steps between measurements of the true update norm; 0: never
    drift_nats: float = Field(0.02, gt=0)
    low_nats: float = Field(1.0, gt=0)
    surge_factor: float = Field(5.0, gt=1)
    surge_window: int = Field(200, ge=20)
    probe_drop: float = Field(0.05, gt=0)
    # of a stage with rollouts: its first rounds against its last ones
    round_window: int = Field(5, ge=2)  # rounds on each side
    length_factor: float = Field(2.0, gt=1)
    entropy_share: float = Field(0.1, gt=0, lt=1)


class StageSettings(Settings):
    """One training run. Defaults are the paper's optimizer and schedule (Xu et al. 2025, section 4 and appendix)."""

    objective: Plugin
    modifiers: list[Plugin] = Field(default_factory=list)  # of token weights, lengths and losses: train/modifiers.py
    start: str = "base"
    reference: str | None = None  # base or an earlier stage, for objectives that compare with one; default: start
    teacher: str | StudentSettings | None = None  # of the objective distill: base, an earlier stage, or another model
    critic: str | None = None  # an earlier stage with the objective outcome, or its folder: for token-credit
    batch_size: int = Field(32, gt=0)  # rows (examples or pairs) an optimizer step
    epochs: float = Field(1.0, gt=0)
    steps: int | None = Field(None, gt=0)  # instead of epochs
    learning_rate: float = Field(gt=0)
    warmup: float = Field(0.1, ge=0, le=1)  # share of the steps
    decay: Literal["linear", "cosine", "constant"] = "linear"
    final_rate: float = Field(0.0, ge=0, lt=1)  # share of learning_rate that linear and cosine decay towards
    weight_decay: float = Field(1e-4, ge=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    max_grad_norm: float = Field(1.0, gt=0)
    max_tokens: int | None = Field(None, gt=0)  # longer rows are dropped with a reason; default: the model's context
    tokens_per_micro_batch: int = Field(8192, gt=0)
    mixed_precision: Literal["no", "bf16", "auto"] = "no"  # of the computation; auto: bf16 where the device has it
    distributed: Literal["auto", "ddp", "fsdp2"] = "auto"  # several processes; auto: as the launcher says, else ddp
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"  # 8bit: moments of one byte, other steps (extra eight-bit)
    # what is saved where memory does not suffice (of layers: all, none, how many); the step stays: redistill/memory.py
    gradient_checkpointing: bool | Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    offload_optimizer: bool | Literal["auto"] = "auto"  # moments in host memory
    memory_gib: float | None = Field(None, gt=0)  # of a device for this stage; default: what is free
    save_every: int = Field(200, gt=0)  # steps between resumable checkpoints
    save_dtype: Literal["float32", "bfloat16"] = "float32"
    lora: dict[str, Any] | None = None  # options of peft.LoraConfig
    # parts of an image-text student that stay as they are: language (with embeddings and head), vision (all the rest)
    freeze: list[Literal["vision", "language"]] = Field(default_factory=list, max_length=1)
    keep_adapter: bool = (
        False  # of lora: also the adapter alone, in train/STAGE/adapter; the student itself is always merged
    )
    guard: GuardSettings | None = None
    rollouts: RolloutSettings | None = None  # rows come from the student itself, not from the corpus's traces

    @model_validator(mode="after")
    def _adapters_come_from_lora(self) -> "StageSettings":
        if self.keep_adapter and self.lora is None:
            raise ValueError("keep_adapter: this stage has no adapter; give it `lora`, or leave keep_adapter out")
        return self

    @model_validator(mode="after")
    def _a_constant_rate_has_no_end(self) -> "StageSettings":
        if self.decay == "constant" and self.final_rate:
            raise ValueError("`final_rate` has no effect with `decay: constant`; leave it out")
        return self

    @property
    def critic_named(self) -> str | None:
        """The critic that the stage reads or that its own begins as: an earlier stage, or a folder."""
        beside = self.rollouts.critic if self.rollouts is not None else None
        return self.critic or (beside.start if beside is not None else None)

    @property
    def critic_key(self) -> str:
        """Where the stage names it."""
        return "critic" if self.critic is not None or self.rollouts is None else "rollouts.critic.start"


class CriticSettings(Settings):
    """How a written critic judges a step: several analyses, their probabilities of Yes averaged (R-PRM)."""

    analyses: int = Field(4, gt=0)  # of each step; the paper advises 4, its code takes 10
    threshold: float = Field(0.5, ge=0, le=1)  # a step of less is wrong
    # probability: of Yes against No at the verdict; verdict: what is written there, for engines without probabilities
    read: Literal["probability", "verdict"] = "probability"
    line: str = Field(VERDICT_LINE, min_length=1)  # what stands before Yes or No
    # an analysis without that line: says nothing, and a step of which half say nothing is undecided; gets the line appended
    # (the paper's evaluation code); is left out (its search code)
    no_marker: Literal["undecided", "append", "drop"] = "undecided"
    first_piece: bool = False  # where Yes and No are several tokens, compare the first
    join: Literal["blank-line", "line", "numbered", "none"] | None = None  # default: as the recipe's step-judgements


class EvaluateSettings(Settings):
    """Which stages are scored on which problems, with n samples each."""

    models: list[str] | None = None  # default: base and every stage
    benchmarks: list[BenchmarkSettings] = Field(default_factory=lambda: [BenchmarkSettings()])
    engine: Plugin = Plugin(name="transformers")
    n: int = Field(4, gt=0)
    temperature: float = Field(0.6, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_new_tokens: int = Field(512, gt=0)
    prefill: str = ""  # the opening of every completion, put there by us and stored with it: `<think>` in the paper
    verifier: Plugin = Plugin(name="cascade")
    strict_anchors: list[str] | None = None  # what the strict parse accepts; default: what the template asks for
    choose: list[Plugin] = Field(default_factory=list)  # ways to choose one of the n samples, each scored
    self_correction: CueName | None = None  # cut answers into attempts and verifications by these cues, and score them
    critic: CriticSettings = CriticSettings()  # of benchmarks of labelled steps

    @field_validator("benchmarks", mode="before")
    @classmethod
    def _short_names(cls, value: Any) -> Any:
        return [{"name": v} if isinstance(v, str) else v for v in value] if isinstance(value, list) else value

    @field_validator("benchmarks")
    @classmethod
    def _names_differ(cls, value: list[BenchmarkSettings]) -> list[BenchmarkSettings]:
        _check_differ([v.name for v in value], "benchmarks")
        return value


class ReportSettings(Settings):
    """What the page shows."""

    title: str | None = None
    example_traces: int = Field(12, ge=0, le=50)
    token_changes: bool = True  # after training: what it did to every token of the pairs shown


class CardSettings(Settings):
    """What the model cards of the students say that nobody but their maker knows."""

    license: str | None = None  # of the students, as the hub writes it (apache-2.0); default: the base student's own
    data_licenses: list[str] = Field(default_factory=list)  # one sentence per source: whose traces, under which licence
    notes: str = ""  # one more line under "Limits"


class ExecutionSettings(Settings):
    """Where the stages before training are done: `workers` processes here, or a Ray cluster. Does not change results."""

    executor: Literal["local", "ray"] = "local"
    workers: int | None = Field(None, ge=1)  # default: the cores this process may use
    address: str | None = None  # of a running Ray cluster, such as auto or 10.0.0.1:6379


class Evaluation(Settings):
    """`redistill evaluate`: a finished student on benchmarks, no corpus and no training. The tables are a recipe's."""

    name: str = Field(pattern=_FOLDER_NAME)
    seed: Seed = 0
    student: StudentSettings
    prompt: PromptText = PromptText()
    verify: LimitSettings = LimitSettings()
    evaluate: EvaluateSettings
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def _one_student(self) -> "Evaluation":
        if self.evaluate.models is not None:
            raise ValueError("evaluate.models: only one student is evaluated here; leave it out")
        return self


class Recipe(Settings):
    """One experiment from traces to report."""

    name: str = Field(pattern=_FOLDER_NAME)
    seed: Seed = 0
    student: StudentSettings
    prompt: PromptSettings = PromptSettings()
    corpus: CorpusSettings
    verify: VerifySettings = VerifySettings()
    score: list[ScorerSettings] = Field(default_factory=list)  # who gives traces scores, between verify and select
    select: SelectSettings = SelectSettings()
    stages: list[ExtraStage] = Field(default_factory=list)  # further stages between and after these
    train: dict[str, StageSettings] = Field(min_length=1)
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()
    card: CardSettings = CardSettings()
    execution: ExecutionSettings = ExecutionSettings()
    diagnosis: Plugin | None = None  # looks at a student's answers on dev before a stage that starts from it
    tracking: list[Plugin] = Field(default_factory=list)  # who gets a copy of the figures; does not change results

    @model_validator(mode="before")
    @classmethod
    def _own_verifier_judges_students_too(cls, value: Any) -> Any:
        """Where a verifier of the user's own judges the traces alone, cascade could not read the students' answers."""
        tables = [value.get(key) for key in ("verify", "evaluate")] if isinstance(value, Mapping) else [None, None]
        judges = tables[0].get("verifiers") if isinstance(tables[0], Mapping) else None
        asked = {} if tables[1] is None else tables[1]
        if not isinstance(judges, list) or len(judges) != 1 or not isinstance(asked, Mapping) or "verifier" in asked:
            return value
        name = judges[0].get("name") if isinstance(judges[0], Mapping) else judges[0]
        own = isinstance(name, str) and is_own(name)
        return {**value, "evaluate": {**asked, "verifier": judges[0]}} if own else value

    @model_validator(mode="before")
    @classmethod
    def _the_split_may_follow_the_seed(cls, value: Any) -> Any:
        """`corpus.split_seed: seed` stands for the recipe's seed."""
        corpus = value.get("corpus") if isinstance(value, Mapping) else None
        if not isinstance(corpus, Mapping) or corpus.get("split_seed") != "seed":
            return value
        return {**value, "corpus": {**corpus, "split_seed": value.get("seed", 0)}}

    @model_validator(mode="after")
    def _stages_start_somewhere(self) -> "Recipe":
        _check_differ([tracker.name for tracker in self.tracking], "trackers")
        _check_differ([*STAGES, "scorers", "trash", "tracking", *(stage.folder for stage in self.stages)], "stages")
        _check_differ([scorer.folder for scorer in self.score], "scorers")
        if not self.score and any(stage.after == "score" for stage in self.stages):
            raise ValueError("stages: a stage has `after: score`, but `score` lists no scorer; write after: verify")
        known, wrong = ["base"], []
        for stage, settings in self.train.items():
            if not FOLDER_NAME.fullmatch(stage) or stage == "base":
                wrong.append(f"train.{stage}: a stage's name may hold letters, digits, - and _, and must not be `base`")
            teachers: dict[str, Any] = {"teacher": settings.teacher}
            teachers |= {"rollouts.teacher": settings.rollouts.teacher} if settings.rollouts is not None else {}
            named_students = {"start": settings.start, "reference": settings.reference}
            for key, teacher in list(teachers.items()):
                if isinstance(teacher, TeachersBySource):
                    teachers |= {f"{key}.by_source.{source}": one for source, one in teacher.by_source.items()}
            named_students |= {key: teacher for key, teacher in teachers.items() if isinstance(teacher, str)}
            if settings.critic_named is not None and "/" not in settings.critic_named:  # a path is a folder
                named_students |= {settings.critic_key: settings.critic_named}
            for key, named in named_students.items():
                if named is not None and named not in known:
                    wrong.append(
                        f"train.{stage}.{key}: no earlier stage is called {named!r}{did_you_mean(named, known)}"
                    )
            known.append(stage)
        for model in self.evaluate.models or ():
            if model not in known:
                wrong.append(f"evaluate.models: no stage is called {model!r}{did_you_mean(model, known)}")
        if wrong:
            raise ValueError("\n".join(wrong))
        return self


def _check_differ(names: typing.Sequence[str], what: str) -> None:
    """ValueError where two of a list have one name: the second would take the first one's place."""
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ValueError(f"two {what} are called {name!r}; names must be unique")
