"""Compiled: compositing, and its gradients, pixel row by pixel row.

Only pixels that an edge visits are composited one by one. Between them the same paths cover every pixel fully, so that a run
of pixels has one colour, and one sum of upstream gradients.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from runtime.vector.raster_cells import (
    BAND,
    COUNT,
    DOWN,
    LEFT,
    LINK,
    MASK,
    NEXT,
    PART,
    PATH,
    RIGHT,
    TOP,
    UP,
    WRAPS,
    X,
    trace_job,
)
from runtime.vector.raster_pixel import filled, pixel_area

_ON_BORDER = 1e-11
"""How close to an integer the mean winding number counts as an edge that runs along the pixel's border."""


class Paint(NamedTuple):
    """What the paths are filled with, float64."""

    colours: np.ndarray
    """(B, P, 4) straight RGBA."""
    background: np.ndarray
    """(B, 3) RGB."""
    evenodd: np.ndarray
    """(P,) whether a path's rule is even-odd."""


class Pulls(NamedTuple):
    """Gradients of one job each, float64; empty in the forward pass."""

    colours: np.ndarray
    """(J, P, 4)."""
    background: np.ndarray
    """(J, 3)."""
    moments: np.ndarray
    """(N, 2) of each entry's piece, see `raster_pixel.slab_area`."""


class Desk(NamedTuple):
    """Working space of one job."""

    covers: np.ndarray
    """(P,) winding number to the left of the pixel, averaged over the row's height."""
    tops: np.ndarray
    """(P,) winding number at the pixel's upper left corner."""
    seen: np.ndarray
    """(P,) last row in which an edge of the path was visited."""
    touched: np.ndarray
    """(P,) paths visited in this row."""
    active: np.ndarray
    """(P,) paths that cover the present run, lowest first."""
    columns: np.ndarray
    """(W,) first visit in each column, -1 if none."""
    event_paths: np.ndarray
    """(P,) paths with an edge in this pixel, lowest first."""
    event_visits: np.ndarray
    """(P,) first visit of each."""
    event_values: np.ndarray
    """(P, 2) coverage, and its slope in the signed area (2: see moments)."""
    layer_paths: np.ndarray
    """(2 P,) paths that this pixel or run shows, lowest first."""
    layer_events: np.ndarray
    """(2 P,) the event of each layer, -1 for full coverage."""
    layers: np.ndarray
    """(2 P, 5) coverage, alpha, and the RGB below each layer."""


@njit(cache=True, nogil=True)
def _make_desk(paths, width):
    return Desk(
        np.zeros(paths),
        np.zeros(paths, np.int64),
        np.full(paths, -1, np.int64),
        np.empty(paths, np.int64),
        np.empty(paths, np.int64),
        np.full(width, -1, np.int64),
        np.empty(paths, np.int64),
        np.empty(paths, np.int64),
        np.empty((paths, 2)),
        np.empty(2 * paths, np.int64),
        np.empty(2 * paths, np.int64),
        np.empty((2 * paths, 5)),
    )


@njit(cache=True, nogil=True)
def _simple_coverage(mean, mask, evenodd):
    """Coverage and slope of a pixel with one visit, across which the winding number changes by one."""
    near = np.rint(mean)
    if abs(mean - near) < _ON_BORDER:
        low = int(near) - 1 if mask & (DOWN | LEFT) else int(near)
    else:
        low = int(np.floor(mean))
    share = mean - low
    below, above = filled(low, evenodd), filled(low + 1, evenodd)
    return below + (above - below) * share, above - below


@njit(cache=True, nogil=True)
def _is_simple(mask, count):
    """Whether a visit cannot cross itself: two parts, or all parts going one way along one axis."""
    return count <= 2 or not (mask & DOWN and mask & UP) or not (mask & LEFT and mask & RIGHT)


