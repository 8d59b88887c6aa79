"""Transparency of a traced picture: what is traced before a paper of another colour becomes transparent again.

A tracer compares opaque pictures. One with alpha is traced before a paper whose colour it does not have; then each path
gets the alpha that the picture has where the path is seen, and what is less than opaque is taken out of all that lies
below it, by Skia's boolean operations on curves: so holes are holes, contours of the path around them.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from runtime.vector.paths import Drawing, Kind, Layout
from runtime.vector.trace.regions import filled_mask

WHITE_IS_FAR = 0.35
"""Distance of white from all of a picture's colours from which on it is the paper."""

PRESENT = 0.1
"""Alpha from which on a pixel's colour counts."""

SNAP = 1 / 16
"""An alpha this near to 0 or 1 is one: means over antialiased pixels are never exact."""

AREA = 0.5
"""Pixels of a contour below which it is dropped: a sliver of two curves that nearly coincide."""


def paper_colour(rgba: Float[Tensor, "4 H W"]) -> Float[Tensor, " 3"]:
    """Return the colour to trace a picture before: white where it has nothing like it, else what is farthest from all.

    Args:
        rgba: straight alpha, in [0, 1].
    """
    colours = rgba[:3].flatten(1).T[rgba[3].flatten() > PRESENT]
    # Distances to thousands of colours say no more than to those that differ in 5 bits.
    colours = (colours * 31).round().unique(dim=0) / 31
    levels = torch.linspace(0, 1, 5)
    papers = torch.tensor([[1.0, 1.0, 1.0], *product(levels.tolist(), repeat=3)])
    if not len(colours):
        return papers[0]
    distances = torch.cdist(papers, colours).min(1).values
    return papers[0] if float(distances[0]) >= WHITE_IS_FAR else papers[int(distances.argmax())]


def before(rgba: Float[Tensor, "4 H W"], paper: Float[Tensor, " 3"]) -> Float[Tensor, "3 H W"]:
    """Return a picture before a paper."""
    return rgba[:3] * rgba[3:] + paper[:, None, None] * (1 - rgba[3:])


@dataclass(frozen=True)
class _Seen:
    """What a picture has where a path is seen."""

    alpha: float
    colour: Float[Tensor, " 3"] | None
    """Mean of the pixels' colours, each counted by its alpha; None where all is transparent."""


def with_transparency(drawing: Drawing, rgba: Float[Tensor, "4 H W"]) -> Drawing:
    """Return a traced drawing with the alpha of the picture, over a white that is not meant to be seen.

    Args:
        drawing: one scene of fills of one contour each, over an opaque background, all of which is in the picture's
            pixels.
        rgba: the picture, straight alpha, in [0, 1].
    """
    height, width = rgba.shape[1:]
    corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
    # The background is a path like the others: it may be opaque, around a hole.
    shapes = [_polygon(corners)]
    colours = [torch.cat([drawing.background[0], torch.ones(1)])]
    owner = torch.zeros(height, width, dtype=torch.int64)
    for path in range(drawing.layout.num_paths):
        points = drawing.points[0, drawing.layout.path_slice(path)].double().numpy()
        owner[torch.from_numpy(filled_mask(points, (height, width)))] = path + 1
        shapes.append(_curves(points))
        colours.append(drawing.colours[0, path])
    seen = _look(owner, rgba, len(shapes))
    for path, part in enumerate(seen):
        if part.alpha < 1:
            for below in range(path):
                shapes[below] = _without(shapes[below], shapes[path])
            if part.colour is not None:
                colours[path] = torch.cat([part.colour, torch.tensor([part.alpha])])
    visible = [path for path, part in enumerate(seen) if part.alpha > 0]
    return _drawing([shapes[path] for path in visible], [colours[path] for path in visible], drawing)


def _look(owner: Int64[Tensor, "H W"], rgba: Float[Tensor, "4 H W"], count: int) -> list[_Seen]:
    """Return what the picture has in the pixels of each path, of which `owner` names the highest at each pixel."""
    owners, alpha = owner.flatten(), rgba[3].flatten()
    pixels = torch.bincount(owners, minlength=count).tolist()
    weights = torch.bincount(owners, alpha.double(), minlength=count)
    sums = torch.stack([torch.bincount(owners, (c.flatten() * alpha).double(), minlength=count) for c in rgba[:3]], 1)
    seen = []
    for path in range(count):
        if pixels[path] == 0:
            # Nobody sees it: it stays as it is below what hides it.
            seen.append(_Seen(1.0, None))
            continue
        # The median: pixels at the edge are mixtures with what is next to it.
        level = float(alpha[owners == path].median())
        level = 0.0 if level < SNAP else 1.0 if level > 1 - SNAP else level
        colour = (sums[path] / weights[path]).float().clamp(0, 1) if float(weights[path]) > 0 else None
        seen.append(_Seen(level, colour))
    return seen


