"""Processes that are killed, servers that are gone, clocks that jump: what else must not change a result.

Elsewhere: a rank of two killed in a step (train/test_ranks.py), a process of the executor and a node of a Ray cluster
(test_executors.py, end_to_end/test_executors_run.py), memory of a worker (verify/test_pool.py), a server's 429, 500, garbage,
cut or empty answers and its end (test_client.py).
"""

import functools
import os
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local_servers import scripted_server
from redistill.errors import OperatorError
from redistill.io import client
from redistill.io.client import Ask, Kept, Server, ask
from redistill.records import Outcome, make_problem, make_trace
from redistill.verify import VERIFIERS
from redistill.verify import pool as pool_module
from redistill.verify.pool import VerifierPool

from .conftest import armed
from .equal import final_files, unlike

EXACT = {"exact": functools.partial(VERIFIERS["exact"])}


def items(count: int) -> list[Any]:
    problems = [make_problem(f"{n}+1=", answer=str(n + 1)) for n in range(count)]
    return [(problem, make_trace(problem.id, f"<answer>{n + 1}</answer>")) for n, problem in enumerate(problems)]


@pytest.mark.parametrize("counted", [True, False])
def test_a_worker_that_the_kernel_kills_costs_no_verdict(monkeypatch: pytest.MonkeyPatch, counted: bool) -> None:
    """Killed with its hands full, as the kernel does for memory: what it was at is tried again in a fresh one; also where
    it was killed after it had told an answer and before it had counted it."""
    if not counted:
        monkeypatch.setattr("redistill.verify.pool.os.pread", lambda *where: bytes(8))
    with VerifierPool(EXACT, workers=1, timeout_seconds=60, memory_mb=1024) as pool:
        found, killed = [], []
        for verdicts in pool.judge(items(300)):
            found.append(verdicts["exact"].outcome)
            if len(found) in (1, 200):
                killed.append(pool._workers[0].process.pid)
                os.kill(killed[-1], signal.SIGKILL)
    assert found == [Outcome.correct] * 300 and len(set(killed)) == 2


class Stillborn:
    """The first `count` workers are killed as soon as they are started."""

    def __init__(self, count: int) -> None:
        self.left, self.real = count, pool_module.start_worker

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        process = self.real(*arguments, **named)
        if self.left:
            self.left -= 1
            process.kill()
        return process


def test_a_worker_killed_at_its_start_is_replaced_and_a_third_in_a_row_is_one_sentence(monkeypatch: Any) -> None:
    monkeypatch.setattr(pool_module, "start_worker", Stillborn(2))
    with VerifierPool(EXACT, workers=1, timeout_seconds=60, memory_mb=1024) as pool:
        assert [v["exact"].outcome for v in pool.judge(items(3))] == [Outcome.correct] * 3
    monkeypatch.setattr(pool_module, "start_worker", Stillborn(3))
    said = (
        r"^verify: its worker processes were killed 3 times at their start \(by signal 9; .* finished work is kept\.$"
    )
    with (
        VerifierPool(EXACT, workers=1, timeout_seconds=60, memory_mb=1024) as pool,
        pytest.raises(OperatorError, match=said),
    ):
        list(pool.judge(items(3)))


# --- servers --------------------------------------------------------------------------------------------------------


def test_a_server_that_never_answers_is_one_sentence(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.01)
    asked = [Ask("completions", {"model": "m", "prompt": "p", "seed": seed, "max_tokens": 4}) for seed in range(5)]
    said = r"gives no usable answer to any of 5 requests \(no response within 1\.5 seconds after 2 attempts\); check the server"
    with scripted_server(tmp_path, fail="hang") as server, pytest.raises(OperatorError, match=said):
        ask(Server(server.base_url, retries=1, timeout_seconds=1.5), asked, kept=Kept())


def test_a_servers_date_to_come_back_is_read_by_its_own_clock() -> None:
    """Ours may be a year off: a minute by the server's clock is a minute."""
    headers = httpx2.Headers({"Date": "Mon, 06 Jan 2025 10:00:00 GMT", "Retry-After": "Mon, 06 Jan 2025 10:01:00 GMT"})
    assert client._retry_after(headers) == 60
    assert (
        client._retry_after(httpx2.Headers({"Retry-After": "Mon, 06 Jan 2025 10:01:00 GMT"})) == 0
    )  # long ago, by ours
    assert client._retry_after(httpx2.Headers({"Retry-After": "7"})) == 7
    assert client._retry_after(httpx2.Headers({"Retry-After": "soon"})) == 0
    assert client._retry_after(httpx2.Headers({})) == 0


# --- two runs, one result -------------------------------------------------------------------------------------------


def test_two_runs_on_one_machine_have_the_same_bytes_though_the_clock_jumps(
    whole: Path, tool: Any, tmp_path: Path
) -> None:
    """The second run's clock is moved by up to a day, back and forth, each time that it is looked at."""
    done = tool(whole, "run", "tiny.yaml", "--runs-dir", tmp_path, cut=armed("places:jumping_clock"))
    assert done.returncode == 0, done.stderr
    assert unlike(final_files(tmp_path / "tiny"), final_files(whole / "runs" / "tiny")) == []
