"""Examples of trial, verification and correction, from right and wrong traces that people already own.

    select: {examples: {name: self-correction, attempts: 4}}

A row is a few attempts at one problem, wrong ones and at last a right one, each with its verification behind it. Verifications
are notes of the traces, written by a scorer (`verification`, `own-check`, `checked-equations`, or one of your own); only those
stay whose verdict is true. Wrong attempts weigh 0: the student reads them and does not learn to write them. Source: S2R,
arXiv 2502.12853, section 3.1, and its released code for what the paper leaves open.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from redistill.config.segment_tables import SelfCorrectionSettings
from redistill.records import DECIDED, Example, Group, Outcome, Span, Trace, content_id
from redistill.text.segments import CUES, Cues, Segment, has_cue, read_verdict, segments, write

Judge = Callable[..., str | None]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A trace as an attempt of a row: its text and its verification, which says truly whether the answer is right."""

    trace: Trace
    text: str
    verification: str

    @property
    def is_right(self) -> bool:
        """True for the attempt that a row ends with."""
        return self.trace.verdict.outcome is Outcome.correct


@dataclass(frozen=True, slots=True)
class Built:
    """What became of a problem's traces: its row, if there is one, why each trace makes none (None for the one that it is written
    under), and what is counted."""

    row: Example | None
    reasons: Mapping[str, str | None]
    attempts: Counter[str]  # rows by how many attempts they have
    verifications: Counter[str]  # of the decided traces: true, false, or why there is none


def self_correction(
    group: Group,
    prompt: str,
    reasons: Mapping[str, str | None],
    settings: SelfCorrectionSettings,
    *,
    judge: Judge,
    num_tokens: Callable[[str], int],
    seed: int,
) -> Built:
    """One row of a problem, or none. reasons: why each trace is not an example, None for right traces that passed filters, sample and
    keep; judge: the filters' reason against a completion; num_tokens: of a completion, its end-of-turn token included.

    How many attempts a row has follows from the share of wrong traces (`rounds`); where there are not as many distinct wrong
    answers with a true verification, it has fewer. Which of them are taken, and in which order, the seed decides.
    """
    cues, all_reasons = CUES[settings.cues], dict(reasons)
    counted = Counter[str]()
    attempts = list[Attempt]()
    for trace in group.traces:
        outcome = trace.verdict.outcome
        if outcome not in DECIDED:
            continue
        made = attempt_of(trace, settings.verification, cues)
        counted[made if isinstance(made, str) else "true"] += 1
        refused = all_reasons[trace.id] if outcome is Outcome.correct else _reason_of_wrong(trace, judge)
        if refused is not None:
            all_reasons[trace.id] = refused
        elif isinstance(made, str):
            all_reasons[trace.id] = made
        else:
            attempts.append(made)
    drawn = sorted(attempts, key=lambda a: content_id("", str(seed), "self-correction", a.trace.id))
    right = [attempt for attempt in drawn if attempt.is_right]
    wrong_ones = [attempt for attempt in drawn if not attempt.is_right]
    wrong = _distinct(wrong_ones)
    for attempt in attempts:  # what is said of those that no row takes
        all_reasons[attempt.trace.id] = "not_the_last_attempt" if attempt.is_right else "not_needed"
    if not right:
        all_reasons |= {attempt.trace.id: "no_right_attempt" for attempt in wrong_ones}
        return Built(None, all_reasons, Counter(), counted)
    wanted = min(rounds(group), settings.attempts)
    taken = [*wrong[: wanted - 1], right[0]]
    case = "1" if wanted == 1 else "full" if len(taken) == wanted else "fallback"
    row = _row(group, prompt, taken, settings, seed)
    reason = row if isinstance(row, str) else judge(completion=_as_trace(row, right[0].trace, num_tokens))
    if not _is_drawn(group, seed, settings.keep.get(case, 1.0)):  # type: ignore[call-overload]
        reason = "not_drawn"
    if reason is not None:
        return Built(None, {**all_reasons, right[0].trace.id: reason}, Counter(), counted)
    assert isinstance(row, Example)
    all_reasons |= {attempt.trace.id: "earlier_attempt" for attempt in taken[:-1]} | {right[0].trace.id: None}
    return Built(row, all_reasons, Counter({str(len(taken)): 1}), counted)


