"""What a bundle's networks are compared with: the reference of each, on inputs as the networks see them in use.

Where the weights that a bundle was made of can be had, the reference is PyTorch in float32. Else it is the bundle's own
stored weights: `export.verify.stored`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from export.network import ExportedNetwork
from export.verify.gates import GATES, Check, Gate
from runtime.engines.backends.eager import EagerEngine
from runtime.engines.bundle import Bundle
from runtime.engines.precision import Compute, Storage
from runtime.engines.protocols import Engine
from runtime.engines.spec import EngineSpec

MOST = 256
"""Rows of a batch at most, whatever memory there is: more of the same kernels' work shows nothing new."""

Value = Callable[..., tuple[Tensor, ...]]
"""Inputs in the spec's order -> outputs in the spec's order."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What one network is compared with, and on what."""

    spec: EngineSpec
    """Names and shapes of its tensors, and the range of its batch."""
    samples: tuple[Tensor, ...]
    """Inputs of the distribution that it sees in use, as many rows as there are."""
    value: Value
    """The reference itself."""
    module: nn.Module | None
    """The same as a PyTorch module, where gradients and whole scenes can be had of it."""
    gate: Gate
    """What an engine's outputs have to reach."""
    gradient_gate: Gate
    """What an engine's vector-Jacobian products have to reach."""
    precision: Storage | Compute
    """How the bundle stores the network's weights, or what it computes in."""
    most: int
    """Greatest number of rows that it is compared on, where the spec allows more than memory or time does."""


