"""Every file of a finished run, harmed, and the run run again: made again to the same bytes, or refused by name."""

import os
import random
import shutil
from pathlib import Path
from typing import Any

from .equal import final_files, unlike

SHORT = (  # what `make test` harms; `make soak` harms every file there is
    "corpus/groups/part-00000.parquet",
    "select/part-00001.done",
    "train/dpo/model/model.safetensors",
    "evaluate/dpo/dev/scores.json",
)
# never read back for a result, or (the reference's) only by a stage that is still to be trained, which checks them
FOR_PEOPLE = ("report.html", "README.md", "recipe.yaml", ".lock", "metrics.jsonl", ".tokens.npy", ".tokens.npy.json")


def test_a_harmed_file_of_a_finished_run_is_made_again_or_refused_by_name(
    whole: Path, tool: Any, tmp_path: Path
) -> None:
    run, draw = whole / "runs" / "tiny", random.Random(3)
    expected, files = final_files(run), [p for p in sorted(run.rglob("*")) if p.is_file() and p.stat().st_size > 3]
    names = [str(path.relative_to(run)) for path in files]
    chosen = [n for n in names if not n.endswith(FOR_PEOPLE)] if "SOAK_KILLS" in os.environ else list(SHORT)
    assert set(chosen) <= set(names)
    wrong, ends = [], {"made again": 0, "refused": 0}
    for number, name in enumerate(chosen):
        folder = tmp_path / str(number)
        shutil.copytree(run, folder / "tiny")
        path, data = folder / "tiny" / name, (run / name).read_bytes()
        place = draw.randrange(len(data))
        path.write_bytes(data[:place] if number % 2 else data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
        done = tool(whole, "run", "tiny.yaml", "--runs-dir", folder)
        if done.returncode == 2 and str(path) in done.stderr and "Traceback" not in done.stderr:
            ends["refused"] += 1
        elif done.returncode == 0 and not (found := unlike(final_files(folder / "tiny"), expected)):
            ends["made again"] += 1
        else:
            wrong.append(f"{name} at {place} of {len(data)}: {done.returncode} {done.stderr[-600:] or found}")
        shutil.rmtree(folder)
    print(f"\n{len(chosen)} files harmed: {ends}")
    assert not wrong, "\n".join(wrong)
