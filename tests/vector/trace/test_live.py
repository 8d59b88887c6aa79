import math
import os

import numpy as np
import pytest
import torch

from runtime.loop.optimize import optimize
from runtime.vector.paths import Drawing, Kind, Layout, circle_points, random_circles, random_strokes
from runtime.vector.raster import rasterize
from runtime.vector.trace.boundaries import boundary_distance
from runtime.vector.trace.live import (
    TraceConfig,
    distance_weights,
    self_intersection_loss,
    stage_counts,
    trace,
    trace_stages,
    udf_loss,
)
from tests.tolerance import BOUNDARY_CELLS, BOUNDARY_CELLS_BETWEEN


def drawing_of(points: torch.Tensor, layout: Layout, size=(64, 64)) -> Drawing:
    paths = layout.num_paths
    return Drawing(layout, points[None], torch.ones(1, paths, 4), torch.ones(1, paths), torch.ones(1, 3), size)


def circle(radius: float, x=32.0, y=32.0, size=(64, 64)) -> Drawing:
    points = circle_points(torch.tensor([[x, y]]), radius)[0]
    return drawing_of(points, Layout((Kind.NONZERO,), ((4,),)), size)


def segment(*corners: tuple[float, float]) -> tuple[torch.Tensor, Layout]:
    """One open cubic segment."""
    return torch.tensor([corners], dtype=torch.float64), Layout((Kind.STROKE,), ((1,),))


def middles(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:height, :width] + 0.5
    return rows, columns


