"""What holds for every test: one thread, no waiting for a disk, temporary files that vanish, no collection of garbage among what
all tests share, no chart that is drawn twice, and which tests wait for `make recipes` and `make soak`.

One thread: the models are tiny, and OpenMP threads that wait for a busy core slow a test tenfold.
"""

import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch
# Ray reads this when it is imported: 127.0.0.1 stays 127.0.0.1. It would else be replaced by the machine's outer address,
# which a sandbox may not answer.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

# A run syncs some 300 files and folders, at 2 to 15 ms each. No test takes the power away, and a process that is killed leaves
# what it has written with the kernel; that each file is synced before it gets its name is a test (io/test_stage_folder.py).
if not os.environ.get("REDISTILL_SOAK"):
    os.fsync = lambda file: None

# Marks of tests that `make test` leaves out; .ci/run runs `make recipes` too.
LATER = {"recipes": "make recipes", "soak": "make soak"}
SCRATCH = "REDISTILL_TESTS_SCRATCH"
MANY = 40_000  # objects that are not frozen: 20 ms a collection


def pytest_configure(config):
    """Give every process of this session a temporary folder of its own: torchrun's logs and whatever a process that was
    killed had begun lie there, and leave with it. pytest's own folders stay where they are, with the last three sessions."""
    if (
        config.getoption("dist", "no") == "no"
    ):  # a process that collects: each pass would go over all of torch again, for nothing
        gc.disable()
    if SCRATCH in os.environ:  # a worker of xdist, or pytest within a test: the session that made it removes it
        return
    usual = tempfile.gettempdir()
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", usual)
    os.environ.setdefault("RAY_TMPDIR", usual)  # Ray puts sockets there, whose paths must be short
    config.scratch = os.environ[SCRATCH] = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="tests-")
    os.environ["REDISTILL_CACHE"] = os.path.join(config.scratch, "cache")
    tempfile.tempdir = None  # looked up again


def pytest_collection_finish(session):
    """What is there before the first test stays to the end, a million objects: collections of garbage pass over it."""
    gc.collect()
    gc.freeze()
    gc.enable()
    if not session.config.option.collectonly and "redistill.report.charts" in sys.modules:
        draw_once()


def draw_once():
    """The report's charts are kept for all processes of this session: drawn_charts.py."""
    from drawn_charts import Drawn, draw_once

    if not os.environ.get("REDISTILL_SOAK"):
        draw_once(Drawn(Path(os.environ[SCRATCH]) / "charts"))


def pytest_unconfigure(config):
    if scratch := getattr(config, "scratch", None):
        shutil.rmtree(scratch, ignore_errors=True)


def pytest_collection_modifyitems(config, items):
    """Leave the marked ones out, unless -m asks for them, or a file is named on the command line."""
    if config.option.markexpr:
        return
    named = {Path(argument.partition("::")[0]).resolve() for argument in config.args}
    later = [item for item in items if item.path not in named and any(map(item.get_closest_marker, LATER))]
    if later:
        config.hook.pytest_deselected(items=later)
        items[:] = [item for item in items if item not in set(later)]


@pytest.fixture(scope="module", autouse=True)
def settled():
    """What a file's tests have imported stays too. A stage of training ends with a collection, of all that is not frozen."""
    yield
    if len(gc.get_objects()) > MANY:
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def tool(tmp_path_factory):
    """The command line, as `tool(folder, "run", "mini.yaml")`: end_to_end/mini.py. Its process imports the package once for all
    tests that a worker does, end_to_end/ and faults/ alike."""
    sys.path.append(str(Path(__file__).with_name("end_to_end")))
    from mini import Tool

    tool = Tool(tmp_path_factory.mktemp("output"))
    yield tool
    tool.process.stdin.close()
    tool.process.wait(timeout=30)
