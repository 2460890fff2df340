"""Shapes of a run's files: only what the page shows.

runs/x/corpus/ledger.json, verify/..., select/...           Ledger
runs/x/select/statistics.json                               Statistics
runs/x/verify/label_noise.json                              LabelNoise
runs/x/verify/label_agreement.json                          LabelAgreements
runs/x/train/STAGE/metrics.jsonl, ledger.json               Step, StageLedger
runs/x/evaluate/STUDENT/BENCHMARK/scores.json               Scores
runs/x/evaluate/comparisons.json, compare/*.json            Comparison, Against
runs/x/regraded/agreement.json                              Agreement
runs/x/run.json                                             RunFacts
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """A file's part as the page reads it: other keys are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class AccountShape(Shape):
    """in = kept + sum(dropped by reason)."""

    unit: str = "row"
    came_in: int = Field(alias="in")
    kept: int
    dropped: dict[str, int] = {}


class Ledger(Shape):
    """The ledger of corpus, verify or select. describe: the settings it was made with."""

    accounts: dict[str, AccountShape] = {}
    tallies: dict[str, dict[str, int]] = {}
    describe: dict[str, Any] = {}


class SpreadShape(Shape):
    """Mean and quantiles of whole numbers."""

    mean: float
    p10: float
    p50: float
    p90: float


class NetShape(Shape):
    """REDI's weight on the shared opening, mean over pairs, and the share of pairs where it is negative."""

    mean: float | None = None
    negative: float | None = None


class PolicyShape(Shape):
    """What the pairs of one pairing look like."""

    problems: int = 0
    pairs: int = 0
    chosen_tokens: SpreadShape | None = None
    rejected_tokens: SpreadShape | None = None
    length_gap: SpreadShape | None = None
    shared_share: float | None = None
    net_prefix_weight: NetShape = NetShape()
    same_teacher: float | None = None
    source: dict[str, int] = {}
    chosen_teacher: dict[str, int] = {}
    rejected_teacher: dict[str, int] = {}


class TracesShape(Shape):
    """The traces of one source or teacher."""

    problems: int = 0
    traces: int = 0
    right: int = 0
    wrong: int = 0
    tokens_right: SpreadShape | None = None
    tokens_wrong: SpreadShape | None = None
    reflecting_right: float | None = None
    reflecting_wrong: float | None = None
    length_rank_wrong: float | None = None
    pass_rate: dict[str, int] = {}


class Statistics(Shape):
    """select/statistics.json."""

    own: str = ""
    rejected_weight: float = 0.8
    policies: dict[str, PolicyShape] = {}
    shared_pairs: dict[str, dict[str, int]] = {}
    traces: dict[str, dict[str, TracesShape]] = {}


class Estimate(Shape):
    """A share between 0 and 1 with its 95% interval."""

    value: float | None = None
    interval95: tuple[float, float] | None = None


class Strict(Shape):
    """pass@1 when an answer counts only where the prompt asked for it."""

    pass_at_1: Estimate = Estimate()
    only_lenient_finds_an_answer: float | None = None


class Tokens(Shape):
    """Lengths of answers in tokens."""

    mean: float | None = None
    p50: float | None = None
    p90: float | None = None


class PassAt1(Estimate):
    """pass@1 with both standard errors in use: over sample columns (the paper), over problems (lighteval)."""

    sem_over_sample_columns: float | None = None
    sem_over_problems: float | None = None


class ChoicePoint(Estimate):
    """What a choice among k samples is worth; undecided: the share in which what it chose could not be judged."""

    undecided: float | None = None


class ChoiceGain(Shape):
    """A choice minus pass@1 or minus the majority, paired over the problems."""

    difference: float | None = None
    interval95: tuple[float, float] | None = None
    sentence: str = ""


class ChoiceScores(Shape):
    """A way to choose one of n samples: its curve over k, or why it could not be made."""

    curve: dict[str, ChoicePoint] = {}
    against_pass_at_1: ChoiceGain | None = None
    against_majority: ChoiceGain | None = None
    why: str = ""


