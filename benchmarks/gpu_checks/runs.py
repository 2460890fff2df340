"""Whole stages on the device: fp32 masters, sampling, resume, guard and the quickstart, through redistill's Python interface."""

import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

import redistill
from gpu_checks.table import Bench, Row, below, between, holds
from redistill import api
from redistill.config.tables import StudentSettings
from redistill.model import loading
from redistill.rollout import ENGINES, Request, Sampling

ALPHABET = "0123456789+-*=;#"
CONFIG = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "tie_word_embeddings": True,
}  # fmt: skip
KILLED_AFTER = 10  # steps of stage sft that a checkpoint must hold before the run is killed


def recipe(**train: Any) -> dict[str, Any]:
    """60 problems, a student of two layers, and these stages; nothing before the stages depends on them."""
    return {
        "name": "checks",
        "student": {"from_config": CONFIG, "alphabet": ALPHABET},
        "prompt": {"template": "bare"},
        "corpus": {
            "sources": [{"name": "two-habits", "problems": 60, "traces": 3, "digits": 4, "jump_length": 2}],
            "dev_fraction": 0.2, "shards": 1,
        },
        "verify": {"workers": 1},
        "train": train,
        "evaluate": {"max_new_tokens": 8, "n": 1},
    }  # fmt: skip


