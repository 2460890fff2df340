"""One table of checks, written to disk after every section, and the clock that a run of several minutes is cut to.

    bench = Bench(device, tiny=True, table=Table(out, facts), work=Path("/tmp/x"), seconds=480)
    bench.run("objectives", objectives, later=400)      rows of a section; one that raises is a row that failed

A row is {check, what, value, limit, ok, seconds}. ok: True, False, or None for what was not run. A limit of "reported" means
that the value is a measurement without a threshold.
"""

import gc
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

REPORTED = "reported"


@dataclass
class Row:
    """One check. value: a number or a short text; limit: what the value must satisfy, in words."""

    what: str
    value: float | int | str
    limit: str = REPORTED
    ok: bool | None = True
    check: str = ""
    seconds: float = 0.0


def below(what: str, value: float, limit: float) -> Row:
    """A row that is ok where the value is at most the limit; a value that is not a number fails."""
    return Row(what, value, f"at most {limit:g}", bool(value <= limit))


def between(what: str, value: float, low: float, high: float) -> Row:
    """A row that is ok where the value lies in [low, high]."""
    return Row(what, value, f"{low:g} to {high:g}", bool(low <= value <= high))


def holds(what: str, ok: bool, value: float | int | str, limit: str) -> Row:
    """A row of a condition that the caller has judged; limit says it in words."""
    return Row(what, value, limit, ok)


class Table:
    """Rows and the facts of the machine; `out` gets NAME.json and NAME.md, NAME being the device's."""

    def __init__(self, out: Path, facts: dict[str, Any]) -> None:
        self.out, self.facts, self.rows = out, facts, list[Row]()
        self.name = "-".join("".join(c if c.isalnum() else " " for c in str(facts["device"]).lower()).split())

    @property
    def failed(self) -> list[Row]:
        """The rows whose check failed."""
        return [row for row in self.rows if row.ok is False]

    def write(self) -> None:
        """Both files, whole, so that what was measured so far outlives a session that ends at any time."""
        self.out.mkdir(parents=True, exist_ok=True)
        texts = {
            "json": json.dumps({**self.facts, "rows": [asdict(row) for row in self.rows]}, indent=1) + "\n",
            "md": self.markdown(),
        }
        for suffix, text in texts.items():
            partial_file = self.out / f"{self.name}.{suffix}.part"
            partial_file.write_text(text, "utf-8")
            partial_file.replace(self.out / f"{self.name}.{suffix}")

    def markdown(self) -> str:
        """The facts in a line, then one table."""
        told = ", ".join(f"{key} {value}" for key, value in self.facts.items())
        lines = [f"# {self.facts['device']}", "", told + ".", ""]
        lines += ["| check | what | value | limit | ok | seconds |", "|---|---|---|---|---|---|"]
        for row in self.rows:
            word = {True: "ok", False: "**FAILED**", None: "not run"}[row.ok]
            cells = (row.check, row.what, _text(row.value), row.limit, word, f"{row.seconds:.1f}")
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        return "\n".join(lines) + "\n"


def _text(value: float | int | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


Section = Callable[["Bench"], Iterator[Row]]


@dataclass
class Bench:
    """What a section is given: the device, whether shapes are tiny, a folder for its runs, and its deadline."""

    device: torch.device
    tiny: bool
    table: Table
    work: Path
    seconds: float
    started: float = field(default_factory=time.perf_counter)
    deadline: float = float("inf")
    kept: dict[str, Any] = field(default_factory=dict)  # what a section leaves for a later one

    @property
    def cuda(self) -> bool:
        """True on a GPU."""
        return self.device.type == "cuda"

    def left(self) -> float:
        """Seconds that this section may still take."""
        return self.deadline - time.perf_counter()

    def synchronise(self) -> None:
        """Wait for what was launched, before a clock is read."""
        if self.cuda:
            torch.cuda.synchronize()

    def run(self, check: str, section: Section, *, needs: float, later: float) -> None:
        """Add the section's rows. later: seconds that the sections after it are promised; needs: those without which
        this one is not begun."""
        self.deadline = self.started + self.seconds - later
        if self.left() < needs:
            self._add(check, Row("all of it", f"not run: time ({self.left():.0f} s left)", "", None), 0.0)
        else:
            began = time.perf_counter()
            try:
                for row in section(self):
                    self.synchronise()
                    now = time.perf_counter()
                    self._add(check, row, now - began)
                    began = now
            except Exception as error:  # noqa: BLE001 - a section that fails must not take the others with it
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                self._add(check, Row("the section", reason, "no error", False), time.perf_counter() - began)
        self.table.facts["seconds"] = round(time.perf_counter() - self.started, 1)
        self.table.write()
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()

    def _add(self, check: str, row: Row, seconds: float) -> None:
        row.check, row.seconds = check, round(seconds, 2)
        self.table.rows.append(row)
        word = {True: "ok", False: "FAILED", None: "not run"}[row.ok]
        print(f"{word:<7} {check:<11} {row.what}: {_text(row.value)} ({row.limit}) {row.seconds:.1f} s", flush=True)
