"""Whatever a command's folder holds, no process that it starts imports from there; a user's own plug-ins are found all the same."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import redistill
from redistill.safety import import_path
from redistill.safety.child_processes import python, python_command, safe_environment, spawning

PACKAGE = Path(redistill.__file__).parent
SOURCE = PACKAGE.parent
NAMES = """
    abc argparse ast asyncio base64 calendar codecs collections colorsys contextlib copy csv dataclasses datetime enum functools
    hashlib inspect json linecache logging math_verify multiprocessing numpy operator pathlib pickle platform psutil pyarrow pydantic
    queue random re redistill reprlib select selectors shutil signal sitecustomize socket string struct subprocess sympy tempfile
    threading token tokenize torch tqdm traceback transformers types typing usercustomize uuid warnings weakref yaml
"""
MINI = """\
name: mini
student:
  from_config: {model_type: llama, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 1,
                num_key_value_heads: 1, max_position_embeddings: 64}
  alphabet: "0123456789+-*=;#"
prompt: {template: bare}
corpus: {sources: [{name: two-habits, problems: 20, traces: 3, digits: 3, jump_length: 2}], dev_fraction: 0.2, shards: 2}
verify: {verifiers: [cascade, "mine:all_wrong"], policy: cascade, workers: 1}
train: {sft: {objective: sft, steps: 1, learning_rate: 1e-3}}
"""
MINE = """\
from redistill.records import Outcome, Verdict

def all_wrong(problem, trace):
    import random
    return Verdict(Outcome.incorrect, str(random.Random(1).randrange(10)), "mine", "mine", "1")
"""


def trap(folder: Path, names: str = NAMES) -> Path:
    """A folder with a file of each name that leaves a mark when it is imported, and fails."""
    folder.mkdir(exist_ok=True)
    for name in names.split():
        (folder / f"{name}.py").write_text('open(__file__ + ".imported", "w").close()\nraise ImportError(__file__)\n')
    return folder


def run(folder: Path, *arguments: str | Path) -> str:
    """What Python prints in that folder, given these arguments; nothing there was imported."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "CI": "1", "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONSAFEPATH", None)
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    marks = sorted(path.name for path in folder.glob("*.imported"))
    assert (done.returncode, marks) == (0, []), done.stderr[-2000:]
    return done.stdout


# Each begins as a session in the folder does: the modules at hand are imported, and the folder is first on the path (but
# for Ray, which imports half of itself when it starts).
POOL = """\
import functools, sys
from redistill.records import make_problem, make_trace
from redistill.verify import VerifierPool, cascade
problem = make_problem("1/2+1/2?", answer="1")
items = [(problem, make_trace(problem.id, said)) for said in (r"\\boxed{\\frac{2}{2}}", r"\\boxed{3}")]
sys.path.insert(0, "")
with VerifierPool({"cascade": functools.partial(cascade)}, workers=2, timeout_seconds=60, memory_mb=2048) as pool:
    print(*[str(found["cascade"].outcome) for found in pool.judge(items)])
"""
SHARDS = """\
import functools, operator, sys
from redistill.config.tables import ExecutionSettings
from redistill.io.executors import SMALL_BYTES, open_executor
sys.path[:0] = {first}
with open_executor(ExecutionSettings(executor="{executor}", workers=2)) as executor:
    print(sorted(executor.map(functools.partial(operator.mul, 3), [5, 6], label="x", size_bytes=SMALL_BYTES)))
"""
TRIAL = """\
import os, sys
from redistill.safety.limits import trial
def work():
    import colorsys
    os.write(writing, colorsys.__file__.encode())
reading, writing = os.pipe()
os.set_blocking(reading, False)
sys.path.insert(0, "")
print(trial(work, seconds=10, memory_bytes=1 << 30), os.path.dirname(os.read(reading, 1000).decode()) == os.path.dirname(os.__file__))
"""
SWEEP = """\
import sys
from redistill.tools.sweep import workers
sys.path.insert(0, "")
if __name__ == "__main__":
    hand = workers._start(1)
    hand.connection.close()  # no work: it imports torch and ends
    hand.process.join()
    print(hand.process.exitcode)
"""


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        pytest.param(POOL, "correct incorrect\n", id="verifier-workers"),
        pytest.param(SHARDS.format(executor="local", first=[""]), "[(0, 15), (1, 18)]\n", id="local-processes"),
        pytest.param(  # half a minute to start a cluster
            SHARDS.format(executor="ray", first=[]), "[(0, 15), (1, 18)]\n", id="ray-tasks", marks=pytest.mark.recipes
        ),
        pytest.param(TRIAL, "None True\n", id="trials-of-untrusted-work"),
        pytest.param(SWEEP, "0\n", id="sweep-workers"),
    ],
)
def test_no_process_of_ours_imports_from_the_folder_that_it_is_started_in(
    tmp_path: Path, program: str, printed: str
) -> None:
    if "ray" in program:
        pytest.importorskip("ray")
    assert run(trap(tmp_path / "here"), "-P", "-c", program) == printed


