"""Drawings as tensors: what a path is, how paths form a scene, and the scenes that optimization starts from.

A drawing is a stack of paths over a background colour. Its structure (`Layout`) is fixed and hashable; its numbers
(`Drawing`) are tensors with a leading batch dimension. Coordinates are canvas pixels, x to the right and y down;
pixel (i, j) covers [j, j+1) x [i, i+1).
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.errors import UserError


class Kind(IntEnum):
    """How a path's contours become a filled region."""

    NONZERO = 0
    EVENODD = 1
    STROKE = 2
    RECTANGLE = 3


@dataclass(frozen=True)
class Layout:
    """The structure of a drawing, shared by a whole batch.

    A closed contour of S cubic segments has 3 S points (p0 c0 c1 p1 c0 c1 ...) and wraps round; a stroke has one open
    contour of 3 S + 1 points; a rectangle has contours ``(0,)`` and two points, top left and bottom right.
    """

    kinds: tuple[Kind, ...]
    """One a path, in drawing order: the first is lowest."""
    contours: tuple[tuple[int, ...], ...]
    """For each path the number of cubic segments of each of its contours; holes are further contours."""

    def __post_init__(self):
        # Plain ints and lists are taken too. What is stored must be hashable, for caches have layouts as their keys.
        object.__setattr__(self, "kinds", tuple(Kind(kind) for kind in self.kinds))
        object.__setattr__(self, "contours", tuple(tuple(int(n) for n in path) for path in self.contours))
        if len(self.kinds) != len(self.contours):
            raise UserError(f"layout: expected contours for {len(self.kinds)} paths, got {len(self.contours)}")
        for path, (kind, contours) in enumerate(zip(self.kinds, self.contours, strict=True)):
            _check_contours(path, kind, contours)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Index of each path's first point, and last of all the number of points."""
        offsets = [0]
        for kind, contours in zip(self.kinds, self.contours, strict=True):
            offsets.append(offsets[-1] + _count_points(kind, contours))
        return tuple(offsets)

    @cached_property
    def memo(self) -> dict:
        """A cache for what others derive from the layout: plans live as long as the layout that they are for."""
        return {}

    @property
    def num_paths(self) -> int:
        """Number of paths."""
        return len(self.kinds)

    @property
    def num_points(self) -> int:
        """Number of points of all paths together."""
        return self.offsets[-1]

    def path_slice(self, path: int) -> slice:
        """Return where the points of one path lie among all points."""
        return slice(self.offsets[path], self.offsets[path + 1])

    def select(self, paths: Sequence[int]) -> "Layout":
        """Return the layout of some of the paths, in the order given."""
        return Layout(tuple(self.kinds[p] for p in paths), tuple(self.contours[p] for p in paths))

    def __add__(self, other: "Layout") -> "Layout":
        """Return the layout with another's paths on top."""
        return Layout(self.kinds + other.kinds, self.contours + other.contours)


def _check_contours(path: int, kind: Kind, contours: tuple[int, ...]) -> None:
    if kind is Kind.RECTANGLE and contours != (0,):
        raise UserError(f"path {path}: a rectangle has contours (0,), got {contours}")
    if kind is Kind.STROKE and len(contours) != 1:
        raise UserError(f"path {path}: a stroke has one open contour, got {len(contours)}; make each its own path")
    if kind is not Kind.RECTANGLE and (not contours or min(contours) < 1):
        raise UserError(f"path {path}: expected contours of at least 1 segment, got {contours}")


def _count_points(kind: Kind, contours: tuple[int, ...]) -> int:
    if kind is Kind.RECTANGLE:
        return 2
    return 3 * sum(contours) + (1 if kind is Kind.STROKE else 0)


