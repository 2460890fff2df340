"""The pool: whatever a comparison does, it costs only its own answer."""

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import verify_fakes

from redistill.records import Outcome, Problem, Trace, Verdict, make_problem, make_trace
from redistill.verify import VerifierPool, cascade, exact
from redistill.verify.pool import AHEAD_BATCHES, BATCH_UNITS

PROBLEM = make_problem("2+2?", answer="4")
FAKE = {"fake": functools.partial(verify_fakes.fake)}


def items(*completions: str) -> list[tuple[Problem, Trace]]:
    return [(PROBLEM, make_trace(PROBLEM.id, completion)) for completion in completions]


def test_verdicts_come_back_in_input_order_by_name() -> None:
    verifiers = {"fake": functools.partial(verify_fakes.fake, echo="say "), "other": verify_fakes.other}
    with VerifierPool(verifiers, workers=2, timeout_seconds=30, memory_mb=512) as pool:
        found = list(pool.judge(items(*(str(i) for i in range(150)))))
        assert [f["fake"].extracted for f in found] == [f"say {i}" for i in range(150)]
        assert all(list(f) == ["fake", "other"] and f["other"].outcome == Outcome.incorrect for f in found)
        assert list(pool.judge([])) == []
        assert next(iter(pool.judge(items("again"))))["fake"].extracted == "say again"  # the pool can be used again


def test_a_hung_comparison_costs_only_its_own_answer() -> None:
    completions = [*"abc", "sleep", *"def", "grind", "die", "crash", "eat", "deep", *"ghi"]
    verifiers = {**FAKE, "other": verify_fakes.other}
    with VerifierPool(verifiers, workers=1, timeout_seconds=0.5, memory_mb=512) as pool:
        found = list(pool.judge(items(*completions)))
    reasons = {c: (f["fake"].outcome, f["fake"].reason) for c, f in zip(completions, found) if len(c) > 1}
    assert reasons["sleep"] == reasons["grind"] == (Outcome.timeout, "wall_clock")
    for completion in ("die", "crash", "eat", "deep"):
        assert reasons[completion] == (Outcome.timeout, "memory_or_crash"), completion
    assert [f["fake"].extracted for c, f in zip(completions, found) if len(c) == 1] == list("abcdefghi")
    assert all(f["other"].outcome == Outcome.incorrect for f in found)  # the other verifier had its say on all
    assert found[3]["fake"].seconds == 0.5


HOSTILE = [
    r"\boxed{9^{9^{9^9}}}",
    r"\boxed{(10^7)!}",
    r"\boxed{10^{10^{10}}}",
    r"\boxed{" + "{" * 3_000 + "1" + "}" * 3_000 + "}",
    r"\boxed{" + "(" * 1_500 + "1" + ")" * 1_500 + "}",
    r"\boxed{" + r"\sqrt{" * 300 + "2" + "}" * 300 + "}",
    r"\boxed{" * 400_000,
    "{" * 3_000_000,
    r"\boxed{" + "x" * 1_000_000 + "}",
    "\0\0" + r"\boxed{" + "\0" + "}",
    r"\boxed{" + "\ud800" * 20 + "}",
    r"\boxed{" + "+".join(["x"] * 1_500) + "}",
    r"\boxed{" + ",".join(["1"] * 1_900) + "}",
    r"\boxed{\int_0^1 \int_0^1 x^{x^{x^y}} dx dy}",
]


def test_hostile_answers_are_neither_correct_nor_fatal() -> None:
    problem = make_problem("What?", answer=r"\sqrt{7} + \pi")
    traces = [(problem, make_trace(problem.id, text)) for text in (*HOSTILE, r"\boxed{\pi + \sqrt{7}}")]
    with VerifierPool({"cascade": cascade}, workers=2, timeout_seconds=1.5, memory_mb=1024) as pool:
        verdicts = [found["cascade"] for found in pool.judge(traces)]
    assert verdicts[-1].outcome == Outcome.correct
    assert all(v.outcome != Outcome.correct for v in verdicts[:-1])
    assert all(v.reason for v in verdicts)


