"""Store weights that several models use once, in a file beside them that ONNX and safetensors both can read.

An ONNX model may name a file, an offset and a length for a weight. A safetensors file is a header and then plain
tensors, so that the same file serves both: it is read by name, or by offset.
"""

import hashlib
import json
from collections.abc import Mapping

import onnx
import torch
from onnx import TensorProto, numpy_helper
from safetensors.torch import save

THRESHOLD = 1024
"""Least bytes of a weight that is moved out of its model."""


def share_weights(models: Mapping[str, onnx.ModelProto], file: str) -> tuple[dict[str, onnx.ModelProto], bytes]:
    """Return copies of models that name their large weights in a file, and the file's content.

    Equal weights are stored once, under the name that they have in the first model.

    Args:
        models: their weights inside.
        file: the file's name, as the models will give it.
    """
    copies = {role: onnx.ModelProto.FromString(model.SerializeToString()) for role, model in models.items()}
    names: dict[str, str] = {}
    tensors: dict[str, torch.Tensor] = {}
    moved: list[tuple[TensorProto, str]] = []
    for role, model in copies.items():
        for weight in model.graph.initializer:
            value = numpy_helper.to_array(weight)
            if value.nbytes < THRESHOLD:
                continue
            key = hashlib.sha256(f"{value.dtype} {value.shape}".encode() + value.tobytes()).hexdigest()
            if key not in names:
                names[key] = weight.name if weight.name not in tensors else f"{role}.{weight.name}"
                tensors[names[key]] = torch.from_numpy(value.copy())
            moved.append((weight, names[key]))
    content = save(tensors)
    places = _places(content)
    for weight, name in moved:
        _move_out(weight, file, *places[name])
    return copies, content


def _places(content: bytes) -> dict[str, tuple[int, int]]:
    """Return offset and length of each tensor in a safetensors file."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    ranges = {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}
    return {name: (8 + size + begin, end - begin) for name, (begin, end) in ranges.items()}


def _move_out(weight: TensorProto, file: str, offset: int, length: int) -> None:
    """Make a weight name its place in a file instead of holding its values."""
    for name in ("raw_data", "float_data", "int32_data", "int64_data"):
        weight.ClearField(name)
    del weight.external_data[:]
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", offset), ("length", length)):
        weight.external_data.add(key=key, value=str(value))
