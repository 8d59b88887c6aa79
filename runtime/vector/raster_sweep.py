"""Compiled: compositing, and its gradients, pixel row by pixel row.

Only pixels that an edge visits are composited one by one. Between them the same paths cover every pixel fully, so that a run
of pixels has one colour, and one sum of upstream gradients.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from runtime.vector.raster_cells import BAND, DOWN, LEFT, RIGHT, UP, WRAPS, trace_job
from runtime.vector.raster_pixel import EDGE, filled, find_moments, pixel_area

_ON_BORDER = 1e-11
"""How close to an integer the mean winding number counts as an edge that runs along the pixel's border."""

_MANY = 2.0
"""Slope of an event whose pixel the path visits more than once: its edges have moments of their own."""

BRUSH = np.dtype(
    [
        *((name, np.float64) for name in ("red", "green", "blue", "alpha")),
        *((name, np.float64) for name in ("pull_red", "pull_green", "pull_blue", "pull_alpha", "cover")),
        *((name, np.int64) for name in ("top", "seen", "evenodd")),
    ]
)
"""A path in one job: straight RGBA and its gradient; the winding number at the pixel's left, averaged over the row's height,
and at its upper left corner; the last row in which it was met; its rule."""

SLOT = np.dtype(
    [
        *((name, np.int64) for name in ("touched", "active", "path", "visit", "count", "corner", "layer", "event")),
        *((name, np.float64) for name in ("value", "slope", "share", "alpha", "red", "green", "blue")),
    ]
)
"""Entry k of several lists of one job: paths met in this row, descending; paths that cover the present run, ascending; the
events of this pixel (path, first visit, number of parts, winding number at the corner, coverage, its slope in the signed
area); the layers of this pixel or run (path, event or -1, coverage, alpha, and the RGB below)."""


class Pulls(NamedTuple):
    """Gradients, float64; the backward pass adds to them."""

    colours: np.ndarray
    """(J, P, 4) of each job."""
    background: np.ndarray
    """(J, 3) of each job."""
    moments: np.ndarray
    """(N, 2) of each entry, see `raster_pixel.EDGE`; (0, 2) if not wanted."""


@njit(cache=True, nogil=True)
def _simple_coverage(mean, mask, evenodd):
    """Coverage and slope of a pixel with one visit, across which the winding number changes by one."""
    near = np.rint(mean)
    if abs(mean - near) < _ON_BORDER:
        low = int(near) - 1 if mask & (DOWN | LEFT) else int(near)
    else:
        low = int(np.floor(mean))
    below, above = filled(low, evenodd), filled(low + 1, evenodd)
    return below + (above - below) * (mean - low), above - below


@njit(cache=True, nogil=True)
def _is_simple(mask, count):
    """Whether a visit cannot cross itself: two parts, or all parts going one way along one axis."""
    return count <= 2 or not (mask & DOWN and mask & UP) or not (mask & LEFT and mask & RIGHT)


@njit(cache=True, nogil=True)
def _gather_edges(pieces, entries, visits, parts, visit, count, column, row):
    """All parts in one pixel of the path of the visit given, which is the path's first there."""
    edges, n, path = np.empty(count, EDGE), 0, visits[visit].path
    while visit >= 0 and visits[visit].path == path:
        for k in range(visits[visit].part, visits[visit].part + visits[visit].count):
            part, edge = parts[k], edges[n]
            piece = pieces[entries[part.entry]]
            dx, dy = piece.x1 - piece.x0, piece.y1 - piece.y0
            edge.x0, edge.y0 = piece.x0 + part.s * dx - column, piece.y0 + part.s * dy - row
            edge.x1, edge.y1 = piece.x0 + part.t * dx - column, piece.y0 + part.t * dy - row
            edge.s, edge.t, edge.borders, edge.entry = part.s, part.t, part.borders, part.entry
            edge.zeroth, edge.first = 0.0, 0.0
            n += 1
        visit = visits[visit].link
    return edges


@njit(cache=True, nogil=True)
def _pull_edges(edges, pull, moments):
    """Add a pixel's pull on the coverage to the moments of its edges' entries."""
    for i in range(len(edges)):
        moments[edges[i].entry, 0] += pull * edges[i].zeroth
        moments[edges[i].entry, 1] += pull * edges[i].first


