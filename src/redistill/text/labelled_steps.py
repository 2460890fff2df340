"""Rows of data sets with labelled steps -> solutions whose steps are right or wrong: PRM800K, ProcessBench, BIG-Bench-Mistake,
PRMBench, Math-Shepherd, TRL's stepwise supervision, and step labels as spans.

    {"input": "(2 + 3) * 4 =", "steps": ["2 + 3 = 6.", "6 * 4 = 24."], "target": "20", "answer": "24", "mistake_index": 0}
    ->  Solution("(2 + 3) * 4 =", steps=("2 + 3 = 6.", "6 * 4 = 24."), labels=(False, None))

A layout is recognised by its columns. Where a data set tells only the first wrong step, the steps behind it have no label: nobody
has judged them. What a row cannot give is a BadSteps with a short word and a sentence.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from redistill.text.steps import steps as split_steps
from redistill.text.utf8 import utf8

Row = Mapping[str, Any]
Neutral = Literal["right", "wrong", "drop"]


@dataclass(frozen=True, slots=True)
class Solution:
    """One solution with a label per step: True right, False wrong, None not judged. `subset` and `name` are the data set's own;
    `others` are (place, step, label) of further steps that were written and judged at a place (PRM800K)."""

    question: str
    steps: tuple[str, ...]
    labels: tuple[bool | None, ...]
    subset: str = ""
    name: str = ""
    others: tuple[tuple[int, str, bool | None], ...] = ()

    @property
    def first_error(self) -> int:
        """The index of the first step that is labelled wrong, -1 where none is."""
        return next((place for place, label in enumerate(self.labels) if label is False), -1)


class BadSteps(Exception):
    """A row that cannot be read: a short stable word, and what to write."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Reading:
    """How a row is read where its data set leaves a choice.

    steps: a name of SPLITTERS, for solutions that are one text. neutral: what a rating of 0 means (PRM800K; Lightman et al. 2023
    count it as right). originals: of PRMBench also the unaltered solutions. spans: the name of the spans with the labels; a value
    below `threshold` is wrong.
    """

    steps: str = "blank-line"
    neutral: Neutral = "right"
    originals: bool = False
    spans: str = "steps"
    threshold: float = 0.5


def read_solutions(row: Row, layout: str = "auto", reading: Reading = Reading()) -> list[Solution]:
    """The labelled solutions of a row. BadSteps `missing_column` where its columns are those of no layout."""
    name = layout_of(row) if layout == "auto" else layout
    if name is None:
        listed = ", ".join(
            f"{name} ({', '.join(known.columns)})" for name, known in LAYOUTS.items() if known.detectable
        )
        raise BadSteps("missing_column", f"the columns match no known layout of labelled steps: {listed}")
    lacking = [column for column in LAYOUTS[name].columns if column not in row]
    if lacking:
        raise BadSteps("missing_column", f"layout {name} needs column `{lacking[0]}`")
    return LAYOUTS[name].read(row, reading)


def layout_of(row: Row) -> str | None:
    """The first layout whose columns a row has; None where there is none."""
    for name, known in LAYOUTS.items():
        if known.detectable and all(column in row for column in known.columns) and known.fits(row):
            return name
    return None


# --- the layouts ------------------------------------------------------------------------------------------------------


def _first_error(question: Any, steps: Any, first: Any, column: str, subset: str, name: str = "") -> Solution:
    """A solution whose first wrong step is known: `first` counts from 0; null and -1 are none."""
    texts = _texts(steps, "steps")
    place = -1 if first is None else _whole(first)
    if place is None or not -1 <= place < len(texts):
        raise BadSteps(
            "bad_label", f"column `{column}` holds {_shown(first)}; write the index of one of {len(texts)} steps, or -1"
        )
    wrong = len(texts) if place < 0 else place
    labels = tuple(True if place < wrong else False if place == wrong else None for place in range(len(texts)))
    return Solution(_text(question, "question"), texts, labels, subset, name)


