"""Group normalization with the activation behind it, forward and backward by the input."""

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

ELEMENTS = 4096
"""Of a tile: so many are in flight in a program."""

PROGRAMS = 512
"""Most programs that sums are shared by: some a multiprocessor of a large card."""


class Switch:
    """What is done in another way on a CUDA device; benchmarks turn it off to see what it gains."""

    norms = True
    """Whether `group_norm` has kernels."""
    products = True
    """Whether `attend` is two products."""


@cache
def has_triton() -> bool:
    """Return whether Triton is there."""
    return find_spec("triton") is not None


def group_norm(x: Float[Tensor, "B C H W"], norm: nn.GroupNorm, *, silu: bool = True) -> Float[Tensor, "B C H W"]:
    """Return the normalization of a picture, and with `silu` the activation of it.

    PyTorch has 32 blocks of threads read a picture, one for each group, and goes from channels-last to channels-first
    for it; a latent encoder spends most of its time so. On a CUDA device where no weight needs a gradient kernels of
    Triton take it over. Numbers are float32 within, and of the type of `x` in memory.
    """
    if Switch.norms and x.is_cuda and not norm.weight.requires_grad and has_triton() and not _compiling():
        return _Fused.apply(x, norm.weight, norm.bias, norm.num_groups, norm.eps, silu)
    normalized = nn.GroupNorm.forward(norm, x)  # also where `norm` asks here
    return F.silu(normalized) if silu else normalized


class FusedNorm(nn.GroupNorm):
    """A `GroupNorm` that is computed by `group_norm`, for networks of other packages."""

    def forward(self, input: Float[Tensor, "B C *S"]) -> Float[Tensor, "B C *S"]:
        """Return the normalization; by kernels for pictures on a CUDA device whose channels come last in memory."""
        if input.is_cuda and input.ndim == 4 and input.is_contiguous(memory_format=torch.channels_last):
            return group_norm(input, self, silu=False)
        return super().forward(input)


def fuse_norms(network: nn.Module) -> nn.Module:
    """Return a network whose group normalizations have become `FusedNorm`s, in place."""
    for module in network.modules():
        if type(module) is nn.GroupNorm:
            module.__class__ = FusedNorm  # the weights, hooks and settings stay as they are
    return network


def _compiling() -> bool:
    return torch.compiler.is_compiling()  # which fuses them itself


def attend(
    query: Float[Tensor, "B 1 N D"], key: Float[Tensor, "B 1 N D"], value: Float[Tensor, "B 1 N D"]
) -> Float[Tensor, "B 1 N D"]:
    """Return the attention of one wide head.

    PyTorch's fused kernels are made for heads of up to 256 and slow for 512, the more so backward. On a CUDA device it
    is two products and a softmax, which take memory for the square of N.
    """
    if Switch.products and query.is_cuda and query.shape[-1] > 256:
        scores = (query * query.shape[-1] ** -0.5) @ key.mT
        return scores.softmax(-1).to(value.dtype) @ value
    return F.scaled_dot_product_attention(query, key, value)


def _kernels() -> Any:
    from runtime.engines.twins.fused import kernels  # which loads Triton

    return kernels


def _shape(channels: int) -> tuple[int, int]:
    """Return lanes of a row and rows of a tile."""
    lanes = 1 << (channels - 1).bit_length()
    return lanes, max(1, ELEMENTS // lanes)


def _split(pixels: int, tile: int) -> tuple[int, int]:
    """Return the programs that share so many pixels, and the pixels of each, a multiple of the tile."""
    tiles = -(-pixels // tile)
    rows = tile * -(-tiles // PROGRAMS)
    return -(-pixels // rows), rows


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, weight, bias, groups, epsilon, silu):
        kernels = _kernels()
        x = x.contiguous(memory_format=torch.channels_last)
        batch, channels, height, width = x.shape
        pixels = height * width
        lanes, tile = _shape(channels)
        programs, rows = _split(pixels, tile)
        sizes = {"C": channels, "LANES": lanes, "TILE": tile}
        group = {"C": channels, "G": groups, "WIDE": 1 << (channels // groups - 1).bit_length()}
        group["BLOCKS"] = 1 << (programs - 1).bit_length()
        sums = x.new_empty(batch, programs, 2, channels, dtype=torch.float32)
        scale, shift = (x.new_empty(batch, channels, dtype=torch.float32) for _ in range(2))
        mean, rstd = (x.new_empty(batch, groups, dtype=torch.float32) for _ in range(2))
        y = torch.empty_like(x)
        kernels.moments[(programs, batch)](x, sums, pixels, rows, **sizes)
        kernels.finish[(groups, batch)](
            sums, weight, bias, scale, shift, mean, rstd, pixels, programs, epsilon, **group
        )
        kernels.apply[(-(-pixels // tile), batch)](x, scale, shift, y, pixels, **sizes, SILU=silu)
        ctx.save_for_backward(x, weight, scale, shift, mean, rstd)
        ctx.sizes, ctx.group, ctx.silu = sizes, group, silu
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstreams):
        kernels = _kernels()
        x, weight, scale, shift, mean, rstd = ctx.saved_tensors
        dy = upstreams[0].contiguous(memory_format=torch.channels_last)
        batch, channels, height, width = x.shape
        pixels, tile = height * width, ctx.sizes["TILE"]
        programs, rows = _split(pixels, tile)
        sums = x.new_empty(batch, programs, 2, channels, dtype=torch.float32)
        slope, level = torch.empty_like(scale), torch.empty_like(scale)
        dx = torch.empty_like(x)
        more = {**ctx.sizes, "SILU": ctx.silu}
        kernels.gradient_moments[(programs, batch)](x, dy, scale, shift, sums, pixels, rows, **more)
        kernels.gradient_finish[(ctx.group["G"], batch)](
            sums, weight, mean, rstd, slope, level, pixels, programs, **ctx.group
        )
        kernels.gradient_apply[(-(-pixels // tile), batch)](x, dy, scale, shift, slope, level, dx, pixels, **more)
        return dx, None, None, None, None, None
