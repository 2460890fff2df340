"""Rows a second and peak memory of the stages before training, against the size of the input.

    python benchmarks/corpus_scale.py '/data/A_*.jsonl.gz' --copies 1 10 --workers 2 --until corpus

The files (of the source `traces`) are written out as plain JSONL, once a copy, each copy's problems under another statement so
that they do not merge; then `redistill run` makes the stages up to --until from each size, in a process of its own. Memory is the
largest sum of RSS over the tool and all its processes (pages they share count more than once), read five times a second;
the process at the top, which imports torch and holds no data, is shown alone as well. Seconds are those of run.json, by stage.
"""

import argparse
import glob
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

RECIPE = """\
name: scale
student:
  from_config: {model_type: llama, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
                num_key_value_heads: 2, max_position_embeddings: 8192}
  alphabet: "0123456789abcdefghijklmnopqrstuvwxyz"
corpus: {sources: [{name: traces, path: PATH}]}
verify: {labels: [teacher_label], policy: all}
train: {redi: {objective: redi, learning_rate: 1e-6}}
"""


def write_copies(pattern: str, folder: Path, copies: int) -> tuple[int, int]:
    """Write the files `copies` times into the folder; returns rows and bytes."""
    rows = 0
    for copy in range(copies):
        for path in sorted(glob.glob(pattern)):
            with gzip.open(path, "rb") as lines, open(folder / f"{copy:02d}-{Path(path).stem}", "wb") as out:
                for line in lines:
                    rows += 1
                    out.write(line.replace(b'"problem": "', b'"problem": "(copy %d) ' % copy, 1))
    return rows, sum(path.stat().st_size for path in folder.iterdir())


def tree(top: int) -> list[int]:
    """The process and all below it."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(stat[1]), []).append(int(entry))
    found, left = [], [top]
    while left:
        found.append(left.pop())
        left += parents.get(found[-1], [])
    return found


def rss(pid: int) -> int:
    """Bytes resident, 0 where the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def measure(command: list[str], log: IO[str] | None = None) -> tuple[int, int, int, float, float]:
    """Run it, what it says going to `log` or nowhere; peak bytes of the tree, of the top alone and of the largest process below it; seconds; CPU seconds."""
    began, cpu_before = time.perf_counter(), os.times()
    out = subprocess.DEVNULL if log is None else log
    process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    peak = alone = below = 0
    while process.poll() is None:
        sizes = {pid: rss(pid) for pid in tree(process.pid)}
        peak, alone = max(peak, sum(sizes.values())), max(alone, sizes[process.pid])
        below = max([below, *(size for pid, size in sizes.items() if pid != process.pid)])
        time.sleep(0.2)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    cpu = os.times()
    spent = cpu.children_user + cpu.children_system - cpu_before.children_user - cpu_before.children_system
    return peak, alone, below, time.perf_counter() - began, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", help="a glob of .jsonl.gz files of the source `traces`")
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--until", choices=("corpus", "verify", "select"), default="corpus")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the copies lie meanwhile"
    )
    options = parser.parse_args()
    print(f"load average at the start: {os.getloadavg()[0]:.1f}")
    print(
        "| copies | input | rows | traces | stage | wall s | CPU s | rows/s of CPU | peak tree | top alone | largest below |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for copies in options.copies:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            folder = Path(name)
            (folder / "in").mkdir()
            rows, size = write_copies(options.files, folder / "in", copies)
            (folder / "scale.yaml").write_text(RECIPE.replace("PATH", str(folder / "in")))
            stage_dirs = ("corpus", "verify", "select")
            for stage_dir in stage_dirs[: stage_dirs.index(options.until) + 1]:
                command = [sys.executable, "-m", "redistill", "run", str(folder / "scale.yaml"), "--runs-dir", name]
                command += ["--until", stage_dir, "--workers", str(options.workers)]
                peak, alone, below, _, cpu = measure(command)
                facts = json.loads((folder / "scale" / "run.json").read_text())
                ledger = json.loads((folder / "scale" / "corpus" / "ledger.json").read_text())
                cells = [f"{size / 1e9:.2f} GB", f"{rows:,}", f"{ledger['accounts']['traces']['in']:,}", stage_dir]
                cells += [f"{facts['seconds'][stage_dir]:.0f}", f"{cpu:.0f}", f"{rows / cpu:,.0f}"]
                cells += [f"{value / 2**20:,.0f} MB" for value in (peak, alone, below)]
                print("| " + " | ".join([str(copies), *cells]) + " |", flush=True)
            shutil.rmtree(folder / "scale")


if __name__ == "__main__":
    main()