def test_a_run_with_a_plug_in_of_a_folder_full_of_traps_is_judged_by_the_real_modules(tmp_path: Path) -> None:
    """The command as pip installs it; the plug-in's folder is on the import path, but last."""
    here = trap(tmp_path / "here")
    (here / "mini.yaml").write_text(MINI)
    (here / "mine.py").write_text(MINE)
    entry = tmp_path / "bin" / "redistill"
    entry.parent.mkdir()
    entry.write_text("from redistill.cli import main\nmain()\n")
    run(here, entry, "run", "mini.yaml", "--code", "mine.py", "--until", "verify")
    tallies = json.loads((here / "runs/mini/verify/ledger.json").read_text())["tallies"]
    assert tallies["outcomes:mine:all_wrong"].keys() == {"incorrect"}
    assert tallies["outcomes:cascade"]["correct"] > 0


def test_python_m_redistill_drops_the_folder_before_it_imports_anything_else(tmp_path: Path) -> None:
    # by then runpy has imported contextlib, functools, types and the like itself
    here = trap(tmp_path / "here", "argparse calendar json random typing")
    assert redistill.__version__ in run(here, "-m", "redistill", "--version")


def test_a_module_command_looks_neither_into_the_folder_nor_lets_its_children_look(tmp_path: Path) -> None:
    here = trap(tmp_path / "here")
    done = subprocess.run([*python(), "-m", "calendar", "2024", "2"], cwd=here, capture_output=True, text=True)
    assert "29" in done.stdout, done.stderr
    code = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import colorsys; print(colorsys.ONE_THIRD)'])"
    )
    done = subprocess.run(
        [*python(), "-c", code], cwd=here, env=safe_environment(os.environ), capture_output=True, text=True
    )
    assert done.stdout == f"{1 / 3}\n"


# --- the import path itself -----------------------------------------------------------------------------------------


