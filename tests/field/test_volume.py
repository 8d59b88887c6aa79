"""Volume rendering against closed forms and brute force."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.field.volume import Rendering, composite, distortion_of, importance_samples, opacity, weights_of
from tests.tolerance import FIELD_TWIN, FIELD_TWIN_VJP


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_homogeneous_slab_lets_through_what_beer_and_lambert_say() -> None:
    density, thickness, count = 1.7, 0.9, 40
    alpha = opacity(torch.full((1, count), density, dtype=torch.float64), thickness / count)
    colours = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64).expand(1, count, 3)
    length = thickness / count
    distances = 2 + (torch.arange(count, dtype=torch.float64)[None] + 0.5) * length
    shown = composite(alpha, colours, distances, length=length)
    passed = math.exp(-density * thickness)
    assert math.isclose(shown.transmittance.item(), passed, rel_tol=1e-12)
    assert torch.allclose(shown.colour, (1 - passed) * colours[:, 0], rtol=1e-12)
    # The mean depth is the integral of density exp(-density s) (2 + s), up to the width of a sample.
    depth = 2 * (1 - passed) + (1 - passed * (1 + density * thickness)) / density
    assert abs(shown.depth.item() - depth) < density * length**2
    white = shown.on(torch.ones(1, 3, dtype=torch.float64))
    assert torch.allclose(white, shown.colour + passed, rtol=1e-12)
    assert math.isclose(shown.alpha.item(), 1 - passed, rel_tol=1e-12)


def test_a_thin_sample_keeps_its_digits() -> None:
    thin = opacity(torch.tensor([1e-6]), 1e-3)
    assert math.isclose(thin.item(), 1e-9, rel_tol=1e-6)


def test_a_sample_does_not_hide_itself() -> None:
    weights, before, end = weights_of(torch.tensor([[0.5, 1.0, 0.5]]))
    assert before.tolist() == [[1.0, 0.5, 0.0]]
    assert weights.tolist() == [[0.5, 0.5, 0.0]]
    assert end.tolist() == [0.0]


@given(st.integers(0, 10_000), st.integers(0, 12))
@settings(max_examples=30, deadline=None)
def test_weights_and_what_passes_sum_to_one(seed: int, count: int) -> None:
    alpha = torch.rand(3, count, generator=generator(seed), dtype=torch.float64)
    weights, _, end = weights_of(alpha)
    assert torch.allclose(weights.sum(1) + end, torch.ones(3, dtype=torch.float64))


def test_the_distortion_is_the_sum_over_pairs() -> None:
    weights = torch.rand(4, 9, generator=generator(1), dtype=torch.float64)
    at = torch.rand(4, 9, generator=generator(2), dtype=torch.float64).cumsum(1)
    pairs = weights[:, :, None] * weights[:, None] * (at[:, :, None] - at[:, None]).abs()
    brute = pairs.sum((1, 2)) + (weights.square() * 0.25).sum(1) / 3
    assert torch.allclose(distortion_of(weights, at, 0.25), brute)


def test_distances_in_another_unit_scale_the_distortion() -> None:
    alpha = torch.rand(2, 5, generator=generator(3))
    colours = torch.rand(2, 5, 3, generator=generator(4))
    distances = torch.rand(2, 5, generator=generator(5)).cumsum(1)
    near = composite(alpha, colours, distances, length=0.1)
    far = composite(alpha, colours, distances * 2, unit=2.0, length=0.2)
    assert torch.allclose(near.distortion, far.distortion)
    assert torch.allclose(near.depth * 2, far.depth)


def test_normals_are_weighted_as_colours() -> None:
    alpha = torch.tensor([[0.5, 0.5]])
    normals = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    shown = composite(alpha, normals, torch.tensor([[1.0, 2]]), normals=normals)
    assert isinstance(shown, Rendering)
    assert shown.normal is not None
    assert shown.normal.tolist() == [[0.5, 0.25, 0.0]]


def test_importance_samples_invert_the_cumulative_distribution() -> None:
    edges = torch.tensor([[0.0, 1, 3, 4]], dtype=torch.float64)
    weights = torch.tensor([[1.0, 0, 3]], dtype=torch.float64)
    uniform = torch.tensor([[0.0, 0.125, 0.2499, 0.2501, 0.625, 0.999]], dtype=torch.float64)
    samples = importance_samples(edges, weights, uniform)
    # A quarter of the weight lies evenly in [0, 1], three quarters in [3, 4], next to nothing between.
    expected = torch.tensor([[0.0, 0.5, 0.9996, 3 + 0.0001 / 0.75, 3.5, 3 + 0.749 / 0.75]], dtype=torch.float64)
    assert torch.allclose(samples, expected, atol=1e-3)


def test_importance_samples_follow_the_weights() -> None:
    weights = torch.rand(1, 8, generator=generator(6), dtype=torch.float64)
    edges = torch.linspace(2, 6, 9, dtype=torch.float64)[None]
    uniform = torch.rand(1, 40_000, generator=generator(7), dtype=torch.float64)
    samples = importance_samples(edges, weights, uniform)
    shares = torch.histc(samples, 8, 2, 6) / samples.numel()
    # The standard error of a share is at most 0.0025.
    assert torch.allclose(shares, (weights / weights.sum())[0], atol=0.01)


def test_without_any_weight_importance_samples_are_uniform() -> None:
    uniform = torch.linspace(0, 0.999, 50, dtype=torch.float64)[None]
    edges = torch.linspace(1, 2, 5, dtype=torch.float64)[None]
    assert torch.allclose(importance_samples(edges, torch.zeros(1, 4, dtype=torch.float64), uniform), 1 + uniform)


@pytest.mark.parametrize(("side", "size"), [(64, 128), (5, 9), (16, 16), (7, 32), (1, 4)])
def test_a_picture_is_enlarged_as_pytorch_does(side: int, size: int) -> None:
    draws = torch.Generator().manual_seed(side)
    colour, transmittance, background = (
        torch.rand(*shape, generator=draws) for shape in ((side**2, 3), (side**2,), (1, 3))
    )
    shown = Rendering(colour.requires_grad_(), transmittance.requires_grad_(), transmittance, transmittance)
    plain = shown.on(background).T.reshape(1, 3, side, side)
    expected = torch.nn.functional.interpolate(plain, size=(size, size), mode="bilinear")
    found = shown.enlarged_on(background, size)
    assert torch.allclose(found, expected, atol=FIELD_TWIN, rtol=FIELD_TWIN)
    upstream = torch.randn(expected.shape, generator=draws)
    exact, ours = (
        torch.autograd.grad((picture * upstream).sum(), (colour, transmittance)) for picture in (expected, found)
    )
    for one, other in zip(ours, exact, strict=True):
        assert torch.allclose(one, other, atol=FIELD_TWIN_VJP * float(other.abs().max()), rtol=0)
