"""Strokes as areas, and areas combined, by Skia, whose outlines are those of Chrome.

Skia computes in float32 and approximates within a quarter of its unit. Paths are handed to it `SCALE` times as large,
so that an outline is off by at most a 64th of a pixel. Where a pen is wider than a bend, the outline has the holes that
browsers show there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np

from runtime.vector.paths import Kind
from runtime.vector.svg.geometry.contours import Contour, Paint

Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Whether places are in a combined area, from whether they are in one and in the other."""

SCALE = 16.0
"""Units of Skia to the pixel."""
MAX_DASHES = 20_000
"""Most dashes of one stroke."""
MAX_PAIRS = 80_000
"""Most pairs of segments, near enough to meet, that all operations of one file may look at, 20 microseconds each."""
CALL_PAIRS = 30
"""Pairs of segments in the time of which an operation is called and checked."""

_FLATTEST = 1e-4
"""A pen that is narrower than this part of its length draws nothing that could be seen."""
_HALVINGS = 2
"""How often segments are halved for boxes around their pieces."""
_NUDGES = ((0.0, 0.0), (0.004, 0.003), (-0.003, 0.005))
"""Steps in pixels by which an area is moved until Skia can combine it with another one."""
_SLACK = 0.25
"""Pixels by which a combined area may stand out of where it can be: more than Skia's tolerance."""
_PROBES = np.arange(1, 121)[:, None] * np.array([0.7548776662466927, 0.5698402909980532]) % 1
"""Places in a box at which a combined area is compared with its operands: the plastic number's sequence, which is
spread evenly. A lattice would meet edges, which lie at simple fractions of a drawing."""


@dataclass(frozen=True, kw_only=True)
class Pen:
    """What a stroke is drawn with."""

    width: float
    """In user units."""
    linear: np.ndarray
    """(2, 2) matrix from user units to pixels."""
    cap: str = "round"
    """"butt", "round" or "square"."""
    join: str = "round"
    """"miter", "round" or "bevel"."""
    limit: float = 4.0
    """Largest length of a miter, in widths."""
    dashes: tuple[float, ...] = ()
    """Lengths of dashes and gaps in turn, in user units."""
    offset: float = 0.0
    """Where in the dashes the stroke begins, in user units."""


