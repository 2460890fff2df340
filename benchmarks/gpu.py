"""One command for a GPU: is everything right on it, how fast is it, what fits; in 8 minutes on one H100, without a network.

    make gpu                              with the Python of .venv, or PYTHON=... where there is none
    python benchmarks/gpu.py --tiny       the same checks with tiny shapes; on a CPU too, where CI runs them

It prints a line a check and writes benchmarks/gpu/DEVICE.json and .md (one table) after every section, so that a session that
ends early leaves what it found. Exit code 0: no check failed; 1: one did; 2: something is missing. Sections, in this order:

    objectives   loss and gradients of every objective and modifier against fp64 on the CPU, one row at a time; fp32 and bf16
    packed       packed attention with row boundaries against single rows, up to 16,384 tokens; the kernel itself
    masters      fp32 weights under bf16: an update below the resolution of bf16 is kept
    sampling     drawing answers leaves the weights bit-equal
    resume       a run killed with SIGKILL goes on to the same student; two identical runs
    guard        a rate that is far too large is seen, and the stage goes back
    speed        tokens a second of the Qwen2.5-1.5B shape at the paper's lengths against the matrix-product rate of this call
    peaks        peak memory against the estimate of `redistill plan`; the longest pair that fits
    quickstart   `redistill run quickstart`, from traces to report
"""

import argparse
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()
ROOT = Path(__file__).resolve().parents[1]
SECONDS = 480
# name -> (seconds that the section is promised, seconds without which it is not begun)
SECTIONS = {
    "objectives": (40, 5), "packed": (25, 5), "masters": (20, 5), "sampling": (5, 2), "resume": (40, 10), "guard": (10, 5),
    "speed": (90, 40), "peaks": (120, 30), "quickstart": (110, 60),
}  # fmt: skip


def missing() -> list[str]:
    """The packages of pyproject.toml's dependencies that this Python does not have."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [re.split(r"[\[<>=!~ ]", text)[0] for text in wanted]
    absent = []
    for name in names:
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
    return absent


def stop(sentence: str) -> int:
    """Say what is missing; exit code 2."""
    print(f"gpu: {sentence}", file=sys.stderr)
    return 2


def commit() -> str:
    """The commit of this tree, with a plus sign where it was changed since; "unknown" without git."""
    try:
        done = [
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done[0] + ("+" if done[1] else "")


def facts(tiny: bool, said: str | None) -> dict[str, Any]:
    """What the table's head says of machine and versions."""
    import accelerate
    import torch
    import transformers

    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else "CPU",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": said or commit(),
        "shapes": "tiny" if tiny else "full",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "accelerate": accelerate.__version__,
        "cuda": torch.version.cuda if cuda else "none",
        "memory_gib": round(torch.cuda.mem_get_info()[1] / 2**30, 1) if cuda else 0,
    }


def arguments(given: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, in a minute; on a CPU too")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "gpu", help="where the table goes")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="when to be done")
    parser.add_argument("--only", help="sections, parted by commas (default: all)")
    parser.add_argument("--commit", help="the commit of this tree, where it has no .git")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Run the sections and return the exit code."""
    options = arguments(given)
    chosen = options.only.split(",") if options.only else list(SECTIONS)
    if unknown := [name for name in chosen if name not in SECTIONS]:
        return stop(f"--only: there is no section {unknown[0]!r}; the sections are {', '.join(SECTIONS)}.")
    if absent := missing():
        return stop(
            f"{sys.executable} lacks {', '.join(absent)}; install the dependencies of pyproject.toml, or put a folder that "
            "holds them (pip install --target FOLDER) on PYTHONPATH."
        )
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("CI", "1")  # no progress bars between the lines
    if options.tiny:  # shapes too small for threads: on a busy machine they would only wait for each other
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.path.insert(0, str(ROOT / "src"))  # this tree, not an installed version
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import torch

    if not options.tiny and not torch.cuda.is_available():
        return stop("torch sees no CUDA device; --tiny runs the same checks with tiny shapes on a CPU.")
    from gpu_checks import exact, runs, speed
    from gpu_checks.table import Bench, Table

    found = {
        "objectives": exact.objectives, "packed": exact.packed, "masters": runs.masters, "sampling": runs.sampling,
        "resume": runs.resume, "guard": runs.guard, "speed": speed.speed, "peaks": speed.peaks, "quickstart": runs.quickstart,
    }  # fmt: skip
    table = Table(options.out, facts(options.tiny, options.commit))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(device, options.tiny, table, Path(work), options.seconds, started=STARTED)
        for place, name in enumerate(chosen):
            later = 0 if options.tiny else sum(SECTIONS[other][0] for other in chosen[place + 1 :])
            bench.run(name, found[name], needs=0 if options.tiny else SECTIONS[name][1], later=later)
    print(f"\n{table.markdown()}\n{table.out / table.name}.json and .md")
    if table.failed:
        print(f"gpu: {len(table.failed)} of {len(table.rows)} checks failed: " + "; ".join(
            f"{row.check}: {row.what}" for row in table.failed), file=sys.stderr)  # fmt: skip
    return 1 if table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
