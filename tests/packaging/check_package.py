"""Wheel and sdist: built from this tree, installed into a fresh environment, and run there, outside of the repository.

`make package` runs it (and CI); the quick suite does not, for it builds three times. Dependencies are those of the environment
that runs the test, seen through a path file: nothing is fetched, and no redistill but the installed one can be imported.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "redistill"
DATA = ("recipes/**/*.yaml", "report/*.html", "report/*.css", "tools/export/templates/**/*.txt", "py.typed")
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def build(kind: str, tree: Path, out: Path) -> Path:
    """What the build backend makes of a tree: `build_wheel` or `build_sdist`, as pip calls it."""
    out.mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, "-c", BUILD, kind, str(out)], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """The files that git knows, copied: a build leaves nothing in the repository."""
    folder = tmp_path_factory.mktemp("tree")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory) -> Path:
    return build("build_wheel", tree, tmp_path_factory.mktemp("wheel"))


def names_in(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("redistill/")}


def test_the_wheel_holds_every_module_recipe_and_template_and_no_test(wheel):
    wanted = {path for pattern in ("**/*.py", *DATA) for path in SOURCE.glob(pattern)}
    assert names_in(wheel) == {f"redistill/{path.relative_to(SOURCE).as_posix()}" for path in wanted}
    assert all(
        zipfile.ZipFile(wheel).read(f"redistill/{path.relative_to(SOURCE).as_posix()}") == path.read_bytes()
        for path in wanted
    )


def test_a_wheel_of_the_sdist_is_the_same_wheel(tree, wheel, tmp_path):
    sdist = build("build_sdist", tree, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert {"LICENSE", "README.md", "pyproject.toml"} <= {path.name for path in unpacked.iterdir()}
    again = build("build_wheel", unpacked, tmp_path / "again")
    assert again.name == wheel.name and names_in(again) == names_in(wheel)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A function that runs the installed command in a folder of its own."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    site = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(pip, check=True)
    # of these folders only packages are seen, no path files: an editable redistill there stays unseen
    (Path(site.stdout.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    work = folder / "work"
    work.mkdir()

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(folder / "venv" / "bin" / "redistill"), *words]
        return subprocess.run(command, cwd=work, capture_output=True, text=True, env={**kept, "CI": "1"}, timeout=600)

    where = subprocess.run(
        [str(python), "-P", "-c", "import redistill; print(redistill.__file__)"],
        cwd=work,
        capture_output=True,
        text=True,
        env=kept,
    )
    assert where.stdout.startswith(str(folder)), where
    call.folder = work
    return call


def test_the_installed_command_knows_its_version_and_its_recipes(installed):
    done = installed("--version")
    assert done.returncode == 0 and done.stdout.startswith("redistill "), done.stderr
    done = installed("recipes", "--json")
    assert set(json.loads(done.stdout)) == {path.stem for path in SOURCE.glob("recipes/**/*.yaml")}, done.stderr
    assert installed("validate", "quickstart").returncode == 0


def test_a_small_run_reaches_its_report(installed):
    small = ["corpus.sources.0.problems=30", "diagnosis=null", "evaluate.n=1", "evaluate.models=[redi]", "evaluate.max_new_tokens=8",
             "student.from_config.hidden_size=16", "student.from_config.intermediate_size=16", "student.from_config.num_attention_heads=2",
             "student.from_config.num_key_value_heads=2", "corpus.dev_fraction=0.3",
             *(f"train.{stage}.steps=2" for stage in ("sft", "control", "redi"))]  # fmt: skip
    done = installed("run", "quickstart", *(word for setting in small for word in ("--set", setting)))
    assert done.returncode == 0, done.stderr
    assert "<h2" in (installed.folder / "runs" / "quickstart" / "report.html").read_text("utf-8")


def test_an_audit_writes_its_page(installed):
    rows = [
        {"problem": f"{n}+1?", "answer": str(n + 1), "generations": [{"text": f"\\boxed{{{n + 1}}}"}]} for n in range(3)
    ]
    (installed.folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = installed("audit", "mine.jsonl")
    assert done.returncode == 0 and done.stdout.startswith("3 traces of 3 problems; 3 right"), done.stderr
    assert (installed.folder / "mine-audit" / "audit.html").exists()
