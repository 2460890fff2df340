"""A made-up run folder, written as the stages write it: teacher traces over two shards, three stages, four scored models."""

import dataclasses
import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from redistill.io.atomic import write_json
from redistill.io.parquet import write_records
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.records import (
    FINAL,
    Candidate,
    Example,
    Group,
    Outcome,
    Pair,
    Problem,
    Trace,
    Verdict,
    make_problem,
    make_trace,
)
from redistill.verify.noise import Gradings
from tiny_recipe import write_layout

PASS_AT_1 = {"base": 0.031, "sft": 0.47, "control": 0.46, "redi": 0.84}
RECIPE: dict[str, Any] = {
    "name": "two-habits-small",
    "seed": 7,
    "student": {"from_config": {"hidden_size": 128}, "alphabet": "0123456789+-*=;#"},
    "train": {
        "sft": {"objective": {"name": "sft", "options": {}}, "start": "base", "learning_rate": 2e-3},
        "control": {
            "objective": {"name": "redi", "options": {"rejected_weight": 0.0}},
            "start": "sft",
            "learning_rate": 1e-4,
        },
        "redi": {
            "objective": {"name": "redi", "options": {"rejected_weight": 0.8}},
            "start": "sft",
            "learning_rate": 1e-4,
            "guard": {"action": "rollback", "every": 20},
        },
    },
    "evaluate": {"benchmarks": [{"name": "dev"}], "n": 4},
    "report": {"title": None, "example_traces": 3},
}
SETTINGS = {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 64, "n": 4, "prefill": "", "template": "bare"}
UNDECIDED = (Outcome.no_answer, Outcome.truncated, Outcome.timeout)


def judged(problem_id: str, text: str, outcome: Outcome, number: int, author: str) -> Trace:
    """A trace with the joined verdict and that of one verifier."""
    reason = {Outcome.correct: "equal", Outcome.incorrect: "not equal to the gold answer"}.get(outcome, "no anchor")
    verdict = Verdict(outcome, str(number) if outcome in ("correct", "incorrect") else None, reason, "exact", "1", 0.0)
    sampling = {"temperature": 0.6, "sample_index": number}
    trace = make_trace(problem_id, text, author=author, sampling=sampling, finish_reason="stop", num_tokens=len(text))
    return trace.with_verdict("exact", verdict).with_verdict(FINAL, verdict)


def make_group(index: int, author: str = "two-habits teacher", share: float = 0.64) -> Group:
    """A sum with four worked answers; the wrong ones are longer and part from the right ones in the third line."""
    rng = random.Random(index)
    problem = make_problem(
        f"{index}+{index % 7}*3-4+1=", answer=str(index % 10), source="two-habits", source_row=f"x:{index}"
    )
    traces = []
    for sample in range(4):
        draw = rng.random()
        outcome = Outcome.correct if draw < share else Outcome.incorrect if draw < 0.96 else rng.choice(UNDECIDED)
        lines = [
            f"{index}+{k}={index + k}; then carry {k * 3 % 10} to the next place" for k in range(rng.randint(4, 14))
        ]
        lines[2:2] = (
            [] if outcome is Outcome.correct else [f"{index}-4+1+7=slip {sample}; all at once"] * rng.randint(1, 6)
        )
        text = "\n".join(lines) + (f"\n####{sample}" if outcome in ("correct", "incorrect") else "")
        traces.append(judged(problem.id, text, outcome, sample, author))
    return Group(problem, tuple(traces))


def spread(middle: int) -> dict[str, float]:
    return {"mean": middle + 1.5, "p10": middle - 20, "p50": middle, "p90": middle + 1000}


