import numpy as np
import torch

from runtime.dreamfusion.grid_stages import BOX
from runtime.dreamfusion.looks import CAMERAS
from runtime.field.fields.grid import DenseGrid
from runtime.field.lifting.hull import hull_of
from runtime.field.opacity import misplaced
from runtime.field.poses import on_sphere
from tests.dreamfusion.test_dreamfusion import generator
from tests.field.lifting.pictures import RED, SIDE, WHITE, disc, painted


def masks(picture: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    hull = hull_of(picture)
    return hull.inside.numpy().reshape(SIDE, SIDE), hull.outside.numpy().reshape(SIDE, SIDE)


def test_white_parts_are_inside_and_the_outline_is_not() -> None:
    ball, spot = disc(30), disc(6, column=50)
    inside, outside = masks(painted((ball, RED), (spot, WHITE)))
    assert inside[spot].all() and inside[disc(27)].all()
    assert not inside[~ball].any()
    assert not inside[ball & ~disc(28)].all()
    assert np.array_equal(outside, ~ball)


def test_what_the_background_shows_through_is_not_inside() -> None:
    ring, hole = disc(30), disc(22)
    inside, outside = masks(painted((ring, RED), (hole, WHITE)))
    # Neither: the hole may be the white of an eye.
    assert not inside[hole].any() and not outside[hole].any()
    inside, outside = masks(torch.ones(3, SIDE, SIDE))
    assert not inside.any() and outside.all()


def test_what_is_too_thin_for_the_hull_is_not_outside() -> None:
    hair = np.zeros((SIDE, SIDE), bool)
    hair[5:20, 47] = True
    inside, outside = masks(painted((disc(25), RED), (hair, RED)))
    assert not inside[hair].any() and not outside[hair].any()


def test_a_white_spot_is_filled_and_the_space_around_is_cleared() -> None:
    size = 33
    axis = torch.linspace(-1, 1, size)
    x, y, z = axis[:, None, None], axis[None, :, None], axis[None, None, :]
    values = torch.full((size, size, size, 1, 4), 1.0)
    # A red ball with a tunnel along the first axis, seen along it: what shows through looks like a white spot.
    tunnel = y.square() + z.square() < 0.15**2
    ball = (x.square() + y.square() + z.square() < 0.7**2) & ~tunnel
    values[..., 0, 0] = torch.where(ball, 4.0, -9.0)
    values[..., 0, 2:] = 0.0
    grid = DenseGrid(values, torch.ones(16, 16, 16, dtype=torch.uint8), torch.tensor(BOX))
    front = on_sphere(torch.zeros(1), torch.zeros(1), torch.tensor([4.0]))
    camera = CAMERAS["distant"].draw(1, SIDE, generator()).moved(front)
    shown = grid.render(camera.all_rays(0))
    hull = hull_of(shown.on(torch.ones(1, 3)).detach().clamp(0, 1).T.reshape(3, SIDE, SIDE))
    middle = SIDE // 2 * SIDE + SIDE // 2
    assert hull.inside[middle] and shown.transmittance[middle] > 0.5
    misplaced(shown.transmittance, hull.inside, hull.outside).backward()
    assert grid.values.grad is not None
    slopes = grid.values.grad[..., 0, 0]
    # Along the tunnel the density is to rise; the thin fog beside the ball is to go.
    assert (slopes[1:-1, 16, 16] < 0).all()
    # In front of the middle, as rays to what is behind it graze the ball.
    assert (slopes[16:-1, 3, 16] > 0).all()