class StepMeasures(Shape):
    """How well a critic finds the first wrong step of solutions. coin: what blind guessing reaches."""

    error_accuracy: Estimate = Estimate()
    correct_accuracy: Estimate = Estimate()
    f1: Estimate = Estimate()
    coin: dict[str, float | None] = {}


class PrmbenchMeasures(Shape):
    """How well a critic tells right from wrong steps, every step a decision."""

    prm_score: float | None = None
    f1: float | None = None
    negative_f1: float | None = None
    positive_accuracy: float | None = None
    negative_accuracy: float | None = None


class PrmbenchScores(PrmbenchMeasures):
    """The same of all steps, and of each kind of error."""

    subsets: dict[str, PrmbenchMeasures] = {}


class StepScores(StepMeasures):
    """A critic on one benchmark of labelled steps."""

    num_traces: int = 0
    num_steps_judged: int = 0
    unjudged: int = 0
    analyses: int = 0
    threshold: float = 0.5
    read: str = ""
    subsets: dict[str, StepMeasures] = {}
    by_analyses: dict[str, dict[str, float | None]] = {}
    prmbench: PrmbenchScores | None = None


class Share(Shape):
    """A share with its interval, and of how many it is one."""

    value: float | None = None
    interval95: tuple[float, float] | None = None
    of: int | None = None


class AttemptsOfProblems(Shape):
    """How many attempts are made on problems of one kind."""

    first_attempts: str = ""
    num_problems: int = 0
    attempts: float | None = None


class SelfCorrection(Shape):
    """How a student verifies and corrects its own attempts."""

    verification_accuracy: Share = Share()
    error_recall: Share = Share()
    correct_precision: Share = Share()
    wrong_to_right: Share = Share()
    right_to_wrong: Share = Share()
    attempts: float | None = None
    by_first_attempts: list[AttemptsOfProblems] = []
    segmented: float | None = None
    unread: dict[str, int] = {}
    no_verdict: float | None = None


class Scores(Shape):
    """One model on one benchmark."""

    benchmark: str = ""
    num_problems: int | None = None
    num_samples: int | None = None
    num_ungradable: int = 0
    num_refused: int = 0
    left_out: list[str] = []
    pass_at_1: PassAt1 = PassAt1()
    pass_at_k: dict[str, Estimate] = {}
    majority_at_n: Estimate | None = None
    choose: dict[str, ChoiceScores] = {}
    rates: dict[str, float] = {}
    truncation_rate: float | None = None
    no_answer_rate: float | None = None
    unfinished_thinking_rate: float | None = None
    repetition_rate: float | None = None
    strict: Strict | None = None
    tokens: dict[str, Tokens] | None = None
    mean_tokens: float | None = None
    search: dict[str, float] = {}
    settings: dict[str, Any] = {}
    prompt_sent: str = ""
    steps: StepScores | None = None
    self_correction: SelfCorrection | None = None


class BenchmarkBaselines(Shape):
    """retrieval/baselines.json, one benchmark: what is found without a student, by problem: `raw`, `feedback`."""

    measure: str = ""
    problems: dict[str, dict[str, float]] = {}


class Gain(Shape):
    """A row of retrieval/gains.json: the mean score of one who writes queries (raw, feedback or a student), and its gain."""

    query_by: str
    mean: float
    interval95: tuple[float, float] | None = None
    gain: float | None = None
    gain_interval95: tuple[float, float] | None = None
    better: int | None = None
    worse: int | None = None


class GraderPair(Shape):
    """Two graders on the same traces: `counts` by "outcome outcome"."""

    a: str
    b: str
    counts: dict[str, int] = {}
    agreement_where_both_decide: float | None = None


class NoiseEstimate(Shape):
    """What the latent class model found; chances of each grader by truth."""

    model: str = ""
    interval: str = ""
    assumptions: list[str] = []
    right_among_rejected: Estimate = Estimate()
    graders: dict[str, dict[str, float]] = {}


