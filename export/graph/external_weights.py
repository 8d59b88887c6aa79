"""External weights: stored once for several readers, in a file that both ONNX and safetensors can read.

An ONNX model may name a file, an offset and a length for a weight. A safetensors file is a header and then plain
tensors, so that the same file serves both: it is read by name, or by offset.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save

from runtime.engines.backends.eager import SCALE_SUFFIX
from runtime.engines.dtypes import DTYPES

THRESHOLD = 1024
"""Least bytes of a weight that is moved out of its model."""


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in a file."""

    offset: int
    """Bytes in front of it."""
    length: int
    """Its bytes."""
    dtype: str
    """Its type, as safetensors names it."""
    shape: tuple[int, ...]
    """Its sizes."""


@dataclass(frozen=True)
class WeightsFile:
    """A safetensors file beside models: its name and the place of every tensor in it."""

    name: str
    """As the models give it."""
    places: Mapping[str, Place]
    """By the tensors' names."""

    @classmethod
    def of(cls, name: str, head: bytes) -> "WeightsFile":
        """Return the places in a safetensors file, read from its first bytes, which include the header."""
        # Offsets in the header count from its end, those in an ONNX model from the beginning of the file.
        size = int.from_bytes(head[:8], "little")
        header = json.loads(head[8 : 8 + size])
        places = {}
        for tensor, entry in header.items():
            if tensor != "__metadata__":
                begin, end = entry["data_offsets"]
                places[tensor] = Place(8 + size + begin, end - begin, entry["dtype"], tuple(entry["shape"]))
        return cls(name, places)

    @classmethod
    def of_model(cls, name: str, content: bytes) -> "WeightsFile":
        """Return the places of the int8 weights in an ONNX file that has its weights inside.

        Only these: their places need no alignment, which nothing in such a file has.
        """
        places = {}
        at = 0
        for weight in onnx.load_from_string(content).graph.initializer:
            if weight.data_type != TensorProto.INT8 or len(weight.raw_data) < THRESHOLD:
                continue
            # Initializers lie in the file in their order, so each is looked for behind the one before.
            at = content.index(weight.raw_data, at)
            places[weight.name] = Place(at, len(weight.raw_data), "I8", tuple(weight.dims))
            at += len(weight.raw_data)
        return cls(name, places)


_TYPES = {dtype.safetensors: dtype.onnx for dtype in DTYPES.values()}
"""ONNX' number of each type that a safetensors file may have."""


def externalize_weights(models: Mapping[str, onnx.ModelProto], file: str) -> tuple[dict[str, onnx.ModelProto], bytes]:
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
            # By content, not by name: two exports of one matrix have names of their own.
            key = hashlib.sha256(f"{value.dtype} {value.shape}".encode() + value.tobytes()).hexdigest()
            if key not in names:
                # The exporter's names repeat between models for weights that differ.
                names[key] = weight.name if weight.name not in tensors else f"{role}.{weight.name}"
                tensors[names[key]] = torch.from_numpy(value.copy())
            moved.append((weight, names[key]))
    content = save(tensors)
    places = WeightsFile.of(file, content).places
    for weight, name in moved:
        _move_out(weight, file, places[name])
    return copies, content


def _move_out(weight: TensorProto, file: str, place: Place) -> None:
    """Make a weight name its place in a file instead of holding its values."""
    # Values may be in any of these fields, and one left behind would keep the weight inside.
    for name in ("raw_data", "float_data", "int32_data", "int64_data"):
        weight.ClearField(name)
    del weight.external_data[:]
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", place.offset), ("length", place.length)):
        weight.external_data.add(key=key, value=str(value))


def refer_to_file(model: onnx.ModelProto, stored: WeightsFile, content: bytes) -> None:
    """Make each weight of a model whose bytes also lie in a file refer to their place there.

    Args:
        model: changed in place; its weights inside.
        stored: the file.
        content: of the file.
    """
    places = {hashlib.sha256(content[p.offset : p.offset + p.length]).digest(): p for p in stored.places.values()}
    for weight in model.graph.initializer:
        value = numpy_helper.to_array(weight)
        # Single numbers stay inside: equal ones are equal by chance, and parsers want shapes and axes at hand.
        place = places.get(hashlib.sha256(value.tobytes()).digest()) if value.size > 1 else None
        # Equal bytes of another type are other numbers: int8 and uint8 codes, say.
        if place is not None and _TYPES.get(place.dtype) == weight.data_type:
            _move_out(weight, stored.name, place)


def take_weights_in(model: onnx.ModelProto, files: Mapping[str, bytes]) -> None:
    """Put the weights of a model that lie in files into it.

    Args:
        model: changed in place.
        files: content of each file that it names.
    """
    for weight in model.graph.initializer:
        if weight.data_location != TensorProto.EXTERNAL:
            continue
        place = {entry.key: entry.value for entry in weight.external_data}
        offset, content = int(place.get("offset", 0)), files[place["location"]]
        end = offset + int(place["length"]) if "length" in place else len(content)
        del weight.external_data[:]
        weight.data_location = TensorProto.DEFAULT
        weight.raw_data = content[offset:end]


def inputs_to_weights(
    model: onnx.ModelProto, inputs: Mapping[str, str], constants: Mapping[str, torch.Tensor], stored: WeightsFile
) -> None:
    """Turn inputs of a model into weights that lie in a file; operators in the model unpack them to float32.

    Args:
        model: changed in place.
        inputs: for each such input the tensor's name in the file.
        constants: inputs that become weights inside the model.
        stored: the file: float32, float16 and bfloat16 tensors, and int8 ones with a `.scale`.
    """
    graph = model.graph
    used = {name for node in graph.node for name in node.input}
    rest = [value for value in graph.input if value.name not in inputs and value.name not in constants]
    del graph.input[:]
    graph.input.extend(rest)
    for name, value in constants.items():
        if name in used:
            graph.initializer.append(numpy_helper.from_array(value.detach().float().numpy(), name))
    nodes = []
    for name, stored_name in inputs.items():
        if name in used:  # in front of their readers: ONNX wants nodes in order
            nodes += _unpack(graph, name, stored_name, stored)
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


def _unpack(graph: onnx.GraphProto, name: str, stored_name: str, stored: WeightsFile) -> list[onnx.NodeProto]:
    """Add the initializers of one weight; return the operators that make it float32."""
    place = stored.places[stored_name]
    if place.dtype == "F32":
        _add(graph, name, place, place.shape, stored.name)
        return []
    _add(graph, f"{name}.stored", place, place.shape, stored.name)
    if place.dtype != "I8":
        return [helper.make_node("Cast", [f"{name}.stored"], [name], to=TensorProto.FLOAT)]
    # The file has the steps flat; a weight's first axis is its output channel, so ones behind make them broadcast.
    scale = stored.places[stored_name + SCALE_SUFFIX]
    _add(graph, f"{name}.step", scale, (*scale.shape, *[1] * (len(place.shape) - 1)), stored.name)
    return [
        helper.make_node("Cast", [f"{name}.stored"], [f"{name}.values"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}.values", f"{name}.step"], [name]),
    ]


def _add(graph: onnx.GraphProto, name: str, place: Place, shape: tuple[Any, ...], file: str) -> None:
    weight = graph.initializer.add(name=name, dims=shape, data_type=_TYPES[place.dtype])
    _move_out(weight, file, place)
