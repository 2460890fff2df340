"""The miniature experiment of these tests: two habits, 60 problems, a Llama of width 16, a few steps a stage."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redistill

SOURCE = Path(redistill.__file__).parents[1]
MINI = """\
name: mini
seed: 3
student:
  from_config: {model_type: llama, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
                num_key_value_heads: 2, max_position_embeddings: 128, tie_word_embeddings: true}
  alphabet: "0123456789+-*=;#"
prompt: {template: bare}
corpus:
  sources: [{name: two-habits, problems: 60, traces: 3, digits: 4, jump_length: 2}]
  dev_fraction: 0.2
  shards: 3
verify: {verifiers: [cascade], policy: cascade, workers: 1}
select: {examples: first, pairing: certain}
train:
  sft: {objective: {name: sft, aggregation: sequence}, batch_size: 4, steps: 6, save_every: 2, learning_rate: 1e-2}
  control: {objective: {name: redi, rejected_weight: 0.0}, start: sft, batch_size: 4, steps: 4, save_every: 2, learning_rate: 1e-3}
  redi: {objective: {name: redi, rejected_weight: 0.8}, start: sft, batch_size: 4, steps: 4, save_every: 2, learning_rate: 1e-3}
diagnosis: two-habits
evaluate: {benchmarks: [dev], n: 2, temperature: 0.6, max_new_tokens: 24}
"""


def environment() -> dict[str, str]:
    """Offline, one thread, and this source tree."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "HF_"))}
    return {**kept, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CI": "1"}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str
    peak_kib: int = 0  # most resident memory of the process, or of one that it waited for


class Tool:
    """The command line: `tool(cwd, "run", "mini.yaml")`, or `tool.start(...)` and `tool.wait(...)`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.numbers = folder, itertools.count()
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("runner.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(
        self,
        cwd: Path,
        *arguments: str,
        cut: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        terminal: bool = False,
    ) -> tuple[int, Path]:
        """env: more of the environment. terminal: stdout and stderr are one pseudo-terminal, both in `stdout`."""
        output = self.folder / str(next(self.numbers))
        command = {"arguments": [*map(str, arguments)], "cwd": str(cwd), "output": str(output), "cut": cut}
        command |= {"env": env or {}, "terminal": terminal}
        return self.ask(command)["pid"], output

    def start_code(self, cwd: Path, code: str, path: Sequence[Path] = ()) -> tuple[int, Path]:
        """Any code instead of a command, in a process that has imported torch and the package already; path: more folders to import
        from."""
        output = self.folder / str(next(self.numbers))
        command = {"code": code, "path": [*map(str, path)], "cwd": str(cwd), "output": str(output)}
        return self.ask(command)["pid"], output

    def code(self, cwd: Path, code: str, path: Sequence[Path] = ()) -> Done:
        """The same to its end."""
        return self.wait(self.start_code(cwd, code, path))

    def wait(self, started: tuple[int, Path]) -> Done:
        pid, output = started
        ended = self.ask({"wait": pid})
        texts = (Path(f"{output}.{name}").read_bytes().decode() for name in ("stdout", "stderr"))
        return Done(ended["returncode"], *texts, ended["peak_kib"])

    def __call__(self, cwd: Path, *arguments: str, **more: Any) -> Done:
        return self.wait(self.start(cwd, *arguments, **more))


def cut_at(target: str, only: str, call: int = 1, when: str = "before", signal: int = signal.SIGKILL) -> dict[str, Any]:
    """The description of a cut that runner.py understands."""
    return {"target": target, "only": only, "call": call, "when": when, "signal": int(signal)}
