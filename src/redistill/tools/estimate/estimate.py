"""Command `plan`: the cost of a recipe before any GPU hour: rows, steps, memory, operations, hours, money, disk.

    found = forecast(recipe, runs_dir=Path("runs"), gpus=["H100"], utilisation=0.35)
    found["stages"]["redi"]["steps"], found["stages"]["redi"]["memory"]["H100"]["8"]["total"]

Rows come from sample.py, memory from model/memory.py with the settings a stage would choose (train/fit.py asks the same), costs from
flops.py; no weight is loaded, the model is built on torch's meta device. Which numbers are counted, which are estimated, and
what is assumed, stands in the answer. (pipeline/plan.py is another thing: a recipe bound and checked, ready to be run.)
"""

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from redistill.config.tables import Recipe, StageSettings
from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.io.progress import say
from redistill.model import flops, loading, memory
from redistill.model.flops import GPUS, Gpu, Work
from redistill.model.pictures import freeze, model_class
from redistill.model.precision import planned_precision
from redistill.pipeline import prospects
from redistill.pipeline.guidance import is_guided, search_option
from redistill.pipeline.plan import Plan, make_plan, stage_stream
from redistill.tools.estimate.rollouts import RoundsAhead, measured_speed, rounds_ahead
from redistill.tools.estimate.sample import Look, Stream, look
from redistill.train.adapters import adapted_model
from redistill.train.coefficients import gradient_is_row_local, is_linear
from redistill.train.diagnostics import hold_out_prompts
from redistill.train.fit import available_bytes
from redistill.train.measures import Measure, measures_of
from redistill.train.modifiers import reads_logps
from redistill.train.objectives import needs_behaviour, needs_mismatched, needs_reference_logps, on_policy
from redistill.train.packing import epoch_order, first_fit_decreasing, num_steps, rows_of_step

COUNTS = (1, 2, 4, 8)  # of GPUs
SHOWN_STEPS = 40  # steps whose packs are looked at
MAX_LONGEST = 1 << 20


def forecast(
    recipe: Recipe,
    *,
    runs_dir: Path,
    gpus: Sequence[str] = ("H100",),
    price: float | None = None,
    utilisation: float = 0.35,
) -> dict[str, Any]:
    """Everything as plain data. OperatorError for a recipe that could not run, and for a GPU nobody knows.

    price: dollars an hour of one GPU, instead of those of GPUS. utilisation: the share of the GPU's peak that is reached.
    """
    known = {name: _gpu(name, price) for name in gpus}
    if not 0 < utilisation <= 1:
        raise OperatorError(f"plan --utilisation: write a share of the peak above 0 and up to 1 (got {utilisation:g}).")
    plan = make_plan(recipe)
    looked = look(plan, runs_dir / recipe.name)
    say("plan     steps, memory and operations of each stage")
    model = _skeleton(plan)
    parameters = sum(p.numel() for p in model.parameters())
    stages = {
        name: _rollout_stage(plan, name, looked, model, known, utilisation, runs_dir / recipe.name)
        if name in plan.rollouts
        else _stage(plan, name, looked, model, known, utilisation)
        for name in recipe.train
    }
    return {
        "recipe": recipe.name,
        "parameters": parameters,
        "rows": {
            "exact": looked.exact,
            "how": looked.sentence,
            "problems": looked.problems.to_json(),
            "traces": looked.traces.to_json(),
            "examples": looked.streams["examples"].amount.to_json(),
            "pairs": looked.streams["pairs"].amount.to_json(),
            "dev": looked.dev.to_json(),
            "outcomes": looked.outcomes,
            "dropped": looked.dropped,
        },
        "tokens": {name: _histogram(stream) for name, stream in looked.streams.items()},
        "stages": stages,
        "evaluate": _answers(plan, looked),
        "shows": _shows(plan, looked),
        "totals": _totals(stages, known, utilisation),
        "disk": _disk(plan, looked, parameters, stages),
        "assumed": {
            "utilisation": utilisation,
            "dollars_per_hour": {name: gpu.dollars_per_hour for name, gpu in known.items()},
            "scaling": "the work parts evenly over the GPUs",
        },
    }


