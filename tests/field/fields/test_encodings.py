"""Encodings against closed forms, sampling, and the frequencies that the papers state."""

import math

import torch

from runtime.field.fields.encodings import (
    CONE_RADIUS,
    axis_basis,
    cone_moments,
    cone_variances,
    fourier_basis,
    frustum_gaussians,
    integrated,
    masked,
    positional,
    waves,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_positional_encoding_of_one_number() -> None:
    encoded = positional(torch.tensor([[0.3]]), 3)
    expected = [0.3] + [f(2**level * 0.3) for level in range(3) for f in (math.sin, math.cos)]
    assert torch.allclose(encoded, torch.tensor([expected]))
    assert positional(torch.zeros(2, 3), 10).shape == (2, 63)
    assert positional(torch.zeros(2, 3), 4, identity=False).shape == (2, 24)


def test_the_mask_lets_low_frequencies_through_first() -> None:
    encoded = torch.ones(1, 3 * (1 + 2 * 4))
    none, half, all_of_them = (masked(encoded, 3, 4, share)[0] for share in (0.0, 0.375, 1.0))
    assert none.sum() == 3
    # One and a half of four frequencies: 6 numbers whole, 6 by half.
    assert half.tolist() == [1.0] * 3 + [1.0] * 6 + [0.5] * 6 + [0.0] * 12
    assert torch.equal(all_of_them, encoded[0])


def test_the_fourier_basis_is_dream_fields() -> None:
    basis = fourier_basis(128, 8.0, generator())
    assert basis.shape == (131, 3)
    assert torch.equal(basis[:3], torch.eye(3))
    assert torch.equal(basis, basis.round())
    lengths = basis[3:].norm(dim=1)
    # Lengths are uniform in the exponent, so that half lie below 2^4; the standard error is 0.044.
    assert lengths.max() <= 2**8 + 1
    assert 0.35 < (lengths < 16).float().mean() < 0.65


def test_an_integrated_encoding_is_the_mean_of_the_plain_one() -> None:
    draws = generator(1)
    root = 0.2 * torch.randn(3, 3, generator=draws, dtype=torch.float64)
    mean = torch.randn(1, 3, generator=draws, dtype=torch.float64)
    basis = torch.tensor([[1.0, 0, 0], [2, -1, 3], [0, 4, 4]], dtype=torch.float64)
    samples = mean + torch.randn(200_000, 3, generator=draws, dtype=torch.float64) @ root.T
    phases = samples @ basis.T
    brute = torch.cat([phases.cos().mean(0), phases.sin().mean(0)])
    # The standard error of a mean of 200,000 numbers in [-1, 1] is at most 0.0016.
    assert torch.allclose(integrated(mean, (root @ root.T)[None], basis)[0], brute, atol=0.008)


def test_frustums_have_the_moments_of_points_in_them() -> None:
    draws = generator(2)
    near, far, radius = 2.0, 3.5, 0.2
    # Points uniform in a conical frustum: the density of the distance grows as its square, across it a uniform disc.
    u = torch.rand(400_000, generator=draws, dtype=torch.float64)
    t = (near**3 + u * (far**3 - near**3)) ** (1 / 3)
    angle = 2 * math.pi * torch.rand(400_000, generator=draws, dtype=torch.float64)
    r = radius * t * torch.rand(400_000, generator=draws, dtype=torch.float64).sqrt()
    points = torch.stack([r * angle.cos(), r * angle.sin(), t], 1)
    directions = torch.tensor([[0.0, 0, 1]], dtype=torch.float64)
    edges = torch.tensor([[near, far]], dtype=torch.float64)
    mean, covariance = frustum_gaussians(directions, edges, radius)
    assert torch.allclose(mean[0, 0], points.mean(0), atol=0.003)
    assert torch.allclose(covariance[0, 0], torch.cov(points.T), atol=0.002)


def test_the_cones_radius_is_that_of_a_pixels_variance() -> None:
    # A disc of radius r has the variance r^2 / 4 along an axis; twice a pixel's, 1 / 12, is that of the paper's choice.
    assert math.isclose(CONE_RADIUS**2 / 4, 1 / 12)


def test_variances_of_a_cone_are_those_of_its_covariance() -> None:
    draws = generator(3)
    directions = torch.nn.functional.normalize(torch.randn(4, 3, generator=draws, dtype=torch.float64), dim=1)
    edges = 1 + torch.rand(4, 6, generator=draws, dtype=torch.float64).cumsum(1)
    basis = 3 * torch.randn(5, 3, generator=draws, dtype=torch.float64)
    mean, along, across = cone_moments(edges, 0.1)
    points, covariance = frustum_gaussians(directions, edges, 0.1)
    brute = torch.einsum("fi,rsij,fj->rsf", basis, covariance, basis)
    variance = cone_variances(directions, along, across, basis)
    assert torch.allclose(variance, brute)
    phase = points @ basis.T
    assert torch.allclose(waves(phase, variance), integrated(points, covariance, basis))
    assert torch.allclose(waves(phase, 0 * variance), waves(phase))
    assert torch.allclose(points, mean[..., None] * directions[:, None])


def test_waves_along_the_axes_are_nerfs() -> None:
    points = torch.rand(4, 3)
    plain = positional(points, 5, identity=False)
    ours = waves(points @ axis_basis(5).T)
    assert torch.allclose(ours.sort(1).values, plain.sort(1).values, atol=1e-6)
