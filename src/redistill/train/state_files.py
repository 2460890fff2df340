"""A checkpoint's tensors as plain bytes and a JSON table of where they lie; nothing in it is a pickle.

    __0_0.bin        the bytes of rank 0's slices, one after the other
    tensors.json     {"weights.head": {"dtype": "float32", "size": [9, 4], "chunks": [{"offsets": [0, 0], "sizes": [9, 4],
                      "file": "__0_0.bin", "start": 0, "bytes": 144}]}, ...}

torch.distributed.checkpoint plans who writes and who reads which slice; its own files are pickles, and to open a pickle is
to run what it says: a run folder may come from somebody else. Its safetensors files hold all tensors in memory twice.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from redistill.errors import OperatorError

TABLE = "tensors.json"
Place = tuple[str, int, int]  # file, first byte, number of bytes


class StateWriter(dcp.FileSystemWriter):
    """Writes each rank's slices into one file of its own, and at rank 0 the table."""

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """One tensor after the other, each in host memory only while it is written."""
        name = f"{plan.storage_data.prefix}0.bin"
        results = []
        with open(Path(self.path) / name, "wb") as file:
            for item in plan.items:
                tensor = planner.resolve_data(item)
                assert isinstance(tensor, torch.Tensor), f"{item.index.fqn} is not a tensor"
                data = tensor.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8).numpy()
                results.append(WriteResult(item.index, data.nbytes, (name, file.tell(), data.nbytes)))
                file.write(data.data)
            file.flush()
            os.fsync(file.fileno())
        done: Future[list[WriteResult]] = Future()
        done.set_result(results)
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """The table of all ranks' slices."""
        places: dict[Any, Place] = {one.index: one.storage_data for rank in results for one in rank}
        table: dict[str, Any] = {}
        for name, known in metadata.state_dict_metadata.items():
            assert isinstance(known, TensorStorageMetadata), f"{name} is not a tensor"
            chunks = []
            for chunk in known.chunks:
                file, start, size = places[MetadataIndex(name, chunk.offsets)]
                where = {"file": file, "start": start, "bytes": size}
                chunks.append({"offsets": list(chunk.offsets), "sizes": list(chunk.sizes), **where})
            dtype = str(known.properties.dtype).removeprefix("torch.")
            table[name] = {"dtype": dtype, "size": list(known.size), "chunks": chunks}
        with open(Path(self.path) / TABLE, "w", encoding="utf-8") as out:
            json.dump(table, out)
            out.flush()
            os.fsync(out.fileno())


class StateReader(dcp.FileSystemReader):
    """Reads what StateWriter wrote."""

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        """The table as torch's planner wants it. OperatorError where it is not one that StateWriter wrote."""
        try:
            return self._metadata(json.loads((Path(self.path) / TABLE).read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OperatorError(
                f"{self.path} is not a checkpoint that redistill wrote ({error}); delete it and run again."
            ) from error

    def _metadata(self, table: dict[str, Any]) -> Metadata:
        known: dict[str, Any] = {}
        places: dict[MetadataIndex, Place] = {}
        for name, row in table.items():
            dtype, chunks = _dtype(row["dtype"]), []
            for chunk in row["chunks"]:
                offsets, sizes = torch.Size(chunk["offsets"]), torch.Size(chunk["sizes"])
                if Path(chunk["file"]).name != chunk["file"]:
                    raise ValueError(f"{chunk['file']} is not a file of this checkpoint")
                chunks.append(ChunkStorageMetadata(offsets, sizes))
                places[MetadataIndex(name, offsets)] = (chunk["file"], chunk["start"], chunk["bytes"])
            known[name] = TensorStorageMetadata(TensorProperties(dtype), torch.Size(row["size"]), chunks)
        return Metadata(known, storage_data=places, storage_meta=StorageMeta(load_id=self.load_id))

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *_: Any, **__: Any) -> None:
        """Keep the table for `read_data`."""
        self.storage_data: dict[MetadataIndex, Place] = metadata.storage_data
        self.known: dict[str, Any] = metadata.state_dict_metadata

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Copy the wanted part of each slice into the tensor that waits for it."""
        for item in plan.items:
            file, start, size = self.storage_data[item.storage_index]
            known = self.known[item.storage_index.fqn]
            (chunk,) = [c for c in known.chunks if c.offsets == item.storage_index.offset]
            data = np.fromfile(Path(self.path) / file, np.uint8, size, offset=start)
            tensor = torch.from_numpy(data).view(known.properties.dtype).reshape(chunk.sizes)
            for axis, (offset, length) in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
                tensor = tensor.narrow(axis, offset, length)
            target = planner.resolve_tensor(item).detach()
            target.copy_(tensor)
            planner.commit_tensor(item, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{name} is not a type of a tensor")
    return dtype
