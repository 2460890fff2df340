"""The rows of a stage that learns from its own answers: round after round drawn, stored, and trained on.

    train/STAGE/rollouts/groups/part-00003.parquet     the answers of round 3, with verdicts and rewards
    train/STAGE/rollouts/samples/part-00003.parquet    their token ids and log-probs
    train/STAGE/rollouts/round-00003.json              at which step it was drawn, in which attempt of the guard, its figures
    train/STAGE/rollouts/behaviour-00003.npy           log-probs of its rows where it takes more than one step
    train/STAGE/rollouts/open-00003.attempt-0.jsonl    samples of a server that have come, while the round is open
    train/STAGE/rollouts/weights-00003/                the student as the server is given it, while the round is open

A round is drawn by the student as it is at the round's first step and written before any row is used, so a stage that was
killed reads what is there and draws only the round that it was in, of a server only the samples that had not come. A guard's rollback removes the rounds that were drawn
after the step it goes back to.
"""

import dataclasses
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator

from redistill.config.tables import StageSettings
from redistill.errors import OperatorError
from redistill.io.atomic import atomic_write, read_json, write_json
from redistill.io.parquet import read_records
from redistill.io.progress import say
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.model.logps import PackedPolicy, prepare_for_packing
from redistill.records import Dropped, Group, Sampled
from redistill.rollout.requests import Sample
from redistill.text.self_correction import RATES
from redistill.train.coefficients import vanishes_without_advantage
from redistill.train.distributions import same_vocabulary
from redistill.train.importance import importance
from redistill.train.live import Drawing
from redistill.train.measures import Distribution
from redistill.train.objectives import Objective, needs_behaviour, needs_pairs, on_policy
from redistill.train.packing import epoch_order, num_steps, rows_of_step
from redistill.train.ranks import agreed, prepare_reference
from redistill.train.rollouts import (
    SAMPLED_LOGPS,
    RolloutJob,
    Round,
    draw_round,
    is_of_teacher,
    kept_answers,
    reads_advantages,
    round_figures,
    rows_of_round,
    running_after,
)
from redistill.train.rows import Rows
from redistill.train.step import Reference, rows_without_signal
from redistill.train.supply import StepRows
from redistill.train.teachers import Compared, Opening, Teacher, TeacherSpec, asked_for, student_now

if TYPE_CHECKING:
    from redistill.train.trainer import Trainer

LOGGED = (
    "reward",
    "pass_rate",
    "undecided",
    "no_variance",
    "length",
    "cut",
    "entropy",
    "reference_kl",
    "teacher_kl",
    "generated_tokens",
    "importance_mean",
    "importance_truncated",
    *RATES,
    "attempts",
    "problems_kept",
)
EMPTY = 5  # rounds in a row without a row, after which it is said
TIMES = ("seconds_drawing", "samples_per_second")  # in the same line: of a round's drawing and judging


@dataclass(slots=True)
class _OpenRound:
    """The round whose rows are being trained on."""

    number: int
    first_step: int
    rows: Rows
    reference: Reference | None
    behaviour: np.ndarray | None
    figures: dict[str, Any]


