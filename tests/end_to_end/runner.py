"""A process that imports the tool once and then forks a child a command: the real `main`, without the seconds that
importing torch takes. A child can be cut: killed (or stopped) at the k-th call of one function, from outside the code.

    stdin   {"arguments": ["run", "mini.yaml"], "cwd": "...", "output": "/tmp/out", "cut": null | {...}}   -> {"pid": 71}
            {"code": "import ...", "path": ["..."], "cwd": "...", "output": "/tmp/out"}  any code instead  -> {"pid": 72}
            {"wait": 71}                                                         -> {"returncode": -9, "peak_kib": 412000}

peak_kib is the most resident memory of the child, or of a process that it waited for.
A cut is {"target": "redistill.io.stage_folder:StageFolder.finish_shard", "only": "verify", "call": 2, "when": "after", "signal": 9}:
at the second call whose arguments name a path with "verify" in it.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import traceback
import tty
from pathlib import Path
from typing import Any


def cut(spec: dict[str, Any]) -> None:
    """Replace a function by one that sends this process a signal before or after its k-th call; or, where the spec names
    a `setup` such as "faults.moments:arm" (below its `path`), have that function prepare this process."""
    if "setup" in spec:
        sys.path.insert(0, spec["path"])
        module, _, name = spec["setup"].partition(":")
        getattr(importlib.import_module(module), name)(spec)
        return
    module, _, name = spec["target"].partition(":")
    owner: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    real, calls = getattr(owner, last), [0]

    def patched(*arguments: Any, **named: Any) -> Any:
        places = [
            str(getattr(a, "folder", getattr(a, "path", a)))
            for a in (*arguments, *named.values())
            if not isinstance(a, dict)
        ]
        counts = any(spec["only"] in place for place in places)
        calls[0] += counts
        if counts and calls[0] == spec["call"] and spec["when"] == "before":
            os.kill(os.getpid(), spec["signal"])
        result = real(*arguments, **named)
        if counts and calls[0] == spec["call"] and spec["when"] == "after":
            os.kill(os.getpid(), spec["signal"])
        return result

    setattr(owner, last, patched)


def on_a_terminal() -> int:
    """From here on stdout and stderr are a pseudo-terminal; a process of its own, whose id is returned, copies what
    arrives there to the file, and ends when the last process has left the terminal."""
    file, (master, slave) = os.dup(1), os.openpty()
    tty.setraw(slave)  # \n stays \n
    if (copier := os.fork()) == 0:
        os.close(slave)
        for number in (1, 2):
            os.dup2(file, number)
        with contextlib.suppress(OSError):  # the last one at the terminal has left
            while data := os.read(master, 1 << 16):
                os.write(file, data)
        os._exit(0)
    os.close(master)
    for number in (1, 2):
        os.dup2(slave, number)
    os.close(slave)
    os.close(file)
    # Python's own streams were made for files, which can be sought in
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
    return copier


def child(command: dict[str, Any]) -> int:
    """Do one command with its output in files; returns the exit code that a shell would see."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{command['output']}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    copier = on_a_terminal() if command.get("terminal") else None
    os.environ.update(command.get("env") or {})
    os.chdir(command["cwd"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background inherits an ignored Ctrl-C
    from redistill.cli import main

    try:
        if command.get("cut"):
            cut(command["cut"])
        if "code" in command:
            sys.path += command["path"]
            exec(compile(command["code"], "<code of a test>", "exec"), {"__name__": "code_of_a_test"})
        else:
            main(command["arguments"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001 - as the interpreter does with what nobody caught
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if copier is not None:
        os.close(1)
        os.close(2)
        os.waitpid(copier, 0)
    return code


def warm_keys() -> None:
    """Read the package's source once, as every run does for its cache keys; the children inherit what was found."""
    from redistill.pipeline import stages
    from redistill.pipeline.closure import code_of
    from redistill.rollout import ENGINES
    from redistill.select import PAIRINGS
    from redistill.train import OBJECTIVES
    from redistill.verify import VERIFIERS

    made = [getattr(stages, f"run_{name}") for name in ("corpus", "verify", "select", "train", "answers", "scores")]
    members = [function for table in (ENGINES, PAIRINGS, OBJECTIVES, VERIFIERS) for function in table.values()]
    code_of([*made, *members, stages.EvalConfig, stages.dev_probe, stages.WORKER])


def warm_verifiers() -> None:
    """Start the server that forks verifier workers, with sympy loaded; the children's workers come from it."""
    from redistill.records import make_problem, make_trace
    from redistill.verify import VerifierPool, cascade

    problem = make_problem("1+1=", answer="2")
    with VerifierPool({"cascade": cascade}, workers=1, timeout_seconds=60, memory_mb=2048) as pool:
        (verdicts,) = pool.judge([(problem, make_trace(problem.id, "\\boxed{2}"))])
    assert verdicts["cascade"].outcome == "correct"


def keep_charts(scratch: Path) -> None:
    """As in tests/conftest.py."""
    sys.path.append(str(Path(__file__).parents[1]))
    from drawn_charts import Drawn, draw_once

    sys.path.pop()
    draw_once(Drawn(scratch / "charts"))


def serve() -> None:
    """Answer commands until stdin ends."""
    if not os.environ.get("REDISTILL_SOAK"):
        os.fsync = lambda file: None  # as in tests/conftest.py: nobody takes the power away
        keep_charts(Path(os.environ["REDISTILL_TESTS_SCRATCH"]))
    # what every run imports, once; nothing computes here, so that no thread is lost in a fork
    transformers = ("transformers.models.llama.modeling_llama", "transformers.generation")
    for module in (
        "redistill.cli",
        "redistill.pipeline.run",
        "redistill.rollout.local_sampling",
        *transformers,
        "pandas",
    ):
        importlib.import_module(module)
    warm_keys()
    warm_verifiers()
    gc.collect()
    gc.freeze()  # the children's collections pass over all this
    for line in sys.stdin:
        command = json.loads(line)
        if "wait" in command:
            _, status, used = os.wait4(command["wait"], 0)
            answer = {"returncode": os.waitstatus_to_exitcode(status), "peak_kib": used.ru_maxrss}
        else:
            pid = os.fork()
            if pid == 0:
                os._exit(child(command))
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
