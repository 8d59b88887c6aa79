"""Pictures of a field: colour, alpha, depth and normals through a camera."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.field.cameras import Cameras, Rays, pixel_centres
from runtime.field.volume import Rendering

Render = Callable[[Rays], Rendering]
"""What rays show of a field, with or without normals."""


@dataclass(frozen=True)
class View:
    """What a camera sees."""

    colour: Float[Tensor, "H W 3"]
    """RGB before black: premultiplied with alpha."""
    alpha: Float[Tensor, "H W"]
    depth: Float[Tensor, "H W"]
    """Mean distance, weighted as colours are: divided by alpha it is the distance of what is seen."""
    normal: Float[Tensor, "H W 3"] | None

    def on(self, background: float) -> Float[Tensor, "H W 3"]:
        """Return the colours before a grey background in [0, 1], clamped to [0, 1]."""
        return (self.colour + (1 - self.alpha[..., None]) * background).clamp(0, 1)


@torch.no_grad()
def look(render: Render, cameras: Cameras, view: int = 0, *, samples: int = 2) -> View:
    """Return what one camera sees of a field.

    Args:
        render: draws rays.
        cameras: among them the camera.
        view: which one.
        samples: places a pixel along each axis, whose mean a pixel is.
    """
    height, width = cameras.sizes[view].tolist()
    centres = pixel_centres(height, width)
    shown = []
    for row, column in product(range(samples), repeat=2):
        offset = torch.tensor([(column + 0.5) / samples - 0.5, (row + 0.5) / samples - 0.5])
        shown.append(render(cameras.rays(view, centres + offset)))

    def mean(values: list[Tensor]) -> Tensor:
        return (torch.stack(values).sum(0) / len(values)).view(height, width, *values[0].shape[1:])

    normals = [r.normal for r in shown if r.normal is not None]
    return View(
        colour=mean([r.colour for r in shown]),
        alpha=mean([r.alpha for r in shown]),
        depth=mean([r.depth for r in shown]),
        normal=mean(normals) if normals else None,
    )
