"""The records that travel between stages. Standard library only.

A Group is one problem, its several traces and the verdicts on them; nearly every stage is a map over groups. A
teacher's trace, a student's benchmark attempt and a rollout are all Traces; only the author differs.

    problem = make_problem("What is 2+2?", answer="4", source="mine", source_row="mine.jsonl:0")
    trace = make_trace(problem.id, "2+2 is \\boxed{4}", author="teacher-7b")
    group = Group(problem, (trace,))

Ids are hashes of content, so the same trace has the same id in every run. Records are frozen: data is never edited,
only answered with new data (`with_verdict`).
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Self


class Outcome(StrEnum):
    """The result of a verifier. By default only a certain `incorrect` may become a rejected completion."""

    correct = "correct"  # the answer equals the gold answer
    incorrect = "incorrect"  # evidence that the answer differs from the gold answer
    no_answer = "no_answer"  # no anchored final answer in the completion
    truncated = "truncated"  # the completion stops before its end and holds no answer
    timeout = "timeout"  # the verifier ran out of its time or memory
    ungradable = "ungradable"  # the gold answer is missing or cannot be read
    disagree = "disagree"  # two readings, or several verdicts, contradict each other


REFUSED = "refused"  # in Trace.sampling: why a server gave no answer to this request
DECIDED = frozenset({Outcome.correct, Outcome.incorrect})


class Span(NamedTuple):
    """A judgement on a part of a text: characters `start` to `end`, end excluded, and a finite `value`.

    Positions count code points, so a span holds for any tokenizer. The end-of-turn token is the character
    [len, len + 1), so 0 <= start < end <= len + 1. The name under which a span is stored says what its
    value means (a step label, a reward, a token weight).
    """

    start: int
    end: int
    value: float


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a problem, by name and not inlined: `path` as the source wrote it, relative to the folder of the data
    file; `sha256` (64 hex digits) of the file's bytes identifies the image, wherever the file is."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """One verifier's finding on one trace; `seconds` is rounded to a tenth. The stages store it only for a time limit, and 0 otherwise,
    because times differ from run to run and equal runs should have equal bytes.

    `score`: 0 (worst) to 1 (best) by a graded verifier, such as an NDCG or the share of tests passed; None by all others.
    """

    outcome: Outcome
    extracted: str | None = None
    reason: str = ""
    verifier: str = ""
    verifier_version: str = ""
    seconds: float = 0.0
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with its gold `answer` (None where the source has none); `source_row` is 'file:row'.

    `images` belong to the question and to its id. `metadata` is {name: JSON value}, read only by the problem's verifier:
    ids of relevant documents, tests of a program, a scorer's entry.
    """

    id: str
    statement: str
    answer: str | None = None
    answer_type: str | None = None
    source: str = ""
    source_row: str = ""
    images: tuple[Image, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trace:
    """A completion with an author. `finish_reason` is 'stop', 'length' or None where unknown.

    `verdicts` maps a verifier's name to its Verdict; `scores` holds real-valued judgements beside them; `sampling`
    says how it was drawn (temperature, seed, sample_index ...) where that is known. `spans` maps a name to judgements on
    parts of the completion (`steps`: a label per step); `notes` maps a name to text about the trace (a critic's analysis).
    """

    id: str
    completion: str
    author: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    finish_reason: str | None = None
    num_tokens: int | None = None
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    spans: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    def with_verdict(self, name: str, verdict: Verdict) -> Self:
        """The same trace with one more verdict under `name`."""
        return dataclasses.replace(self, verdicts={**self.verdicts, name: verdict})

    @property
    def refused(self) -> str:
        """Why the server gave no answer; "" where it gave one. A refused trace is undecided, never wrong."""
        return str(self.sampling.get(REFUSED, ""))

    @property
    def verdict(self) -> Verdict:
        """The joined verdict of the verify stage (stored under FINAL). KeyError before that stage has run."""
        return self.verdicts[FINAL]


FINAL = "final"  # the name under which the verify stage stores the verdict its policy arrived at


@dataclass(frozen=True, slots=True)
class Group:
    """One problem and its traces, in the order of the source."""

    problem: Problem
    traces: tuple[Trace, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """One row for SFT: rendered prompt text and the completion to imitate. Columns as in TRL.

    `weight` multiplies the row's loss; `spans` give values to characters of the completion, the last one winning.
    """

    problem_id: str
    trace_id: str
    prompt: str
    completion: str
    weight: float = 1.0
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """One row for REDI, DPO and other objectives. Columns as in TRL; `weight` multiplies the row's loss.

    Spans give weights to characters of a side, the last one winning; a plain (start, end, weight) works like a Span. Empty:
    every character has weight 1. The modifier `span-weights` reads them.
    """

    problem_id: str
    prompt: str
    chosen: str
    rejected: str
    chosen_id: str
    rejected_id: str
    weight: float = 1.0
    chosen_spans: tuple[Span | tuple[int, int, float], ...] = ()
    rejected_spans: tuple[Span | tuple[int, int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Sampled:
    """The tokens of one sampled answer as they were drawn, so that training need not encode its text again.

    prompt_ids: the tokens of the prompt, prefill included; token_ids: those of the answer, end-of-turn token included;
    logprobs: the log-probability of each of them under the student at temperature 1. sample_index: the number of the
    answer among those of its problem, from 0.
    """

    problem_id: str
    trace_id: str
    sample_index: int
    prompt_ids: Sequence[int]
    token_ids: Sequence[int]
    logprobs: Sequence[float]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pair as one pairing would make it, for the comparison of pairings: `reason` says which filter dropped it, "" where none did.

    `id` is that of the pair, so two policies that make the same pair make the same id. Tokens are the student's, the
    end-of-turn token included; `shared_tokens` is how many the two share from the start.
    """

    id: str
    policy: str
    problem_id: str
    source: str
    chosen_id: str
    rejected_id: str
    chosen_author: str
    rejected_author: str
    chosen_tokens: int
    rejected_tokens: int
    shared_tokens: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A right trace that `select.keep` or `select.sample` chooses from: its problem's `value` for the sample, its own `score`
    for keep, and `source`; None where the value is not known."""

    problem_id: str
    trace_id: str
    source: str
    value: str | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was dropped, by which stage, and why: a short stable word such as `too_long`. detail: more about the reason,
    such as the benchmark problem that a statement contains."""

    id: str
    stage: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a trace was read: `row` ('file:row') of `file`, `revision` (commit) of a dataset of the hub. A trace that was
    read twice has two. `source_problem_id` is the id of the problem as that row states it, which may have been merged into
    `problem_id`; status: `kept`, or the reason for which the trace was dropped."""

    trace_id: str
    problem_id: str
    source_problem_id: str
    file: str
    row: str
    revision: str
    status: str


@dataclass(frozen=True, slots=True)
class Match:
    """Two statements of the same problem, for review. action: `merged`, `listed` or `dropped`; how: what they share
    (`spelling`, `words`, `alike`; of a benchmark `same`, `within`, `overlap`); span: the shared text of a leak."""

    problem_id: str
    matched: str  # the problem it was merged into, or the benchmark and its row
    action: str
    how: str
    similarity: float
    statement: str
    matched_statement: str
    span: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The facts of one run that are needed to reproduce it."""

    name: str
    recipe: Mapping[str, Any]
    seed: int
    command: str  # the command line that made it; "" from Python
    git_commit: str | None
    git_dirty: bool | None
    packages: Mapping[str, str]
    inputs: Mapping[str, str]  # file -> sha256
    hardware: Mapping[str, Any]
    seconds: Mapping[str, float]  # stage -> wall seconds


def content_id(prefix: str, *parts: str) -> str:
    """A short stable id: prefix and 16 hex digits of the SHA-256 of the parts (64 bits: a million records collide
    with probability 3e-8). Lone surrogates, which broken JSON can hold, are hashed as they stand."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{prefix}{digest[:16]}"


def make_problem(
    statement: str,
    *,
    answer: str | None = None,
    answer_type: str | None = None,
    source: str = "",
    source_row: str = "",
    images: tuple[Image, ...] = (),
    metadata: Mapping[str, Any] | None = None,
) -> Problem:
    """A Problem with its id from the statement, white space collapsed: the same question merges across sources.

    Images are part of the question: their sha256, in order, go into the id too, so the same words under another picture
    are another problem. A path, an answer or metadata changes no id.
    """
    id = content_id("p", " ".join(statement.split()), *(image.sha256 for image in images))
    return Problem(id, statement, answer, answer_type, source, source_row, images, metadata or {})


def make_trace(problem_id: str, completion: str, **fields: Any) -> Trace:
    """A Trace with its id from the problem and the completion: the same text on the same problem is the same trace."""
    return Trace(content_id("t", problem_id, completion), completion, **fields)


def pair_id(chosen_id: str, rejected_id: str) -> str:
    """The id of a pair: from its two trace ids."""
    return content_id("q", chosen_id, rejected_id)
