"""The server that forks the pool's workers: what a worker begins with, and what the end of either side costs."""

import functools
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import verify_fakes

from process_states import is_running
from redistill.errors import OperatorError
from redistill.records import Outcome, make_problem, make_trace
from redistill.verify import VerifierPool, cascade, exact, fork_server

PROBLEM = make_problem("2+2?", answer="4")


def judged(verifier: Any, *completions: str, workers: int = 1) -> list[Any]:
    with VerifierPool({"v": functools.partial(verifier)}, workers=workers, timeout_seconds=30, memory_mb=1024) as pool:
        return [found["v"] for found in pool.judge((PROBLEM, make_trace(PROBLEM.id, text)) for text in completions)]


def server_pid() -> int:
    process = fork_server._SERVER._process
    assert process is not None
    return process.pid


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_pools_share_one_server_that_has_no_thread_when_it_forks() -> None:
    """A fork copies the thread that forks and every lock that another one held."""
    assert judged(cascade, r"\boxed{\frac{8}{2}}")[0].outcome == Outcome.correct
    first = server_pid()
    assert judged(exact, r"\boxed{4}", workers=2)[0].outcome == Outcome.correct
    assert server_pid() == first
    assert len(list(Path(f"/proc/{first}/task").iterdir())) == 1


def test_a_worker_has_the_environment_the_folder_and_the_path_of_when_it_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    judged(exact, "4")  # the server has started, elsewhere and with another environment
    (tmp_path / "late_verifier.py").write_text(
        "import os\n"
        "from redistill.records import Outcome, Verdict\n"
        "def where(problem, trace):\n"
        "    said = [os.getcwd(), os.environ.get('LATE'), os.environ['PYTHONHASHSEED'], str(hash('a'))]\n"
        "    return Verdict(Outcome.correct, ' '.join(map(str, said)), '', 'late', '1')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LATE", "yes")
    import late_verifier

    command = [sys.executable, "-c", "print(hash('a'))"]
    hashed = subprocess.check_output(command, env={**os.environ, "PYTHONHASHSEED": "0"}, text=True).strip()
    (verdict,) = judged(late_verifier.where, "4")
    assert verdict.extracted == f"{tmp_path} yes 0 {hashed}"


def test_a_worker_that_breaks_off_says_so_where_the_caller_writes_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    judged(exact, "4")
    (tmp_path / "gone_verifier.py").write_text("def gone(problem, trace):\n    pass\n")
    with monkeypatch.context() as context:
        context.syspath_prepend(tmp_path)
        import gone_verifier

        (tmp_path / "gone_verifier.py").unlink()
        for cached in (tmp_path / "__pycache__").glob("*"):
            cached.unlink()
        with pytest.raises(RuntimeError, match="died at its start; its own message stands above"):
            judged(gone_verifier.gone, "4")
    assert "No module named 'gone_verifier'" in capfd.readouterr().err


def test_a_server_that_is_killed_costs_no_verdict() -> None:
    with VerifierPool({"exact": functools.partial(exact)}, workers=1, timeout_seconds=60, memory_mb=1024) as pool:
        outcomes, servers = [], []
        for found in pool.judge((PROBLEM, make_trace(PROBLEM.id, rf"\boxed{{4}} {i}")) for i in range(300)):
            outcomes.append(found["exact"].outcome)
            if len(outcomes) == 1:
                servers.append(server_pid())
                os.kill(servers[0], signal.SIGKILL)
                os.kill(pool._workers[0].process.pid, signal.SIGKILL)
    assert outcomes == [Outcome.correct] * 300
    assert server_pid() not in servers


def test_a_server_that_cannot_live_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    fork_server._SERVER.close()
    dies = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    monkeypatch.setattr(fork_server, "python_command", lambda *_: dies)
    said = r"^verify: the process that starts its workers ended 2 times before .* out of memory, .* what is finished is kept\.$"
    with pytest.raises(OperatorError, match=said):
        judged(exact, "4")
    monkeypatch.undo()
    assert judged(exact, r"\boxed{4}")[0].outcome == Outcome.correct


def test_a_server_that_may_open_no_more_files_says_so_and_serves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    judged(exact, "4")
    limits = resource.prlimit(server_pid(), resource.RLIMIT_NOFILE)
    resource.prlimit(server_pid(), resource.RLIMIT_NOFILE, (10, limits[1]))
    with pytest.raises(OSError, match="Too many open files"):
        judged(exact, "4")
    resource.prlimit(server_pid(), resource.RLIMIT_NOFILE, limits)
    assert judged(exact, r"\boxed{4}")[0].outcome == Outcome.correct


