"""Flat pictures traced from their contours: drawn, traced, drawn again."""

import numpy as np
import pytest
import torch

from runtime.vector.paths import Drawing, Kind, Layout, circle_points
from runtime.vector.raster import rasterize
from runtime.vector.trace.flat.drawing import trace_flat


def scene(shapes: list[tuple[torch.Tensor, tuple[float, ...]]], size: tuple[int, int]) -> Drawing:
    """Return closed paths of some points and colours on white."""
    return Drawing(
        Layout((Kind.NONZERO,) * len(shapes), tuple((len(points) // 3,) for points, _ in shapes)),
        torch.cat([points for points, _ in shapes])[None],
        torch.tensor([[*colour, 1.0] for _, colour in shapes])[None],
        torch.ones(1, len(shapes)),
        torch.ones(1, 3),
        size,
    )


def polygon(*corners: tuple[float, float]) -> torch.Tensor:
    places = torch.tensor(corners)
    after = places.roll(-1, 0)
    return torch.stack([places + (after - places) * third / 3 for third in range(3)], 1).reshape(-1, 2)


def picture_of(drawing: Drawing) -> torch.Tensor:
    """Return a drawing's picture of 8 bits, opaque."""
    picture = (rasterize(drawing)[0].clamp(0, 1) * 255).round() / 255
    return torch.cat([picture, torch.ones_like(picture[:1])])


def traced(rgba: torch.Tensor, paths: int = 64) -> Drawing:
    drawing = trace_flat(rgba, paths)
    assert drawing is not None
    return drawing


def circle(x: float, y: float, radius: float) -> torch.Tensor:
    return circle_points(torch.tensor([x, y]), radius)


def test_a_disc_on_a_disc_is_two_circles() -> None:
    drawing = scene([(circle(40.3, 41.1, 30), (0.1, 0.2, 0.5)), (circle(45.2, 38.4, 12), (0.9, 0.8, 0.1))], (80, 84))
    again = traced(picture_of(drawing))
    assert again.layout.contours == ((4,), (4,))
    assert (rasterize(again) - rasterize(drawing)).square().mean() < 1e-5  # 50 dB
    np.testing.assert_allclose(again.points[0, :12].mean(0), [40.3, 41.1], atol=0.03)


def test_upright_rectangles_are_exact_wherever_their_edges_lie() -> None:
    corners = ((10.25, 8.5), (50.75, 8.5), (50.75, 30.1), (10.25, 30.1))
    again = traced(picture_of(scene([(polygon(*corners), (0.2, 0.5, 0.3))], (40, 60))))
    ends = again.points[0, ::3]
    assert again.layout.contours == ((4,),)
    np.testing.assert_allclose(np.sort(ends[:, 0]), [10.25, 10.25, 50.75, 50.75], atol=5e-3)
    np.testing.assert_allclose(np.sort(ends[:, 1]), [8.5, 8.5, 30.1, 30.1], atol=5e-3)


def test_neighbours_leave_no_gap_between_them() -> None:
    left = polygon((0, 0), (33.0, 0), (45.0, 60), (0, 60))
    right = polygon((33.0, 0), (80, 0), (80, 60), (45.0, 60))
    drawing = scene([(right, (0.9, 0.5, 0.1)), (polygon((0, 0), (80, 0), (80, 60), (0, 60)), (0.9, 0.5, 0.1)),
                     (left, (0.1, 0.4, 0.8))], (60, 80))  # fmt: skip
    again = traced(picture_of(drawing))
    assert (rasterize(again) - rasterize(drawing)).abs().max() < 0.06


@pytest.mark.parametrize("slope", [0.0, 0.35, 1.0])
def test_a_line_of_a_pixel_is_a_stroke(slope: float) -> None:
    start, end = (10.0, 20.5), (90.0, 20.5 + 80 * slope)
    line = Drawing(
        Layout((Kind.STROKE,), ((1,),)),
        torch.tensor([[start, *[tuple(np.add(start, np.subtract(end, start) * t / 3)) for t in (1, 2)], end]]),
        torch.tensor([[[0.0, 0, 0, 1]]]),
        torch.tensor([[1.2]]),
        torch.ones(1, 3),
        (110, 100),
    )
    again = traced(picture_of(line))
    assert again.layout.kinds == (Kind.STROKE,)
    assert abs(float(again.widths[0, 0]) - 1.2) < 0.4
    ends = again.points[0, [0, -1]]
    ends = ends if ends[0, 0] < ends[1, 0] else ends.flip(0)
    np.testing.assert_allclose(ends, [start, end], atol=1.2)


def test_a_transparent_hole_is_a_hole() -> None:
    axis = torch.arange(60) + 0.5
    radius = ((axis[:, None] - 30) ** 2 + (axis[None] - 30) ** 2).sqrt()
    rgba = torch.ones(4, 60, 60)
    rgba[3] = (24 - radius + 0.5).clamp(0, 1) * (radius - 12 + 0.5).clamp(0, 1)
    again = traced(rgba)
    assert again.layout.contours == ((4, 4),)
    black = Drawing(again.layout, again.points, again.colours, again.widths, torch.zeros(1, 3), again.size)
    assert (rasterize(black)[0, 0] - rgba[3]).abs().max() < 0.1


def test_too_many_areas_are_not_traced() -> None:
    board = torch.zeros(4, 64, 64)
    board[3] = 1
    for row in range(8):
        for column in range(8):
            board[:3, 8 * row : 8 * row + 5, 8 * column : 8 * column + 5] = torch.tensor([row / 9, column / 9, 0.9])[
                :, None, None
            ]
    assert trace_flat(board, 16) is None
    assert traced(board, 64).layout.num_paths == 64
