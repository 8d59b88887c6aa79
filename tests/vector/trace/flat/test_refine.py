"""Refining keeps lines straight, upright lines upright, and smooth joints smooth."""

import numpy as np
import torch

from runtime.loop.optimize import optimize
from runtime.vector.paths import Drawing, Kind, Layout, circle_points
from runtime.vector.raster import rasterize
from runtime.vector.scene import VectorScene
from runtime.vector.trace.flat.refine import refining_stage, restore_after_step_, restored, structure_of


def rectangle_and_circle(shift: float = 0.0) -> Drawing:
    corners = torch.tensor([(10.0, 12), (40, 12), (40, 30), (10, 30)]) + shift
    after = corners.roll(-1, 0)
    lines = torch.stack([corners + (after - corners) * third / 3 for third in range(3)], 1).reshape(-1, 2)
    points = torch.cat([lines, circle_points(torch.tensor([60.0, 25]) - shift, 13.0)])
    colours = torch.tensor([[[0.1, 0.3, 0.8, 1], [0.9, 0.1, 0.1, 1]]])
    return Drawing(Layout((Kind.NONZERO,) * 2, ((4,), (4,))), points[None], colours, torch.ones(1, 2),
                   torch.ones(1, 3), (50, 80))  # fmt: skip


def test_structure_is_read_off_the_points() -> None:
    structure = structure_of(rectangle_and_circle())
    assert len(structure.lines) == 4 and len(structure.smooth) == 4
    assert structure.upright.tolist() == [[False, True], [True, False]] * 2


def test_points_that_are_thrown_are_put_straight() -> None:
    drawing = rectangle_and_circle()
    structure = structure_of(drawing)
    points = drawing.points[0].double().numpy()
    np.testing.assert_allclose(restored(points, structure), points, atol=1e-6)
    thrown = points + np.random.default_rng(0).normal(0, 0.3, points.shape)
    result = restored(thrown, structure)
    assert np.abs(result - thrown).max() < 2
    again = structure_of(Drawing(**{**vars(drawing), "points": torch.tensor(result)[None]}))
    assert len(again.lines) == 4 and len(again.smooth) == 4 and again.upright.sum() == 4


def test_a_drawing_beside_its_place_is_moved_there() -> None:
    target = rasterize(rectangle_and_circle())[0]
    begun = rectangle_and_circle(0.3)
    stage = refining_stage(begun, target, None, 60)
    scene = optimize([stage], seed=0)
    before = (rasterize(begun)[0] - target).square().mean()
    after = (rasterize(scene.drawing().detach())[0] - target).square().mean()  # pyright: ignore
    assert after < before / 30


def test_what_is_right_is_left_as_it_is() -> None:
    drawing = rectangle_and_circle()
    scene = optimize([refining_stage(drawing, rasterize(drawing)[0], None, 60)], seed=0)
    torch.testing.assert_close(scene.drawing().points, drawing.points, atol=1e-5, rtol=0)  # pyright: ignore


def test_after_a_small_step_the_structure_is_known_without_what_was_before() -> None:
    scene = VectorScene(rectangle_and_circle(), train=("points",))
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        with torch.no_grad():
            scene.points.add_(0.04 * torch.rand(scene.points.shape, generator=generator) - 0.02)
            restore_after_step_(scene, 0.02)
        structure = structure_of(scene.drawing().detach())
        assert len(structure.lines) == 4 and len(structure.smooth) == 4


def test_colours_are_refined_where_that_is_asked_for() -> None:
    drawing = rectangle_and_circle()
    target = rasterize(drawing)[0]
    begun = Drawing(**{**vars(drawing), "colours": (drawing.colours - 0.05).clamp(0, 1)})
    begun.colours[..., 3] = 1
    scene = optimize([refining_stage(begun, target, None, 60, ("points", "colours"))], seed=0)
    assert (scene.drawing().colours - drawing.colours).abs().max() < 0.02  # pyright: ignore