def test_a_worker_loads_the_libraries_for_maths_only_where_its_verifiers_may_need_them() -> None:
    """In a process of its own, whose server has loaded nothing yet; a verifier of the user's may need anything."""
    program = (
        "import functools, sys, verify_fakes\n"
        "from redistill.records import make_problem, make_trace\n"
        "from redistill.verify import VERIFIERS, VerifierPool, pool\n"
        "problem = make_problem('2+2?', answer='4')\n"
        "def loads_sympy():\n"
        "    with VerifierPool({'v': functools.partial(verify_fakes.has)}, workers=1, timeout_seconds=30, memory_mb=1024) as p:\n"
        "        return [found['v'].extracted for found in p.judge([(problem, make_trace(problem.id, 'sympy'))])]\n"
        "pool.WITHOUT_MATHS += (verify_fakes.has,)\n"
        "print(*loads_sympy())\n"
        "pool.WITHOUT_MATHS = pool.WITHOUT_MATHS[:-1]\n"
        "print(*loads_sympy(), 'sympy' in sys.modules)\n"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.stdout == "False\nTrue False\n", done.stderr


def test_the_server_ends_with_its_process_and_ends_its_workers() -> None:
    """Also a worker in a loop in C, which reads nothing."""
    program = (
        "import functools, verify_fakes\n"
        "from redistill.verify import VerifierPool, fork_server\n"
        "from redistill.records import make_problem, make_trace\n"
        "p = make_problem('?')\n"
        "pool = VerifierPool({'fake': functools.partial(verify_fakes.fake)}, workers=1, timeout_seconds=500, memory_mb=512)\n"
        "for found in pool.judge((p, make_trace(p.id, t)) for t in ['pid'] * 32 + ['grind']):\n"
        "    print(fork_server._SERVER._process.pid, pool._workers[0].process.pid, flush=True)\n"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    environment = {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    give_up = time.monotonic() + 60
    while any(is_running(pid) for pid in pids) and time.monotonic() < give_up:
        time.sleep(0.02)
    assert len(pids) == 2 and not any(is_running(pid) for pid in pids)


def test_a_forked_process_has_workers_of_the_same_server_which_end_with_it() -> None:
    judged(exact, "4")
    server = server_pid()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            outcome = judged(exact, r"\boxed{4}")[0].outcome
            pool = VerifierPool(
                {"v": functools.partial(verify_fakes.fake)}, workers=1, timeout_seconds=500, memory_mb=512
            )
            for _ in pool.judge((PROBLEM, make_trace(PROBLEM.id, text)) for text in ["a"] * 32 + ["grind"]):
                (grinding,) = pool._workers
                os.write(writing, f"{outcome} {grinding.process.pid} {parent_of(grinding.process.pid)} ".encode())
                os._exit(0)  # with a worker at work
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    os.close(writing)
    outcome, pid, parent = os.read(reading, 100).split()
    os.close(reading)
    assert (outcome, int(parent)) == (b"correct", server)
    give_up = time.monotonic() + 60
    while is_running(int(pid)) and time.monotonic() < give_up:
        time.sleep(0.02)
    assert not is_running(int(pid))
    assert judged(exact, r"\boxed{4}")[0].outcome == Outcome.correct and server_pid() == server


def test_when_the_process_that_started_it_ends_a_forked_one_starts_its_own() -> None:
    program = (
        "import functools, os, sys, time\n"
        "from redistill.records import make_problem, make_trace\n"
        "from redistill.verify import VERIFIERS, VerifierPool\n"
        "p = make_problem('2+2?', answer='4')\n"
        "def judged():\n"
        "    with VerifierPool({'v': functools.partial(VERIFIERS['exact'])}, workers=1, timeout_seconds=30, memory_mb=512) as pool:\n"
        "        return [str(found['v'].outcome) for found in pool.judge([(p, make_trace(p.id, r'\\boxed{4}'))])]\n"
        "print(*judged(), flush=True)\n"
        "parent = os.getpid()\n"
        "if os.fork():\n"
        "    sys.exit()\n"
        "while os.getppid() == parent:\n"
        "    time.sleep(0.01)\n"
        "print(*judged(), flush=True)\n"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "correct\ncorrect\n", done.stderr


def test_pools_of_several_threads_start_workers_at_once() -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.extend(judged(exact, r"\boxed{4}", "5"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(verdict.outcome) for verdict in found) == ["correct"] * 4 + ["no_answer"] * 4


def test_a_worker_starts_however_many_files_are_open() -> None:
    """`select` knows no file descriptor above 1,023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1_200:
        pytest.skip("this machine allows fewer open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1_200), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_050)]
    try:
        assert judged(exact, r"\boxed{4}")[0].outcome == Outcome.correct
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
