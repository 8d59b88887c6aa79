"""A shaded picture, such as a raster sample, as a drawing of areas of one colour, from their contours.

The picture is divided along its edges, and neighbours are united while the error that this makes is small for the edge
that it takes away: Mumford's and Shah's functional with constant areas, by region merging (Koepfler, Lopez and Morel
1994). Edges are then moved to where it is lower, and the areas stacked and fitted as those of a flat picture.
"""

import heapq

import numpy as np
from jaxtyping import Float, Float64, Int64
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import local_minima
from skimage.segmentation import watershed
from torch import Tensor
from torch.nn import functional

from runtime.vector.paths import Drawing
from runtime.vector.trace.flat.areas import Areas
from runtime.vector.trace.flat.colours import Shares
from runtime.vector.trace.flat.curves import Bound
from runtime.vector.trace.flat.drawing import drawing_of, paths_of
from runtime.vector.trace.flat.stacking import BENEATH
from runtime.vector.trace.threshold_dynamics import settled

SIDE = 128
"""Side in pixels of the pictures for which lengths are given."""
FINER = 3
"""Finer pixels per pixel of such a picture, a side: along them it is divided. Larger pictures have fewer, or none."""
EDGE = 0.02
"""Squared error, summed over channels and finer pixels, that an edge between two areas must save per finer pixel."""
STIFF = 6.0
"""Factor on that cost when edges are moved: a bend must be worth more than a division."""
CALM = 0.0025
"""Difference between finer pixels, a length of three channels, up to which nothing is an edge."""
STEEP = 0.02
"""Difference between finer pixels at which one counts half: what an edge mixes has the colour of neither side."""
SHADES = 16
"""Levels of a channel between which what is calm is divided."""
MOST_PARTS = 4000
"""Parts into which a picture is divided at first."""
SOFTNESS = 1.5
"""Standard deviation in finer pixels by which areas are blurred, so that their contours have no stairs."""
BOUND = Bound(line=0.25, curve=0.3)
"""How far contours may be from the edges, in pixels of such a picture: samples waver by as much."""

Labels = Int64[np.ndarray, "h w"]


def trace_shaded(picture: Float[Tensor, "3 H W"], paths: int, min_gain: float) -> Drawing:
    """Return a drawing of a picture.

    Args:
        picture: RGB in [0, 1].
        paths: most paths.
        min_gain: mean squared error of the whole picture that an area must save.
    """
    unit = max(picture.shape[1:]) / SIDE
    scale = max(round(FINER / unit), 1)
    larger = functional.interpolate(picture[None].double(), scale_factor=scale, mode="bicubic")[0].clamp(0, 1)
    pixels = np.ascontiguousarray(larger.permute(1, 2, 0).numpy())
    gain = 3 * min_gain * pixels.shape[0] * pixels.shape[1]
    weights = 1 / (1 + (slope_of(pixels) / STEEP) ** 2)
    edge = EDGE * unit * scale / FINER
    labels = united(divided(pixels), pixels, edge, gain, paths + 1, weights)
    labels = settled(labels, pixels, weights, STIFF * edge)
    shares, areas = _shared(labels, pixels)
    finer = scale * unit
    bound = Bound(line=BOUND.line * finer, curve=BOUND.curve * finer)
    traced = paths_of(shares, areas, bound, apart=0.0, beneath=BENEATH * finer)
    for path in traced.paths:
        path.contours = [contour / scale for contour in path.contours]
    # Beside the background there are as many areas as paths: what merging leaves is at most that.
    traced.paths = traced.paths[:paths]
    return drawing_of(traced, (picture.shape[1], picture.shape[2]))


def slope_of(pixels: Float64[np.ndarray, "h w 3"]) -> Float64[np.ndarray, "h w"]:
    """Return by how much the colour changes from each pixel to the next, a length of three channels."""
    # Channel by channel: over an array of three axes SciPy's operator would mix colours.
    channels = np.moveaxis(pixels, 2, 0)
    slopes = [ndimage.sobel(channel, axis, mode="nearest") / 8 for channel in channels for axis in (0, 1)]
    return np.sqrt(sum(part**2 for part in slopes))