@pytest.mark.parametrize("cell", [1, 2, 4])
def test_the_distance_to_a_discs_boundary(cell):
    distance = boundary_distance(circle(20.0), cell=cell)[0].numpy()
    rows, columns = (cell * grid for grid in middles(64 // cell, 64 // cell))
    expected = np.abs(np.hypot(rows - 32, columns - 32) - 20)
    assert np.abs(distance - expected).max() < BOUNDARY_CELLS * cell
    assert np.abs(distance - expected).mean() < 0.2 * cell


def test_the_nearest_of_several_boundaries_counts_strokes_and_hidden_paths_too():
    generator = torch.Generator().manual_seed(0)
    drawing = random_circles(3, radius=9, size=(40, 50), generator=generator)
    drawing = drawing.append(random_strokes(2, segments=2, size=(40, 50), generator=generator))
    points = [curve for curve in _sampled(drawing) if curve is not None]
    rows, columns = middles(40, 50)
    grid = np.stack([columns, rows], axis=-1)
    brute = np.min([np.linalg.norm(grid[:, :, None] - curve, axis=-1).min(axis=-1) for curve in points], axis=0)
    error = np.abs(boundary_distance(drawing)[0].numpy() - brute)
    assert error.max() < BOUNDARY_CELLS_BETWEEN and error.mean() < 0.2


def _sampled(drawing: Drawing) -> list[np.ndarray]:
    t = np.linspace(0, 1, 200)[:, None]
    curves = []
    for path, kind in enumerate(drawing.layout.kinds):
        points = drawing.points[0, drawing.layout.path_slice(path)].numpy().astype(float)
        if kind != Kind.STROKE:
            points = np.concatenate([points, points[:1]])
        for first in range(0, len(points) - 1, 3):
            a, b, c, d = points[first : first + 4]
            curves.append((1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d)
    inside = [curve[((curve >= 0) & (curve < drawing.size[::-1])).all(axis=1)] for curve in curves]
    return [curve for curve in inside if len(curve)]


def test_without_a_boundary_in_view_the_distance_is_infinite():
    nothing = Drawing(Layout((), ()), *(torch.zeros(1, 0, *r) for r in ((2,), (4,), ())), torch.ones(1, 3), (8, 8))
    assert torch.isinf(boundary_distance(nothing)).all()
    assert torch.isinf(boundary_distance(circle(3.0, x=500.0))).all()


def test_weights_fall_linearly_to_the_floor_and_sum_to_one():
    distance = torch.tensor([[[0.0, 5.0, 10.0, 99.0, torch.inf]]])
    weights = distance_weights(distance, 10.0)
    torch.testing.assert_close(weights, torch.tensor([[[2 / 3, 1 / 3, 0, 0, 0]]]))
    floored = distance_weights(distance, 10.0, floor=0.5)
    torch.testing.assert_close(floored, torch.tensor([[[1, 0.75, 0.5, 0.5, 0.5]]]) / 3.25)
    even = distance_weights(torch.full((2, 3, 4), torch.inf), 10.0)
    torch.testing.assert_close(even, torch.full((2, 3, 4), 1 / 12))


def test_the_loss_is_equation_6_5():
    generator = torch.Generator().manual_seed(0)
    images, target = (torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    weights = torch.rand(2, 4, 5, generator=generator, dtype=torch.float64)
    total = 0.0
    for b in range(2):
        for i in range(4):
            for j in range(5):
                total += weights[b, i, j] * sum((images[b, c, i, j] - target[b, c, i, j]) ** 2 for c in range(3)) / 3
    assert udf_loss(images, target, weights).item() == pytest.approx(total.item() / 2)
    even = distance_weights(torch.full((2, 4, 5), torch.inf, dtype=torch.float64), 1.0)
    assert udf_loss(images, target, even).item() == pytest.approx((images - target).square().mean().item())


def test_a_circle_does_not_cross_itself():
    drawing = random_circles(5, size=(99, 99), generator=torch.Generator().manual_seed(0))
    assert self_intersection_loss(drawing.points, drawing.layout) == 0


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        (((0, 0), (1, 0), (2, 0), (3, 0)), 0.0),  # straight
        (((0, 0), (1, 0), (1, 1), (0, 1)), 0.0),  # a hook: AB and CD are opposite, their sine is 0
        (((0, 0), (1, 0), (2, 1), (3, 0)), 1 / math.sqrt(2)),  # an S: turns left, ends to the right
        (((0, 0), (2, 0), (2, 2), (1, -1)), 3 / math.sqrt(10)),  # a loop: CD = (-1, -3)
        (((0, 0), (2, 0), (2, -2), (1, 1)), 3 / math.sqrt(10)),  # its mirror image
        (((0, 0), (0, 0), (2, 2), (1, -1)), 0.0),  # a side without length
    ],
)
def test_equation_6_6_on_segments(corners, expected):
    assert self_intersection_loss(*segment(*corners)).item() == pytest.approx(expected, abs=1e-12)


def test_segments_are_averaged_in_a_path_and_paths_in_a_drawing():
    loop = ((0, 0), (2, 0), (2, 2), (1, -1))
    rest = ((2, -1), (3, -1), (4, -1))  # straight on
    one = torch.tensor([[*loop, *rest]], dtype=torch.float64)
    two_segments = Layout((Kind.STROKE,), ((2,),))
    assert self_intersection_loss(one, two_segments).item() == pytest.approx(0.5 * 3 / math.sqrt(10))
    square = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]], dtype=torch.float64)
    mixed = Layout((Kind.STROKE, Kind.RECTANGLE, Kind.STROKE), ((2,), (0,), (1,)))
    both = torch.cat([one, square, torch.tensor([loop], dtype=torch.float64)], 1)
    assert self_intersection_loss(both, mixed).item() == pytest.approx(0.75 * 3 / math.sqrt(10))
    assert self_intersection_loss(square, Layout((Kind.RECTANGLE,), ((0,),))) == 0


