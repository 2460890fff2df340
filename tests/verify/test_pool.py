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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from process_states import is_running
from redistill.records import Outcome, Problem, Trace, Verdict, make_problem, make_trace
from redistill.verify import VerifierPool, cascade, exact
from redistill.verify.pool import AHEAD_BATCHES, BATCH_UNITS

PROBLEM = make_problem("2+2?", answer="4")
FAKE = {"fake": functools.partial(verify_fakes.fake)}


def items(*completions: str) -> list[tuple[Problem, Trace]]:
    return [(PROBLEM, make_trace(PROBLEM.id, completion)) for completion in completions]


def test_verdicts_come_back_in_input_order_by_name(capfd: pytest.CaptureFixture[str]) -> None:
    verifiers = {"fake": functools.partial(verify_fakes.fake, echo="say "), "other": verify_fakes.other}
    with VerifierPool(verifiers, workers=2, timeout_seconds=30, memory_mb=512) as pool:
        found = list(pool.judge(items(*(str(i) for i in range(150)))))
        assert [f["fake"].extracted for f in found] == [f"say {i}" for i in range(150)]
        assert all(list(f) == ["fake", "other"] and f["other"].outcome == Outcome.incorrect for f in found)
        assert list(pool.judge([])) == []
        assert next(iter(pool.judge(items("again"))))["fake"].extracted == "say again"  # the pool can be used again
    assert capfd.readouterr().err == ""  # the workers write to the same terminal


def test_a_hung_comparison_costs_only_its_own_answer() -> None:
    completions = [*"abc", "sleep", *"def", "grind", "die", "crash", "eat", "deep", *"ghi"]
    verifiers = {**FAKE, "other": verify_fakes.other}
    with VerifierPool(verifiers, workers=1, timeout_seconds=0.5, memory_mb=512) as pool:
        found = list(pool.judge(items(*completions)))
    reasons = {c: (f["fake"].outcome, f["fake"].reason) for c, f in zip(completions, found) if len(c) > 1}
    assert reasons["sleep"] == (Outcome.timeout, "wall_clock")
    assert reasons["grind"] == (Outcome.timeout, "cpu_time")
    for completion in ("die", "crash", "eat", "deep"):
        assert reasons[completion] == (Outcome.timeout, "memory_or_crash"), completion
    assert [f["fake"].extracted for c, f in zip(completions, found) if len(c) == 1] == list("abcdefghi")
    assert all(f["other"].outcome == Outcome.incorrect for f in found)  # the other verifier had its say on all
    assert (found[3]["fake"].seconds, found[7]["fake"].seconds) == (5.0, 0.5)


def test_an_answer_that_waits_for_a_processor_is_not_cut_off() -> None:
    with VerifierPool(FAKE, workers=1, timeout_seconds=0.2, memory_mb=512) as pool:
        (found,) = pool.judge(items("nap"))
    assert (found["fake"].outcome, found["fake"].extracted) == (Outcome.correct, "nap"), found


def test_a_worker_that_was_stopped_says_nothing_about_its_answer(tmp_path: Path) -> None:
    """As on a machine that was suspended: the wall clock has run out, the processor time has not."""
    completion = f"stop {tmp_path / 'stopped'}"
    with VerifierPool(FAKE, workers=1, timeout_seconds=0.1, memory_mb=512) as pool:
        found = list(pool.judge(items("a", completion, "b")))
    assert (tmp_path / "stopped").exists() and [f["fake"].outcome for f in found] == ["correct"] * 3


def test_memory_that_others_hold_is_not_counted_against_an_answer() -> None:
    """Each `hoard` leaves 200 MB behind: two do not fit under one limit, each fits in a fresh worker."""
    with VerifierPool(FAKE, workers=1, timeout_seconds=30, memory_mb=420) as pool:
        found = list(pool.judge(items("a", "hoard", "b", "hoard", "hoard", "eat", "c")))
    assert [f["fake"].outcome for f in found] == ["correct"] * 5 + ["timeout", "correct"]
    assert found[5]["fake"].reason == "memory_or_crash"


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
    r"\boxed{" + "9" * 100_000 + "}",
    r"\boxed{\sum_{k=1}^{10^{12}} \frac{1}{k!}}",
    r"\boxed{\prod_{n=1}^{10^9} n}",
    r"\boxed{" + "\x1b[2J\x07\u202e\u200b\ufeff\x7f" + "}",
    r"\boxed{" + "\udcff\ud83d" + r"\frac{\ud800}{2}}",
    "<answer>" * 200_000,
    '{"answer": "' + "\\" * 500_000,
    r"\boxed{" + r"\frac{1}{" * 400 + "2" + "}" * 400 + "}",
    r"\boxed{" + "-" * 3_900 + "1}",
    r"\boxed{" + "^".join(["9"] * 900) + "}",
    r"\boxed{" + r"\left(" * 900 + "}",
    "x" * 10_000_000,
]


