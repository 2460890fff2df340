"""One training stage: rows and a student in, a trained student out; resumable, the same on one process or many.

    job = StageJob(folder=Path("runs/x/train/redi"), stage="redi", settings=..., objective=..., fingerprint="...", seed=0,
                   card="...")
    ledger = train_stage(job, records=pairs, student=load_start)

It leaves `model/` (a Hugging Face folder), `metrics.jsonl` (one line per step), `rows/` (the encoded rows), `checkpoints/`
(removed at the end) and `ledger.json`. The order of rows is a pure function of (seed, epoch, step), so a run continued
after a kill takes the same steps and ends with the same bytes; what the guard does (guard_state.py) is part of that.
"""

import copy
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from redistill.config.tables import StageSettings
from redistill.errors import OperatorError
from redistill.io.atomic import read_json, write_bytes, write_json
from redistill.io.progress import bar, say
from redistill.io.stage_folder import Account, set_stamp
from redistill.io.tracking import TrackerLogger
from redistill.model import loading
from redistill.model.logps import PackedPolicy, prepare_for_packing
from redistill.model.pictures import why_alone
from redistill.model.precision import precision_of
from redistill.model.score_heads import OBJECTIVE, PackedScores, prepare_scores
from redistill.records import Example, Pair
from redistill.train import checkpoints
from redistill.train.adapters import adapted_model, merged
from redistill.train.diagnostics import (
    held_out_figures,
    held_out_targets,
    hold_out,
    update_norm,
)
from redistill.train.distributions import StageOfOthers, open_distributions
from redistill.train.fit import fit, peak_bytes
from redistill.train.guard_state import GuardState
from redistill.train.joint_critic import open_critic, told_of_no_step
from redistill.train.live import live_view
from redistill.train.measures import Distribution, measures_of
from redistill.train.modifiers import Modifier, in_full
from redistill.train.objectives import (
    Objective,
    name_of,
    needs_mismatched,
    needs_reference_logps,
    needs_scores,
    needs_teacher,
    needs_values,
    trains_critic,
    without_reference,
)
from redistill.train.optimizers import make_optimizer
from redistill.train.packing import num_steps
from redistill.train.probe import Probe
from redistill.train.ranks import agreed, make_accelerator, prepare, prepare_reference, ranks_of
from redistill.train.reference import model_identity, reference_logps
from redistill.train.rows import Rows, corrupt_file, read_rows, write_rows
from redistill.train.stage_check import check_stage
from redistill.train.step import Reference, suspects
from redistill.train.stopping import at_the_next_step
from redistill.train.supply import DrawnRows, FileSupply, Supply
from redistill.train.token_weights import credited, write_token_weights
from redistill.train.trainer import StepResult, Trainer

if TYPE_CHECKING:
    from redistill.train.rollout_supply import RolloutSupply

Student = tuple[PreTrainedModel, PreTrainedTokenizerFast]


@dataclass(frozen=True, slots=True)
class StageJob:
    """What a stage is to do, beside its rows and its students."""

    folder: Path
    stage: str  # its name in the recipe
    settings: StageSettings
    objective: Objective
    fingerprint: str  # of all that the student depends on; a folder of another one is made anew
    seed: int
    card: str  # the model card's text
    modifiers: Sequence[Modifier] = ()
    describe: Mapping[str, Any] = field(default_factory=dict)  # copied into the ledger
    trial: bool = False  # ends at the guard's first alarm and leaves no student