@njit(cache=True, nogil=True)
def _gather_parts(outline, cells, first, last_link, count, column, row):
    """Ends, spans, borders and entries of all parts of some linked visits, relative to the pixel."""
    ends, spans = np.empty((count, 4)), np.empty((count, 2))
    borders, entries = np.empty(count, np.int32), np.empty(count, np.int64)
    visit, n = first, 0
    while visit != last_link:
        for part in range(cells.visits[visit, PART], cells.visits[visit, PART] + cells.visits[visit, COUNT]):
            entries[n], borders[n] = cells.parts[part, 0], cells.parts[part, 1]
            piece = outline.pieces[cells.entries[entries[n], 0]]
            for k in range(2):
                s = cells.spans[part, k]
                spans[n, k] = s
                ends[n, 2 * k] = piece[0] + s * (piece[2] - piece[0]) - column
                ends[n, 2 * k + 1] = piece[1] + s * (piece[3] - piece[1]) - row
            n += 1
        visit = cells.visits[visit, LINK]
    return ends, spans, borders, entries


@njit(cache=True, nogil=True)
def _exact_coverage(outline, cells, first, last_link, count, column, row, corner, evenodd):
    """Coverage of a pixel with several visits."""
    ends, spans, borders, _ = _gather_parts(outline, cells, first, last_link, count, column, row)
    return pixel_area(ends, spans, borders, count, corner, evenodd, np.empty((count, 2)), False)


@njit(cache=True, nogil=True)
def _pull_exact(outline, cells, first, last_link, count, column, row, corner, evenodd, pull, out):
    """Add a pixel's pull on the coverage to the moments of the entries that bound the filled region in it."""
    ends, spans, borders, entries = _gather_parts(outline, cells, first, last_link, count, column, row)
    moments = np.empty((count, 2))
    pixel_area(ends, spans, borders, count, corner, evenodd, moments, True)
    for i in range(count):
        out[entries[i], 0] += pull * moments[i, 0]
        out[entries[i], 1] += pull * moments[i, 1]


@njit(cache=True, nogil=True)
def _pull_simple(cells, first, last_link, pull, out):
    """Add a pixel's pull on the signed area to the moments of its entries."""
    visit = first
    while visit != last_link:
        for part in range(cells.visits[visit, PART], cells.visits[visit, PART] + cells.visits[visit, COUNT]):
            entry = cells.parts[part, 0]
            s, t = cells.spans[part, 0], cells.spans[part, 1]
            out[entry, 0] += pull * (t - s)
            out[entry, 1] += pull * (t - s) * 0.5 * (s + t)
        visit = cells.visits[visit, LINK]


@njit(cache=True, nogil=True)
def _set_active(desk, actives, path, wanted):
    """Add a path to the sorted active list or take it out; returns the list's length."""
    active = desk.active
    at = actives
    while at > 0 and active[at - 1] >= path:
        at -= 1
    present = at < actives and active[at] == path
    if wanted and not present:
        for k in range(actives, at, -1):
            active[k] = active[k - 1]
        active[at] = path
        return actives + 1
    if present and not wanted:
        for k in range(at, actives - 1):
            active[k] = active[k + 1]
        return actives - 1
    return actives


@njit(cache=True, nogil=True)
def _open_row(cells, desk, head, row, evenodd):
    """Sort a row's visits into columns; returns the numbers of paths touched and of paths active left of the picture."""
    visits, touched = cells.visits, 0
    visit = head
    while visit >= 0:
        path, column = visits[visit, PATH], visits[visit, X]
        if desk.seen[path] != row:
            desk.seen[path] = row
            desk.covers[path], desk.tops[path] = 0.0, 0
            desk.touched[touched] = path
            touched += 1
        if column < 0:
            desk.covers[path] += cells.sums[visit, 0]
            desk.tops[path] += visits[visit, TOP]
        else:
            visits[visit, LINK] = desk.columns[column]
            desk.columns[column] = visit
        visit = visits[visit, NEXT]
    actives = 0
    for k in range(touched - 1, -1, -1):
        path = desk.touched[k]
        if filled(int(np.rint(desk.covers[path])), evenodd[path]):
            desk.active[actives] = path
            actives += 1
    return actives


