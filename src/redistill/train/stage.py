"""The loop: rows and a student in, a trained student out; resumable, the same on one process or many.

    train_stage(folder=Path("runs/x/train/redi"), stage="redi", settings=..., objective=..., records=pairs,
                student=load_start, fingerprint="...", seed=0, card="...")

It leaves `model/` (a Hugging Face folder), `metrics.jsonl` (a line a step), `rows/` (the encoded rows), `checkpoints/`
(removed at the end) and `ledger.json`. The order of rows is a pure function of (seed, epoch, step), so a run continued
after a kill takes the same steps and ends with the same bytes; what the guard does (watch.py) is part of that.
"""

import copy
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

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
from redistill.records import Example, Pair
from redistill.train import checkpoints
from redistill.train.diagnostics import held_out_figures, hold_out, pair_diagnostics, update_norm
from redistill.train.fit import fit, peak_bytes
from redistill.train.guard_state import GuardState
from redistill.train.live import live_view
from redistill.train.modifiers import Modifier, check_modifiers, reads_spans
from redistill.train.objectives import Objective, is_linear, needs_mismatched, needs_pairs, needs_reference
from redistill.train.optimizers import make_optimizer, set_rate
from redistill.train.packing import num_steps, rows_of_step
from redistill.train.probe import Probe, sample_without_side_effects
from redistill.train.ranks import agreed, make_accelerator, prepare, prepare_reference, ranks_of, whole_student
from redistill.train.reference import model_identity, reference_logps
from redistill.train.rows import Rows, damage, read_rows, write_rows
from redistill.train.step import Reference, StepFigures, all_finite, backward_step, pair_figures, suspects
from redistill.train.stopping import Paused, at_the_next_step

Student = tuple[PreTrainedModel, PreTrainedTokenizerFast]


