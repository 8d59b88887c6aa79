"""A mesh and a film of a field: a ball."""

import math
from pathlib import Path

import pytest
import torch

from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.fields.grid import DenseGrid
from runtime.field.meshes import describe
from runtime.field.results import Orbit, Surface, level_of, mean_level, pictures_around, write_model, write_turntable

BOX = torch.tensor([-1.0, -1, -1, 2])


def ball(size: int = 33) -> DenseGrid:
    """Return a ball of radius 0.6, red above and blue below."""
    axis = torch.linspace(-1, 1, size)
    radius = (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2).sqrt()
    field = DenseGrid.empty(size, BOX)
    with torch.no_grad():
        field.values[..., 0, 0] = (0.6 - radius) * 100
        field.values[..., 0, 1:] = torch.tensor([0.0, 0, 1])
        field.values[:, :, axis > 0, 0, 1:] = torch.tensor([1.0, 0, 0])
    return field


def test_the_model_of_a_ball(tmp_path: Path) -> None:
    report = write_model(ball(), Surface.of(ball(), BOX), tmp_path / "ball.glb")
    assert report["level"] == 0.0
    assert report["watertight"]
    assert report["pieces"] == 1
    assert math.isclose(report["volume"], 4 / 3 * math.pi * 0.6**3, rel_tol=0.02)
    assert (tmp_path / "ball.glb").read_bytes()[:4] == b"glTF"


def test_the_shape_of_two_balls() -> None:
    axis = torch.linspace(-1, 1, 49)
    field = DenseGrid.empty(49, BOX)
    distances = [(axis[:, None, None] ** 2 + (axis[None, :, None] - y) ** 2 + axis**2).sqrt() for y in (-0.5, 0.5)]
    with torch.no_grad():
        field.values[..., 0, 0] = 100 * torch.maximum(0.4 - distances[0], 0.2 - distances[1])
    shape = Surface.of(field, BOX).shape()
    assert math.isclose(shape["largest_piece"], 8 / 9, rel_tol=0.01)
    assert math.isclose(shape["depth_over_width"], 0.8 / 1.6, rel_tol=0.03)
    assert math.isclose(shape["volume_over_box"], 4 / 3 * math.pi * (0.4**3 + 0.2**3) / (0.8 * 1.6 * 0.8), rel_tol=0.05)
    assert shape["watertight"]


def test_pictures_around_begin_in_front() -> None:
    field = ball()
    with torch.no_grad():
        field.values[field.values.shape[0] // 2 :, ..., 0, 1:] = torch.tensor([0.0, 1, 0])  # green in front (+x)
    pictures = pictures_around(field, Orbit(frames=4, elevation=0.0, side=32))
    assert pictures.shape == (4, 3, 32, 32)
    assert pictures[0, 1, 16, 16] > 0.9
    assert pictures[2, 1, 16, 16] < 0.1
    assert torch.allclose(pictures[:, :, 0, 0], torch.ones(4, 3))


def test_colours_are_taken_inside() -> None:
    field = ball()
    with torch.no_grad():
        outside = field.raw_density() < 0
        field.values[outside] = torch.tensor([-50.0, 0.5, 0.5, 0.5])
    places = 0.6 * torch.nn.functional.normalize(torch.tensor([[0.1, 0.2, 1.0], [0.3, -0.2, -1.0]]), dim=1)
    red, blue = field.colour_at(places)
    assert red[0] > 0.9
    assert red[2] < 0.1
    assert blue[2] > 0.9
    assert blue[0] < 0.1


def test_a_field_that_never_reaches_the_level_has_a_surface_half_way() -> None:
    field = ball()
    with torch.no_grad():
        field.values[..., 0, 0] = field.values[..., 0, 0] / 100 - 2
    report = describe(Surface.of(field, BOX).simplified())
    raw = field.raw_density()
    # The radius at which the density is half way between its lowest and its highest.
    radius = 0.6 - (float(raw.max() + raw.min()) / 2 + 2)
    assert level_of(raw) == (float(raw.min()) + float(raw.max())) / 2
    assert math.isclose(report.volume, 4 / 3 * math.pi * radius**3, rel_tol=0.03)


def test_a_field_without_any_shape_is_refused() -> None:
    with pytest.raises(UserError, match="empty or full"):
        Surface.of(DenseGrid.empty(17, BOX), BOX)


def test_a_film_turns_once(tmp_path: Path) -> None:
    around = Orbit(frames=4, side=16)
    assert write_turntable(ball(17), tmp_path / "ball.mp4", around) == 4
    assert (tmp_path / "ball.mp4").stat().st_size > 500
    centres = around.cameras().centres
    assert torch.allclose(centres.norm(dim=1), torch.tensor(4.0))
    assert torch.allclose(centres[:, 2], torch.tensor(4 * math.sin(0.4)))
    assert torch.allclose(centres[0, :2], -centres[2, :2], atol=1e-5)


def test_an_orbit_is_as_far_and_as_wide_as_the_cameras() -> None:
    poses = Orbit(radius=3.0, elevation=0.3, frames=5).cameras().poses
    cameras = Cameras(poses, torch.tensor([[50.0, 50, 40, 20]]).repeat(5, 1), torch.tensor([[40, 80]]).repeat(5, 1))
    around = Orbit.of(cameras, side=32)
    assert math.isclose(around.radius, 3.0, rel_tol=1e-5)
    assert math.isclose(around.elevation, 0.3, rel_tol=1e-4)
    assert math.isclose(around.angle, 2 * math.atan(0.8), rel_tol=1e-5)
    assert around.side == 32


def test_the_mean_level_is_that_of_the_mean_density() -> None:
    raw = torch.tensor([-20.0, -20.0, -20.0, 2.0, -20.0, -20.0, -20.0, 2.0]).view(2, 2, 2)
    density = math.log1p(math.exp(2.0)) / 4
    assert math.log1p(math.exp(mean_level(raw))) == pytest.approx(density, rel=1e-6)
    assert mean_level(torch.full((2, 2, 2), -3.0)) == pytest.approx(-3.0)
