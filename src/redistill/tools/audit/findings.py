"""Judged groups -> what is worth looking at, counted, and one row per trace for the Parquet of verdicts.

    found, texts = findings(folder, judged, Path("mine-audit/verdicts.parquet"))   ->   counts as plain data, and texts to show

One pass over the judged traces; memory holds counts, lengths, one shard and the texts that are shown.
"""

import itertools
import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from redistill.io.atomic import atomic_write
from redistill.io.parquet import read_records
from redistill.io.stage_folder import StageFolder
from redistill.records import Group, Match, Outcome, Trace
from redistill.select.filters import FILTERS, Side
from redistill.select.pairing import Pairing, certain, length_matched, same_teacher
from redistill.text.utf8 import utf8
from redistill.tools.audit.reading import Judged
from redistill.verify.policy import labels_of
from redistill.verify.several import is_one_of_several, task_of

SHOWN = 3  # texts of each kind
FLAWS = ("truncated", "repetition", "thinking", "malformed-tags")  # filters of select that a trace by itself can fail
SAME_ANSWER = 3  # wrong traces with one answer between them, and no right one: look at the gold answer
MAX_SIDE = 100  # traces of a side that are compared pair by pair
TEACHERS = 50  # rows
END_CHARS = 60  # of a last line
MAX_ENDS = 10_000  # different ones that are counted
OFFERS: dict[str, Pairing] = {  # title -> a pairing of select with its options
    "certain, one per problem": lambda group: certain(group),
    "certain, each trace used": lambda group: certain(group, max_pairs=len(group.traces)),
    "of like length (ratio at most 1.5)": lambda group: length_matched(_few(group), max_ratio=1.5),
    "of one teacher": lambda group: same_teacher(_few(group)),
}


@dataclass(slots=True)
class Texts:
    """What the page shows in full: (group, trace) by kind."""

    suspects: dict[str, list[tuple[Group, Trace]]] = field(default_factory=lambda: defaultdict(list))
    golds: list[tuple[Group, Trace]] = field(default_factory=list)
    flaws: dict[str, list[tuple[Group, Trace]]] = field(default_factory=lambda: defaultdict(list))


def findings(folder: Path, judged: Judged, out: Path) -> tuple[dict[str, Any], Texts]:
    """Counts by subject, and the texts to show; the rows of the judged traces are written to `out`, a Parquet file.

    folder: of read_and_judge. Columns of a row: file, row, problem_id, trace_id, teacher, task, gold, answer, outcome (of the
    policy), verifier_outcome, reason, characters, flaws, suspect (`label_says_wrong` or `label_says_right` against the
    verifier, `gold` where the gold answer may be wrong), and label_NAME for each label of the files.
    """
    wanted = _examples_of(judged)
    texts, counts = Texts(), _Counts()
    shards = StageFolder(folder / "verify", "").shard_files("groups")
    origins = StageFolder(folder / "corpus", "").shard_files("origins")
    with atomic_write(out) as part, pq.ParquetWriter(part, _schema(judged), compression="zstd") as writer:
        for path, origin in zip(shards, origins, strict=True):
            where = {o.trace_id: (o.file, o.row) for o in reversed(list(read_records(origin))) if o.status == "kept"}
            rows = []
            for group in read_records(path):
                flaws = {trace.id: flaws_of(group, trace) for trace in group.traces}
                suspect = suspicious_gold(group)
                counts.add(group, flaws, suspect, texts)
                rows += [_row(group, t, where, judged, flaws[t.id], suspect is not None) for t in group.traces]
                for trace in group.traces:
                    for kind in wanted.get(trace.id, ()):
                        texts.suspects[kind].append((group, trace))
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, _schema(judged)))
    return {**_corpus_findings(folder, judged.corpus), **counts.summary()}, texts


def _corpus_findings(folder: Path, corpus: Mapping[str, Any]) -> dict[str, Any]:
    """Duplicates and leaks, from the corpus stage."""
    tallies, dropped = corpus["tallies"], {name: account["dropped"] for name, account in corpus["accounts"].items()}
    return {
        "duplicates": {
            "traces": dropped["traces"].get("duplicate_trace", 0),
            "labels_that_contradict": sum(n for word, n in tallies["labels"].items() if word.endswith("=disagree")),
            "problems_merged": dropped["problems"].get("same_problem", 0),
            "near_duplicates": sum(n for word, n in tallies["matches"].items() if word.startswith("listed=")),
            "examples": [_match(one) for one in _first(folder, "merges", "listed")],
        },
        "leaks": {
            "problems": sum(tallies["leaks"].values()),
            "by_benchmark": _by_benchmark(tallies["leaks"]),
            "examples": [_match(one) for one in _first(folder, "leaks", "listed")],
        },
    }


