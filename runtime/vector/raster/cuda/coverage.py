"""What one thread does: a pixel's exact area under a path, and how it changes. Compiled for the CPU in tests.

A pixel asks a path. In nearly all pixels that an outline crosses it crosses once: then one pass over the path's edges
gives the signed area, and coverage is linear in it, as in `kernels.spans`. Where an outline comes back, or may cross
itself, the pixel gathers the pieces of edges in its row, within it or left of it, and integrates level slabs.
"""

import math
from typing import NamedTuple

import numpy as np

from runtime.kernels.jit import inner
from runtime.vector.raster.kernels.cells import _directions
from runtime.vector.raster.kernels.outline import FIRST, LAST
from runtime.vector.raster.kernels.pixel import _integrate_slabs, inside
from runtime.vector.raster.kernels.spans import _is_simple, simple_coverage

PIECES = 24
"""Pieces of a path's edges that a pixel takes at most; others beyond are left out. A chain left of it is one."""

BREAKS = 3 + PIECES * (PIECES + 3) // 2
"""Heights between slabs at most."""


class Vertices(NamedTuple):
    """Vertices of segments, of which edges come."""

    vertices: np.ndarray
    """(B, S, M, 2) float64, in picture pixels."""
    counts: np.ndarray
    """(B, S) int32: how many of a segment's vertices are there. The last leads to the first of the segment after it."""
    offsets: np.ndarray
    """(B, S) int32: the edge at which each segment begins."""
    following: np.ndarray
    """(S,) int32: the segment after each in its contour."""
    owners: np.ndarray
    """(S,) int32: path of each segment."""


class Shapes(NamedTuple):
    """What is drawn. Edges of a path lie behind each other, contour by contour."""

    edges: np.ndarray
    """(B, E, 6) float64: x0, y0, x1, y1 in picture pixels, 1 / (x1 - x0), 1 / (y1 - y0): a card divides slowly. Behind
    the last path's edges are unused places."""
    marks: np.ndarray
    """(B, E) int32: whether an edge is a contour's first or last, see `kernels.outline`."""
    places: np.ndarray
    """(B, E, 3) int32: path and segment of each edge, and its number in the segment."""
    ranges: np.ndarray
    """(B, P + 1) int32: first edge of each path; at last, how many edges there are."""
    evenodd: np.ndarray
    """(P,) int32: which paths' rule is even-odd."""
    colours: np.ndarray
    """(B, P, 4) float64."""
    background: np.ndarray
    """(B, 3) float64."""


@inner
def place_edge(outline, b, segment, i, shapes):
    """Write the edge that begins at vertex i of a segment."""
    after = outline.following[segment]
    last = i + 1 == outline.counts[b, segment]
    e = outline.offsets[b, segment] + i
    x0 = outline.vertices[b, segment, i, 0]
    y0 = outline.vertices[b, segment, i, 1]
    x1 = outline.vertices[b, after, 0, 0] if last else outline.vertices[b, segment, i + 1, 0]
    y1 = outline.vertices[b, after, 0, 1] if last else outline.vertices[b, segment, i + 1, 1]
    shapes.edges[b, e, 0] = x0
    shapes.edges[b, e, 1] = y0
    shapes.edges[b, e, 2] = x1
    shapes.edges[b, e, 3] = y1
    shapes.edges[b, e, 4] = 1.0 / (x1 - x0)
    shapes.edges[b, e, 5] = 1.0 / (y1 - y0)
    mark = 0
    # The segment that closes a contour is followed by one that is not behind it.
    if i == 0 and (segment == 0 or outline.following[segment - 1] != segment):
        mark |= FIRST
    if last and after <= segment:
        mark |= LAST
    shapes.marks[b, e] = mark
    shapes.places[b, e, 0] = outline.owners[segment]
    shapes.places[b, e, 1] = segment
    shapes.places[b, e, 2] = i


@inner
def _add(pieces, count, edge, s, t, own):
    """Add the part s to t of an edge to the pieces, unless it is empty or there is no room; returns their number."""
    if not s < t or count >= PIECES:
        return count
    x0, y0, x1, y1 = edge
    pieces[count].x0 = x0 + s * (x1 - x0)
    pieces[count].y0 = y0 + s * (y1 - y0)
    pieces[count].x1 = x0 + t * (x1 - x0)
    pieces[count].y1 = y0 + t * (y1 - y0)
    pieces[count].s = s
    pieces[count].t = t
    pieces[count].zeroth = 0.0
    pieces[count].first = 0.0
    pieces[count].borders = 0
    pieces[count].entry = own
    return count + 1