def path_in(monkeypatch: pytest.MonkeyPatch, folder: Path, *entries: str | Path, written: str = "") -> list[str]:
    """`import_path()` of a process in that folder with these entries of sys.path."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(entry) for entry in entries])
    monkeypatch.setenv("PYTHONPATH", written)
    return import_path.import_path()


LIBRARY = os.path.dirname(os.__file__)


def test_the_current_folder_leaves_the_path_however_it_is_written(monkeypatch, tmp_path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    for folder in (here, other):
        folder.mkdir()
    (tmp_path / "link").symlink_to(here)
    for spelled in ("", ".", here, tmp_path / "link", f"{here}/"):
        assert path_in(monkeypatch, here, spelled, other, LIBRARY) == [str(other), LIBRARY]
    # an empty piece of PYTHONPATH, as `PYTHONPATH=$PYTHONPATH:/x` leaves one, asks for nothing
    assert path_in(monkeypatch, here, here, other, LIBRARY, written=f":{other}") == [str(other), LIBRARY]
    monkeypatch.setattr(import_path, "STARTED_IN", str(here))
    assert path_in(monkeypatch, other, here, LIBRARY) == [LIBRARY]  # the folder of `-m`, after a chdir


def test_it_stays_where_the_user_wrote_it_and_behind_python_s_own_library(monkeypatch, tmp_path) -> None:
    assert path_in(monkeypatch, tmp_path, tmp_path, LIBRARY, written=".") == [str(tmp_path), LIBRARY]
    assert path_in(monkeypatch, tmp_path, "", LIBRARY, "/x", tmp_path) == [LIBRARY, "/x", str(tmp_path)]


def test_it_moves_to_the_end_where_a_module_was_imported_from_it(monkeypatch, tmp_path) -> None:
    (tmp_path / "helpers_of_mine.py").write_text("")
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "__init__.py").write_text("")
    for name in ("helpers_of_mine", "package_of_mine"):
        monkeypatch.syspath_prepend(tmp_path)
        __import__(name)
        assert path_in(monkeypatch, tmp_path, "", LIBRARY, "/x") == [LIBRARY, "/x", str(tmp_path)]
        del sys.modules[name]
        assert path_in(monkeypatch, tmp_path, "", LIBRARY, "/x") == [LIBRARY, "/x"]
        monkeypatch.undo()


def test_a_folder_that_was_deleted_is_no_trouble(monkeypatch, tmp_path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr(sys, "path", ["", LIBRARY])
    assert import_path.import_path() == [LIBRARY]
    monkeypatch.chdir(tmp_path)


def test_spawning_gives_everything_back(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    path = ["", LIBRARY]
    monkeypatch.setattr(sys, "path", path)
    for before in (None, "0"):
        monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
        if before is not None:
            monkeypatch.setenv("PYTHONSAFEPATH", before)
        with pytest.raises(KeyError), spawning():
            assert (sys.path, os.environ["PYTHONSAFEPATH"]) == ([LIBRARY], "1")
            raise KeyError
        assert sys.path is path and path == ["", LIBRARY] and os.environ.get("PYTHONSAFEPATH") == before


def test_a_path_with_any_characters_reaches_the_command(monkeypatch, tmp_path) -> None:
    odd = tmp_path / 'it\'s "odd"\n\udcff'
    odd.mkdir()
    (odd / "spoken.py").write_text("import sys\ndef main():\n    print(sys.argv[1:])\n")
    monkeypatch.syspath_prepend(odd)
    done = subprocess.run(python_command("spoken", "a b", "-c"), capture_output=True, text=True)
    assert done.stdout == "['a b', '-c']\n", done.stderr


def test_python_is_started_in_one_place_only() -> None:
    """A new process is started through `python_command` or inside `spawning`, or this test names it."""
    starts = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        names = {
            f"{n.value.id}.{n.attr}"
            for n in ast.walk(tree)
            if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
        }
        names |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        starting = names & {
            "sys.executable", "subprocess.Popen", "subprocess.run", "os.fork", "os.execvpe", "multiprocessing.get_context",
            "multiprocessing.Process", "multiprocessing.Pool", "ProcessPoolExecutor", "ray.init", "os.system", "os.popen",
        }  # fmt: skip
        if starting:
            starts[path.relative_to(PACKAGE).as_posix()] = (
                starting - {"sys.executable"},
                names & {"python_command", "spawning", "leave_folder"},
            )
            assert "sys.executable" not in starting or path.name == "child_processes.py"
    assert starts == {
        "cli/serve.py": ({"os.execvpe"}, set()),  # of a command that begins with python(), or is not Python
        "io/executors.py": ({"multiprocessing.get_context", "ProcessPoolExecutor", "ray.init"}, {"spawning"}),
        "pipeline/run_record.py": ({"subprocess.run"}, set()),  # git
        "safety/child_processes.py": (set(), set()),
        "safety/limits.py": ({"os.fork"}, {"leave_folder"}),
        "safety/sandbox.py": ({"subprocess.run"}, set()),  # of a command of `isolated`
        "safety/sandbox_launcher.py": ({"os.fork"}, set()),  # in a process that has imported no module but Python's
        "tools/sweep/workers.py": ({"multiprocessing.get_context"}, {"spawning"}),
        "verify/fork_server.py": ({"subprocess.Popen", "os.fork"}, {"python_command"}),
    }