def train_stage(
    *,
    folder: Path,
    stage: str,
    settings: StageSettings,
    objective: Objective,
    records: Iterable[Example | Pair],
    student: Callable[[], Student],
    fingerprint: str,
    seed: int,
    card: str,
    describe: Mapping[str, Any] | None = None,
    modifiers: Sequence[Modifier] = (),
    reference: Callable[[], Student] | None = None,
    probe: Probe | None = None,
    mirror: TrackerLogger | None = None,
    trial: bool = False,
    pause_at: int | None = None,
) -> dict[str, Any]:
    """Train one stage and return its ledger; continues from the newest whole checkpoint of the same fingerprint.

    `student` loads the model to start from; `records` is read only where the rows are not encoded yet; `reference` loads
    the model that the objective compares with, where it needs one: by default that is the start. `probe` samples the
    student for the guard. `mirror` gets a copy of the metrics. A `trial` ends at the guard's first alarm and leaves no
    student. `pause_at`: Paused is raised, with the state saved, once so many steps are done, unless the stage is over by then.
    OperatorError when the objective and its modifiers do not fit, when no row fits, or when three steps in a row have no
    finite gradient (the sentence names the rows).
    """
    check_stage(objective, modifiers, f"train.{stage}")
    accelerator = make_accelerator(settings)
    if accelerator.is_main_process:
        _open(folder, fingerprint)
    accelerator.wait_for_everyone()
    model, tokenizer = student()
    rows, account = _encoded(accelerator, folder, stage, settings, model, tokenizer, records, modifiers)
    watch = GuardState(folder, stage, settings, mirror)
    trained_on, held = hold_out(rows, watch.guard.held_out_pairs, seed)
    total = num_steps(
        num_rows=len(trained_on), batch_size=settings.batch_size, epochs=settings.epochs, steps=settings.steps
    )
    ordinary = model.config._attn_implementation
    packs = prepare_for_packing(model)
    if not packs:
        settings = settings.model_copy(update={"tokens_per_micro_batch": 0})  # every row is over it and goes alone
        if accelerator.is_main_process:
            say(
                f"train    {stage}: {model.config.model_type} cannot run on packed rows (its layers carry state from row to "
                "row), so each row runs alone: the same step, slower"
            )
    start = model_identity(model) if needs_reference(objective) and reference is None else ""
    model = adapted_model(model, settings, seed)
    longest = int(np.diff(rows.starts).max())
    most = min(settings.tokens_per_micro_batch, settings.batch_size * rows.per_row * longest)
    fitted = fit(accelerator, model, settings, stage, tokens=max(longest, most))
    skeleton: Any = copy.deepcopy(model) if accelerator.is_fsdp2 and accelerator.is_main_process else None
    optimizer: Any = make_optimizer(model, settings, offloaded=fitted["offload_optimizer"])
    policy, optimizer = prepare(accelerator, PackedPolicy(model, packs=packs), model, optimizer)
    compared = _reference(accelerator, folder, settings, objective, rows, policy, start, reference)
    saved = folder / "checkpoints"
    if accelerator.is_main_process:
        watch.delete_abandoned(saved)
    found = agreed(accelerator, checkpoints.newest(saved) if accelerator.is_main_process else None)
    done = 0 if found is None else found[1]
    if found is not None:
        checkpoints.load(accelerator, policy, optimizer, found[0])
    if accelerator.is_main_process:
        watch.open(done)

    def look(step: int) -> dict[str, float]:
        found: dict[str, float] = {}
        if held and watch.should_score_held_out(step, total):
            found |= held_out_figures(
                policy, rows, held, tokens_per_micro_batch=settings.tokens_per_micro_batch,
                device=accelerator.device, ranks=ranks_of(accelerator, policy),
            )  # fmt: skip
        if probe is not None and watch.should_probe(step, total):
            whole: Any = whole_student(accelerator, policy, skeleton)
            if whole is not None:
                found |= sample_without_side_effects(
                    whole.to(accelerator.device), tokenizer, probe, device=accelerator.device,
                    autocast=settings.mixed_precision == "bf16",
                )  # fmt: skip
                if skeleton is not None:
                    skeleton.to("cpu")
        return found

    def save(step: int) -> None:
        if accelerator.is_main_process:
            watch.sync()
        checkpoints.save(
            accelerator, policy, optimizer, saved, step, facts=watch.facts(step, total), spare=watch.spared
        )

    started = time.perf_counter()
    skipped, step, decision = agreed(accelerator, watch.skipped), done, ""
    if done == 0 and (found := look(0)) and accelerator.is_main_process:
        watch.judge({"step": 0, **found})
    if done == 0 and watch.should_save(0, total):
        save(0)
    if pause_at is not None and pause_at <= done < total:
        raise Paused
    with (
        live_view(stage, total=total, history=watch.history) as show,
        at_the_next_step() as somebody_asked,
    ):
        while step < total:
            places = rows_of_step(seed=seed, step=step, batch_size=settings.batch_size, num_rows=len(trained_on))
            numbers = [trained_on[place] for place in places]
            rated = settings.model_copy(update={"learning_rate": watch.learning_rate})
            try:
                figures, facts = _step(
                    accelerator, policy, optimizer, objective, rows, numbers, rated, step, total, modifiers, compared
                )
            except torch.OutOfMemoryError as error:
                raise OperatorError(
                    f"train.{stage}: out of memory in step {step} ({fitted.get('sentence')}); lower tokens_per_micro_batch, "
                    "set memory_gib lower so that more is saved, or train the same stage on more devices with FSDP2."
                ) from error
            skipped = 0 if facts["finite"] else skipped + 1
            step += 1
            line = _line(step, objective, figures, facts)
            if skipped:
                line["rows"] = [rows.ids[n] for n in numbers]
            if watch.should_measure_norm(step) and settings.optimizer == "adamw":
                line["update_norm"] = update_norm(optimizer, ranks_of(accelerator, policy)) if facts["finite"] else 0.0
            line |= look(step)
            decision = watch.judge(line) if accelerator.is_main_process else ""
            show(line)
            decision = decision or ("leave" if somebody_asked() else "")
            decision, step_back = agreed(accelerator, (decision, 0))
            waits = step == pause_at and step < total
            if skipped >= 3 and not decision:
                raise OperatorError(
                    f"train.{stage}: three steps in a row without a finite gradient (steps {step - 2} to {step}; in the last, rows "
                    f"{suspects(rows, numbers, figures)}; all of them are in {watch.path}); lower learning_rate, or look at these "
                    "rows with `redistill why`."
                )
            if decision == "rollback":
                step_back = watch.roll_back(saved) if accelerator.is_main_process else 0
                _, step_back = agreed(accelerator, (decision, step_back))
                watch = (
                    watch if accelerator.is_main_process else GuardState(folder, stage, settings)
                )  # reads guard.json
                checkpoints.load(accelerator, policy, optimizer, checkpoints.at(saved, step_back))
                step, skipped = step_back, 0
            elif decision == "leave":
                if watch.should_save(step, total) or not watch.acts:  # else a rollback would find a checkpoint too many
                    save(step)
                raise KeyboardInterrupt
            elif not decision and (watch.should_save(step, total) or waits):
                save(step)
            if decision == "stop" or (trial and agreed(accelerator, watch.is_alarmed)):
                break
            if waits and not decision:
                raise Paused
    if agreed(accelerator, watch.acts and watch.is_alarmed):  # stopped, or the last step was no good one
        kept = agreed(accelerator, watch.stop(saved) if accelerator.is_main_process else 0)
        checkpoints.load(accelerator, policy, optimizer, checkpoints.at(saved, kept))
    turned_away = read_json(folder / "rows" / "account.json")["dropped_ids"]
    for number in held:
        account.kept -= 1
        account.dropped["held_out_for_guard"] += 1
        turned_away.append([rows.ids[number], "held_out_for_guard"])
    accelerator.wait_for_everyone()
    ledger = {
        "room": "train",
        "stage": stage,
        "fingerprint": fingerprint,
        "describe": dict(describe or {}),
        "accounts": {"rows": account.to_json()},
        "rows": account.to_json(),
        "steps": step,
        "guard": watch.ledger() if accelerator.is_main_process else {},
        "seconds": round(time.perf_counter() - started, 1),
        "processes": accelerator.num_processes,
        "packed": packs,
        "memory": {**fitted, "peak_bytes": peak_bytes(accelerator.device)},
        "device": str(accelerator.device),
    }
    trained: Any = None if trial else whole_student(accelerator, policy, skeleton)
    if trained is not None:
        if settings.lora is not None:
            trained = trained.merge_and_unload()
        trained.set_attn_implementation(ordinary)
        dtype = torch.bfloat16 if settings.save_dtype == "bfloat16" else torch.float32
        loading.save_model(trained, tokenizer, folder / "model", card=card, dtype=dtype)
    if accelerator.is_main_process:
        write_json(folder / "dropped.json", [{"id": id, "reason": reason} for id, reason in turned_away])
        write_json(folder / "ledger.json", ledger)
        tidy(folder, fingerprint)
    accelerator.wait_for_everyone()
    accelerator.free_memory()
    return ledger