def read_processbench(row: Row, reading: Reading) -> list[Solution]:
    """Qwen/ProcessBench: `label` is the first wrong step, from 0, or -1; the subset is the id's first part (gsm8k-12)."""
    name = str(row.get("id") or "")
    subset = name.rpartition("-")[0] or "processbench"
    return [_first_error(row["problem"], row["steps"], row["label"], "label", subset=subset, name=name)]


def read_processbench_traces(row: Row, reading: Reading) -> list[Solution]:
    """ProcessBench as traces: each generation is one text, and `first_error_step` its first wrong step, from 0, or -1."""
    solutions = []
    for place, generation in enumerate(_tables(row["generations"], "generations")):
        if "first_error_step" not in generation:
            raise BadSteps("missing_column", f"generation {place} has no `first_error_step`")
        text = _text(generation.get("text"), "text")
        parts = [text[start:end].strip("\n") for start, end in split_steps(text, reading.steps)]
        name = str(generation.get("upstream_id") or f"{row.get('problem_id', '')}#{place}")
        subset = str(row.get("source") or "processbench")
        solutions.append(
            _first_error(
                row["problem"], parts, generation["first_error_step"], "first_error_step", subset=subset, name=name
            )
        )
    return solutions


def read_bigbench_mistake(row: Row, reading: Reading) -> list[Solution]:
    """WHGTyen/BIG-Bench-Mistake: `mistake_index` is the first wrong step, from 0, or null."""
    return [_first_error(row["input"], row["steps"], row["mistake_index"], "mistake_index", subset="bigbench-mistake")]


def read_prmbench(row: Row, reading: Reading) -> list[Solution]:
    """PRMBench: `error_steps` are all wrong steps of `modified_process`, counted from 1; the subset is the kind of error."""
    texts = _texts(row["modified_process"], "modified_process")
    error_steps = row["error_steps"]
    wrong = [_whole(at) for at in error_steps] if isinstance(error_steps, list | tuple) else [None]
    if not all(at is not None and 1 <= at <= len(texts) for at in wrong):
        raise BadSteps(
            "bad_label", f"column `error_steps` holds {_shown(error_steps)}; write numbers from 1 to {len(texts)}"
        )
    subset, name = str(row.get("classification") or "prmbench"), str(row.get("idx") or "")
    labels = tuple(place + 1 not in wrong for place in range(len(texts)))
    question = row.get("modified_question") or row.get("question")
    solutions = [Solution(_text(question, "modified_question"), texts, labels, subset, name)]
    if reading.originals:
        whole = _texts(row.get("original_process"), "original_process")
        asked = _text(row.get("original_question") or row.get("question"), "original_question")
        solutions.append(Solution(asked, whole, (True,) * len(whole), subset, f"{name}-original"))
    return solutions


def read_prm800k(row: Row, reading: Reading) -> list[Solution]:
    """openai/prm800k: the steps that a labeller chose, one after the other, each rated 1, 0 or -1; the other steps that were
    offered and rated at a place are `others`."""
    question, label = _table(row["question"], "question"), _table(row["label"], "label")
    steps, labels = list[str](), list[bool | None]()
    others = list[tuple[int, str, bool | None]]()
    for place, step in enumerate(_tables(label.get("steps"), "label.steps")):
        offered = _tables(step.get("completions") or [], "completions")
        chosen = step.get("chosen_completion")
        taken = -1 if chosen is None else _whole(chosen)
        if taken is None:
            raise BadSteps("bad_label", f"`chosen_completion` holds {_shown(chosen)}; write an index or null")
        for index, completion in enumerate(offered):
            if index != taken:
                others.append((place, _text(completion.get("text"), "text"), _rated(completion.get("rating"), reading)))
        if 0 <= taken < len(offered):
            read = offered[taken]
        elif step.get("human_completion"):
            read = _table(step["human_completion"], "human_completion")
        else:  # the labeller went no further
            break
        steps.append(_text(read.get("text"), "text"))
        labels.append(_rated(read.get("rating"), reading))
    asked = _text(question.get("problem"), "question.problem")
    return [Solution(asked, tuple(steps), tuple(labels), "prm800k", others=tuple(others))]