def train_stage(
    job: StageJob,
    *,
    records: Iterable[Example | Pair],
    student: Callable[[], Student],
    reference: Callable[[], Student] | None = None,
    teacher: Callable[[], Student] | None = None,
    probe: Probe | None = None,
    mirror: TrackerLogger | None = None,
    drawn: DrawnRows | None = None,
    critic: Callable[[], Any] | None = None,
) -> dict[str, Any]:
    """Train one stage and return its ledger; continues from the newest whole checkpoint of the same fingerprint.

    `student` loads the model to start from; `records` is read only where the rows are not encoded yet; `reference` loads
    the model that the objective compares with, where it needs one: by default that is the start; `teacher` the one whose
    distributions it learns. `drawn`: where rows are drawn as training goes on, and `records` is not read. `critic` loads the
    critic whose scores `token-credit` makes weights of, or the one that learns beside the student (`rollouts.critic`). `probe` samples the student for the guard. `mirror` gets a copy of the
    metrics. OperatorError when objective and modifiers do not fit, no row fits, or three steps in a row have no finite gradient.
    """
    precise = job.settings.model_copy(update={"mixed_precision": precision_of(job.settings.mixed_precision)})
    modifiers = [in_full(modifier) for modifier in job.modifiers]
    job = replace(job, settings=precise, objective=without_reference(job.objective), modifiers=modifiers)
    check_stage(job.objective, job.modifiers, f"train.{job.stage}")
    if needs_teacher(job.objective) and teacher is None:
        raise OperatorError(f"train.{job.stage}: {name_of(job.objective)} learns from a teacher; name it by `teacher`.")
    accelerator = make_accelerator(job.settings)
    if accelerator.is_main_process:
        _open(job.folder, job.fingerprint)
    accelerator.wait_for_everyone()
    run = _set_up(accelerator, job, _Given(records, student, reference, teacher, drawn, critic), probe, mirror)
    run.train()
    ledger = run.finish()
    accelerator.wait_for_everyone()
    accelerator.free_memory()
    return ledger


def is_finished(folder: Path, fingerprint: str) -> bool:
    """True when this stage's student is there, whole, and was made under this fingerprint."""
    if not (folder / "ledger.json").exists() or read_json(folder / "ledger.json").get("fingerprint") != fingerprint:
        return False
    try:
        for model in (folder / "model", *folder.glob("critic/model")):
            loading.check_folder(model)
    except OperatorError:
        return False
    return True


def tidy(folder: Path, fingerprint: str) -> None:
    """Remove the checkpoints and rows of a finished stage; a kill may have come after its ledger and before this."""
    set_stamp(folder, fingerprint)
    for name in ("checkpoints", "rows"):
        shutil.rmtree(folder / name, ignore_errors=True)