@njit(cache=True, nogil=True)
def _take_events(outline, cells, desk, column, row, evenodd):
    """Coverage of each path with an edge in the pixel; moves its winding numbers on. Returns the number of events."""
    visits, sums = cells.visits, cells.sums
    visit, events = desk.columns[column], 0
    desk.columns[column] = -1
    while visit >= 0:
        first, path, count, mask = visit, visits[visit, PATH], 0, 0
        number, wraps, cover, area, top = 0, 0, 0.0, 0.0, 0
        while visit >= 0 and visits[visit, PATH] == path:
            count += visits[visit, COUNT]
            mask |= visits[visit, MASK]
            wraps += 1 if visits[visit, MASK] & WRAPS else 0
            top += visits[visit, TOP]
            cover += sums[visit, 0]
            area += sums[visit, 1]
            number += 1
            visit = visits[visit, LINK]
        single = number == 1 or (number == 2 and wraps == 2)
        if single and _is_simple(mask, count):
            value, slope = _simple_coverage(desk.covers[path] + area, mask, evenodd[path])
        else:
            corner = desk.tops[path]
            value, slope = _exact_coverage(outline, cells, first, visit, count, column, row, corner, evenodd[path]), 2.0
        desk.event_paths[events], desk.event_visits[events] = path, first
        desk.event_values[events, 0], desk.event_values[events, 1] = value, slope
        events += 1
        desk.covers[path] += cover
        desk.tops[path] += top
    return events


@njit(cache=True, nogil=True)
def _stack_layers(desk, actives, events):
    """Merge active paths and the pixel's events in drawing order; returns the number of layers."""
    a, e, layers = 0, 0, 0
    while a < actives or e < events:
        if e == events or (a < actives and desk.active[a] < desk.event_paths[e]):
            desk.layer_paths[layers], desk.layer_events[layers], desk.layers[layers, 0] = desk.active[a], -1, 1.0
            a += 1
        else:
            desk.layer_paths[layers], desk.layer_events[layers] = desk.event_paths[e], e
            desk.layers[layers, 0] = desk.event_values[e, 0]
            if a < actives and desk.active[a] == desk.event_paths[e]:
                a += 1
            e += 1
        layers += 1
    return layers


@njit(cache=True, nogil=True)
def _composite(desk, layers, colours, background):
    """RGB of the layers over the background; keeps what lies below each layer."""
    red, green, blue = background[0], background[1], background[2]
    for k in range(layers):
        colour = colours[desk.layer_paths[k]]
        layer = desk.layers[k]
        alpha = layer[0] * colour[3]
        layer[1], layer[2], layer[3], layer[4] = alpha, red, green, blue
        red += alpha * (colour[0] - red)
        green += alpha * (colour[1] - green)
        blue += alpha * (colour[2] - blue)
    return red, green, blue


@njit(cache=True, nogil=True)
def _pull_layers(desk, layers, colours, red, green, blue, pull_colours, pull_background):
    """Take a pixel's or run's upstream gradient down through the layers; leaves each layer's pull on its coverage."""
    for k in range(layers - 1, -1, -1):
        path, layer = desk.layer_paths[k], desk.layers[k]
        colour, pull = colours[path], pull_colours[path]
        alpha = layer[1]
        pull[0] += alpha * red
        pull[1] += alpha * green
        pull[2] += alpha * blue
        change = red * (colour[0] - layer[2]) + green * (colour[1] - layer[3]) + blue * (colour[2] - layer[4])
        pull[3] += change * layer[0]
        layer[1] = change * colour[3]
        red, green, blue = red * (1.0 - alpha), green * (1.0 - alpha), blue * (1.0 - alpha)
    pull_background[0] += red
    pull_background[1] += green
    pull_background[2] += blue


