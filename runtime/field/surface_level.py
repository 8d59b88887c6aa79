"""The density at which the surface of a field is what its pictures show.

A ray may be stopped by one dense place or by many thin ones. At a fixed density walls of the second kind have holes,
and at a lower one solids grow. So the surface's density is chosen by looking: its depth along rays should be that of
the field's own pictures.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from runtime.field.cameras import Cameras, Rays, box_span
from runtime.field.pictures import Render

LEVELS = tuple(0.25 * step for step in range(-16, 13))
"""Raw densities that are compared: from the fog that a new field is to what stops light within a node."""
CAMERAS = 12
"""Cameras at most, evenly among those that there are."""
SIDE = 40
"""Longest side of their pictures, pixels."""
OPAQUE = 0.9
EMPTY = 0.1
"""A ray in between belongs to an edge, and its depth is neither side's."""
TOLERANCE = 4.0
"""Intervals between nodes from which on a wrong depth is simply wrong; so is a surface where there should be none."""


@torch.no_grad()
def seen_level(render: Render, raw: Float[Tensor, "N N N"], box: Float[Tensor, " 4"], cameras: Cameras) -> float | None:
    """Return the raw density whose surface is nearest to what cameras see.

    None where they see nothing, and where no level lies between the lowest and the highest density.

    The measure is the mean distance, in intervals between nodes and up to `TOLERANCE`, of the first place along a ray
    that is denser from the depth that the field shows there. Of levels that are equally good the highest is returned.

    Args:
        render: draws rays.
        raw: raw densities on a grid over the box.
        box: lowest corner and side.
        cameras: that see the field.
    """
    interval = float(box[3]) / (len(raw) - 1)
    # At any other level there is no surface, however bad those within are.
    levels = torch.tensor([level for level in LEVELS if float(raw.min()) < level < float(raw.max())])
    seen = 0
    total = torch.zeros(len(levels), dtype=torch.float64)
    for view in torch.linspace(0, len(cameras) - 1, min(CAMERAS, len(cameras))).round().long().tolist():
        camera = cameras[view].scaled(min(1.0, SIDE / int(cameras.sizes[view].max())))
        rays = camera.all_rays(0)
        shown = render(rays)
        alpha, depth = shown.alpha, shown.depth / shown.alpha.clamp(min=1e-6)
        first = _first_places(raw, box, rays, levels)
        off = ((first - depth) / interval).abs().clamp(max=TOLERANCE)
        wrong = torch.where(first.isfinite(), TOLERANCE, 0.0)
        total += (off[:, alpha > OPAQUE].sum(1) + wrong[:, alpha < EMPTY].sum(1)).double()
        seen += int((alpha > OPAQUE).sum())
    if seen == 0 or len(levels) == 0:
        return None
    return float(levels[total == total.min()].max())


def _first_places(
    raw: Float[Tensor, "N N N"], box: Float[Tensor, " 4"], rays: Rays, levels: Float[Tensor, " L"]
) -> Float[Tensor, "L R"]:
    """Return how far along each ray the first place lies that is denser than each of the levels; infinity for none."""
    half, interval = box[3] / 2, float(box[3]) / (len(raw) - 1)
    local = Rays((rays.origins - box[:3] - half) / half, rays.directions / half)
    enter, leave = box_span(local)
    longest = float((leave - enter).max().clamp(min=interval))
    # Two samples an interval: what is thinner than a node is not in the grid.
    steps = torch.arange(0, longest, interval / 2)
    t = enter[:, None] + steps
    at = local.origins[:, None] + t[..., None] * local.directions[:, None]
    # grid_sample's last coordinate is the first axis.
    values = functional.grid_sample(raw[None, None].float(), at.flip(-1)[None, None], align_corners=True)[0, 0, 0]
    values = torch.where(t <= leave[:, None], values, -torch.inf).cummax(1).values
    # Samples that are not denser than a level: as many lie before the first one that is.
    before = torch.searchsorted(values, levels.expand(len(values), -1).contiguous(), right=True)
    places = t.gather(1, before.clamp(max=len(steps) - 1))
    return torch.where(before < len(steps), places, torch.inf).T
