"""The check that every backend makes of its inputs, in the same words."""

from collections.abc import Sequence

import torch
from torch import Tensor

from runtime.engines.spec import EngineSpec, format_tensor


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
        wanted, tensor = unfit[0]
        expected = format_tensor(wanted.bound(sizes), wanted.dtype)
        got = format_tensor(tensor.shape, dtype_name(tensor.dtype))
        raise ValueError(f"engine '{spec.name}' input '{wanted.name}': expected {expected}, got {got}")
    for name, (least, _, greatest) in spec.ranges.items():
        if not least <= sizes[name] <= greatest:
            raise ValueError(
                f"engine '{spec.name}' dimension '{name}': expected {least} to {greatest}, got {sizes[name]}"
            )
    return sizes


def check_outputs(spec: EngineSpec, outputs: Sequence[Tensor], sizes: dict[str, int]) -> None:
    """Refuse tensors that an engine could not fill, with a `ValueError`; `sizes` are the free dimensions' ones."""
    if len(outputs) != len(spec.outputs):
        raise ValueError(f"engine '{spec.name}': expected {len(spec.outputs)} outputs, got {len(outputs)}")
    for wanted, tensor in zip(spec.outputs, outputs, strict=True):
        if wanted.bound(sizes) != tuple(tensor.shape) or wanted.dtype != dtype_name(tensor.dtype):
            expected = format_tensor(wanted.bound(sizes), wanted.dtype)
            got = format_tensor(tensor.shape, dtype_name(tensor.dtype))
            raise ValueError(f"engine '{spec.name}' output '{wanted.name}': expected {expected}, got {got}")


def refuse_gradients(spec: EngineSpec, inputs: Sequence[Tensor]) -> None:
    """Refuse inputs that ask for a gradient, which a forward-only engine would silently drop.

    Raises:
        ValueError: gradients are being recorded and an input requires one.
    """
    if not torch.is_grad_enabled():
        return
    for wanted, tensor in zip(spec.inputs, inputs, strict=False):
        if tensor.requires_grad:
            raise ValueError(
                f"engine '{spec.name}' input '{wanted.name}' requires a gradient, but this engine runs forward only "
                "and would cut the graph; detach the input where the formula says so, or use the network's PyTorch "
                "provider or runtime.engines.autograd.differentiable"
            )