def by_workers(workers: int, order: int) -> list[Verdict]:
    texts = [
        "4",
        "x^2+2x+1",
        "5 or 6",
        r"\frac{1}{2}+\frac{7}{2}",
        "(1,2)",
        "2x = 8",
        "east",
        "1 < x < 3",
        "4.0000001",
    ] * 3
    traces = [(PROBLEM, make_trace(PROBLEM.id, rf"\boxed{{{text}}} {i}")) for i, text in enumerate(texts)][::order]
    with VerifierPool({"cascade": cascade}, workers=workers, timeout_seconds=30, memory_mb=1024) as pool:
        found = [verdicts["cascade"] for verdicts in pool.judge(traces)][::order]
    return [Verdict(v.outcome, v.extracted, v.reason, v.verifier, v.verifier_version) for v in found]  # without seconds


def test_results_do_not_depend_on_worker_count_or_order() -> None:
    alone = by_workers(0, 1)
    assert {v.outcome for v in alone} == {Outcome.correct, Outcome.incorrect}
    assert by_workers(3, 1) == alone
    assert by_workers(2, -1) == alone


def test_no_verdict_is_lost_however_the_work_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redistill.verify.pool.AHEAD_BATCHES", 1)
    monkeypatch.setattr("redistill.verify.pool.BATCH_UNITS", 3)  # everything pending is often answered at once
    with VerifierPool(FAKE, workers=1, timeout_seconds=30, memory_mb=512) as pool:
        for count in (1, 3, 4, 100):
            texts = [str(i) for i in range(count)]
            assert [found["fake"].extracted for found in pool.judge(items(*texts))] == texts


def test_the_pool_reads_ahead_a_bounded_number_of_items() -> None:
    taken = 0

    def endless() -> Iterator[tuple[Problem, Trace]]:
        nonlocal taken
        while True:
            taken += 1
            yield items(str(taken))[0]

    with VerifierPool(FAKE, workers=1, timeout_seconds=30, memory_mb=512) as pool:
        stream = pool.judge(endless())
        for _ in range(300):
            next(stream)
        assert taken <= 300 + AHEAD_BATCHES * BATCH_UNITS + 1
        stream.close()


def test_a_bug_in_a_verifier_stops_the_run_and_names_the_trace() -> None:
    ((problem, trace),) = items("bug")
    with (
        VerifierPool(FAKE, workers=1, timeout_seconds=30, memory_mb=512) as pool,
        pytest.raises(RuntimeError, match=trace.id),
    ):
        list(pool.judge([(problem, trace)]))


def test_a_large_completion_travels() -> None:
    text = "x" * 10_000_000 + "\0\ud800" + r"\boxed{4}"
    with VerifierPool({"exact": exact}, workers=1, timeout_seconds=30, memory_mb=1024) as pool:
        (found,) = pool.judge(items(text))
    assert found["exact"].outcome == Outcome.correct


def test_workers_are_reused_recycled_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redistill.verify.pool.RECYCLE_UNITS", 40)
    with VerifierPool(FAKE, workers=1, timeout_seconds=30, memory_mb=512) as pool:
        pids = [int(found["fake"].extracted or 0) for found in pool.judge(items(*["pid"] * 130))]
    # batches of 32: recycled after 64 and after 128
    assert len(set(pids)) == 3
    assert os.getpid() not in pids
    for pid in set(pids):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_workers_vanish_when_the_parent_is_killed() -> None:
    """One worker idle, one in a C-level loop that no Python code can end: the kernel's alarm does, a second later."""
    program = (
        "import functools, os, time, verify_fakes\n"
        "from redistill.verify import VerifierPool\n"
        "from redistill.records import make_problem, make_trace\n"
        "p = make_problem('?')\n"
        "texts = ['pid'] * 64 + ['grind']\n"
        "pool = VerifierPool({'fake': functools.partial(verify_fakes.fake)}, workers=2, timeout_seconds=1.5, memory_mb=512)\n"
        "for found in pool.judge((p, make_trace(p.id, t)) for t in texts):\n"
        "    print(*[w.process.pid for w in pool._workers], flush=True)\n"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    with subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.send_signal(signal.SIGKILL)
    assert pids
    give_up = time.monotonic() + 8
    while any(alive(pid) for pid in pids) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids)


def test_a_worker_holds_no_torch() -> None:
    code = "import sys, redistill.verify.worker; print('torch' in sys.modules, 'numpy' in sys.modules)"
    path = os.pathsep.join(p for p in sys.path if p)
    found = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=True
    )
    assert found.stdout.split() == [b"False", b"False"]