def attempt_of(trace: Trace, note: str, cues: Cues) -> Attempt | str:
    """The trace as an attempt with a true verification, or why it is none: `no_verification`, `no_verdict`, `undecided_verdict`,
    `false_verdict`, `cue_in_text`. Where the verification is a section of the trace itself, the attempt is the rest of it."""
    verification = trace.notes.get(note)
    if verification is None:
        return "no_verification"
    said = read_verdict(verification, cues)
    if said is None:
        return "no_verdict"
    if said == "undecided":
        return "undecided_verdict"
    if (said == "correct") != (trace.verdict.outcome is Outcome.correct):
        return "false_verdict"
    text = trace.completion
    for span in sorted(trace.spans.get(note, ()), reverse=True):
        text = text[: span.start].rstrip() + text[span.end :]
    if has_cue(text, cues) or has_cue(verification, cues):
        return "cue_in_text"
    return Attempt(trace, text, verification)


def rounds(group: Group) -> int:
    """How many attempts a problem of this difficulty has, by the share of its decided traces that are wrong: none 1, up to a fifth 2,
    up to three fifths 3, more 4. With five traces that is the table of S2R's code: 0, 1, 2-3, 4-5 wrong."""
    outcomes = [trace.verdict.outcome for trace in group.traces if trace.verdict.outcome in DECIDED]
    wrong = sum(outcome is Outcome.incorrect for outcome in outcomes)
    return 1 if not wrong else 2 if 5 * wrong <= len(outcomes) else 3 if 5 * wrong <= 3 * len(outcomes) else 4


def row_spans(parts: Sequence[Segment], length: int, last_solve: int) -> tuple[Span, ...]:
    """The weight of each segment of a row and of its end-of-turn token: verifications and the last attempt 1, earlier attempts 0.
    last_solve: the place of that attempt among the parts. Source: S2R, arXiv 2502.12853, the mask of the SFT loss."""
    spans = [
        Span(part.start, part.end, float(part.kind == "verify" or place == last_solve))
        for place, part in enumerate(parts)
    ]
    return (*spans, Span(length, length + 1, 1.0))


def _reason_of_wrong(trace: Trace, judge: Judge) -> str | None:
    return "truncated" if trace.finish_reason == "length" else judge(completion=trace)


def _distinct(wrong: Sequence[Attempt]) -> list[Attempt]:
    """The first of each wrong answer; one whose answer the verifier did not say is an answer of its own."""
    firsts = dict[str, Attempt]()
    for attempt in wrong:
        extracted = attempt.trace.verdict.extracted
        firsts.setdefault(attempt.trace.id if extracted is None else " ".join(extracted.split()), attempt)
    return list(firsts.values())


def _is_drawn(group: Group, seed: int, rate: float) -> bool:
    return rate >= 1 or int(content_id("", str(seed), "keep", group.problem.id), 16) < rate * 16**16


def _row(
    group: Group, prompt: str, taken: Sequence[Attempt], settings: SelfCorrectionSettings, seed: int
) -> Example | str:
    cues, id = CUES[settings.cues], taken[-1].trace.id
    if settings.control == "no-verifications":
        return Example(group.problem.id, id, prompt, taken[-1].text)
    checks = [attempt.verification for attempt in taken]
    if settings.control == "shuffled-verdicts":
        checks = [_by_coin(check, f"{seed} {a.trace.id}", cues) for check, a in zip(checks, taken, strict=True)]
    text = write([attempt.text for attempt in taken], checks, cues)
    parts = segments(text, cues=cues)
    if isinstance(parts, str):
        return parts
    assert len(parts) == 2 * len(taken)
    return Example(group.problem.id, id, prompt, text, spans=row_spans(parts, len(text), len(parts) - 2))


def _by_coin(check: str, key: str, cues: Cues) -> str:
    """The verification with its verdict sentence drawn by a coin."""
    said = "correct" if int(content_id("", key, "coin"), 16) % 2 else "incorrect"
    sentence = cues.correct if said == "correct" else cues.incorrect
    sentences = list(cues.sentence.finditer(check))
    if not sentences:  # it says so in other words, which stay: the coin has the last word
        return f"{check} {sentence}"
    return check[: sentences[-1].start()] + sentence.rstrip(".") + check[sentences[-1].end() :]


def _as_trace(row: Example, last: Trace, num_tokens: Callable[[str], int]) -> Trace:
    """The row as filters look at it."""
    id = content_id("t", row.problem_id, row.completion)
    return replace(last, id=id, completion=row.completion, num_tokens=num_tokens(row.completion))