# --- one run of a stage ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _StageRun:
    """A stage under way: its trainer, and the guard that watches it. Every rank has one."""

    accelerator: Accelerator
    job: StageJob
    trainer: Trainer
    guard: GuardState
    probe: Probe | None
    rows: Rows | None  # of a stage that does not draw them itself
    account: Account  # of the rows, those held out still counted as kept
    held_out: list[int]  # numbers of the rows that are not trained on
    attention: str  # the model's own attention, which the saved student gets back
    packs: bool
    fitted: dict[str, Any]  # what was done to fit the device's memory
    credit: dict[str, float] | None  # the mean weight of a token by side, where a critic gives the weights
    started: float = field(default_factory=time.perf_counter)
    steps: int = 0  # taken when training ended, before the guard went back to a better student

    @property
    def checkpoints(self) -> Path:
        return self.job.folder / "checkpoints"

    def resume(self) -> None:
        """Go on from the newest whole checkpoint, where there is one."""
        main = self.accelerator.is_main_process
        if main:
            self.guard.delete_abandoned(self.checkpoints)
        newest = agreed(self.accelerator, checkpoints.newest(self.checkpoints) if main else None)
        if newest is not None:
            self.trainer.load(self.checkpoints, newest[1])
        if main:
            self.guard.open(self.trainer.steps_done)
        self._rewind()

    def _rewind(self) -> None:
        """Tell the supply from which step training goes on."""
        gone_back_to = agreed(self.accelerator, [back["to"] for back in self.guard.rollbacks])
        if self.accelerator.is_main_process:
            self.trainer.supply.rewind(self.trainer.steps_done, gone_back_to)
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            self.trainer.supply.rewind(self.trainer.steps_done, gone_back_to)

    def train(self) -> None:
        """All steps that are left. KeyboardInterrupt where the stage is to stop early, with its state saved."""
        trainer = self.trainer
        skipped = agreed(self.accelerator, self.guard.skipped)
        self._before_the_first_step()
        with (
            live_view(self.job.stage, total=lambda: trainer.total, history=self.guard.history) as show,
            at_the_next_step() as leave_requested,
        ):
            trainer.watch = show.drawing
            while trainer.steps_done < trainer.total:
                result = self._step()
                skipped = 0 if result.finite else skipped + 1
                if skipped >= 3 and result.critic.get("critic_skipped"):
                    raise OperatorError(told_of_no_step(self.job.stage, result.step))
                line = self._measure(result)
                decision = self.guard.judge(line) if self.accelerator.is_main_process else ""
                show(line)
                decision = agreed(self.accelerator, decision or ("leave" if leave_requested() else ""))
                if skipped >= 3 and not decision and result.figures is not None:
                    raise OperatorError(
                        f"train.{self.job.stage}: three steps in a row without a finite gradient (steps {result.step - 2} to "
                        f"{result.step}; in the last, rows {suspects(result.taken.rows, result.taken.numbers, result.figures)}; "
                        f"see {self.guard.path}); lower learning_rate, or look at these rows with `redistill why`."
                    )
                if decision == "rollback":
                    skipped = 0
                if self._act(decision):
                    break
        self.steps = trainer.steps_done
        if agreed(
            self.accelerator, self.guard.acts and self.guard.is_alarmed
        ):  # stopped, or the last step was no good one
            kept = agreed(
                self.accelerator, self.guard.stop(self.checkpoints) if self.accelerator.is_main_process else 0
            )
            trainer.load(self.checkpoints, kept)

    def _before_the_first_step(self) -> None:
        done, total = self.trainer.steps_done, self.trainer.total
        if done == 0 and (measured := self.run_diagnostics(0)) and self.accelerator.is_main_process:
            self.guard.judge({"step": 0, **measured})
        if done == 0 and self.guard.should_save(0, total):
            self._save()

    def _step(self) -> StepResult:
        try:
            return self.trainer.step(self.guard.learning_rate)
        except torch.OutOfMemoryError as error:
            raise OperatorError(
                f"train.{self.job.stage}: out of memory in step {self.trainer.steps_done} ({self.fitted.get('sentence')}); "
                "lower tokens_per_micro_batch, lower memory_gib so that more memory is saved, or use more devices with FSDP2."
            ) from error

    def _measure(self, result: StepResult) -> dict[str, Any]:
        """The step's line of metrics.jsonl, with what is due after this step."""
        line = result.metrics(self.job.objective)
        if result.figures is None:
            return line | self.run_diagnostics(result.step)
        if not result.finite:
            line["rows"] = result.taken.ids
        if self.guard.should_measure_norm(result.step) and self.job.settings.optimizer == "adamw":
            ranks = ranks_of(self.accelerator, self.trainer.policy)
            line["update_norm"] = update_norm(self.trainer.optimizer, ranks) if result.finite else 0.0
        return line | self.run_diagnostics(result.step)

    def run_diagnostics(self, step: int) -> dict[str, float]:
        """What the guard looks at after this step beside the step itself: held-out pairs and the probe, where they are due."""
        trainer, measured = self.trainer, dict[str, float]()
        if self.rows is not None and self.held_out and self.guard.should_score_held_out(step, trainer.total):
            how: dict[str, Any] = {
                "tokens_per_micro_batch": trainer.settings.tokens_per_micro_batch,
                "device": self.accelerator.device,
                "ranks": ranks_of(self.accelerator, trainer.policy),
            }
            if trains_critic(self.job.objective):
                before = trainer.supply.at(trainer.steps_done, trainer).reference
                measured |= held_out_targets(
                    trainer.policy, self.job.objective, self.rows, self.held_out, reference=before, **how
                )
            else:
                measured |= held_out_figures(trainer.policy, self.rows, self.held_out, **how)
        if self.probe is not None and self.guard.should_probe(step, trainer.total):
            measured |= trainer.sample(self.probe) or {}
        return measured

    def _act(self, decision: str) -> bool:
        """Save, roll back or leave, as was decided after this step; True where training ends here."""
        step, total = self.trainer.steps_done, self.trainer.total
        if decision == "rollback":
            self._roll_back()
        elif decision == "leave":
            if self.guard.should_save(step, total) or not self.guard.acts:  # else a rollback would find one too many
                self._save()
            raise KeyboardInterrupt
        elif not decision and self.guard.should_save(step, total):
            self._save()
        return decision == "stop" or (self.job.trial and agreed(self.accelerator, self.guard.is_alarmed))

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            self.guard.sync()
        record = self.guard.facts(self.trainer.steps_done, self.trainer.total)
        self.trainer.save(self.checkpoints, facts=record, spare=self.guard.spared)

    def _roll_back(self) -> None:
        main = self.accelerator.is_main_process
        target = agreed(self.accelerator, self.guard.roll_back(self.checkpoints) if main else 0)
        if not main:
            self.guard = GuardState(self.job.folder, self.job.stage, self.job.settings)  # reads guard.json
        self.trainer.load(self.checkpoints, target)
        self._rewind()

    def finish(self) -> dict[str, Any]:
        """Write the trained student and the ledger, which is returned, and remove what only resuming needs."""
        job, accelerator = self.job, self.accelerator
        dropped = list[list[str]]()
        if self.rows is not None:
            dropped = read_json(job.folder / "rows" / "account.json")["dropped_ids"]
            for number in self.held_out:
                self.account.kept -= 1
                self.account.dropped["held_out_for_guard"] += 1
                dropped.append([self.rows.ids[number], "held_out_for_guard"])
        elif accelerator.is_main_process:
            self.account = self.trainer.supply.finish()  # what was dropped lies beside what was drawn
        accelerator.wait_for_everyone()
        ledger = self._ledger()
        trained: Any = None if job.trial else self.trainer.student()
        if trained is not None:
            if job.settings.lora is not None:
                trained = merged(trained, job.settings, job.folder)
            trained.set_attn_implementation(self.attention)
            if needs_scores(job.objective):
                setattr(trained.config, OBJECTIVE, job.settings.objective.name)
            dtype = torch.bfloat16 if job.settings.save_dtype == "bfloat16" else torch.float32
            loading.save_model(trained, self.trainer.tokenizer, job.folder / "model", card=job.card, dtype=dtype)
        if self.trainer.critic is not None and not job.trial:
            write_token_weights(self.trainer, cast("RolloutSupply", self.trainer.supply), job.folder)
            self.trainer.critic.save(accelerator, job.folder / "critic" / "model", self.trainer.tokenizer, job.stage)
        if accelerator.is_main_process:
            write_json(job.folder / "dropped.json", [{"id": id, "reason": reason} for id, reason in dropped])
            write_json(job.folder / "ledger.json", ledger)
            tidy(job.folder, job.fingerprint)
        return ledger

    def _ledger(self) -> dict[str, Any]:
        accelerator = self.accelerator
        return {
            "stage": self.job.stage,
            "fingerprint": self.job.fingerprint,
            "describe": dict(self.job.describe),
            "accounts": {"rows": self.account.to_json()},
            "rows": self.account.to_json(),
            "steps": self.steps,
            "guard": self.guard.ledger() if accelerator.is_main_process else {},
            "seconds": round(time.perf_counter() - self.started, 1),
            "processes": accelerator.num_processes,
            "packed": self.packs,
            **({} if self.credit is None else {"mean_token_weights": self.credit}),
            "memory": {**self.fitted, "peak_bytes": peak_bytes(accelerator.device)},
            "device": str(accelerator.device),
        }