def _examples_of(judged: Judged) -> dict[str, list[str]]:
    """Trace id -> the kinds of contradiction that it is an example of."""
    wanted: defaultdict[str, list[str]] = defaultdict(list)
    for table in judged.agreement:
        for kind, words in (
            ("label_says_wrong", f"{table['verifier']} says correct, {table['label']} says wrong"),
            ("label_says_right", f"{table['verifier']} says incorrect, {table['label']} says right"),
        ):
            for example in table[kind]["examples"][:SHOWN]:
                wanted[example["trace_id"]].append(words)
    return wanted


def _first(folder: Path, stream: str, action: str) -> Iterator[Match]:
    """The first SHOWN matches of a stream of the corpus stage with this action."""
    items = StageFolder(folder / "corpus", "").read(stream)
    return itertools.islice((match for match in items if match.action == action), SHOWN)


def _match(match: Match) -> dict[str, Any]:
    return {
        "matched": match.matched, "how": match.how, "similarity": match.similarity,
        "statement": match.statement, "matched_statement": match.matched_statement,
    }  # fmt: skip


def _by_benchmark(leaks: Mapping[str, int]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for word, count in leaks.items():
        counts[word.rpartition("=")[0]] += count
    return dict(counts.most_common())


def tone(trace: Trace) -> str:
    """`right`, `wrong` or `undecided`, by the joined verdict."""
    return {Outcome.correct: "right", Outcome.incorrect: "wrong"}.get(trace.verdict.outcome, "undecided")


def flaws_of(group: Group, trace: Trace) -> list[str]:
    """The reasons of the filters in FLAWS that would drop the trace: `truncated`, `repetition`, `unfinished_thinking` ..."""
    side = Side("completion", group, trace, 0, len(trace.completion))
    flaws = []
    for name in FLAWS:
        options = {"required": False} if name == "thinking" else {}
        if reason := FILTERS[name](side, **options):
            flaws.append(reason.removeprefix("completion_"))
    return flaws


class _Counts:
    """What one pass over the groups adds up."""

    def __init__(self) -> None:
        self.flaws: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.teachers: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.chars: defaultdict[str, list[int]] = defaultdict(list)
        self.longer: list[float] = []  # per problem: the share of its right-wrong pairs whose wrong trace is longer
        self.pairs: dict[str, Counter[str]] = {name: Counter() for name in OFFERS}
        self.suspicious = 0
        self.unread_ends: Counter[str] = Counter()  # last lines of traces without a readable answer, numbers alike
        self.unread_end: dict[str, str] = {}  # one such line as it is written

    def add(self, group: Group, flaws: Mapping[str, Sequence[str]], suspect: Trace | None, texts: Texts) -> None:
        """One judged group. flaws: by trace id; suspect: of suspicious_gold."""
        sides: dict[str, list[int]] = {"right": [], "wrong": [], "undecided": []}
        for trace in group.traces:
            said = tone(trace)
            sides[said].append(len(trace.completion))
            self.teachers[trace.author or "unknown"][said] += 1
            if trace.verdict.outcome is Outcome.no_answer:
                self._add_end(trace.completion)
            for flaw in flaws[trace.id]:
                self.flaws[flaw][said] += 1
                if len(texts.flaws[flaw]) < SHOWN:
                    texts.flaws[flaw].append((group, trace))
        for said, lengths in sides.items():
            self.chars[said] += lengths
        if sides["right"] and sides["wrong"]:
            self.longer.append(_share_longer(sides["wrong"], sides["right"]))
        if suspect is not None:
            self.suspicious += 1
            if len(texts.golds) < SHOWN:
                texts.golds.append((group, suspect))
        if group.traces:
            self._pair(group)

    def _add_end(self, text: str) -> None:
        line = text.rstrip().rpartition("\n")[2].strip()[-END_CHARS:]
        shape = re.sub(r"\d[\d.,]*", "0", line)
        if shape in self.unread_ends or len(self.unread_ends) < MAX_ENDS:
            self.unread_ends[shape] += 1
            self.unread_end.setdefault(shape, line)

    def _pair(self, group: Group) -> None:
        sized = replace(group, traces=tuple(replace(t, num_tokens=len(t.completion) + 1) for t in group.traces))
        for name, pairing in OFFERS.items():
            made = pairing(sized)
            if isinstance(made, str):
                self.pairs[name][made] += 1
            else:
                self.pairs[name]["problems"] += 1
                self.pairs[name]["pairs"] += len(made)

    def summary(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "flaws": {kind: dict(tones) for kind, tones in sorted(self.flaws.items())},
            "lengths": self.lengths(),
            "teachers": self.teacher_table(),
            "pairs": {name: dict(table) for name, table in self.pairs.items()},
            "suspicious_golds": self.suspicious,
            "unread_end": self.commonest_end(),
        }

    def commonest_end(self) -> dict[str, Any] | None:
        """The last line that most traces without a readable answer have, numbers aside, as one of them writes it."""
        if not self.unread_ends:
            return None
        ((shape, count),) = self.unread_ends.most_common(1)
        return {"line": self.unread_end[shape], "traces": count, "of": self.unread_ends.total()}

    def lengths(self) -> dict[str, Any]:
        """Median characters of right and of wrong traces, and how often a wrong one is the longer of two of one problem."""
        middle = {said: int(median(found)) if found else None for said, found in self.chars.items()}
        share = sum(self.longer) / len(self.longer) if self.longer else None
        return {
            "median_characters": middle,
            "wrong_is_longer": round(share, 4) if share is not None else None,
            "problems_with_both": len(self.longer),
        }

    def teacher_table(self) -> list[dict[str, Any]]:
        """Right, wrong and undecided traces of the teachers with most traces."""
        ranked = sorted(self.teachers.items(), key=lambda item: (-item[1].total(), item[0]))
        return [
            {"teacher": name, **{said: counts[said] for said in ("right", "wrong", "undecided")}}
            for name, counts in ranked[:TEACHERS]
        ]


def _share_longer(ones: Sequence[int], others: Sequence[int]) -> float:
    """Of all pairs (one, other), the share in which `one` is larger; equal ones count one half."""
    ranked = sorted(others)
    below = sum(bisect_left(ranked, one) + bisect_right(ranked, one) for one in ones) / 2
    return below / (len(ones) * len(ranked))


def suspicious_gold(group: Group) -> Trace | None:
    """A trace of the commonest answer, where no trace reaches the gold answer and at least SAME_ANSWER, half of all, agree on
    another one; None elsewhere, and for a problem with several right answers."""
    if is_one_of_several(group.problem):
        return None
    answers: defaultdict[str, list[Trace]] = defaultdict(list)
    for trace in group.traces:
        verdict = trace.verdicts.get("cascade")
        if verdict is None or verdict.outcome is Outcome.correct:
            return None
        if verdict.outcome is Outcome.incorrect and verdict.extracted:
            answers["".join(verdict.extracted.lower().split())].append(trace)
    agreeing = max(answers.values(), key=len, default=[])
    return agreeing[0] if len(agreeing) >= max(SAME_ANSWER, len(group.traces) / 2) else None


def _few(group: Group) -> Group:
    """The group with at most MAX_SIDE right and as many wrong traces: every right one meets every wrong one."""
    seen: Counter[str] = Counter()
    kept = []
    for trace in group.traces:
        seen[tone(trace)] += 1
        if seen[tone(trace)] <= MAX_SIDE:
            kept.append(trace)
    return replace(group, traces=tuple(kept))


# --- one row per trace ------------------------------------------------------------------------------------------------


def _schema(judged: Judged) -> pa.Schema:
    """The columns of the Parquet of verdicts."""
    text = pa.string()
    words = (
        "file",
        "row",
        "problem_id",
        "trace_id",
        "teacher",
        "task",
        "gold",
        "answer",
        "outcome",
        "verifier_outcome",
        "reason",
    )
    return pa.schema(
        [*((name, text) for name in words), ("characters", pa.int64()), ("flaws", pa.list_(text)), ("suspect", text),
         *((f"label_{storable(name)}", text) for name in judged.present)]
    )  # fmt: skip


def _row(
    group: Group,
    trace: Trace,
    where: Mapping[str, tuple[str, str]],
    judged: Judged,
    flaws: Sequence[str],
    gold_is_suspect: bool,
) -> dict[str, Any]:
    labels = labels_of(trace)
    said = trace.verdicts.get(judged.verifiers[0]) if judged.verifiers else None
    against = [
        name
        for name, outcome in labels.items()
        if said and {said.outcome, outcome} == {Outcome.correct, Outcome.incorrect}
    ]
    file, row = where.get(trace.id, ("", ""))
    words = ""
    if against and said:
        words = "label_says_wrong" if said.outcome is Outcome.correct else "label_says_right"
    elif gold_is_suspect:
        words = "gold"
    return {
        "file": file, "row": row, "problem_id": group.problem.id, "trace_id": trace.id, "teacher": storable(trace.author),
        "task": storable(task_of(group.problem) or group.problem.source), "gold": storable(group.problem.answer),
        "answer": storable(said.extracted if said else None), "outcome": trace.verdict.outcome.value,
        "verifier_outcome": said.outcome.value if said else None, "reason": storable(trace.verdict.reason),
        "characters": len(trace.completion), "flaws": list(flaws), "suspect": words,
        **{f"label_{storable(name)}": labels[name].value if name in labels else None for name in judged.present},
    }  # fmt: skip


def storable(text: str | None) -> str | None:
    """Text as Parquet holds it: UTF-8, lone surrogates become "?"."""
    return None if text is None else utf8(text)
