"""Where the labels that the data brings and a verifier contradict each other: how often, on which tasks, and examples.

    compare_labels(stage_dir, labels=["teacher_label"], verifiers=["cascade"], policy="agree")
    ->  [{"label": "teacher_label", "verifier": "cascade", "called_correct": 9669, "label_says_wrong": {"traces": 1075, "tasks":
         {"fraction_simplification": 310, ...}, "examples": [...]}, "called_incorrect": ..., "label_says_right": {...},
         "sentence": "teacher_label says wrong of 1,075 of the 9,669 traces that cascade calls correct (...)."}]

A trace that the verifier calls correct would be chosen, one that it calls incorrect rejected. Either side may be mistaken:
a label may know a rule of the task (no forbidden numbers), or may have failed to read a right answer.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redistill.io.parquet import read_columns, read_records
from redistill.io.stage_folder import StageFolder
from redistill.records import Group, Outcome, Trace, Verdict
from redistill.verify.several import named_task

MAX_TASKS = 5  # named in the sentence
EXAMPLES = 3
TAIL_CHARS = 200  # of a completion, shown in an example
_COLUMNS = [
    "problem.id", "problem.source", "problem.metadata",
    *(f"traces.list.element.{leaf}" for leaf in ("id", "verdicts.list.element.name", "verdicts.list.element.outcome")),
]  # fmt: skip
_COUNTED = {
    "agree": "they count as neither right nor wrong",
    "all": "they count as neither right nor wrong",
    "decided": "they count as neither right nor wrong",
    "any": "one that says correct is enough",
}


@dataclass(slots=True)
class _Kind:
    """Traces on which the label contradicts one outcome of the verifier; the first of each task are examples."""

    traces: int = 0
    tasks: Counter[str] = field(default_factory=Counter)
    first: list[tuple[str, Path, str]] = field(default_factory=list)  # (task, shard, trace id)

    def add(self, task: str, shard: Path, trace_id: str) -> None:
        self.traces += 1
        self.tasks[task] += 1
        if self.tasks[task] == 1 or len(self.first) < EXAMPLES:
            self.first.append((task, shard, trace_id))

    def chosen(self) -> list[tuple[str, Path, str]]:
        """The examples: of different tasks where there are as many, of the most frequent ones first."""
        by_task = sorted({task: item for item in reversed(self.first) for task in [item[0]]}.values(), key=lambda i: -self.tasks[i[0]])  # fmt: skip
        rest = [item for item in self.first if item not in by_task]
        return [*by_task, *rest][:EXAMPLES]


def compare_labels(
    stage_dir: StageFolder, *, labels: Sequence[str], verifiers: Sequence[str], policy: str
) -> list[dict[str, Any]]:
    """One table for each label and verifier of a judged stage_dir, in their order; `policy` is the recipe's."""
    pairs = [(label, verifier) for label in labels for verifier in verifiers]
    if not pairs:
        return []
    called: Counter[tuple[str, str, str]] = Counter()
    kinds = {(label, verifier, said): _Kind() for label, verifier in pairs for said in ("correct", "incorrect")}
    for shard, task, trace_id, outcomes in _rows(stage_dir):
        for label, verifier in pairs:
            said, labelled = outcomes.get(verifier), outcomes.get(label)
            if said in ("correct", "incorrect") and labelled in ("correct", "incorrect"):
                called[label, verifier, said] += 1
                if labelled != said:
                    kinds[label, verifier, said].add(task, shard, trace_id)
    texts = _texts({item for kind in kinds.values() for item in kind.chosen()})
    return [_table(label, verifier, called, kinds, texts, policy) for label, verifier in pairs]


def _rows(stage_dir: StageFolder) -> Iterator[tuple[Path, str, str, dict[str, str]]]:
    """(shard, task, trace id, outcome by name) of every trace; the texts stay on the disk."""
    for shard in stage_dir.shard_files("groups"):
        for row in read_columns(shard, _COLUMNS):
            metadata = json.loads(row["problem"].get("metadata") or "{}")
            task = named_task(metadata) or row["problem"]["source"] or "no source"
            for trace in row["traces"]:
                yield shard, task, trace["id"], {v["name"]: v["outcome"] for v in trace["verdicts"] or ()}


