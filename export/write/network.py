"""A network small enough for memory as the files of its folder: quantized model, PyTorch module, gradient."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from safetensors.torch import save

from export.graph.external_weights import WeightsFile, refer_to_file
from export.graph.quantize import quantize, quantize_state
from export.graph.trace import export_onnx
from export.network import ExportedNetwork, TorchModule
from runtime.engines.backends.eager import empty_module
from runtime.engines.spec import WEIGHTS, EngineSpec, FileSpec
from runtime.engines.twins.kl_encoder import freeze
from runtime.engines.verified_files import describe_bytes, describe_file

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle


@dataclass(frozen=True)
class NetworkFiles:
    """One network of a bundle, ready to be written."""

    spec: EngineSpec
    """Its tensors; the hashes are filled in when it is written."""
    files: Mapping[str, bytes]
    """Content of every file of its folder: model.onnx, and config.json with weights.safetensors, tokenizer.json."""
    borrowed: Mapping[str, FileSpec] = field(default_factory=dict)
    """Files that lie in the folder of another bundle."""

    @property
    def key(self) -> str:
        """Hash of all that it is: that of the spec.json with which it is written."""
        files = {name: describe_bytes(content) for name, content in self.files.items()} | dict(self.borrowed)
        return describe_bytes(replace(self.spec, files=files).to_json().encode()).sha256

    def write(self, folder: Path) -> EngineSpec:
        """Write the network's folder, which is made if need be, spec.json last; return the spec with the hashes."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return write_spec(folder, self.spec, self.files, self.borrowed)


def write_spec(
    folder: Path,
    spec: EngineSpec,
    names: Mapping[str, object] | tuple[str, ...],
    borrowed: Mapping[str, FileSpec] = MappingProxyType({}),
) -> EngineSpec:
    """Write spec.json with the hashes of a folder's files, whose names are given; return the spec with them.

    Args:
        folder: of the network.
        spec: without its files.
        names: of the files in the folder.
        borrowed: files that lie in the folder of another bundle.
    """
    spec = replace(spec, files={name: describe_file(folder / name) for name in names} | dict(borrowed))
    (folder / "spec.json").write_text(spec.to_json(), encoding="utf-8")
    return spec


def network_files(network: ExportedNetwork) -> NetworkFiles:
    """Return the files of a network: the quantized ONNX model, PyTorch's configuration and weights, and the rest.

    Weights that the model and the PyTorch module share are stored once, in the file of weights.
    """
    # Two examples: a batch of one would be taken for a constant, and more only cost time.
    model = export_onnx(network.module, network.spec, tuple(sample[:2] for sample in network.samples))
    model = quantize(model, network.storage, groups=network.groups)
    files: dict[str, bytes] = {}
    if network.torch_module is not None:
        files["config.json"] = format_config(network.torch_module)
        content = save(quantize_state(dict(network.torch_module.state), network.storage))
        files[WEIGHTS] = content
        file = WeightsFile.of(WEIGHTS, content)
        # `quantize` and `quantize_state` give the same bytes, which is what makes weights shared here.
        refer_to_file(model, file, content)
        files |= gradient_files(network, file)
    files["model.onnx"] = model.SerializeToString(deterministic=True)
    return NetworkFiles(network.spec, {**files, **network.files})


def format_config(module: TorchModule) -> bytes:
    """Return the text of config.json: the class of a PyTorch module and its arguments."""
    config = {"class": module.name, "arguments": dict(module.arguments)}
    return (json.dumps(config, indent=1, default=list) + "\n").encode()


def gradient_files(network: ExportedNetwork, file: WeightsFile) -> dict[str, bytes]:
    """Return the graph of value and gradient of a network that PyTorch differentiates by its one input, else nothing.

    Args:
        network: the network.
        file: of its PyTorch module's weights.
    """
    if network.torch_module is None or len(network.spec.inputs) != 1:
        return {}
    from export.vjp.files import vjp_files  # brings PyTorch's tracer, which takes a second to import

    module = freeze(empty_module(format_config(network.torch_module), network.spec.name))
    return vjp_files(module, network.spec, file)


def copied_network(base: "DiffusionBundle", role: str) -> NetworkFiles:
    """Return a network of a bundle as it is written into another one."""
    spec = base.specs[role]
    own = {name: base.read_file(role, name) for name, file in spec.files.items() if not file.bundle}
    borrowed = {name: file for name, file in spec.files.items() if file.bundle}
    return NetworkFiles(replace(spec, files={}), own, borrowed)
