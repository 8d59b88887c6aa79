"""Feature maps as rows of channels, in an order that makes convolutions into row lookups and matrix products.

A map (B, C, H, W) becomes (B, R, C), R = H W. Where H and W are multiples of 4 the rows are ordered by their place in
a tile of 4x4 first (whose parity comes before), then by tile: what Winograd's tiles and strided convolutions want.
Otherwise they are in reading order. What a row number is made of a row's and a column's part, which add, so that the
indices of all lookups are sums of two short vectors.
"""

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from export.vjp.trace import look_up as find_rows
from export.vjp.trace import mix

Size = tuple[int, int]

TILE = 4
"""Side of the tiles by which rows are ordered, pixels."""

SUMMED = 1024
"""Most rows summed one after another; sums of those follow, so that float32 keeps its digits."""


@dataclass(frozen=True)
class Rows:
    """A feature map."""

    values: Tensor
    """(B, R, C)."""
    size: Size
    """H and W."""
    offset: Tensor | None = None
    """(1 or B, 1, C) to be added to every row: a bias that a normalization may take in for nothing."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes (B, C, H, W)."""
        return (self.values.shape[0], self.values.shape[2], *self.size)

    @property
    def whole(self) -> Tensor:
        """The values with their offset, (B, R, C)."""
        return self.values if self.offset is None else self.values + self.offset

    def with_values(self, values: Tensor) -> "Rows":
        """Return a map of the same size with other values."""
        return replace(self, values=values, offset=None)


def tiled(size: Size) -> bool:
    """Return whether the rows of a map are ordered by tiles."""
    return all(side % TILE == 0 for side in size)


def pixels(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Return y and x of the rows in their order, as arrays that broadcast against each other."""
    height, width = size
    if not tiled(size):
        return np.arange(height)[:, None], np.arange(width)[None]
    parity, half = np.arange(2), 2 * np.arange(2)
    y = parity[:, None, None] + half[:, None] + TILE * np.arange(height // TILE)
    x = parity[:, None, None] + half[:, None] + TILE * np.arange(width // TILE)
    return y[:, None, :, None, :, None], x[None, :, None, :, None, :]


def _parts(size: Size, axis: int, places: np.ndarray) -> np.ndarray:
    """Return what rows (axis 0) or columns (axis 1) add to a row's number; one outside adds all rows."""
    height, width = size
    if tiled(size):
        tiles = height * width // TILE**2
        phase = (8, 2) if axis == 0 else (4, 1)
        tile = places // TILE * (width // TILE if axis == 0 else 1)
        numbers = (phase[0] * (places % 2) + phase[1] * (places // 2 % 2)) * tiles + tile
    else:
        numbers = places * (width if axis == 0 else 1)
    return np.where((places >= 0) & (places < size[axis]), numbers, height * width)


def look_up(values: Tensor, size: Size, y: np.ndarray, x: np.ndarray) -> Tensor:
    """Return the rows at pixels, (B, N, C), N in the order of the broadcast places; zeros outside of the map.

    Args:
        values: (B, R, C) of a map of this size.
        size: H and W.
        y: rows of pixels, which may lie outside.
        x: columns, likewise; broadcast against `y`.
    """
    return _pick(values, _parts(size, 0, y), _parts(size, 1, x))


def _pick(values: Tensor, y: np.ndarray, x: np.ndarray) -> Tensor:
    """Return the rows whose numbers are the sums of two parts."""
    return find_rows(values, y.reshape(-1).tolist(), list(y.shape), x.reshape(-1).tolist(), list(x.shape))


def to_rows(x: Tensor, unshuffle: int = 1) -> Rows:
    """Return a map (B, C, H, W), or its pixel-unshuffle by a factor, as rows."""
    f, channels = unshuffle, int(x.shape[1])
    size = (int(x.shape[2]) // f, int(x.shape[3]) // f)
    count = size[0] * size[1]
    if f > 1:
        split = x.reshape(-1, channels, size[0], f, size[1], f).permute(0, 2, 4, 1, 3, 5)
    else:
        split = x.reshape(-1, channels, count).transpose(1, 2)
    values = split.reshape(-1, count, channels * f * f)
    if tiled(size):
        y, columns = pixels(size)
        values = _pick(values, y * size[1], columns)
    return Rows(values, size)


def to_map(rows: Rows, shuffle: int = 1) -> Tensor:
    """Return rows, or their pixel-shuffle by a factor, as a map (B, C, H, W)."""
    (height, width), f, values = rows.size, shuffle, rows.whole
    channels = int(values.shape[2]) // f**2
    if tiled(rows.size):
        y, x = (_parts(rows.size, axis, np.arange(side)) for axis, side in enumerate(rows.size))
        values = _pick(values, y[:, None], x[None])
    if f == 1:
        return values.transpose(1, 2).reshape(-1, channels, height, width)
    split = values.reshape(-1, height, width, channels, f, f).permute(0, 3, 1, 4, 2, 5)
    return split.reshape(-1, channels, height * f, width * f)


def sum_rows(values: Tensor) -> Tensor:
    """Return the sums over rows, (B, 1, C), of (B, R, C): products with ones, which are the fastest way."""
    count, channels = values.shape[1:]
    part = next(n for n in range(min(SUMMED, int(count)), 0, -1) if count % n == 0)
    if part < count:
        parts = mix([1.0] * part, 1, values.reshape(-1, int(count) // part, part, channels))
        values = parts.reshape(-1, int(count) // part, channels)
    return mix([1.0] * int(values.shape[1]), 1, values)
