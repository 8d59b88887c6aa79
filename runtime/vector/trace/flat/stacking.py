"""In which order areas are painted, and how far each reaches beneath those above it.

What lies in the hole of an opaque area is painted over it, so that the hole is filled underneath. Neighbours that do
not enclose one another are painted from the largest to the smallest; the lower one reaches some pixels beneath the
higher one, so that no gap shows between them and only the higher one's contour is seen.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage

from runtime.vector.trace.flat.areas import Areas

BENEATH = 3.0
"""Pixels that an area reaches beneath one above it."""
APART = 1.0
"""Pixels that it stays away from third areas there."""


@dataclass(frozen=True)
class Sheet:
    """An area as it is painted."""

    area: int
    top: int
    """Row of the first row of `coverage`."""
    left: int
    coverage: Float64[np.ndarray, "h w"]
    """What it covers of each pixel of its box, hidden parts included."""
    hidden: Bool[np.ndarray, "h w"]
    """Pixels that areas above it hide."""
    beneath: frozenset[int]
    """Areas that have to be painted before it."""


@dataclass(frozen=True)
class Stack:
    """Areas in the order of painting."""

    background: int | None
    """The area that is the canvas itself; None where the picture is transparent."""
    sheets: list[Sheet]


def stack_of(
    areas: Areas,
    opaque: Bool[np.ndarray, " N"],
    visible: Bool[np.ndarray, " N"],
    apart: float = APART,
    beneath: float = BENEATH,
) -> Stack:
    """Return the areas in the order of painting.

    Args:
        areas: of the picture.
        opaque: which of them hide what is below.
        visible: which of them are painted at all.
        apart: pixels that an area stays away from third ones beneath those above it. Where colours blend and contours
            are rough, 0 lets no gap open where three areas meet.
        beneath: pixels that an area reaches beneath one above it.
    """
    boxes = ndimage.find_objects(areas.owner + 1)
    sizes = np.bincount(areas.owner.ravel(), minlength=len(areas.labels))
    neighbours = _neighbours(areas.owner, len(areas.labels))
    background = _background(areas, sizes) if opaque.all() else None
    inside: dict[int, set[int]] = {}
    filled = sizes.astype(float)
    for area, box in enumerate(boxes):
        if area != background and opaque[area] and len(neighbours[area]) > 1:
            inside[area], more = _enclosed(areas.owner[box], area, opaque)
            filled[area] += more
    if background is not None:
        # What has the canvas' colour and lies in no other area is the canvas, too.
        held = set().union(*inside.values()) if inside else set()
        canvas = {area for area, label in enumerate(areas.labels) if label == areas.labels[background]} - held
        filled[list(canvas | {background})] = np.inf
        visible = visible & ~np.isin(np.arange(len(visible)), list(canvas | {background}))
    order = sorted(np.flatnonzero(visible).tolist(), key=lambda area: (-filled[area], area))
    rank = {area: place for place, area in enumerate(order)}
    sheets = [
        _sheet(area, areas, boxes[area], inside.get(area, set()), neighbours[area], rank, opaque, apart, beneath)
        for area in order
    ]
    return Stack(background, sheets)


def _background(areas: Areas, sizes) -> int:
    """Return the area that the canvas is: the largest of the colour that has most of the border and of the picture."""
    owner = areas.owner
    border = np.concatenate([owner[0], owner[-1], owner[:, 0], owner[:, -1]])
    score = np.bincount(border, minlength=len(sizes)) / len(border) + sizes / owner.size
    colour = int(np.bincount(areas.labels, score).argmax())
    return int(np.where(areas.labels == colour, score, -1).argmax())


def _neighbours(owner, count: int) -> list[set[int]]:
    """Return the areas that each area touches along a side of a pixel."""
    result: list[set[int]] = [set() for _ in range(count)]
    for first, second in ((owner[:, :-1], owner[:, 1:]), (owner[:-1], owner[1:])):
        differ = first != second
        codes = np.unique(first[differ] * count + second[differ])
        for a, b in zip(*divmod(codes, count), strict=True):
            result[a].add(int(b))
            result[b].add(int(a))
    return result


def _enclosed(owner, area: int, opaque) -> tuple[set[int], int]:
    """Return the areas in the opaque holes of an area, and their pixels; `owner` within the area's box."""
    own = owner == area
    holes = np.asarray(ndimage.binary_fill_holes(own)) & ~own
    if not holes.any():
        return set(), 0
    inside: set[int] = set()
    pixels = 0
    parts, _ = ndimage.label(holes)  # pyright: ignore[reportGeneralTypeIssues]
    for part, box in enumerate(ndimage.find_objects(parts), 1):
        held = owner[box][parts[box] == part]
        names = np.unique(held)
        if opaque[names].all():
            inside |= set(names.tolist())
            pixels += len(held)
    return inside, pixels


def _sheet(area: int, areas: Areas, box, inside, neighbours, rank, opaque, apart: float, beneath: float) -> Sheet:
    """Return an area as it is painted."""
    margin = int(beneath) + 2
    height, width = areas.owner.shape
    top, left = max(box[0].start - margin, 0), max(box[1].start - margin, 0)
    near = (slice(top, min(box[0].stop + margin, height)), slice(left, min(box[1].stop + margin, width)))
    owner, names, shares = areas.owner[near], areas.areas[near], areas.shares[near]
    held = np.zeros(len(areas.labels) + 1, dtype=bool)
    held[[area, *inside]] = True
    held[-1] = False
    coverage = np.where(held[names], shares, 0).sum(-1)
    hidden = held[owner] & (owner != area)
    above = [
        other for other in neighbours if other not in inside and opaque[other] and rank.get(other, -1) > rank[area]
    ]
    if above:
        reach = np.zeros(len(areas.labels) + 1, dtype=bool)
        reach[above] = True
        share = np.where(reach[names], shares, 0).sum(-1)
        third = ~(held | reach)[owner]
        close = np.asarray(ndimage.distance_transform_edt(~held[owner])) <= beneath
        if third.any():
            close &= np.asarray(ndimage.distance_transform_edt(~third)) > apart
        coverage = (coverage + np.where(close, share, 0)).clip(0, 1)
        hidden |= close & reach[owner]
    before = frozenset(other for other in neighbours if rank.get(other, np.inf) < rank[area])
    return Sheet(area, top, left, coverage, hidden, before)
