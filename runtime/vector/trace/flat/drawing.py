"""A flat picture as a drawing: areas as fills from the largest to what lies on it, thin lines as strokes on top."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from runtime.vector.paths import Drawing, Kind, Layout
from runtime.vector.trace.flat.areas import Areas, areas_of
from runtime.vector.trace.flat.centrelines import lines_of
from runtime.vector.trace.flat.colours import Shares, shares_of
from runtime.vector.trace.flat.curves import Bound, Points, fit_curves
from runtime.vector.trace.flat.edges import contours_at_half
from runtime.vector.trace.flat.shapes import ellipse_of, rectangle_of
from runtime.vector.trace.flat.stacking import APART, BENEATH, Sheet, stack_of

OPAQUE = 0.985
"""Alpha from which on a colour is opaque."""
EMPTY = 0.03
"""Alpha up to which it is nothing."""
HIDDEN = 0.25
"""Weight of the error where nobody sees it."""
MIN_AREA = 0.3
"""Pixels of a contour below which it is dropped."""
SOFT = Bound()
"""Bound of pictures whose edges are antialiased."""
HARD = Bound(line=0.5, curve=0.55)
"""Bound of pictures whose edges are stairs of pixels."""
FEW_MIXED = 0.1
"""Mixed pixels, as a share of those at an edge, below which edges are stairs."""


@dataclass
class Path:
    """A path before it is part of a drawing."""

    kind: Kind
    contours: list[Points]
    colour: Float64[np.ndarray, "4"]
    """Straight RGBA."""
    label: int
    level: int
    """Number of paths that lie, one on the other, below it."""
    width: float = 1.0


def trace_flat(rgba: Float[Tensor, "4 H W"], paths: int) -> Drawing | None:
    """Return the drawing of a flat picture; None where the picture is not flat, or would need too many paths.

    Areas of one colour on one level share paths where there would be more than `paths` otherwise.

    Args:
        rgba: straight alpha, in [0, 1].
        paths: most paths.
    """
    pixels = rgba.permute(1, 2, 0).double().numpy()
    premultiplied = np.concatenate([pixels[..., :3] * pixels[..., 3:], pixels[..., 3:]], axis=-1)
    shares = shares_of(premultiplied)
    if shares is None:
        return None
    areas = areas_of(shares)
    if len(areas.labels) > 8 * paths:
        return None
    traced = paths_of(shares, areas)
    if len(traced.paths) > paths:
        traced.paths = merged(traced.paths)
    if len(traced.paths) > paths:
        return None
    return drawing_of(traced, (rgba.shape[1], rgba.shape[2]))


@dataclass
class Traced:
    """All paths, from the bottom up."""

    background: Float64[np.ndarray, "3"] | None
    paths: list[Path]


def paths_of(
    shares: Shares, areas: Areas, bound: Bound | None = None, apart: float = APART, beneath: float = BENEATH
) -> Traced:
    """Return the paths of areas.

    Args:
        shares: of the picture's pixels.
        areas: of the picture.
        bound: how far contours may be from edges; by default as the picture's edges are, smooth or stairs.
        apart: as of `stack_of`.
        beneath: as of `stack_of`.
    """
    alpha = shares.palette[:, 3]
    colours = np.concatenate([shares.palette[:, :3] / np.maximum(alpha, 1e-6)[:, None], alpha[:, None]], axis=1)
    colours = colours.clip(0, 1)
    colours[colours[:, 3] >= OPAQUE, 3] = 1.0
    own = alpha[areas.labels]
    stack = stack_of(areas, own >= OPAQUE, own > EMPTY, apart, beneath)
    bound = bound or (HARD if _is_hard(areas) else SOFT)
    levels: dict[int, int] = {}
    result = []
    for sheet in stack.sheets:
        levels[sheet.area] = 1 + max((levels.get(below, 0) for below in sheet.beneath), default=0)
        contours = contours_of(sheet, bound)
        if contours:
            label = int(areas.labels[sheet.area])
            result.append(Path(Kind.NONZERO, contours, colours[label], label, levels[sheet.area]))
    top = max(levels.values(), default=0) + 1
    for thin in areas.thin:
        lines = lines_of(thin)
        if lines is None:
            blots = contours_of(_as_sheet(thin), bound)
            if blots:
                result.append(Path(Kind.NONZERO, blots, colours[thin.label], thin.label, top))
            continue
        for line in lines:
            if len(line.points) > 1:
                points = stroke_of(line.points, line.closed, bound)
                result.append(Path(Kind.STROKE, [points], colours[thin.label], thin.label, top, line.width))
    background = None if stack.background is None else colours[areas.labels[stack.background], :3]
    return Traced(background, result)


def _is_hard(areas: Areas) -> bool:
    """Return whether the edges of areas are stairs of pixels."""
    owner = areas.owner
    edges = (owner[:, 1:] != owner[:, :-1]).sum() + (owner[1:] != owner[:-1]).sum()
    mixed = (areas.shares[..., 0] < 0.95).sum()
    return bool(mixed < FEW_MIXED * edges)


def _as_sheet(thin) -> Sheet:
    coverage = thin.coverage
    # A dot of less than half a pixel everywhere still has its area: it is drawn as large, at full strength.
    coverage = coverage / max(float(coverage.max()), 0.6) if coverage.max() < 0.6 else coverage
    return Sheet(-1, thin.rows.start, thin.columns.start, coverage, np.zeros(coverage.shape, dtype=bool), frozenset())


def contours_of(sheet: Sheet, bound: Bound) -> list[Points]:
    """Return the closed contours of an area, as control points."""
    offset = np.array([sheet.left, sheet.top], dtype=float)
    if not sheet.hidden.any():
        rectangle = rectangle_of(sheet.coverage, 0.04)
        if rectangle is not None:
            return [_rectangle(rectangle) + offset]
    result = []
    for places, weights in contours_at_half(sheet.coverage):
        if abs(_area(places)) < MIN_AREA:
            continue
        rows, columns = (
            np.floor(places[:, axis]).astype(int).clip(0, side - 1)
            for axis, side in ((1, sheet.hidden.shape[0]), (0, sheet.hidden.shape[1]))
        )
        hidden = sheet.hidden[rows, columns]
        points = places + offset
        ellipse = None if hidden.any() else ellipse_of(points, weights, bound.curve)
        if ellipse is not None:
            # The points of an ellipse go one way: that of the contour.
            turned = (_area(ellipse[::3]) > 0) != (_area(points) > 0)
            ellipse = np.concatenate([ellipse[:1], ellipse[:0:-1]]) if turned else ellipse
        own = np.where(hidden, HIDDEN, weights)
        result.append(fit_curves(points, closed=True, bound=bound, weights=own) if ellipse is None else ellipse)
    return result


def stroke_of(points: Points, closed: bool, bound: Bound) -> Points:
    """Return the control points of a stroke along a centreline; a closed one ends where it begins."""
    rough = Bound(line=max(bound.line, 0.3), curve=max(bound.curve, 0.35))
    if not closed:
        return fit_curves(points, closed=False, bound=rough)
    ring = ellipse_of(points, np.ones(len(points)), rough.curve)
    ring = fit_curves(points, closed=True, bound=rough) if ring is None else ring
    return np.concatenate([ring, ring[:1]])


def _area(points: Points) -> float:
    x, y = points.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2


def _rectangle(sides: Float64[np.ndarray, "4"]) -> Points:
    left, top, right, bottom = sides
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    after = np.roll(corners, -1, axis=0)
    return np.stack([corners + (after - corners) * third / 3 for third in range(3)], axis=1).reshape(-1, 2)


def merged(paths: list[Path]) -> list[Path]:
    """Return paths of which fills of one colour on one level are one path of several contours."""
    groups: dict[tuple, Path] = {}
    result = []
    for path in paths:
        key = (path.kind, path.label, path.level)
        if path.kind == Kind.STROKE or key not in groups:
            result.append(path)
            groups[key] = path
        else:
            groups[key].contours = groups[key].contours + path.contours
    return sorted(result, key=lambda path: path.level)


def drawing_of(traced: Traced, size: tuple[int, int]) -> Drawing:
    """Return paths as a drawing; where the picture is transparent, over a white that is not meant to be seen."""
    paths = traced.paths
    layout = Layout(
        tuple(path.kind for path in paths), tuple(tuple(len(c) // 3 for c in path.contours) for path in paths)
    )
    points = [contour for path in paths for contour in path.contours]
    background = np.ones(3) if traced.background is None else traced.background
    return Drawing(
        layout=layout,
        points=torch.tensor(np.concatenate([*points, np.zeros((0, 2))]), dtype=torch.float32)[None],
        colours=torch.tensor(np.array([path.colour for path in paths]).reshape(-1, 4), dtype=torch.float32)[None],
        widths=torch.tensor([[path.width for path in paths]], dtype=torch.float32),
        background=torch.tensor(background, dtype=torch.float32)[None],
        size=size,
    )