def divided(pixels: Float64[np.ndarray, "h w 3"]) -> Labels:
    """Return the parts into which a picture is divided along its edges, from 0.

    They grow, uphill in its slope, from what is calm and of nearly one colour, so that a slow gradient has parts, too,
    and from every minimum elsewhere.
    """
    slope = slope_of(pixels)
    shades, calm = SHADES, CALM
    while True:
        levels = (pixels * shades + 0.5).astype(np.int64)
        codes = levels @ np.array([(shades + 1) ** 2, shades + 1, 1]) + 1
        seeds = np.asarray(label(np.where(slope < calm, codes, 0), background=0, connectivity=1), dtype=np.int64)
        minima = np.asarray(label(local_minima(slope, connectivity=1) & (seeds == 0), connectivity=1), dtype=np.int64)
        seeds = np.where(minima > 0, minima + seeds.max(), seeds)
        if seeds.max() == 0:
            return seeds
        if seeds.max() <= MOST_PARTS or not slope.any():
            return np.asarray(watershed(slope, seeds), dtype=np.int64) - 1
        # Noise: fewer shades, and no grain that is steeper than they are.
        shades, calm = max(shades // 2, 1), 2 * calm
        slope = np.where(slope < calm, 0, slope)


def united(
    labels: Labels,
    pixels: Float64[np.ndarray, "h w 3"],
    edge: float,
    gain: float,
    most: int,
    weights: Float64[np.ndarray, "h w"] | None = None,
) -> Labels:
    """Return the areas that are left when neighbours are united, the ones that cost least first.

    Uniting two areas of n and m pixels costs n m / (n + m) times the squared distance of their mean colours.

    Args:
        labels: areas, from 0.
        pixels: the picture.
        edge: cost per pixel of the edge between two areas below which they are united.
        gain: cost below which they are united all the same.
        most: areas at most.
        weights: how much each pixel counts, above 0; 1 by default.
    """
    merging = _Merging(labels, pixels, np.ones(labels.shape) if weights is None else weights)
    merging.run(edge, per_length=True)
    merging.run(gain)
    merging.run(np.inf, most)
    return merging.labels()


class _Merging:
    """Areas with their means, and the lengths of the edges between them."""

    def __init__(
        self, labels: Labels, pixels: Float64[np.ndarray, "h w 3"], weights: Float64[np.ndarray, "h w"]
    ) -> None:
        count = int(labels.max()) + 1
        own = labels.ravel()
        self.start = labels
        self.sizes = np.bincount(own, weights.ravel(), count).tolist()
        sums = [np.bincount(own, (weights * pixels[..., channel]).ravel(), count).tolist() for channel in range(3)]
        self.sums = list(zip(*sums, strict=True))
        self.near: list[dict[int, float]] = [{} for _ in range(count)]
        self.parent = list(range(count))
        self.left = count
        pairs = [(labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])]
        one = np.concatenate([a[a != b] for a, b in pairs])
        two = np.concatenate([b[a != b] for a, b in pairs])
        codes, lengths = np.unique(np.minimum(one, two) * count + np.maximum(one, two), return_counts=True)
        for code, length in zip(codes.tolist(), lengths.tolist(), strict=True):
            a, b = divmod(code, count)
            self.near[a][b] = self.near[b][a] = float(length)

    def costs(self, a: int, per_length: bool) -> list[tuple[float, int, int]]:
        """Return what uniting an area with each of its neighbours costs, with the names of both, the lower one first.

        That is by how much the squared error rises.
        """
        n, (red, green, blue) = self.sizes[a], self.sums[a]
        red, green, blue = red / n, green / n, blue / n
        result = []
        # Numbers one by one: this is where the time goes, and arrays of three would take longer.
        for b, length in self.near[a].items():
            m, (x, y, z) = self.sizes[b], self.sums[b]
            x, y, z = x / m - red, y / m - green, z / m - blue
            cost = n * m / (n + m) * (x * x + y * y + z * z)
            result.append((cost / length if per_length else cost, min(a, b), max(a, b)))
        return result

    def run(self, bound: float, most: int = 1, *, per_length: bool = False) -> None:
        """Unite the pair that costs least while that is below a bound and more than `most` areas are left."""
        areas = [area for area in range(len(self.near)) if self.parent[area] == area]
        heap = [entry for area in areas for entry in self.costs(area, per_length) if entry[1] == area]
        heapq.heapify(heap)
        while heap and self.left > most:
            cost, a, b = heapq.heappop(heap)
            # A union has a new name: entries with the names of its parts are of the past.
            if self.parent[a] != a or self.parent[b] != b:
                continue
            if cost >= bound:
                break
            for entry in self.costs(self._unite(a, b), per_length):
                # What costs too much is not looked at before one of the two has changed, and is then new.
                if entry[0] < bound:
                    heapq.heappush(heap, entry)

    def _unite(self, a: int, b: int) -> int:
        new = len(self.parent)
        self.parent += [new]
        self.parent[a] = self.parent[b] = new
        self.sizes.append(self.sizes[a] + self.sizes[b])
        self.sums.append(tuple(one + two for one, two in zip(self.sums[a], self.sums[b], strict=True)))
        near: dict[int, float] = {}
        for old in (a, b):
            for c, length in self.near[old].items():
                if c not in (a, b):
                    near[c] = near.get(c, 0.0) + length
                    self.near[c].pop(old, None)
        for c, length in near.items():
            self.near[c][new] = length
        self.near[a], self.near[b] = {}, {}
        self.near.append(near)
        self.left -= 1
        return new

    def labels(self) -> Labels:
        """Return the areas that are left, from 0."""
        roots = np.array(self.parent)
        # Names rise towards the root: one pass from the last to the first finds them all.
        for name in range(len(roots) - 1, -1, -1):
            roots[name] = roots[roots[name]]
        _, labels = np.unique(roots[self.start], return_inverse=True)
        return labels.reshape(self.start.shape)