def reference_of(network: ExportedNetwork, spec: EngineSpec, precision: Storage | Compute, memory: float) -> Reference:
    """Return the reference of a network whose PyTorch module is at hand.

    Args:
        network: its float32 module, with samples.
        spec: what the bundle says of the network.
        precision: by which outputs are judged.
        memory: GiB that the activations of a batch may take, those of a backward pass included.
    """
    # Measured on one row: activations grow with the batch in proportion.
    one = activation_bytes(network.module, take_rows(spec, network.samples, torch.arange(1)))
    return Reference(
        spec=spec,
        samples=network.samples,
        value=_outputs_of(network.module),
        module=network.module,
        gate=GATES[precision],
        gradient_gate=GATES[Check.GRADIENT],
        precision=precision,
        # thrice: activations, their gradients, and what PyTorch's allocator holds back
        most=max(1, min(MOST, int(memory * 2**30) // (3 * one))),
    )


def _outputs_of(module: nn.Module) -> Value:
    def value(*inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            outputs = module(*inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    return value


def activation_bytes(module: nn.Module, samples: tuple[Tensor, ...]) -> int:
    """Return the bytes of a module's inputs and of all outputs of its innermost parts in one call, at least 1."""
    total = 1 + sum(sample.nbytes for sample in samples)

    def count(_module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal total
        parts = output if isinstance(output, tuple) else (output,)
        total += sum(part.nbytes for part in parts if isinstance(part, Tensor))

    # Innermost parts only, or the output of every block would count once for each block around it.
    leaves = [part for part in module.modules() if not any(True for _ in part.children())]
    handles = [part.register_forward_hook(count) for part in leaves]
    try:
        with torch.no_grad():
            module(*samples)
    finally:
        for handle in handles:
            handle.remove()
    return total


def count_rows(spec: EngineSpec, samples: Sequence[Tensor]) -> int:
    """Return how many rows samples have along the free first dimension `B`; 1 where no input has it."""
    return min((len(s) for tensor, s in zip(spec.inputs, samples, strict=True) if is_batched(tensor.shape)), default=1)


def take_rows(spec: EngineSpec, samples: Sequence[Tensor], rows: Int[Tensor, " rows"]) -> tuple[Tensor, ...]:
    """Return rows of samples along `B`, by index and counted around; other inputs as they are."""
    # Counted around: a batch may be larger than there are samples.
    rows = rows % count_rows(spec, samples)
    return tuple(
        sample[rows].contiguous() if is_batched(tensor.shape) else sample
        for tensor, sample in zip(spec.inputs, samples, strict=True)
    )


def is_batched(shape: tuple[int | str, ...]) -> bool:
    """Return whether the first dimension is the free batch `B`."""
    return bool(shape) and shape[0] == "B"


def sizes_of(reference: Reference) -> tuple[tuple[int, ...], str]:
    """Return the sizes of batches to compare at, and a remark where the greatest is not the spec's."""
    if "B" not in reference.spec.ranges:
        return (1,), ""
    smallest, typical, greatest = reference.spec.ranges["B"]
    # At least the typical batch, whatever the limit of memory: it is what the loop runs with.
    most = min(greatest, max(typical, reference.most))
    return tuple(sorted({smallest, typical, most})), "" if most == greatest else f"{most} rows of {greatest}"


def is_large(reference: Reference) -> bool:
    """Return whether memory takes no more rows than the typical batch has; a row is then much work, too."""
    return "B" in reference.spec.ranges and reference.most <= reference.spec.ranges["B"][1]


def batches_of(reference: Reference) -> list[Int[Tensor, " size"]]:
    """Return the rows of each batch to compare.

    Every row comes at every size, so that figures do not depend on the choice of rows. With a large network the sizes
    take turns, and every row comes once.
    """
    sizes, count = sizes_of(reference)[0], count_rows(reference.spec, reference.samples)
    if not is_large(reference):
        starts = [(first, size) for size in sizes for first in range(0, count, size)]
    else:
        starts, first = [], 0
        for size in cycle(sizes):
            starts.append((first, size))
            if (first := first + size) >= count and len(starts) >= len(sizes):
                break
    return [torch.arange(first, first + size) % count for first, size in starts]


def precision_of(bundle: Bundle, role: str) -> Storage | Compute:
    """Return the type of a network's products where that is half precision, or else how its weights are stored."""
    import onnx

    graph = onnx.load_from_string(bundle.read_file(role, "model.onnx")).graph
    kinds = {weight.name: weight.data_type for weight in graph.initializer}
    multiplied = [kinds.get(name) for node in graph.node if node.op_type in _PRODUCTS for name in node.input]
    half_types = ((onnx.TensorProto.FLOAT16, Compute.FP16), (onnx.TensorProto.BFLOAT16, Compute.BF16))
    for kind, compute in half_types:
        # Only operands of products count: other half-precision weights are unpacked to float32 before they are used.
        if kind in multiplied:
            return compute
    stored = set(kinds.values())
    if stored & {onnx.TensorProto.INT8, onnx.TensorProto.INT4}:
        return Storage.INT8
    # Codes in groups are bytes with float16 steps; their values are those of the trained network, so no error is new.
    half = onnx.TensorProto.FLOAT16 in stored and onnx.TensorProto.UINT8 not in stored
    return Storage.FLOAT16 if half else Storage.FLOAT32


_PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum")


class TorchReferences(Mapping[str, Reference]):
    """References whose PyTorch modules are at hand, each made when it is asked for: one may fill the memory."""

    def __init__(self, bundle: Bundle, networks: Mapping[str, ExportedNetwork], memory: float) -> None:
        """Remember the modules; arguments as of `reference_of`."""
        self.bundle, self.networks, self.memory = bundle, networks, memory

    def __getitem__(self, role: str) -> Reference:
        """Return a network's reference."""
        precision = precision_of(self.bundle, role)
        return reference_of(self.networks[role], self.bundle.specs[role], precision, self.memory)

    def __iter__(self) -> Iterator[str]:
        """Return the roles, in the bundle's order."""
        return (role for role in self.bundle.specs if role in self.networks)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(list(iter(self)))


def as_engine(reference: Reference, device: str = "cpu") -> Engine:
    """Return the reference as an engine; one with a module passes gradients."""
    if reference.module is not None:
        return EagerEngine(reference.spec, reference.module, device=device)
    return _Function(reference)


class _Function:
    def __init__(self, reference: Reference) -> None:
        self.spec, self._value = reference.spec, reference.value

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        # NumPy cannot follow gradients, and refuses tensors that ask for one.
        return self._value(*(tensor.detach() for tensor in inputs))
