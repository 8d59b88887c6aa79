"""A grid of densities and colours from a picture and the thickness of what it shows."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from scipy import ndimage
from torch import Tensor

from runtime.field.fields.grid import DenseGrid, cell_of
from runtime.field.lifting.back import Back, choose_back
from runtime.field.lifting.inflate import inflate_parts, membrane
from runtime.field.lifting.masks import eroded, nearest_inside
from runtime.field.lifting.matte import foreground
from runtime.field.lifting.parts import appendages

BOX = (-1.0, -1.0, -1.0, 2.0)
"""Lowest corner and side of the box: the picture's frame, and as deep."""

DISTANCE = 4.0
"""Of the camera that took the picture, from the middle of the box, in which the frame is just as large as the box."""

SHARPNESS = 4.0
"""Raw density one node below the surface."""

DEEPEST = 12.0
"""Largest magnitude of raw densities: beyond it nothing is changed by any gradient."""

ROUND = 0.55
"""Least depth of an object in parts of its width: what is flatter is blown up."""

BLOW = 1.7
"""Greatest factor of that on the depth."""

RIM = 2
"""Pixels at the outline whose colours are mixed with the background's, and are not used."""

BLUR = 0.03
"""Standard deviation of the blur of colours that face the sides, in parts of the picture's side."""

FACING = 4.0
"""Power of a normal's components in the mix of front and side: at 45 degrees both count the same."""


@dataclass(frozen=True)
class Lifted:
    """What `lift` makes of a picture."""

    field: DenseGrid
    mask: Bool[np.ndarray, "H W"]
    """The foreground."""
    parts: list[Bool[np.ndarray, "H W"]]
    """Appendages."""
    back: Literal["wrap", "mirror", "plain"]
    """What the back and the sides got."""


def lift(picture: Float[Tensor, "3 H W"], *, nodes: int = 97, back: Back = "auto") -> Lifted:
    """Return the solid that a picture suggests.

    Args:
        picture: RGB in [0, 1], square, of one object before an even background.
        nodes: of the grid along an axis; see `runtime.field.fields.grid.cell_of`.
        back: what back and sides look like. wrap: the picture from each side; mirror: the picture from the back too;
            plain: the colours of the outline, spread smoothly; auto: see `runtime.field.lifting.back`.
    """
    mask = foreground(picture)
    parts = appendages(picture, mask)
    # The square of the thickness is what is worked on: it is smooth at the outline, where the thickness is vertical.
    square = deepened(inflate_parts(mask, parts), mask)
    chosen = choose_back(picture, mask) if back == "auto" else back
    raw = raw_densities(square, nodes)
    spread = spread_colours(picture, mask)
    colours = front_colours(spread, nodes)
    if chosen == "plain":
        behind = front_colours(plain_colours(picture, mask), nodes)
        colours = np.where((coordinates(nodes) < 0)[:, None, None, None], behind, colours)
    # A node takes its colour from where its surface looks: along x from the picture, across from the sides.
    share = facing_sides(raw)[..., None]
    sides = wrapped(raw, spread) if chosen == "wrap" else blurred(spread, nodes)
    colours = (1 - share) * colours + share * sides
    values = np.concatenate([raw[..., None], colours], -1)[..., None, :].astype(np.float32)
    cells = (nodes - 1) // cell_of(nodes)
    field = DenseGrid(torch.from_numpy(values), torch.ones(cells, cells, cells, dtype=torch.uint8), torch.tensor(BOX))
    field.update_occupancy()
    return Lifted(field, mask, parts, chosen)


def coordinates(nodes: int) -> Float64[np.ndarray, " N"]:
    """Return where nodes lie along an axis of the box."""
    return np.linspace(-1, 1, nodes)


def deepened(square: Float64[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]) -> Float64[np.ndarray, "H W"]:
    """Return s of an object that is at least `ROUND` times as deep as it is wide, as far as `BLOW` goes."""
    columns = np.flatnonzero(mask.any(0))
    if not len(columns):
        return square
    width = columns[-1] - columns[0] + 1
    depth = 2 * np.sqrt(max(square.max(), 1e-6))
    factor = np.clip(ROUND * width / depth, 1.0, BLOW)
    # Negative values are distances outside the outline, which a deeper object does not move.
    return np.where(square > 0, square * factor**2, square)


