"""What a person would tidy up in a traced drawing: hidden paths, slivers, nearly equal colours, nearly round shapes.

Every change is measured in the picture: a path goes only if nobody would see it, a shape becomes an ellipse only if its
outline moves by less than a tolerance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from runtime.vector.paths import Drawing, Kind, Layout, circle_points, path_areas
from runtime.vector.raster import rasterize
from runtime.vector.reinit import CANVAS

SIDE = 256
"""Smallest side in pixels at which changes of the picture are measured."""


@dataclass(frozen=True, kw_only=True)
class Tidy:
    """How far a drawing may be changed."""

    colour: float = 0.05
    """Distance of colours in RGB, [0, 1], below which two become one."""
    tolerance: float = 5.0
    """Pixels of a canvas of 600 by which an outline may move to become an ellipse."""
    sliver: float = 5.0
    """Mean width, area over half the perimeter, in pixels of a canvas of 600, below which a path is a sliver."""
    unseen: float = 2e-5
    """Mean squared error, of the whole picture, that taking a path out may cost; a sliver may cost five times that."""


def tidy(drawing: Drawing, settings: Tidy | None = None, *, backend: str = "numba") -> Drawing:
    """Return a drawing that looks the same and is easier to edit.

    Args:
        drawing: one scene.
        settings: how far it may be changed.
        backend: the rasterizer's.
    """
    settings = settings or Tidy()
    unit = min(drawing.size) / CANVAS
    drawing = snapped(drawing.detach(), settings.colour)
    drawing = without_unseen(drawing, settings, backend)
    return with_ellipses(drawing, settings.tolerance * unit)


def snapped(drawing: Drawing, distance: float) -> Drawing:
    """Return a drawing of fewer colours: the two nearest become their mean, by area, until none are nearer than this.

    Opacities stay; so do the numbers of what has no near neighbour.

    Args:
        drawing: one scene.
        distance: in RGB, [0, 1]; 0 changes nothing.
    """
    colours = drawing.colours[0, :, :3].double()
    weights = path_areas(drawing)[0].double().clamp(min=1e-6)
    groups = [[path] for path in range(len(colours))]
    means = [colours[path] for path in range(len(colours))]
    while len(groups) > 1:
        table = torch.cdist(torch.stack(means), torch.stack(means))
        table.fill_diagonal_(math.inf)
        nearest = int(table.argmin())
        a, b = sorted(divmod(nearest, len(groups)))
        if not table[a, b] < distance:
            break
        groups[a] += groups.pop(b)
        means.pop(b)
        own = groups[a]
        means[a] = (colours[own] * weights[own, None]).sum(0) / weights[own].sum()
    result = drawing.colours.clone()
    for own, mean in zip(groups, means, strict=True):
        if len(own) > 1:
            result[0, own, :3] = mean.to(result)
    return replace(drawing, colours=result)


def mean_widths(drawing: Drawing) -> Float[Tensor, " P"]:
    """Return the mean width of each path, its area over half its perimeter; a disc's is its radius, a band's its own.

    A stroke has the width that it is drawn with.
    """
    widths = drawing.widths[0].clone()
    areas = path_areas(drawing)[0]
    for path, kind in enumerate(drawing.layout.kinds):
        if kind != Kind.STROKE:
            length = math.fsum(_length(contour) for contour in outlines(drawing, path))
            widths[path] = 2 * float(areas[path]) / length if length > 0 else 0.0
    return widths


def _length(contour: Float64[Tensor, "N 2"]) -> float:
    return float((contour.roll(-1, 0) - contour).norm(dim=1).sum())


def without_unseen(drawing: Drawing, settings: Tidy, backend: str = "numba") -> Drawing:
    """Return a drawing without the paths whose absence hardly anybody sees, the least visible first.

    Each is taken out of what is left after those before it, and only if that, too, changes the picture by less than the
    bound: of two paths that hide each other one stays.

    Args:
        drawing: one scene.
        settings: the bounds.
        backend: the rasterizer's.
    """
    factor = math.ceil(SIDE / min(drawing.size))
    size = (drawing.size[0] * factor, drawing.size[1] * factor)

    def render(paths: Sequence[int]) -> Tensor:
        with torch.no_grad():
            return rasterize(drawing.select(paths), size, backend=backend)

    staying = list(range(drawing.layout.num_paths))
    whole = render(staying)
    is_thin = (mean_widths(drawing) < settings.sliver * min(drawing.size) / CANVAS).tolist()
    bounds = [settings.unseen * (5 if thin else 1) for thin in is_thin]

    def cost(path: int) -> float:
        """Return by how much the picture, as it was at first, changes where a path goes as well."""
        return float((render([one for one in staying if one != path]) - whole).square().mean())

    candidates = sorted((error, path) for path in staying if (error := cost(path)) < bounds[path])
    for _, path in candidates:
        if cost(path) < bounds[path]:
            staying.remove(path)
    return drawing.select(staying)


@dataclass(frozen=True)
class Ellipse:
    """An ellipse."""

    centre: Float64[Tensor, "2"]
    """x and y."""
    axes: Float64[Tensor, "2 2"]
    """Its two half axes as vectors, one a row, perpendicular to each other."""

    def points(self, segments: int) -> Float64[Tensor, "3*{segments} 2"]:
        """Return the control points of a closed path around it."""
        unit = circle_points(torch.zeros(2, dtype=torch.float64), 1.0, segments)
        return unit @ self.axes + self.centre

    def outline(self, count: int) -> Float64[Tensor, "{count} 2"]:
        """Return points on it, evenly by angle."""
        angles = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
        return torch.stack((angles.cos(), angles.sin()), 1) @ self.axes + self.centre


def outlines(drawing: Drawing, path: int, per_segment: int = 16) -> list[Float64[Tensor, "_ 2"]]:
    """Return points along each contour of a fill or a rectangle."""
    points = drawing.points[0, drawing.layout.path_slice(path)].double()
    if drawing.layout.kinds[path] == Kind.RECTANGLE:
        (left, top), (right, bottom) = points.tolist()
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        return [torch.tensor(corners, dtype=torch.float64)]
    t = torch.arange(per_segment, dtype=torch.float64)[:, None, None] / per_segment
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    sampled = []
    for contour in points.split([3 * count for count in drawing.layout.contours[path]]):
        corners = (contour[0::3], contour[1::3], contour[2::3], contour[0::3].roll(-1, 0))
        curve = sum((weight * corner for weight, corner in zip(weights, corners, strict=True)), torch.zeros(()))
        sampled.append(torch.as_tensor(curve).transpose(0, 1).reshape(-1, 2))
    return sampled


def ellipse_of(outline: Float64[Tensor, "N 2"]) -> Ellipse | None:
    """Return the ellipse with the area, centre and second moments of a closed polygon; None where it has no area.

    Half axes whose lengths differ by less than a twentieth become one radius: a circle of the same area.
    """
    x, y = outline.unbind(1)
    u, v = outline.roll(-1, 0).unbind(1)
    # Green's theorem: integrals over the polygon are sums over its edges.
    cross = x * v - u * y
    area = cross.sum() / 2
    if abs(float(area)) < 1e-9:
        return None
    centre = torch.stack(((cross * (x + u)).sum(), (cross * (y + v)).sum())) / (6 * area)
    # About the centre before the second moments are taken: far from the origin they would cancel.
    x, u, y, v = x - centre[0], u - centre[0], y - centre[1], v - centre[1]
    cross = x * v - u * y
    xx, yy = (cross * (x * x + x * u + u * u)).sum(), (cross * (y * y + y * v + v * v)).sum()
    xy = (cross * (2 * x * y + x * v + u * y + 2 * u * v)).sum() / 2
    moments = torch.stack((torch.stack((xx, xy)), torch.stack((xy, yy)))) / (12 * area)
    # Rising, so that the smaller half axis comes first.
    values, vectors = torch.linalg.eigh(moments)
    if not float(values[0]) > 0:
        return None
    # Along a half axis of length a, an ellipse's mean square is a^2 / 4.
    lengths = 2 * values.sqrt()
    # Of a shape that is no ellipse the moments alone give another area.
    lengths = lengths * (area.abs() / (math.pi * lengths.prod())).sqrt()
    if float(lengths[1] - lengths[0]) < 0.05 * float(lengths[1]):
        return Ellipse(centre, torch.eye(2, dtype=torch.float64) * lengths.prod().sqrt())
    return Ellipse(centre, (vectors * lengths).T)


def hausdorff(first: Float64[Tensor, "N 2"], second: Float64[Tensor, "M 2"]) -> float:
    """Return the largest distance of a point of either closed polygon from the other's vertices."""
    table = torch.cdist(first, second)
    return max(float(table.min(1).values.max()), float(table.min(0).values.max()))


