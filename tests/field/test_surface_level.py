"""The density of a surface, chosen by what cameras see."""

import pytest
import torch

from runtime.field.cameras import Cameras
from runtime.field.fields.grid import DenseGrid
from runtime.field.meshes import describe
from runtime.field.results import Orbit, Surface
from runtime.field.surface_level import LEVELS, seen_level

BOX = torch.tensor([-1.0, -1, -1, 2])
SIZE = 49


def cameras(elevation: float = 0.3) -> Cameras:
    return Orbit(frames=6, elevation=elevation, side=48).cameras()


def radius() -> torch.Tensor:
    axis = torch.linspace(-1, 1, SIZE)
    return (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2).sqrt()


def field_of(raw: torch.Tensor) -> DenseGrid:
    field = DenseGrid.empty(SIZE, BOX)
    with torch.no_grad():
        field.values[..., 0, 0] = raw
    return field


def test_a_wall_of_thin_fog_is_closed_where_it_is_seen() -> None:
    """Half of a ball is dense, half reaches only -0.8, which takes a few nodes to stop light: at 0 it is open there."""
    inside = (0.6 - radius()) * 60
    thin = torch.linspace(-1, 1, SIZE)[:, None, None].expand(SIZE, SIZE, SIZE) > 0
    raw = torch.where(thin, inside.clamp(max=-0.8), inside).clamp(min=-8)
    field = field_of(raw)
    level = seen_level(field.render, raw, BOX, cameras())
    assert level is not None and -3 <= level < -0.8
    closed, open_ = describe(Surface.seen(field, BOX, cameras()).mesh), describe(Surface.of(field, BOX).mesh)
    ball = 4 / 3 * torch.pi * 0.6**3
    assert closed.volume == pytest.approx(ball, rel=0.25)
    assert open_.volume < 0.6 * ball


@pytest.mark.parametrize("edge", [-1.0, 0.0, 1.5])
def test_the_level_is_that_of_a_dense_balls_edge(edge: float) -> None:
    """Light is stopped within a node of the edge, whatever the level there is: a node is a fifth of the volume."""
    raw = (0.6 - radius()) * 200 + edge
    level = seen_level(field_of(raw).render, raw, BOX, cameras())
    assert level is not None
    assert describe(Surface.seen(field_of(raw), BOX, cameras()).mesh).volume == pytest.approx(0.905, rel=0.05)


def test_floating_fog_that_hardly_shows_makes_no_surface() -> None:
    ball, cloud = (0.5 - radius()) * 60, torch.full((SIZE,) * 3, -60.0)
    cloud[4:8, 4:8, 4:8] = -2.0
    raw = torch.maximum(ball, cloud).clamp(min=-8)
    field = field_of(raw)
    level = seen_level(field.render, raw, BOX, cameras())
    assert level is not None and level > -2.0
    assert describe(Surface.seen(field, BOX, cameras()).mesh).pieces == 1


def test_where_nothing_is_seen_there_is_no_level() -> None:
    raw = torch.full((SIZE,) * 3, -8.0)
    raw[20, 20, 20] = -6.0
    assert seen_level(field_of(raw).render, raw, BOX, cameras()) is None
    assert Surface.seen(field_of(raw), BOX, cameras()).level == -7.0
    assert sorted(LEVELS) == list(LEVELS)


def test_where_all_levels_are_equally_wrong_there_is_a_surface_all_the_same() -> None:
    """A thick fog stops all light deep inside it: no level's surface is nearer than the tolerance."""
    raw = torch.where(radius() < 0.9, -1.0, -8.0)
    raw[SIZE // 2, SIZE // 2, SIZE // 2] = -0.9
    level = Surface.seen(field_of(raw), BOX, cameras()).level
    assert -8.0 < level < -0.9