def test_gradients_agree_with_finite_differences():
    generator = torch.Generator().manual_seed(3)
    layout = Layout((Kind.NONZERO, Kind.STROKE), ((4, 2), (3,)))
    points = torch.rand(2, layout.num_points, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: self_intersection_loss(p, layout), points)
    images = torch.rand(1, 3, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(1, 3, 4, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda image: udf_loss(image, torch.zeros(3, 3, 4), weights), images)


def test_the_gradient_is_finite_where_a_side_has_no_length():
    points, layout = segment((0, 0), (0, 0), (0, 0), (0, 0))
    points.requires_grad_(True)
    self_intersection_loss(points, layout).backward()
    assert points.grad.isfinite().all()


@pytest.mark.parametrize(("paths", "stages"), [(64, 5), (16, 5), (1, 5), (3, 5), (7, 3), (1024, 16), (8, 1)])
def test_stages_add_all_paths_and_none_adds_nothing(paths, stages):
    counts = stage_counts(paths, stages)
    assert sum(counts) == paths and min(counts) >= 1 and len(counts) == min(stages, paths)
    assert stage_counts(64, 5) == [8, 8, 16, 16, 16]  # thesis: 64 paths in 5 stages of 8 to 16


def picture() -> torch.Tensor:
    """An exact drawing of a red disc with a white eye over a blue bar, on cream."""
    layout = Layout((Kind.NONZERO,) * 3, ((4,),) * 3)
    circles = circle_points(torch.tensor([[20.0, 24.0], [16.0, 20.0]]), torch.tensor([14.0, 4.0]))
    bar = [(6, 44), (20, 44), (40, 44), (58, 44), (58, 47), (58, 50), (58, 54), (40, 54), (20, 54), (6, 54), (6, 50)]
    points = torch.cat([torch.tensor([[*bar, (6, 47)]], dtype=torch.float32), circles]).reshape(1, -1, 2)
    colours = torch.tensor([[[0.1, 0.2, 0.9, 1], [0.9, 0.1, 0.1, 1], [1, 1, 1, 1]]])
    background = torch.tensor([[1.0, 0.95, 0.9]])
    return rasterize(Drawing(layout, points, colours, torch.ones(1, 3), background, (64, 64)))[0]


def test_a_simple_picture_is_traced_almost_exactly_with_as_few_paths():
    target = picture()
    drawing = trace(target, TraceConfig(paths=4, stages=2, steps=60))
    assert drawing.layout.num_paths in (3, 4)
    assert (drawing.colours[..., 3] == 1).all()
    assert (rasterize(drawing)[0] - target).square().mean() < 2e-4
    torch.testing.assert_close(drawing.background[0], torch.tensor([1.0, 0.95, 0.9]))


def test_each_stage_lowers_the_error_and_keeps_to_its_share():
    target = picture()
    scenes = []
    for count in (1, 2, 3):
        stages = trace_stages(target, TraceConfig(paths=3, stages=3, steps=20))[:count]
        scenes.append(optimize(stages, seed=0))
    errors = [(scene.render()[0] - target).square().mean().item() for scene in scenes]
    assert errors == sorted(errors, reverse=True)
    assert [scene.layout.num_paths for scene in scenes] == [1, 2, 3]


def test_steps_improve_on_the_start():
    target = picture()
    errors = []
    for steps in (0, 40):
        drawing = trace(target, TraceConfig(paths=3, stages=1, steps=steps))
        errors.append((rasterize(drawing)[0] - target).square().mean().item())
    assert errors[1] < 0.25 * errors[0]


def test_the_same_picture_gives_the_same_drawing():
    config = TraceConfig(paths=3, stages=2, steps=5)
    first, second = (trace(picture(), config) for _ in range(2))
    assert first.layout == second.layout and torch.equal(first.points, second.points)


def test_an_even_picture_gives_no_paths():
    drawing = trace(torch.full((3, 16, 20), 0.25), TraceConfig(paths=4, steps=2))
    assert drawing.layout.num_paths == 0 and drawing.size == (16, 20)
    torch.testing.assert_close(drawing.background, torch.full((1, 3), 0.25))


@pytest.mark.slow
@pytest.mark.skipif(os.cpu_count() == 1, reason="needs two cores")
def test_a_large_picture_takes_well_under_a_minute():
    import time

    target = torch.nn.functional.interpolate(picture()[None], size=(512, 512), mode="bicubic")[0].clamp(0, 1)
    start = time.process_time()
    trace(target, TraceConfig(paths=64))
    assert time.process_time() - start < 60
