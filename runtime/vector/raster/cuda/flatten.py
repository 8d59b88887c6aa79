"""Vertices of all segments as one padded tensor, by operations of PyTorch that differentiate themselves.

The numbers are those of `kernels.outline.flatten`; the room is fixed by the canvas, so that no size has to be read from
the device.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from runtime.vector.raster.kernels.limits import MAX_EDGES, STRAIGHT


def room(canvas: tuple[int, int], tolerance: float) -> int:
    """Return the most edges of a segment: enough for any whose control points lie in the canvas.

    Second differences of such are at most four times its longer side. Others may stray by more than `tolerance`.
    """
    return min(MAX_EDGES, math.ceil(math.sqrt(0.75 * 4 * max(canvas) / tolerance)))


def flatten(
    controls: Float[Tensor, "B S 4 2"], tolerance: float, scale: tuple[float, float], most: int
) -> tuple[Float[Tensor, "B S M 2"], Int[Tensor, "B S"]]:
    """Return the vertices of each segment in picture pixels, zeros behind them, and how many each has.

    Args:
        controls: in canvas pixels, float64.
        tolerance: largest distance between curve and chord in canvas pixels.
        scale: x and y, of the picture to the canvas.
        most: M.
    """
    bend = (controls[:, :, :2] - 2 * controls[:, :, 1:3] + controls[:, :, 2:]).detach().norm(dim=3).amax(2)
    off = 0.75 * bend / tolerance
    # A number that is none, or infinite, has no edges to count: the clamp gives it the most.
    counts = torch.where(off < STRAIGHT, 1.0, off.sqrt().ceil().clamp(2, most)).nan_to_num(1.0)
    step = 1 / (counts - 2 + math.sqrt(2.0))[..., None, None]
    index = torch.arange(most, device=controls.device, dtype=controls.dtype)
    t = (index[:, None] - 1 + math.sqrt(0.5)) * step
    # By numbers, not by a tensor of them: copying it to a card would wait for the card.
    scaled = torch.stack([controls[..., 0] * scale[0], controls[..., 1] * scale[1]], -1)
    p0, p1, p2, p3 = scaled[:, :, None].unbind(3)
    # The curve as a polynomial, less step^2 / 12 of its second derivative; see `reference.outline.vertex_weights`.
    c2 = 3 * (p0 - 2 * p1 + p2)
    c3 = p3 - p0 + 3 * (p1 - p2)
    c1 = 3 * (p1 - p0) - step**2 / 2 * c3
    c0 = p0 - step**2 / 6 * c2
    vertices = torch.where(index[:, None] == 0, p0, c0 + t * (c1 + t * (c2 + t * c3)))
    there = index < counts[..., None]
    return torch.where(there[..., None], vertices, 0.0), counts.int()
