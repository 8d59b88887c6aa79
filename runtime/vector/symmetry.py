"""Left and right alike: the axis of a picture, a picture of one half and its mirror image, and drawings that stay so.

Axes are upright and lie on or between pixels' middles, so that a mirrored picture has the very same values.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from runtime.vector.paths import Drawing, Layout
from runtime.vector.scene import VectorScene
from runtime.vector.trace.outlines import sample_closed

Points = Float64[np.ndarray, "_ 2"]

ALIKE = 0.09
"""Largest part of a picture's contrast that may differ between it and its mirror image for `mirror_axis`."""
PLAIN = 1e-4
"""Mean squared contrast below which a picture is of one colour, and has no axis."""
NEAR = 2.5
"""Pixels by which the box of a contour and the mirrored one of its partner may differ."""
SAME_COLOUR = 0.1
"""Difference of a channel by which the colours of partners may differ."""
SHORT = 0.3
"""Length in pixels of a piece of a segment beside the axis below which it is dropped."""
LEVEL = 0.45
"""Rise over run of a contour up to which it crosses the axis smoothly; where it is steeper, in a corner."""


def mirror_axis(picture: Float[Tensor, "3 H W"], alike: float = ALIKE) -> float | None:
    """Return the x of the axis about which a picture is most like its mirror image; None where it is not like it.

    Args:
        picture: RGB in [0, 1].
        alike: largest squared difference between the two, over that of the picture from its border's colour, twice.
    """
    pixels = picture.double().numpy()
    border = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], axis=1)
    content = pixels - np.median(border, axis=1)[:, None, None]
    total = float((content**2).sum())
    width = content.shape[2]
    if total < PLAIN * content.size:
        return None
    # What lies beyond the border has its colour: the sums are those of a convolution of the picture with itself.
    spectrum = np.fft.rfft(content, 2 * width, axis=2)
    alikeness = np.fft.irfft(spectrum**2, 2 * width, axis=2).sum((0, 1))[: 2 * width - 1]
    best = int(np.round(alikeness / total, 9).argmax())
    return (best + 1) / 2 if 1 - alikeness[best] / total <= alike else None


def completed(picture: Float[Tensor, "3 H W"], axis: float) -> Float[Tensor, "3 H W"]:
    """Return one half of a picture with its mirror image; the half in which less changes from pixel to pixel.

    Args:
        picture: RGB in [0, 1].
        axis: x, a whole number of half pixels.
    """
    width = picture.shape[2]
    columns = np.arange(width)
    results = []
    for left in (True, False):
        own = columns + 0.5 <= axis if left else columns + 0.5 >= axis
        # What has no partner in the picture has its border's colour.
        source = np.where(own, columns, 2 * axis - 1 - columns).astype(np.int64).clip(0, width - 1)
        result = picture[:, :, torch.from_numpy(source)]
        results.append((float(result.diff(dim=1).abs().sum() + result.diff(dim=2).abs().sum()), result))
    return min(results, key=lambda pair: pair[0])[1]


@dataclass(frozen=True)
class Mirror:
    """Which points and paths of a drawing are mirror images of which."""

    axis: float
    """x in canvas pixels."""
    points: Int64[np.ndarray, " N"]
    """The partner of each point; -1 where it has none. A point on the axis is its own."""
    paths: Int64[np.ndarray, " P"]
    """The partner of each path, for its colour; itself where it has none."""

    @torch.no_grad()
    def restore_(self, scene: VectorScene) -> None:
        """Move partners to the mean of where each of them puts the other, and give them the mean of their colours."""
        points = scene.points[0].double().cpu().numpy()
        # The one that comes first is computed, and the other one follows from it.
        first = np.flatnonzero(self.points >= np.arange(len(points)))
        second = self.points[first]
        means = (points[first] + _image(points[second], self.axis)) / 2
        means[first == second, 0] = self.axis
        points[first] = means
        points[second] = _image(means, self.axis)
        scene.points.copy_(torch.from_numpy(points)[None])
        partners = torch.from_numpy(self.paths).to(scene.colours.device)
        scene.colours.copy_((scene.colours + scene.colours[:, partners]) / 2)