def on_paper(pairs: int, net: float) -> dict[str, Any]:
    """One pairing's row of statistics.json."""
    return {
        "problems": 70,
        "pairs": pairs,
        "dropped": {"rejected_too_long": 3},
        "chosen_tokens": spread(140),
        "rejected_tokens": spread(90),
        "length_gap": spread(-50),
        "shared_share": 0.123,
        "net_prefix_weight": {"mean": net, "chosen_part": 0.5, "rejected_part": 0.6, "negative": 0.75},
        "same_teacher": None,
        "source": {"two-habits": pairs},
        "chosen_teacher": {"two-habits teacher": pairs},
        "rejected_teacher": {"two-habits teacher": pairs},
    }


TRACES = {
    **{"problems": 120, "traces": 480, "right": 300, "wrong": 100, "length_rank_wrong": 0.71},
    **{"tokens_right": spread(140), "tokens_wrong": None, "reflecting_right": 0.25, "reflecting_wrong": None},
    "pass_rate": {"0.4-0.6": 20, "1": 100},
}
STATISTICS = {
    "own": "certain",
    "rejected_weight": 0.8,
    "policies": {"certain": on_paper(70, 0.0211), "near-miss": on_paper(68, -0.3)},
    "shared_pairs": {"certain": {"certain": 70, "near-miss": 31}, "near-miss": {"certain": 31, "near-miss": 68}},
    "traces": {"source": {"two-habits": TRACES}, "teacher": {"two-habits teacher": TRACES, "": TRACES}},
}


def write_corpus_to_select(run: Path, shards: list[list[Group]]) -> None:
    """The folders corpus, verify and select of these groups."""
    stage_dirs = {name: StageFolder(run / name, name) for name in ("corpus", "verify", "select")}
    for stage_dir in stage_dirs.values():
        stage_dir.open()
    for index, groups in enumerate(shards):
        traces = [t for g in groups for t in g.traces]
        rows = Account("row", len(groups) + 9, len(groups), Counter(no_answer_given=6, duplicate_problem=3))
        kept = Account("trace", len(traces) + 21, len(traces), Counter(duplicate_trace=14, empty_completion=7))
        stage_dirs["corpus"].finish_shard(index, Shard({"groups": (Group, groups)}, {"rows": rows, "traces": kept}))
        outcomes = Counter(str(t.verdict.outcome) for t in traces)
        reasons = Counter(t.verdict.reason for t in traces)
        tallies = {"outcomes": outcomes, "outcomes:exact": outcomes, "reasons:exact": reasons}
        golds = Account("problem", len(groups) + 3, len(groups), Counter(gold_unreadable=2, no_gold=1))
        accounts = {"traces": Account("trace", len(traces), len(traces)), "golds": golds}
        tallies["answer_types"] = Counter(number=len(groups))
        bad = [
            make_problem(f"What is {text}?", answer=text, source_row=f"x:{text}") for text in ("\\frac{1}{", "<b>?</b>")
        ]
        streams = {"groups": (Group, groups), "ungradable": (Problem, bad)}
        stage_dirs["verify"].finish_shard(index, Shard(streams, accounts, tallies=tallies))
        stage_dirs["select"].finish_shard(index, selected(groups))
    write_json(run / "select" / "statistics.json", STATISTICS)
    write_json(run / "verify" / "label_noise.json", label_noise())
    for stage_dir in stage_dirs.values():
        stage_dir.finish(len(shards))


def label_noise() -> dict[str, Any]:
    """What two graders said of 400 traces by two authors; the estimate is the stage's own."""
    gradings = Gradings()
    for index in range(400):
        outcome = "correct" if index % 10 < (8 if index % 2 else 3) else "incorrect"
        label = {"correct": "incorrect", "incorrect": "correct"}[outcome] if index % 20 == 7 else outcome
        said = {"exact": outcome, "teacher_label": label, FINAL: outcome}
        gradings.add(f"p{index}", f"teacher {index % 2}", said)
    return gradings.summary(seed=0)