def _shared(labels: Labels, pixels: Float64[np.ndarray, "h w 3"]) -> tuple[Shares, Areas]:
    """Return which areas each pixel belongs to, in shares as if edges had no stairs, and each one's median colour."""
    names = np.full((*labels.shape, 3), -1)
    parts = np.zeros((*labels.shape, 3))
    margin = int(4 * SOFTNESS + 0.5)
    palette = np.ones((int(labels.max()) + 1, 4))
    inner = ndimage.minimum_filter(labels, 3) == ndimage.maximum_filter(labels, 3)
    for area, box in enumerate(ndimage.find_objects(labels + 1)):
        near = tuple(slice(max(part.start - margin, 0), part.stop + margin) for part in box)
        own = labels[near] == area
        share = ndimage.gaussian_filter(own.astype(np.float64), SOFTNESS, mode="nearest")
        name = np.full(share.shape, area)
        for k in range(3):
            # The larger one stays in this place, the other goes on to the next.
            other, rest = names[near][..., k], parts[near][..., k]
            more = share > rest
            names[near][..., k], name = np.where(more, name, other), np.where(more, other, name)
            parts[near][..., k], share = np.where(more, share, rest), np.where(more, rest, share)
        chosen = own & inner[near]
        palette[area, :3] = np.median(pixels[near][chosen if chosen.any() else own], axis=0)
    parts /= parts.sum(-1, keepdims=True)
    # An area that has most of no pixel is too small to be drawn.
    drawn = np.unique(names[..., 0])
    new = np.full(len(palette) + 1, -1)
    new[drawn] = np.arange(len(drawn))
    names = new[names]
    parts = np.where(names >= 0, parts, 0)
    parts /= parts.sum(-1, keepdims=True)
    return Shares(palette[drawn], names, parts, 0.0), Areas(np.arange(len(drawn)), names[..., 0], names, parts, [])
