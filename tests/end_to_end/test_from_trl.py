"""examples/from_trl.py: every argument of TRL's DPO is translated, refused, or known to change nothing that is learned; and a DPO run of
TRL and the recipe made of its config end with the same student."""

import dataclasses
import importlib.util
import json
import os
import string
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import redistill
from redistill.model.loading import character_tokenizer

SCRIPT = Path(__file__).parents[2] / "examples/from_trl.py"
SPEC = importlib.util.spec_from_file_location("from_trl", SCRIPT)
assert SPEC and SPEC.loader
from_trl = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(from_trl)

# Arguments of TRL 1.16 and transformers 5.23, read one by one: devices, speed, logging, evaluation during training, saving, the hub, and
# the details of losses that the script refuses by another argument.
UNUSED_ARGUMENTS = """
accelerator_config activation_checkpointing activation_checkpointing_kwargs activation_offloading auto_find_batch_size
average_tokens_across_devices batch_eval_metrics bf16_full_eval bnb_4bit_quant_storage bnb_4bit_quant_type data_seed
dataloader_in_order dataloader_multiprocessing_context dataloader_num_workers dataloader_persistent_workers dataloader_pin_memory
dataloader_prefetch_factor dataset_num_proc dataset_test_split ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb
ddp_find_unused_parameters ddp_static_graph ddp_timeout debug disable_tqdm discopop_tau do_eval do_predict do_train
enable_jit_checkpoint eval_accumulation_steps eval_delay eval_do_concat_batches eval_on_start eval_steps eval_strategy
eval_use_gather_object f_alpha_divergence_coef fp16_full_eval fsdp_config full_determinism gradient_checkpointing
gradient_checkpointing_kwargs greater_is_better hub_always_push hub_model_id hub_private_repo hub_revision hub_strategy hub_token
ignore_bias_buffers ignore_data_skip include_for_metrics include_num_input_tokens_seen label_names length_column_name
liger_kernel_config local_rank log_level log_level_replica log_on_each_node logging_first_step logging_nan_inf_filter logging_steps
logging_strategy lora_task_type metric_for_best_model output_dir pad_to_multiple_of pad_token padding_free
per_device_eval_batch_size precompute_ref_batch_size precompute_ref_log_probs prediction_loss_only project ref_model_mixup_alpha
ref_model_sync_steps remove_unused_columns restore_callback_states_from_checkpoint save_on_each_node save_only_model save_total_limit
skip_memory_metrics tf32 torch_compile_backend torch_compile_mode torch_empty_cache_steps trackio_bucket_id trackio_space_id
trackio_static_space_id use_bnb_nested_quant use_cache use_cpu use_liger_kernel
"""
UNUSED = set(UNUSED_ARGUMENTS.split())

CHAT = [{"role": "user", "content": "2+2?"}]
ROW = {
    "prompt": CHAT,
    "chosen": [{"role": "assistant", "content": "4"}],
    "rejected": [{"role": "assistant", "content": "5"}],
}


@pytest.fixture
def pairs(tmp_path) -> str:
    """Six pairs, two of them for one prompt."""
    rows = [{**ROW, "prompt": [{"role": "user", "content": f"{max(i, 1)}+2?"}]} for i in range(6)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "pairs.jsonl")


def test_every_argument_of_trl_is_accounted_for_and_its_default_is_the_one_the_script_assumes():
    trl = pytest.importorskip("trl")
    fields = {
        field.name: field
        for kind in (trl.DPOConfig, trl.ModelConfig, trl.ScriptArguments)
        for field in dataclasses.fields(kind)
    }
    known = from_trl.TRANSLATED | from_trl.FIXED.keys() | from_trl.NOTED.keys() | UNUSED
    assert fields.keys() == known
    assumed = {**from_trl.FIXED, **{name: usual for name, (usual, _) in from_trl.NOTED.items()}}
    assert {name: fields[name].default for name in assumed} == assumed
    assert {f.name for f in dataclasses.fields(trl.DPOConfig)} >= from_trl.TRANSLATED - {"dataset_name"} - {
        f.name for f in dataclasses.fields(trl.ModelConfig)
    } - {"dataset_train_split"}


def test_an_empty_config_gives_the_defaults_of_trl(pairs):
    trl = pytest.importorskip("trl")
    usual = {field.name: field.default for field in dataclasses.fields(trl.DPOConfig)}
    recipe, notes = from_trl.recipe_of({"dataset_name": pairs, "model_name_or_path": "m"})
    stage = recipe["train"]["dpo"]
    assert stage["objective"] == {"name": "dpo", "beta": usual["beta"]}
    assert (stage["batch_size"], stage["epochs"]) == (
        usual["per_device_train_batch_size"],
        usual["num_train_epochs"],
    )
    for ours, theirs in {
        "learning_rate": "learning_rate", "weight_decay": "weight_decay", "beta1": "adam_beta1", "beta2": "adam_beta2", "eps": "adam_epsilon",
        "max_grad_norm": "max_grad_norm", "max_tokens": "max_length", "save_every": "save_steps",
    }.items():  # fmt: skip
        assert stage[ours] == usual[theirs], ours
    assert stage["decay"] == usual["lr_scheduler_type"] and recipe["seed"] == usual["seed"]
    assert recipe["prompt"] == {"template": "bare", "chat": True}
    assert recipe["select"]["pairing"]["max_pairs"] == 2  # prompts 1+2 twice, the others once
    assert [note.partition(":")[0] for note in notes] == ["max_length"]