def selected(groups: list[Group]) -> Shard:
    """All right traces as examples, the first right against the first wrong one as pairs."""
    examples, pairs = [], []
    accounts = {"examples": Account("trace"), "pairs": Account("problem")}
    tallies: dict[str, Counter[str]] = {"tokens_correct": Counter(), "tokens_incorrect": Counter()}
    for group in groups:
        right = [t for t in group.traces if t.verdict.outcome is Outcome.correct]
        wrong = [t for t in group.traces if t.verdict.outcome is Outcome.incorrect]
        for trace in group.traces:
            low = 2 ** int(math.log2(len(trace.completion)))
            if trace.verdict.outcome in ("correct", "incorrect"):
                tallies[f"tokens_{trace.verdict.outcome}"][f"{low}-{2 * low - 1}"] += 1
            if trace in right:
                accounts["examples"].keep()
                examples.append(Example(group.problem.id, trace.id, group.problem.statement, trace.completion))
            else:
                accounts["examples"].drop(f"not_correct:{trace.verdict.outcome}")
        if right and wrong:
            accounts["pairs"].keep()
            ids = (right[0].id, wrong[0].id)
            texts = (right[0].completion, wrong[0].completion)
            pairs.append(Pair(group.problem.id, group.problem.statement, *texts, *ids))
        else:
            accounts["pairs"].drop("no_incorrect_trace" if right else "no_correct_trace")
    tallies["prefix_net_weight"] = Counter(negative=len(pairs) // 3, positive=len(pairs) - len(pairs) // 3)
    streams = {"examples": (Example, examples), "pairs": (Pair, pairs), "candidates": (Candidate, candidates(pairs))}
    return Shard(streams, accounts, tallies=tallies)


def candidates(pairs: list[Pair]) -> list[Candidate]:
    """The pairs of the run's own pairing, a token a character, each shared for its first 12; one more was dropped."""
    found = [
        Candidate(p.chosen_id, "certain", p.problem_id, "two-habits", p.chosen_id, p.rejected_id, "t", "t",
                  len(p.chosen), len(p.rejected), 12)
        for p in pairs
    ]  # fmt: skip
    return [*found, dataclasses.replace(found[0], rejected_tokens=99_999, reason="rejected_too_long")]


def write_training(run: Path, stage: str, start: str, num_steps: int, weight: float | None) -> None:
    """A stage's metrics and ledger; weight None is SFT, else the rejected weight."""
    rng = random.Random(stage)
    lines = []
    for step in range(1, num_steps + 1):
        chosen = -1.9 * math.exp(-step / 40) - 0.2 if weight is None else -0.21 - 0.0006 * step * weight
        rejected = None if weight is None else -0.35 - 0.0035 * step * weight + rng.gauss(0, 0.02)
        chosen += rng.gauss(0, 0.015)
        norm = 1.2 * math.exp(rng.gauss(0, 0.25))
        rate = 1e-3 * min(1, step / 20) * (1 - step / (num_steps + 1))
        margin = None if rejected is None else chosen - rejected
        loss = -chosen + (weight or 0) * (rejected or 0)
        line = {"step": step, "loss": loss, "chosen_logp": chosen, "rejected_logp": rejected, "margin": margin}
        line |= {"grad_norm": norm, "learning_rate": rate, "lr_x_grad_norm": rate * norm, "skipped": False}
        line |= guarded(step, chosen, rejected) if stage == "redi" else {}
        lines.append(json.dumps({**line, "tokens": 8100, "tokens_per_second": 41000.0, "seconds": 0.2}))
    folder = run / "train" / stage
    folder.mkdir(parents=True)
    if stage == "redi":
        lines.insert(0, json.dumps({"step": 0, **probe(0.47), "guard": "steady"}))
        given_up = [{"attempt": 0, **json.loads(line), "chosen_logp": -3.0} for line in lines[31:41]]
        (folder / "abandoned.jsonl").write_text("".join(json.dumps(line) + "\n" for line in given_up))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    rows = {"unit": "row", "in": 3200, "kept": 3191, "dropped": {"too_long": 9}}
    ledger = {"stage": stage, "start": start, "rows": rows, "steps": num_steps, "seconds": 61.5, "device": "cpu"}
    if stage == "redi":
        back = {"at": 40, "to": 30, "attempt": 0, "reasons": ["probe_down"], "learning_rate": 5e-5}
        ledger["guard"] = {"action": "rollback", "rollbacks": [back], "sentence": "At step 40 it went back to step 30."}
    write_json(folder / "ledger.json", ledger)


def probe(accuracy: float) -> dict[str, float]:
    return {"probe_problems": 64, "probe_accuracy": accuracy, "probe_tokens": 40.0, "probe_unfinished": 0.03125}


def guarded(step: int, chosen: float, rejected: float | None) -> dict[str, Any]:
    """What a guard adds to a step: every 20 steps a look; a warning from 60 to 69, a collapse at 70, drift after it."""
    state = "warning" if 60 <= step < 70 else "collapse" if step == 70 else "drift" if step > 10 else "steady"
    line: dict[str, Any] = {"top_token_prob": 0.95, "guard": state}
    if step % 20 == 0:
        line |= {"held_out_chosen_logp": chosen - 0.1, "held_out_rejected_logp": (rejected or 0.0) - 0.1}
        line |= {"update_norm": 0.1 / step, **probe(0.5 + step / 400)}
    return line


def estimate(value: float, half: float = 0.035) -> dict[str, Any]:
    return {"value": value, "interval95": [max(0, value - half), min(1, value + half)]}


def write_scores(run: Path, model: str, benchmark: str, value: float, groups: list[Group]) -> None:
    """scores.json and the samples it was computed from."""
    folder = run / "evaluate" / model / benchmark
    rest = 1 - value
    scores = {
        "model": model,
        "benchmark": benchmark,
        "num_problems": 400,
        "num_samples": 4,
        "pass_at_1": {**estimate(value), "sem_over_sample_columns": 0.0042, "sem_over_problems": 0.0175},
        "pass_at_k": {str(k): estimate(1 - (1 - value) ** (0.6 * k + 0.4)) for k in (1, 2, 4)},
        "majority_at_n": estimate(min(1, value + 0.03)),
        "rates": {"correct": value, "incorrect": 0.9 * rest, "no_answer": 0.06 * rest, "truncated": 0.04 * rest},
        "truncation_rate": 0.04 * rest,
        "no_answer_rate": 0.06 * rest,
        "mean_tokens": 41.7,
        "unfinished_thinking_rate": 0.02 * rest,
        "repetition_rate": 0.01 * rest,
        "strict": {"pass_at_1": estimate(0.9 * value), "only_lenient_finds_an_answer": 0.1},
        "tokens": {
            "all": {"mean": 41.7, "p50": 40.0, "p90": 71.0},
            "correct": {"mean": 39.0, "p50": 38.0, "p90": 60.0},
        },
        "per_problem": {},
        "settings": SETTINGS,
    }
    write_json(folder / "scores.json", scores)
    write_records(folder / "groups" / "part-00000.parquet", Group, groups)


def write_beside(run: Path) -> None:
    """What `redistill regrade` and `redistill compare` leave in a run's folder."""
    said = {"outcome": "correct", "read": "7", "reason": "equal_number"}
    example = {"trace_id": "t0123", "gold": "7", "exact": said, "choice": {**said, "outcome": "ungradable"}}
    agreement = {"student": "redi", "benchmark": "dev", "a": "exact", "b": "choice", "num_samples": 1600, "agree": 0.25}
    agreement |= {"only_a_correct": 1200, "only_b_correct": 0, "examples": [example]}
    agreement |= {"table": {"correct": {"ungradable": 1200}, "incorrect": {"incorrect": 400}}}
    write_json(run / "regraded" / "agreement.json", [agreement])
    scores = {"pass_at_1": estimate(0.1), "no_answer_rate": 0.0}
    write_json(run / "regraded" / "choice" / "redi" / "dev" / "scores.json", scores)
    side = {"statement": "1+1=", "gold": "2", "correct": 4, "samples": 4, "outcome": "correct", "read": "2"}
    flip = {"problem_id": "p77", "solved_by": "redi@one", "a": {**side, "completion_end": "####2"}}
    flip["b"] = {**side, "correct": 0, "outcome": "incorrect", "read": "3", "completion_end": "####3"}
    bin_ = {"label": "hard (below a third solved)", "num_problems": 90, "a": 0.2, "b": 0.1, "difference": 0.1}
    found = {"a": "redi@one", "b": "redi@two", "benchmark": "dev", "difference": 0.02, "interval95": [-0.01, 0.05]}
    found |= {"sentence": "No difference between redi@one and redi@two can be claimed: +2.0 points.", "mcnemar_p": 0.21}
    found |= {"flips": {"both": 300, "only_a": 12, "only_b": 4, "neither": 84}, "left_out": [0, 0]}
    found |= {"settings_differ": {"temperature": [0.6, 1.0]}, "flipped": [flip]}
    found |= {"by_difficulty": {"bins": [{**bin_, "interval95": [0.0, 0.2]}], "note": "Sorted by even samples."}}
    write_json(run / "compare" / "redi@one--redi@two.json", [found])


def write_run(run: Path, *, problems: int = 120) -> Path:
    """The whole made-up run."""
    groups = [make_group(i) for i in range(problems)]
    write_corpus_to_select(run, [groups[: problems // 2], groups[problems // 2 :]])
    write_training(run, "sft", "base", 300, None)
    write_training(run, "control", "sft", 120, 0.0)
    write_training(run, "redi", "sft", 120, 0.8)
    for model, value in PASS_AT_1.items():
        write_scores(run, model, "dev", value, [make_group(1000 + i, model, value) for i in range(30)])
    found = []
    for other, difference in (("control", 0.38), ("sft", 0.37), ("base", 0.809)):
        low, high = difference - 0.04, difference + 0.04
        sentence = f"redi is above {other} by {100 * difference:.1f} points (95% interval {100 * low:.1f} to {100 * high:.1f}, 400 problems)."
        counts = {"num_above": 260, "num_below": 21, "num_equal": 119}
        comparison = {"a": "redi", "b": other, "benchmark": "dev", "difference": difference, "interval95": [low, high]}
        comparison |= {"is_claimed": True, "smallest_difference": 0.0572}
        found.append({**comparison, **counts, "sentence": sentence})
    write_json(run / "evaluate" / "comparisons.json", found)
    write_beside(run)
    rows = [
        {"label": "lines that jump three operations", "value": 0.45, "n": 5120},
        {"label": "of these, slips", "value": 0.35, "n": 2304},
    ]
    sentence = "Before stage 2 the student slips on 35.0% of its jumps and on 2.1% of its single steps."
    write_json(
        run / "evaluate" / "diagnosis.json",
        {"student": "sft", "title": "Slips by habit", "sentence": sentence, "rows": rows},
    )
    write_layout(run)
    (run / "recipe.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    record = {
        "name": RECIPE["name"],
        "recipe": RECIPE,
        "seed": 7,
        "git_commit": "4edbe5d0c7",
        "git_dirty": False,
        "packages": {"torch": "2.11.0", "transformers": "5.17.0"},
        "inputs": {"data/traces.jsonl.gz": "ab" * 32},
        "hardware": {"gpus": [], "system": "Linux", "cpu_cores": 2, "memory_gib": 7.6},
        "seconds": {"corpus": 2.1, "verify": 14.0, "select": 3.3, "train/sft": 412.0, "train/redi": 160.2},
    }
    write_json(run / "run.json", record)
    return run