@njit(cache=True, nogil=True)
def _pull_events(outline, cells, desk, layers, corners, column, row, evenodd, moments):
    """Hand each event's pull on its coverage to the edges in the pixel."""
    for k in range(layers):
        event = desk.layer_events[k]
        pull = desk.layers[k, 1]
        if event < 0 or pull == 0.0:
            continue
        first, path, slope = desk.event_visits[event], desk.layer_paths[k], desk.event_values[event, 1]
        last, count = first, 0
        while last >= 0 and cells.visits[last, PATH] == path:
            count += cells.visits[last, COUNT]
            last = cells.visits[last, LINK]
        if slope == 2.0:
            top = corners[path]
            visit = first
            while visit != last:
                top -= cells.visits[visit, TOP]
                visit = cells.visits[visit, LINK]
            _pull_exact(outline, cells, first, last, count, column, row, top, evenodd[path], pull, moments)
        elif slope != 0.0:
            _pull_simple(cells, first, last, pull * slope, moments)


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def _sum(values, first, last):
    """Sum in an order fixed when compiled, which leaves room for vector instructions."""
    total = 0.0
    for i in range(first, last):
        total += values[i]
    return total


@njit(cache=True, nogil=True)
def _sweep_row(outline, cells, desk, head, row, red, green, blue, colours, background, evenodd, backward, pulls):
    """Composite one row (forward), or take its upstream gradient back to paint and edges (backward)."""
    pull_colours, pull_background, moments = pulls
    actives = _open_row(cells, desk, head, row, evenodd)
    column, width = 0, len(red)
    while column < width:
        start = column
        while column < width and desk.columns[column] < 0:
            column += 1
        if column > start:
            layers = _stack_layers(desk, actives, 0)
            r, g, b = _composite(desk, layers, colours, background)
            if backward:
                r, g, b = _sum(red, start, column), _sum(green, start, column), _sum(blue, start, column)
                _pull_layers(desk, layers, colours, r, g, b, pull_colours, pull_background)
            else:
                red[start:column], green[start:column], blue[start:column] = r, g, b
        if column == width:
            break
        events = _take_events(outline, cells, desk, column, row, evenodd)
        layers = _stack_layers(desk, actives, events)
        r, g, b = _composite(desk, layers, colours, background)
        if backward:
            r, g, b = float(red[column]), float(green[column]), float(blue[column])
            _pull_layers(desk, layers, colours, r, g, b, pull_colours, pull_background)
            if len(moments):
                _pull_events(outline, cells, desk, layers, desk.tops, column, row, evenodd, moments)
        else:
            red[column], green[column], blue[column] = r, g, b
        for e in range(events):
            path = desk.event_paths[e]
            inside = filled(int(np.rint(desk.covers[path])), evenodd[path])
            actives = _set_active(desk, actives, path, inside > 0.0)
        column += 1


@njit(cache=True, nogil=True)
def sweep(outline, cells, paint, image, first, step, backward, pulls):
    """Do every step-th job from the first on: trace edges and composite (forward), or take gradients back (backward).

    Args:
        outline: all edges.
        cells: filled in by the forward pass, read by the backward pass.
        paint: colours, background and rules.
        image: (B, 3, H, W), written by the forward pass; the upstream gradient in the backward pass.
        first: the first job.
        step: number of threads that share the jobs.
        backward: which pass.
        pulls: the backward pass adds to them.
    """
    _, _, height, width = image.shape
    bands = (height + BAND - 1) // BAND
    desk = _make_desk(paint.colours.shape[1], width)
    for job in range(first, len(cells.firsts) - 1, step):
        scene, top = job // bands, job % bands * BAND
        bottom = min(top + BAND, height)
        if not backward:
            trace_job(outline, cells, job, scene, top, bottom, width)
        desk.seen[:] = -1
        for row in range(top, bottom):
            head = cells.rows[scene, row]
            picture = image[scene]
            slot = job if backward else 0
            shares = pulls.colours[slot], pulls.background[slot], pulls.moments
            red, green, blue = picture[0, row], picture[1, row], picture[2, row]
            colours, background = paint.colours[scene], paint.background[scene]
            _sweep_row(
                outline, cells, desk, head, row, red, green, blue, colours, background, paint.evenodd, backward, shares
            )