@njit(cache=True, nogil=True)
def _pull_simple(visits, parts, visit, pull, moments):
    """Add a pixel's pull on the signed area to the moments of its entries; `visit` is the path's first in the pixel."""
    path = visits[visit].path
    while visit >= 0 and visits[visit].path == path:
        for k in range(visits[visit].part, visits[visit].part + visits[visit].count):
            part = parts[k]
            share = pull * (part.t - part.s)
            moments[part.entry, 0] += share
            moments[part.entry, 1] += share * 0.5 * (part.s + part.t)
        visit = visits[visit].link


@njit(cache=True, nogil=True)
def _set_active(slots, actives, path, wanted):
    """Add a path to the sorted active list or take it out; returns the list's length."""
    at = actives
    while at > 0 and slots[at - 1].active >= path:
        at -= 1
    present = at < actives and slots[at].active == path
    if wanted and not present:
        for k in range(actives, at, -1):
            slots[k].active = slots[k - 1].active
        slots[at].active = path
        return actives + 1
    if present and not wanted:
        for k in range(at, actives - 1):
            slots[k].active = slots[k + 1].active
        return actives - 1
    return actives


@njit(cache=True, nogil=True)
def _open_row(visits, brushes, slots, columns, visit, row):
    """Sort a row's visits, from the last on, into columns; returns the number of paths active left of the picture."""
    touched = 0
    while visit >= 0:
        here = visits[visit]
        brush = brushes[here.path]
        if brush.seen != row:
            brush.seen, brush.cover, brush.top = row, 0.0, 0
            slots[touched].touched = here.path
            touched += 1
        if here.column < 0:
            brush.cover += here.cover
            brush.top += here.top
        else:
            here.link = columns[here.column]
            columns[here.column] = visit
        visit = here.next
    actives = 0
    for k in range(touched - 1, -1, -1):
        path = slots[k].touched
        if filled(int(np.rint(brushes[path].cover)), brushes[path].evenodd):
            slots[actives].active = path
            actives += 1
    return actives


@njit(cache=True, nogil=True)
def _take_events(visits, brushes, slots, visit):
    """Coverage of each path with an edge in the pixel; moves its winding numbers on. Returns the number of events."""
    events = 0
    while visit >= 0:
        path, mask, count, number, wraps, cover, area, top = visits[visit].path, 0, 0, 0, 0, 0.0, 0.0, 0
        slot, brush = slots[events], brushes[path]
        slot.path, slot.visit = path, visit
        while visit >= 0 and visits[visit].path == path:
            here = visits[visit]
            mask |= here.mask
            wraps += 1 if here.mask & WRAPS else 0
            count, number, visit = count + here.count, number + 1, here.link
            cover, area, top = cover + here.cover, area + here.area, top + here.top
        slot.count, slot.corner = count, brush.top
        if (number == 1 or (number == 2 and wraps == 2)) and _is_simple(mask, count):
            slot.value, slot.slope = _simple_coverage(brush.cover + area, mask, brush.evenodd)
        else:
            slot.value, slot.slope = 0.0, _MANY
        events += 1
        brush.cover += cover
        brush.top += top
    return events


@njit(cache=True, nogil=True)
def _stack_layers(slots, actives, events):
    """Merge active paths and the pixel's events in drawing order; returns the number of layers."""
    a, e, layers = 0, 0, 0
    while a < actives or e < events:
        layer = slots[layers]
        if e == events or (a < actives and slots[a].active < slots[e].path):
            layer.layer, layer.event, layer.share = slots[a].active, -1, 1.0
            a += 1
        else:
            layer.layer, layer.event, layer.share = slots[e].path, e, slots[e].value
            if a < actives and slots[a].active == slots[e].path:
                a += 1
            e += 1
        layers += 1
    return layers


@njit(cache=True, nogil=True)
def _composite(slots, brushes, layers, red, green, blue):
    """RGB of the layers over a background; keeps what lies below each layer."""
    for k in range(layers):
        layer = slots[k]
        brush = brushes[layer.layer]
        alpha = layer.share * brush.alpha
        layer.alpha, layer.red, layer.green, layer.blue = alpha, red, green, blue
        red += alpha * (brush.red - red)
        green += alpha * (brush.green - green)
        blue += alpha * (brush.blue - blue)
    return red, green, blue