@dataclass(frozen=True)
class Drawing:
    """B scenes of one layout. Shapes are not annotated but checked here, in words that a user understands.

    Raises:
        UserError: where a tensor's shape does not fit the layout, or the size is none.
    """

    layout: Layout
    points: Tensor
    """(B, N, 2) x and y in canvas pixels."""
    colours: Tensor
    """(B, P, 4) straight RGBA in [0, 1]."""
    widths: Tensor
    """(B, P) stroke widths in canvas pixels; fills and rectangles ignore theirs."""
    background: Tensor
    """(B, 3) RGB in [0, 1]."""
    size: tuple[int, int]
    """Canvas height and width in pixels."""

    def __post_init__(self):
        batch = self.points.shape[0] if self.points.ndim == 3 else "B"
        paths, points = self.layout.num_paths, self.layout.num_points
        self._check("points", (batch, points, 2))
        self._check("colours", (batch, paths, 4))
        self._check("widths", (batch, paths))
        self._check("background", (batch, 3))
        if len(self.size) != 2 or min(self.size) < 1:
            raise UserError(f"drawing size: expected a height and a width of at least 1 pixel, got {self.size}")
        object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))

    def _check(self, name: str, shape: tuple) -> None:
        tensor = getattr(self, name)
        if tuple(tensor.shape) != shape or not tensor.dtype.is_floating_point:
            raise UserError(
                f"drawing {name}: expected {shape} of a floating dtype for {self.layout.num_paths} paths, "
                f"got {tuple(tensor.shape)} {tensor.dtype}"
            )

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The four tensors by name."""
        return {name: getattr(self, name) for name in ("points", "colours", "widths", "background")}

    def map(self, function: Callable[[Tensor], Tensor]) -> "Drawing":
        """Return the drawing with a function applied to each of its four tensors."""
        return dataclasses.replace(self, **{name: function(tensor) for name, tensor in self.tensors.items()})

    def detach(self) -> "Drawing":
        """Return the same numbers, without gradients."""
        return self.map(Tensor.detach)

    def clone(self) -> "Drawing":
        """Return a copy of all numbers, without gradients."""
        return self.map(lambda tensor: tensor.detach().clone())

    def to(self, *args, **kwargs) -> "Drawing":
        """Return the drawing with `Tensor.to` applied to each tensor."""
        return self.map(lambda tensor: tensor.to(*args, **kwargs))

    def select(self, paths: Sequence[int]) -> "Drawing":
        """Return the drawing of some of the paths, in the order given, over the same background."""
        paths = list(paths)
        rows = [row for path in paths for row in range(*self.layout.path_slice(path).indices(self.layout.num_points))]
        return dataclasses.replace(
            self,
            layout=self.layout.select(paths),
            points=self.points[:, rows],
            colours=self.colours[:, paths],
            widths=self.widths[:, paths],
        )

    def append(self, other: "Drawing") -> "Drawing":
        """Return the drawing with another's paths on top; this drawing's background and size stay.

        Raises:
            UserError: where the canvases differ in size.
        """
        if other.size != self.size:
            raise UserError(f"append: expected a drawing of canvas {self.size}, got {other.size}; use resized() first")
        # The background is the lower drawing's: one scene has one.
        joined = {n: torch.cat((getattr(self, n), getattr(other, n)), 1) for n in ("points", "colours", "widths")}
        return dataclasses.replace(self, layout=self.layout + other.layout, **joined)

    def resized(self, size: tuple[int, int]) -> "Drawing":
        """Return the drawing scaled to another canvas; widths scale by the square root of the two factors' product.

        Args:
            size: height and width in pixels.
        """
        factors = self.points.new_tensor((size[1] / self.size[1], size[0] / self.size[0]))
        # A stroke has one width for both directions, so under unequal factors only its area can be right.
        scale = math.sqrt(size[0] * size[1] / (self.size[0] * self.size[1]))
        return dataclasses.replace(self, points=self.points * factors, widths=self.widths * scale, size=size)

    def scene(self, index: int) -> "Drawing":
        """Return one scene of the batch as a batch of one."""
        return self.map(lambda tensor: tensor[index : index + 1])


def circle_points(
    centres: Float[Tensor, "*shape 2"], radii: Float[Tensor, "*shape"] | float, segments: int = 4
) -> Float[Tensor, "*shape 3*{segments} 2"]:
    """Return control points of closed circles, clockwise on the screen from the rightmost point.

    Args:
        centres: in pixels.
        radii: one for each circle, or one for all, in pixels.
        segments: cubic segments a circle, at least 2. With 4 the radius is off by at most 0.03 per cent.

    Raises:
        UserError: where there are fewer than two segments.
    """
    if segments < 2:
        raise UserError(f"segments of a circle: expected at least 2, got {segments}")
    step = 2 * math.pi / segments
    handle = 4 / 3 * math.tan(step / 4)
    angles = torch.arange(segments, dtype=torch.float64) * step
    on = torch.stack((angles.cos(), angles.sin()), -1)
    tangent = torch.stack((-angles.sin(), angles.cos()), -1)
    # A handle of 4/3 tan(step / 4) puts the middle of each segment on the circle as well.
    unit = torch.stack((on, on + handle * tangent, on.roll(-1, 0) - handle * tangent.roll(-1, 0)), 1).reshape(-1, 2)
    radii = torch.as_tensor(radii, dtype=centres.dtype).reshape(*torch.as_tensor(radii).shape, 1, 1)
    return centres[..., None, :] + radii * unit.to(centres.dtype)


def random_circles(
    count: int,
    *,
    segments: int = 4,
    radius: float | None = None,
    size: tuple[int, int],
    generator: torch.Generator,
    batch: int = 1,
) -> Drawing:
    """Return closed circles at uniform places, uniform RGB, opacity U(0.7, 1), on white.

    Args:
        count: number of paths.
        segments: cubic segments a path.
        radius: in canvas pixels; by default 20 pixels of a 600 pixel canvas.
        size: canvas height and width.
        generator: source of all draws.
        batch: number of scenes.

    Source: thesis 11.9.1.
    """
    radius = 20 / 600 * min(size) if radius is None else radius
    layout = Layout((Kind.NONZERO,) * count, ((segments,),) * count)
    # The sequence of the draws is part of the result: in another one, a seed gives another scene.
    centres = torch.rand(batch, count, 2, generator=generator) * torch.tensor((float(size[1]), float(size[0])))
    points = circle_points(centres, radius, segments).reshape(batch, -1, 2)
    colours = random_colours(batch, count, generator)
    return Drawing(layout, points, colours, torch.ones(batch, count), torch.ones(batch, 3), size)


def random_colours(batch: int, count: int, generator: torch.Generator) -> Float[Tensor, "{batch} {count} 4"]:
    """Return uniform RGB with opacity U(0.7, 1). Source: thesis 11.9.1."""
    # Never quite transparent: a path that covers nothing gets no gradient.
    rgb = torch.rand(batch, count, 3, generator=generator)
    return torch.cat((rgb, 0.7 + 0.3 * torch.rand(batch, count, 1, generator=generator)), -1)


def random_strokes(
    count: int,
    *,
    segments: int = 5,
    width: float | None = None,
    size: tuple[int, int],
    generator: torch.Generator,
    batch: int = 1,
    reach: float = 0.1,
) -> Drawing:
    """Return open black strokes on white: each point lies up to `reach` of the canvas from the one before.

    Args:
        count: number of strokes.
        segments: cubic segments a stroke.
        width: in canvas pixels; by default 6 pixels of a 224 pixel canvas.
        size: canvas height and width.
        generator: source of all draws.
        batch: number of scenes.
        reach: largest step between control points along x and y, as a fraction of the canvas' smaller side.

    Source: thesis 11.9.1 (5 segments, width 6); the walk is CLIPDraw's, arXiv:2106.14843.
    """
    width = stroke_width(size) if width is None else width
    layout = Layout((Kind.STROKE,) * count, ((segments,),) * count)
    # Points may leave the canvas; the walk has no walls, as CLIPDraw's has none.
    start = torch.rand(batch, count, 1, 2, generator=generator) * torch.tensor((float(size[1]), float(size[0])))
    steps = (2 * torch.rand(batch, count, 3 * segments, 2, generator=generator) - 1) * (reach * min(size))
    points = torch.cat((start, start + steps.cumsum(2)), 2).reshape(batch, -1, 2)
    # Cloned, because an expanded tensor has one row in memory, which no optimizer can write to in place.
    colours = torch.tensor((0.0, 0.0, 0.0, 1.0)).expand(batch, count, 4).clone()
    return Drawing(layout, points, colours, torch.full((batch, count), float(width)), torch.ones(batch, 3), size)


def stroke_width(size: tuple[int, int]) -> float:
    """Return the width of a sketch's strokes in pixels: 6 of a canvas of 224. Source: thesis 11.9.1."""
    return 6 / 224 * min(size)