# --- setting it up -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Given:
    """What a stage is made from, not read or loaded yet."""

    records: Iterable[Example | Pair]
    student: Callable[[], Student]
    reference: Callable[[], Student] | None
    teacher: Callable[[], Student] | None
    drawn: DrawnRows | None
    critic: Callable[[], Any] | None  # a Student or an ImplicitCritic


def _set_up(
    accelerator: Accelerator, job: StageJob, given: _Given, probe: Probe | None, mirror: TrackerLogger | None
) -> _StageRun:
    """Encode the rows, prepare the student and its reference, and go on from what an earlier run saved."""
    settings = job.settings
    model, tokenizer = given.student()
    guard = GuardState(job.folder, job.stage, settings, mirror)
    rows, account, held_out = None, Account("row"), list[int]()
    credit: dict[str, float] | None = None
    if given.drawn is None:
        rows, account = _encoded(accelerator, job, model, tokenizer, given.records)
        if given.critic is not None:
            rows, credit = credited(
                accelerator, job.stage, settings, rows, tokenizer, given.critic(), job.modifiers, job.folder.parent
            )
        trained_on, held_out = hold_out(rows, guard.guard.held_out_pairs, job.seed)
    attention = model.config._attn_implementation
    critic = needs_scores(job.objective)
    packs = prepare_scores(model) if critic else prepare_for_packing(model)
    if not packs:
        settings = settings.model_copy(update={"tokens_per_micro_batch": 0})  # every row is over it and goes alone
        if accelerator.is_main_process:
            say(
                f"train    {job.stage}: {model.config.model_type} cannot run on packed rows ({why_alone(model)}), so each row runs alone: "
                "the same step, slower"
            )
    others, others_pack = _others(accelerator, job, given, model, tokenizer, rows)
    if not others_pack:
        settings = settings.model_copy(update={"tokens_per_micro_batch": 0})
    compares = any(map(needs_reference_logps, [job.objective, *job.modifiers]))
    start = model_identity(model) if compares and given.reference is None and given.drawn is None else ""
    limit = _limit(settings, model)
    model = adapted_model(model, settings, job.seed, critic=critic)
    beside = None
    if settings.rollouts is not None and settings.rollouts.critic is not None:
        assert given.critic is not None
        beside = open_critic(accelerator, job.stage, settings, tokenizer, given.critic, job.seed)
    if rows is not None:
        longest = int(np.diff(rows.starts).max())
        a_step = settings.batch_size * rows.per_row * longest
    else:
        assert given.drawn is not None
        longest, a_step = given.drawn.sizes(tokenizer, limit)
    fitted = fit(
        accelerator, model, settings, job.stage, tokens=max(longest, min(settings.tokens_per_micro_batch, a_step)),
        reserved=beside.bytes_to_come if beside is not None else 0,
    )  # fmt: skip
    skeleton: Any = copy.deepcopy(model) if accelerator.is_fsdp2 and accelerator.is_main_process else None
    optimizer: Any = make_optimizer(model, settings, offloaded=fitted["offload_optimizer"])
    packed = PackedScores(model, packs=packs) if critic else PackedPolicy(model, packs=packs)
    policy, optimizer = prepare(accelerator, packed, model, optimizer)
    supply: Supply
    objective = job.objective
    if rows is not None:
        total = num_steps(
            num_rows=len(trained_on), batch_size=settings.batch_size, epochs=settings.epochs, steps=settings.steps
        )
        compared = _reference(accelerator, job, settings, rows, policy, start, given.reference) if compares else None
        supply = FileSupply(rows, trained_on, settings.batch_size, job.seed, compared, total, others)
    else:
        assert given.drawn is not None
        # the start has moved by the time that its rows are drawn, so it is loaded again to be compared with
        load = (given.reference or given.student) if compares else None
        supply, objective = given.drawn.supply(accelerator, job, settings, tokenizer, limit, load, others)
    trainer = Trainer(
        accelerator, policy, optimizer, tokenizer, objective, settings, supply, job.modifiers, skeleton, beside
    )
    run = _StageRun(accelerator, job, trainer, guard, probe, rows, account, held_out, attention, packs, fitted, credit)
    run.resume()
    return run