class LabelNoise(Shape):
    """verify/label_noise.json."""

    graders: list[str] = []
    traces: int = 0
    rejected: int = 0
    matrix: list[GraderPair] = []
    estimate: NoiseEstimate | None = None
    sentence: str = ""


class LabelExample(Shape):
    """A trace on which a label and a verifier contradict each other; texts are cut."""

    trace_id: str = ""
    task: str = ""
    gold: str = ""
    answer: str = ""
    reason: str = ""
    end: str = ""


class LabelKind(Shape):
    """Traces on which a label contradicts one outcome of a verifier, by task."""

    traces: int = 0
    tasks: dict[str, int] = {}
    examples: list[LabelExample] = []


class LabelAgreement(Shape):
    """One table of verify/label_agreement.json."""

    label: str
    verifier: str
    called_correct: int = 0
    label_says_wrong: LabelKind = LabelKind()
    called_incorrect: int = 0
    label_says_right: LabelKind = LabelKind()
    sentence: str = ""


class LabelAgreements(Shape):
    """verify/label_agreement.json."""

    tables: list[LabelAgreement] = []


class DiagnosisRow(Shape):
    """One measured habit of the student; `value` is a share where it is a number, `n` counts what it is a share of."""

    label: str
    value: Any = None
    n: int | None = None


class Diagnosis(Shape):
    """What the student did wrong before the last stage."""

    student: str = ""
    title: str = ""
    sentence: str = ""
    rows: list[DiagnosisRow] = []


class Step(Shape):
    """One optimizer step; log-probs are means per token."""

    step: int
    loss: float | None = None
    chosen_logp: float | None = None
    rejected_logp: float | None = None
    margin: float | None = None
    grad_norm: float | None = None
    learning_rate: float | None = None
    lr_x_grad_norm: float | None = None
    skipped: bool = False  # no finite gradient: the step was not taken
    tokens: float | None = None
    tokens_per_second: float | None = None
    seconds: float | None = None
    negative_prefix_share: float | None = None
    top_token_prob: float | None = None
    update_norm: float | None = None
    held_out_chosen_logp: float | None = None
    held_out_rejected_logp: float | None = None
    held_out_margin: float | None = None
    accuracy: float | None = None  # of a critic: completions whose label its mean score agrees with
    step_accuracy: float | None = None
    right_score: float | None = None
    wrong_score: float | None = None
    held_out_loss: float | None = None
    held_out_accuracy: float | None = None
    held_out_step_accuracy: float | None = None
    held_out_right_score: float | None = None
    held_out_wrong_score: float | None = None
    probe_problems: int | None = None
    probe_accuracy: float | None = None
    probe_tokens: float | None = None
    probe_unfinished: float | None = None
    probe_repetition: float | None = None
    guard: str | None = None
    guard_reasons: list[str] = []
    round: int | None = None  # of the first step of a round of rollouts, with the figures of its answers:
    reward: float | None = None
    pass_rate: float | None = None
    undecided: float | None = None
    no_variance: float | None = None
    length: float | None = None
    cut: float | None = None
    entropy: float | None = None
    reference_kl: float | None = None
    importance_mean: float | None = None
    importance_truncated: float | None = None
    problems_kept: float | None = None
    weight_right: float | None = None  # of a critic beside the student, in every step
    weight_wrong: float | None = None
    critic_loss: float | None = None
    critic_accuracy: float | None = None
    generated_tokens: int | None = None
    attempt: int = 0  # of abandoned.jsonl: how many rollbacks came before this step


class Rollback(Shape):
    """The guard went back from step `at` to step `to`."""

    at: int
    to: int
    reasons: list[str] = []
    learning_rate: float | None = None


class GuardLedger(Shape):
    """What the guard of a stage saw and did."""

    action: str = "log"
    rollbacks: list[Rollback] = []
    stopped_at: int | None = None
    kept_step: int | None = None
    steps_by_state: dict[str, int] = {}
    sentence: str = ""


