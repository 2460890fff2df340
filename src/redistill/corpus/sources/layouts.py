"""Which source reads a file? Every source is tried on a sample of its rows, under its own column names and the usual others.

    found = survey("mine.jsonl", SOURCES)
    found.best.source, found.best.options     ->  "traces", {"problem_column": "question"}
    found.best.answers, found.best.labels     ->  share of problems with a gold answer, {"teacher_label": 0.4}
    found.tried                               ->  the best layout of every other source, with what it drops and why

The layout that keeps most wins: most rows, then most traces, labels, gold answers, fewest columns left unread, fewest
renamed. Of one source's layouts that keep nearly as much the one with labels and gold answers wins, so that a few odd cells do
not cost a whole column. A new source is tried as soon as it stands in SOURCES, and the options of a data set known by name (known.py) where
its columns are there. A source that makes groups without traces (`problems`) makes something of nearly any file, so it is
taken only where no other source makes any trace and no column is one that traces stand in: a file of traces that cannot be
read is said to be that, and no list of problems.
"""

import contextlib
import glob
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redistill.config.binding import options_of
from redistill.corpus.sources import columns, fields, known, tags
from redistill.corpus.sources.files import note_on
from redistill.corpus.sources.rows import RowError, sample_instead, spread_rows, taking_notes
from redistill.errors import OperatorError
from redistill.io.stores import is_address
from redistill.records import Dropped, Group, Outcome, Problem, Trace
from redistill.retrieval.collection import files_of
from redistill.retrieval.histories import history_files
from redistill.safety.paths import home_path
from redistill.text.statements import answer_key

SAMPLE_ROWS = 200
SAMPLE_FILES = 8  # of a folder, evenly spaced: files of other columns are seen
LOOKED_AT = 4_000  # characters of either end of a text that may be a completion
NEARLY = 0.9  # of the rows and traces of another layout: as good as all of them
MAX_NAMES = 3  # of the usual names of a column, those present that are tried
Source = Callable[..., Iterator[Group | Dropped]]


@dataclass(frozen=True, slots=True)
class Layout:
    """A source and its options for a file, and what its sample holds: shares are of problems or of traces."""

    source: str
    options: dict[str, Any]
    groups: int
    rows: int
    said: tuple[tuple[Problem, Trace], ...]  # every trace with its problem
    answers: float  # share of problems with a gold answer
    labels: dict[str, float]  # verdict of the data -> share of traces that it calls wrong
    label_shares: dict[str, float]  # verdict of the data -> share of traces that have it
    paired: bool  # some problem has traces that differ in their label, or several traces that a verifier may tell apart
    right: int  # traces that no label of theirs calls wrong, of those that have any
    wrong: int
    dropped: dict[str, int]  # reason -> rows
    lost: dict[str, int]  # reason -> single traces of rows that were kept
    reasons: dict[str, str]  # reason -> where it came up first, and the sentence on it
    unread: tuple[str, ...]  # columns with a value that it does not ask for
    repeated: int  # problems that more than one row tells
    contradicted: int  # of these, with different gold answers
    contradiction: str  # two of them
    unopened: float  # share of traces that close thinking which they did not open
    dataset: str = ""  # the known data set whose options these are

    @property
    def traces(self) -> tuple[str, ...]:
        """The completions."""
        return tuple(trace.completion for _, trace in self.said)

    @property
    def readable(self) -> int:
        """Traces that say anything."""
        return sum(bool(text.strip()) for text in self.traces)

    @property
    def worth(self) -> tuple[float, ...]:
        """What is compared between sources."""
        return (
            self.groups,
            self.readable,
            bool(self.labels),
            self.wrong > 0,
            self.answers,
            bool(self.dataset),
            bool(self.answers) or "answer_column" not in self.options,
            -len(self.unread),
            -len(self.options),
        )


@dataclass(frozen=True, slots=True)
class Survey:
    """What is known of a file: the layout that keeps most, the best of every other source, the columns that none of them
    read, a sentence on splits and files that are left out, and whether all rows were looked at."""

    best: Layout
    tried: tuple[Layout, ...]
    unread: tuple[str, ...]
    note: str
    whole: bool  # the sample is all there is


# Sources that read the rows of another one for another use: a file is recognised as that one's.
SECOND = ("labelled-steps",)


def recognise(path: str, sources: Mapping[str, Source]) -> Layout:
    """The layout of a file, folder or glob on this machine that keeps most of it. OperatorError as `survey`."""
    return survey(path, sources).best


