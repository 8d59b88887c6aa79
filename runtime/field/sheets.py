"""Pictures of results: contact sheets, and depth and normals as colours."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def contact_sheet(
    pictures: Sequence[Float[Tensor, "3 H W"]], columns: int, *, gap: int = 2, background: float = 1.0
) -> Float[Tensor, "3 H2 W2"]:
    """Return pictures side by side, row by row, each cell as large as the largest of them.

    Args:
        pictures: RGB in [0, 1].
        columns: pictures in a row.
        gap: pixels between them.
        background: grey in [0, 1] around them.
    """
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (1, 2))
    rows = -(-len(pictures) // columns)
    sheet = torch.full((3, rows * (height + gap) - gap, columns * (width + gap) - gap), background)
    for index, picture in enumerate(pictures):
        y, x = index // columns * (height + gap), index % columns * (width + gap)
        sheet[:, y : y + picture.shape[1], x : x + picture.shape[2]] = picture.detach().float().cpu()
    return sheet


def depth_picture(
    depth: Float[Tensor, "H W"], alpha: Float[Tensor, "H W"], span: tuple[float, float] | None = None
) -> Float[Tensor, "3 H W"]:
    """Return a depth map as a picture: near is light, far is dark, nothing is white.

    Args:
        depth: mean distances, premultiplied by alpha.
        alpha: opacity.
        span: distances that are lightest and darkest; by default those of the picture.
    """
    distance = depth / alpha.clamp(min=1e-6)
    seen = distance[alpha > 0.5]
    near, far = span or ((float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0))
    grey = 0.9 - 0.8 * ((distance - near) / max(far - near, 1e-6)).clamp(0, 1)
    return (grey * alpha + 1 - alpha).expand(3, *depth.shape).contiguous()


def normal_picture(normal: Float[Tensor, "H W 3"], alpha: Float[Tensor, "H W"]) -> Float[Tensor, "3 H W"]:
    """Return a map of normals as a picture: x, y and z in [-1, 1] are red, green and blue, nothing is white.

    Args:
        normal: mean normals, premultiplied by alpha.
        alpha: opacity.
    """
    unit = torch.nn.functional.normalize(normal, dim=-1)
    colour = (0.5 + 0.5 * unit) * alpha[..., None] + 1 - alpha[..., None]
    return colour.permute(2, 0, 1).contiguous()