def _gpu(name: str, price: float | None) -> Gpu:
    if name not in GPUS:
        raise OperatorError(f"plan --gpu: there is no {name!r}{did_you_mean(name, GPUS)}")
    if price is not None and not 0 <= price < math.inf:
        raise OperatorError(f"plan --price: write dollars an hour, 0 or more (got {price:g}).")
    gpu = GPUS[name]
    return gpu if price is None else Gpu(gpu.memory_gib, gpu.bf16_tflops, gpu.fp32_tflops, price)


def _skeleton(plan: Plan) -> Any:
    """The student without weights: its shapes only."""
    config = loading.load_config(plan.recipe.student, len(plan.tokenizer))
    with torch.device("meta"):
        return model_class(config).from_config(config, dtype=torch.float32)


def _shape(model: Any, settings: StageSettings) -> memory.Shape | None:
    """The student as memory and cost see it under a stage's settings; None where the config names no sizes."""
    parameters = trainable = sum(p.numel() for p in model.parameters())
    if settings.lora is not None:
        with torch.device("meta"):
            adapted: Any = adapted_model(model, settings, 0)
        parameters = sum(p.numel() for p in adapted.parameters())
        trainable = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
        adapted.unload()
    if settings.freeze:
        frozen = copy.deepcopy(model)
        freeze(frozen, settings.freeze)
        trainable = sum(p.numel() for p in frozen.parameters() if p.requires_grad)
    try:
        return memory.shape_of(model.config.to_dict(), parameters=parameters, trainable=trainable)
    except KeyError:
        return None


# --- a stage ----------------------------------------------------------------------------------------------------------