@njit(cache=True, nogil=True)
def _pull_layers(slots, brushes, layers, red, green, blue):
    """Take an upstream gradient down through the layers, whose alpha becomes the pull on their coverage.

    Returns the background's gradient.
    """
    for k in range(layers - 1, -1, -1):
        layer = slots[k]
        brush, alpha = brushes[layer.layer], layer.alpha
        brush.pull_red += alpha * red
        brush.pull_green += alpha * green
        brush.pull_blue += alpha * blue
        change = red * (brush.red - layer.red) + green * (brush.green - layer.green) + blue * (brush.blue - layer.blue)
        brush.pull_alpha += change * layer.share
        layer.alpha = change * brush.alpha
        red, green, blue = red * (1.0 - alpha), green * (1.0 - alpha), blue * (1.0 - alpha)
    return red, green, blue


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def _sum(values, first, last):
    """Sum in an order fixed when compiled, which leaves room for vector instructions."""
    total = 0.0
    for i in range(np.uint64(first), np.uint64(last)):
        total += values[i]
    return total


@njit(cache=True, nogil=True)
def _fill(values, first, last, value):
    for i in range(np.uint64(first), np.uint64(last)):
        values[i] = value


@njit(cache=True, nogil=True)
def _paint_row(pieces, entries, visits, parts, brushes, slots, columns, actives, row, image, at, plane, width, ground):
    """Composite one row, whose pixels in `image` begin at `at`, planes apart."""
    column = 0
    while column < width:
        start = column
        while column < width and columns[column] < 0:
            column += 1
        if column > start:
            layers = _stack_layers(slots, actives, 0)
            red, green, blue = _composite(slots, brushes, layers, ground[0], ground[1], ground[2])
            _fill(image, at + start, at + column, red)
            _fill(image, at + plane + start, at + plane + column, green)
            _fill(image, at + 2 * plane + start, at + 2 * plane + column, blue)
        if column == width:
            break
        events = _take_events(visits, brushes, slots, columns[column])
        columns[column] = -1
        for k in range(events):
            slot = slots[k]
            if slot.slope == _MANY:
                edges = _gather_edges(pieces, entries, visits, parts, slot.visit, slot.count, column, row)
                slot.value = pixel_area(edges, slot.corner, brushes[slot.path].evenodd)
                # The signed area has no further use in such a pixel; the backward pass finds the coverage there.
                visits[slot.visit].area = slot.value
        layers = _stack_layers(slots, actives, events)
        red, green, blue = _composite(slots, brushes, layers, ground[0], ground[1], ground[2])
        image[at + column], image[at + plane + column], image[at + 2 * plane + column] = red, green, blue
        for k in range(events):
            brush = brushes[slots[k].path]
            inside = filled(int(np.rint(brush.cover)), brush.evenodd) > 0.0
            actives = _set_active(slots, actives, slots[k].path, inside)
        column += 1


@njit(cache=True, nogil=True)
def _pull_row(
    pieces, entries, visits, parts, brushes, slots, columns, actives, row, image, at, plane, width, ground, moments
):
    """Take one row's upstream gradient back to brushes and moments; returns the background's gradient."""
    column, ground_red, ground_green, ground_blue = 0, 0.0, 0.0, 0.0
    while column < width:
        start = column
        while column < width and columns[column] < 0:
            column += 1
        if column > start:
            layers = _stack_layers(slots, actives, 0)
            _composite(slots, brushes, layers, ground[0], ground[1], ground[2])
            red, green = _sum(image, at + start, at + column), _sum(image, at + plane + start, at + plane + column)
            blue = _sum(image, at + 2 * plane + start, at + 2 * plane + column)
            red, green, blue = _pull_layers(slots, brushes, layers, red, green, blue)
            ground_red, ground_green, ground_blue = ground_red + red, ground_green + green, ground_blue + blue
        if column == width:
            break
        events = _take_events(visits, brushes, slots, columns[column])
        columns[column] = -1
        for k in range(events):
            if slots[k].slope == _MANY:
                slots[k].value = visits[slots[k].visit].area
        layers = _stack_layers(slots, actives, events)
        _composite(slots, brushes, layers, ground[0], ground[1], ground[2])
        red, green, blue = image[at + column], image[at + plane + column], image[at + 2 * plane + column]
        red, green, blue = _pull_layers(slots, brushes, layers, float(red), float(green), float(blue))
        ground_red, ground_green, ground_blue = ground_red + red, ground_green + green, ground_blue + blue
        for k in range(layers if len(moments) else 0):
            if slots[k].event < 0 or slots[k].alpha == 0.0:
                continue
            slot, pull = slots[slots[k].event], slots[k].alpha
            if slot.slope == _MANY:
                edges = _gather_edges(pieces, entries, visits, parts, slot.visit, slot.count, column, row)
                find_moments(edges, slot.corner, brushes[slot.path].evenodd)
                _pull_edges(edges, pull, moments)
            elif slot.slope != 0.0:
                _pull_simple(visits, parts, slot.visit, pull * slot.slope, moments)
        for k in range(events):
            brush = brushes[slots[k].path]
            inside = filled(int(np.rint(brush.cover)), brush.evenodd) > 0.0
            actives = _set_active(slots, actives, slots[k].path, inside)
        column += 1
    return ground_red, ground_green, ground_blue


