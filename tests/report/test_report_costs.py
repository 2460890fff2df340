"""What a run cost, by hand; and a checkpoint's size from the header of its weights alone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from redistill.report.blocks import Table, Text
from redistill.report.files import RunFiles
from redistill.report.sections.costs import costs, gpu_of, model_shape, stage_cost


def write_model(folder: Path) -> None:
    """2 layers of width 4; 7 x 4 and 10 numbers are 38 parameters."""
    folder.mkdir(parents=True)
    tensors = {"embed": np.zeros((7, 4), np.float32), "norm": np.zeros(10, np.float32)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text('{"num_hidden_layers": 2, "hidden_size": 4}')


@pytest.fixture
def trained(run_folder: Path, tmp_path: Path) -> Path:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    write_model(run / "train/sft/model")
    recipe = (run / "recipe.yaml").read_text().replace("    start: base\n", "    start: base\n    batch_size: 9\n")
    (run / "recipe.yaml").write_text(recipe)
    return run


def test_the_size_of_a_model_is_read_off_its_header(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    assert model_shape(tmp_path / "model") == {"parameters": 38, "layers": 2, "width": 4}
    assert model_shape(tmp_path) is None
    (tmp_path / "model/config.json").write_text('{"d_model": 4}')
    assert model_shape(tmp_path / "model") is None


def test_flops_are_six_a_parameter_and_token_and_the_attention_of_a_mean_row(trained: Path) -> None:
    cost = stage_cost(RunFiles(trained), "sft")
    assert cost is not None and cost.tokens == 300 * 8100 and cost.seconds == pytest.approx(300 * 0.2)
    # 8,100 tokens a step in 9 rows: 900 a row; 6 * 38 + 6 * 2 layers * 4 wide * 900 = 43,428 a token
    assert cost.flops == pytest.approx(300 * 8100 * 43_428)
    assert cost.device_hours == pytest.approx(60 / 3600)


def test_steps_that_a_guard_went_back_behind_cost_too(run_folder: Path) -> None:
    cost = stage_cost(RunFiles(run_folder), "redi")
    assert cost is not None and cost.tokens == (120 + 10) * 8100 and cost.flops is None  # no student in this folder


def test_the_share_of_the_peak_is_shown_for_a_known_gpu_and_left_out_otherwise(trained: Path) -> None:
    record = json.loads((trained / "run.json").read_text())
    table, note = costs(RunFiles(trained))
    assert isinstance(table, Table) and isinstance(note, Text)
    assert table.rows[0][6] is None and "no GPU was used" in note.text and "process-hours" in table.head
    del record["checksum"]
    record["hardware"]["gpus"] = ["NVIDIA H100 80GB HBM3"]
    (trained / "run.json").write_text(json.dumps(record))
    ledger = {"start": "base", "device": "cuda:0", "processes": 2}
    (trained / "train/sft/ledger.json").write_text(json.dumps(ledger))
    table, note = costs(RunFiles(trained))
    assert isinstance(table, Table) and isinstance(note, Text) and "989 TFLOP/s" in note.text
    assert table.rows[0][3] == "0.0333" and "GPU-hours" in table.head  # 60 s on two
    (trained / "train/sft/metrics.jsonl").write_text('{"step": 1, "tokens": 9e6, "seconds": 100.0}\n')
    table, _ = costs(RunFiles(trained))
    # 1e6 tokens a row: 9e6 * (6 * 38 + 6 * 2 * 4 * 1e6) = 4.32e14 FLOP; 100 s on two GPUs of 67e12 in fp32: 1.34e16
    assert isinstance(table, Table) and table.rows[0][6] == "3.2%"


def test_data_sheets_are_found_by_the_name_that_the_driver_gives() -> None:
    names = (
        "NVIDIA H100 80GB HBM3",
        "NVIDIA A100-SXM4-80GB",
        "NVIDIA GeForce RTX 4090",
        "NVIDIA H100 PCIe",
        "Some Card",
    )
    found = [gpu_of(name) for name in names]
    assert [gpu and gpu.bf16_tflops for gpu in found] == [989.0, 312.0, 165.2, None, None]