def _stage(
    plan: Plan, name: str, looked: Look, model: Any, gpus: Mapping[str, Gpu], utilisation: float
) -> dict[str, Any]:
    settings = plan.recipe.train[name]
    stream = looked.streams[stage_stream(plan, name)]
    limit = min(settings.max_tokens or plan.context, plan.context)
    fits = (stream.lengths.max(axis=1, initial=0) <= limit) & (stream.learned.min(axis=1, initial=1) >= 1)
    if not len(fits):
        kind = stage_stream(plan, name)
        why = ", ".join(f"{count} {reason}" for reason, count in list(looked.dropped[kind].items())[:4])
        raise OperatorError(
            f"train.{name}: no {kind} were found to train on ({why or 'nothing came in'}); {looked.sentence}."
        )
    if not fits.any():
        raise OperatorError(
            f"train.{name}: no row is left to train on ({len(fits)} {stage_stream(plan, name)} in the sample or run, of which none "
            f"has {limit} tokens or fewer, prompt and completion); {looked.sentence}."
        )
    kept = np.flatnonzero(fits)
    held: list[int] = []
    held_out = stage_stream(plan, name) in ("pairs", "labelled")
    wanted = settings.guard.held_out_pairs if settings.guard is not None and held_out else 0
    if wanted:
        _, held = hold_out_prompts([stream.prompts[n] for n in kept], wanted, plan.recipe.seed)
    trained = np.delete(kept, held)
    lengths, learned = stream.lengths[trained], stream.learned[trained]
    scale = stream.amount.value / len(fits)  # rows in all for each row seen
    in_all = {"value": len(trained), "low": len(trained), "high": len(trained)}
    spared = len(held)
    if not looked.exact:
        left = len(kept) / len(fits)
        spared = min(wanted, int(stream.amount.value * left) // 10)
        in_all = {key: max(1, round(n * left) - spared) for key, n in stream.amount.to_json().items()}
    steps = {key: _steps(settings, rows) for key, rows in in_all.items()}
    seed = plan.recipe.seed
    work = _work(lengths, learned, settings, steps["value"], seed if looked.exact else None)
    longest = int(lengths.max())
    most = min(settings.tokens_per_micro_batch, settings.batch_size * lengths.shape[1] * longest)
    figures: dict[str, Any] = {
        "objective": settings.objective.name,
        "stream": stage_stream(plan, name),
        "rows": in_all,
        "too_long": round(int((~fits).sum()) * scale),
        "held_out": spared,
        "steps": steps,
        "tokens": round(work.tokens),
        "learned_tokens": round(work.learned),
        "row_tokens": round(float(lengths.sum()) * scale),
        "reference_tokens": round(float(learned.sum()) * scale) if needs_reference_logps(plan.objectives[name]) else 0,
        "longest": longest,
        "packing": _packing(lengths, settings, steps["value"], seed),
        "micro_batch_tokens": max(longest, most),
    }
    passes, once = _passes(plan, name, lengths, learned, scale)
    return figures | _memory_and_flops(
        plan, name, model, gpus, utilisation, figures["micro_batch_tokens"], work, passes, once
    )


def _memory_and_flops(
    plan: Plan, name: str, model: Any, gpus: Mapping[str, Gpu], utilisation: float, tokens: int, work: Work,
    passes: float, once: Work | None,
) -> dict[str, Any]:  # fmt: skip
    """A stage's peak memory with micro-batches of so many tokens, and its operations, for each GPU and number of them."""
    settings = plan.recipe.train[name]
    shape = _shape(model, settings)
    figures: dict[str, Any] = {"memory": {}, "flops": None}
    if shape is None:
        return figures
    figures["memory"]["cpu"] = {"1": _memory(shape, settings, tokens, None, 1, plan.context)}
    for gpu_name, gpu in gpus.items():
        figures["memory"][gpu_name] = {
            str(count): _memory(shape, settings, tokens, gpu, count, plan.context) for count in COUNTS
        }
    figures["flops"] = {}
    for gpu_name, gpu in gpus.items():
        again = figures["memory"][gpu_name]["1"]["checkpointed_layers"] / shape.layers
        spent_flops = flops.training_flops(shape, work, extra_forwards=passes, made_again=again, reference=once)
        spent = flops.hours(
            spent_flops["total"],
            gpu,
            mixed_precision=planned_precision(settings.mixed_precision),
            utilisation=utilisation,
            gpus=1,
        )
        figures["flops"][gpu_name] = {**spent_flops, "gpu_hours": spent}
    return figures


def _rollout_stage(
    plan: Plan, name: str, looked: Look, model: Any, gpus: Mapping[str, Gpu], utilisation: float, folder: Path
) -> dict[str, Any]:
    """A stage that draws its own rows: all of it at most, for how long its answers are and which become rows shows when they
    are drawn."""
    settings = plan.recipe.train[name]
    ahead = rounds_ahead(plan, name, looked.asked[name], looked.sentence)
    whole = dict.fromkeys(("value", "low", "high"), ahead.rows)
    figures: dict[str, Any] = {
        "objective": settings.objective.name,
        "stream": "rollouts",
        "at_most": True,
        "rows": whole,
        "too_long": 0,
        "held_out": 0,
        "steps": dict.fromkeys(("value", "low", "high"), ahead.steps),
        "tokens": round(ahead.work.tokens),
        "learned_tokens": round(ahead.work.learned),
        "row_tokens": ahead.row_tokens,
        "reference_tokens": 0,  # a round's are held in memory
        "longest": ahead.longest,
        "packing": None,
        "micro_batch_tokens": max(ahead.longest, min(settings.tokens_per_micro_batch, ahead.tokens_of_a_round)),
        "rollouts": {**ahead.to_json(), "measured": measured_speed(plan, name, folder, ahead)},
    }
    passes = (0.0 if _is_linear(plan, name) else 1.0) + _beside(plan, name, stored=False)
    return figures | _memory_and_flops(
        plan,
        name,
        model,
        gpus,
        utilisation,
        figures["micro_batch_tokens"],
        ahead.work,
        passes,
        _once(plan, name, ahead),
    )


def _objective(plan: Plan, name: str) -> Any:
    """The objective as the stage runs it: train/rollout_supply.py."""
    one_update = plan.rollouts[name].settings.updates == 1
    return on_policy(plan.objectives[name]) if one_update else plan.objectives[name]


def _is_linear(plan: Plan, name: str) -> bool:
    return is_linear(_objective(plan, name)) and not any(map(reads_logps, plan.modifiers[name]))


def _once(plan: Plan, name: str, ahead: RoundsAhead) -> Work | None:
    """What runs through a model once for each round's rows: a reference, a teacher, the student before it moves."""
    bound, objective = plan.rollouts[name], _objective(plan, name)
    models = [
        any(map(needs_reference_logps, [objective, *plan.modifiers[name]])),
        bound.settings.teacher is not None,
        bound.settings.teacher is not None or needs_behaviour(objective),
    ]
    each, times = ahead.rows_once, sum(models)
    return Work(each.tokens * times, each.learned * times, each.squares * times) if times else None


def _is_stored(measure: Measure) -> bool:
    """True for a teacher that says its likeliest tokens once, where rows are there before training."""
    return measure.of == "teacher" and measure.top_k is not None


def _beside(plan: Plan, name: str, *, stored: bool) -> float:
    """Forward passes of models that run beside the student in every step, as if they were of its size."""
    measures = measures_of([plan.objectives[name], *plan.modifiers[name]]).values()
    return float(sum(bool(m.of) and not (stored and _is_stored(m)) for m in measures))


def _steps(settings: StageSettings, rows: int) -> int:
    return num_steps(num_rows=rows, batch_size=settings.batch_size, epochs=settings.epochs, steps=settings.steps)


def _work(lengths: np.ndarray, learned: np.ndarray, settings: StageSettings, steps: int, seed: int | None) -> Work:
    """Sums over all steps: of the very rows in their order where `seed` says that these are all there are, else of as many
    rows like them."""
    places = steps * settings.batch_size
    if seed is None:
        weights = np.full(len(lengths), places / len(lengths))
    else:
        epochs, rest = divmod(places, len(lengths))
        weights = np.full(len(lengths), float(epochs))
        weights[epoch_order(seed, epochs, len(lengths))[:rest]] += 1
    squares = (lengths.astype(np.float64) ** 2).sum(axis=1)
    return Work(float(weights @ lengths.sum(axis=1)), float(weights @ learned.sum(axis=1)), float(weights @ squares))


def _packing(lengths: np.ndarray, settings: StageSettings, steps: int, seed: int) -> dict[str, float]:
    """What packing saves, over some steps: the share of a batch padded to its longest sequence that would be padding; and the
    micro-batches that a step is packed into."""
    real = padded = bins = 0
    looked = range(0, steps, max(1, steps // SHOWN_STEPS))
    for step in looked:
        batch = rows_of_step(seed=seed, step=step, batch_size=settings.batch_size, num_rows=len(lengths))
        sizes = lengths[batch].reshape(-1)
        real, padded = real + int(sizes.sum()), padded + int(sizes.max()) * len(sizes)
        bins += len(first_fit_decreasing(sizes.tolist(), settings.tokens_per_micro_batch))
    return {
        "saved_share_of_padded": 1 - real / padded,
        "micro_batches_per_step": bins / len(looked),
        "steps": len(looked),
    }


def _passes(plan: Plan, name: str, lengths: np.ndarray, learned: np.ndarray, scale: float) -> tuple[float, Work | None]:
    """(forward passes besides each step's own, what a reference runs through once): train/step.py, train/reference.py."""
    objective, modifiers = plan.objectives[name], plan.modifiers[name]
    alone = is_linear(objective) and not any(map(reads_logps, modifiers))
    if not alone and int(lengths.sum(axis=1).max()) <= plan.recipe.train[name].tokens_per_micro_batch:
        alone = gradient_is_row_local(objective, tuple(modifiers))
    forwards = (
        (0.0 if alone else 1.0) + (0.5 if needs_mismatched(objective) else 0.0) + _beside(plan, name, stored=True)
    )
    measures = measures_of([objective, *modifiers])
    if not (needs_reference_logps(objective) or any(map(_is_stored, measures.values()))):
        return forwards, None
    squares = float((lengths.astype(np.float64) ** 2).sum())
    return forwards, Work(lengths.sum() * scale, learned.sum() * scale, squares * scale)


# --- memory -----------------------------------------------------------------------------------------------------------


def _memory(
    shape: memory.Shape, settings: StageSettings, tokens: int, gpu: Gpu | None, count: int, context: int
) -> dict[str, Any]:
    """Peak bytes on each of `count` GPUs (None: this machine's CPU) by component, with what the stage would choose."""
    available = available_bytes(torch.device("cpu")) if gpu is None else int(gpu.memory_gib * 2**30)
    if settings.memory_gib is not None:
        available = int(settings.memory_gib * 2**30)
    chosen = _chosen(shape, settings, tokens, gpu, count, available)
    low, high = 0, min(MAX_LONGEST, context)
    while low < high:  # the longest sequence of which one alone fits, whatever may be saved for it
        middle = (low + high + 1) // 2
        fits = _chosen(shape, _saving(settings), middle, gpu, count, available).fits
        low, high = (middle, high) if fits else (low, middle - 1)
    return {
        "layout": chosen.setup.layout,
        "checkpointed_layers": chosen.setup.checkpointed_layers,
        "offload_optimizer": chosen.setup.offload_optimizer,
        "bytes": chosen.need,
        "total": chosen.total,
        "available": available,
        "fits": chosen.fits,
        "sentence": chosen.sentence,
        "longest_that_fits": low,
    }


def _saving(settings: StageSettings) -> StageSettings:
    """The same with all activations made again, where the stage may choose."""
    return settings.model_copy(
        update={"gradient_checkpointing": True} if settings.gradient_checkpointing == "auto" else {}
    )


def _chosen(
    shape: memory.Shape, settings: StageSettings, tokens: int, gpu: Gpu | None, count: int, available: int
) -> memory.Choice:
    """What the stage would do; of several GPUs DDP where that fits with nothing saved or where the recipe says so."""
    wanted = settings.distributed
    slices = (
        settings.optimizer == "adamw" and settings.offload_optimizer is not True
    )  # else FSDP2 is refused: train/fit.py
    layouts = ["alone"] if count == 1 else ["ddp", "fsdp2"][: 1 + slices] if wanted == "auto" else [wanted]
    chosen = []
    for layout in layouts:
        setup = memory.Setup(
            tokens=tokens,
            mixed_precision=planned_precision(settings.mixed_precision),
            optimizer=settings.optimizer,
            layout=layout,
            ranks=count,
            device="cpu" if gpu is None else "cuda",
        )
        may_offload = gpu is not None and layout != "fsdp2" and settings.optimizer == "adamw"
        choice = memory.choose(
            shape,
            setup,
            available=available,
            checkpointing=settings.gradient_checkpointing,
            offload=settings.offload_optimizer,
            may_offload=may_offload,
        )
        saves = choice.setup.checkpointed_layers > 0 or choice.setup.offload_optimizer
        if choice.fits and not saves:
            return choice
        chosen.append(choice)
    fitting = [choice for choice in chosen if choice.fits]
    return min(fitting, key=lambda choice: choice.setup.checkpointed_layers) if fitting else chosen[-1]


# --- the rest ---------------------------------------------------------------------------------------------------------


def _histogram(stream: Stream) -> dict[str, Any]:
    """Sequences by length in powers of two, those of the rows seen."""
    sizes = stream.lengths.reshape(-1)
    if not len(sizes):
        return {"sequences": 0, "bins": []}
    bits = np.floor(np.log2(np.maximum(sizes, 1))).astype(int)
    bins = [[f"{1 << b}-{(2 << b) - 1}", int((bits == b).sum())] for b in range(int(bits.min()), int(bits.max()) + 1)]
    return {
        "sequences": len(sizes),
        "bins": bins,
        "mean": float(sizes.mean()),
        **{f"p{q}": int(np.percentile(sizes, q)) for q in (50, 90, 99)},
        "max": int(sizes.max()),
    }


def _shows(plan: Plan, looked: Look) -> list[str]:
    """What the dev set can show, and what is too small (pipeline/prospects.py)."""
    streams = {name: stage_stream(plan, name) for name in plan.recipe.train}
    rows = {
        name: round(looked.streams[stream].amount.value) for name, stream in streams.items() if stream in looked.streams
    }
    has_dev = any(benchmark.is_held_out for benchmark in plan.recipe.evaluate.benchmarks)
    return prospects.lines(plan.recipe, dev=round(looked.dev.value), rows=rows, has_dev=has_dev)


def _answers(plan: Plan, looked: Look) -> dict[str, Any]:
    """The most that sampling can come to; it is bound by memory traffic, not by operations, so it has no hours here."""
    settings = plan.recipe.evaluate
    benchmarks = {b.name: looked.dev.value if b.name == "dev" and b.file is None else None for b in settings.benchmarks}
    dev = sum(count or 0 for count in benchmarks.values())
    answers = round(dev * settings.n * len(plan.scored))
    return {
        "students": plan.scored,
        "benchmarks": list(benchmarks),
        "dev_answers": answers,
        "dev_tokens_at_most": answers * settings.max_new_tokens,
        **_search(plan, answers),
    }


def _search(plan: Plan, answers: int) -> dict[str, int]:
    """What a guided search adds: tokens of all candidates, if they are as long as the ones kept, and calls of the critic."""
    if not is_guided(plan.recipe.evaluate.engine):
        return {}
    width, steps = (search_option(plan.engine, name) for name in ("candidates", "steps"))
    tokens = answers * plan.recipe.evaluate.max_new_tokens * width
    return {"dev_tokens_at_most": tokens, "candidates": width, "dev_critic_calls_at_most": answers * width * steps}


def _totals(stages: Mapping[str, Any], gpus: Mapping[str, Gpu], utilisation: float) -> dict[str, Any]:
    """Hours and dollars of all stages, for each GPU and number of them."""
    totals: dict[str, Any] = {}
    for name, gpu in gpus.items():
        if any(stage["flops"] is None for stage in stages.values()):
            continue
        gpu_hours = sum(stage["flops"][name]["gpu_hours"] for stage in stages.values())
        totals[name] = {
            "flops": sum(stage["flops"][name]["total"] for stage in stages.values()),
            "gpu_hours": gpu_hours,
            "dollars": gpu_hours * gpu.dollars_per_hour,
            "hours": {str(count): gpu_hours / count for count in COUNTS},
        }
    return totals


def _disk(plan: Plan, looked: Look, parameters: int, stages: Mapping[str, Any]) -> dict[str, int]:
    """Bytes: what a run leaves, and the most that a stage has beside it while it runs: two checkpoints (of all weights and their
    moments; a LoRA adapter's are small), its encoded rows, and a reference's log-probs. rollouts: the answers that stages draw, at
    most: an id, a log-prob and about four characters for each token."""
    students, while_training = 0, 0
    for name, settings in plan.recipe.train.items():
        students += parameters * (2 if settings.save_dtype == "bfloat16" else 4)
        state = parameters * (12 if settings.optimizer == "adamw" else 6) if settings.lora is None else 0
        while_training = max(
            while_training, 2 * state + 4 * (stages[name]["row_tokens"] + stages[name]["reference_tokens"])
        )
    sampled = sum(s["rollouts"]["generated_tokens_at_most"] for s in stages.values() if "rollouts" in s)
    return {
        "stages": looked.disk_bytes,
        "students": students,
        "while_training": while_training,
        "rollouts": 12 * sampled,
    }
