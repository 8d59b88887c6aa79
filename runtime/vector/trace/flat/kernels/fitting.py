"""Compiled: lines and cubics of least squares through runs of a polyline, and the cheapest sequence of them."""

import numpy as np

from runtime.kernels.jit import entry, inner

LINE = 1.0
CURVE = 1.7
"""Costs of a line and of a curve: two lines with a corner are worth a little more than a curve."""
ROUGHNESS = 0.5
"""Cost of a segment whose error is as large as the bound."""
NEAR_END = 1.1
"""Length along a polyline, in pixels, that corners round off."""
SAMPLES = 48
"""Points of a run to which a segment is fitted."""


@entry
def take_run(points, along, weights, first, last):
    """Return up to `SAMPLES` points of a run, their places in [0, 1] and weights, without those next to its ends."""
    length = along[last] - along[first]
    skip = min(NEAR_END, 0.2 * length)
    low, high = first, last
    while low < last and along[low] - along[first] < skip:
        low += 1
    while high > first and along[last] - along[high] < skip:
        high -= 1
    if high - low < 1:
        low, high = first, last
    step = max((high - low) // SAMPLES, 1)
    size = (high - low) // step + 1
    run = np.empty((size, 2))
    places = np.empty(size)
    own = np.empty(size)
    for k in range(size):
        index = low + k * step
        run[k, 0] = points[index, 0]
        run[k, 1] = points[index, 1]
        places[k] = (along[index] - along[first]) / max(length, 1e-9)
        own[k] = weights[index]
    return run, places, own


@entry
def line_through(run, own):
    """Return the middle and direction of the line of least squares, and the largest weighted distance from it."""
    # Loops over numbers, here and below: expressions of arrays take Numba four times as long to compile.
    total = x = y = 0.0
    for k in range(len(run)):
        total += own[k]
        x += run[k, 0] * own[k]
        y += run[k, 1] * own[k]
    middle = np.empty(2)
    middle[0], middle[1] = x / total, y / total
    xx = xy = yy = 0.0
    for k in range(len(run)):
        x, y = run[k, 0] - middle[0], run[k, 1] - middle[1]
        xx += own[k] * x * x
        xy += own[k] * x * y
        yy += own[k] * y * y
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    direction = np.empty(2)
    direction[0], direction[1] = np.cos(angle), np.sin(angle)
    last = len(run) - 1
    if direction[0] * (run[last, 0] - run[0, 0]) + direction[1] * (run[last, 1] - run[0, 1]) < 0:
        direction[0], direction[1] = -direction[0], -direction[1]
    error = 0.0
    for k in range(len(run)):
        x, y = run[k, 0] - middle[0], run[k, 1] - middle[1]
        error = max(error, np.abs(x * direction[1] - y * direction[0]) * own[k])
    return middle, direction, error


@inner
def solve_four(normal, right):
    """Solve four equations with a positive definite matrix, by Gauss's elimination, in place: `right` is the result."""
    for k in range(4):
        for row in range(k + 1, 4):
            factor = normal[row, k] / normal[k, k]
            for column in range(k + 1, 4):
                normal[row, column] -= factor * normal[k, column]
            right[row, 0] -= factor * right[k, 0]
            right[row, 1] -= factor * right[k, 1]
    for k in range(3, -1, -1):
        for axis in range(2):
            total = right[k, axis]
            for column in range(k + 1, 4):
                total -= normal[k, column] * right[column, axis]
            right[k, axis] = total / normal[k, k]


@entry
def cubic_through(run, places, own):
    """Return the cubic of least squares with free ends, and the largest weighted distance from it."""
    controls = np.empty((4, 2))
    normal = np.empty((4, 4))
    basis = np.empty(4)
    last = len(run) - 1
    for turn in range(3):
        # Few points do not determine a cubic: it is drawn, a little, to the chord with controls at thirds.
        for i in range(4):
            for j in range(4):
                normal[i, j] = 1e-4 if i == j else 0.0
            for axis in range(2):
                controls[i, axis] = 1e-4 * (run[0, axis] + (run[last, axis] - run[0, axis]) * i / 3)
        for k in range(len(run)):
            t, u = places[k], 1 - places[k]
            basis[0], basis[1], basis[2], basis[3] = u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t
            for i in range(4):
                weighted = basis[i] * own[k]
                for j in range(4):
                    normal[i, j] += weighted * basis[j]
                controls[i, 0] += weighted * run[k, 0]
                controls[i, 1] += weighted * run[k, 1]
        solve_four(normal, controls)
        if turn == 2:
            break
        for k in range(len(run)):
            t = places[k]
            u = 1 - t
            dx = dy = 0.0
            for axis in range(2):
                a, b, c, d = controls[0, axis], controls[1, axis], controls[2, axis], controls[3, axis]
                offset = u * u * u * a + 3 * u * u * t * b + 3 * u * t * t * c + t * t * t * d - run[k, axis]
                speed = 3 * (u * u * (b - a) + 2 * u * t * (c - b) + t * t * (d - c))
                dx += offset * speed
                dy += speed * speed
            if dy > 1e-12:
                places[k] = min(max(t - dx / dy, 0.0), 1.0)
    error = 0.0
    for k in range(len(run)):
        t, u = places[k], 1 - places[k]
        x = (
            u**3 * controls[0, 0]
            + 3 * u * u * t * controls[1, 0]
            + 3 * u * t * t * controls[2, 0]
            + t**3 * controls[3, 0]
        )
        y = (
            u**3 * controls[0, 1]
            + 3 * u * u * t * controls[1, 1]
            + 3 * u * t * t * controls[2, 1]
            + t**3 * controls[3, 1]
        )
        error = max(error, own[k] * np.hypot(x - run[k, 0], y - run[k, 1]))
    return controls, error


@inner
def errors(points, along, weights, first, last, curve_bound):
    """Return the errors of the line and of the curve through a run; infinite for a curve of too few points."""
    run, places, own = take_run(points, along, weights, first, last)
    _, _, line = line_through(run, own)
    if len(run) < 5 or line < 0.5 * curve_bound:
        return line, np.inf
    # No cubic turns by more than it can follow: a run far longer than its chord's reach is tried all the same.
    _, curve = cubic_through(run, places, own)
    return line, curve


@entry
def cheapest(points, along, weights, vertices, line_bound, curve_bound):
    """Return the ends of the cheapest sequence of segments and which of them are curves."""
    count = len(vertices)
    cost = np.full(count, np.inf)
    cost[0] = 0.0
    before = np.zeros(count, np.int64)
    bends = np.zeros(count, np.bool_)
    for i in range(count - 1):
        failures = 0
        for j in range(i + 1, count):
            line, curve = errors(points, along, weights, vertices[i], vertices[j], curve_bound)
            own, bend = np.inf, False
            if line <= line_bound or j == i + 1:
                own = LINE + ROUGHNESS * min(line / line_bound, 4.0)
            if curve <= curve_bound and CURVE + ROUGHNESS * curve / curve_bound < own:
                own, bend = CURVE + ROUGHNESS * curve / curve_bound, True
            if cost[i] + own < cost[j]:
                cost[j] = cost[i] + own
                before[j] = i
                bends[j] = bend
            # A run that no segment fits is not fitted better when it is longer, but for a rare one.
            failures = failures + 1 if own == np.inf else 0
            if failures > 4:
                break
    steps = 0
    place = count - 1
    while place > 0:
        place = before[place]
        steps += 1
    ends = np.empty(steps + 1, np.int64)
    curved = np.empty(steps, np.bool_)
    place = count - 1
    for step in range(steps, 0, -1):
        ends[step] = vertices[place]
        curved[step - 1] = bends[place]
        place = before[place]
    ends[0] = vertices[0]
    return ends, curved


@entry
def significance(points):
    """Return for each point the largest tolerance with which a polyline simplified by Douglas and Peucker holds it."""
    count = len(points)
    result = np.zeros(count)
    result[0] = result[count - 1] = np.inf
    stack = [(0, count - 1, np.inf)]
    while len(stack) > 0:
        first, last, most = stack.pop()
        if last - first < 2:
            continue
        dx, dy = points[last, 0] - points[first, 0], points[last, 1] - points[first, 1]
        length = np.hypot(dx, dy)
        best, index = -1.0, first + 1
        for k in range(first + 1, last):
            x, y = points[k, 0] - points[first, 0], points[k, 1] - points[first, 1]
            distance = np.abs(dx * y - dy * x) / length if length > 1e-9 else np.hypot(x, y)
            if distance > best:
                best, index = distance, k
        # No point counts for more than the one that divided its run: else it could stay without it.
        best = min(best, most)
        result[index] = best
        if best > 0.01:
            stack.append((first, index, best))
            stack.append((index, last, best))
    return result