def test_hostile_answers_are_neither_correct_nor_fatal() -> None:
    problem = make_problem("What?", answer=r"\sqrt{7} + \pi")
    traces = [(problem, make_trace(problem.id, text)) for text in (*HOSTILE, r"\boxed{\pi + \sqrt{7}}")]
    with VerifierPool({"cascade": cascade}, workers=2, timeout_seconds=1.0, memory_mb=1024) as pool:
        started = time.monotonic()
        found = list(pool.judge(traces))
        seconds = time.monotonic() - started
    assert found[-1]["cascade"].outcome == Outcome.correct
    assert all(f[name].outcome != Outcome.correct for f in found[:-1] for name in f)
    assert all(v.reason for f in found for v in f.values())
    assert seconds < 20 + 6 * len(traces)  # a second each and what a new worker costs, however slow the machine


def test_a_gold_answer_that_explodes_is_undecided() -> None:
    golds = [r"9^{9^{9^9}}", r"(10^7)!", r"\sqrt{" * 200 + "2" + "}" * 200]
    problems = [make_problem(f"What is {gold}?", answer=gold) for gold in golds]
    with VerifierPool({"cascade": cascade}, workers=1, timeout_seconds=1.0, memory_mb=1024) as pool:
        found = [f["cascade"] for f in pool.judge((p, make_trace(p.id, r"\boxed{7 + \pi}")) for p in problems)]
    assert not {v.outcome for v in found} & {Outcome.correct}
    assert found[0].outcome in (Outcome.timeout, Outcome.ungradable, Outcome.disagree)


FRAGMENTS = [
    r"\frac", r"\sqrt", r"\text{", r"\boxed{", r"\begin{pmatrix}", r"\end{pmatrix}", r"\pm", r"\cup", r"\infty", r"\le", "{", "}", "(",
    ")", "[", "]", ",", ";", "=", "<", "^", "_", "&", r"\\", "1", "2.5", "x", "y", "i", "e", "%", r"\%", "$", " or ", " and ", "cm", "A",
    "\0", "\ud800", "é", "½", "!", "/", "-", "+", "'", "|", ":", "0", "therefore", "\n", "…", r"\sum_{k=1}^n", r"\int",
]  # fmt: skip
ANSWERS = st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=9).map("".join)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(ANSWERS, ANSWERS), min_size=30, max_size=30))
def test_no_gold_and_no_answer_break_a_verifier(fuzz_pool: VerifierPool, pairs: list[tuple[str, str]]) -> None:
    """A verifier that raised would stop the pool with its traceback."""
    problems = [make_problem(f"{i}: {gold}", answer=gold) for i, (gold, _) in enumerate(pairs)]
    traces = [make_trace(p.id, f"<answer>{answer}</answer>") for p, (_, answer) in zip(problems, pairs)]
    assert len(list(fuzz_pool.judge(zip(problems, traces)))) == len(pairs)


@pytest.fixture(scope="module")
def fuzz_pool() -> Iterator[VerifierPool]:
    with VerifierPool({"cascade": cascade}, workers=1, timeout_seconds=1.0, memory_mb=2048) as pool:
        yield pool


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
    assert {v.outcome for v in alone} == {Outcome.correct, Outcome.incorrect, Outcome.disagree}
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
    give_up = time.monotonic() + 60
    while any(is_running(pid) for pid in pids) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in pids)


def test_a_worker_holds_no_torch() -> None:
    code = "import sys, redistill.verify.worker; print('torch' in sys.modules, 'numpy' in sys.modules)"
    path = os.pathsep.join(p for p in sys.path if p)
    found = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=True
    )
    assert found.stdout.split() == [b"False", b"False"]
