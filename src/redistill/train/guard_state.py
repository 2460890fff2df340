"""The guard at work on one stage: it keeps the history, looks, judges, and says where to go back to.

    watch = GuardState(folder, stage, settings)
    watch.open(done)                       the history up to the checkpoint that was resumed from
    decision = watch.judge(line)           "" (go on), "rollback" or "stop"; the line gets its state

What it must remember beyond metrics.jsonl is in guard.json, written whole or not at all:

    {"rollbacks": [{"at": 60, "to": 40, "attempt": 0, "reasons": ["chosen_low", "probe_down"], "learning_rate": 5e-4}]}

Steps that were rolled back move from metrics.jsonl to abandoned.jsonl with the number of their attempt. All of it is a
function of the steps taken, so a stage that is killed and continued makes the same decisions again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.config.tables import GuardSettings, StageSettings
from redistill.errors import OperatorError
from redistill.io.atomic import read_json, sync_file, write_bytes, write_json, writing
from redistill.io.progress import say
from redistill.io.tracking import TrackerLogger
from redistill.train import checkpoints
from redistill.train.guard import Judgement, best_step, judge

Line = dict[str, Any]


class GuardState:
    """The memory of one stage's guard. Only the main process looks at the history, and gives `mirror` a copy of it;
    `rollbacks` is the same on every rank."""

    def __init__(self, folder: Path, stage: str, settings: StageSettings, mirror: TrackerLogger | None = None) -> None:
        self.folder, self.stage, self.settings = folder, stage, settings
        self.mirror = mirror
        self.guard = settings.guard or GuardSettings(held_out_pairs=0, probe_every=0)
        self.acts = self.guard.action != "log"
        self.history: list[Line] = []
        self.rollbacks: list[Line] = []
        self.stopped_at: int | None = None
        self.kept: int | None = None
        if (folder / "guard.json").exists():
            self.rollbacks = read_json(folder / "guard.json")["rollbacks"]

    # --- what is due when: pure functions of the step, the same on every rank ---

    def should_score_held_out(self, step: int, total: int) -> bool:
        """True when the held-out pairs are looked at after this step: every `every`, and first and last."""
        return self.guard.held_out_pairs > 0 and (step % self.guard.every == 0 or step == total)

    def should_probe(self, step: int, total: int) -> bool:
        """True when the student is probed after this step."""
        return self.guard.probe_every > 0 and (step % self.guard.probe_every == 0 or step == total)

    def should_save(self, step: int, total: int) -> bool:
        """True when a checkpoint is due: every save_every and, for a guard that acts, wherever it looks and at the start."""
        looks = step % self.guard.every == 0 or self.should_probe(step, total)
        return step < total and ((step > 0 and step % self.settings.save_every == 0) or (self.acts and looks))

    def should_measure_norm(self, step: int) -> bool:
        """True when the true update norm of this step is measured."""
        return self.guard.update_norm_every > 0 and step % self.guard.update_norm_every == 0

    @property
    def learning_rate(self) -> float:
        """The peak rate of the current attempt."""
        return self.settings.learning_rate * self.guard.rollback_rate_factor ** len(self.rollbacks)

    # --- the history ---

    @property
    def path(self) -> Path:
        return self.folder / "metrics.jsonl"

    def open(self, done: int) -> None:
        """Read the history up to step `done`; later lines will be written again. From the start, nothing is kept.

        OperatorError where it is not what it was when that checkpoint was saved: the guard would judge by other figures.
        """
        lines = read_lines(self.path) if done else []
        self.history = [line for line in lines if line["step"] <= done]
        saved = checkpoints.history_of(self.folder / "checkpoints", done) if done else None
        if saved not in (None, _sum_of(self.history)):
            raise OperatorError(
                f"{self.path} has changed since step {done} was saved, so the guard cannot resume from it; restore "
                f"the file, or delete {self.folder} to train the stage again."
            )
        self._write_history()
        self._mirror_anew()

    def _write_history(self) -> None:
        write_bytes(self.path, "".join(json.dumps(line) + "\n" for line in self.history).encode())

    def _mirror_anew(self) -> None:
        if self.mirror is not None:
            self.mirror.begin(self.history, attempt=len(self.rollbacks))

    def sync(self) -> None:
        """Have the history on the disk before a checkpoint is that vouches for it."""
        if self.path.exists():
            sync_file(self.path)

    def judge(self, line: Line) -> str:
        """Write the line with its state, say where it has become worse, and return what is to be done."""
        before = self.history[-1].get("guard", "steady") if self.history else "steady"
        self.history.append(line)
        judgement = judge(self.history, self.guard)
        line["guard"] = judgement.state
        if judgement.reasons:
            line["guard_reasons"] = list(judgement.reasons)
        with writing(self.path), open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.mirror is not None:
            self.mirror.send(line)
        if not judgement.is_good and judgement.state != before:
            say(f"guard    {self.stage}: {judgement.state} at step {line['step']} ({', '.join(judgement.reasons)})")
        return self._decision(judgement)

    def _decision(self, judgement: Judgement) -> str:
        alarming = judgement.state == "collapse" or (judgement.state == "warning" and self.guard.act_on == "warning")
        if not (self.acts and alarming):
            return ""
        return (
            "rollback" if self.guard.action == "rollback" and len(self.rollbacks) < self.guard.max_rollbacks else "stop"
        )

    @property
    def is_alarmed(self) -> bool:
        """True when the last step was in a warning or a collapse."""
        return bool(self.history) and self.history[-1]["guard"] in ("warning", "collapse")

    @property
    def skipped(self) -> int:
        """The steps in a row that were skipped last, so that a stage that is continued counts on."""
        taken = (place for place, line in enumerate(reversed(self.history)) if not line.get("skipped"))
        return next(taken, len(self.history))

    # --- checkpoints ---

    def facts(self, step: int, total: int) -> Line:
        """What a checkpoint's done.json says for the guard. Good: looked at in this very step, and nothing was wrong."""
        state = self.history[-1]["guard"] if self.history else "steady"
        looked = (not self.guard.held_out_pairs or self.should_score_held_out(step, total)) and (
            not self.guard.probe_every or self.should_probe(step, total)
        )
        good = looked and state in ("steady", "drift")
        return {"attempt": len(self.rollbacks), "good": good, "history": _sum_of(self.history)}

    def spared(self, finished: Sequence[Mapping[str, Any]]) -> set[int]:
        """The checkpoints that pruning leaves alone: the start, the last two good ones and the best."""
        good = [int(done["step"]) for done in finished if done.get("good")]
        return {0, *good[-2:], best_step(self.history, good)} if self.acts and good else set()

    def rollback_target(self, finished: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """The newest good checkpoint. One that has been gone back to, and led to a collapse again, is not trusted twice;
        the start is always there."""
        used = {(back["to"], back["attempt"]) for back in self.rollbacks}
        fresh = [d for d in finished if d.get("good") and (d["step"], d["attempt"]) not in used]
        return fresh[-1] if fresh else finished[0]

    def roll_back(self, folder: Path) -> int:
        """Note the rollback, put away what came after it, and return the step to go on from. Main process only.

        The order of the writes lets a kill between any two of them be made good by `delete_abandoned`.
        """
        line, target = self.history[-1], self.rollback_target(self._whole(folder))
        to = int(target["step"])
        self._archive_abandoned(to)
        entry = {"at": line["step"], "to": to, "attempt": target["attempt"], "reasons": line["guard_reasons"]}
        self.rollbacks.append(entry)
        entry["learning_rate"] = self.learning_rate
        write_json(self.folder / "guard.json", {"rollbacks": self.rollbacks})
        self.delete_abandoned(folder)
        self.history = [line for line in self.history if line["step"] <= to]
        self._write_history()
        self._mirror_anew()
        say(f"guard    {self.stage}: back to step {to}, learning rate {self.learning_rate:.3g}")
        return to

    def _whole(self, folder: Path) -> list[Line]:
        """The checkpoints that can be gone back to, looked at byte by byte. OperatorError where none is left."""
        checkpoint = checkpoints.finished(folder, whole=True)
        if not checkpoint:
            raise OperatorError(f"{folder}: no checkpoint is whole; delete {self.folder} to train the stage again.")
        return checkpoint

    def delete_abandoned(self, folder: Path) -> None:
        """Remove the checkpoints that lie after a rollback's target and were made before it."""
        for number, back in enumerate(self.rollbacks, 1):
            checkpoints.remove(folder, lambda d: d["step"] > back["to"] and d["attempt"] < number)  # noqa: B023

    def _archive_abandoned(self, to: int) -> None:
        path, attempt = self.folder / "abandoned.jsonl", len(self.rollbacks)
        kept = [line for line in (read_lines(path) if path.exists() else []) if line["attempt"] < attempt]
        mine = [{"attempt": attempt, **line} for line in self.history if line["step"] > to]
        write_bytes(path, "".join(json.dumps(line) + "\n" for line in [*kept, *mine]).encode())

    def stop(self, folder: Path) -> int:
        """Note that the stage ends here, in an alarming state, and return the step of the checkpoint to keep."""
        whole = self._whole(folder)
        good = [int(done["step"]) for done in whole if done.get("good")] or [int(whole[0]["step"])]
        self.stopped_at, self.kept = self.history[-1]["step"], best_step(self.history, good)
        say(f"guard    {self.stage}: stopped at step {self.stopped_at}, keeping step {self.kept}")
        return self.kept

    # --- the ledger ---

    def ledger(self) -> dict[str, Any]:
        """What the guard saw and did, with a sentence for people."""
        states = [line["guard"] for line in self.history if "guard" in line]
        return {
            "action": self.guard.action,
            "rollbacks": self.rollbacks,
            "stopped_at": self.stopped_at,
            "kept_step": self.kept,
            "steps_by_state": {state: states.count(state) for state in dict.fromkeys(states)},
            "sentence": self._sentence(states),
        }

    def _sentence(self, states: Sequence[str]) -> str:
        said = [
            f"At step {back['at']} it saw {' and '.join(back['reasons'])}, went back to step {back['to']} and lowered the "
            f"learning rate to {back['learning_rate']:.3g}."
            for back in self.rollbacks
        ]
        if self.stopped_at is not None:
            reasons = " and ".join(self.history[-1]["guard_reasons"])
            said.append(
                f"At step {self.stopped_at} it saw {reasons}, stopped and kept the student of step {self.kept}."
            )
        elif states:
            said.append(f"The last step was in the state {states[-1]}.")
        if not self.rollbacks and self.stopped_at is None and states:
            alarms = sum(state in ("warning", "collapse") for state in states)
            said.insert(0, f"The guard did nothing; {alarms} of {len(states)} steps were in an alarming state.")
        return " ".join(said)


def read_lines(path: Path) -> list[Line]:
    """Whole lines of a .jsonl; one cut short by a kill is left out. OperatorError names a line that is damaged."""
    lines: list[Line] = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1] if path.exists() else [], 1):
        try:
            if line:
                lines.append({**json.loads(line)})
        except (ValueError, TypeError) as error:
            raise OperatorError(
                f"{path}: line {number} is corrupt ({error}); restore the file, or delete {path.parent} to train the stage again."
            ) from error
    return lines


def _sum_of(history: Sequence[Line]) -> str:
    """A hash of the lines so far, for a checkpoint to know them by."""
    return hashlib.sha256("".join(json.dumps(line) + "\n" for line in history).encode()).hexdigest()