@dataclass(frozen=True)
class Area:
    """What contours fill, in pixels."""

    contours: list[Contour]
    kind: Kind
    """NONZERO or EVENODD."""

    @cached_property
    def path(self):
        """The contours as a path of Skia."""
        import pathops

        path = pathops.Path()
        path.fillType = pathops.FillType.EVEN_ODD if self.kind == Kind.EVENODD else pathops.FillType.WINDING
        for contour in self.contours:
            _append(path, contour.points * SCALE, closed=True)
        return path

    def moved(self, step: tuple[float, float]):
        """Return the contours as a path of Skia, moved by a step in pixels."""
        return Area([Contour(contour.points + step, contour.closed) for contour in self.contours], self.kind).path

    @cached_property
    def pieces(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest x and y of the pieces of its segments, which bound the outline closely."""
        cubics = _segments(self.contours)
        for _ in range(_HALVINGS):
            one, two, three, four = np.moveaxis(cubics, 1, 0)
            left, middle, right = (one + two) / 2, (two + three) / 2, (three + four) / 2
            inner, outer = (left + middle) / 2, (middle + right) / 2
            half = (inner + outer) / 2
            cubics = np.concatenate(
                [np.stack([one, left, inner, half], axis=1), np.stack([half, outer, right, four], axis=1)]
            )
        return cubics.min(axis=1), cubics.max(axis=1)

    @cached_property
    def box(self) -> np.ndarray:
        """(2, 2) smallest and largest x and y of the control points, which bound the area."""
        points = np.concatenate([contour.points for contour in self.contours])
        return np.stack([points.min(axis=0), points.max(axis=0)])


def stroke_outline(contours: Sequence[Contour], pen: Pen) -> list[Contour]:
    """Return what a stroke covers, in pixels, for filling by the nonzero rule; empty where it covers nothing.

    Args:
        contours: what it follows, in pixels; those without a length are dots.
        pen: what it is drawn with.

    Raises:
        ValueError: where it has more than `MAX_DASHES` dashes.
    """
    import pathops

    lengths = np.linalg.svd(pen.linear, compute_uv=False)
    if pen.width <= 0 or not lengths[1] > _FLATTEST * lengths[0]:
        return []
    # The pen is round in user units. There the stroke is outlined, in the scale in which no length shrinks on the way
    # back to pixels, so that Skia's tolerance holds for these.
    to_pixels = pen.linear / lengths[0]
    to_user = np.linalg.inv(to_pixels)
    path = pathops.Path()
    for contour in contours:
        _append(path, contour.points @ to_user.T * SCALE, contour.closed)
    unit = float(lengths[0]) * SCALE
    dashes = [length * unit for length in pen.dashes]
    if dashes:
        reach = sum(_length(contour.points @ to_user.T) for contour in contours) * SCALE
        if reach / sum(dashes) * len(dashes) > MAX_DASHES:
            raise ValueError(f"more than {MAX_DASHES} dashes")
    path.stroke(
        pen.width * unit,
        {"butt": pathops.LineCap.BUTT_CAP, "round": pathops.LineCap.ROUND_CAP, "square": pathops.LineCap.SQUARE_CAP}[
            pen.cap
        ],
        {
            "miter": pathops.LineJoin.MITER_JOIN,
            "round": pathops.LineJoin.ROUND_JOIN,
            "bevel": pathops.LineJoin.BEVEL_JOIN,
        }[pen.join],
        pen.limit,
        dashes or None,
        pen.offset * unit,
    )
    return _contours(path, to_pixels / SCALE)


class Combiner:
    """Intersections, differences and unions of areas, within limits of work."""

    def __init__(self) -> None:
        self.left = MAX_PAIRS

    def spend(self, pairs: int) -> None:
        """Take from the work that is left, or raise a `ValueError` where that is too little."""
        self.left -= pairs
        if self.left < 0:
            raise ValueError("shapes of too many segments")

    def intersect(self, first: Area, second: Area) -> Area | None:
        """Return what is in both areas; None where that is nothing."""
        if _are_apart(first, second):
            return None
        return self._combine(first, second, "INTERSECTION", np.logical_and)

    def subtract(self, first: Area, second: Area) -> Area | None:
        """Return what is in the first area alone; None where that is nothing."""
        if _are_apart(first, second):
            return first
        return self._combine(first, second, "DIFFERENCE", lambda one, two: one & ~two)

    def unite(self, areas: Sequence[Area]) -> Area:
        """Return what is in any of one or more areas."""
        united = areas[0]
        for area in areas[1:]:
            united = self._combine(united, area, "UNION", np.logical_or) or united
        return united

    def _combine(self, first: Area, second: Area, name: str, rule: Rule) -> Area | None:
        """Return two areas combined by one of Skia's operations.

        Raises:
            ValueError: where that is beyond the limits, or Skia fails at it.
        """
        pairs = CALL_PAIRS + _count_pairs([*first.contours, *second.contours], self.left)
        # Skia fails where outlines touch or run along one another. Moved by what nobody sees, they cross.
        for step in _NUDGES:
            self.spend(pairs)
            path = second.path if step == (0.0, 0.0) else second.moved(step)
            try:
                return _combined(first, second, path, name, rule)
            except ValueError:
                continue
        raise ValueError("shapes that Skia cannot combine")


def _combined(first: Area, second: Area, path, name: str, rule: Rule) -> Area | None:
    """Return two areas combined, the second one as a path of Skia that may be a little off.

    Raises:
        ValueError: where Skia fails.
    """
    import pathops

    try:
        result = pathops.op(first.path, path, pathops.PathOp[name], fix_winding=False, keep_starting_points=False)
    except pathops.PathOpsError:
        raise ValueError("shapes that Skia cannot combine") from None
    # Skia's operations fail on some curves, mostly without a word, and then a whole part is missing, or is there where
    # none should be. It would be missing where both areas may be, or where the first one may be, or either.
    boxes = np.stack([first.box, second.box])
    low, high = {
        "INTERSECTION": lambda: (boxes[:, 0].max(axis=0), boxes[:, 1].min(axis=0)),
        "DIFFERENCE": lambda: boxes[0],
        "UNION": lambda: (boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)),
    }[name]()
    probes = (_PROBES * (high - low) + low) * SCALE
    in_one, in_two, in_both = (
        np.fromiter((area.contains(probe) for probe in map(tuple, probes.tolist())), bool, len(probes))
        for area in (first.path, path, result)
    )
    if (rule(in_one, in_two) != in_both).sum() > len(probes) / 50:
        raise ValueError("shapes that Skia cannot combine")
    contours = _contours(result, np.eye(2) / SCALE)
    if not contours:
        return None
    combined = Area(contours, Kind.EVENODD)
    # Control points of curves may stand out of both boxes a little, their ends not.
    ends = np.concatenate([contour.points[::3] for contour in contours])
    if (ends < low - _SLACK).any() or (ends > high + _SLACK).any():
        raise ValueError("shapes that Skia cannot combine")
    return combined


class Relation(Enum):
    """How one area lies beside another."""

    APART = "apart"
    INSIDE = "inside"
    CROSSING = "crossing"
    """Any other way: the outlines meet, or the other one lies inside."""


def relation_of(first: Area, second: Area) -> Relation:
    """Return how the first area lies beside the second; CROSSING where that takes more than boxes to see."""
    if not first.contours or not second.contours or _are_apart(first, second):
        return Relation.APART
    (low, high), (other_low, other_high) = first.pieces, second.pieces
    # Pieces of one that lie outside of the other's box meet nothing.
    near = ((low <= second.box[1]) & (high >= second.box[0])).all(axis=1)
    meets = (low[near, None] <= other_high) & (high[near, None] >= other_low)
    if meets.all(axis=2).any():
        return Relation.CROSSING
    # No outline meets another: all points of a contour lie on one side.
    if any(first.path.contains(tuple(contour.points[0] * SCALE)) for contour in second.contours):
        return Relation.CROSSING
    inside = {second.path.contains(tuple(contour.points[0] * SCALE)) for contour in first.contours}
    if len(inside) == 2:
        return Relation.CROSSING
    return Relation.INSIDE if inside == {True} else Relation.APART


def area_of(paint: Paint) -> Area:
    """Return what a path covers; of a stroke, which is round, its outline."""
    if paint.kind == Kind.STROKE:
        return Area(stroke_outline(paint.contours, Pen(width=paint.width, linear=np.eye(2))), Kind.NONZERO)
    return Area(paint.contours, Kind.EVENODD if paint.kind == Kind.EVENODD else Kind.NONZERO)


def _are_apart(first: Area, second: Area) -> bool:
    one, two = first.box, second.box
    return bool((np.minimum(one[1], two[1]) <= np.maximum(one[0], two[0])).any())


def _count_pairs(contours: list[Contour], most: int) -> int:
    """Return how many pairs of segments have boxes that meet, or a number beyond `most`: Skia tries each of them."""
    cubics = _segments(contours)
    if len(cubics) > max(most, 0):
        return most + 1
    if len(cubics) <= 16:
        return len(cubics) ** 2 // 4  # counting would take longer than what it saves
    low, high = cubics.min(axis=1), cubics.max(axis=1)
    count = len(cubics)
    for index in range(len(cubics)):
        meets = (low[index + 1 :] <= high[index]) & (high[index + 1 :] >= low[index])
        count += int(meets.all(axis=1).sum())
        if count > most:
            break
    return count


def _segments(contours: list[Contour]) -> np.ndarray:
    """Return the segments of contours, (S, 4, 2)."""
    return np.concatenate(
        [contour.points[np.arange(0, len(contour.points) - 1, 3)[:, None] + np.arange(4)] for contour in contours]
    )


def _append(path, points: np.ndarray, closed: bool) -> None:
    """Append a contour to a path of Skia; straight segments as lines, whose outlines are exact."""
    places = points.tolist()
    path.moveTo(*places[0])
    straight = _are_straight(_segments([Contour(points, closed)]))
    for first, is_line in zip(range(0, len(places) - 1, 3), straight, strict=True):
        if is_line:
            path.lineTo(*places[first + 3])
        else:
            path.cubicTo(*places[first + 1], *places[first + 2], *places[first + 3])
    if closed and np.ptp(points, axis=0).max() > 0:
        path.close()


def _are_straight(cubics: np.ndarray) -> list[bool]:
    """Return whether each segment, (S, 4, 2), is a line from its first point to its last, without turning back."""
    chord = cubics[:, 3:] - cubics[:, :1]
    square = (chord**2).sum(axis=2)
    steps = cubics[:, 1:3] - cubics[:, :1]
    off = np.abs(steps[..., 0] * chord[..., 1] - steps[..., 1] * chord[..., 0])
    along = (steps * chord).sum(axis=2)
    return ((off <= 1e-7 * square) & (along >= 0) & (along <= square)).all(axis=1).tolist()


def _contours(path, linear: np.ndarray) -> list[Contour]:
    """Return a path of Skia as closed contours under a linear map."""
    import pathops

    path.convertConicsToQuads(0.25)
    drawn: list[list[tuple[float, float]]] = []
    third = np.array([[1.0], [2.0]]) / 3
    for verb, places in path:
        if verb == pathops.PathVerb.MOVE:
            drawn.append([places[0]])
            continue
        if verb == pathops.PathVerb.CLOSE:
            continue
        contour = drawn[-1]
        start, end = np.array(contour[-1]), np.array(places[-1])
        if verb == pathops.PathVerb.LINE:
            controls = start + (end - start) * third
        elif verb == pathops.PathVerb.QUAD:
            # Raising the degree is exact.
            middle = np.array(places[0])
            controls = np.stack([start + (middle - start) * 2 / 3, end + (middle - end) * 2 / 3])
        else:
            controls = np.array(places[:2])
        contour += [tuple(controls[0]), tuple(controls[1]), places[-1]]
    closed = []
    for contour in drawn:
        points = np.array(contour, dtype=np.float64)
        if len(points) > 1 and (points[0] != points[-1]).any():
            points = np.concatenate([points, points[-1] + (points[0] - points[-1]) * np.array([[1], [2], [3]]) / 3])
        if len(points) > 4 or (len(points) == 4 and np.ptp(points, axis=0).max() > 0):
            points[-1] = points[0]
            closed.append(Contour(points @ linear.T, True))
    return closed


def _length(points: np.ndarray) -> float:
    """Return the length of a contour's control polygon, which is at least its own."""
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
