import math

import numpy as np
import pytest
import torch

from runtime.field.cameras import Cameras
from runtime.field.lifting import BOX, DISTANCE, lift
from runtime.field.lifting.solid import deepened, facing_sides, front_colours, raw_densities, wrapped
from runtime.field.meshes import describe, extract_surface
from runtime.field.pictures import look
from runtime.field.poses import orbit
from tests.field.lifting.pictures import BLACK, GREEN, RED, SIDE, disc, painted
from tests.tolerance import LIFT_COLOUR, LIFT_SHARE

NODES = 49


def around(count: int, side: int = 48) -> Cameras:
    focal = side * DISTANCE / 2
    return Cameras(
        poses=orbit(count, radius=DISTANCE, elevation=0.0),
        intrinsics=torch.tensor([[focal, focal, side / 2, side / 2]]).repeat(count, 1),
        sizes=torch.tensor([[side, side]]).repeat(count, 1),
    )


def test_a_disc_becomes_a_closed_ball() -> None:
    radius = 30
    solid = lift(painted((disc(radius), RED)), nodes=NODES)
    raw = solid.field.raw_density()
    mesh = describe(extract_surface(raw, level=0.0, low=torch.tensor(BOX[:3]), side=BOX[3]))
    assert mesh.watertight
    assert (mesh.pieces, mesh.genus) == (1, 0)
    world = (radius + 0.5) * 2 / SIDE
    assert math.isclose(mesh.volume, 4 / 3 * math.pi * world**3, rel_tol=5 * LIFT_SHARE)


def test_the_front_view_is_the_picture() -> None:
    picture = painted((disc(34), RED), (disc(10, column=30), GREEN), (disc(5, row=70), BLACK))
    solid = lift(picture, nodes=97, back="mirror")
    front = look(solid.field.render, around(1, SIDE)).on(1.0).permute(2, 0, 1)
    inner = torch.from_numpy(disc(27))
    assert (front - picture).abs()[:, inner].mean() < LIFT_COLOUR
    assert front[:, 0, 0].min() == 1.0


HALVES = painted((disc(34), RED), (disc(34) & (np.arange(SIDE) < SIDE / 2), GREEN))


def test_the_back_is_mirrored_or_plain_or_wrapped() -> None:
    def colours(back: str, view: int) -> torch.Tensor:
        shown = look(lift(HALVES, nodes=NODES, back=back).field.render, around(4), view).on(1.0)  # pyright: ignore[reportArgumentType]
        return shown[24, [17, 31]]

    green, red = torch.tensor(GREEN), torch.tensor(RED)
    for back in ("wrap", "mirror", "plain"):
        # From in front green is on the left.
        assert torch.allclose(colours(back, 0), torch.stack([green, red]), atol=LIFT_COLOUR)
    assert torch.allclose(colours("mirror", 2), torch.stack([red, green]), atol=LIFT_COLOUR)
    # From the right side of an object whose halves differ the wrapped picture shows both, the plain one its right.
    wrapped_side, plain_side = colours("wrap", 1), colours("plain", 1)
    assert (wrapped_side[0] - wrapped_side[1]).abs().max() > 0.5
    assert torch.allclose(plain_side, red.expand(2, 3), atol=0.1)


def test_wrapped_rows_are_as_wide_as_the_solid_is_deep() -> None:
    raw = torch.zeros(9, 9, 9).numpy().astype(float) - 1
    # Half as deep as wide: y from -1 to 1, x from -0.5 to 0.5.
    raw[2:7, :, 4] = 1
    columns = np.linspace(0, 1, 64)
    ramp = np.repeat(np.broadcast_to(columns, (64, 64))[..., None], 3, -1).copy()
    row = wrapped(raw, ramp)[:, 0, 4, 0]
    assert row[4] == pytest.approx(0.5, abs=0.01)
    assert (row[0], row[2], row[3]) == pytest.approx((0.0, 0.0, 0.25), abs=0.01)
    assert (row[6], row[8]) == pytest.approx((1.0, 1.0), abs=0.01)


def test_sides_are_told_from_the_front() -> None:
    square = np.where(disc(30), 900.0, -900.0) * 0 + 900.0 - (np.arange(SIDE) - 47.5) ** 2
    share = facing_sides(raw_densities(square, NODES))
    middle = NODES // 2
    assert share[middle + 14, middle, middle] < 0.1, "in front"
    assert share[middle, middle + 14, middle] > 0.9, "at the right"


def test_raw_densities_measure_the_distance_to_the_surface() -> None:
    # x^2 = s is a ball of 30 pixels: along any axis, raw density is the distance in nodes times 4.
    y, z = np.mgrid[:SIDE, :SIDE] - 47.5
    raw = raw_densities(900.0 - y**2 - z**2, NODES)
    middle, per_node = NODES // 2, SIDE / (NODES - 1)
    for step in (14, 15, 16):
        expected = (30 - step * per_node) / per_node * 4
        assert raw[middle + step, middle, middle] == pytest.approx(expected, abs=0.8)
        assert raw[middle, middle + step, middle] == pytest.approx(expected, abs=0.8)


def test_flat_things_are_blown_up() -> None:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[40:60, 8:88] = True
    square = np.where(mask, 100.0, -5.0)
    blown = deepened(square, mask)
    # 80 pixels wide and 20 deep: 0.55 of 80 would be 2.2 times as deep, and 1.7 is the most.
    assert blown.max() == pytest.approx(289.0)
    assert blown.min() == -5.0
    assert np.array_equal(deepened(np.where(mask, 1600.0, -5.0), mask), np.where(mask, 1600.0, -5.0))


def test_colours_lie_along_rays() -> None:
    columns = np.linspace(0, 1, SIDE)
    ramp = np.repeat(np.broadcast_to(columns, (SIDE, SIDE))[..., None], 3, -1).copy()
    colours = front_colours(ramp, 9)[..., 0]
    assert colours[4, 6, 4] == pytest.approx(0.75, abs=0.01)
    # A place half way towards the camera at distance 4 lies 4 / 3.5 times as far from the middle in its picture.
    assert colours[6, 6, 4] == pytest.approx(0.5 + 0.25 * 4 / 3.5, abs=0.01)
    assert colours[2, 6, 4] == colours[6, 6, 4]
