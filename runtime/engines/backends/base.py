"""What every backend does around the run of a network: it checks inputs and outputs, with the same messages."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from runtime.engines.spec import EngineSpec, TensorSpec, format_tensor


class SpecEngine:
    """A network with a spec on a device. A backend adds `_run` and `_bind`, which get tensors that fit the spec."""

    passes_gradients: ClassVar[bool] = False
    """Whether autograd sees through a call; others refuse inputs that ask for a gradient."""

    def __init__(self, spec: EngineSpec, device: torch.device) -> None:
        """Remember what the network takes and gives, and where it runs."""
        self._spec = spec
        self._device = device

    @property
    def spec(self) -> EngineSpec:
        """The names, shapes and types of its tensors."""
        return self._spec

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._device

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return fresh output tensors, on the device of the first input.

        Args:
            *inputs: tensors in the order of `spec.inputs`; contiguous ones on the engine's device are read in place.

        Raises:
            ValueError: an input does not fit the spec, or requires a gradient that the engine does not pass.
        """
        return self._run(inputs, self._check(inputs))

    def bind(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Callable[[], None]:
        """Return a function that runs the network on these very tensors: reads the inputs, fills the outputs.

        Args:
            inputs: contiguous tensors on the engine's device, in the order of `spec.inputs`.
            outputs: likewise, in the order of `spec.outputs`.

        Raises:
            ValueError: a tensor does not fit the spec, is not contiguous, is on another device, or requires a
                gradient that the engine does not pass.
        """
        check_outputs(self._spec, outputs, self._check(inputs))
        return self._bind(tuple(inputs), tuple(outputs))

    def empty_outputs(self, sizes: dict[str, int], device: torch.device) -> tuple[Tensor, ...]:
        """Return tensors for the outputs to be written to; `sizes` has those of the free dimensions."""

        def empty(tensor: TensorSpec) -> Tensor:
            shape: Any = tensor.bound(sizes)
            return torch.empty(shape, dtype=getattr(torch, tensor.dtype), device=device)

        return tuple(empty(tensor) for tensor in self._spec.outputs)

    def _check(self, inputs: Sequence[Tensor]) -> dict[str, int]:
        if not self.passes_gradients:
            refuse_gradients(self._spec, inputs)
        return check_inputs(self._spec, inputs)

    def _run(self, inputs: tuple[Tensor, ...], sizes: dict[str, int]) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _bind(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Callable[[], None]:
        raise NotImplementedError


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a PyTorch type without its prefix: `float32`."""
    return str(dtype).removeprefix("torch.")


def check_inputs(spec: EngineSpec, inputs: Sequence[Tensor]) -> dict[str, int]:
    """Return the size of every free dimension that the inputs settle.

    Args:
        spec: what the network takes.
        inputs: tensors in the order of `spec.inputs`.

    Raises:
        ValueError: a count, shape, type or size that does not fit; the message names engine and input.
    """
    if len(inputs) != len(spec.inputs):
        names = ", ".join(tensor.name for tensor in spec.inputs)
        raise ValueError(f"engine '{spec.name}': expected {len(spec.inputs)} inputs ({names}), got {len(inputs)}")
    sizes: dict[str, int] = {}
    pairs = list(zip(spec.inputs, inputs, strict=True))
    # every input that fits settles its free dimensions first, so that a message about one that does not names numbers
    unfit = [pair for pair in pairs if not pair[0].bind(pair[1].shape, dtype_name(pair[1].dtype), sizes)]
    if unfit:
        declared, tensor = unfit[0]
        expected = format_tensor(declared.bound(sizes), declared.dtype)
        got = format_tensor(tensor.shape, dtype_name(tensor.dtype))
        raise ValueError(f"engine '{spec.name}' input '{declared.name}': expected {expected}, got {got}")
    # after the shapes: inputs that fit have given every dimension with a range its size
    for name, (lowest, _, highest) in spec.ranges.items():
        if not lowest <= sizes[name] <= highest:
            raise ValueError(
                f"engine '{spec.name}' dimension '{name}': expected {lowest} to {highest}, got {sizes[name]}"
            )
    return sizes


def check_outputs(spec: EngineSpec, outputs: Sequence[Tensor], sizes: dict[str, int]) -> None:
    """Refuse tensors that an engine could not fill, with a `ValueError`; `sizes` has those of the free dimensions."""
    if len(outputs) != len(spec.outputs):
        raise ValueError(f"engine '{spec.name}': expected {len(spec.outputs)} outputs, got {len(outputs)}")
    for declared, tensor in zip(spec.outputs, outputs, strict=True):
        # exactly: an engine writes through the address, and would run past the end of a smaller tensor
        if declared.bound(sizes) != tuple(tensor.shape) or declared.dtype != dtype_name(tensor.dtype):
            expected = format_tensor(declared.bound(sizes), declared.dtype)
            got = format_tensor(tensor.shape, dtype_name(tensor.dtype))
            raise ValueError(f"engine '{spec.name}' output '{declared.name}': expected {expected}, got {got}")


def refuse_gradients(spec: EngineSpec, inputs: Sequence[Tensor]) -> None:
    """Refuse inputs that ask for a gradient, which a forward-only engine would silently drop.

    Raises:
        ValueError: gradients are being recorded and an input requires one.
    """
    if not torch.is_grad_enabled():
        return
    # not strict: a wrong count is refused later, in words of its own
    for declared, tensor in zip(spec.inputs, inputs, strict=False):
        if tensor.requires_grad:
            raise ValueError(
                f"engine '{spec.name}' input '{declared.name}' requires a gradient, but this engine runs forward only "
                "and would cut the graph; detach the input where the formula says so, or use the network's PyTorch "
                "provider or runtime.engines.autograd.differentiable"
            )
