"""The locks say what constraints.txt says, with a checksum for every file; the look-up of vulnerabilities does not pass what it has not seen."""

import base64
import hashlib
import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^ ;]+)(?: ;.*)? \\$", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "locks" / f"{name}.txt").read_text()
    entries = re.split(r"\n(?=[A-Za-z])", text)
    found = [entry for entry in entries if "==" in entry.splitlines()[0]]
    assert all(re.search(r"\n {4}--hash=sha256:[0-9a-f]{64}", entry) for entry in found)
    assert len(found) == len(PIN.findall(text))
    return dict(PIN.findall(text))


def named(requirement: str) -> str:
    return re.split(r"[\[><=~! ;]", requirement)[0].lower().replace("_", "-")


def test_the_locks_and_the_constraints_are_the_same_versions():
    constraints = dict(line.lower().replace("_", "-").split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)  # fmt: skip
    core, dev, docs, cuda, cpu = (pins(name) for name in ("core", "dev", "docs", "torch-cuda", "torch-cpu"))
    assert {**dev, **docs, "torch": cuda["torch"]} == constraints, "make lock"
    assert core.items() <= dev.items() and core.items() <= docs.items() and "torch" not in dev
    assert cpu == {"torch": f"{cuda['torch']}+cpu"}


def test_everything_the_project_asks_for_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    core = {named(r) for r in [*project["project"]["dependencies"], *project["build-system"]["requires"]]}
    assert core - {"torch"} <= set(pins("core"))
    assert {named(r) for extra in ("dev", "lora", "eight-bit", "serve", "ray", "tracking") for r in extras[extra]} <= set(pins("dev"))  # fmt: skip
    assert "pip-audit" in pins("audit")


def test_a_file_whose_checksum_is_another_is_not_installed(tmp_path):
    wheel = tmp_path / "tiny_thing-1.0-py3-none-any.whl"
    info = "tiny_thing-1.0.dist-info"
    files = {
        "tiny_thing.py": "x = 1\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        sums = ((n, base64.urlsafe_b64encode(hashlib.sha256(t.encode()).digest()).decode().rstrip("="), len(t)) for n, t in files.items())  # fmt: skip
        archive.writestr(
            f"{info}/RECORD", "".join(f"{n},sha256={s},{size}\n" for n, s, size in sums) + f"{info}/RECORD,,\n"
        )
    right = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock, command = (
        tmp_path / "lock.txt",
        [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", str(tmp_path)],
    )
    assert "--require-hashes --no-deps -r" in (ROOT / "locks" / "install.sh").read_text()
    for digest, code in (("0" + right[1:] if right[0] != "0" else "1" + right[1:], 1), (right, 0)):
        lock.write_text(f"tiny-thing==1.0 \\\n    --hash=sha256:{digest}\n")
        target = tmp_path / digest[:4]
        done = subprocess.run([*command, "--require-hashes", "--no-deps", "-r", str(lock), "--target", str(target)], capture_output=True, text=True)  # fmt: skip
        assert done.returncode == code, done.stderr
        assert (target / "tiny_thing.py").exists() == (code == 0) and (code == 0 or "DO NOT MATCH" in done.stderr)


@pytest.fixture
def lookup():
    spec = importlib.util.spec_from_file_location("vulnerabilities", ROOT / "locks" / "vulnerabilities.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CLEAN = {"name": "a", "version": "1", "vulns": []}
UNSEEN = {"name": "b", "version": "2", "skip_reason": "Dependency not found"}
BAD = {"name": "c", "version": "3", "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-9"], "fix_versions": ["4"]}]}


@pytest.mark.parametrize(
    ("packages", "known", "required", "code", "words"),
    [
        ([CLEAN], {}, True, 0, "no known vulnerability in 1 packages"),
        ([CLEAN, UNSEEN], {}, False, 0, "1 could not be looked up: b"),
        ([CLEAN, UNSEEN], {}, True, 1, "1 could not be looked up: b"),
        ([UNSEEN], {}, False, 0, "NOT DONE"),
        ([UNSEEN], {}, True, 1, "NOT DONE"),
        ([], {}, False, 0, "NOT DONE"),
        ([CLEAN, BAD], {}, False, 1, "c 3: PYSEC-1, fixed in 4"),
        ([BAD], {"CVE-9": "no such code is reached"}, True, 0, "accepted: no such code is reached"),
    ],
)
def test_the_lookup_says_what_it_saw_and_fails_for_what_is_new(lookup, capsys, packages, known, required, code, words):
    assert lookup.say(packages, "", known, required) == code
    assert words in capsys.readouterr().out


def test_every_accepted_advisory_has_a_reason(lookup):
    known = lookup.accepted((ROOT / "locks" / "advisories.txt").read_text())
    assert all(len(reason.split()) >= 3 for reason in known.values())
    assert lookup.accepted("# x\n\nCVE-1 it is not reached\n") == {"CVE-1": "it is not reached"}