def symmetric(drawing: Drawing, axis: float) -> tuple[Drawing, Mirror]:
    """Return a drawing whose left and right are mirror images where they nearly are, and which of its parts these are.

    A contour that nearly is its own mirror image is cut at the axis, and its left part put together with that part's
    image. Of two contours that nearly are each other's, the right one becomes the image of the left one. Others stay.

    Args:
        drawing: one scene of filled paths.
        axis: x in canvas pixels.
    """
    points = drawing.points[0].double().numpy()
    contours, paths = [], []
    for path, counts in enumerate(drawing.layout.contours):
        first = drawing.layout.path_slice(path).start
        for count in counts:
            contours.append(points[first : first + 3 * count])
            paths.append(path)
            first += 3 * count
    colours = drawing.colours[0].double().numpy()
    partners = _partners(contours, colours[paths], axis)
    for contour, partner in enumerate(partners):
        if partner == contour:
            halved = _halved(contours[contour], axis)
            partners[contour] = -1 if halved is None else contour
            contours[contour] = contours[contour] if halved is None else halved
        elif partner > contour:
            left, right = sorted((contour, partner), key=lambda own: contours[own][:, 0].mean())
            contours[right] = _image(contours[left], axis)
    counts = [
        tuple(len(points) // 3 for points, own in zip(contours, paths, strict=True) if own == path)
        for path in range(drawing.layout.num_paths)
    ]
    moved = torch.tensor(np.concatenate([*contours, np.zeros((0, 2))]), dtype=torch.float32)[None]
    result = replace(drawing, layout=Layout(drawing.layout.kinds, tuple(counts)), points=moved)
    return result, Mirror(axis, _partners_of_points(contours, partners), _partners_of_paths(paths, partners))


def _partners(contours: list[Points], colours: Float64[np.ndarray, "C 4"], axis: float) -> list[int]:
    """Return for each contour the one that is nearly its mirror image, perhaps itself; -1 where there is none."""
    boxes = []
    for contour in contours:
        outline = sample_closed(contour, 12)
        boxes.append(np.concatenate([outline.min(0), outline.max(0)]))
    table = np.array(boxes).reshape(-1, 4)
    images = np.stack([2 * axis - table[:, 2], table[:, 1], 2 * axis - table[:, 0], table[:, 3]], axis=1)
    apart = np.abs(table[:, None] - images[None]).max(-1)
    apart = np.where(np.abs(colours[:, None] - colours[None]).max(-1) <= SAME_COLOUR, apart, np.inf)
    result = [-1] * len(contours)
    # The nearest pairs first, so that of contours that lie in one another each finds its own.
    for one, other in zip(*np.unravel_index(np.argsort(apart, axis=None, kind="stable"), apart.shape), strict=True):
        if apart[one, other] > NEAR:
            break
        if result[one] < 0 and result[other] < 0:
            result[one], result[other] = int(other), int(one)
    return result


def _image(points: Points, axis: float) -> Points:
    """Return the mirror images of points."""
    return np.stack([2 * axis - points[:, 0], points[:, 1]], axis=1)


def _halved(contour: Points, axis: float) -> Points | None:
    """Return the part of a contour left of the axis with its image, from the axis on; None if it is not one piece."""
    count = len(contour) // 3
    cubics = contour[(3 * np.arange(count)[:, None] + np.arange(4)) % (3 * count)]
    cuts = [(index, place) for index in range(count) for place in _crossings(cubics[index], axis)]
    if len(cuts) != 2:
        return None
    pieces = [_between(cubics, cuts[0], cuts[1]), _between(cubics, cuts[1], cuts[0])]
    left = np.array(min(pieces, key=lambda piece: np.mean([cubic[:, 0].mean() for cubic in piece])))
    # A sliver of a segment beside the axis would be a segment of its own on both sides.
    for end, inner in ((0, 1), (-1, -2)):
        if len(left) > 1 and np.hypot(*(left[end, 3] - left[end, 0])) < SHORT:
            place = left[end, 0 if end == 0 else 3].copy()
            left[inner, 0 if end == 0 else 3] = place
            left = left[1:] if end == 0 else left[:-1]
    left[0, 0, 0] = left[-1, 3, 0] = axis
    for arm, place in ((left[0, 1], left[0, 0]), (left[-1, 2], left[-1, 3])):
        if abs(arm[1] - place[1]) <= LEVEL * abs(arm[0] - place[0]):
            arm[1] = place[1]
    chain = np.concatenate([left[:, :3].reshape(-1, 2), left[-1:, 3]])
    back = _image(chain, axis)[::-1]
    return np.concatenate([chain[:-1], back[:-1]])


def _crossings(cubic: Float64[np.ndarray, "4 2"], axis: float) -> list[float]:
    """Return the places in [0, 1) at which a cubic goes from one side of the axis to the other."""
    a, b, c, d = cubic[:, 0] - axis
    roots = np.roots([d - 3 * c + 3 * b - a, 3 * (c - 2 * b + a), 3 * (b - a), a])
    places = sorted(root.real for root in roots if abs(root.imag) < 1e-9 and 0 <= root.real < 1)
    return [float(place) for place in places]


def _between(cubics, start: tuple[int, float], end: tuple[int, float]) -> list[Float64[np.ndarray, "4 2"]]:
    """Return the cubics of a closed contour from one place on it to another."""
    count = len(cubics)
    (first, t), (last, u) = start, end
    if first == last and t < u:
        return [_part(cubics[first], t, u)]
    whole = (last - first) % count or count
    middle = [cubics[(first + k) % count] for k in range(1, whole)]
    return [_part(cubics[first], t, 1.0), *middle, _part(cubics[last], 0.0, u)]


def _part(cubic: Float64[np.ndarray, "4 2"], t: float, u: float) -> Float64[np.ndarray, "4 2"]:
    """Return the part of a cubic between two places: its blossom at each mixture of both."""

    def blossom(*places: float) -> Float64[np.ndarray, "2"]:
        points = cubic
        for place in places:
            points = points[:-1] * (1 - place) + points[1:] * place
        return points[0]

    return np.array([blossom(t, t, t), blossom(t, t, u), blossom(t, u, u), blossom(u, u, u)])


def _partners_of_points(contours: list[Points], partners: list[int]) -> Int64[np.ndarray, " N"]:
    """Return the partner of each point; -1 where it has none."""
    firsts = np.cumsum([0, *(len(contour) for contour in contours)])
    result = np.full(firsts[-1], -1)
    for contour, partner in enumerate(partners):
        own = np.arange(len(contours[contour]))
        if partner == contour:
            # Halves go the other way round.
            result[firsts[contour] + own] = firsts[contour] + (-own) % len(own)
        elif partner >= 0:
            result[firsts[contour] + own] = firsts[partner] + own
    return result


def _partners_of_paths(paths: list[int], partners: list[int]) -> Int64[np.ndarray, " P"]:
    """Return for each path the one whose first contour is its first contour's partner; itself where there is none."""
    result = np.arange(max(paths, default=-1) + 1)
    for contour in range(len(paths) - 1, -1, -1):
        if partners[contour] >= 0:
            result[paths[contour]] = paths[partners[contour]]
    # A partner's partner is the path itself, or neither is one.
    return np.where(result[result] == np.arange(len(result)), result, np.arange(len(result)))