def test_a_config_file_becomes_a_recipe_that_redistill_accepts(pairs, tmp_path):
    config = {
        "model_name_or_path": "org/model", "model_revision": "abc", "dataset_name": pairs, "loss_type": ["sigmoid", "sft"],
        "loss_weights": [1.0, 0.2], "beta": 0.05, "learning_rate": 5e-7, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 3,
        "max_steps": 40, "warmup_steps": 7, "lr_scheduler_type": "cosine", "optim": "adamw_torch", "bf16": True, "max_length": 512,
        "use_peft": True, "lora_r": 8, "report_to": ["trackio"], "run_name": "team/dpo", "logging_steps": 1, "gradient_checkpointing": True,
        "deepspeed": "zero3.json",
    }  # fmt: skip
    (tmp_path / "dpo.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, str(SCRIPT), "--config", "dpo.yaml", "--out", "recipe.yaml", "--processes", "4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    recipe = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    stage = recipe["train"]["dpo"]
    assert stage["objective"] == {"name": "irpo", "beta": 0.05, "alpha": 0.2} and stage["batch_size"] == 2 * 3 * 4
    assert int(stage["warmup"] * 40) == 7 and stage["steps"] == 40 and "epochs" not in stage
    assert recipe["name"] == "team-dpo" and recipe["student"] == {"model": "org/model", "revision": "abc"}
    assert "DeepSpeed is not supported" in done.stderr and "not used" in done.stderr and "logging_steps" in done.stderr
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode != 0 and "recipe.yaml exists" in again.stderr

    from redistill.api import validate

    assert validate(tmp_path / "recipe.yaml") is not None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"loss_type": "ipo"}, "averages it over tokens"),
        ({"loss_type": ["hinge"]}, "no such objective"),
        ({"f_divergence_type": "forward_kl"}, "f_divergence_type"),
        ({"sync_ref_model": True}, "sync_ref_model"),
        ({"fp16": True}, "fp16"),
        ({"load_in_4bit": True}, "LoRA"),
        ({"optim": "lion_8bit"}, "adamw_8bit"),
        ({"lr_scheduler_type": "polynomial"}, "cosine"),
        ({"model_name_or_path": None}, "--model"),
    ],
)
def test_what_would_change_the_loss_stops_the_script(pairs, change, says):
    with pytest.raises(SystemExit, match=says):
        from_trl.recipe_of({"dataset_name": pairs, "model_name_or_path": "m", **change})


TRAIN = """\
import json, sys
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

config = json.load(open("dpo.json"))
rows = [json.loads(line) for line in open("pairs.jsonl")]
arguments = DPOConfig(**{k: v for k, v in config.items() if k not in ("dataset_name", "model_name_or_path")}, output_dir="trl")
trainer = DPOTrainer(model=AutoModelForCausalLM.from_pretrained("student"), args=arguments, train_dataset=Dataset.from_list(rows),
                     processing_class=AutoTokenizer.from_pretrained("student"))
trainer.train()
trainer.save_model("trl/student")
"""


@pytest.mark.recipes
def test_trl_and_the_recipe_end_with_the_same_student(tmp_path):
    """Four steps of DPO on all eight pairs at once, so that the order of rows has no part in it."""
    pytest.importorskip("trl")
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM

    from redistill import api

    tokenizer = character_tokenizer(string.printable)
    torch.manual_seed(0)
    shape = AutoConfig.for_model("llama", vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                                 num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=128)  # fmt: skip
    AutoModelForCausalLM.from_config(shape).save_pretrained(tmp_path / "student")
    tokenizer.save_pretrained(tmp_path / "student")
    rows = [{"prompt": f"{i}+{i}=", "chosen": f"{2 * i}", "rejected": f"{2 * i + 1} or so"} for i in range(8)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "model_name_or_path": "student", "dataset_name": "pairs.jsonl", "per_device_train_batch_size": 8, "max_steps": 4, "learning_rate": 1e-2,
        "beta": 0.3, "bf16": False, "use_cpu": True, "report_to": "none", "save_strategy": "no", "max_grad_norm": 0.5, "weight_decay": 0.1,
        "gradient_checkpointing": False, "max_length": 100,
    }  # fmt: skip
    (tmp_path / "dpo.json").write_text(json.dumps(config))
    (tmp_path / "train.py").write_text(TRAIN)
    environment = {**os.environ, "PYTHONPATH": str(Path(redistill.__file__).parents[1]), "HF_HUB_OFFLINE": "1",
                   "HF_DATASETS_CACHE": str(tmp_path / "cache"), "TRL_EXPERIMENTAL_SILENCE": "1"}  # fmt: skip
    for command in (["train.py"], [str(SCRIPT), "--config", "dpo.json", "--out", "recipe.yaml"]):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    recipe = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    recipe["student"]["model"] = str(tmp_path / "student")
    recipe["corpus"]["sources"][0]["path"] = str(tmp_path / "pairs.jsonl")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    run = api.run(tmp_path / "recipe.yaml", runs_dir=tmp_path / "runs")
    before, theirs, ours = (
        load_file(folder / "model.safetensors")
        for folder in (tmp_path / "student", tmp_path / "trl/student", run / "train/dpo/model")
    )
    assert before.keys() <= theirs.keys() and ours.keys() >= before.keys()
    for name, start in before.items():
        moved = (theirs[name] - start).abs().max()
        assert (ours[name] - theirs[name]).abs().max() < 2e-3 * moved, name
        assert moved > 1e-2, name