@dataclass(slots=True)
class RolloutSupply:
    """Rows that the student in training samples itself. Every rank has one; the main process draws and writes."""

    job: RolloutJob
    objective: Objective
    store: StageFolder
    max_tokens: int
    batch_size: int  # of rounds whose number of steps follows from their rows
    epochs: float
    steps: int | None
    reference: Compared | None = None
    teacher: Teacher | None = None
    others: Mapping[str, Distribution] = field(default_factory=dict)
    tokenizer: Any = None  # the student's, for advantages of actions
    attempt: int = 0  # the guard's rollbacks so far
    _lengths: list[int] = field(default_factory=list)  # steps of the rounds drawn so far
    _open: _OpenRound | None = None

    @property
    def folder(self) -> Path:
        return self.store.folder

    @property
    def total(self) -> int:
        """Optimizer steps of the stage. Where a round's steps follow from its rows: of the rounds drawn so far, and for the
        others as many as the last one had."""
        settings = self.job.settings
        if settings.updates is not None:
            return settings.rounds * settings.updates
        expected = self._lengths[-1] if self._lengths else self._steps_of(self.job.num_answers)
        return sum(self._lengths) + (settings.rounds - len(self._lengths)) * expected

    def at(self, step: int, trainer: "Trainer") -> StepRows:
        """The rows of a step, drawing its round where it has not been drawn yet."""
        while step >= sum(self._lengths) and len(self._lengths) < self.job.settings.rounds:
            number, first = len(self._lengths), sum(self._lengths)
            if not agreed(trainer.accelerator, self._is_there(number)):
                if step > first:
                    raise OperatorError(
                        f"{self.folder}: round {number + 1} is missing or changed, and the student has been trained "
                        f"since it was sampled; restore its files, or delete {self.folder.parent} to train the stage again."
                    )
                self._draw(number, first, trainer)
            self._lengths.append(self._steps_of(self._facts(number)["figures"]["rows"]))
        number = next(n for n in range(len(self._lengths)) if step < sum(self._lengths[: n + 1]))
        first = sum(self._lengths[:number])
        if self._open is None or self._open.number != number:
            self._open = self._read(number, first, trainer, is_first=step == first)
        held = self._open
        figures = dict[str, Any]()
        if step == first:
            figures = {"round": number + 1, **{k: v for k, v in held.figures.items() if k in LOGGED}}
            figures |= self._times(number)
        within, length = step - first, self._lengths[number]
        schedule = (step, self.total) if self.job.settings.updates is not None else (within, length)
        return StepRows(
            held.rows,
            self._numbers(number, within, len(held.rows)),
            held.reference,
            held.behaviour,
            schedule,
            figures,
            self.others,
            is_warming=self._is_warming(number),
        )

    def rewind(self, step: int, attempts: Sequence[int]) -> None:
        """Forget what was read, and remove the rounds that do not belong to the student of `step`: those that were drawn
        after the target of a later rollback. attempts: the steps that the guard's rollbacks went back to, in their order."""
        self.attempt = len(attempts)
        self._lengths, self._open = [], None
        for path in sorted(self.folder.glob("round-*.json")) if self.folder.exists() else ():
            record = read_json(path)
            if any(record["step"] > to and record["attempt"] < number for number, to in enumerate(attempts, 1)):
                self._remove(record["round"])

    def finish(self) -> Account:
        """Write the ledger of the rounds that were drawn; returns the account of their answers."""
        drawn = len(list(self.folder.glob("round-*.json")))
        ledger = self.store.finish(drawn)
        left = ("behaviour-*.npy", "teacher-*", "open-*.jsonl")
        for path in (path for pattern in left for path in self.folder.glob(pattern)):
            path.unlink()
        for path in self.folder.glob("weights-*"):
            shutil.rmtree(path)
        return Account.from_json(ledger["accounts"]["rows"])

    def _times(self, number: int) -> dict[str, float]:
        record = self._facts(number)
        seconds, answers = record["seconds"], record["figures"]["answers"]
        return dict(zip(TIMES, (seconds, round(answers / seconds, 3) if seconds else 0.0), strict=True))

    # --- which rows ---

    def _steps_of(self, rows: int) -> int:
        """Optimizer steps of a round with so many rows; one at least, which a round without rows passes without a change."""
        settings = self.job.settings
        if settings.updates is not None:
            return settings.updates
        steps = -(-self.steps // settings.rounds) if self.steps is not None else None
        return num_steps(num_rows=rows, batch_size=self.batch_size, epochs=self.epochs, steps=steps)

    def _numbers(self, number: int, within: int, rows: int) -> list[int]:
        if rows == 0:
            return []
        seed = int(np.random.SeedSequence([self.job.seed, number, 1]).generate_state(1)[0])
        if self.job.settings.updates is None:
            return rows_of_step(seed=seed, step=within, batch_size=min(self.batch_size, rows), num_rows=rows)
        shares = np.array_split(epoch_order(seed, 0, rows), self.job.settings.updates)
        return [int(place) for place in shares[within]]

    # --- drawing and storing ---

    def _round_path(self, number: int) -> Path:
        return self.folder / f"round-{number:05d}.json"

    def _facts(self, number: int) -> dict[str, Any]:
        return read_json(self._round_path(number))

    def _is_warming(self, number: int) -> bool:
        """True for the rounds in which a critic alone learns."""
        critic = self.job.settings.critic
        return critic is not None and number < critic.warm_rounds

    def _is_there(self, number: int) -> bool:
        return self._round_path(number).exists() and self.store.is_done(number)

    def _remove(self, number: int) -> None:
        self.store.marker(number).unlink(missing_ok=True)
        for path in self.folder.rglob(f"*-{number:05d}.*"):
            path.unlink(missing_ok=True)

    def _draw(self, number: int, step: int, trainer: "Trainer") -> None:
        """Have the student as it is now answer the round's problems, and store them. All ranks call it."""
        started = time.perf_counter()
        come = 0

        def tell(sample: Sample) -> None:
            nonlocal come
            come += 1
            asked, seconds = self.job.num_answers, time.perf_counter() - started
            trainer.watch(Drawing(number + 1, self.job.settings.rounds, come, asked, seconds))

        journal = self.folder / f"open-{number:05d}.attempt-{self.attempt}.jsonl"
        weights = self.folder / f"weights-{number:05d}"
        if trainer.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
        try:
            drawn: Round | None = trainer.sample(
                lambda model, tokenizer: draw_round(
                    self.job, number, model, tokenizer, tell=tell, journal=journal, weights=weights
                )
            )
        except KeyboardInterrupt:
            self._say_stopped(number, come)
            raise
        if trainer.accelerator.is_main_process:
            assert drawn is not None
            before = self._facts(number - 1).get("running", {}) if number else {}
            running = running_after(self.job, self.objective, drawn, before)
            rows, account, dropped = self._rows(drawn, number, running)
            record = {
                "round": number,
                "step": step,
                "attempt": self.attempt,
                "seconds": round(time.perf_counter() - started, 2),
                **({} if running is None else {"running": running}),
            }
            write_json(
                self._round_path(number),
                {**record, "figures": round_figures(drawn, len(rows), self._problems_kept(drawn, rows))},
            )
            self._say_where_nothing_is_kept(number)
            outcomes = Counter(str(trace.verdict.outcome) for _, trace in drawn.answers)
            shard = Shard(
                {"groups": (Group, drawn.groups), "samples": (Sampled, drawn.sampled)},
                {"rows": account},
                dropped,
                {"outcomes": outcomes},
            )
            self.store.finish_shard(number, shard)
            journal.unlink(missing_ok=True)
            shutil.rmtree(weights, ignore_errors=True)
        trainer.accelerator.wait_for_everyone()

    def _say_stopped(self, number: int, come: int) -> None:
        """What becomes of the finished answers of a round that Ctrl-C cuts."""
        after = "they are kept" if self.job.is_served else "the whole round is sampled again, so that it is the same"
        say(
            f"train    {self.folder.parent.name}: stopped in round {number + 1} with {come:,} of {self.job.num_answers:,} answers drawn; {after}"
        )

    def latest_rounds(self, most: int) -> Iterator[tuple[int, Rows, Round]]:
        """(number, rows, answers) of the latest rounds that gave a row, the last one first."""
        records = [read_json(path) for path in sorted(self.folder.glob("round-*.json"), reverse=True)]
        for number in [fact["round"] for fact in records if fact["figures"]["rows"]][:most]:
            drawn = self._drawn(number)
            yield number, self._rows(drawn, number, self._facts(number).get("running"))[0], drawn

    def _drawn(self, number: int) -> Round:
        part = f"part-{number:05d}.parquet"
        groups, samples = (list(read_records(self.folder / name / part)) for name in ("groups", "samples"))
        return Round(groups, samples)

    def _rows(self, drawn: Round, number: int, running: Any = None) -> tuple[Rows, Account, list[Dropped]]:
        """running: what a baseline over all rounds is made of after this one."""
        return rows_of_round(
            self.job,
            self.objective,
            drawn,
            max_tokens=self.max_tokens,
            number=number,
            tokenizer=self.tokenizer,
            running=running,
        )

    def _problems_kept(self, drawn: Round, rows: Rows) -> float | None:
        if needs_pairs(self.objective) or kept_answers(self.job.settings, self.objective) != "one-each":
            return None
        assert rows.groups is not None
        return len(set(rows.groups.tolist())) / len(drawn.groups)

    def _say_where_nothing_is_kept(self, number: int) -> None:
        """A sentence after each EMPTY rounds in a row that gave no row: nothing is lost, and nothing is learned."""
        last = range(number + 1 - EMPTY, number + 1)
        if (number + 1) % EMPTY == 0 and all(self._facts(n)["figures"]["rows"] == 0 for n in last):
            say(
                f"train    {self.job.author}: rounds {last.start + 1} to {number + 1} gave no row, so nothing was learned from them; the "
                f"reasons are in {self.folder / 'dropped'}"
            )

    def _read(self, number: int, first: int, trainer: "Trainer", *, is_first: bool) -> _OpenRound:
        """The round's rows and the log-probs that they are compared with."""
        drawn = self._drawn(number)
        rows, _, _ = self._rows(drawn, number, self._facts(number).get("running"))
        if not len(rows):
            return _OpenRound(number, first, rows, None, None, self._facts(number)["figures"])
        figures = self._facts(number)["figures"]
        behaviour = None
        corrects = self.job.importance_cap is not None and reads_advantages(self.objective)
        if self.job.is_served and self.job.settings.behaviour == "server":
            behaviour = self._told_by_server(rows)
        elif any(map(needs_behaviour, (self.objective, *trainer.modifiers))) or self.teacher is not None or corrects:
            behaviour = self._behaviour(number, rows, trainer, is_first)
        if self.teacher is not None:
            assert behaviour is not None and is_of_teacher(self.job.advantage)
            theirs = self._teachers(number, rows, drawn, behaviour, trainer, is_first)
            advantages = self.job.advantage(torch.from_numpy(theirs), torch.from_numpy(behaviour))
            rows = replace(rows, values={**rows.values, "advantage": np.asarray(advantages)})
            figures = {**figures, "teacher_kl": float((behaviour - theirs).mean())}
        if corrects:
            assert behaviour is not None
            rows, of_weights = self._corrected(rows, behaviour)
            figures = {**figures, **of_weights}
        if behaviour is not None:
            behaviour = np.where(np.isfinite(behaviour), behaviour, 0.0)  # of rows that are not run
        if self.reference is None:
            return _OpenRound(number, first, rows, None, behaviour, figures)
        reference = _token_logps(self.reference, rows, trainer)
        apart = rows.values[SAMPLED_LOGPS] - reference
        gaps = apart[np.isfinite(apart)]
        figures = {**figures, "reference_kl": float(gaps.mean()) if len(gaps) else None}
        return _OpenRound(number, first, rows, Reference(reference), behaviour, figures)

    def _behaviour(self, number: int, rows: Rows, trainer: "Trainer", is_first: bool) -> np.ndarray:
        """Log-probs of the rows under the student that sampled them, by the kernel that trains: found at the round's first
        step and stored, for later steps move the student."""

        def find() -> np.ndarray:
            training = trainer.policy.training
            trainer.policy.eval()
            logps = _token_logps(student_now(trainer), rows, trainer, self._compared_rows(rows, trainer))
            trainer.policy.train(training)
            return logps

        return self._stored(f"behaviour-{number:05d}.npy", trainer, is_first, find)

    def _teachers(
        self, number: int, rows: Rows, drawn: Round, behaviour: np.ndarray, trainer: "Trainer", is_first: bool
    ) -> np.ndarray:
        """Log-probs of the rows under the teacher, stored likewise: a server is asked once, and the student moves on."""
        teacher = self.teacher
        assert teacher is not None
        journal = self.folder / f"teacher-{number:05d}.jsonl"

        def find() -> np.ndarray:
            return np.concatenate(teacher.token_logps(asked_for(rows, drawn, behaviour, trainer, journal)))

        return self._stored(f"teacher-{number:05d}.npy", trainer, is_first, find)

    def _stored(self, name: str, trainer: "Trainer", is_first: bool, find: Callable[[], np.ndarray]) -> np.ndarray:
        path = self.folder / name
        if not agreed(trainer.accelerator, path.exists()):
            assert is_first, "the student has moved since it sampled these rows"
            logps = find()
            if trainer.accelerator.is_main_process:
                with atomic_write(path) as part, open(part, "wb") as file:
                    np.save(file, logps)
            trainer.accelerator.wait_for_everyone()
        return np.asarray(np.load(path))

    def _compared_rows(self, rows: Rows, trainer: "Trainer") -> list[int]:
        """The rows whose log-probs under the sampling policy matter: all but those whose gradient is 0 whatever they are."""
        idle = set[int]()
        if self.teacher is None and vanishes_without_advantage(self.objective, tuple(trainer.modifiers)):
            idle = rows_without_signal(rows, range(len(rows)))
        return [row for row in range(len(rows)) if row not in idle]

    def _told_by_server(self, rows: Rows) -> np.ndarray:
        """The server's own log-probs of the rows. OperatorError where it did not tell them all."""
        server_logps = rows.values[SAMPLED_LOGPS]
        if not np.isfinite(server_logps).all():
            raise OperatorError(
                f"train.{self.job.author}.rollouts.behaviour: the server did not return the log-probs of {int(np.isnan(server_logps).sum()):,} of "
                f"{len(server_logps):,} tokens; write `behaviour: recomputed`."
            )
        return server_logps

    def _corrected(self, rows: Rows, behaviour: np.ndarray) -> tuple[Rows, dict[str, Any]]:
        """The rows with each token's advantage times its importance weight, and what the weights were like."""
        assert self.job.importance_cap is not None
        advantages = rows.values["advantage"]
        has_signal = np.isfinite(behaviour)  # those left out have advantages of 0
        server_logps = np.where(has_signal, rows.values[SAMPLED_LOGPS], np.nan)
        correction = importance(np.where(has_signal, behaviour, 0.0), server_logps, cap=self.job.importance_cap)
        if correction.mean is None and np.any(advantages):
            raise OperatorError(
                f"train.{self.job.author}.rollouts.importance_cap: the server returns no log-probs, so its answers "
                f"cannot be weighted by pi_train / pi_server; set `importance_cap: null` to train without the weights."
            )
        rows = dataclasses.replace(rows, values={**rows.values, "advantage": advantages * correction.weights})
        return rows, {"importance_mean": correction.mean, "importance_truncated": correction.truncated}


@dataclass(frozen=True, slots=True)
class Rollouts:
    """What a stage with `rollouts` is given in the place of rows: the job, and how its teacher is loaded, if it has one."""

    job: RolloutJob
    teacher: TeacherSpec | None = None

    def sizes(self, tokenizer: Any, limit: int) -> tuple[int, int]:
        """(tokens of the longest sequence, tokens of a step at most), by the limits of sampling."""
        longest = min(limit, self.job.longest_prompt(tokenizer) + self.job.config.sampling.max_new_tokens)
        return longest, longest * self.job.settings.problems * self.job.settings.n

    def supply(
        self,
        accelerator: Accelerator,
        job: Any,
        settings: StageSettings,
        tokenizer: Any,
        limit: int,
        reference: Callable[[], Any] | None,
        others: Mapping[str, Distribution],
    ) -> tuple[RolloutSupply, Objective]:
        """The supply of a stage (its StageJob), and its objective: where the student takes one step a round, the form that
        needs no log-probs of the sampling policy."""

        def compared(load: Callable[[], Any]) -> Compared:
            model, its_tokenizer = load()
            same_vocabulary(f"train.{job.stage}", "teacher or reference", its_tokenizer, tokenizer)
            packs = prepare_for_packing(model)
            policy = prepare_reference(accelerator, PackedPolicy(model, packs=packs), model).eval()
            return Compared(policy, settings.tokens_per_micro_batch if packs else 0)

        trusts_server = self.job.is_served and self.job.settings.behaviour == "server"  # then the ratio is not 1
        moves_once = self.job.settings.updates == 1 and not trusts_server
        objective = on_policy(job.objective) if moves_once else job.objective
        opening = Opening(f"train.{job.stage}.rollouts.teacher", tokenizer, compared)
        supply = RolloutSupply(
            job=self.job,
            objective=objective,
            store=StageFolder(job.folder / "rollouts", job.fingerprint),
            max_tokens=limit,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            steps=settings.steps,
            reference=None if reference is None else compared(reference),
            teacher=None if self.teacher is None else self.teacher.open(opening),
            others=others,
            tokenizer=tokenizer,
        )
        return supply, objective


def _token_logps(compared: Compared, rows: Rows, trainer: "Trainer", wanted: Sequence[int] | None = None) -> np.ndarray:
    """(completion tokens of all rows,) fp64 under a model that does not learn from them. wanted: the numbers of the rows that
    matter; nan on the others."""
    numbers = [n for row in (range(len(rows)) if wanted is None else wanted) for n in rows.sequences_of(row)]
    values = compared.token_logps([rows.sequence(n) for n in numbers], trainer)
    starts = rows.completion_starts()
    logps = np.full(starts[-1], np.nan)
    for number, own in zip(numbers, values, strict=True):
        logps[starts[number] : starts[number + 1]] = own
    return logps
