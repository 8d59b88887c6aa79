"""Augmentation of a drawing before a network judges it: random changes of perspective and random crops.

Coordinates are normalized: (-1, -1) is the outer corner of the first pixel and (1, 1) that of the last.
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
"""Of the picture, clockwise from the first pixel."""

CROP_SCALE = (0.7, 0.9)
"""Area of a crop in parts of the picture's."""

CROP_RATIO = (3 / 4, 4 / 3)
"""Width of a crop over its height; torchvision's default, which the authors' program leaves as it is."""

CROP_TRIES = 10
"""Draws of a crop that does not fit into the picture before all of it is taken, as in torchvision."""

Window = tuple[int, int, int, int]
"""First row, first column, rows and columns of a part of a picture."""


def random_view(
    images: Float[Tensor, "B 3 H W"],
    size: int,
    generator: torch.Generator,
    *,
    fill: Float[Tensor, "B 3"],
    probability: float = 0.7,
    distortion: float = 0.5,
) -> Float[Tensor, "B 3 {size} {size}"]:
    """Return `random_crop` of `random_perspective`; what lies outside of the crop is not computed.

    Args:
        images: at least `size` a side, differentiable.
        size: in pixels.
        generator: of the draws.
        fill: colour outside of the picture, differentiable.
        probability: in [0, 1]; Thesis 11.9.2 has 0.7.
        distortion: in [0, 1]; Thesis 11.9.2 has 0.5.
    """
    maps = _random_maps(len(images), generator, probability, distortion)
    window = _random_window(images, size, generator)
    return _cropped(images, window) if maps is None else warp(images, maps, fill, window=window)


def random_perspective(
    images: Float[Tensor, "B 3 H W"],
    generator: torch.Generator,
    *,
    fill: Float[Tensor, "B 3"],
    probability: float = 0.7,
    distortion: float = 0.5,
) -> Float[Tensor, "B 3 H W"]:
    """Return the pictures, each with `probability` seen in a random perspective.

    Each corner moves inwards along both axes, independently and uniformly by at most `distortion` of half the side, as
    in Kornia's RandomPerspective. What the picture does not cover is `fill`.

    Args:
        images: differentiable.
        generator: of the draws.
        fill: colour outside of the picture, differentiable.
        probability: in [0, 1]; Thesis 11.9.2 has 0.7.
        distortion: in [0, 1]; Thesis 11.9.2 has 0.5.
    """
    maps = _random_maps(len(images), generator, probability, distortion)
    return images if maps is None else warp(images, maps, fill)


def _random_maps(
    count: int, generator: torch.Generator, probability: float, distortion: float
) -> Float64[Tensor, "{count} 3 3"] | None:
    """Return a projective map for each picture, or None where all stay as they are."""
    chosen = torch.rand(count, generator=generator) < probability
    # Drawn even where no picture is chosen, so that the crop after it is the same either way.
    shift = distortion * torch.rand(count, 4, 2, generator=generator)
    if not chosen.any():
        return None
    corners = torch.tensor(CORNERS)
    moved = corners * (1.0 - shift * chosen[:, None, None])
    return homography(moved, corners.expand(count, 4, 2))


def homography(source: Float[Tensor, "B 4 2"], target: Float[Tensor, "B 4 2"]) -> Float64[Tensor, "B 3 3"]:
    """Return the projective maps that take four points to four others.

    Args:
        source: no three on a line.
        target: where they go.
    """
    # Two equations a point, linear in the map's eight unknown entries: u (g x + h y + 1) = a x + b y + c, and v alike.
    x, y = source.double().unbind(-1)
    u, v = target.double().unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows_u = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    rows_v = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    entries = torch.linalg.solve(torch.cat([rows_u, rows_v], 1), torch.cat([u, v], 1))
    return torch.cat([entries, torch.ones_like(entries[:, :1])], 1).view(-1, 3, 3)


