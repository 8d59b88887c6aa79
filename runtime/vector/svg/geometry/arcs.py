"""Elliptic arcs as cubic segments: off by at most 2.8e-4 of the radius, for a piece is at most a quarter turn."""

import math

Point = tuple[float, float]

_NO_TURN = 1e-6
"""Radians below which a turn counts as none."""


def arc_points(
    start: Point, radii: tuple[float, float], rotation: float, flags: tuple[bool, bool], end: Point
) -> list[Point]:
    """Return the points that follow the start of an arc: two controls and an end for each cubic.

    Args:
        start: where it begins.
        radii: of the ellipse before its rotation; enlarged where they are too small to reach the end.
        rotation: of the ellipse, in degrees.
        flags: whether the larger arc is meant, and whether its angle grows.
        end: where it ends, another point than the start.

    Source: SVG 1.1, appendix F.6.
    """
    # F.6.6: a radius loses its sign, and with a radius of 0 the arc is a straight line.
    rx, ry = abs(radii[0]), abs(radii[1])
    if rx == 0 or ry == 0:
        return line_points(start, end)
    angle = math.radians(rotation % 360.0)
    cos, sin = math.cos(angle), math.sin(angle)
    half_x, half_y = (start[0] - end[0]) / 2, (start[1] - end[1]) / 2
    # The chord's half in the frame in which the ellipse is a unit circle about the centre to be found.
    u, v = (cos * half_x + sin * half_y) / rx, (cos * half_y - sin * half_x) / ry
    length = math.hypot(u, v)
    if not math.isfinite(length):
        # Beyond the range of floats. `shape_contours` refuses NaN as it refuses large coordinates.
        return [(math.nan, math.nan)] * 3
    if length > 1:
        # F.6.6: radii that are too small grow until the ellipse just reaches both ends.
        rx, ry, u, v, length = rx * length, ry * length, u / length, v / length, 1.0
    height = math.sqrt(max(1 / length**2 - 1, 0.0)) * (1 if flags[0] != flags[1] else -1) if length else 0.0
    centre_u, centre_v = height * v, -height * u
    first = math.atan2(v - centre_v, u - centre_u)
    sweep = (math.atan2(-v - centre_v, -u - centre_u) - first) % math.tau
    if not flags[1]:
        sweep -= math.tau
    # Where the ends nearly meet, rounding decides between no turn and a whole one; the flag knows.
    whole = math.copysign(math.tau, 1 if flags[1] else -1)
    if flags[0] and abs(sweep) < _NO_TURN:
        sweep += whole
    elif not flags[0] and abs(sweep) > math.tau - _NO_TURN:
        sweep -= whole
    centre_x = cos * rx * centre_u - sin * ry * centre_v + (start[0] + end[0]) / 2
    centre_y = sin * rx * centre_u + cos * ry * centre_v + (start[1] + end[1]) / 2
    across, down = (rx * cos, rx * sin), (-ry * sin, ry * cos)
    points = turn_points((centre_x, centre_y), across, down, first, sweep)
    # The end as it was written: a rounded one would leave a gap, which a `Z` closes with a line of its own.
    return [*points[:-1], end]


def turn_points(centre: Point, across: Point, down: Point, first: float, sweep: float) -> list[Point]:
    """Return the points that follow the start of a turn about an ellipse, centre + cos across + sin down.

    Args:
        centre: of the ellipse.
        across: half an axis: where angle 0 is.
        down: the other half axis: where a quarter turn is.
        first: angle of the start, in radians.
        sweep: angle of the turn, in radians.
    """
    # A quarter turn that rounding has made a little larger must not become two pieces.
    pieces = max(math.ceil(abs(sweep) / (math.tau / 4) - 1e-4), 1)
    step = sweep / pieces
    # With handles of this length a cubic touches the ellipse in the middle of the piece too.
    handle = 4 / 3 * math.tan(step / 4)
    points = []
    for piece in range(pieces):
        for angle, side in ((first + step * piece, handle), (first + step * (piece + 1), -handle)):
            cos, sin = math.cos(angle), math.sin(angle)
            x = centre[0] + cos * across[0] + sin * down[0]
            y = centre[1] + cos * across[1] + sin * down[1]
            tangent = (cos * down[0] - sin * across[0], cos * down[1] - sin * across[1])
            control = (x + side * tangent[0], y + side * tangent[1])
            points += [control] if side == handle else [control, (x, y)]
    return points


def line_points(start: Point, end: Point) -> list[Point]:
    """Return the points that follow the start of a straight line."""
    return [
        (start[0] + (end[0] - start[0]) / 3, start[1] + (end[1] - start[1]) / 3),
        (start[0] + (end[0] - start[0]) * 2 / 3, start[1] + (end[1] - start[1]) * 2 / 3),
        end,
    ]