@njit(cache=True, nogil=True)
def _load_brushes(brushes, colours, evenodd):
    for path in range(len(brushes)):
        brush = brushes[path]
        brush.red, brush.green = colours[path, 0], colours[path, 1]
        brush.blue, brush.alpha = colours[path, 2], colours[path, 3]
        brush.pull_red, brush.pull_green, brush.pull_blue, brush.pull_alpha = 0.0, 0.0, 0.0, 0.0
        brush.seen, brush.evenodd = -1, evenodd[path]


@njit(cache=True, nogil=True)
def paint(outline, cells, colours, background, evenodd, image, size, first, step):
    """The forward pass: do every step-th job from the first on, tracing edges and compositing.

    Args:
        outline: all edges.
        cells: filled in.
        colours: (B, P, 4) straight RGBA, float64.
        background: (B, 3) RGB, float64.
        evenodd: (P,) which paths' rule is even-odd.
        image: (B * 3 * H * W,), written.
        size: height and width.
        first: the first job.
        step: number of threads that share the jobs.
    """
    height, width = size
    bands = (height + BAND - 1) // BAND
    brushes, slots = np.empty(len(evenodd), BRUSH), np.empty(2 * len(evenodd) + 1, SLOT)
    columns = np.full(width, -1, np.int64)
    entries, visits, parts = cells.entries, cells.visits, cells.parts
    for job in range(first, len(cells.firsts) - 1, step):
        scene, top = job // bands, job % bands * BAND
        bottom = min(top + BAND, height)
        span = cells.entry_firsts[job], cells.entry_firsts[job + 1]
        base, at = scene * height, cells.firsts[job]
        trace_job(
            outline.pieces, entries, span[0], span[1], visits, parts, at, cells.rows, base, top, bottom, width
        )
        _load_brushes(brushes, colours[scene], evenodd)
        ground = background[scene, 0], background[scene, 1], background[scene, 2]
        for row in range(top, bottom):
            actives = _open_row(visits, brushes, slots, columns, cells.rows[base + row], row)
            pixel, plane = 3 * base * width + row * width, height * width
            _paint_row(
                outline.pieces, entries, visits, parts, brushes, slots, columns, actives, row, image, pixel, plane,
                width, ground,
            )  # fmt: skip


@njit(cache=True, nogil=True)
def pull(outline, cells, colours, background, evenodd, image, size, first, step, pulls):
    """The backward pass over every step-th job from the first on; `image` is the upstream gradient, `pulls` is added to."""
    height, width = size
    bands = (height + BAND - 1) // BAND
    brushes, slots = np.empty(len(evenodd), BRUSH), np.empty(2 * len(evenodd) + 1, SLOT)
    columns = np.full(width, -1, np.int64)
    entries, visits, parts, moments = cells.entries, cells.visits, cells.parts, pulls.moments
    for job in range(first, len(cells.firsts) - 1, step):
        scene, top = job // bands, job % bands * BAND
        bottom, base = min(top + BAND, height), scene * height
        _load_brushes(brushes, colours[scene], evenodd)
        ground = background[scene, 0], background[scene, 1], background[scene, 2]
        for row in range(top, bottom):
            actives = _open_row(visits, brushes, slots, columns, cells.rows[base + row], row)
            pixel, plane = 3 * base * width + row * width, height * width
            red, green, blue = _pull_row(
                outline.pieces, entries, visits, parts, brushes, slots, columns, actives, row, image, pixel, plane,
                width, ground, moments,
            )  # fmt: skip
            pulls.background[job, 0] += red
            pulls.background[job, 1] += green
            pulls.background[job, 2] += blue
        for path in range(len(brushes)):
            brush, out = brushes[path], pulls.colours[job, path]
            out[0], out[1], out[2], out[3] = brush.pull_red, brush.pull_green, brush.pull_blue, brush.pull_alpha
