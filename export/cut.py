"""Where a network is cut out of its training code for a bundle, and how the cut becomes files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from export.graph.compact import compact, compact_state
from export.graph.shared import Stored, point_into
from export.graph.trace import export_onnx
from export.write.bundle import NetworkFiles
from runtime.engines.backends.eager import empty_module
from runtime.engines.spec import WEIGHTS, EngineSpec, TensorSpec
from runtime.engines.twins.kl_encoder import freeze
from train.quantize import Groups

BATCH = (1, 2, 256)
"""Least, typical and greatest batch: one scene and its guided pair to many samples at once."""


@dataclass(frozen=True, kw_only=True)
class Twin:
    """A class of `runtime.engines.backends.eager` that computes the same network in PyTorch, with gradients."""

    name: str
    """The class' name on the runtime's list."""
    arguments: Mapping[str, Any]
    """Its arguments, as config.json holds them."""
    state: Mapping[str, Tensor]
    """Its weights, float32."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """One network as it goes into a bundle."""

    spec: EngineSpec
    """Names and shapes of its tensors."""
    module: nn.Module
    """Frozen; takes and gives exactly what the spec says."""
    samples: tuple[Tensor, ...]
    """Inputs as the network sees them in use, at least two of each; it is traced and verified with them."""
    scheme: str = "int8"
    """How its weights are stored, one of `export.graph.compact.SCHEMES`."""
    groups: tuple[Groups, ...] = ()
    """Weights that come as codes in groups."""
    twin: Twin | None = None
    """Its PyTorch twin, where a gradient is needed."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Further files of its folder."""


def batched(name: str, inputs: Mapping[str, tuple], outputs: Mapping[str, tuple]) -> EngineSpec:
    """Return a spec whose tensors all have a free first dimension `B`.

    Args:
        name: the network's name.
        inputs: for each input its shape behind `B`, which may end on a type other than float32.
        outputs: likewise.
    """
    return EngineSpec(name, _tensors(inputs), _tensors(outputs), {"B": BATCH})


def _tensors(shapes: Mapping[str, tuple]) -> tuple[TensorSpec, ...]:
    tensors = []
    for name, shape in shapes.items():
        typed = bool(shape) and isinstance(shape[-1], str)
        tensors.append(TensorSpec(name, ("B", *(shape[:-1] if typed else shape)), shape[-1] if typed else "float32"))
    return tuple(tensors)


def gradient_files(cut: Cut, stored: Stored) -> dict[str, bytes]:
    """Return the graphs of value and gradient of a network whose twin is differentiated by its one input, else none.

    Args:
        cut: the network.
        stored: the file of its twin's weights.
    """
    if cut.twin is None or len(cut.spec.inputs) != 1:
        return {}
    from export.vjp.files import vjp_files  # brings PyTorch's tracer, which takes a second to import

    config = json.dumps({"class": cut.twin.name, "arguments": dict(cut.twin.arguments)}).encode()
    return vjp_files(freeze(empty_module(config, cut.spec.name)), cut.spec, stored)


def export_cut(cut: Cut) -> NetworkFiles:
    """Return the files of a network: the compact ONNX model, its twin's configuration and weights, and the rest.

    What the model and its twin have in common lies in the twin's file alone.
    """
    model = export_onnx(cut.module, cut.spec, tuple(sample[:2] for sample in cut.samples))
    model, files = compact(model, cut.scheme, groups=cut.groups), {}
    if cut.twin is not None:
        config = {"class": cut.twin.name, "arguments": dict(cut.twin.arguments)}
        files["config.json"] = (json.dumps(config, indent=1) + "\n").encode()
        content = save(compact_state(dict(cut.twin.state), cut.scheme))
        files[WEIGHTS] = content
        stored = Stored.of(WEIGHTS, content)
        point_into(model, stored, content)
        files |= gradient_files(cut, stored)
    files["model.onnx"] = model.SerializeToString(deterministic=True)
    return NetworkFiles(cut.spec, {**files, **cut.files})