def outline(drawing: Drawing, *, width: float | None = None) -> Drawing:
    """Return the outlines of closed paths as open black strokes on white, one a contour.

    A stroke runs once round its contour and ends where it began. Its first segment is halved, for a sketch's strokes to
    have five segments where a traced contour has four (thesis 11.9.1).

    Args:
        drawing: of fills only.
        width: in canvas pixels; by default 6 pixels of a 224 pixel canvas.

    Raises:
        UserError: where a path is no fill.
    """
    width = stroke_width(drawing.size) if width is None else width
    strokes, segments = [], []
    for path, (kind, contours) in enumerate(zip(drawing.layout.kinds, drawing.layout.contours, strict=True)):
        if kind not in (Kind.NONZERO, Kind.EVENODD):
            raise UserError(f"outline: expected fills only, got path {path} of kind {kind.name.lower()}")
        for points in drawing.points[:, drawing.layout.path_slice(path)].split([3 * count for count in contours], 1):
            opened = torch.cat((points, points[:, :1]), 1)
            strokes += [*_halved(opened[:, :4]), opened[:, 4:]]
        segments += [count + 1 for count in contours]
    batch, count = drawing.points.shape[0], len(segments)
    layout = Layout((Kind.STROKE,) * count, tuple((n,) for n in segments))
    return dataclasses.replace(
        drawing,
        layout=layout,
        # The empty part serves a drawing without paths, of which there is nothing to join.
        points=torch.cat((*strokes, drawing.points[:, :0]), 1),
        colours=drawing.colours.new_tensor((0.0, 0.0, 0.0, 1.0)).expand(batch, count, 4).clone(),
        widths=drawing.widths.new_full((batch, count), float(width)),
        background=torch.ones_like(drawing.background),
    )


