"""Distances of features: closed forms of normal distributions, brute force, and how they behave on equal sets."""

import math

import pytest
import torch

from train.ddpm.distances import features_of, frechet_distance, kernel_distance, nearest


def drawn(count: int, width: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn((count, width), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_frechet_distance_of_scaled_and_moved_features_is_its_closed_form() -> None:
    # Of y = m + s x the matrices commute: |m|^2 + sum (1 - s_i)^2 S_ii where S is diagonal.
    x = drawn(400)
    x = (x - x.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov((x - x.mean(0)).T))).T
    scales, move = torch.tensor([[0.5, 2.0, 1.0], [0.3, 0.0, -0.4]], dtype=torch.float64)
    assert frechet_distance(x, x * scales + move) == pytest.approx(0.25 + 0.5**2 + 1.0**2, rel=1e-9)
    assert frechet_distance(x, x) == pytest.approx(0.0, abs=1e-9)


def test_the_frechet_distance_has_the_root_of_the_product() -> None:
    a, b = drawn(60) @ drawn(3, 3, 1), drawn(80, seed=2) @ drawn(3, 3, 3)
    product = torch.cov(a.T) @ torch.cov(b.T)
    root = torch.linalg.eigvals(product).sqrt().real.sum()
    expected = (a.mean(0) - b.mean(0)).square().sum() + torch.cov(a.T).trace() + torch.cov(b.T).trace() - 2 * root
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-9)


def test_the_kernel_distance_is_the_sum_over_pairs() -> None:
    a, b = drawn(5, 4), drawn(6, 4, seed=1)

    def kernel(x: torch.Tensor, y: torch.Tensor) -> float:
        return (float(x @ y) / 4 + 1) ** 3

    within = [
        sum(kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j)
        / len(rows)
        / (len(rows) - 1)
        for rows in (a, b)
    ]
    across = sum(kernel(x, y) for x in a for y in b) / 30
    assert kernel_distance(a, b) == pytest.approx(sum(within) - 2 * across, rel=1e-12)


def test_the_kernel_distance_of_equal_distributions_is_zero_on_average() -> None:
    found = [kernel_distance(drawn(200, seed=2 * i), drawn(200, seed=2 * i + 1)) for i in range(20)]
    assert abs(sum(found) / 20) < 0.02 < kernel_distance(drawn(200), drawn(200, seed=1) + 0.5)


def test_features_are_of_enlarged_colour_pictures_in_unit_range() -> None:
    levels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    seen = []

    def encode(images: torch.Tensor) -> torch.Tensor:
        seen.append(images.shape)
        return images.flatten(1)[:, :2]

    assert features_of(encode, levels, 8).tolist() == [[0, 0], [1, 1]]
    assert seen == [(2, 3, 8, 8)]


def test_nearest_rows_are_the_nearest() -> None:
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, 0.0]])
    distances, places = nearest(torch.tensor([[0.0, 0.1]]), rows, 2)
    assert places.tolist() == [[0, 2]]
    assert distances[0].tolist() == pytest.approx([0.1, math.hypot(1, 0.1)])
