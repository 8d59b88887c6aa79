"""Where a tracer puts its next paths: regions of one colour where the drawing is most wrong.

As in LIVE (arXiv:2206.04655, section 3.2) a path starts on a connected component of the error. Here a component is of
pixels alike in the target, or alike in their error; it is tried as the closed path that follows its outline, and the
one whose painting lowers the squared error most is taken. Then the next is sought as if that one were painted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Integer
from PIL import Image
from scipy import ndimage

from runtime.vector.trace.outlines import Points, fit_closed, sample_closed, trace_outline

Picture = Float64[np.ndarray, "H W 3"]
Mask = Bool[np.ndarray, "H W"]
Labels = Integer[np.ndarray, "H W"]

PALETTES = (3, 6, 12, 24)
"""Colours to which the target is reduced, from silhouettes to details."""
ERROR_COLOURS = 8
"""Colours to which the error is reduced."""
MIN_PIXELS = 3
"""Fewest pixels of a region."""
MAX_HELPFUL = 6
"""Helpful paths that are compared for each that is chosen."""
MAX_REGIONS = 48
"""Most regions that are examined for each path that is chosen."""
MIN_HOLE = 0.5
"""Size of a hole, as a part of the region around it, from which both are drawn as one path over the other."""


@dataclass(frozen=True)
class Patch:
    """A closed path that is about to be added."""

    points: Points
    """Control points."""
    colour: Float64[np.ndarray, "3"]
    """RGB in [0, 1]."""
    gain: float
    """By how much painting it lowers the squared error, summed over pixels and channels."""


def border_colour(target: Picture) -> Float64[np.ndarray, "3"]:
    """Return the RGB that is most frequent along the border of a picture, exactly if the border is flat."""
    border = np.concatenate([target[0], target[-1], target[:, 0], target[:, -1]])
    # Colours of a border vary by noise and antialiasing: those that agree to 4 bits a channel are counted together.
    keys = (border * 15 + 0.5).astype(np.int64) @ np.array([256, 16, 1])
    values, counts = np.unique(keys, return_counts=True)
    return np.median(border[keys == values[counts.argmax()]], axis=0)


def find_patches(target: Picture, drawn: Picture, count: int, *, segments: int, min_gain: float) -> list[Patch]:
    """Return up to `count` paths to paint, in order, over what is drawn.

    Args:
        target: RGB in [0, 1].
        drawn: the same, of the drawing so far.
        count: most paths.
        segments: cubic segments a path.
        min_gain: gain, a pixel of the picture, below which no path is worth its place.
    """
    search = _Search(target, drawn, segments)
    patches: list[Patch] = []
    while len(patches) < count:
        best = search.best(most=count - len(patches))
        if sum(patch.gain for patch in best) <= min_gain * len(best) * target.shape[0] * target.shape[1]:
            break
        for patch in best:
            search.paint(patch)
        patches += best
    return patches


class _Search:
    """The regions of a target, and the error as it would be with the paths chosen so far."""

    def __init__(self, target: Picture, drawn: Picture, segments: int) -> None:
        self.target = target
        self.flat = target.reshape(-1, 3)
        self.segments = segments
        self.error = ((target - drawn) ** 2).sum(axis=-1).ravel()
        maps = [components(quantized(target, colours)) for colours in PALETTES]
        # A stem joins two parts to one component. Opened, each part can be a path of its own.
        maps.append(components(opened(quantized(target, PALETTES[1]))))
        maps.append(components(quantized(0.5 + 0.5 * (target - drawn), ERROR_COLOURS)))
        self.regions = _Regions(maps, target)
        # The shapes of a region depend on the target alone and are fitted once; what they gain changes with every path.
        self.shapes: dict[tuple[int, int], list[list[_Shape]]] = {}
        self.useless: set[tuple[int, int]] = set()

    def best(self, most: int) -> list[Patch]:
        """Return the best path, or two where a ring and what it encloses are better; empty where none helps."""
        best: list[Patch] = []
        helpful = 0
        for region in self.regions.promising(self.error, MAX_REGIONS, self.useless):
            candidates = self.candidates(*region, most)
            gains = [_mean_gain(patches) for patches in candidates]
            if max(gains) > max(_mean_gain(best), 0.0):
                best = candidates[int(np.argmax(gains))]
            helpful += max(gains) > 0
            # What gains nothing now gains nothing until a path changes the error there; `paint` takes it off the list.
            if max(gains) <= 0:
                self.useless.add(region)
            if helpful >= MAX_HELPFUL:
                break
        return best

    def candidates(self, which: int, label: int, most: int) -> list[list[Patch]]:
        """Return the ways to draw a region with at most `most` paths, and what each gains now."""
        if (which, label) not in self.shapes:
            self.shapes[which, label] = self.fit(self.regions.mask(which, label))
        return [self.painted(shapes) for shapes in self.shapes[which, label] if len(shapes) <= most]

    def painted(self, shapes: list["_Shape"]) -> list[Patch]:
        """Return the paths of shapes, each with what painting it after the ones before gains now."""
        error, patches = self.error, []
        for shape in shapes:
            patches.append(Patch(shape.points, shape.colour, float(error[shape.inside].sum() - shape.left.sum())))
            if len(shapes) > 1:
                error = error.copy()
                error[shape.inside] = shape.left
        return patches

    def fit(self, region: Mask) -> list[list["_Shape"]]:
        """Return the ways to draw a region: whole; where it is a ring, also with its largest hole over it."""
        whole = self.shape_of(region)
        hole = largest_hole(region)
        if hole is None:
            return [[whole]]
        inner = self.shape_of(hole)
        # The third way draws the rim of the hole alone, as wide as the ring is at most places. What else belongs to the
        # region, such as a stem or a handle, is chosen later, as regions of its own.
        inside = np.asarray(ndimage.distance_transform_edt(region | hole))
        rim = np.asarray(ndimage.binary_dilation(hole)) & region
        width = float(np.median(inside[rim]))
        disc = np.asarray(ndimage.distance_transform_edt(~hole)) < width + 0.5
        return [[whole], [whole, inner], [self.shape_of(disc, colour=whole.colour), inner]]

    def shape_of(self, region: Mask, colour: Float[np.ndarray, "3"] | None = None) -> "_Shape":
        """Return the closed path around a region, filled with its median colour unless one is given."""
        points = fit_closed(trace_outline(region), self.segments)
        # Antialiased pixels along the rim pull the mean towards the colours around, and hardly the median.
        colour = np.median(self.target[region], axis=0) if colour is None else colour
        inside = np.flatnonzero(filled_mask(points, region.shape))
        return _Shape(points, colour, inside, ((self.flat[inside] - colour) ** 2).sum(axis=-1))

    def paint(self, patch: Patch) -> None:
        """Bring the error up to date, and make the regions that the path touches candidates again."""
        mask = filled_mask(patch.points, self.target.shape[:2]).ravel()
        self.error[mask] = ((self.flat[mask] - patch.colour) ** 2).sum(axis=-1)
        self.useless = {region for region in self.useless if not mask[self.shapes[region][0][0].inside].any()}


@dataclass(frozen=True)
class _Shape:
    """A closed path of one colour: the flat indices of the pixels inside, and their squared error once painted."""

    points: np.ndarray
    colour: np.ndarray
    inside: np.ndarray
    left: np.ndarray


def _mean_gain(patches: list[Patch]) -> float:
    return sum(patch.gain for patch in patches) / max(len(patches), 1)


class _Regions:
    """Connected components of several label maps, and the squared error that painting each leaves."""

    def __init__(self, maps: Sequence[Labels], target: Picture) -> None:
        self.maps = [labels.ravel() for labels in maps]
        self.target = target
        flat = target.reshape(-1, 3)
        self.sizes = [np.bincount(labels) for labels in self.maps]
        self.left = [self._spread(labels, flat) for labels in self.maps]

    @staticmethod
    def _spread(labels: np.ndarray, flat: np.ndarray) -> np.ndarray:
        """Return each component's summed squared distance from its mean colour."""
        sizes = np.maximum(np.bincount(labels), 1)
        sums = np.stack([np.bincount(labels, flat[:, channel]) for channel in range(3)], axis=1)
        squares = np.bincount(labels, (flat**2).sum(axis=-1))
        return squares - (sums**2).sum(axis=-1) / sizes

    def promising(self, error: np.ndarray, count: int, skip: set[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return up to `count` components, as (map, label), without `skip`: those whose exact painting gains most."""
        regions = []
        for which, labels in enumerate(self.maps):
            gain = np.bincount(labels, error) - self.left[which]
            gain[self.sizes[which] < MIN_PIXELS] = 0
            # Label 0 is no region: it is what `opened` has left out.
            gain[0] = 0
            gain[[label for other, label in skip if other == which]] = 0
            regions += [(float(gain[label]), which, int(label)) for label in np.argsort(-gain)[:count]]
        regions = sorted((region for region in regions if region[0] > 0), reverse=True)
        return [(which, label) for _, which, label in regions[:count]]

    def mask(self, which: int, label: int) -> Mask:
        """Return the pixels of a component."""
        return (self.maps[which] == label).reshape(self.target.shape[:2])


def largest_hole(region: Mask) -> Mask | None:
    """Return the mask of a region's largest hole; None where it is smaller than `MIN_HOLE` of the region."""
    labels = labelled(np.asarray(ndimage.binary_fill_holes(region)) & ~region)
    if not labels.any():
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax() if sizes.max() >= MIN_HOLE * region.sum() else None


def quantized(picture: Picture, colours: int) -> Labels:
    """Return the index of each pixel's colour in a palette of the `colours` that fit a picture best, RGB in [0, 1]."""
    image = Image.fromarray((picture * 255 + 0.5).astype(np.uint8))
    return np.asarray(image.quantize(colors=colours, method=Image.Quantize.MEDIANCUT, kmeans=1))


def opened(values: Labels) -> Labels:
    """Return the values, with -1 in the thin parts of each region, up to 4 pixels wide, which join others."""
    disc = np.hypot(*np.mgrid[-2:3, -2:3]) < 2.5
    result = np.full(values.shape, -1)
    for value in np.unique(values):
        result = np.where(np.asarray(ndimage.binary_opening(values == value, disc)), value, result)
    return result


def components(values: Labels) -> Labels:
    """Return labels, from 1, of the 4-connected regions of equal value; 0 where that is negative."""
    labels, count = np.zeros(values.shape, dtype=np.int64), 0
    for value in np.unique(values[values >= 0]):
        own = labelled(values == value)
        labels += np.where(own > 0, own + count, 0)
        count += own.max()
    return labels


def labelled(mask: Mask) -> Labels:
    """Return labels, from 1, of the 4-connected regions of a mask."""
    labels = np.zeros(mask.shape, dtype=np.int64)
    # SciPy joins pixels by their sides by default, and `trace_outline` relies on that.
    ndimage.label(mask, output=labels)
    return labels


def filled_mask(points: Points, shape: tuple[int, ...], per_segment: int = 12) -> Mask:
    """Return the pixels of a picture whose middle a closed path winds round; `shape` begins with height and width."""
    # Each edge adds its direction to the first pixel right of it in every row that it crosses; the running sum along a
    # row is then the winding number.
    start = sample_closed(points, per_segment)
    end = np.roll(start, -1, axis=0)
    middles = np.arange(shape[0]) + 0.5
    # Half open: a corner in the middle of a row belongs to one of its two edges, so that no crossing counts twice.
    below = start[:, 1:] <= middles
    edge, row = np.nonzero(below != (end[:, 1:] <= middles))
    slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
    across = start[edge, 0] + (middles[row] - start[edge, 1]) * slope
    # Crossings right of the picture go to a spare column; those left of it turn the whole row.
    column = np.ceil(across - 0.5).clip(0, shape[1]).astype(np.int64)
    directions = np.where(below[edge, row], 1.0, -1.0)
    winding = np.bincount(row * (shape[1] + 1) + column, directions, minlength=shape[0] * (shape[1] + 1))
    return np.cumsum(winding.reshape(shape[0], -1), axis=1)[:, :-1] != 0
