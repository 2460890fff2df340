"""What the benchmarks share: one measurement in a process of its own, peak memory, medians of paired ratios, versions.

measured({"peer": "ours", "tokens": 4096})     runs this script again as `SCRIPT --worker JSON`, reads one JSON line
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any


def measured(case: dict[str, Any], timeout: float | None = None) -> dict[str, Any]:
    """Run `case` in a fresh process of the calling script (so that peaks do not add up) and return what it printed last."""
    command = [sys.executable, str(Path(sys.argv[0]).resolve()), "--worker", json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise SystemExit(f"{case} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def reset_peak() -> None:
    """Let the kernel's high-water mark of this process start again from what is resident now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> int:
    """The high-water mark of resident memory since reset_peak, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
    raise SystemExit("no VmHWM in /proc/self/status: peak memory is measured on Linux only")


def ratio(others: list[float], ours: list[float]) -> str:
    """Median of the paired ratios and their range: "2.31x (2.25-2.40)"."""
    ratios = [other / own for other, own in zip(others, ours, strict=True)]
    return f"{statistics.median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"


def machine(*packages: str) -> str:
    """One line: processor, cores this process may use, threads, load, and the versions of `packages`."""
    model = next(
        (x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x), ""
    )
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    found = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{model or platform.processor()}, cores {len(os.sched_getaffinity(0))}, OMP_NUM_THREADS {threads}, "
        f"load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, {found}"
    )