def _collection_source(path: str) -> str | None:
    """The source of a folder whose files belong together: purchases with items, or documents with queries and judgements."""
    if is_address(path) or not home_path(path).is_dir():
        return None
    for name, files_of_one, least in (("purchase-history", history_files, 2), ("queries", files_of, 3)):
        with contextlib.suppress(OperatorError):
            if len(files_of_one(path)) >= least:
                return name
    return None


def survey(path: str, sources: Mapping[str, Source], split: str | None = None) -> Survey:
    """Every layout of a file, folder or glob, on this machine or in object storage. OperatorError where no source makes anything of it."""
    if not (is_address(path) or home_path(path).exists() or glob.glob(path, recursive=True)):
        raise OperatorError(f"there is no file or folder at {path}; download a dataset of the hub first.")
    if collection := _collection_source(path):
        raise OperatorError(
            f"{path} is a collection for the source {collection}, which has no traces; docs/how-to/rewriting-queries.md shows the recipe."
        )
    rows, first, whole = spread_rows(path, split, SAMPLE_ROWS, SAMPLE_FILES)
    names = sorted({key for _, row in rows if isinstance(row, dict) for key in row})
    every: list[Layout] = []
    if not names:
        raise OperatorError(_unreadable(path, rows))
    golds = [name for name in names if not _holds_labels(rows, name)]
    written = [name for name in names if _holds_completions(rows, name)][:MAX_NAMES]
    with sample_instead(rows):
        for name, source in sources.items():
            if "path" in options_of(source) and name not in SECOND:
                variants = _variants(source, names, golds, written)
                every += [_look(name, source, str(first), options) for options in variants]
        for dataset, one in known.candidates(names):
            every.append(_look(one.source, sources[one.source], str(first), one.options, dataset))
    tried = [layout for layout in every if layout.groups]
    if any(layout.readable for layout in tried):
        tried = [layout for layout in tried if layout.readable]
    elif _has_answers(rows) or _has_trace_columns(rows):
        tried = [layout for layout in tried if layout.source == "step-judgements"]
    if not tried:
        raise OperatorError(
            f"{path}: no source can read its columns ({', '.join(names) or 'none'}); {_nearest(every, sources, names)}"
        )
    best = _richest(max(tried, key=lambda layout: layout.worth), tried)
    by_source: defaultdict[str, list[Layout]] = defaultdict(list)
    for layout in every:
        by_source[layout.source].append(layout)
    others = [
        max(layouts, key=lambda layout: layout.worth) for name, layouts in by_source.items() if name != best.source
    ]
    unread = set(best.unread).intersection(*(layout.unread for layout in tried)) if tried else set()
    options = {"path": path, **({"split": split} if split else {})}
    return Survey(
        _with_split(best, split),
        tuple(sorted(others, key=lambda layout: layout.worth, reverse=True)),
        tuple(sorted(unread)),
        " ".join(filter(None, [note_on(options), _perhaps_steps(best, rows)])),
        whole,
    )


def _richest(best: Layout, tried: list[Layout]) -> Layout:
    """The layout of the same source that reads labels and gold answers and keeps nearly as many rows and traces. Options that are
    known for a data set stand."""
    if best.dataset:
        return best

    def reads(layout: Layout) -> tuple[float, ...]:
        return bool(layout.labels), layout.wrong > 0, layout.answers > best.answers + 1 - NEARLY, *layout.worth

    enough, said = NEARLY * best.groups, NEARLY * best.readable
    near = [one for one in tried if one.source == best.source and one.groups >= enough and one.readable >= said]
    return max(near, key=reads)


def _perhaps_steps(best: Layout, rows: list[tuple[str, Any]]) -> str:
    """The warning that lists of completions with labels may be the steps of one answer; "" where they cannot be."""
    several = any(
        isinstance(row, dict) and isinstance(row.get("completions"), list) and len(row["completions"]) > 1
        for _, row in rows
    )
    if best.source != "completions" or best.answers or not (best.labels and several):
        return ""
    return (
        "`completions` with `labels` is read as several answers per prompt, each right or wrong; TRL's stepwise "
        "supervision uses the same columns for the steps of one answer: if these are steps, read them with {name: step-judgements, layout: stepwise}."
    )


UNREADABLE = {
    "bad_json": "is not JSON; write one object per line",
    "not_utf8": "is not UTF-8; save the file as UTF-8",
    "not_an_object": "is not a JSON object; write one object with columns per line",
    "bad_csv": "has a different number of cells than the header",
    "line_too_long": "is longer than the limit for a row",
}


