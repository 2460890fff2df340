"""A DPO run of TRL as a recipe of redistill: its config and its preference data set in, a recipe out.

    python examples/from_trl.py --config dpo.yaml --dataset pairs.jsonl --model Qwen/Qwen2.5-0.5B-Instruct --out dpo-recipe.yaml
    redistill validate dpo-recipe.yaml && redistill run dpo-recipe.yaml

`--config` is the YAML file of `trl dpo --config`, or `DPOConfig(...).to_dict()` as JSON. What has no counterpart is named on stderr;
what would change the loss stops the script. Names are those of TRL 1.16 (a test compares them with its classes).
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import yaml

OBJECTIVES = {"sigmoid": "dpo", "sigmoid_norm": "dpo_norm", "nca_pair": "nca"}
SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant", "constant_with_warmup": "constant"}
OPTIMIZERS = {
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw",
    "adamw_8bit": "adamw_8bit",
    "adamw_bnb_8bit": "adamw_8bit",
}
TRACKERS = {"trackio", "tensorboard", "wandb"}

# What the functions below read.
TRANSLATED = {
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "beta",
    "bf16",
    "dataset_name",
    "dataset_train_split",
    "fp16",
    "gradient_accumulation_steps",
    "learning_rate",
    "load_in_4bit",
    "load_in_8bit",
    "lora_alpha",
    "lora_dropout",
    "lora_r",
    "lora_target_modules",
    "loss_type",
    "loss_weights",
    "lr_scheduler_type",
    "max_grad_norm",
    "max_length",
    "max_steps",
    "model_name_or_path",
    "model_revision",
    "num_train_epochs",
    "optim",
    "per_device_train_batch_size",
    "report_to",
    "run_name",
    "save_steps",
    "save_strategy",
    "seed",
    "use_peft",
    "warmup_steps",
    "weight_decay",
}

# Another value than this one changes what is learned, and redistill has no setting for it: the script stops.
FIXED: dict[str, Any] = {
    "f_divergence_type": "reverse_kl", "ld_alpha": None, "use_weighting": False, "sync_ref_model": False, "label_smoothing": 0.0,
    "label_smoothing_factor": 0.0, "neftune_noise_alpha": None, "router_aux_loss_coef": None, "trust_remote_code": False, "use_rslora": False,
    "use_dora": False, "lora_target_parameters": None, "lora_modules_to_save": None, "optim_target_modules": None, "optim_args": None,
    "lr_scheduler_kwargs": None,
}  # fmt: skip

# Another value than this one is said in a line; the run learns from the same rows by the same loss.
NOTED: dict[str, tuple[Any, str]] = {
    "truncation_mode": ("keep_start", "rows above `max_tokens` are dropped and counted, never cut"),
    "disable_dropout": (True, "redistill trains with the dropout of the model's config"),
    "dataset_config": (None, "name the files instead: `path: org/name:folder/*`"),
    "dataset_streaming": (False, "files are always streamed"),
    "fsdp": (None, "give it to the launcher: accelerate launch --use_fsdp --fsdp_version 2"),
    "deepspeed": (None, "DeepSpeed is not supported; use FSDP2"),
    "parallelism_config": (None, "only DDP and FSDP2 are supported"),
    "push_to_hub": (False, "redistill export RUN --to hub writes a folder for `hf upload`"),
    "load_best_model_at_end": (False, "the stage's `guard` keeps the best student"),
    "torch_compile": (False, "torch.compile is not used"),
    "train_sampling_strategy": ("random", "rows are shuffled by the seed in every epoch"),
    "dataloader_drop_last": (False, "an epoch holds whole batches only; the rest comes in the next one"),
    "attn_implementation": (None, "the attention of packed rows is chosen by the device"),
    "dtype": ("float32", "weights stay float32; `mixed_precision: bf16` computes in bf16"),
    "model_init_kwargs": (None, "write `student.revision` and `student.config_edits` by hand"),
    "resume_from_checkpoint": (None, "the same command resumes"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config", type=Path, required=True, help="YAML of `trl dpo --config`, or DPOConfig.to_dict() as JSON"
    )
    parser.add_argument(
        "--dataset",
        help="a .jsonl, .json or .parquet file with chosen and rejected (default: dataset_name of the config)",
    )
    parser.add_argument("--model", help="default: model_name_or_path of the config")
    parser.add_argument(
        "--problems", help="a file with columns problem and answer to score on; without it nothing is scored"
    )
    parser.add_argument("--processes", type=int, default=1, help="devices of the TRL run, for its batch size")
    parser.add_argument("--out", type=Path, default=Path("from-trl.yaml"))
    options = parser.parse_args()
    config = yaml.safe_load(options.config.read_text("utf-8")) or {}
    config |= {
        key: value for key, value in (("dataset_name", options.dataset), ("model_name_or_path", options.model)) if value
    }
    recipe, notes = recipe_of(config, processes=options.processes, problems=options.problems)
    if options.out.exists():
        sys.exit(f"from_trl: {options.out} exists; name another file with --out.")
    options.out.write_text(yaml.safe_dump(recipe, sort_keys=False), "utf-8")
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"wrote {options.out}; next: redistill validate {options.out}")


def recipe_of(
    config: dict[str, Any], processes: int = 1, problems: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """The recipe as plain data, and a sentence for everything that has no counterpart. SystemExit where the loss would be another."""
    check(config)
    for key in ("model_name_or_path", "dataset_name"):
        if not config.get(key):
            sys.exit(f"from_trl: the config names no {key}; give --model and --dataset.")
    rows = dict(look_at(config["dataset_name"]))
    stage = stage_of(config, processes, rows.get("count"))
    notes = [
        f"{key} = {config[key]!r}: {why}."
        for key, (usual, why) in NOTED.items()
        if config.get(key, usual) not in (usual, "", [])
    ]
    read = TRANSLATED | FIXED.keys() | NOTED.keys()
    if others := sorted(
        key for key, value in config.items() if key not in read and value not in (None, False, "", [], {})
    ):
        notes.append(f"not used (devices, logging, evaluation during training, saving, the hub): {', '.join(others)}.")
    if config.get("max_length", 1024) is not None:
        notes.append("max_length: TRL cuts longer rows, redistill drops and counts them (`max_tokens`).")
    if rows.get("count") is None:
        notes.append(
            "the data set is not a local .jsonl, .json or .parquet file: set prompt.chat and select.pairing.max_pairs by hand."
        )
    source = {"name": "preference", "path": config["dataset_name"]}
    if config.get("dataset_train_split", "train") != "train":
        source["split"] = config["dataset_train_split"]
    student = {"model": config["model_name_or_path"]}
    if config.get("model_revision", "main") != "main":
        student["revision"] = config["model_revision"]
    recipe: dict[str, Any] = {
        "name": str(config.get("run_name") or "from-trl").replace("/", "-"),
        "seed": config.get("seed", 42),
        "student": student,
        "prompt": {
            "template": "bare",
            "chat": rows.get("chat", True),
        },  # TRL applies the chat template to messages, not to text
        "corpus": {"sources": [source], "dev_fraction": 0},
        "verify": {
            "verifiers": [],
            "labels": ["teacher_label"],
            "policy": "teacher_label",
        },  # chosen is right, rejected wrong
        "select": {"pairing": {"name": "certain", "max_pairs": rows.get("most", 1)}},
        "train": {"dpo": stage},
        "evaluate": {"benchmarks": [{"name": "problems", "file": problems}] if problems else []},
    }
    trackers = config.get("report_to") or []
    trackers = [trackers] if isinstance(trackers, str) else trackers
    if tracking := [name for name in trackers if name in TRACKERS]:
        recipe["tracking"] = tracking
    return recipe, notes


def check(config: dict[str, Any]) -> None:
    """SystemExit for a value that changes what is learned and that no setting of redistill stands for."""
    for key, usual in FIXED.items():
        if config.get(key, usual) not in (usual, None, "", [], {}):
            sys.exit(f"from_trl: {key} = {config[key]!r} changes the loss, and redistill has no setting for it.")
    if config.get("fp16"):
        sys.exit("from_trl: fp16 is not supported; train in bf16 or in float32.")
    if config.get("load_in_4bit") or config.get("load_in_8bit"):
        sys.exit("from_trl: quantized base weights are not supported; use LoRA (`use_peft`) on whole weights.")


def stage_of(config: dict[str, Any], processes: int, pairs: int | None) -> dict[str, Any]:
    """The table under `train`. pairs: rows of the data set, to turn warm-up steps into a share; None: unknown."""
    batch = config.get("per_device_train_batch_size", 8) * config.get("gradient_accumulation_steps", 1) * processes
    epochs, steps = float(config.get("num_train_epochs", 3.0)), config.get("max_steps", -1)
    stage: dict[str, Any] = {"objective": objective_of(config), "start": "base", "batch_size": batch}
    stage |= {"steps": steps} if steps > 0 else {"epochs": epochs}
    stage |= {
        "learning_rate": float(config.get("learning_rate", 1e-6)),
        "warmup": warmup_of(
            config.get("warmup_steps", 0), steps if steps > 0 else pairs and math.ceil(pairs / batch * epochs)
        ),
        "decay": one_of(SCHEDULES, config, "lr_scheduler_type", "linear"),
        "optimizer": one_of(OPTIMIZERS, config, "optim", "adamw_torch_fused"),
        "weight_decay": float(config.get("weight_decay", 0.0)),
        "beta1": config.get("adam_beta1", 0.9),
        "beta2": config.get("adam_beta2", 0.999),
        "eps": float(config.get("adam_epsilon", 1e-8)),
        "max_grad_norm": float(config.get("max_grad_norm", 1.0)),
        "mixed_precision": {None: "auto", True: "bf16", False: "no"}[config.get("bf16")],
    }
    if config.get("max_length", 1024) is not None:
        stage["max_tokens"] = config.get("max_length", 1024)
    if config.get("save_strategy", "steps") == "steps" and config.get("save_steps", 500) >= 1:
        stage["save_every"] = int(config.get("save_steps", 500))
    if config.get("use_peft"):
        stage["lora"] = {"r": config.get("lora_r", 16), "lora_alpha": config.get("lora_alpha", 32)}
        stage["lora"] |= {"lora_dropout": config.get("lora_dropout", 0.05)}
        stage["lora"] |= {"target_modules": config.get("lora_target_modules") or "all-linear"}
    return stage


def objective_of(config: dict[str, Any]) -> dict[str, Any]:
    """TRL's loss by the name it has here; SystemExit for one that redistill has not, or has with another formula."""
    names = config.get("loss_type") or ["sigmoid"]
    names = [names] if isinstance(names, str) else list(names)
    weights = config.get("loss_weights") or [1.0] * len(names)
    beta = float(config.get("beta", 0.1))
    if names == ["sigmoid", "sft"] and weights[0] == 1.0:
        return {"name": "irpo", "beta": beta, "alpha": float(weights[1])}
    if len(names) == 1 and names[0] in OBJECTIVES and weights[0] == 1.0:
        return {"name": OBJECTIVES[names[0]], "beta": beta}
    why = (
        "TRL averages it over tokens, `ipo` of redistill sums as the paper does"
        if names == ["ipo"]
        else "redistill has no such objective"
    )
    sys.exit(f"from_trl: loss_type {names} with weights {weights}: {why}; see docs/how-to/from-trl.md.")


