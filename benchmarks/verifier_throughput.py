"""Traces judged a second: the cascade in a pool of two workers against math-verify in one process, side by side in one run.

    taskset -c 0,1 python benchmarks/verifier_throughput.py traces.jsonl.gz [more.jsonl.gz] [--problems 40] [--rounds 4]

A file holds one problem a line with `problem`, `answer` and `generations[].text`. A random sample of problems (--seed) with
all their traces is cut into rounds; in each round both sides judge the same traces, taking turns to go first. The other
side is the faster of two ways to use the library, the gold answer parsed once a problem in both:

    whole      verify(parse(gold), parse(completion)), its extraction on the whole completion, as its README does
    answer     the same on the answer that our anchors found, put into \\\\boxed{}

Both sides are warm (imports and the parser's tables are not timed). Wall seconds depend on what else the machine does, so
CPU seconds of all processes stand beside them.
"""

import argparse
import collections
import gzip
import json
import os
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

from redistill.records import Outcome, Problem, Trace, Verdict, make_problem, make_trace
from redistill.verify import VerifierPool, cascade, gold_answer
from redistill.verify.answers import extract

Items = list[tuple[Problem, Trace]]

STAGES = {
    "rules": "equal_string equal_number equal_rounded different_number only_rounded only_truncated equal_words different_word not_a_number"
    " equal_choice different_choice units_differ unit_missing unit_unreadable perhaps_converted perhaps_a_magnitude perhaps_thousands"
    " perhaps_roman perhaps_none base_missing decimal_comma equal_ratio same_ratio ratio_or_time half_of_day_missing",
    "structure": "equal_items different_item different_length different_brackets different_grouping different_shape different_order"
    " different_layout open_list row_or_column list_too_long",
    "solution sets": "equal_set different_set equal_relation different_relation equal_class different_class class_and_number"
    " perhaps_one_class perhaps_whole_numbers unsolved",
    "evaluation": "equal_value different_value perhaps_a_unit perhaps_renamed equal_where_positive degrees_or_radians",
    "math-verify": "math_verify_equal math_verify_different numeric_recheck_failed not_comparable different_kinds",
    "sentence": "equal_in_sentence",
    "form of the task": "repeats_question not_reduced not_simplified not_expanded not_factored",
    "no answer found": "no_anchor thinking_unclosed unclosed_answer empty_answer placeholder_answer perhaps_a_remark one_or_several_answers",
    "not readable": "text_differs gold_unreadable answer_unreadable not_read_completely answer_too_long not_a_choice no_gold",
}
STAGE_OF = {reason: stage for stage, reasons in STAGES.items() for reason in reasons.split()}


def sample(path: Path, problems: int, seed: int) -> Items:
    """All traces of a random sample of the file's problems, in the file's order."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["answer"] is not None]
    chosen = sorted(random.Random(seed).sample(range(len(rows)), min(problems, len(rows))))
    items: Items = []
    for row in (rows[i] for i in chosen):
        problem = make_problem(row["problem"], answer=str(row["answer"]))
        items += [(problem, make_trace(problem.id, g["text"])) for g in row["generations"]]
    return items


def library(items: Items, *, whole: bool) -> tuple[float, float]:
    """(wall, CPU) seconds of math-verify in this process."""
    configs = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    wall, cpu = time.perf_counter(), time.process_time()
    gold, gold_id = None, ""
    for problem, trace in items:
        if problem.id != gold_id:
            gold, gold_id = parse(f"\\boxed{{{gold_answer(problem.answer)}}}", configs), problem.id
        if whole:
            verify(gold, parse(trace.completion))
        elif (answer := extract(trace.completion)) is not None:
            verify(gold, parse(f"\\boxed{{{answer}}}", configs))
    return time.perf_counter() - wall, time.process_time() - cpu


def ours(pool: VerifierPool, items: Items) -> tuple[float, float, list[Verdict]]:
    """(wall, CPU of all processes, verdicts) of the cascade."""
    wall, cpu, theirs = time.perf_counter(), time.process_time(), workers_cpu(pool)
    verdicts = [found["cascade"] for found in pool.judge(items)]
    cpu = time.process_time() - cpu + workers_cpu(pool) - theirs
    return time.perf_counter() - wall, cpu, verdicts


def workers_cpu(pool: VerifierPool) -> float:
    """CPU seconds that the pool's living workers have used."""
    ticks = 0
    for worker in pool._workers:
        fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def compare(path: Path, problems: int, rounds: int, seed: int) -> None:
    items = sample(path, problems, seed)
    ids = sorted({problem.id for problem, _ in items})
    part = {id: i * rounds // len(ids) for i, id in enumerate(ids)}
    chunks = [[item for item in items if part[item[0].id] == r] for r in range(rounds)]
    library([(make_problem("x", answer="x^2+1"), make_trace("x", "\\boxed{x^2+2}"))], whole=True)
    spent: dict[str, list[tuple[float, float]]] = collections.defaultdict(list)
    verdicts: list[Verdict] = []
    with VerifierPool({"cascade": cascade}, workers=2, timeout_seconds=5, memory_mb=2048) as pool:
        list(
            pool.judge([(make_problem("x", answer="x^2+1"), make_trace("x", "\\boxed{x^2+2}"))] * 200)
        )  # both workers start
        for number, chunk in enumerate(chunks):
            for side in ("whole", "answer", "cascade")[:: 1 if number % 2 else -1]:
                if side == "cascade":
                    wall, cpu, found = ours(pool, chunk)
                    verdicts += found
                else:
                    wall, cpu = library(chunk, whole=side == "whole")
                spent[side].append((wall, cpu))
    report(path.name, items, ids, chunks, spent, verdicts)


def report(
    name: str,
    items: Items,
    ids: Sequence[str],
    chunks: list[Items],
    spent: dict[str, list[tuple[float, float]]],
    verdicts: list[Verdict],
) -> None:
    pairs = {(problem.answer, extract(trace.completion)) for problem, trace in items}
    print(
        f"\n{name}: {len(items)} traces of {len(ids)} problems, {len(pairs)} different (gold, answer); load {os.getloadavg()[0]:.1f}"
    )
    for side, label in (
        ("whole", "math-verify, whole"),
        ("answer", "math-verify, answer"),
        ("cascade", "cascade, 2 workers"),
    ):
        wall, cpu = (sum(t[i] for t in spent[side]) for i in (0, 1))
        print(f"  {label:20} {len(items) / wall:8.0f} traces/s wall   {1e3 * cpu / len(items):7.2f} ms CPU a trace")
    for side in ("whole", "answer"):
        walls = [a[0] / b[0] for a, b in zip(spent[side], spent["cascade"])]
        cpus = [a[1] / b[1] for a, b in zip(spent[side], spent["cascade"])]
        print(
            f"  against `{side}`, by round: wall {spread(walls)}, CPU {spread(cpus)} (of both workers and the parent together)"
        )
    stages = collections.Counter(STAGE_OF.get(v.reason, v.reason) for v in verdicts)
    print("  decided by: " + ", ".join(f"{stage} {n / len(verdicts):.1%}" for stage, n in stages.most_common()))
    outcomes = collections.Counter(v.outcome for v in verdicts)
    print(
        "  outcomes: "
        + ", ".join(
            f"{outcome.value} {outcomes[outcome] / len(verdicts):.1%}" for outcome in Outcome if outcomes[outcome]
        )
    )


def spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.1f}x ({min(ratios):.1f} to {max(ratios):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--problems", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for path in arguments.files:
        compare(path, arguments.problems, arguments.rounds, arguments.seed)


if __name__ == "__main__":
    main()
