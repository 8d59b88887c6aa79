"""Store weights in few bits: groups with an offset and a step (text encoder), or int8 per output channel.

A network that is trained on another's quantized output has to see the very numbers that ship. So the quantizers live
here, where both training and export can reach them: `dequantize(quantize(w))` is what the exported graph computes.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float16, Float32, Int8, UInt8
from torch import Tensor

_SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)


@dataclass(frozen=True)
class Groups:
    """A weight as codes in groups: value = low + code * step.

    Attributes:
        codes: in [0, 2**bits), a row a group.
        step: of each group, positive.
        low: least value of each group.
        shape: the weight's shape; its number of values is a multiple of the group.
    """

    codes: UInt8[Tensor, "G group"]
    step: Float16[Tensor, "G 1"]
    low: Float16[Tensor, "G 1"]
    shape: torch.Size


def quantize_groups(weight: Float[Tensor, "..."], *, bits: int, group: int) -> Groups:
    """Return a weight's codes, of the shrunken ranges tried per group the one with the least squared error.

    Args:
        weight: any shape; its number of values has to be a multiple of `group`.
        bits: bits a code, 1 to 8.
        group: values that share a step and an offset.

    Raises:
        ValueError: where the number of values is no multiple of `group`.
    """
    if weight.numel() % group:
        raise ValueError(f"weight: expected a multiple of {group} values, got {tuple(weight.shape)}")
    values, levels = weight.detach().float().reshape(-1, group), 2**bits - 1
    lowest, highest = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    best: tuple[Tensor, ...] | None = None
    for shrink in _SHRINKS:
        low = (lowest * shrink).half()
        step = ((highest - lowest) * shrink / levels).half().clamp_min(6e-8)
        codes = ((values - low.float()) / step.float()).round().clamp(0, levels)
        error = (codes * step.float() + low.float() - values).square().sum(1, keepdim=True)
        new = (error, codes, step, low)
        better = error < best[0] if best else torch.ones_like(error, dtype=torch.bool)
        best = tuple(torch.where(better, n, b) for n, b in zip(new, best or new, strict=True))
    assert best is not None
    return Groups(best[1].to(torch.uint8), best[2], best[3], weight.shape)


def dequantize_groups(groups: Groups) -> Float32[Tensor, "..."]:
    """Return the float32 weight that the codes stand for."""
    return (groups.low.float() + groups.codes.float() * groups.step.float()).reshape(groups.shape)


def quantize_channels(
    weight: Float[Tensor, " C *shape"],
) -> tuple[Int8[Tensor, " C *shape"], Float32[Tensor, " C ..."]]:
    """Return int8 codes and the float32 step of each output channel (axis 0): value = code * step.

    Args:
        weight: output channels first.

    Returns:
        Codes of the weight's shape in [-127, 127], and steps (C, 1, ...), positive.
    """
    flat = weight.detach().float().flatten(1)
    step = (flat.abs().amax(1) / 127.0).clamp_min(1e-12).reshape(-1, *[1] * (weight.dim() - 1))
    return (weight.detach().float() / step).round().clamp(-127, 127).to(torch.int8), step