def _rated(rating: Any, reading: Reading) -> bool | None:
    if rating is None:
        return None
    whole = _whole(rating)
    if whole not in (-1, 0, 1):
        raise BadSteps("bad_label", f"a rating is {_shown(rating)}; write 1, 0, -1 or null")
    return {"right": True, "wrong": False, "drop": None}[reading.neutral] if whole == 0 else whole == 1


def read_stepwise(row: Row, reading: Reading) -> list[Solution]:
    """TRL's stepwise supervision: `completions` are the steps of one answer, `labels` true or false for each."""
    texts, labels = _texts(row["completions"], "completions"), row["labels"]
    if not isinstance(labels, list | tuple) or len(labels) != len(texts):
        raise BadSteps("length_mismatch", f"column `labels` does not hold one label per step ({len(texts)} steps)")
    if not all(label is None or isinstance(label, bool) or label in (0, 1) for label in labels):
        raise BadSteps("bad_label", "column `labels` holds values other than true, false and null")
    marks = tuple(None if label is None else bool(label) for label in labels)
    return [Solution(_text(row["prompt"], "prompt"), texts, marks, "stepwise")]


STEP_TAG = "\u043a\u0438"  # what Math-Shepherd writes behind every step


def read_math_shepherd(row: Row, reading: Reading) -> list[Solution]:
    """peiyi9979/Math-Shepherd: `input` is the question and the steps, each with the tag behind it; `label` the same text with + or - in
    place of every tag. The question ends where "Step 1" begins."""
    text, label = _text(row["input"], "input"), _text(row["label"], "label")
    *parts, rest = text.split(STEP_TAG)
    asked, mark, first = parts[0].partition("Step 1") if parts else ("", "", "")
    if not mark or rest.strip():
        raise BadSteps("no_steps", f"`input` holds no question followed by `Step 1` and steps that end with {STEP_TAG}")
    steps, signs, at = [mark + first, *parts[1:]], list[bool](), 0
    for part in parts:
        at = label.find(part.strip(), at)
        sign = label[at + len(part.strip()) :].lstrip()[:1]
        if at < 0 or sign not in ("+", "-"):
            raise BadSteps("bad_label", "`label` is not the text of `input` with + or - in place of each tag")
        at, signs = at + len(part.strip()), [*signs, sign == "+"]
    return [
        Solution(
            _text(asked.strip(), "question"),
            tuple(step.strip() for step in steps),
            tuple(signs),
            str(row.get("task") or "math-shepherd"),
        )
    ]


def _is_math_shepherd(row: Row) -> bool:
    return isinstance(row["input"], str) and STEP_TAG in row["input"]


def read_spans(row: Row, reading: Reading) -> list[Solution]:
    """The layout `traces`, whose generations carry step labels as spans [start, end, value]."""
    solutions = []
    generations = row["generations"] if isinstance(row["generations"], list | tuple) else ()
    for place, generation in enumerate(generations):
        if not isinstance(generation, Mapping):  # a text alone
            continue
        spans = _table(generation.get("spans") or {}, "spans").get(reading.spans)
        if not spans:
            continue
        text = _text(generation.get("text"), "text")
        ranges, labels = _ranges(spans, text, reading)
        texts = _texts([text[start:end] for start, end in ranges], "spans")
        asked, name = _text(row["problem"], "problem"), str(place)
        solutions.append(Solution(asked, texts, labels, str(row.get("source") or "spans"), name))
    return solutions


