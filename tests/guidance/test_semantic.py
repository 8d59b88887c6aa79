"""Semantic consistency: its sign, its closed form, its gate."""

import math

import torch

from runtime.guidance.semantic import cosines, semantic_consistency, typical_cosine


def test_it_is_half_the_squared_distance_of_unit_features() -> None:
    draws = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 5, 8, generator=draws, dtype=torch.float64)
    unit_a, unit_b = (x / x.norm(dim=1, keepdim=True) for x in (a, b))
    brute = 0.5 * (unit_a - unit_b).square().sum(1).mean()
    assert torch.allclose(semantic_consistency(a, b), brute)


def test_minimizing_it_draws_features_together() -> None:
    feature = torch.tensor([[1.0, 0.2]], requires_grad=True)
    target = torch.tensor([[0.0, 1.0]])
    before = cosines(feature, target).item()
    (gradient,) = torch.autograd.grad(semantic_consistency(feature, target), feature)
    after = cosines(feature.detach() - 0.1 * gradient, target).item()
    assert after > before


def test_what_is_alike_enough_is_left_alone() -> None:
    feature = torch.tensor([[1.0, 1.0]], requires_grad=True)
    target = torch.tensor([[1.0, 0.0]])
    assert semantic_consistency(feature, target, gate=0.7).item() == 0
    assert math.isclose(semantic_consistency(feature, target, gate=0.8).item(), 0.8 - 0.5**0.5, rel_tol=1e-5)


def test_the_typical_cosine_leaves_out_a_picture_and_itself() -> None:
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert math.isclose(typical_cosine(features), (0 + 2 * 0.5**0.5) / 3, rel_tol=1e-6)
    assert typical_cosine(features[:1]) == 1.0
