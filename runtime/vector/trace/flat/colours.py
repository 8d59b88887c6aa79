"""The colours of a flat picture, and what share of each pixel has which: what antialiasing has mixed is told apart.

Notation: I (H, W, 4) picture, premultiplied RGBA in [0, 1], in which mixing is a mean; a label is an index of the
palette.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy import ndimage

from runtime.vector.trace.flat.kernels.mixtures import MIXED, explain

Pixels = Float64[np.ndarray, "H W 4"]
Mask = Bool[np.ndarray, "H W"]

TOLERANCE = 3 / 255
"""Difference of a channel within which two pixels have one colour."""
MERGE = 8 / 255
"""Difference of a channel within which two areas have one colour."""
MOST_COLOURS = 96
"""Colours of a picture from which on it is not flat."""
REACHES = (2, 4)
"""Pixels around a mixed one in which its colours are sought: the tip of a corner is farther from its area."""
ROUNDS = 6
"""How often new colours are sought in thin parts, which have no area of their colour alone."""


@dataclass(frozen=True)
class Shares:
    """What each pixel is made of: up to three colours of a palette."""

    palette: Float64[np.ndarray, "K 4"]
    """Premultiplied RGBA."""
    labels: Int64[np.ndarray, "H W 3"]
    """Indices of the palette, the largest share first; -1 where there is none."""
    shares: Float64[np.ndarray, "H W 3"]
    """Sum to 1."""
    unexplained: float
    """Share of the pixels that are no mixture of the colours around them."""


SHADED = 24 / 255
"""Difference of a channel below which two areas that touch may be steps of a gradient."""
MOST_SHADED = 0.3
"""Share of the edges at which areas do so from which on a picture is shaded, not flat."""
FEW_COLOURS = 12
"""Colours up to which it is flat all the same."""


def shares_of(picture: Pixels) -> Shares | None:
    """Return what the pixels of a flat picture are made of; None where it is not flat."""
    labels, palette = _pure_areas(picture)
    if palette is None or _is_shaded(labels, palette):
        return None
    mixed, mixed_shares, residual = _mixtures(picture, labels, palette)
    unknown = residual > MIXED
    if unknown.any():
        if unknown.mean() > 0.25:
            return None
        nearest = np.asarray(ndimage.distance_transform_edt(labels < 0, return_distances=False, return_indices=True))
        base = labels[nearest[0], nearest[1]]
        palette = _thin_colours(picture, unknown, base, palette, mixed, mixed_shares)
    if palette is None or len(palette) > MOST_COLOURS:
        return None
    return Shares(palette, mixed, mixed_shares, float(unknown.mean()))


def _pure_areas(picture: Pixels) -> tuple[Int64[np.ndarray, "H W"], Float64[np.ndarray, "K 4"] | None]:
    """Return the labels of pixels that lie in 2 x 2 pixels of one colour (-1 elsewhere), and the palette."""
    height, width = picture.shape[:2]
    right = np.abs(picture[:, 1:] - picture[:, :-1]).max(axis=-1) <= TOLERANCE
    down = np.abs(picture[1:] - picture[:-1]).max(axis=-1) <= TOLERANCE
    block = right[:-1] & right[1:] & down[:, :-1] & down[:, 1:]
    pure = np.zeros((height, width), dtype=bool)
    for top in (0, 1):
        for left in (0, 1):
            pure[top : height - 1 + top, left : width - 1 + left] |= block
    labels = np.full((height, width), -1)
    if not pure.any():
        return labels, None
    levels = (picture * 255 + 0.5).astype(np.uint8)
    codes = np.ascontiguousarray(levels).view(np.uint32)[..., 0].ravel()
    # Runs of equal pixels are counted, not pixels: sorting them all would take longer than all the rest.
    starts = np.concatenate([[0], np.flatnonzero(codes[1:] != codes[:-1]) + 1])
    own = np.add.reduceat(pure.ravel().astype(np.int64), starts)
    values, inverse = np.unique(codes[starts], return_inverse=True)
    counts = np.bincount(inverse, own, minlength=len(values))
    exact = np.ascontiguousarray(values).view(np.uint8).reshape(-1, 4) / 255
    palette: list[np.ndarray] = []
    index = np.full(len(values), -1)
    # Frequent colours first: those near to one are the same, but for noise.
    for value in np.argsort(-counts, kind="stable"):
        if counts[value] == 0:
            break
        distances = np.abs(np.array(palette) - exact[value]).max(axis=1) if palette else np.array([np.inf])
        if distances.min() <= MERGE:
            index[value] = int(distances.argmin())
            continue
        if len(palette) == MOST_COLOURS:
            return labels, None
        index[value] = len(palette)
        palette.append(exact[value])
    each = np.repeat(index[inverse], np.diff(np.append(starts, len(codes)))).reshape(height, width)
    labels[pure] = each[pure]
    return labels, np.array(palette)


def _is_shaded(labels: Int64[np.ndarray, "H W"], palette: Float64[np.ndarray, "K 4"]) -> bool:
    """Return whether many areas touch others of nearly their colour, as the steps of a gradient do."""
    if len(palette) <= FEW_COLOURS:
        return False
    edges = near = 0
    for first, second in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        differ = (first != second) & (first >= 0) & (second >= 0)
        distance = np.abs(palette[first[differ]] - palette[second[differ]]).max(axis=1)
        edges += len(distance)
        near += int((distance < SHADED).sum())
        # An antialiased edge lies between two areas: pixels that are of neither count as edges, too.
        edges += int(((first < 0) != (second < 0)).sum()) // 2
    return near > MOST_SHADED * max(edges, 1)


def _mixtures(
    picture: Pixels, labels: Int64[np.ndarray, "H W"], palette: Float64[np.ndarray, "K 4"]
) -> tuple[Int64[np.ndarray, "H W 3"], Float64[np.ndarray, "H W 3"], Float64[np.ndarray, "H W"]]:
    """Return for each pixel the labels and shares that explain it best, and what they leave of it."""
    mixed = np.full((*labels.shape, 3), -1)
    shares = np.zeros((*labels.shape, 3))
    mixed[..., 0] = labels
    shares[..., 0] = labels >= 0
    residual = np.zeros(labels.shape)
    rows, columns = np.nonzero(labels < 0)
    # White and black, too: what lies below areas that cover all of it shines through their seams.
    papers = np.concatenate([palette, [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]]])
    for reach in REACHES:
        explain(picture, labels, palette, papers, rows, columns, reach, mixed, shares, residual)
        left = residual[rows, columns] > MIXED
        rows, columns = rows[left], columns[left]
    return mixed, shares, residual


def _thin_colours(picture, unknown, base, palette, mixed, shares) -> Float64[np.ndarray, "K 4"] | None:
    """Return the palette with the colours of thin parts, and fill in the shares of their pixels.

    A line of one pixel has no pixel that is all its own where it lies between two rows. Its colour is that of the pixel
    that differs most from what is around, and all its pixels are mixtures of the two.
    """
    colours = list(palette)
    left = unknown.copy()
    for _ in range(ROUNDS):
        parts, count = ndimage.label(left, structure=np.ones((3, 3)))  # pyright: ignore[reportGeneralTypeIssues]
        if count == 0:
            break
        far = np.abs(picture - np.array(colours)[base]).max(axis=-1) * left
        for part, box in enumerate(ndimage.find_objects(parts), 1):
            own = parts[box] == part
            ink = _ink(picture[box][own], far[box][own])
            distances = np.abs(np.array(colours) - ink).max(axis=1)
            label = int(distances.argmin())
            if distances[label] > 3 * MERGE:
                if len(colours) == MOST_COLOURS:
                    return None
                label = len(colours)
                colours.append(ink)
            _mix_in(picture[box], own, base[box], np.array(colours), label, mixed[box], shares[box], left[box])
    # What is a mixture of nothing gets the colour that is nearest.
    for row, column in zip(*np.nonzero(left), strict=True):
        label = int(np.abs(np.array(colours) - picture[row, column]).max(axis=1).argmin())
        mixed[row, column] = (label, -1, -1)
        shares[row, column] = (1.0, 0.0, 0.0)
    return np.array(colours)


def _ink(pixels: Float64[np.ndarray, "N 4"], far: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, "4"]:
    """Return the colour of a thin part: the most frequent one of the pixels that differ most from what is around."""
    strong = pixels[far >= 0.93 * far.max()]
    values, counts = np.unique((strong * 255 + 0.5).astype(np.int64), axis=0, return_counts=True)
    return values[counts.argmax()] / 255 if counts.max() > 1 else pixels[far.argmax()]


def _mix_in(picture, own, base, colours, label, mixed, shares, left) -> None:
    """Make the pixels of a part mixtures of a colour and what is around where that explains them; writes views."""
    below = colours[base[own]]
    line = colours[label] - below
    length = np.maximum((line**2).sum(-1), 1e-9)
    share = (((picture[own] - below) * line).sum(-1) / length).clip(0, 1)
    error = np.abs(picture[own] - below - share[:, None] * line).max(-1)
    good = error <= 2 * MIXED
    rows, columns = (index[good] for index in np.nonzero(own))
    share = share[good]
    one = np.where(share >= 0.5, label, base[rows, columns])
    two = np.where(share >= 0.5, base[rows, columns], label)
    mixed[rows, columns] = np.stack([one, two, np.full(len(one), -1)], axis=-1)
    shares[rows, columns] = np.stack([np.maximum(share, 1 - share), np.minimum(share, 1 - share), 0 * share], axis=-1)
    left[rows, columns] = False