def _polygon(corners: list[tuple[float, float]]):
    import pathops

    path = pathops.Path()
    pen = path.getPen()
    pen.moveTo(corners[0])
    for corner in corners[1:]:
        pen.lineTo(corner)
    pen.closePath()
    return path


def _curves(points: Float[np.ndarray, "N 2"]):
    """Return a closed contour of cubic segments as a path of Skia."""
    import pathops

    path = pathops.Path()
    pen = path.getPen()
    places = [tuple(point) for point in points.tolist()]
    pen.moveTo(places[0])
    for first in range(0, len(places), 3):
        pen.curveTo(places[first + 1], places[first + 2], places[(first + 3) % len(places)])
    pen.closePath()
    return path


def _without(path, hole):
    """Return what of a path lies outside another one."""
    import pathops

    low = np.maximum(path.bounds[:2], hole.bounds[:2])
    if (np.minimum(path.bounds[2:], hole.bounds[2:]) <= low).any():
        return path
    return pathops.op(path, hole, pathops.PathOp.DIFFERENCE, fix_winding=True)


def _contours(path) -> list[Float[Tensor, "N 2"]]:
    """Return the contours of a path as cubic segments, without those of hardly any area."""
    contours: list[list[tuple[float, float]]] = []
    for verb, places in path.segments:
        if verb == "moveTo":
            contours.append([places[0]])
            continue
        contour = contours[-1]
        start = np.array(contour[-1])
        if verb == "lineTo":
            contour += _line(start, np.array(places[0]))
        elif verb == "curveTo":
            contour += places
        elif verb == "qCurveTo":
            contour += _elevated(start, places)
        elif contour[-1] != contour[0]:
            contour += _line(start, np.array(contour[0]))
    # The last point is the first one again.
    tensors = [torch.tensor(contour[:-1], dtype=torch.float32) for contour in contours if len(contour) > 3]
    return [contour for contour in tensors if abs(_area(contour)) >= AREA]


def _line(start: Float[np.ndarray, "2"], end: Float[np.ndarray, "2"]) -> list[tuple[float, float]]:
    return [tuple(start + (end - start) * share) for share in (1 / 3, 2 / 3)] + [tuple(end)]


def _elevated(start: Float[np.ndarray, "2"], places: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
    """Return quadratic curves as cubic ones; between two control points a point on the curve is left out."""
    cubic: list[tuple[float, float]] = []
    controls = [np.array(place) for place in places]
    for index, control in enumerate(controls[:-1]):
        last = index == len(controls) - 2
        end = controls[-1] if last else (control + controls[index + 1]) / 2
        cubic += [tuple(start + (control - start) * 2 / 3), tuple(end + (control - end) * 2 / 3), tuple(end)]
        start = end
    return cubic


def _area(contour: Float[Tensor, "N 2"]) -> float:
    """Return the signed area of the polygon of a contour's points."""
    x, y = contour.double().unbind(1)
    return float((x * y.roll(-1) - y * x.roll(-1)).sum()) / 2


def _drawing(shapes: list, colours: list[Float[Tensor, " 4"]], like: Drawing) -> Drawing:
    """Return shapes of Skia as a drawing; those without a contour are left out."""
    parts = [(_contours(shape), colour) for shape, colour in zip(shapes, colours, strict=True)]
    parts = [(contours, colour) for contours, colour in parts if contours]
    points = [contour for contours, _ in parts for contour in contours]
    counts = tuple(tuple(len(contour) // 3 for contour in contours) for contours, _ in parts)
    return replace(
        like,
        layout=Layout((Kind.NONZERO,) * len(parts), counts),
        points=torch.cat(points)[None] if points else torch.zeros(1, 0, 2),
        colours=torch.stack([colour for _, colour in parts])[None] if parts else torch.zeros(1, 0, 4),
        widths=torch.ones(1, len(parts)),
        background=torch.ones(1, 3),
    )