def one_of(table: dict[str, str], config: dict[str, Any], key: str, usual: str) -> str:
    if (value := config.get(key, usual)) not in table:
        sys.exit(f"from_trl: {key} = {value!r} has no counterpart; these have: {', '.join(table)}.")
    return table[value]


def warmup_of(warmup: float, steps: int | None) -> float:
    """TRL counts steps, or from 0 to below 1 a share; redistill takes a share."""
    if warmup < 1:
        return float(warmup)
    if not steps:
        sys.exit(
            f"from_trl: warmup_steps = {warmup} needs the number of steps: set max_steps, or write a share below 1."
        )
    return min(1.0, math.ceil(1e6 * warmup / steps) / 1e6)  # rounded up, since the share of the steps is rounded down


def look_at(dataset: str) -> Iterator[tuple[str, Any]]:
    """Of a local file: how many pairs, the most pairs of one prompt, and whether the rows are conversations."""
    path = Path(dataset)
    if not path.is_file() or path.suffix not in (".jsonl", ".json", ".parquet"):
        return
    if path.suffix == ".parquet":
        rows = parquet.read_table(path).to_pylist()
    else:
        text = path.read_text("utf-8")
        rows = (
            json.loads(text)
            if text.lstrip().startswith("[")
            else [json.loads(line) for line in text.splitlines() if line.strip()]
        )
    if missing := [column for column in ("chosen", "rejected") if not rows or column not in rows[0]]:
        sys.exit(f"from_trl: {dataset} has no column {', '.join(missing)}; see TRL's preference format.")
    chat = isinstance(rows[0]["chosen"], list)
    if not chat and "prompt" not in rows[0]:
        sys.exit(
            f"from_trl: {dataset} has texts without a column `prompt`; split the shared prompt off first (TRL: extract_prompt)."
        )
    prompts = Counter(json.dumps(row.get("prompt") or row["chosen"][:-1], sort_keys=True) for row in rows)
    yield from (("count", len(rows)), ("most", max(prompts.values())), ("chat", chat))


if __name__ == "__main__":
    main()
