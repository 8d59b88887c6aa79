"""The thesis' networks: stated sizes, closed forms of densities, gradients."""

import math

import torch
from torch.nn import functional

from runtime.field.fields.encodings import axis_basis, fourier_basis
from runtime.field.fields.networks import TRUNCATED, PlainMLP, RadianceMLP, ResidualMLP, eikonal, laplace_density


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_nerf_has_the_stated_parameters() -> None:
    assert parameters(RadianceMLP(view_directions=False)) == 494_084
    assert parameters(RadianceMLP()) == 595_844


def test_dream_fields_has_the_official_parameters() -> None:
    basis = fourier_basis(128, 8.0, torch.Generator().manual_seed(0))
    assert parameters(ResidualMLP(basis)) == 315_396


def test_only_a_network_with_directions_depends_on_them() -> None:
    points = torch.rand(5, 3)
    ways = functional.normalize(torch.randn(2, 5, 3), dim=-1)
    for directions in (True, False):
        network = RadianceMLP(4, view_directions=directions)
        (density, colour), (other, turned) = (network(points, way) for way in ways)
        assert torch.equal(density, other)
        assert torch.equal(colour, turned) is not directions
        assert density.min() >= 0
        assert 0 <= colour.min() <= colour.max() <= 1


def test_the_skip_joins_the_points_behind_the_fifth_layer() -> None:
    network = RadianceMLP(4, view_directions=False)
    widths = [layer.in_features for layer in network.layers if isinstance(layer, torch.nn.Linear)]
    assert widths == [27, 256, 256, 256, 256, 283, 256, 256]


def test_residual_blocks_begin_with_lecun_normal_weights() -> None:
    torch.manual_seed(0)
    network = ResidualMLP(fourier_basis(128, 8.0, torch.Generator().manual_seed(0)))
    # 33,536 numbers: the standard error of their deviation is 0.4 %.
    assert math.isclose(network.first.weight.std().item(), 262**-0.5, rel_tol=0.02)
    assert network.first.weight.abs().max() <= 2 * 262**-0.5 / TRUNCATED
    raw, colour = network(torch.rand(4, 3), torch.eye(3).expand(4, 3, 3) * 0.01)
    assert raw.shape == (4,)
    assert colour.shape == (4, 3)


def test_the_plain_network_is_nerfs_on_waves() -> None:
    network = PlainMLP(axis_basis(6), generator=torch.Generator().manual_seed(0))
    widths = [layer.in_features for layer in network.layers if isinstance(layer, torch.nn.Linear)]
    assert widths == [36, 256, 256, 256, 256, 292, 256, 256]
    raw, colour = network(torch.rand(4, 3), torch.zeros(4, 3, 3))
    assert raw.shape == (4,)
    assert 0 <= colour.min() <= colour.max() <= 1


def test_equal_generators_give_equal_weights() -> None:
    basis = axis_basis(3)
    first, second = (ResidualMLP(basis, 8, 8, 1, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first.last.weight, second.last.weight)


def test_a_wide_gaussian_hides_high_frequencies() -> None:
    torch.manual_seed(0)
    network = ResidualMLP(fourier_basis(16, 8.0, torch.Generator().manual_seed(0)))
    mean = torch.rand(1, 3)
    wide = torch.eye(3)[None] * 100.0
    raw, _ = network(mean, wide)
    moved, _ = network(mean + 0.3, wide)
    assert torch.allclose(raw, moved, atol=1e-6)


def test_laplace_density() -> None:
    distance = torch.tensor([-50.0, -0.1, 0.0, 0.1, 50.0], dtype=torch.float64)
    density = laplace_density(distance, 0.1)
    expected = [10.0, 10 * (1 - 0.5 * math.exp(-1)), 5.0, 5 * math.exp(-1), 0.0]
    assert torch.allclose(density, torch.tensor(expected, dtype=torch.float64))
    assert torch.allclose(laplace_density(distance, 0.1, 3.0), density * 0.3)


def test_a_distance_has_no_eikonal_error() -> None:
    points = torch.randn(20, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(points.norm(dim=1).sum(), points)
    assert eikonal(gradient).item() < 1e-10
    assert math.isclose(eikonal(2 * gradient).item(), 1.0, rel_tol=1e-5)
