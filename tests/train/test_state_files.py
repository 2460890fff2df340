"""A checkpoint's files: every kind of tensor comes back to the bit, and nothing in them is a pickle."""

import json
import pickletools

import pytest
import torch
import torch.distributed.checkpoint as dcp

from redistill.errors import OperatorError
from redistill.train import checkpoints
from redistill.train.state_files import StateReader, StateWriter
from redistill.train.trainer import Trainer

from .test_train_stage import stage

STATE = {
    "weights.a": torch.randn(7, 5, generator=torch.Generator().manual_seed(0)),
    "weights.half": torch.randn(3, 2, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16),
    "optimizer.step": torch.tensor(41.0),
    "optimizer.state1": torch.arange(256, dtype=torch.uint8),
    "buffers.flags": torch.tensor([True, False]),
    "buffers.count": torch.tensor(1 << 40),
    "weights.none": torch.zeros(0, 4),
    "weights.turned": torch.arange(6.0).reshape(2, 3).t(),
}


def test_every_kind_of_tensor_comes_back_to_the_bit(tmp_path):
    dcp.save(dict(STATE), storage_writer=StateWriter(tmp_path), no_dist=True)
    found = {name: torch.empty_like(tensor) for name, tensor in STATE.items()}
    dcp.load(found, storage_reader=StateReader(tmp_path), no_dist=True)
    for name, tensor in STATE.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


def test_no_file_of_a_checkpoint_is_a_pickle(tmp_path, monkeypatch):
    real = Trainer.step

    def cut(*arguments):
        if (tmp_path / "a" / "checkpoints" / "step-000004" / "done.json").exists():
            raise RuntimeError("power cut")
        return real(*arguments)

    monkeypatch.setattr(Trainer, "step", cut)
    with pytest.raises(RuntimeError):
        stage(tmp_path / "a")
    newest, _ = checkpoints.newest(tmp_path / "a" / "checkpoints")
    assert {path.name for path in newest.iterdir()} == {"__0_0.bin", "tensors.json", "random-0.json", "done.json"}
    for path in newest.iterdir():
        assert not path.read_bytes().startswith(b"PK")  # nor a zip of one, as torch.save writes
        if path.suffix == ".json":
            json.loads(path.read_text())
        else:
            with pytest.raises(Exception):  # noqa: B017 - whatever pickletools says to bytes that are not a pickle
                list(pickletools.genops(path.read_bytes()))


@pytest.mark.parametrize(
    "harm",
    [
        lambda table: {**table, "weights.a": {**table["weights.a"], "dtype": "load"}},
        lambda table: {**table, "weights.a": {**table["weights.a"], "dtype": "no_such"}},
        lambda table: {"weights.a": 3},
        lambda table: [1],
        lambda table: {"weights.a": {**table["weights.a"], "chunks": [{**table["weights.a"]["chunks"][0], "file": "../a"}]}},
    ],
)  # fmt: skip
def test_a_table_that_is_not_ours_is_a_sentence(tmp_path, harm):
    dcp.save(dict(STATE), storage_writer=StateWriter(tmp_path), no_dist=True)
    table = tmp_path / "tensors.json"
    table.write_text(json.dumps(harm(json.loads(table.read_text()))))
    with pytest.raises(OperatorError, match="is not a checkpoint that redistill wrote"):
        StateReader(tmp_path).read_metadata()