class StageLedger(Shape):
    """What one training stage did."""

    start: str | None = None
    rows: AccountShape | None = None
    steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    processes: int = 1
    device: str = ""
    guard: GuardLedger = GuardLedger()


TokenChange = tuple[int, int, float, float]  # first character, end, log-prob before, log-prob after


class PairTokens(Shape):
    """What a stage did to the tokens of one pair."""

    chosen_id: str
    rejected_id: str
    chosen: list[TokenChange] = []
    rejected: list[TokenChange] = []


class TokenChanges(Shape):
    """train/STAGE/token_changes.json."""

    stage: str
    start: str = ""
    pairs: list[PairTokens] = []


class WeighedAnswer(Shape):
    """A sampled answer with the weight of each token: first character, end, weight; below 0 on a wrong answer."""

    problem_id: str
    trace_id: str
    round: int
    is_right: bool = False
    statement: str = ""
    completion: str = ""
    spans: list[tuple[int, int, float]] = []


class TokenWeights(Shape):
    """train/STAGE/token_weights.json."""

    answers: list[WeighedAnswer] = []


class RunFacts(Shape):
    """run.json (records.RunRecord)."""

    name: str = ""
    recipe: dict[str, Any] = {}
    seed: int | None = None
    command: str = ""
    git_commit: str | None = None
    git_dirty: bool | None = None
    packages: dict[str, str] = {}
    inputs: dict[str, str] = {}
    hardware: dict[str, Any] = {}
    seconds: dict[str, float] = {}


# --- two students, two verifiers ---------------------------------------------------------------------------------------


class MetricDifference(Shape):
    """The difference in one metric of attempts and verifications."""

    difference: float | None = None
    interval95: tuple[float, float] | None = None
    sentence: str = ""


class Comparison(Shape):
    """Two models on the same problems: difference = a - b."""

    a: str
    b: str
    benchmark: str = ""
    difference: float | None = None
    interval95: tuple[float, float] | None = None
    smallest_difference: float | None = None
    is_claimed: bool | None = None
    num_above: int | None = None
    num_below: int | None = None
    num_equal: int | None = None
    sentence: str = ""
    self_correction: dict[str, MetricDifference] = {}


class Bin(Shape):
    """The difference on a part of the problems."""

    label: str
    num_problems: int | None = None
    a: float | None = None
    b: float | None = None
    difference: float | None = None
    interval95: tuple[float, float] | None = None


class Bins(Shape):
    """The difference part by part, or a note why there is none."""

    bins: list[Bin] = []
    note: str = ""


class FlipSide(Shape):
    """One side's answer to a problem that flipped."""

    statement: str = ""
    gold: str | None = None
    correct: int | None = None
    samples: int | None = None
    outcome: str = ""
    read: str | None = None
    completion_end: str = ""


class Flip(Shape):
    """A problem that only one of two students solves."""

    problem_id: str
    solved_by: str
    a: FlipSide
    b: FlipSide


class Against(Comparison):
    """A comparison with another run's student (`redistill compare`)."""

    verifier: str | None = None
    left_out: list[int] = []
    settings_differ: dict[str, list[Any]] = {}
    flips: dict[str, int] = {}
    mcnemar_p: float | None = None
    by_difficulty: Bins = Bins()
    by_length: Bins = Bins()
    flipped: list[Flip] = []


class Disagreement(BaseModel):
    """One answer on which two verifiers part; what each said stands under its name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    trace_id: str
    gold: str | None = None


class Agreement(Shape):
    """Two verifiers on the same answers (`redistill regrade`)."""

    student: str
    benchmark: str
    a: str
    b: str
    num_samples: int = 0
    agree: float | None = None
    only_a_correct: int | None = None
    only_b_correct: int | None = None
    table: dict[str, dict[str, int]] = {}
    examples: list[Disagreement] = []