def with_ellipses(drawing: Drawing, tolerance: float) -> Drawing:
    """Return a drawing whose nearly elliptic shapes are ellipses of the same area, of four segments.

    Args:
        drawing: one scene; fills of one contour are looked at.
        tolerance: largest distance in pixels between a shape's outline and its ellipse; also at most a tenth of the
            ellipse's smaller half axis, so that a small square stays one.
    """
    contours, parts = list(drawing.layout.contours), []
    for path, kind in enumerate(drawing.layout.kinds):
        points = drawing.points[0, drawing.layout.path_slice(path)]
        ellipse = _fitting(drawing, path, tolerance) if kind in (Kind.NONZERO, Kind.EVENODD) else None
        if ellipse is not None:
            points, contours[path] = ellipse.points(4).to(points), (4,)
        parts.append(points)
    if not parts:
        return drawing
    return replace(drawing, layout=Layout(drawing.layout.kinds, tuple(contours)), points=torch.cat(parts)[None])


def _fitting(drawing: Drawing, path: int, tolerance: float) -> Ellipse | None:
    """Return the ellipse that a path is within a tolerance, or None."""
    contours = outlines(drawing, path)
    ellipse = ellipse_of(contours[0]) if len(contours) == 1 else None
    if ellipse is None:
        return None
    smaller = float(ellipse.axes.norm(dim=1).min())
    around = ellipse.outline(256)
    if not hausdorff(contours[0], around) <= min(tolerance, smaller / 10) + _spacing(contours[0], around):
        return None
    return ellipse


def _spacing(first: Float64[Tensor, "N 2"], second: Float64[Tensor, "M 2"]) -> float:
    """Return half the largest gap between neighbours: by so much a distance from vertices exceeds one from edges."""
    gaps = [float((one.roll(-1, 0) - one).norm(dim=1).max()) for one in (first, second)]
    return min(max(gaps) / 2, 0.25)