def check_stage(objective: Objective, modifiers: Sequence[Modifier], where: str) -> None:
    """OperatorError where the objective's options or its modifiers cannot work; costs no model and no data."""
    is_linear(objective)  # calls it on made-up log-probs, so an option it refuses is refused now
    check_modifiers(objective, modifiers, where)


def is_finished(folder: Path, fingerprint: str) -> bool:
    """True when this stage's student is there, whole, and was made under this fingerprint."""
    if not (folder / "ledger.json").exists() or read_json(folder / "ledger.json").get("fingerprint") != fingerprint:
        return False
    try:
        loading.check_folder(folder / "model")
    except OperatorError:
        return False
    return True


def tidy(folder: Path, fingerprint: str) -> None:
    """Remove the checkpoints and rows of a finished stage; a kill may have come after its ledger and before this."""
    set_stamp(folder, fingerprint)
    for name in ("checkpoints", "rows"):
        shutil.rmtree(folder / name, ignore_errors=True)


# --- the parts ---------------------------------------------------------------------------------------------------


def _open(folder: Path, fingerprint: str) -> None:
    stamp = folder / "fingerprint"
    if folder.exists() and (not stamp.exists() or stamp.read_bytes() != fingerprint.encode()):
        shutil.rmtree(folder)
    if not stamp.exists():  # never written over: a kill in the middle of that would cost the checkpoints
        write_bytes(stamp, fingerprint.encode())
    if (folder / "ledger.json").exists():
        say(f"damaged  {folder / 'model'}: it is not what was saved, so its stage is trained again")
        (folder / "ledger.json").unlink()


def _encoded(
    accelerator: Accelerator,
    folder: Path,
    stage: str,
    settings: StageSettings,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    records: Iterable[Example | Pair],
    modifiers: Sequence[Modifier],
) -> tuple[Rows, Account]:
    limit = min(settings.max_tokens or loading.context_length(model), loading.context_length(model))
    where = folder / "rows"
    spans = any(map(reads_spans, modifiers))
    corrupt = damage(where) if accelerator.is_main_process else None
    if corrupt is not None:
        if (where / "account.json").exists():
            say(f"damaged  {where / corrupt}: the rows are encoded again")
        write_rows(
            where,
            bar(records, f"encode {stage}", unit="row"),
            encode_prompts=lambda texts: loading.encode_prompts(tokenizer, texts),
            encode_completions=lambda texts: loading.encode_completions(tokenizer, texts),
            max_tokens=limit,
            completion_offsets=(lambda texts: loading.completion_offsets(tokenizer, texts)) if spans else None,
        )
    accelerator.wait_for_everyone()
    rows, account = read_rows(where)
    if not len(rows):
        shutil.rmtree(where)
        reasons = ", ".join(f"{count} {reason}" for reason, count in account.dropped.most_common()) or "none came in"
        raise OperatorError(
            f"train.{stage}: no row is left to train on (of {account.came_in}: {reasons}; the limit is {limit} tokens, prompt "
            "and completion). Raise train max_tokens, or the model's context by student.config_edits, or choose shorter traces."
        )
    if spans and (rows.span_weights is None or (np.asarray(rows.span_weights) == 1.0).all()):
        raise OperatorError(
            f"train.{stage}.modifiers: span-weights is listed, but no pair has a span that changes a weight; write "
            "chosen_spans or rejected_spans into the pairs, or leave it out."
        )
    return rows, account


