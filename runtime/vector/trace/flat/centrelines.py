"""Thin areas as strokes: the lines along their middles, their widths, and how branches go on through a crossing."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from skimage.morphology import skeletonize

from runtime.vector.trace.flat.areas import Thin
from runtime.vector.trace.flat.curves import Points

INSIDE = 0.4
"""Share of a pixel, relative to the most of an area, from which on it is on the line."""
WIDEST = 2.6
"""Mean width in pixels up to which a thin area is a line."""
LONGER = 3.0
"""Length in widths from which on it is one."""
STRAIGHT_ON = np.cos(np.radians(40))
"""Cosine of the largest turn with which a line goes on through a crossing."""
SPUR = 2.5
"""Length in pixels of a branch up to which it is a bump of the line."""

_RING = [(-1, 0), (0, 1), (1, 0), (0, -1), (-1, 1), (1, 1), (1, -1), (-1, -1)]


@dataclass(frozen=True)
class Line:
    """A centreline."""

    points: Points
    """x and y in pixels of the picture, about one apart."""
    closed: bool
    width: float


def lines_of(thin: Thin) -> list[Line] | None:
    """Return the centrelines of a thin area; None where it is no line but a dot or a blot."""
    coverage = np.pad(thin.coverage, 1)
    mask = coverage >= INSIDE * coverage.max()
    # What is thinned is what stays after the faint pixels beside a line are off, unless they alone join its parts.
    # Zhang and Suen's way eats diagonal lines of two pixels up from their ends; this one does not.
    skeleton = np.asarray(skeletonize(mask, method="lee")) > 0
    chains = _chains(skeleton)
    if not chains:
        return None
    lines = [(_smoothed(_centred(np.array(chain, dtype=float), coverage), closed), closed) for chain, closed in chains]
    length = sum(_length(points, closed) for points, closed in lines)
    ends = sum(not closed for _, closed in lines)
    width = float(thin.coverage.sum()) / max(length + 0.5 * ends, 1e-9)
    if width > WIDEST or length < LONGER * max(width, 1.0):
        return None
    offset = np.array([thin.columns.start - 1, thin.rows.start - 1])
    return [Line(points[:, ::-1] + 0.5 + offset, closed, width) for points, closed in lines]


def _length(points: Points, closed: bool) -> float:
    own = np.concatenate([points, points[:1]]) if closed else points
    return float(np.linalg.norm(np.diff(own, axis=0), axis=1).sum())


def _neighbours(place: tuple[int, int], skeleton: Bool[np.ndarray, "h w"]) -> list[tuple[int, int]]:
    """Return the pixels of a skeleton next to one; a diagonal one only where no side leads there."""
    row, column = place
    sides: set[tuple[int, int]] = set()
    result = []
    for down, right in _RING:
        other = (row + down, column + right)
        if not skeleton[other]:
            continue
        if down and right and ((row + down, column) in sides or (row, column + right) in sides):
            continue
        if not (down and right):
            sides.add(other)
        result.append(other)
    return result


def _chains(skeleton: Bool[np.ndarray, "h w"]) -> list[tuple[list[tuple[int, int]], bool]]:
    """Return the pixels of each line of a skeleton, in order, and whether it is closed; it goes through crossings."""
    places = [(int(row), int(column)) for row, column in zip(*np.nonzero(skeleton), strict=True)]
    links = {place: _neighbours(place, skeleton) for place in places}
    nodes = {place for place in places if len(links[place]) != 2}
    branches, used = [], set()
    for node in sorted(nodes):
        for following in links[node]:
            if (node, following) in used:
                continue
            chain = [node, following]
            while chain[-1] not in nodes:
                ways = [place for place in links[chain[-1]] if place != chain[-2]]
                chain.append(ways[0])
            used |= {(chain[0], chain[1]), (chain[-1], chain[-2])}
            branches.append(chain)
    seen = {place for branch in branches for place in branch} | nodes
    loops = []
    for place in places:
        if place in seen:
            continue
        chain = [place]
        while True:
            seen.add(chain[-1])
            ways = [other for other in links[chain[-1]] if other not in seen]
            if not ways:
                break
            chain.append(ways[0])
        loops.append((chain, True))
    return _through_crossings(_without_spurs(branches, links)) + loops


def _without_spurs(branches, links) -> list[list[tuple[int, int]]]:
    """Return branches without the short ones that end freely: bumps of a line."""
    if len(branches) < 2:
        return branches
    return [
        branch for branch in branches if len(branch) > SPUR or min(len(links[branch[0]]), len(links[branch[-1]])) > 1
    ]


def _through_crossings(branches) -> list[tuple[list[tuple[int, int]], bool]]:
    """Return branches joined where one goes straight on in another."""
    parts = [list(branch) for branch in branches]
    while True:
        best, pair = STRAIGHT_ON, None
        ends: dict[tuple[int, int], list[tuple[int, bool]]] = {}
        for index, part in enumerate(parts):
            ends.setdefault(part[0], []).append((index, True))
            ends.setdefault(part[-1], []).append((index, False))
        for meeting in ends.values():
            # Two ends alone are one line, however it turns there.
            floor = -2.0 if len(meeting) == 2 else best
            for number, one in enumerate(meeting):
                for other in meeting[:number]:
                    if one[0] == other[0]:
                        continue
                    straight = -float(_direction(parts[one[0]], one[1]) @ _direction(parts[other[0]], other[1]))
                    straight = 3.0 if len(meeting) == 2 else straight
                    if straight > max(best, floor):
                        best, pair = straight, (one, other)
        if pair is None:
            break
        (a, a_first), (b, b_first) = pair
        before = parts[a][::-1] if a_first else parts[a]
        after = parts[b] if b_first else parts[b][::-1]
        parts = [part for index, part in enumerate(parts) if index not in (a, b)] + [before + after[1:]]
    result = []
    for part in parts:
        closed = len(part) > 3 and part[0] == part[-1]
        result.append((part[:-1] if closed else part, closed))
    return result


def _direction(part, first: bool) -> np.ndarray:
    """Return the unit vector from an end of a branch into it."""
    run = np.array(part[:7] if first else part[::-1][:7], dtype=float)
    # The pixels at a crossing are anybody's.
    vector = run[-1] - run[min(2, len(run) - 2)]
    return vector / max(float(np.hypot(*vector)), 1e-9)


def _centred(chain: Points, coverage: Float64[np.ndarray, "h w"]) -> Points:
    """Return the places of a chain moved to the middle of the coverage around, across the line alone."""
    reach = 3
    padded = np.pad(coverage, reach)
    around = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    result = chain.copy()
    ahead = chain[np.minimum(np.arange(len(chain)) + 2, len(chain) - 1)]
    behind = chain[np.maximum(np.arange(len(chain)) - 2, 0)]
    for index, place in enumerate(chain):
        cells = place.astype(int) + around
        weights = padded[cells[:, 0] + reach, cells[:, 1] + reach]
        shift = (weights[:, None] * around).sum(0) / max(float(weights.sum()), 1e-9)
        tangent = ahead[index] - behind[index]
        length = float(np.hypot(*tangent))
        if length > 0:
            normal = np.array([-tangent[1], tangent[0]]) / length
            result[index] = place + (shift @ normal) * normal
    return result


def _smoothed(points: Points, closed: bool) -> Points:
    """Return a chain with the stairs of its pixels halved: the mean of each place and its two neighbours."""
    if len(points) < 5:
        return points
    before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
    smooth = (before + 2 * points + after) / 4
    # At a corner a mean would cut it.
    turn = np.linalg.norm(before - 2 * points + after, axis=1)
    result = np.where((turn < 1.2)[:, None], smooth, points)
    if not closed:
        result[[0, -1]] = points[[0, -1]]
    return result