def _ranges(spans: Any, text: str, reading: Reading) -> tuple[list[tuple[int, int]], tuple[bool, ...]]:
    """The steps that spans of a text mark, in their order, and whether each is right; a span of the end of turn, behind the last
    character, is none. BadSteps `bad_label` where they do not fit the text."""
    ranges = list[tuple[int, int, bool]]()
    for span in spans if isinstance(spans, list | tuple) else [spans]:
        one = [span.get(key) for key in ("start", "end", "value")] if isinstance(span, Mapping) else span
        start, end, value = one if isinstance(one, list | tuple) and len(one) == 3 else (None, None, None)
        first, last = _whole(start), _whole(end)
        if first is None or last is None or isinstance(value, bool) or not isinstance(value, int | float):
            raise BadSteps("bad_label", f"a span is {_shown(span)}; write [start, end, value]")
        if (first, last) == (len(text), len(text) + 1):
            continue
        if not (0 <= first < last <= len(text) and 0 <= value <= 1):
            raise BadSteps(
                "bad_label", f"the span {_shown(span)} does not fit its text of {len(text)} characters, or 0 to 1"
            )
        ranges.append((first, last, value >= reading.threshold))
    ranges.sort()
    if any(end > start for (_, end, _), (start, _, _) in pairwise(ranges)):
        raise BadSteps("bad_label", f"spans of `{reading.spans}` overlap, so the steps are unknown")
    return [(start, end) for start, end, _ in ranges], tuple(label for _, _, label in ranges)


def _whole(value: Any) -> int | None:
    """A whole number, also one that a table's column has made 3.0; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 2**53:
        return None
    return int(value) if value == int(value) else None


def _shown(value: Any) -> str:
    return f"{value!r:.60}".encode("ascii", "backslashreplace").decode()


def _table(value: Any, column: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadSteps("wrong_type", f"`{column}` holds {_shown(value)}; it must be a table")
    return value


def _tables(value: Any, column: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list | tuple):
        raise BadSteps("wrong_type", f"`{column}` holds {_shown(value)}; it must be a list of tables")
    return [_table(one, column) for one in value]


def _texts(value: Any, column: str) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(step, str) for step in value):
        raise BadSteps("wrong_type", f"column `{column}` must be a list of strings, one per step")
    if not value:
        raise BadSteps("no_steps", f"column `{column}` is empty")
    return tuple(value)


def _text(value: Any, column: str) -> str:
    if not isinstance(value, str):
        raise BadSteps("wrong_type", f"column `{column}` holds {_shown(value)}; write text")
    if not value.strip():
        raise BadSteps(
            "empty_statement" if "problem" in column or "question" in column else "empty_step", f"`{column}` is empty"
        )
    return utf8(value)


def _has_first_errors(row: Row) -> bool:
    """True where some generation of the row tells its first wrong step."""
    listed = row["generations"]
    return isinstance(listed, Sequence) and any(isinstance(g, Mapping) and "first_error_step" in g for g in listed)


def _always(row: Row) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Layout:
    """A data set's columns, how a row is read, and whether its columns identify it (`detectable`); `fits`: a further check."""

    columns: tuple[str, ...]
    read: Callable[[Row, Reading], list[Solution]]
    detectable: bool = True
    fits: Callable[[Row], bool] = _always


LAYOUTS: dict[str, Layout] = {
    "prm800k": Layout(
        ("question", "label"),
        read_prm800k,
        fits=lambda row: isinstance(row["label"], Mapping) and "steps" in row["label"],
    ),
    "processbench": Layout(("problem", "steps", "final_answer_correct", "label"), read_processbench),
    "processbench-traces": Layout(("problem", "generations"), read_processbench_traces, fits=_has_first_errors),
    "bigbench-mistake": Layout(("input", "steps", "target", "answer", "mistake_index"), read_bigbench_mistake),
    "prmbench": Layout(("modified_process", "error_steps"), read_prmbench),
    "math-shepherd": Layout(("input", "label"), read_math_shepherd, fits=_is_math_shepherd),
    "stepwise": Layout(("prompt", "completions", "labels"), read_stepwise, detectable=False),
    "spans": Layout(("problem", "generations"), read_spans, detectable=False),
}


def judgements(solution: Solution) -> Iterator[tuple[int, tuple[str, ...], str, bool | None]]:
    """(place, previous steps, step, label) of everything in a solution that can be judged, in order of the place."""
    rows = [
        (place, step, label) for place, (step, label) in enumerate(zip(solution.steps, solution.labels, strict=True))
    ]
    for place, step, label in sorted([*rows, *solution.others], key=lambda row: row[0]):
        yield place, solution.steps[:place], step, label
