"""Which source reads a file? Every source is tried on its first rows, under its own column names and the usual others.

    found = recognise("mine.jsonl")
    found.source, found.options          ->  "traces", {"problem_column": "question"}
    found.answers, found.labels          ->  share of problems with a gold answer, {"teacher_label": 0.4}

The source that makes most of the rows wins: most groups, then most gold answers, labels and traces, then the fewest columns
renamed. A new source is tried as soon as it stands in SOURCES. A source that makes groups without traces (`problems`) makes
something of nearly any file, so it is taken only where no other source makes any trace and no column is one that traces
stand in: a file of traces that cannot be read is said to be that, and no list of problems.
"""

import glob
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.config.binding import options_of
from redistill.corpus.sources.files import read_rows, resolve
from redistill.errors import OperatorError
from redistill.records import Dropped, Group, Outcome

SAMPLE_ROWS = 200
# What people call a column, by the first word of the option that names it; the first that is there is taken.
COLUMN_NAMES = {
    "problem": ("problem", "question", "prompt", "instruction", "query", "input"),
    "prompt": ("prompt", "problem", "question", "instruction", "query", "input"),
    "answer": ("answer", "gold", "gold_answer", "ground_truth", "reference_answer", "expected_answer", "final_answer"),
    "generations": ("generations", "responses", "completions", "outputs", "samples"),
    "completions": (
        "completions",
        "responses",
        "generations",
        "outputs",
        "samples",
        "completion",
        "response",
        "output",
    ),
    "labels": ("labels", "label", "correct", "is_correct"),
    "messages": ("messages", "conversation", "chat"),
    "conversations": ("conversations", "conversation"),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
}
TRACE_COLUMNS = {name for word in ("generations", "completions", "messages", "conversations", "chosen", "rejected")
                 for name in COLUMN_NAMES[word]}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """A source and its options for a file, and what its first rows hold: shares are of problems or of traces."""

    source: str
    options: dict[str, Any]
    groups: int
    rows: int
    traces: tuple[str, ...]  # the completions
    answers: float  # share of problems with a gold answer
    labels: dict[str, float]  # verdict of the data -> share of traces that it calls wrong
    paired: bool  # some problem has traces that differ in their label, or several traces that a verifier may tell apart

    @property
    def worth(self) -> tuple[float, ...]:
        """What is compared between sources."""
        return (self.groups, self.answers, bool(self.labels), len(self.traces), -len(self.options))


def recognise(path: str, sources: Mapping[str, Callable[..., Iterator[Group | Dropped]]]) -> Layout:
    """The layout of a file, folder or glob on this machine. OperatorError where no source makes anything of it."""
    if not (Path(path).expanduser().exists() or glob.glob(path, recursive=True)):
        raise OperatorError(
            f"there is no file or folder at {path}; traces are looked at on this machine, so fetch a dataset of the hub first."
        )
    first = resolve(path)[0]
    rows = [row for _, row in itertools.islice(read_rows(first), SAMPLE_ROWS)]
    columns = sorted({key for row in rows if isinstance(row, dict) for key in row})
    tried = [
        layout
        for name, source in sources.items()
        if "path" in options_of(source)
        for options in _variants(source, columns)
        if (layout := _look(name, source, str(first), options)).groups
    ]
    if any(layout.traces for layout in tried):
        tried = [layout for layout in tried if layout.traces]
    elif TRACE_COLUMNS & set(columns):
        tried = []
    if not tried:
        known = ", ".join(name for name, source in sources.items() if "path" in options_of(source))
        raise OperatorError(
            f"{path}: no source makes anything of its columns ({', '.join(columns) or 'none'}); the layouts that are read are "
            f"{known}, shown in README.md under `Bring your own traces`."
        )
    return max(tried, key=lambda layout: layout.worth)


def _variants(source: Callable[..., Any], columns: list[str]) -> Iterator[dict[str, str]]:
    """The options that name columns, as the file may mean them; {} first, the source's own names."""
    choices: list[list[tuple[str, str | None]]] = []
    for option, parameter in options_of(source).items():
        word, _, kind = option.partition("_")
        if kind == "column" and parameter.default not in columns:
            found = [name for name in COLUMN_NAMES.get(word, ()) if name in columns]
            choices.append([(option, None), *((option, name) for name in found)])
    labelled = [{}, {"label": "all"}] if "label" in options_of(source) else [{}]
    for extra in labelled:
        for chosen in itertools.product(*choices):
            yield {**{option: name for option, name in chosen if name is not None}, **extra}


def _look(name: str, source: Callable[..., Iterator[Group | Dropped]], path: str, options: dict[str, str]) -> Layout:
    sample = list(itertools.islice(source(path=path, **options), SAMPLE_ROWS))
    groups = [group for group in sample if isinstance(group, Group)]
    traces = [trace for group in groups for trace in group.traces]
    wrong: Counter[str] = Counter()
    labels = {label for trace in traces for label in trace.verdicts}
    for trace in traces:
        wrong.update(label for label, verdict in trace.verdicts.items() if verdict.outcome == Outcome.incorrect)
    answered = sum(group.problem.answer is not None for group in groups)
    several = any(len({t.id for t in group.traces}) > 1 for group in groups)
    return Layout(
        source=name,
        options=options,
        groups=len(groups),
        rows=len(sample),
        traces=tuple(trace.completion for trace in traces),
        answers=answered / max(1, len(groups)),
        labels={label: wrong[label] / len(traces) for label in sorted(labels)},
        paired=several and (bool(answered) or bool(wrong)),
    )
