"""Networks too large to be held as bytes: weights go to disk tensor by tensor, and the graph names their places.

`weights.safetensors` is written once for the ONNX graph, which reads by offset, and the PyTorch module, which reads by
name. Nothing is copied on the way but one tensor at a time, so that an export takes the memory of the weights and
little more, and protobuf's 2 GB bound no network.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor

from export.graph.external_weights import WeightsFile
from export.graph.trace import pin, strip, trace
from export.network import ExportedNetwork
from export.write.network import format_config, gradient_files, write_spec
from runtime.engines.backends.base import dtype_name
from runtime.engines.dtypes import DTYPES
from runtime.engines.spec import WEIGHTS, EngineSpec

FOLDED = 256
"""Most bytes of a constant that is folded while tracing: a weight that is folded would be stored twice."""

_CHUNK = 1 << 24


def write_network(network: ExportedNetwork, folder: Path) -> EngineSpec:
    """Write a network's folder, spec.json last, and return its spec with the files' hashes.

    Args:
        network: its module holds the weights as they are to be stored; nothing is quantized here.
        folder: where; made if need be, and files of these names are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    module = network.torch_module
    state = dict(network.module.state_dict() if module is None else module.state)
    samples = tuple(sample[:2] for sample in network.samples)
    model = trace(network.module, network.spec, samples, fold=FOLDED).model
    used = _used(model, state)
    if module is None:  # what the graph leaves out, such as a last layer, nobody reads
        state = {name: state[name] for name in set(used.values())}
    places = write_safetensors(state, folder / WEIGHTS)
    # After the file is written, before the graph is: a graph with its weights inside may pass 2 GB.
    _point(model, used, places)
    _write_graph(model, network.spec, folder / "model.onnx")
    with (folder / WEIGHTS).open("rb") as file:
        head = file.read(8)
        header = WeightsFile.of(WEIGHTS, head + file.read(int.from_bytes(head, "little")))
    config = {} if module is None else {"config.json": format_config(module)}
    files = {**config, **gradient_files(network, header), **network.files}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return write_spec(folder, network.spec, ("model.onnx", WEIGHTS, *files))


def network_writer(make: Callable[[], ExportedNetwork]) -> Callable[[Path], EngineSpec]:
    """Return a function that makes a network, which may fill the memory, and writes its folder."""
    return lambda folder: write_network(make(), folder)


def write_safetensors(state: Mapping[str, Tensor], path: Path) -> dict[str, tuple[int, int]]:
    """Write tensors in the safetensors format one after another; return offset and length of each in the file.

    Args:
        state: on the CPU; the larger types come first, as the format wants them aligned.
        path: file to write.
    """
    # Larger types first: each tensor is then aligned to its own type without gaps, which the format does not allow.
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
    # Tensors begin behind the header; padded to 8 bytes, it leaves the first and widest type aligned.
    text += b" " * (-len(text) % 8)
    places: dict[str, tuple[int, int]] = {}
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            start = file.tell()
            # As bytes: NumPy has no bfloat16.
            values = state[name].detach().contiguous().reshape(-1).view(torch.uint8).numpy()
            # In pieces, as some systems refuse one write of more than 2 GB.
            for chunk in range(0, len(values), _CHUNK):
                file.write(values[chunk : chunk + _CHUNK].data)
            places[name] = (start, len(values))
    return places


def _used(model: Any, state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the name in `state` of each initializer of a traced graph that is one of its tensors."""
    # By address: the traced graph shares the module's storage, and its names are the exporter's.
    owners = {_identity(tensor): name for name, tensor in state.items()}
    raws = {name: getattr(value.const_value, "raw", None) for name, value in model.graph.initializers.items()}
    names = {name: owners.get(_identity(raw)) for name, raw in raws.items() if isinstance(raw, Tensor)}
    return {name: owner for name, owner in names.items() if owner is not None}


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
    # By path: the checker then looks at the file of weights too, and no message has to hold them.
    onnx.checker.check_model(str(path))


def _identity(tensor: Tensor) -> tuple[int, torch.Size, torch.dtype]:
    # Address alone would take a view of a weight, such as a slice from its start, for the whole weight.
    return tensor.data_ptr(), tensor.shape, tensor.dtype