def _unreadable(path: str, rows: list[tuple[str, Any]]) -> str:
    """The sentence on a file without a row that has columns."""
    if not rows:
        return f"{path} has no rows; give a file of traces."
    row_id, reason = rows[0]
    return f"{path}: none of {len(rows)} rows can be read; {row_id} {UNREADABLE.get(reason, 'has no columns')}."


def _with_split(layout: Layout, split: str | None) -> Layout:
    if split:
        layout.options["split"] = split
    return layout


def _holds_labels(rows: list[tuple[str, Any]], name: str) -> bool:
    """True for a column that is called a label and says nothing but right and wrong: it is not a gold answer."""
    if name not in columns.LABELS:
        return False
    try:
        return any(
            fields.as_bool(row.get(name), name) is not None
            for _, row in rows
            if isinstance(row, dict) and not isinstance(row.get(name), list)
        )
    except RowError:
        return False


def _holds_completions(rows: list[tuple[str, Any]], name: str) -> bool:
    """True for a column of another name whose texts, or lists of texts, look like what a model wrote in most rows."""
    if name in columns.TRACE_COLUMNS or name in columns.THINKING:
        return False
    values = [row[name] for _, row in rows if isinstance(row, dict) and row.get(name) is not None]
    several = any(
        isinstance(value, list) and len(value) > 1 for value in values
    )  # `solutions` of one problem are not a reference
    if columns.REFERENCE.search(name) and not (several and name == "solutions"):
        return False
    texts = [value[0] if isinstance(value, list) and value else value for value in values]
    seen = sum(
        isinstance(text, str) and bool(columns.MODEL_TEXT.search(text[:LOOKED_AT] + text[-LOOKED_AT:]))
        for text in texts
    )
    return 2 * seen > len(rows)


def _has_trace_columns(rows: list[tuple[str, Any]]) -> bool:
    """True where a column that is called one of completions holds text or lists of it (PRM800K's `generation` is a number)."""
    named = columns.TRACE_COLUMNS.difference(columns.CONVERSATIONS)
    return any(
        isinstance(row.get(name), str | list | dict) for _, row in rows if isinstance(row, dict) for name in named
    )


def _has_answers(rows: list[tuple[str, Any]]) -> bool:
    """True where conversations hold what an assistant said: the file is of traces, even if none can be read."""
    for _, row in rows:
        for name in columns.CONVERSATIONS if isinstance(row, dict) else ():
            text = json.dumps(row.get(name), default=str).lower()
            if any(f'"{role}"' in text for role in ("assistant", "gpt", "model", "bot")):
                return True
    return False


def _nearest(layouts: list[Layout], sources: Mapping[str, Source], names: list[str]) -> str:
    """What stands in the way of the source that comes nearest: the one with the most telling refusal."""
    if blank := [layout for layout in layouts if layout.groups and layout.traces]:
        layout = max(blank, key=lambda one: one.worth)
        there = next((name for name in columns.TRACE_COLUMNS if name in names), "completions")
        return f"`{layout.source}` matches, but every completion in column `{there}` is empty; fill it with the model's output."
    detailed = [layout for layout in layouts if any(": " in reason for reason in layout.reasons.values())]
    if detailed:
        layout = min(reversed(detailed), key=lambda one: (_is_vague(_main_reason(one)), len(one.options)))
        word = _main_reason(layout)
        if _is_vague(word) < 2:
            return f"`{layout.source}` is the closest match and drops {layout.dropped[word]} of {layout.rows} rows ({word}), the first at {layout.reasons[word]}."
    known_names = ", ".join(name for name, source in sources.items() if "path" in options_of(source))
    return f"available layouts: {known_names}; see docs/datasets.md under Layouts."


def _main_reason(layout: Layout) -> str:
    """The commonest of the reasons that a sentence goes with."""
    return max(
        (word for word, reason in layout.reasons.items() if ": " in reason),
        key=lambda word: layout.dropped[word],
        default="",
    )


def _is_vague(word: str) -> int:
    """How little a reason says of a file: no such column least, another type little, everything else much."""
    return {"": 3, "missing_column": 2, "no_image": 2, "wrong_type": 1}.get(word, 0)


