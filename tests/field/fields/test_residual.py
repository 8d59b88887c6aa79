"""Dream Fields' scene against closed forms, finite differences, and itself in parts."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from runtime.field.cameras import Rays, box_span
from runtime.field.fields import residual
from runtime.field.fields.residual import NODES, REACH, FieldOptions, ResidualField
from tests.tolerance import FIELD_CLOSED_FORM, FLOAT32_ROUNDING

SMALL = FieldOptions(width=8, wide=12, blocks=1, octaves=2, directions=6, samples=24, pixel=0.05)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def field(**change) -> ResidualField:
    return ResidualField(replace(SMALL, **change), generator())


def rays(count: int = 40, seed: int = 1) -> Rays:
    """Return rays from a sphere of radius 4, most of which meet the cube."""
    draws = generator(seed)
    origins = 4 * torch.nn.functional.normalize(torch.randn(count, 3, generator=draws), dim=1)
    aims = 0.7 * torch.randn(count, 3, generator=draws)
    return Rays(origins, torch.nn.functional.normalize(aims - origins, dim=1))


def make_constant(scene: ResidualField, raw: float) -> ResidualField:
    torch.nn.init.zeros_(scene.network.last.weight)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    with torch.no_grad():
        scene.network.last.bias.copy_(torch.tensor([raw, 2.0, 0.0, -2.0]))  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    return scene


class Ball(ResidualField):
    """A field whose raw density is a formula: large in a ball of a radius of 0.6, whose middle is not the origin."""

    middle = torch.tensor([0.1, -0.2, 0.05])
    inner, outer = 3.0, -40.0

    def _raw(self, points: Tensor, variance: Tensor | None) -> tuple[Tensor, Tensor]:
        distance = (points - self.middle.to(points)).norm(dim=1)
        raw = torch.where(distance < 0.6, self.inner - 1e-3 * distance, self.outer - distance)
        return raw, torch.full_like(points, 0.25)


def test_the_parameters_of_the_published_code() -> None:
    scene = ResidualField(FieldOptions(), generator())
    assert sum(p.numel() for p in scene.parameters()) == 315_396
    assert set(scene.state()) >= {"origin", "options", "network.basis"}


@pytest.mark.parametrize("bounded", [True, False])
def test_a_constant_density_passes_the_light_of_a_chord(*, bounded: bool) -> None:
    scene = make_constant(field(bounded=bounded), 0.3)
    enter, leave = box_span(rays())
    chord = (leave - enter).clamp(min=0) if bounded else torch.full((40,), 2 * REACH)
    passed = torch.exp(-math.log1p(math.exp(0.3)) * chord)
    assert (chord == 0).any() == bounded
    shown = scene.render(rays())
    assert torch.allclose(shown.transmittance, passed, atol=FIELD_CLOSED_FORM)
    colour = torch.tensor([2.0, 0.0, -2.0]).sigmoid()
    assert torch.allclose(shown.colour, (1 - passed)[:, None] * colour, atol=FIELD_CLOSED_FORM)


def test_a_homogeneous_ball() -> None:
    scene = Ball(replace(SMALL, samples=400))
    some = rays(200)
    shown = scene.render(some)
    offset = some.origins - Ball.middle
    nearest = (offset - (offset * some.directions).sum(1, keepdim=True) * some.directions).norm(dim=1)
    chord = 2 * (0.36 - nearest.square()).clamp(min=0).sqrt()
    density = math.log1p(math.exp(3.0))
    # Either end of the chord is found to half an interval, 2 sqrt(3) / 800.
    assert (-shown.transmittance.log() / density - chord).abs().max() < 2 * math.sqrt(3) / 400
    assert (chord > 0.5).sum() > 20


def test_normals_point_out_of_a_ball_and_are_differentiable() -> None:
    class Round(ResidualField):
        def _raw(self, points: Tensor, variance: Tensor | None) -> tuple[Tensor, Tensor]:
            return 1e5 * self.steepness() * (0.5 - points.norm(dim=1)), torch.ones_like(points)

        def steepness(self) -> Tensor:
            return self.network.late.bias[0] + 1  # pyright: ignore[reportIndexIssue, reportAttributeAccessIssue]

    scene = Round(replace(SMALL, samples=300))
    some = Rays(torch.tensor([[0.0, 0, 4], [3, 0.2, 0.1]]), torch.tensor([[0.0, 0, -1], [-1, 0, 0]]))
    shown = scene.render(some, torch.full((2,), 0.5), normals=True)
    assert shown.normal is not None
    # What the second ray meets first: the ball at heights 0.2 and 0.1.
    met = torch.tensor([math.sqrt(0.25 - 0.05), 0.2, 0.1]) / 0.5
    assert torch.allclose(shown.normal[0], torch.tensor([0.0, 0, 1]), atol=0.02)
    assert torch.allclose(torch.nn.functional.normalize(shown.normal[1], dim=0), met, atol=0.03)
    shown.normal.sum().backward()
    with torch.no_grad():
        plain = scene.render(some, normals=True)
    assert plain.normal is not None
    assert torch.allclose(plain.normal, shown.normal, atol=FLOAT32_ROUNDING)
    assert plain.normal.grad_fn is None


def loss_of(scene: ResidualField, some: Rays, jitter: Tensor, **options) -> Tensor:
    shown = scene.render(some, jitter, normals=True, **options)
    assert shown.normal is not None
    weights = torch.linspace(0.5, 1.5, len(some.origins), dtype=some.origins.dtype)
    total = shown.colour.sum(1) + 0.7 * shown.transmittance + 0.3 * shown.depth + (shown.normal**2).sum(1)
    return (weights * total).sum()


@pytest.mark.parametrize("density", ["softplus", "exp", "volsdf"])
def test_gradients_are_those_of_finite_differences(density: str) -> None:
    scene = field(density=density, blob=0.5).double()
    some = rays(12)
    some = Rays(some.origins.double(), some.directions.double())
    jitter = torch.rand(12, 25, generator=generator(4), dtype=torch.float64)
    loss_of(scene, some, jitter).backward()
    draws = generator(5)
    ways = {n: torch.randn(p.shape, generator=draws, dtype=torch.float64) for n, p in scene.named_parameters()}
    slope = sum((p.grad * ways[n]).sum() for n, p in scene.named_parameters() if p.grad is not None)
    step, values = 1e-6, []
    for sign in (1, -1):
        moved = field(density=density, blob=0.5).double()
        with torch.no_grad():
            for name, p in moved.named_parameters():
                p.add_(sign * step * ways[name])
        values.append(loss_of(moved, some, jitter).item())
    assert math.isclose(float(slope), (values[0] - values[1]) / (2 * step), rel_tol=1e-6)


def test_parts_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for memory in (10_000, 100):
        monkeypatch.setattr(residual, "SAMPLES_IN_MEMORY", memory)
        monkeypatch.setattr(residual, "SAMPLES_AT_ONCE", memory)
        scene = field()
        loss = loss_of(scene, rays(), torch.full((40, 25), 0.3), noise=torch.randn(40, 24, generator=generator(2)))
        loss.backward()
        with torch.no_grad():
            shown = scene.render(rays())
        results.append((loss, shown.colour, *(p.grad for p in scene.parameters())))
    for whole, parts in zip(*results, strict=True):
        assert torch.allclose(whole, parts, rtol=1e-4, atol=FLOAT32_ROUNDING)


def test_waves_fade_between_the_limits_of_the_cones_width() -> None:
    scene, sharp = field(), field(integrated=False)
    jitter = torch.full((40,), 0.5)
    assert torch.allclose(
        scene.render(rays(), jitter, spread=0.0).colour, sharp.render(rays(), jitter).colour, atol=FLOAT32_ROUNDING
    )
    blurred = scene.samples(rays(), jitter, spread=1e4)
    # No wave is left: every place has the same density.
    seen = blurred.density[blurred.density > 0]
    assert seen.max() - seen.min() < 1e-6
    wide = scene.samples(rays(), jitter, pixel=100.0).colour
    assert wide.std() < scene.samples(rays(), jitter).colour.std()


def test_the_origin_moves_rays_and_the_cube_stays() -> None:
    scene = field()
    shift = torch.tensor([0.2, -0.1, 0.3])
    there = scene.render(Rays(rays().origins + shift, rays().directions))
    scene.origin.copy_(shift)
    assert torch.equal(scene.render(rays()).colour, there.colour)
    samples = scene.samples(rays())
    assert ((samples.points.abs().amax(-1) <= 1) | (samples.density == 0)).all()


def test_jitter_moves_borders_by_half_an_interval() -> None:
    scene = field().double()
    some = Rays(rays().origins.double(), rays().directions.double())
    even = scene.borders(some.origins, some.directions)
    step = even.diff(dim=1)[:, :1]
    for jitter in (torch.rand(40, 25, generator=generator(3)), torch.rand(40, generator=generator(3))):
        moved = scene.borders(some.origins, some.directions, jitter.double())
        assert (moved.diff(dim=1) >= 0).all()
        assert torch.allclose((moved - even) / step, jitter.view(40, -1).expand(40, 25).double() - 0.5)
    inside_camera = field().borders(torch.zeros(1, 3), torch.tensor([[0.0, 0, 1]]))
    assert inside_camera.min() > 0
    assert field(looks=7).double().borders(some.origins, some.directions).shape == (40, 8)


def test_densities_of_raw_values() -> None:
    raw = torch.tensor([-1.0, 0.0, 100.0])
    assert torch.allclose(field().activated(raw), torch.nn.functional.softplus(raw))
    assert torch.allclose(field(density="exp").activated(raw), torch.tensor([-1.0, 0.0, 15.0]).exp())
    # The Laplace distribution of width 0.1 is half at the surface.
    assert torch.allclose(field(density="volsdf").activated(raw)[1:], torch.tensor([5.0, 10.0]))
    scene = field(density="volsdf", radius=0.4)
    make_constant(scene, 0.0)
    density = scene.density_at(torch.tensor([[0.4, 0, 0], [0, 0, 0], [0, 0.9, 0]]))
    assert math.isclose(float(density[0]), 5.0, rel_tol=1e-4)
    assert density[1] > 9.5
    assert density[2] < 0.1
    samples = scene.samples(rays(), normals=True)
    assert samples.slope is not None
    assert torch.allclose(samples.slope.norm(dim=-1), torch.ones(40, 24), atol=1e-3)


def test_noise_is_added_before_the_activation_and_a_blob_at_the_origin() -> None:
    plain = make_constant(field(), 0.1)
    noisy = plain.samples(rays(), noise=torch.full((40, 24), 0.6)).density
    assert torch.allclose(noisy, make_constant(field(), 0.7).samples(rays()).density)
    blob = make_constant(field(blob=3.0, blob_width=0.2), -1.0)
    at = torch.tensor([[0.0, 0, 0], [0.2, 0, 0], [0, 0.9, 0]])
    raw = torch.tensor([2.0, -1 + 3 * math.exp(-0.5), -1.0])
    assert torch.allclose(blob.density_at(at), torch.nn.functional.softplus(raw), atol=1e-3)


def test_a_field_is_restored_bit_for_bit() -> None:
    scene = field(density="volsdf", network="plain", basis="axes")
    scene.origin.copy_(torch.tensor([0.1, 0.2, 0.3]))
    again = ResidualField.from_state(scene.state())
    assert again.options == scene.options
    assert again.state().keys() == scene.state().keys()
    assert all(torch.equal(value, again.state()[name]) for name, value in scene.state().items())
    assert torch.equal(again.render(rays()).colour, scene.render(rays()).colour)
    before = torch.random.get_rng_state()
    field()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_meshes_are_made_of() -> None:
    scene = make_constant(field(), 0.7)
    raw = scene.raw_density()
    assert raw.shape == (NODES, NODES, NODES)
    density = torch.nn.functional.softplus(raw) * 32
    assert torch.allclose(density, torch.full_like(density, math.log1p(math.exp(0.7))), rtol=1e-3)
    assert torch.allclose(scene.colour_at(torch.rand(5, 3)), torch.tensor([2.0, 0, -2]).sigmoid().expand(5, 3))
    centre = Ball(SMALL).centre_of_mass(generator(), 40_000)
    # 4,500 points of the ball: a mean's standard error is 0.27 / sqrt(4,500).
    assert (centre - Ball.middle).abs().max() < 0.015


@pytest.mark.gpu
def test_a_card_shows_what_the_cpu_shows() -> None:
    jitter = torch.rand(40, SMALL.samples + 1, generator=generator(2))
    shown, slopes, places, masses = [], [], [], []
    for device in ("cpu", "cuda"):
        scene = field().to(device)
        seen = scene.render(rays(), jitter, normals=True)
        assert seen.colour.device.type == seen.normal.device.type == "cpu"  # pyright: ignore[reportOptionalMemberAccess]
        (seen.colour.square().sum() + seen.transmittance.sum()).backward()
        shown.append(torch.cat([seen.colour, seen.transmittance[:, None], seen.depth[:, None]], 1).detach())
        slopes.append(torch.cat([p.grad.flatten().cpu() for p in scene.parameters() if p.grad is not None]))
        points = torch.rand(100, 3, generator=generator(3)) - 0.5
        places.append(torch.cat([scene.density_at(points)[:, None], scene.colour_at(points)], 1))
        masses.append(scene.centre_of_mass(generator(4)))
    for of_cpu, of_card in (shown, slopes, places, masses):
        torch.testing.assert_close(of_card, of_cpu, atol=1e-4, rtol=1e-3)