def _reference(
    accelerator: Accelerator,
    folder: Path,
    settings: StageSettings,
    objective: Objective,
    rows: Rows,
    policy: torch.nn.Module,
    identity: str,
    load: Callable[[], Student] | None,
) -> Reference | None:
    """The reference's log-probs where the objective asks for them: of `load`, or of `policy` before its first step, whose
    `identity` was taken before it was sharded."""
    if not needs_reference(objective):
        return None
    training, budget = policy.training, settings.tokens_per_micro_batch
    if load is not None:
        model, _ = load()
        packs = prepare_for_packing(model)
        budget = budget if packs else 0
        identity = model_identity(model)
        policy = prepare_reference(accelerator, PackedPolicy(model, packs=packs), model)
    found = reference_logps(
        accelerator,
        policy.eval(),
        identity,
        rows,
        folder.parent / ".references",
        precision=settings.mixed_precision,
        tokens_per_micro_batch=budget,
        mismatched=needs_mismatched(objective),
    )
    policy.train(training)
    return found


def adapted_model(model: PreTrainedModel, settings: StageSettings, seed: int) -> PreTrainedModel:
    """The model with a stage's LoRA adapter, itself where the stage has none. OperatorError for what peft does not know."""
    if settings.lora is None:
        return model
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise OperatorError("train: `lora` needs the extra of that name: pip install 'redistill[lora]'.") from error
    try:
        config = LoraConfig(task_type="CAUSAL_LM", **settings.lora)
    except TypeError as error:
        raise OperatorError(f"train: lora: {error}; its options are those of peft.LoraConfig.") from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the adapter begins with random numbers: the same in every run and on every rank
        return cast(PreTrainedModel, get_peft_model(model, config))


def learning_rate(settings: StageSettings, step: int, total: int) -> float:
    """The rate of step 0..total-1: linear warm-up over `warmup` of the steps, then linear decay towards 0 (or constant).

    The first step already moves (transformers starts at exactly 0, which wastes it).
    """
    warm = int(settings.warmup * total)
    if step < warm:
        return settings.learning_rate * (step + 1) / (warm + 1)
    if settings.decay == "constant":
        return settings.learning_rate
    return settings.learning_rate * (total - step) / max(1, total - warm)


def _step(
    accelerator: Accelerator,
    policy: torch.nn.Module,
    optimizer: Any,
    objective: Objective,
    rows: Rows,
    numbers: list[int],
    settings: StageSettings,
    step: int,
    total: int,
    modifiers: Sequence[Modifier] = (),
    reference: Reference | None = None,
) -> tuple[StepFigures, dict[str, Any]]:
    started = time.perf_counter()
    rate = learning_rate(settings, step, total)
    set_rate(optimizer, rate)
    figures = backward_step(
        policy,
        objective,
        rows,
        numbers,
        tokens_per_micro_batch=settings.tokens_per_micro_batch,
        modifiers=modifiers,
        reference=reference,
        device=accelerator.device,
        ranks=ranks_of(accelerator, policy),
    )
    norm = float(accelerator.clip_grad_norm_(policy.parameters(), settings.max_grad_norm))
    finite = all_finite(ranks_of(accelerator, policy), accelerator.device, norm, figures.loss)
    if finite:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - started
    return figures, {"grad_norm": norm, "learning_rate": rate, "seconds": seconds, "finite": finite}


def _line(step: int, objective: Objective, figures: StepFigures, facts: Mapping[str, Any]) -> dict[str, Any]:
    """One line of metrics.jsonl."""
    return {
        "step": step,
        "loss": figures.loss,
        **pair_figures(objective, figures),
        **(pair_diagnostics(figures.coefficients, figures.top_probs) if needs_pairs(objective) else {}),
        "grad_norm": facts["grad_norm"],
        "learning_rate": facts["learning_rate"],
        "lr_x_grad_norm": facts["learning_rate"] * facts["grad_norm"],
        "skipped": not facts["finite"],
        "tokens": figures.packed_tokens,
        "tokens_per_second": round(figures.packed_tokens / facts["seconds"], 1),
        "seconds": round(facts["seconds"], 4),
    }