def _others(
    accelerator: Accelerator,
    job: StageJob,
    given: _Given,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    rows: Rows | None,
) -> tuple[dict[str, Distribution], bool]:
    """The models that the student's distributions are compared with, and whether all of them run on packed rows. The start has
    moved by the first step, so where it is the reference it is loaded again."""
    measures = measures_of([job.objective, *job.modifiers])
    if not any(measure.of for measure in measures.values()):
        return {}, True
    load = {"reference": given.reference or given.student} | ({"teacher": given.teacher} if given.teacher else {})
    stage = StageOfOthers(
        where=f"train.{job.stage}",
        settings=job.settings,
        tokenizer=tokenizer,
        head=len(model.get_output_embeddings().weight),
        folder=job.folder.parent / ".references",
    )
    return open_distributions(accelerator, stage, measures, load, rows)


def _limit(settings: StageSettings, model: PreTrainedModel) -> int:
    """The most tokens of a row, prompt and completion."""
    return min(settings.max_tokens or loading.context_length(model), loading.context_length(model))


def _open(folder: Path, fingerprint: str) -> None:
    stamp = folder / "fingerprint"
    if folder.exists() and (not stamp.exists() or stamp.read_bytes() != fingerprint.encode()):
        shutil.rmtree(folder)
    if not stamp.exists():  # never written over: a kill in the middle of that would cost the checkpoints
        write_bytes(stamp, fingerprint.encode())
    if (folder / "ledger.json").exists():
        say(f"corrupt  {folder / 'model'}: it is not what was saved, so its stage is trained again")
        (folder / "ledger.json").unlink()