def raw_densities(square: Float64[np.ndarray, "H W"], nodes: int) -> Float64[np.ndarray, "N N N"]:
    """Return raw densities of the solid x^2 < s: about the distance to its surface, in nodes, times `SHARPNESS`.

    A level set f = s - x^2 is |f| / |grad f| away to first order, which is smooth where the thickness is not.
    """
    side = square.shape[0]
    down, along = np.gradient(square)
    y, z = np.meshgrid(coordinates(nodes), coordinates(nodes), indexing="ij")
    at = pixels_of(y, z, side)
    s, slope = (
        ndimage.map_coordinates(values, at, order=1, mode="nearest") for values in (square, np.hypot(down, along))
    )
    # In pixels, as s is.
    x = (coordinates(nodes) * side / 2)[:, None, None]
    distance = (s - x**2) / np.sqrt(slope**2 + 4 * x**2 + 1.0)
    return np.clip(distance * (nodes - 1) / side * SHARPNESS, -DEEPEST, DEEPEST)


def pixels_of(y: Float64[np.ndarray, "*S"], z: Float64[np.ndarray, "*S"], side: int) -> list[np.ndarray]:
    """Return row and column, of pixel centres at whole numbers, of places in the picture's plane."""
    return [(1 - z) / 2 * side - 0.5, (1 + y) / 2 * side - 0.5]


def spread_colours(picture: Float[Tensor, "3 H W"], mask: Bool[np.ndarray, "H W"]) -> Float64[np.ndarray, "H W 3"]:
    """Return a picture whose pixels outside the foreground, and at its rim, have the nearest colour inside."""
    inner = eroded(mask, RIM)
    # A thin object is all rim.
    inner = inner if inner.any() else mask
    rgb = picture.double().numpy().transpose(1, 2, 0)
    if not inner.any():
        return rgb
    return rgb[nearest_inside(inner)]


def plain_colours(picture: Float[Tensor, "3 H W"], mask: Bool[np.ndarray, "H W"]) -> Float64[np.ndarray, "H W 3"]:
    """Return the colours of an object's outline, spread over it smoothly: a back without a face."""
    return membrane(spread_colours(picture, mask), eroded(mask, RIM + 1))


def front_colours(colours: Float64[np.ndarray, "H W 3"], nodes: int) -> Float64[np.ndarray, "N N N 3"]:
    """Return the colours of nodes as a camera in front sees them, and one behind, in its mirror image.

    Along rays, not along x: so the front view is the picture itself.
    """
    c = coordinates(nodes)
    x, y, z = np.meshgrid(c, c, c, indexing="ij")
    nearer = DISTANCE / (DISTANCE - np.abs(x))
    at = pixels_of(y * nearer, z * nearer, colours.shape[0])
    return np.stack([ndimage.map_coordinates(colours[..., i], at, order=1, mode="nearest") for i in range(3)], -1)


def blurred(picture: Float64[np.ndarray, "H W 3"], nodes: int) -> Float64[np.ndarray, "N N N 3"]:
    """Return the colours of the outline, blurred: seen from the side, each of its pixels would be a streak."""
    side = picture.shape[0]
    return front_colours(ndimage.gaussian_filter(picture, (BLUR * side, BLUR * side, 0)), nodes)


def wrapped(raw: Float64[np.ndarray, "N N N"], picture: Float64[np.ndarray, "H W 3"]) -> Float64[np.ndarray, "N 1 N 3"]:
    """Return the picture as it looks from the sides: each row as wide as the solid is deep there."""
    c = coordinates(len(raw))
    inside = raw > 0
    sides = np.empty((len(raw), 1, len(raw), 3))
    for level in range(len(raw)):
        y = c[np.flatnonzero(inside[:, :, level].any(0))]
        x = c[np.flatnonzero(inside[:, :, level].any(1))]
        # Rows without an object get any colour: nothing is there.
        middle, half, deep = ((y[0] + y[-1]) / 2, (y[-1] - y[0]) / 2, max(x[-1], 1e-3)) if len(y) else (0.0, 1.0, 1.0)
        across = middle + np.clip(c / deep, -1, 1) * half
        at = pixels_of(across, np.full(len(c), c[level]), picture.shape[0])
        for i in range(3):
            sides[:, 0, level, i] = ndimage.map_coordinates(picture[..., i], at, order=1, mode="nearest")
    return sides


def facing_sides(raw: Float64[np.ndarray, "N N N"]) -> Float64[np.ndarray, "N N N"]:
    """Return how much the surface nearest to a node faces a side: 0 for front and back, 1 for left and right."""
    gradients = np.gradient(ndimage.gaussian_filter(raw, 1.5))
    forward, sideward = (np.abs(gradients[axis]) ** FACING for axis in (0, 1))
    return ndimage.gaussian_filter(sideward / (forward + sideward + 1e-6), 1.0)
