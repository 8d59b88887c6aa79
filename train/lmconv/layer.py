"""The locally masked convolution, three times: as written, saving memory, and fast (Thesis 2.4, Algorithms 1 and 4).

Each position of the picture has a mask of its own over the kernel's taps. The three agree in value and gradients:

`plain`     unfold, mask, multiply: a dozen lines whose gradient is autograd's. This is what is traced for export.
`saved`     the same with the patches unfolded again in the backward pass (Thesis Fig. 8.4).
`grouped`   ordinary convolutions, one for each group of positions that share a mask (`train.lmconv.grouped`).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional as F

from runtime.errors import UserError
from runtime.pixels.masks import Kernel, Mask, check_mask, mask_matrix
from runtime.pixels.orders import Order, Size
from train.lmconv.grouped import grouped_conv2d
from train.lmconv.plan import Plan

Method = Literal["plain", "saved", "grouped"]


@dataclass(frozen=True, eq=False)
class LayerMask:
    """The masks of one layer under one order, and what the layer's implementations need of them."""

    matrix: Float32[Tensor, "K N"]
    """(k1 k2, H W) of 0 and 1, float32."""
    size: Size
    """Height and width of the picture."""
    kernel: Kernel
    """k1 and k2."""
    dilation: int
    """Distance of neighbouring taps."""

    @classmethod
    def of(cls, order: Order, size: Size, kernel: Kernel, dilation: int, *, first: bool) -> "LayerMask":
        """Return the masks of a layer, first or later, under an order; arguments as of `mask_matrix`."""
        return cls.from_matrix(mask_matrix(order, size, kernel, dilation, first=first), size, kernel, dilation)

    @classmethod
    def from_matrix(cls, matrix: Mask, size: Size, kernel: Kernel, dilation: int) -> "LayerMask":
        """Return any mask matrix, (k1 k2, H W) booleans, as a layer's masks."""
        return cls(torch.from_numpy(check_mask(matrix, size, kernel)).float(), size, kernel, dilation)

    @cached_property
    def plan(self) -> Plan:
        """How to compute the layer group by group."""
        return Plan.of(self.matrix.bool().cpu().numpy(), self.size, self.kernel, self.dilation, self.matrix.device)

    @property
    def turned(self) -> bool:
        """Whether pictures are best kept column by column in memory: as a view of (B, C, H, W) of (B, W, H, C)."""
        return self.plan.turned

    def to(self, device: torch.device | str) -> "LayerMask":
        """Return the masks on a device."""
        return LayerMask(self.matrix.to(device), self.size, self.kernel, self.dilation)