def _encoded(
    accelerator: Accelerator,
    job: StageJob,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    records: Iterable[Example | Pair],
) -> tuple[Rows, Account]:
    """The stage's rows, encoded by the main process where they are not there yet, and their account."""
    settings, stage, where = job.settings, job.stage, job.folder / "rows"
    limit = _limit(settings, model)
    wanted = needs_values([job.objective, *job.modifiers])
    wants_weights = "weight" in wanted
    corrupt = corrupt_file(where) if accelerator.is_main_process else None
    if corrupt is not None:
        if (where / "account.json").exists():
            say(f"corrupt  {where / corrupt}: the rows are encoded again")
        write_rows(
            where,
            bar(records, f"encode {stage}", unit="row"),
            encode_prompts=lambda texts: loading.encode_prompts(tokenizer, texts),
            encode_completions=lambda texts: loading.encode_completions(tokenizer, texts),
            max_tokens=limit,
            completion_offsets=(lambda texts: loading.completion_offsets(tokenizer, texts))
            if wanted & {"weight", "target"}
            else None,
            spans="target" if "target" in wanted else "weight",
        )
    accelerator.wait_for_everyone()
    rows, account = read_rows(where)
    if not len(rows):
        shutil.rmtree(where)
        reasons = ", ".join(f"{count} {reason}" for reason, count in account.dropped.most_common()) or "none came in"
        if account.dropped["no_target"]:
            raise OperatorError(
                f"train.{stage}: no row is left to train on (of {account.came_in}: {reasons}); a critic needs targets: name the "
                "spans with the targets in select.labelled.spans."
            )
        raise OperatorError(
            f"train.{stage}: no row is left to train on (of {account.came_in}: {reasons}; the limit is {limit} tokens, prompt "
            "and completion). Raise train max_tokens or the model's context (student.config_edits), or use shorter traces."
        )
    if "target" in wanted:
        _check_targets(np.asarray(rows.values["target"]), job)
    if wants_weights and (np.asarray(rows.values["weight"]) == 1.0).all():
        raise OperatorError(
            f"train.{stage}.modifiers: span-weights is listed, but no row has a span that changes a weight; set the spans in "
            "select.weights (rows of self-correction have some where a wrong attempt comes before the right one), or leave it out."
        )
    return rows, account


def _check_targets(targets: np.ndarray, job: StageJob) -> None:
    """OperatorError for targets that no probability reaches; with a squared error those below 0 have a meaning (a logarithm)."""
    objective = job.settings.objective
    if objective.name not in ("process", "outcome", "implicit"):  # one of a user's own may want any numbers
        return
    squared = objective.options.get("loss") == "mse"
    outside = targets[(targets > 1) | ((targets < 0) & (not squared))]  # NaN, where there is none, is neither
    if len(outside):
        raise OperatorError(
            f"train.{job.stage}: {len(outside):,} targets lie outside 0 to 1, such as {float(outside[0]):g}; write 1 for right and 0 for "
            "wrong in the spans that select.labelled.spans names."
        )


def _reference(
    accelerator: Accelerator,
    job: StageJob,
    settings: StageSettings,
    rows: Rows,
    policy: torch.nn.Module,
    identity: str,
    load: Callable[[], Student] | None,
) -> Reference:
    """The reference's log-probs, for an objective or a modifier that asks for them: of `load`, or of `policy` before its first step, whose
    `identity` was taken before it was sharded."""
    training, budget = policy.training, settings.tokens_per_micro_batch
    if load is not None:
        model, _ = load()
        packs = prepare_for_packing(model)
        budget = budget if packs else 0
        identity = model_identity(model)
        policy = prepare_reference(accelerator, PackedPolicy(model, packs=packs), model)
    computed = reference_logps(
        accelerator,
        policy.eval(),
        identity,
        rows,
        job.folder.parent / ".references",
        precision=settings.mixed_precision,
        tokens_per_micro_batch=budget,
        mismatched=needs_mismatched(job.objective),
    )
    policy.train(training)
    return computed
