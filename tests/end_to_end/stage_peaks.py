"""Inside a child of runner.py: the most memory that each stage of a run held, in a file. Linux only."""

import json
from pathlib import Path
from typing import Any


def arm(spec: dict[str, Any]) -> None:
    """From here on each stage that is made adds [name, KiB] to the list in the file spec["to"]; tokenizers are called with
    spec["chars_per_call"] characters, so that a few short texts are several calls."""
    from redistill.pipeline import run
    from redistill.text import tokenizer_calls

    tokenizer_calls.CHARS_PER_CALL = spec["chars_per_call"]
    make, peaks = run.make, []

    def measured(this: Any, name: str) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the kernel's high-water mark begins anew
        make(this, name)
        lines = Path("/proc/self/status").read_text().splitlines()
        peaks.append([name, next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
        Path(spec["to"]).write_text(json.dumps(peaks))

    run.make = measured