def _halved(points: Float[Tensor, "B 4 2"]) -> tuple[Float[Tensor, "B 3 2"], Float[Tensor, "B 4 2"]]:
    """Return a cubic segment as two, by de Casteljau: the first 3 points of the one, all 4 of the other."""
    once = (points[:, 1:] + points[:, :-1]) / 2
    twice = (once[:, 1:] + once[:, :-1]) / 2
    middle = (twice[:, 1:] + twice[:, :-1]) / 2
    first = torch.stack((points[:, 0], once[:, 0], twice[:, 0]), 1)
    return first, torch.stack((middle[:, 0], twice[:, 1], once[:, 2], points[:, 3]), 1)


def pixel_grid(cells: int = 32, *, size: tuple[int, int], generator: torch.Generator, batch: int = 1) -> Drawing:
    """Return cells x cells squares over the whole canvas, row by row: uniform RGB, opacity U(0.7, 1), on white.

    Source: thesis 11.9.1.
    """
    layout = Layout((Kind.RECTANGLE,) * cells**2, ((0,),) * cells**2)
    row, column = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
    corner = torch.stack((column, row), -1).reshape(-1, 1, 2)
    unit = torch.cat((corner, corner + 1), 1).reshape(1, -1, 2).to(torch.float64) / cells
    # In float64 first: neighbours share borders to the bit, or seams show between squares.
    points = (unit * torch.tensor((size[1], size[0]))).to(torch.float32).repeat(batch, 1, 1)
    colours = random_colours(batch, cells**2, generator)
    return Drawing(layout, points, colours, torch.ones(batch, cells**2), torch.ones(batch, 3), size)


def path_areas(drawing: Drawing) -> Float[Tensor, "B P"]:
    """Return the area of each path in square canvas pixels, differentiable where it is not zero.

    A fill's is the absolute winding-weighted area of its contours (exact for paths that do not cross themselves), a
    rectangle's its own, a stroke's its width times the length of its control polygon.
    """
    areas = []
    for path, (kind, contours) in enumerate(zip(drawing.layout.kinds, drawing.layout.contours, strict=True)):
        points = drawing.points[:, drawing.layout.path_slice(path)]
        if kind is Kind.RECTANGLE:
            areas.append((points[:, 1] - points[:, 0]).prod(-1).abs())
        elif kind is Kind.STROKE:
            areas.append((points[:, 1:] - points[:, :-1]).norm(dim=-1).sum(-1) * drawing.widths[:, path])
        else:
            pieces = points.split([3 * count for count in contours], 1)
            # The sum comes before the absolute value: a hole that runs the other way round is taken off.
            areas.append(torch.stack([_signed_area(piece) for piece in pieces]).sum(0).abs())
    return torch.stack(areas, 1) if areas else drawing.points.new_zeros(drawing.points.shape[0], 0)


def _signed_area(points: Float[Tensor, "B N 2"]) -> Float[Tensor, " B"]:
    """Return the signed area of one closed contour: half the integral of x dy - y dx over its cubic segments."""
    corners = points[:, 0::3], points[:, 1::3], points[:, 2::3], points[:, 0::3].roll(-1, 1)
    # The integral of one cubic is a bilinear form in its four points; these are its coefficients, times 20.
    weights = {(0, 1): 6, (0, 2): 3, (0, 3): 1, (1, 2): 3, (1, 3): 3, (2, 3): 6}
    total = points.new_zeros(points.shape[0])
    for (first, second), weight in weights.items():
        a, b = corners[first], corners[second]
        total = total + weight / 20 * (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(-1)
    return total
