import math

import pytest
import torch

from runtime.field.cameras import Rays
from runtime.field.fields.grid import DenseGrid
from runtime.field.shading import Light, draw_lamp, lambertian, lit, orientation_penalty
from runtime.field.volume import Rendering
from tests.field.grids import BOX, random_grid, random_rays, twin
from tests.tolerance import FIELD_TWIN_VJP, FLOAT32_ROUNDING


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_light_falls_as_the_cosine_and_never_below_the_ambient() -> None:
    angles = torch.tensor([0.0, 60.0, 90.0, 150.0]) * math.pi / 180
    normal = torch.stack([angles.cos(), angles.sin(), torch.zeros(4)], 1)
    albedo = torch.tensor([[1.0, 0.5, 0.2]]).repeat(4, 1)
    light = Light(position=torch.tensor([3.0, 0, 0]))
    found = lambertian(albedo, normal, torch.zeros(4, 3), light)
    brightness = torch.tensor([1.0, 0.1 + 0.9 * 0.5, 0.1, 0.1])
    assert torch.allclose(found, albedo * brightness[:, None], atol=FLOAT32_ROUNDING)
    # Only the direction to the lamp counts.
    assert torch.allclose(
        found, lambertian(albedo, normal, torch.zeros(4, 3), Light(position=torch.tensor([9.0, 0, 0])))
    )


def sphere(size: int = 65) -> DenseGrid:
    """Return an opaque ball of radius 0.6, red, in the middle of `BOX`."""
    axis = torch.linspace(-1, 1, size)
    radius = (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2).sqrt()
    values = torch.zeros(size, size, size, 1, 4)
    values[..., 0, 0] = ((0.6 - radius) * 200).clamp(-20, 20)
    values[..., 0, 1] = 1.0
    return DenseGrid(values, torch.ones(16, 16, 16, dtype=torch.uint8), BOX)


def test_a_ball_is_lit_as_a_ball() -> None:
    centre = BOX[:3] + 1
    offsets = torch.tensor([0.0, 0.3, -0.3, 0.45])
    origins = torch.stack([offsets, torch.zeros(4), torch.full((4,), 4.0)], 1) + centre
    rays = Rays(origins, torch.tensor([[0.0, 0, -1]]).repeat(4, 1))
    shown = sphere().render(rays, normals=True)
    lamp = torch.tensor([4.0, 0, 0])
    light = Light(position=centre + lamp)
    points = torch.stack([offsets, torch.zeros(4), (0.36 - offsets.square()).sqrt()], 1)
    towards = torch.nn.functional.normalize(lamp - points, dim=1)
    brightness = 0.1 + 0.9 * (points / 0.6 * towards).sum(1).clamp(min=0)
    found = lit(shown, rays, light)
    assert torch.allclose(found.colour[:, 0], brightness, atol=0.03)
    assert found.colour[:, 1:].abs().max() < FLOAT32_ROUNDING
    white = lit(shown, rays, light, textureless=True)
    assert torch.allclose(white.colour, brightness[:, None].expand(4, 3), atol=0.03)
    # Seen from outside nothing faces away; with directions turned round everything does.
    assert orientation_penalty(shown, rays) < 1e-4
    turned = Rays(rays.origins, -rays.directions)
    facing = (0.36 - offsets.square()) / 0.36
    assert orientation_penalty(shown, turned).item() == pytest.approx(facing.mean().item(), abs=0.05)


@pytest.mark.parametrize("textureless", [False, True])
def test_gradients_through_normals_are_the_twins(textureless: bool) -> None:
    """The whole way: from a lit picture and the penalty, by the mean normal, to the grid's values."""
    field = random_grid(5, 9)
    rays, jitter = random_rays(6, 60)
    light = Light(position=torch.tensor([2.0, -1.0, 3.0]))
    weights = torch.randn(60, 3, generator=generator())

    def loss(shown: Rendering, rays: Rays, light: Light) -> torch.Tensor:
        picture = lit(shown, rays, light, textureless=textureless).on(torch.ones(1, 3, dtype=shown.colour.dtype))
        return (picture * weights.to(picture.dtype)).sum() + 5 * orientation_penalty(shown, rays)

    loss(field.render(rays, jitter, normals=True), rays, light).backward()
    values = field.values.detach().double().requires_grad_()
    wide = Rays(rays.origins.double(), rays.directions.double())
    exact = twin(field, values, rays, jitter, normals=True)
    loss(exact, wide, Light(position=light.position.double())).backward()
    assert field.values.grad is not None and values.grad is not None
    largest = values.grad.abs().max().item()
    assert torch.allclose(field.values.grad.double(), values.grad, rtol=0, atol=10 * FIELD_TWIN_VJP * largest)


def test_the_normals_gradient_is_that_of_central_differences() -> None:
    """Of the shading alone: the share of light along fixed weights changes as the slope of the density turns."""
    field = random_grid(11, 9)
    rays, jitter = random_rays(12, 40)
    light = Light(position=torch.tensor([2.0, -1.0, 3.0]))
    values = field.values.detach().double()
    wide = Rays(rays.origins.double(), rays.directions.double())
    lamp = Light(position=light.position.double())

    def total(values: torch.Tensor) -> torch.Tensor:
        shown = twin(field, values, rays, jitter, normals=True)
        assert shown.normal is not None
        unit = torch.nn.functional.normalize(shown.normal, dim=1)
        return lambertian(torch.ones_like(unit), unit, wide.origins, lamp).sum()

    shown = field.render(rays, jitter, normals=True)
    assert shown.normal is not None
    unit = torch.nn.functional.normalize(shown.normal, dim=1, eps=1e-6)
    seen = (shown.alpha > 0)[:, None]
    lambertian(torch.ones_like(unit), unit * seen, rays.origins, light).sum().backward()
    assert field.values.grad is not None
    for place in field.values.grad[..., 0].abs().flatten().topk(4).indices.tolist():
        moved = [values.clone() for _ in range(2)]
        for sign, copy in zip((1, -1), moved, strict=True):
            copy.view(-1, 4)[place, 0] += sign * 1e-5
        difference = float(total(moved[0]) - total(moved[1])) / 2e-5
        assert math.isclose(field.values.grad.view(-1, 4)[place, 0].item(), difference, rel_tol=1e-2)


def test_alpha_does_not_flee_from_the_orientation() -> None:
    alpha = torch.tensor([0.5], requires_grad=True)
    normal = torch.tensor([[0.3, 0.0, 0.4]], requires_grad=True)
    shown = Rendering(torch.zeros(1, 3), 1 - alpha, torch.zeros(1), torch.zeros(1), normal)
    rays = Rays(torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]]))
    value = orientation_penalty(shown, rays)
    assert value.item() == pytest.approx(0.5 * 0.64)
    value.backward()
    assert alpha.grad is None
    assert normal.grad is not None and normal.grad[0, 2] > 0


def test_lamps_stand_around_the_camera() -> None:
    camera, draws = torch.tensor([3.0, 0, 0]), generator()
    lamps = torch.stack([draw_lamp(camera, draws) for _ in range(2000)])
    distances = lamps.norm(dim=1)
    assert distances.min() >= 0.8 and distances.max() <= 1.5
    assert distances.mean().item() == pytest.approx(1.15, abs=0.02)
    # Independent of the direction: the mean direction lies along the camera's.
    mean = (lamps / distances[:, None]).mean(0)
    assert mean[0] > 0.85 and mean[1:].abs().max() < 0.03
