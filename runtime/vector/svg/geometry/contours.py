"""Contours of cubic segments, the paths that they paint, and the drawing that paths make."""

from dataclasses import dataclass

import numpy as np
import torch

from runtime.vector.paths import Drawing, Kind, Layout


@dataclass(frozen=True)
class Contour:
    """A run of cubic segments."""

    points: np.ndarray
    """(3S + 1, 2) float64: p0 c0 c1 p1 c0 c1 ... pS, S at least 1."""
    closed: bool
    """Whether the drawing closed it (`Z`, or a shape that has no ends)."""
    vertices: tuple[int, ...] = ()
    """Indices of the points at which the file's own segments end, where these are others than every third."""

    def mapped(self, matrix: np.ndarray) -> "Contour":
        """Return the contour under an affine (3, 3) matrix."""
        return Contour(self.points @ matrix[:2, :2].T + matrix[:2, 2], self.closed, self.vertices)


@dataclass(frozen=True)
class Paint:
    """One path of the drawing to come: what is filled, or one stroke."""

    kind: Kind
    contours: list[Contour]
    colour: tuple[float, float, float, float]
    width: float = 1.0
    """Of a stroke, in pixels."""


def box_of(shape: Paint) -> np.ndarray:
    """Return the smallest and largest x and y of the control points, and of a stroke's width around them."""
    points = np.concatenate([contour.points for contour in shape.contours])
    margin = shape.width / 2 if shape.kind == Kind.STROKE else 0.0
    return np.stack([points.min(axis=0) - margin, points.max(axis=0) + margin])


def filled(contour: Contour) -> Contour | None:
    """Return the contour, closed by a straight segment where it is open; None where it is a single point."""
    points = contour.points
    if np.abs(points[0] - points[-1]).max() > 1e-6:
        line = points[-1] + (points[0] - points[-1]) * np.array([[1], [2], [3]]) / 3
        points = np.concatenate([points, line])
    return Contour(points, True) if len(points) > 4 or np.ptp(points, axis=0).max() > 0 else None


def stroked(contour: Contour) -> Contour:
    """Return the contour with its closing segment drawn."""
    closed = filled(contour) if contour.closed else None
    return closed or contour


def extent(contours: list[Contour]) -> np.ndarray:
    """Return the smallest and the largest x and y, (2, 2), of contours, curves included."""
    boxes = []
    for contour in contours:
        firsts = np.arange(0, len(contour.points) - 1, 3)
        a, b, c, d = np.moveaxis(contour.points[firsts[:, None] + np.arange(4)], 1, 0)
        boxes.append(contour.points[::3])
        # A cubic turns where its derivative, a quadratic, is 0. Both of its roots are without cancellation.
        square, linear, constant = d - 3 * c + 3 * b - a, 2 * (c - 2 * b + a), b - a
        half = linear + np.copysign(np.sqrt(np.maximum(linear**2 - 4 * square * constant, 0)), linear)
        with np.errstate(divide="ignore", invalid="ignore"):
            roots = np.nan_to_num([-half / (2 * square), -2 * constant / half], nan=0.0)
        for t in roots.clip(0, 1):
            boxes.append(a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3)
    points = np.concatenate(boxes)
    return np.stack([points.min(axis=0), points.max(axis=0)])


def is_flat(contours: list[Contour]) -> bool:
    """Return whether the bounding box of contours has no area."""
    return bool(contours) and not np.prod(np.ptp(np.concatenate([contour.points for contour in contours]), axis=0))


def rectangle_of(contours: list[Contour]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the top left and bottom right of an axis-aligned rectangle; None for any other shape."""
    # Four segments, the closing one included. A rectangle in more pieces is drawn right as any other path.
    if len(contours) != 1 or len(contours[0].points) != 13:
        return None
    points = contours[0].points
    low, high = points.min(axis=0), points.max(axis=0)
    on_edge = (np.abs(points - low) < 1e-3) | (np.abs(points - high) < 1e-3)
    corners = {tuple(on_low) for on_low in np.abs(points[::3] - low) < 1e-3}
    return (low, high) if on_edge.any(axis=1).all() and on_edge[::3].all() and len(corners) == 4 else None


def assemble(shapes: list[Paint], background: tuple[float, float, float], size: tuple[int, int]) -> Drawing:
    """Return the shapes, lowest first, as a drawing of one scene; `size` is its height and width in pixels."""
    layout = Layout(
        kinds=tuple(shape.kind for shape in shapes), contours=tuple(_segment_counts(shape) for shape in shapes)
    )
    # The empty part serves a drawing of nothing but a background.
    points = np.concatenate([np.zeros((0, 2)), *(_control_points(shape) for shape in shapes)])
    return Drawing(
        layout=layout,
        points=torch.tensor(points, dtype=torch.float32)[None],
        colours=torch.tensor([shape.colour for shape in shapes], dtype=torch.float32).reshape(1, -1, 4),
        widths=torch.tensor([[shape.width for shape in shapes]], dtype=torch.float32),
        background=torch.tensor([background], dtype=torch.float32),
        size=size,
    )


def _segment_counts(shape: Paint) -> tuple[int, ...]:
    if shape.kind == Kind.RECTANGLE:
        return (0,)
    return tuple(len(contour.points) // 3 for contour in shape.contours)


def _control_points(shape: Paint) -> np.ndarray:
    """Return the layout's points: two corners, an open stroke's 3S + 1, or 3S for each closed contour."""
    if shape.kind == Kind.RECTANGLE:
        points = shape.contours[0].points
        return np.stack([points.min(axis=0), points.max(axis=0)])
    if shape.kind == Kind.STROKE:
        return shape.contours[0].points
    return np.concatenate([contour.points[:-1] for contour in shape.contours])


def length_of(contour: Contour, pieces: int = 32) -> float:
    """Return the length of a contour, of chords: off by less than a thousandth where no segment turns back."""
    t = np.arange(pieces + 1)[:, None] / pieces
    weights = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    firsts = np.arange(0, len(contour.points) - 1, 3)
    points = np.einsum("tk,skd->std", weights, contour.points[firsts[:, None] + np.arange(4)])
    return float(np.linalg.norm(np.diff(points, axis=1), axis=2).sum())


def has_corners(contour: Contour) -> bool:
    """Return whether a stroke along a contour has a join that shows: where its direction changes."""
    points = contour.points
    segments = np.stack([points[first : first + 4] for first in range(0, len(points) - 1, 3)])
    leaving = directions(segments)
    arriving = -directions(segments[:, ::-1])
    if contour.closed:
        arriving = np.roll(arriving, 1, axis=0)
    else:
        leaving, arriving = leaving[1:], arriving[:-1]
    # A cosine of 0.999 is 2.6 degrees: a join there looks the same in any style.
    return bool(((leaving * arriving).sum(axis=1) < 0.999).any())


def directions(segments: np.ndarray) -> np.ndarray:
    """Return the unit vectors along which cubic segments, (S, 4, 2), leave their first points."""
    steps = segments[:, 1:] - segments[:, :1]
    lengths = np.linalg.norm(steps, axis=2)
    # A control on its end says nothing about the direction: the next point that differs does.
    first = (lengths > 1e-9 * (1 + lengths.max(axis=1, keepdims=True))).argmax(axis=1)
    rows = np.arange(len(segments))
    return steps[rows, first] / np.maximum(lengths[rows, first], 1e-300)[:, None]