@inner
def _in_row(y0, scale):
    """Where an edge that is not level, of height 1 / scale, enters the row from 0 to 1 and leaves it, within 0 to 1."""
    upper = (0.0 - y0) * scale
    lower = (1.0 - y0) * scale
    return max(0.0, min(upper, lower)), min(1.0, max(upper, lower))


@inner
def _aside(x0, x1, scale, s, t):
    """The intervals of an edge's part s to t left of the pixel, and within it; empty ones end where they begin.

    An edge along the left border is within: it bounds what is right of it. Its width is 1 / scale.
    """
    if x0 == x1:
        if x0 >= 0.0:
            return s, s, s, t
        return s, t, t, t
    left = (0.0 - x0) * scale
    right = (1.0 - x0) * scale
    if x1 > x0:
        return s, min(t, left), max(s, left), min(t, right)
    return max(s, left), t, max(s, right), min(t, left)


@inner
def _seen_from(shapes, b, e, place, swapped):
    """An edge seen from a pixel: its ends, 1 / width and 1 / height; with x and y exchanged on request."""
    x0 = shapes.edges[b, e, 0] - place[0]
    y0 = shapes.edges[b, e, 1] - place[1]
    x1 = shapes.edges[b, e, 2] - place[0]
    y1 = shapes.edges[b, e, 3] - place[1]
    # The scales are those of the edge itself, which are the same from wherever it is seen, but for rounding.
    if swapped:
        return y0, x0, y1, x1, shapes.edges[b, e, 5], shapes.edges[b, e, 4]
    return x0, y0, x1, y1, shapes.edges[b, e, 4], shapes.edges[b, e, 5]


@inner
def gather(shapes, b, path, place, swapped, own, pieces):  # noqa: PLR0912
    """Gather the pieces of a path's edges in a pixel's row, or with x and y exchanged in its column.

    Args:
        shapes: what is drawn.
        b: the scene.
        path: the path.
        place: x and y of the pixel.
        swapped: whether x and y are exchanged, so that left means above.
        own: the edge whose pieces within the pixel get entry 1; others have 0.
        pieces: (PIECES,) PIXEL_EDGE, written.

    Returns: number of pieces; the winding number that edges left of the pixel along its whole row add up to; the
    winding number left of the pixel half-way down; whether any piece lies within the pixel.
    """
    count = 0
    corner = 0
    middle = 0
    within = False
    # The piece left of the pixel that the next edge continues: pieces of a chain there count as one, from its first
    # height to its last, since what goes up and down again in between cancels.
    chain = -1
    for e in range(shapes.ranges[b, path], shapes.ranges[b, path + 1]):
        if shapes.marks[b, e] & FIRST:
            chain = -1
        x0, y0, x1, y1, across, along = _seen_from(shapes, b, e, place, swapped)
        # A level edge bounds no length, but what is above it and below may differ.
        if y0 == y1 and 0.0 < y0 < 1.0 and min(x0, x1) < 1.0:
            if max(x0, x1) > 0.0:
                within = True
                chain = -1
            continue
        if y0 == y1 or max(y0, y1) <= 0.0 or min(y0, y1) >= 1.0 or min(x0, x1) >= 1.0:
            chain = -1
            continue
        way = 1 if y1 > y0 else -1
        s, t = _in_row(y0, along)
        gone, past, begin, end = _aside(x0, x1, across, s, t)
        edge = (x0, y0, x1, y1)
        if gone < past:
            # Left of the pixel: along the whole row it is the same for all slabs.
            a = y0 + gone * (y1 - y0)
            c = y0 + past * (y1 - y0)
            if (a < 0.5) != (c < 0.5):
                middle += way
            if gone == s and past == t and min(y0, y1) <= 0.0 and max(y0, y1) >= 1.0:
                corner += way
                chain = -1
            elif chain >= 0 and gone == 0.0:
                pieces[chain].x1 = x0 + past * (x1 - x0)
                pieces[chain].y1 = c
            else:
                chain = count if count < PIECES else -1
                count = _add(pieces, count, edge, gone, past, 0)
            if past < 1.0:
                chain = -1
        else:
            chain = -1
        if begin < end:
            within = True
            mine = 1 if e == own else 0
            count = _add(pieces, count, edge, begin, end, mine)
    return count, corner, middle, within


