"""Twin of the kernels of a grid: rays by all their samples at once, gradients by automatic differentiation.

What is compiled leaps over empty cells and stops behind what is opaque; here such samples are computed and left out.
Any dtype will do: tests use float64.
"""

import math

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from runtime.field.cameras import Rays
from runtime.field.volume import Rendering, composite, opacity, weights_of

RAW_FLOOR = -12.0
OPAQUE = 1e-3


def corners_of(
    values: Float[Tensor, "N N N G 4"], at: Float[Tensor, "S 3"]
) -> tuple[Float[Tensor, "2 2 2 S G 4"], Float[Tensor, "S 3"]]:
    """Return the values at the eight nodes around places in node coordinates, and where the places lie between them."""
    low = at.floor().long().clamp(0, len(values) - 2)
    x, y, z = low.unbind(1)
    nodes = [values[x + a, y + b, z + c] for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    return torch.stack(nodes).view(2, 2, 2, *nodes[0].shape), at - low


def interpolate(
    values: Float[Tensor, "N N N G 4"], at: Float[Tensor, "S 3"], directions: Float[Tensor, "S 3"]
) -> Float[Tensor, "S 4"]:
    """Return raw density and colour at places in node coordinates, seen along directions."""
    corners, part = corners_of(values, at)
    for axis in range(3):
        share = part[:, axis, None, None]
        corners = corners[0] * (1 - share) + corners[1] * share
    # (S, G, 4): the first group as it is, the colours of the others by the component of the direction.
    factors = torch.cat([torch.ones_like(directions[:, :1]), directions], 1)[:, : values.shape[3], None].repeat(1, 1, 4)
    factors[:, 1:, 0] = 0
    return (corners * factors).sum(1)


def slope_of(values: Float[Tensor, "N N N G 4"], at: Float[Tensor, "S 3"]) -> Float[Tensor, "S 3"]:
    """Return the gradient of the raw density by position in nodes."""
    corners, part = corners_of(values, at)
    raw = corners[..., 0, 0]
    slopes = []
    for axis in range(3):
        difference = raw.select(axis, 1) - raw.select(axis, 0)
        for other in [k for k in range(3) if k != axis]:
            share = part[:, other]
            difference = difference[0] * (1 - share) + difference[1] * share
        slopes.append(difference)
    return torch.stack(slopes, 1)


def steps_of(
    low: Float[Tensor, " 3"], side: float, size: int, rays: Rays, jitter: Float[Tensor, " R"], step: float
) -> tuple[Float[Tensor, "R S"], Bool[Tensor, "R S"], Float[Tensor, "R S 3"]]:
    """Return all steps of rays through a box: distances in nodes, which lie inside, and node coordinates."""
    per_unit = (size - 1) / side
    origins = (rays.origins - low) * per_unit
    tiny = rays.directions.abs() < 1e-9
    inverse = torch.where(tiny, 1e9, 1 / torch.where(tiny, 1.0, rays.directions))
    first = -origins * inverse
    second = (size - 1 - origins) * inverse
    near = torch.minimum(first, second).amax(1).clamp(min=0)
    far = torch.maximum(first, second).amin(1)
    count = math.ceil(math.sqrt(3) * (size - 1) / step) + 1
    t = (near + jitter * step)[:, None] + torch.arange(count, dtype=near.dtype) * step
    inside = t < far[:, None]
    return t, inside, origins[:, None] + t[..., None] * rays.directions[:, None]


def march_rays(
    values: Float[Tensor, "N N N G 4"],
    occupied: Bool[Tensor, "M M M"],
    box: tuple[Float[Tensor, " 3"], float],
    rays: Rays,
    jitter: Float[Tensor, " R"],
    *,
    step: float = 0.5,
    extent: float = 64.0,
    normals: bool = False,
) -> Rendering:
    """Return what rays show of a grid: the twin of `kernels.march.march`.

    Args:
        values: raw density and colour at each node.
        occupied: cells that may hold something; each has (N - 1) / M nodes along its edge.
        box: lowest corner and side, in world units.
        rays: in world units.
        jitter: where the first sample lies in the first step, in [0, 1).
        step: between samples, in nodes.
        extent: length of the box's side in the unit whose inverse the density has.
        normals: whether to composite normals.
    """
    size = len(values)
    low, side = box
    t, inside, at = steps_of(low, side, size, rays, jitter, step)
    nodes = at.detach().floor().long().clamp(0, size - 2)
    x, y, z = (nodes // ((size - 1) // len(occupied))).unbind(2)
    inside = inside & occupied[x, y, z]
    directions = rays.directions[:, None].expand_as(at).reshape(-1, 3)
    value = interpolate(values, at.reshape(-1, 3), directions).view(*t.shape, 4)
    raw = value[..., 0]
    alpha = opacity(functional.softplus(raw), step * extent / (size - 1))
    alpha = torch.where(inside & (raw >= RAW_FLOOR), alpha, 0.0)
    _, before, _ = weights_of(alpha.detach())
    alpha = torch.where(before < OPAQUE, 0.0, alpha)
    world = side / (size - 1)
    directions_of = None
    if normals:
        slope = slope_of(values, at.reshape(-1, 3)).view(*t.shape, 3)
        directions_of = -functional.normalize(slope, dim=-1, eps=1e-9)
    return composite(alpha, value[..., 1:], t * world, unit=side, length=step * world, normals=directions_of)


def total_variation(
    values: Float[Tensor, "N N N G 4"], weights: Float[Tensor, " 2"], epsilon: float
) -> Float[Tensor, ""]:
    """Return the weighted sum of sqrt(d^2 + epsilon) over the differences of neighbours, of all nodes."""
    scale = torch.stack([weights[0], weights[1], weights[1], weights[1]]).to(values.dtype).repeat(values.shape[3], 1)
    # Groups that depend on the direction have no density.
    scale[1:, 0] = 0
    total = values.new_zeros(())
    for axis in range(3):
        difference = values.diff(dim=axis)
        total = total + ((difference.square() + epsilon).sqrt() * scale).sum()
    return total


def active_nodes(occupied: Bool[Tensor, "M M M"], size: int) -> Int64[Tensor, " A"]:
    """Return the nodes that are corners of an interval inside an occupied cell."""
    side = (size - 1) // len(occupied)
    active = torch.zeros(size, size, size, dtype=torch.bool)
    for x, y, z in occupied.nonzero().tolist():
        active[x * side : (x + 1) * side + 1, y * side : (y + 1) * side + 1, z * side : (z + 1) * side + 1] = True
    return active.flatten().nonzero().flatten()