def _texts(wanted: set[tuple[str, Path, str]]) -> dict[str, tuple[Group, Trace]]:
    """The traces of the examples, from their shards."""
    texts: dict[str, tuple[Group, Trace]] = {}
    for shard in sorted({shard for _, shard, _ in wanted}):
        ids = {trace_id for _, at, trace_id in wanted if at == shard}
        for group in read_records(shard):
            texts.update({trace.id: (group, trace) for trace in group.traces if trace.id in ids})
            if ids <= texts.keys():
                break
    return texts


def _table(
    label: str,
    verifier: str,
    called: Mapping[tuple[str, str, str], int],
    kinds: Mapping[tuple[str, str, str], _Kind],
    texts: Mapping[str, tuple[Group, Trace]],
    policy: str,
) -> dict[str, Any]:
    def of(said: str) -> dict[str, Any]:
        kind = kinds[label, verifier, said]
        return {
            "traces": kind.traces,
            "tasks": dict(kind.tasks.most_common()),
            "examples": [_example(task, verifier, *texts[id]) for task, _, id in kind.chosen()],
        }

    table = {
        "label": label,
        "verifier": verifier,
        "called_correct": called[label, verifier, "correct"],
        "label_says_wrong": of("correct"),
        "called_incorrect": called[label, verifier, "incorrect"],
        "label_says_right": of("incorrect"),
    }
    return {**table, "sentence": sentence(table, policy)}


def _example(task: str, verifier: str, group: Group, trace: Trace) -> dict[str, Any]:
    verdict = trace.verdicts.get(verifier, Verdict(Outcome.ungradable))
    return {
        "trace_id": trace.id,
        "problem_id": group.problem.id,
        "task": task,
        "problem": group.problem.statement[-TAIL_CHARS:],
        "gold": (group.problem.answer or "")[:TAIL_CHARS],
        "answer": (verdict.extracted or "")[:TAIL_CHARS],
        "reason": verdict.reason,
        "end": trace.completion[-TAIL_CHARS:],
    }


def sentence(table: Mapping[str, Any], policy: str) -> str:
    """How often a label and a verifier contradict each other, on which tasks, and what the policy makes of it."""
    label, verifier = table["label"], table["verifier"]
    right, wrong = table["label_says_wrong"], table["label_says_right"]
    if not right["traces"] and not wrong["traces"]:
        return f"{label} and {verifier} agree on all {table['called_correct'] + table['called_incorrect']:,} traces that both decide."
    counted = _COUNTED.get(
        policy, f"verify.policy {policy} counts only one of the two: write policy agree to count both"
    )
    return (
        f"{label} says wrong of {right['traces']:,} of the {table['called_correct']:,} traces that {verifier} calls correct{_named(right)}, "
        f"and right of {wrong['traces']:,} of the {table['called_incorrect']:,} that it calls incorrect{_named(wrong)}; {counted}."
    )


def _named(kind: Mapping[str, Any]) -> str:
    some = list(kind["tasks"].items())[:MAX_TASKS]
    more = len(kind["tasks"]) - len(some)
    listed = ", ".join(f"{task} {count:,}" for task, count in some)
    return f" ({listed}{f', {more} more' if more else ''})" if some else ""


def example_lines(tables: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines for a terminal: each table's sentence, then its examples of both kinds."""
    for table in tables:
        yield str(table["sentence"])
        for kind, said, labelled in (
            ("label_says_wrong", "correct", "wrong"),
            ("label_says_right", "incorrect", "right"),
        ):
            for example in table[kind]["examples"]:
                gold, answer = (" ".join(example[name].split())[:60] for name in ("gold", "answer"))
                yield f"  {table['verifier']} {said}, {table['label']} {labelled}: {example['task']}, gold {gold!r}, answer {answer!r} ({example['trace_id']})"  # fmt: skip
