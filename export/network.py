"""A network as it goes into a bundle: its spec, the module that is traced, inputs to check it with, its precision."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from runtime.engines.precision import Compute, Storage
from runtime.engines.spec import EngineSpec, TensorSpec
from train.quantize import Groups

BATCH = (1, 2, 256)
"""Least, typical and greatest batch: one scene and its guided pair to many samples at once."""


@dataclass(frozen=True, kw_only=True)
class TorchModule:
    """A class of `runtime.engines.backends.eager` that computes the same network in PyTorch, with gradients."""

    name: str
    """The class' name on the runtime's list."""
    arguments: Mapping[str, Any]
    """Its arguments, as config.json holds them."""
    state: Mapping[str, Tensor]
    """Its weights, float32 where they are quantized when they are written."""


@dataclass(frozen=True, kw_only=True)
class ExportedNetwork:
    """One network as it goes into a bundle."""

    spec: EngineSpec
    """Names and shapes of its tensors."""
    module: nn.Module
    """Frozen; takes and gives exactly what the spec says. It is what is traced, and the reference of a verification."""
    samples: tuple[Tensor, ...]
    """Inputs as the network sees them in use, at least two of each; it is traced and verified with them."""
    storage: Storage = Storage.INT8
    """How its weights are stored."""
    compute: Compute = Compute.MODEL
    """What its products are computed in where that is not float32."""
    groups: tuple[Groups, ...] = ()
    """Weights that come as codes in groups."""
    torch_module: TorchModule | None = None
    """The same network for PyTorch, where a gradient is needed."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Further files of its folder."""

    @property
    def precision(self) -> Storage | Compute:
        """What its outputs are judged by: the type of its products, or else how its weights are stored."""
        return self.storage if self.compute is Compute.MODEL else self.compute


def batched(
    name: str,
    inputs: Mapping[str, tuple],
    outputs: Mapping[str, tuple],
    *,
    batch: tuple[int, int, int] = BATCH,
) -> EngineSpec:
    """Return a spec whose tensors all have a free first dimension `B`.

    Args:
        name: the network's name.
        inputs: for each input its shape behind `B`, which may end on a type other than float32.
        outputs: likewise.
        batch: least, typical and greatest batch.
    """
    return EngineSpec(name, _tensors(inputs), _tensors(outputs), {"B": batch})


def _tensors(shapes: Mapping[str, tuple]) -> tuple[TensorSpec, ...]:
    tensors = []
    for name, shape in shapes.items():
        typed = bool(shape) and isinstance(shape[-1], str)
        tensors.append(TensorSpec(name, ("B", *(shape[:-1] if typed else shape)), shape[-1] if typed else "float32"))
    return tuple(tensors)