@inner
def scan(shapes, b, path, place, own):
    """One pass over a path's edges for a pixel: what tells whether its outline crosses it once, and the area if so.

    Args:
        shapes: what is drawn.
        b: the scene.
        path: the path.
        place: x and y of the pixel.
        own: an edge, or -1.

    Returns: the mean winding number if the outline crosses the pixel once; the number of edges' parts within it; of
    times that the outline comes in (some counted twice, none missed); the parts' directions as in `kernels.cells`; and
    where the part of `own` begins and ends on it (both 0 without one).
    """
    mean = 0.0
    parts = 0
    visits = 0
    mask = 0
    own_begin = 0.0
    own_end = 0.0
    stays = False
    begun = False
    for e in range(shapes.ranges[b, path], shapes.ranges[b, path + 1]):
        x0, y0, x1, y1, across, along = _seen_from(shapes, b, e, place, False)
        mark = shapes.marks[b, e]
        if mark & FIRST:
            stays = False
            begun = False
        low = min(y0, y1)
        high = max(y0, y1)
        # A border belongs to the pixel below it or right of it. Only a level edge lies along the upper one.
        if low >= 1.0 or high < 0.0 or (high == 0.0 and low < 0.0) or min(x0, x1) >= 1.0:
            stays = False
            continue
        s = 0.0
        t = 1.0
        if low < high:
            s, t = _in_row(y0, along)
        gone, past, begin, end = _aside(x0, x1, across, s, t)
        height = y1 - y0
        if gone < past:
            mean += (past - gone) * height
        if begin < end:
            mean += (end - begin) * height * (1.0 - (x0 + 0.5 * (begin + end) * (x1 - x0)))
            parts += 1
            mask |= _directions(x1 - x0, y1 - y0)
            # It goes on where the edge before ended, or else comes in from outside. After rounding, an end on the
            # border may seem to lie outside: then this is one visit more, which costs time alone.
            if not (stays and begin == 0.0):
                visits += 1
            stays = end == 1.0
            begun = begun or (begin == 0.0 and mark & FIRST != 0)
            # A contour that closes within the pixel ends the visit that it began.
            if stays and begun and mark & LAST:
                visits -= 1
            if e == own:
                own_begin = begin
                own_end = end
        else:
            stays = False
    return mean, parts, visits, mask, own_begin, own_end


@inner
def cover(shapes, b, path, place, spaces):
    """Coverage of a pixel by a path: the exact area of what is filled. `spaces`: pieces and breaks."""
    pieces, breaks = spaces
    rule = shapes.evenodd[path]
    mean, parts, visits, mask, _, _ = scan(shapes, b, path, place, -1)
    if parts == 0:
        # Without an edge in it, a pixel has one winding number everywhere.
        return inside(np.int64(math.floor(mean + 0.5)), rule)
    if visits == 1 and _is_simple(mask, parts):
        return simple_coverage(mean, mask, rule)[0]
    count, corner, middle, within = gather(shapes, b, path, place, False, -1, pieces)
    if not within:
        return inside(middle, rule)
    return _integrate_slabs(pieces[:count], corner, rule, 1.0, breaks)


@inner
def moments_of(shapes, b, path, own, place, spaces):
    """The moments of an edge's part in a pixel, see `kernels.pixel.PIXEL_EDGE`."""
    pieces, breaks = spaces
    rule = shapes.evenodd[path]
    mean, parts, visits, mask, begin, end = scan(shapes, b, path, place, own)
    if begin == end:
        return 0.0, 0.0
    if visits == 1 and _is_simple(mask, parts):
        zeroth = simple_coverage(mean, mask, rule)[1] * (end - begin)
        return zeroth, zeroth * 0.5 * (begin + end)
    zeroth = 0.0
    first = 0.0
    # Steep edges by rows, flat ones by columns.
    for swapped in range(2):
        count, corner, _, within = gather(shapes, b, path, place, swapped == 1, own, pieces)
        if within:
            # Exchanging x and y mirrors the plane, so that the second pass changes sign.
            sign = -1.0 if swapped == 1 else 1.0
            _integrate_slabs(pieces[:count], corner, rule, sign, breaks)
            for k in range(count):
                if pieces[k].entry == 1:
                    zeroth += pieces[k].zeroth
                    first += pieces[k].first
    return zeroth, first