def stages(bench: Bench) -> dict[str, Any]:
    """sft long enough to be killed in the middle; redi at the paper's rate; half, which is saved in bf16."""
    shared = {"batch_size": 4, "mixed_precision": "bf16", "warmup": 0.0}
    steps = 40 if bench.tiny else 200
    low = {"objective": "redi", "start": "sft", "learning_rate": 1e-6, **shared}
    return {
        "sft": {"objective": "sft", "learning_rate": 1e-3, "steps": steps, "save_every": KILLED_AFTER // 2, **shared},
        "redi": {**low, "steps": 3},
        "half": {**low, "steps": 1, "save_dtype": "bfloat16"},
    }


def prepared(bench: Bench) -> Path:
    """A runs folder with the stages before training done; every run of these checks begins from a copy of it."""
    folder = bench.work / "prepared"
    if not (folder / "checks" / "select" / "ledger.json").exists():
        api.run(recipe(**stages(bench)), runs_dir=folder, until="select")
    return folder


def trained(bench: Bench, name: str, train: dict[str, Any]) -> Path:
    """The folder of a run in this process, trained and not evaluated; it goes on where it is there already."""
    runs = bench.work / name
    if not runs.exists():
        shutil.copytree(prepared(bench), runs)
    return api.run(recipe(**train), runs_dir=runs, until="train")


def weights(run: Path, stage: str) -> dict[str, torch.Tensor]:
    """A stage's student as it was saved."""
    return load_file(run / "train" / stage / "model" / "model.safetensors")


def first_run(bench: Bench) -> Path:
    """The uninterrupted run that two sections look at."""
    if "first" not in bench.kept:
        bench.kept["first"] = trained(bench, "first", stages(bench))
    return bench.kept["first"]


def masters(bench: Bench) -> Iterator[Row]:
    """bf16 computation, fp32 weights: an update below the resolution of bf16 is kept."""
    run = first_run(bench)
    before, after, half = (weights(run, stage) for stage in ("sft", "redi", "half"))
    wide = sum(tensor.dtype == torch.float32 for tensor in after.values())
    yield holds(
        "tensors saved in fp32 after a stage in bf16", wide == len(after), f"{wide} of {len(after)}", "all of them"
    )
    moved = sum(not torch.equal(before[name], after[name]) for name in before)
    yield holds("tensors that a rate of 1e-6 moved", moved == len(before), f"{moved} of {len(before)}", "all of them")
    lost = kept = 0
    for name, start in before.items():
        changed = start != after[name]
        lost += int((changed & (start.bfloat16() == after[name].bfloat16())).sum())
        kept += int(changed.sum())
    yield between("share of those changes that bf16 weights would have lost", lost / max(1, kept), 0.5, 1.0)
    narrow = sum(tensor.dtype == torch.bfloat16 for tensor in half.values())
    yield holds(
        "tensors saved in bf16 with save_dtype: bfloat16",
        narrow == len(half),
        f"{narrow} of {len(half)}",
        "all of them",
    )
    if bench.cuda:
        ledger = json.loads((run / "train" / "redi" / "ledger.json").read_text())
        yield holds("the device that the stage names", ledger["device"].startswith("cuda"), ledger["device"], "cuda")


# --- sampling -----------------------------------------------------------------------------------------------------------


def digest(model: Any) -> str:
    """SHA-256 of all weights with their types and names."""
    total = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        total.update(f"{name} {tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def sampling(bench: Bench) -> Iterator[Row]:
    """Drawing answers leaves the weights bit-equal, in fp32 as they were; the same seeds draw the same answers again."""
    settings = StudentSettings(from_config=CONFIG, alphabet=ALPHABET)
    tokenizer = loading.load_tokenizer(settings)
    model = loading.load_model(settings, tokenizer, seed=0).to(bench.device)
    before = digest(model)
    asked = [Request(f"{n}+{n + 3}=", n) for n in range(6)]
    for dtype in ("auto", "float32", "bfloat16"):
        student = functools.partial(tuple, (model, tokenizer))
        draws = Sampling(1, 0.6, 0.95, 12)
        said = [ENGINES["transformers"](student, asked, draws, batch_size=4, dtype=dtype) for _ in range(2)]
        same = digest(model) == before
        value = "bit-equal" if same else f"changed; {next(model.parameters()).dtype} now"
        yield holds(f"weights after sampling, dtype {dtype}", same, value, "bit-equal")
        if not same:
            model = loading.load_model(settings, tokenizer, seed=0).to(bench.device)
        equal = sum(a.text == b.text for a, b in zip(*said, strict=True))
        yield holds(f"answers drawn twice alike, dtype {dtype}", equal == len(asked), f"{equal} of {len(asked)}", "all")


# --- resume and guard ------------------------------------------------------------------------------------------------------


def distance(a: Path, b: Path) -> float:
    """The largest difference of a weight between the students of two runs, over sft and redi; 0 for equal bytes."""
    gaps = []
    for stage in ("sft", "redi"):
        first, second = weights(a, stage), weights(b, stage)
        gaps += [float((first[name] - second[name]).abs().max()) for name in first]
    return max(gaps)


def resume(bench: Bench) -> Iterator[Row]:
    """Two identical runs, and one that is killed with SIGKILL in the middle of a stage and goes on.

    On a CPU all three end with the same bytes. On a GPU the backward pass of attention adds in an order of its own each time,
    so there the distance of two identical runs is reported and is the measure of the third.
    """
    run = first_run(bench)
    again = distance(run, trained(bench, "again", stages(bench)))
    if bench.cuda:
        yield Row("largest difference of two identical runs", again)
    else:
        yield below("largest difference of two identical runs", again, 0.0)
    stopped = killed(bench)
    yield holds("steps saved when the run was killed", 0 < stopped < _steps(run), stopped, f"1 to {_steps(run) - 1}")
    gap = distance(run, trained(bench, "killed", stages(bench)))
    yield below("largest difference of the killed run, gone on with, from the whole one", gap, 4 * again)


def _steps(run: Path) -> int:
    return int(json.loads((run / "train" / "sft" / "ledger.json").read_text())["steps"])


def killed(bench: Bench) -> int:
    """Start the run as a command of its own, kill it in stage sft, and return the last step that it had saved."""
    runs = bench.work / "killed"
    shutil.copytree(prepared(bench), runs)
    (bench.work / "checks.yaml").write_text(yaml.safe_dump(recipe(**stages(bench)), sort_keys=False))
    command = [sys.executable, "-m", "redistill", "run", str(bench.work / "checks.yaml"), "--runs-dir", str(runs)]
    saved = runs / "checks" / "train" / "sft" / "checkpoints"
    with open(bench.work / "killed.txt", "w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=child_environment())
        try:
            while process.poll() is None and bench.left() > 0:
                done = [int(path.parent.name.split("-")[1]) for path in saved.glob("step-*/done.json")]
                if done and max(done) >= KILLED_AFTER:
                    break
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
            code = process.wait()
    if code != -signal.SIGKILL:
        raise RuntimeError(f"it ended by itself, with {code}: {(bench.work / 'killed.txt').read_text()[-300:]}")
    return max((int(path.parent.name.split("-")[1]) for path in saved.glob("step-*/done.json")), default=0)


def child_environment() -> dict[str, str]:
    """This environment, offline, with this source tree first."""
    source = str(Path(redistill.__file__).parents[1])
    path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "CI": "1"}


def guard(bench: Bench) -> Iterator[Row]:
    """REDI with a far too large rate and weight: the guard sees a collapse and goes back."""
    watch = {
        "action": "rollback", "every": 5, "held_out_pairs": 4, "probe_every": 20, "probe_problems": 4, "low_nats": 0.3,
        "surge_factor": 2.0, "max_rollbacks": 1,
    }  # fmt: skip
    stage = {
        "objective": {"name": "redi", "rejected_weight": 3.0}, "learning_rate": 0.1, "batch_size": 4, "steps": 40,
        "warmup": 1.0, "guard": watch,
    }  # fmt: skip
    run = trained(bench, "guard", {"redi": stage})
    ledger = json.loads((run / "train" / "redi" / "ledger.json").read_text())["guard"]
    yield holds("a rate that is far too large", len(ledger["rollbacks"]) == 1, ledger["sentence"], "one rollback")
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in weights(run, "redi").values())
    yield holds("the student that is left", finite, "finite" if finite else "not finite", "finite weights")


# --- the quickstart ---------------------------------------------------------------------------------------------------------

TINY_QUICKSTART = (
    "corpus.sources.0.problems=40", "corpus.dev_fraction=0.2", "corpus.shards=1", "verify.workers=1", "train.sft.steps=4",
    "train.control.steps=2", "train.redi.steps=2", "student.from_config.hidden_size=16", "evaluate.max_new_tokens=8",
    "evaluate.n=1", "evaluate.models=[redi]",
)  # fmt: skip


def quickstart(bench: Bench) -> Iterator[Row]:
    """`redistill run quickstart` as a command, from traces to report; its scores."""
    runs = bench.work / "quickstart"
    command = [sys.executable, "-m", "redistill", "run", "quickstart", "--runs-dir", str(runs)]
    for override in TINY_QUICKSTART if bench.tiny else ():
        command += ["--set", override]
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command, env=child_environment(), capture_output=True, text=True, timeout=max(1.0, bench.left())
        )
    except subprocess.TimeoutExpired:
        shown = sorted(str(path.relative_to(runs / "quickstart")) for path in runs.glob("quickstart/*/ledger.json"))
        yield Row("redistill run quickstart", f"not run: time (it had done {', '.join(shown) or 'nothing'})", "", None)
        return
    seconds = time.perf_counter() - began
    last = " ".join(done.stderr.split())[-200:]
    yield holds(
        "redistill run quickstart", done.returncode == 0, f"{seconds:.0f} s" if done.returncode == 0 else last, "ends"
    )
    if done.returncode:
        return
    run = runs / "quickstart"
    device = json.loads((run / "train" / "redi" / "ledger.json").read_text())["device"]
    yield holds("its device", device.startswith(bench.device.type), device, bench.device.type)
    scores = {score["model"]: float(score["pass_at_1"]["value"]) for score in api.scores(run)["scores"]}
    for student, score in scores.items():
        if bench.tiny or student in ("base", "control"):
            yield Row(f"pass@1 of {student}", round(score, 4))
        else:
            yield holds(f"pass@1 of {student}", score > scores["base"] + 0.1, round(score, 4), "above base + 0.1")
    yield holds("its report", (run / "report.html").exists(), "report.html", "is there")
