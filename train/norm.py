"""Group normalization for channels-last training on a CPU, where PyTorch's own takes a fifth of a step.

Sums over positions are matrix products with ones, in which a CPU accumulates bfloat16 in float32, and everything else
is one multiply-add a direction. Weights, names and results are those of `torch.nn.GroupNorm`, up to rounding.
"""

from typing import TypeVar

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

NetworkT = TypeVar("NetworkT", bound=nn.Module)


def _sums(values: Float[Tensor, "B N C"]) -> Float32[Tensor, "B C"]:
    """Return the sums over positions, in float32."""
    ones = values.new_ones(()).expand(len(values), 1, values.shape[1])
    return torch.bmm(ones, values)[:, 0].float()


def _of_groups(values: Float[Tensor, "B C"], groups: int) -> Float[Tensor, "B C"]:
    """Return the values, each replaced by the sum over its group of channels."""
    grouped = values.view(len(values), groups, -1)
    return grouped.sum(-1, keepdim=True).expand_as(grouped).reshape(values.shape)


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        values: Float[Tensor, "B N C"],
        weight: Float[Tensor, " C"],
        bias: Float[Tensor, " C"],
        groups: int,
        eps: float,
    ) -> Float[Tensor, "B N C"]:
        count = values.shape[1] * values.shape[2] // groups
        mean = _of_groups(_sums(values), groups) / count
        square = _of_groups(_sums(values * values), groups) / count
        inverse = (square - mean * mean).clamp(min=0.0).add_(eps).rsqrt_()
        scale = weight.float() * inverse
        shift = bias.float() - scale * mean
        ctx.save_for_backward(values, weight, mean, inverse)
        ctx.groups = groups
        return torch.addcmul(shift[:, None].to(values.dtype), values, scale[:, None].to(values.dtype))

    @staticmethod
    def backward(ctx, slope: Float[Tensor, "B N C"]) -> tuple[Tensor | None, ...]:
        values, weight, mean, inverse = ctx.saved_tensors
        groups, count = ctx.groups, values.shape[1] * values.shape[2] // ctx.groups
        total = _sums(slope)
        along = (_sums(slope * values) - mean * total) * inverse
        scale = weight.float() * inverse
        on_values = -inverse * inverse * _of_groups(weight.float() * along, groups) / count
        on_one = -inverse * _of_groups(weight.float() * total, groups) / count - on_values * mean
        rest = torch.addcmul(on_one[:, None].to(values.dtype), values, on_values[:, None].to(values.dtype))
        grad = rest.addcmul_(slope, scale[:, None].to(values.dtype))
        return grad, along.sum(0).to(weight.dtype), total.sum(0).to(weight.dtype), None, None


class ChannelsLastGroupNorm(nn.GroupNorm):
    """A `torch.nn.GroupNorm` of (B, C, ...) that is fast where channels are last in memory, on a CPU."""

    def forward(self, values: Float[Tensor, "B C *shape"]) -> Float[Tensor, "B C *shape"]:
        """Return the normalized values, of the same shape, data type and layout."""
        if values.device.type != "cpu":
            return super().forward(values)
        rows = values.movedim(1, -1)
        flat = rows.reshape(len(values), -1, values.shape[1])
        with torch.autocast("cpu", enabled=False):
            output = _GroupNorm.apply(flat, self.weight, self.bias, self.num_groups, self.eps)
        return output.view(rows.shape).movedim(-1, 1)


def to_channels_last(network: NetworkT) -> NetworkT:
    """Return the network, its weights now channels-last in memory and its group normalizations of this kind.

    It is changed in place and keeps the names of its weights.
    """
    for module in network.modules():
        if type(module) is nn.GroupNorm:
            module.__class__ = ChannelsLastGroupNorm
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return network