def _variants(source: Source, present: list[str], golds: list[str], written: list[str]) -> Iterator[dict[str, Any]]:
    """The options that name columns, as the file may mean them; {} first, the source's own names. written: columns of unusual
    names that hold completions."""
    choices: list[list[tuple[str, str | None]]] = []
    for option, parameter in options_of(source).items():
        word, _, kind = option.partition("_")
        if (
            kind == "column"
            and parameter.default not in present
            and option not in ("input_column", "label_column", "thinking_column")
        ):
            fitting = golds if word == "answer" else present
            names = [name for name in columns.NAMES.get(word, ()) if name in fitting][:MAX_NAMES]
            names += written if word in ("completions", "generations") else []
            if word == "problem" and "generations_column" not in options_of(
                source
            ):  # of problems alone: what is only asked
                names += [name for name in columns.CONVERSATIONS if name in present]
            choices.append([(option, None), *((option, name) for name in names)])
    labelled: list[dict[str, Any]] = [{}, {"label": "all"}] if "label" in options_of(source) else [{}]
    for extra in labelled:
        for chosen in itertools.product(*choices):
            named = [name for _, name in chosen if name is not None]
            if len(set(named)) == len(named) or _is_one_conversation(chosen):
                yield {**{option: name for option, name in chosen if name is not None}, **extra}


def _is_one_conversation(chosen: tuple[tuple[str, str | None], ...]) -> bool:
    """True where only a column of messages is named twice: it holds the question and the chosen answer."""
    named = [name for _, name in chosen if name is not None]
    return all(name in columns.CONVERSATIONS for name in named if named.count(name) > 1)


def _has_gold(group: Group) -> bool:
    """Whether a problem has a gold answer that is not the trace itself: a human solution under two names judges nothing."""
    gold = group.problem.answer
    if gold is None:
        return False
    return not group.traces or any(trace.completion.strip() != gold.strip() for trace in group.traces)


def _look(name: str, source: Source, path: str, options: dict[str, Any], dataset: str = "") -> Layout:
    with taking_notes() as notes:
        sample = list(source(path=path, **options))
    groups = [group for group in sample if isinstance(group, Group)]
    refused = [item for item in sample if isinstance(item, Dropped)]
    traces = [trace for group in groups for trace in group.traces]
    wrong: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    said = [trace for trace in traces if trace.completion.strip()]
    for trace in said:
        counts.update(list(trace.verdicts))
        wrong.update(label for label, verdict in trace.verdicts.items() if verdict.outcome == Outcome.incorrect)
    outcomes = [{verdict.outcome for verdict in trace.verdicts.values()} for trace in said if trace.verdicts]
    golds: defaultdict[str, set[str]] = defaultdict(set)
    of_problem: defaultdict[str, dict[str, set[Outcome]]] = defaultdict(dict)
    for group in groups:
        if group.problem.answer is not None:
            golds[group.problem.id].add(group.problem.answer)
        for trace in group.traces:
            if not trace.completion.strip():
                continue
            if trace.finish_reason == "length":
                continue  # what was cut off is neither
            of_problem[group.problem.id][trace.id] = {verdict.outcome for verdict in trace.verdicts.values()}
    contradicted = [found for found in golds.values() if len({answer_key(one) for one in found}) > 1]
    answered = sum(_has_gold(group) for group in groups)
    several = any(len(found) > 1 for found in of_problem.values())
    told_apart = any(
        {Outcome.correct} in found.values() and {Outcome.incorrect} in found.values() for found in of_problem.values()
    )
    return Layout(
        source=name,
        options=options,
        groups=len(groups),
        rows=len(sample),
        said=tuple((group.problem, trace) for group in groups for trace in group.traces),
        answers=answered / max(1, len(groups)),
        labels={label: wrong[label] / count for label, count in sorted(counts.items())},
        label_shares={label: count / len(said) for label, count in counts.items()},
        paired=(several and bool(answered)) or told_apart,
        right=sum(Outcome.incorrect not in found for found in outcomes),
        wrong=sum(Outcome.incorrect in found for found in outcomes),
        dropped=dict(Counter(item.reason for item in refused).most_common()),
        lost=dict(
            Counter(
                [
                    *(lost.reason for lost in notes.lost),
                    *("empty_completion" for t in traces if not t.completion.strip()),
                ]
            )
        ),
        reasons={item.reason: f"{item.id}: {item.detail}" if item.detail else item.id for item in reversed(refused)},
        unread=tuple(sorted(notes.unread)),
        repeated=sum(count > 1 for count in Counter(group.problem.id for group in groups).values()),
        contradicted=len(contradicted),
        contradiction=" and ".join(map(repr, sorted(contradicted[0])[:2])) if contradicted else "",
        unopened=sum(map(tags.is_unopened, (trace.completion for trace in traces))) / max(1, len(traces)),
        dataset=dataset,
    )
