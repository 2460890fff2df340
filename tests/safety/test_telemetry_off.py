"""Telemetry is off before any library is imported, in this process and in those it starts; whoever sets a switch decides."""

import os
import subprocess
import sys
from pathlib import Path

import redistill
from redistill.safety import telemetry_off
from redistill.safety.telemetry_off import SWITCHES, switched_off

SOURCE = Path(redistill.__file__).parents[1]


def test_importing_the_package_switches_everything_off_and_leaves_what_is_set():
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), "DO_NOT_TRACK": "0"}
    code = (
        "import os, redistill\nprint({n: os.environ.get(n) for n in " + repr(list(SWITCHES)) + "})\n"
        "from huggingface_hub import constants\nprint(constants.HF_HUB_DISABLE_TELEMETRY)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    said, hub = done.stdout.splitlines()
    assert eval(said) == {**SWITCHES, "DO_NOT_TRACK": "0"} and hub == "True", done.stderr
    assert switched_off({"A": "1", "DO_NOT_TRACK": "0"}) == {**SWITCHES, "A": "1", "DO_NOT_TRACK": "0"}


def test_no_other_file_sets_a_switch():
    others = set((SOURCE / "redistill").rglob("*.py")) - {Path(telemetry_off.__file__)}
    assert not [path.name for path in others for name in SWITCHES if name in path.read_text("utf-8")]