def _unfold(x: Float[Tensor, "B C H W"], kernel: Kernel, dilation: int) -> Float[Tensor, "B C K H*W"]:
    """Return patches of pictures, zero where they read padding."""
    padding = tuple(dilation * (k // 2) for k in kernel)
    return F.unfold(x, kernel, dilation=dilation, padding=padding).unflatten(1, (x.shape[1], -1))


def plain_conv2d(
    x: Float[Tensor, "B C H W"], mask: Float[Tensor, "K N"], weight: Float[Tensor, "D C k1 k2"], dilation: int
) -> Float[Tensor, "B D H W"]:
    """Return the masked convolution without bias, as the thesis writes it.

    Args:
        x: features.
        mask: of 0 and 1.
        weight: of the layer.
        dilation: distance of neighbouring taps.

    Source: Thesis Algorithm 1.
    """
    patches = _unfold(x, (weight.shape[2], weight.shape[3]), dilation) * mask.to(x.dtype)
    return (weight.flatten(1).to(x.dtype) @ patches.flatten(1, 2)).unflatten(2, x.shape[2:])


class _SavedConv2d(torch.autograd.Function):
    """The plain convolution that keeps its input and unfolds it again in the backward pass (Thesis Fig. 8.4)."""

    @staticmethod
    def forward(
        ctx, x: Float[Tensor, "B C H W"], mask: Float[Tensor, "K N"], weight: Float[Tensor, "D C k1 k2"], dilation: int
    ) -> Float[Tensor, "B D H W"]:
        ctx.save_for_backward(x, mask, weight)
        ctx.dilation = dilation
        patches = _unfold(x, (weight.shape[2], weight.shape[3]), dilation).mul_(mask.to(x.dtype))
        return (weight.flatten(1).to(x.dtype) @ patches.flatten(1, 2)).unflatten(2, x.shape[2:])

    @staticmethod
    def backward(ctx, slope: Float[Tensor, "B D H W"]) -> tuple[Tensor | None, ...]:
        x, mask, weight = ctx.saved_tensors
        kernel, dilation, rows = (weight.shape[2], weight.shape[3]), ctx.dilation, slope.flatten(2)
        x_slope = weight_slope = None
        if ctx.needs_input_grad[2]:
            # Unfolded once more instead of kept: K times the input's memory, for one of three passes' time.
            patches = _unfold(x, kernel, dilation).mul_(mask.to(x.dtype)).flatten(1, 2)
            weight_slope = torch.einsum("bol,bil->oi", rows, patches).view_as(weight).to(weight.dtype)
            # Before the next unfolding: both at once would be the peak that this function is there to avoid.
            del patches
        if ctx.needs_input_grad[0]:
            patches = (weight.flatten(1).T.to(rows.dtype) @ rows).unflatten(1, (x.shape[1], -1))
            patches.mul_(mask.to(rows.dtype))
            padding = tuple(dilation * (k // 2) for k in kernel)
            x_slope = F.fold(patches.flatten(1, 2), x.shape[2:], kernel, dilation=dilation, padding=padding)
        return x_slope, None, weight_slope, None


def saved_conv2d(
    x: Float[Tensor, "B C H W"], mask: Float[Tensor, "K N"], weight: Float[Tensor, "D C k1 k2"], dilation: int
) -> Float[Tensor, "B D H W"]:
    """Return what `plain_conv2d` returns, with the memory of one unfolding less (Thesis Fig. 8.4)."""
    return _SavedConv2d.apply(x, mask, weight, dilation)


class LocallyMaskedConv2d(nn.Module):
    """A convolution whose kernel is masked differently at every position.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel: side of the square kernel, odd.
        dilation: distance of neighbouring taps.
        first: whether the layer reads the picture itself, so that its masks hide the centre.
        mask_conditioning: whether to add a learned linear function of the mask (Thesis Algorithm 4).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        dilation: int = 1,
        *,
        first: bool = False,
        mask_conditioning: bool = False,
    ) -> None:
        """Make the layer with PyTorch's initialization of convolutions."""
        super().__init__()
        self.kernel, self.dilation, self.first, self.method = kernel, dilation, first, "grouped"
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(out_channels))
        # Zero, so that a network begins as one without it.
        self.mask_weight = nn.Parameter(torch.zeros(out_channels, kernel * kernel)) if mask_conditioning else None
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        bound = 1.0 / math.sqrt(in_channels * kernel * kernel)
        nn.init.uniform_(self.bias, -bound, bound)

    @property
    def mask_key(self) -> tuple[int, int, bool]:
        """Kernel, dilation, and whether the layer is a first one: layers of one key share their masks."""
        return self.kernel, self.dilation, self.first

    def forward(self, x: Float[Tensor, "B C H W"], mask: LayerMask) -> Float[Tensor, "B D H W"]:
        """Return the layer's features.

        They have the precision of the input or of autocast, and the layout of the input unless the masks are turned.

        Raises:
            UserError: where the masks are of another size or kernel.
        """
        if tuple(x.shape[2:]) != tuple(mask.size) or mask.kernel != (self.kernel, self.kernel):
            raise UserError(
                f"mask: expected one for a {self.kernel} x {self.kernel} kernel over {x.shape[2]} x {x.shape[3]} "
                f"pixels, got {mask.kernel[0]} x {mask.kernel[1]} over {mask.size[0]} x {mask.size[1]}"
            )
        device = x.device.type
        if torch.is_autocast_enabled(device):
            x = x.to(torch.get_autocast_dtype(device))
        # The casts are ours: autocast would cast inside custom functions a second time, and differently backward.
        with torch.autocast(device, enabled=False):
            if self.method == "grouped":
                y = grouped_conv2d(x, self.weight, self.bias, mask.plan)
            else:
                conv = plain_conv2d if self.method == "plain" else saved_conv2d
                y = conv(x, mask.matrix, self.weight, self.dilation) + self.bias.to(x.dtype)[:, None, None]
            if self.mask_weight is not None:
                y = y + (self.mask_weight @ mask.matrix.to(self.mask_weight)).view(-1, *mask.size).to(y.dtype)
            return y


def use_method(network: nn.Module, method: Method) -> nn.Module:
    """Make every locally masked convolution of a network compute as named, in place, and return the network."""
    for module in network.modules():
        if isinstance(module, LocallyMaskedConv2d):
            module.method = method
    return network
