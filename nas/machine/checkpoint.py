"""Tensors and plain values on disk as one long tensor a type and one text: a state of some hundred tensors is written
and read many times faster so than tensor by tensor."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.machine.folders import write_bytes_atomically

Tensors = dict[str, Tensor]


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Those of the tensors by name: two networks whose states agree in them can hold each other's."""
    return {name: tensor.shape for name, tensor in tensors.items()}


def write_checkpoint(path: Path, values: Mapping[str, Any], groups: Mapping[str, Tensors]) -> None:
    """Replaces the file in one step. `values` are what JSON knows; every tensor fills its memory without gaps.

    What is stored are the values in the order in which they lie in memory, so that the layout of each tensor comes
    back: the kernels of an optimiser that works on several at once take it for granted that layouts agree.
    """
    parts: dict[str, list[Tensor]] = {}
    described: dict[str, list[Any]] = {}
    for group, tensors in groups.items():
        described[group] = []
        for name, tensor in tensors.items():
            dtype = str(tensor.dtype).removeprefix("torch.")
            parts.setdefault(dtype, []).append(tensor.detach().as_strided((tensor.numel(),), (1,)))
            described[group].append([name, dtype, tensor.shape, tensor.stride()])
    text = json.dumps({"values": values, "groups": described})
    write_tensors(path, {"text": text, "long": {dtype: torch.cat(each) for dtype, each in parts.items()}})


def write_tensors(path: Path, content: Any) -> None:
    """Replaces the file in one step by what torch.save makes of the content. OSError where it cannot be written, which
    torch's own writer would call a RuntimeError."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes_atomically(path, buffer.getbuffer())


class DamagedCheckpointError(ValueError):
    """A file that is no checkpoint, or no longer."""


def read_checkpoint(path: Path, device: torch.device) -> tuple[dict[str, Any], dict[str, Tensors]]:
    """Values and groups of tensors, as they were written, on the device. Raises DamagedCheckpointError, and OSError
    where the file cannot be read at all."""
    try:
        return _read(path, device)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever the bytes of a damaged file make torch.load and json stumble over
        raise DamagedCheckpointError(f"{path} is damaged: {error!r:.100}") from error


def _read(path: Path, device: torch.device) -> tuple[dict[str, Any], dict[str, Tensors]]:
    stored = torch.load(path, map_location=device, weights_only=True)
    text, long = json.loads(stored["text"]), stored["long"]
    begun = dict.fromkeys(long, 0)
    groups: dict[str, Tensors] = {}
    for group, described in text["groups"].items():
        groups[group] = {}
        for name, dtype, shape, strides in described:
            groups[group][name] = long[dtype].as_strided(shape, strides, begun[dtype]).clone()
            begun[dtype] += torch.Size(shape).numel()
    return text["values"], groups
