"""Networks too large to be held as bytes: weights go to disk tensor by tensor, and the graph names their places.

`weights.safetensors` is written once for the ONNX graph, which reads by offset, and the PyTorch twin, which reads by
name. Nothing is copied on the way but one tensor at a time, so that an export takes the memory of the weights and
little more, and protobuf's 2 GB bound no network.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor

from export.cut import Cut, gradient_files
from export.graph.shared import Stored
from export.graph.trace import pin, strip, trace
from runtime.engines.backends.base import dtype_name
from runtime.engines.dtypes import DTYPES
from runtime.engines.spec import WEIGHTS, EngineSpec
from runtime.engines.verified_files import describe_file

FOLDED = 256
"""Most bytes of a constant that is folded while tracing: a weight that is folded would be stored twice."""

_CHUNK = 1 << 24


def write_network(cut: Cut, folder: Path) -> EngineSpec:
    """Write a network's folder, spec.json last, and return its spec with the files' hashes.

    Args:
        cut: its module holds the weights as they are to be stored; its scheme and groups are not looked at.
        folder: where; made if need be, and files of these names are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = dict(cut.module.state_dict() if cut.twin is None else cut.twin.state)
    model = trace(cut.module, cut.spec, tuple(sample[:2] for sample in cut.samples), fold=FOLDED).model
    used = _used(model, state)
    if cut.twin is None:  # what the cut leaves out, such as a last layer, is nobody's
        state = {name: state[name] for name in set(used.values())}
    places = write_safetensors(state, folder / WEIGHTS)
    _point(model, used, places)
    _write_graph(model, cut.spec, folder / "model.onnx")
    if cut.twin is not None:
        config = {"class": cut.twin.name, "arguments": dict(cut.twin.arguments)}
        (folder / "config.json").write_text(json.dumps(config, indent=1, default=list) + "\n", encoding="utf-8")
    with (folder / WEIGHTS).open("rb") as file:
        head = file.read(8)
        stored = Stored.of(WEIGHTS, head + file.read(int.from_bytes(head, "little")))
    files = {**gradient_files(cut, stored), **cut.files}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    twin = () if cut.twin is None else ("config.json",)
    names = ("model.onnx", WEIGHTS, *twin, *files)
    spec = replace(cut.spec, files={name: describe_file(folder / name) for name in names})
    (folder / "spec.json").write_text(spec.to_json(), encoding="utf-8")
    return spec


def write_safetensors(state: Mapping[str, Tensor], path: Path) -> dict[str, tuple[int, int]]:
    """Write tensors in the safetensors format one after another; return offset and length of each in the file.

    Args:
        state: on the CPU; the larger types come first, as the format wants them aligned.
        path: file to write.
    """
    names = sorted(state, key=lambda name: (-state[name].element_size(), name))
    header: dict[str, object] = {}
    end = 0
    for name in names:
        begin, end = end, end + state[name].numel() * state[name].element_size()
        shape = list(state[name].shape)
        header[name] = {
            "dtype": DTYPES[dtype_name(state[name].dtype)].safetensors,
            "shape": shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    places: dict[str, tuple[int, int]] = {}
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            start = file.tell()
            values = state[name].detach().contiguous().reshape(-1).view(torch.uint8).numpy()
            for chunk in range(0, len(values), _CHUNK):
                file.write(values[chunk : chunk + _CHUNK].data)
            places[name] = (start, len(values))
    return places


def _used(model: Any, state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return for each initializer of a traced graph that is a tensor of `state` the name of that."""
    known = {_identity(tensor): name for name, tensor in state.items()}
    raws = {name: getattr(value.const_value, "raw", None) for name, value in model.graph.initializers.items()}
    names = {name: known.get(_identity(raw)) for name, raw in raws.items() if isinstance(raw, Tensor)}
    return {name: found for name, found in names.items() if found is not None}


def _point(model: Any, used: Mapping[str, str], places: Mapping[str, tuple[int, int]]) -> None:
    """Make a graph's weights name their places in the file."""
    import onnx_ir

    for name, stored in used.items():
        value = model.graph.initializers[name]
        dtype, shape = value.const_value.dtype, value.const_value.shape
        value.const_value = onnx_ir.ExternalTensor(WEIGHTS, *places[stored], dtype, shape=shape, name=name)


def _write_graph(model: Any, spec: EngineSpec, path: Path) -> None:
    import onnx_ir

    proto = onnx_ir.to_proto(model)
    strip(proto)
    pin(proto, spec)
    path.write_bytes(proto.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(path))


def _identity(tensor: Tensor) -> tuple[int, torch.Size, torch.dtype]:
    return tensor.data_ptr(), tensor.shape, tensor.dtype


def write_if_new(role: str, key: str, make: Callable[[], Cut], work: Path, report: Callable[[str], None]) -> EngineSpec:
    """Return the spec of a network that an interrupted export left whole under the same key, else write it.

    Args:
        role: the network's; its folder has the same name.
        key: hash of all that the network is made of.
        make: makes the cut; not called for a network that is there.
        work: folder of the export.
        report: told of what is done.
    """
    note, folder = work / f"{role}.key", work / role
    if note.is_file() and note.read_text() == key and (folder / "spec.json").is_file():
        spec = EngineSpec.from_json((folder / "spec.json").read_bytes(), f"{role}/spec.json")
        if all((folder / n).is_file() and describe_file(folder / n) == f for n, f in spec.files.items()):
            report(f"{role}: written before, kept")
            return spec
    report(f"exporting {role}")
    note.unlink(missing_ok=True)
    spec = write_network(make(), folder)
    note.write_text(key)
    size = sum(file.size for file in spec.files.values())
    report(f"{role}: {size / 2**20:,.1f} MiB")
    return spec