def warp(
    images: Float[Tensor, "B 3 H W"],
    maps: Float64[Tensor, "B 3 3"],
    fill: Float[Tensor, "B 3"],
    *,
    window: Window | None = None,
) -> Float[Tensor, "B 3 _ _"]:
    """Return pictures whose pixel at p shows the picture at maps(p), bilinear, or a window of them.

    Args:
        images: differentiable.
        maps: from places in the result to places in the picture.
        fill: what is outside of the picture, differentiable.
        window: the part of the result to compute; None means all.
    """
    height, width = images.shape[-2:]
    top, left, rows, columns = window or (0, 0, height, width)
    wide: dict[str, Any] = {"dtype": torch.float64, "device": images.device}
    y = (torch.arange(top, top + rows, **wide) + 0.5) * (2.0 / height) - 1.0
    x = (torch.arange(left, left + columns, **wide) + 0.5) * (2.0 / width) - 1.0
    places = torch.stack([*torch.meshgrid(x, y, indexing="xy"), torch.ones(rows, columns, **wide)], -1)
    seen = torch.einsum("bij,hwj->bhwi", maps.to(images.device, non_blocking=True), places)
    # `align_corners=False` below has -1 and 1 at the outer corners of pixels, as this module does.
    grid = (seen[..., :2] / seen[..., 2:]).to(images)
    # `grid_sample` pads with zeros only: zeros outside of the difference are `fill` outside of the sum.
    colour = fill[:, :, None, None]
    return grid_sample(images - colour, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + colour


def random_crop(
    images: Float[Tensor, "B 3 H W"], size: int, generator: torch.Generator
) -> Float[Tensor, "B 3 {size} {size}"]:
    """Return a random square of `size` pixels of the pictures, the same for all.

    Args:
        images: at least `size` a side.
        size: in pixels.
        generator: of the draws.
    """
    return _cropped(images, _random_window(images, size, generator))


def resized_crops(
    images: Float[Tensor, "B C H W"], size: int, generator: torch.Generator, *, share: tuple[float, float]
) -> Float[Tensor, "B C {size} {size}"]:
    """Return a random square of each picture, scaled to `size` pixels bilinearly.

    Thesis 4.4.5 and 10.3 crop to about 0.8 of the area, its published voxels to 0.5 to 1.

    Args:
        images: square, differentiable.
        size: in pixels.
        generator: of the draws, three a picture.
        share: least and greatest part of the area that is shown, uniform between them; in (0, 1].
    """
    crops = []
    for image in images:
        part, down, right = torch.rand(3, generator=generator).tolist()
        side = image.shape[-1]
        crop_side = max(1, round(side * (share[0] + (share[1] - share[0]) * part) ** 0.5))
        top, left = int(down * (side - crop_side + 1)), int(right * (side - crop_side + 1))
        crop = image[None, :, top : top + crop_side, left : left + crop_side]
        crops.append(interpolate(crop, size=(size, size), mode="bilinear"))
    return torch.cat(crops)


def _random_window(images: Float[Tensor, "B 3 H W"], size: int, generator: torch.Generator) -> Window:
    height, width = images.shape[-2:]
    top = int(torch.randint(height - size + 1, (), generator=generator))
    left = int(torch.randint(width - size + 1, (), generator=generator))
    return top, left, size, size


def _cropped(images: Float[Tensor, "B 3 H W"], window: Window) -> Float[Tensor, "B 3 _ _"]:
    top, left, rows, columns = window
    return images[..., top : top + rows, left : left + columns]


def clip_views(
    images: Float[Tensor, "1 3 H W"], count: int, size: int, generator: torch.Generator
) -> Float[Tensor, "{count} 3 {size} {size}"]:
    """Return views of a picture, each of its own random perspective, distortion 0.5, and crop, before white.

    Args:
        images: the picture, differentiable.
        count: how many views.
        size: their side in pixels.
        generator: of the draws.
    """
    several = images.expand(count, -1, -1, -1)
    seen = random_perspective(several, generator, fill=images.new_ones(count, 3), probability=1.0, distortion=0.5)
    return random_resized_crop(seen, size, generator)


def random_resized_crop(
    images: Float[Tensor, "B 3 H W"], size: int, generator: torch.Generator
) -> Float[Tensor, "B 3 {size} {size}"]:
    """Return a random part of each picture, scaled to `size` pixels a side, bilinear.

    Args:
        images: differentiable.
        size: in pixels.
        generator: of the draws.
    """
    parts = []
    for image in images.split(1):
        top, left, rows, columns = random_part(image.shape[-2], image.shape[-1], generator)
        part = image[..., top : top + rows, left : left + columns]
        # Only a part that is scaled down needs averaging: CLIPDraw's never is.
        parts.append(interpolate(part, (size, size), mode="bilinear", antialias=max(rows, columns) > size))
    return torch.cat(parts)


def random_part(height: int, width: int, generator: torch.Generator) -> Window:
    """Return the first row, first column, rows and columns of a random part of a picture of a size in pixels."""
    for _ in range(CROP_TRIES):
        u, v = torch.rand(2, generator=generator).tolist()
        area = (CROP_SCALE[0] + (CROP_SCALE[1] - CROP_SCALE[0]) * u) * height * width
        # Uniform in the logarithm, so that tall parts are as likely as wide ones.
        ratio = math.exp(math.log(CROP_RATIO[0]) + (math.log(CROP_RATIO[1]) - math.log(CROP_RATIO[0])) * v)
        rows, columns = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if rows <= height and columns <= width:
            top = int(torch.randint(height - rows + 1, (), generator=generator))
            left = int(torch.randint(width - columns + 1, (), generator=generator))
            return top, left, rows, columns
    return 0, 0, height, width
