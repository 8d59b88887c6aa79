"""Terms of transmittance: the thesis' numbers, signs, and where the optimum lies."""

import math

import pytest
import torch

from runtime.field.sparsity import (
    Sparsity,
    beta_prior,
    objective,
    perturbed,
    target_transmittance,
    transmittance_loss,
)

THESIS = {"first": 0.4, "last": 0.88, "steps": 500}


def test_tau_rises_from_0_4_to_0_88_over_500_steps() -> None:
    assert math.isclose(target_transmittance(0, **THESIS), 0.4)
    assert math.isclose(target_transmittance(500, **THESIS), 0.88)
    assert math.isclose(target_transmittance(9000, **THESIS), 0.88)
    # The published code: opacity 0.5 to 0.1, times f^2 / (d / 4)^2 / 1.2.
    for step, focal, distance in ((100, 1.2, 4.0), (250, 1.0, 4.0), (700, 1.2, 5.0)):
        opacity = 0.5 * (0.1 / 0.5) ** min(step / 500, 1) * focal**2 / (distance / 4) ** 2 / 1.2
        ours = target_transmittance(step, **THESIS, focal=focal, distance=distance)
        assert math.isclose(ours, 1 - opacity, rel_tol=1e-9)
    assert target_transmittance(0, first=0.4, last=0.88, steps=0) == pytest.approx(0.88)
    assert target_transmittance(0, **THESIS, focal=10.0) == 0.0


def test_transmittance_is_rewarded_up_to_tau() -> None:
    passed = torch.tensor([0.2, 0.6], requires_grad=True)
    loss = transmittance_loss(passed, 0.88)
    loss.backward()
    assert loss.item() == pytest.approx(-0.4)
    assert passed.grad is not None
    assert passed.grad.tolist() == [-0.5, -0.5]
    passed.grad = None
    transmittance_loss(passed, 0.3).backward()
    assert passed.grad.tolist() == [0.0, 0.0]


def test_the_beta_prior_is_lowest_where_rays_pass_or_do_not() -> None:
    half, clear = beta_prior(torch.full((4,), 0.5)), beta_prior(torch.tensor([0.0, 1.0]))
    assert half.item() == pytest.approx(2 * math.log(0.5))
    assert clear.item() == pytest.approx(math.log(1e-6), rel=1e-3)
    assert clear < half


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("none", -0.3),
        ("noise", -0.3),
        ("beta", -0.3 + 0.5 * 2 * math.log(0.5)),
        ("gated", -0.3 * 0.5),
        ("clipped", -0.3 * 0.4),
        ("additive", -0.3 - 0.5 * 0.4),
    ],
)
def test_the_rows_of_table_4_2(kind: Sparsity, expected: float) -> None:
    clip, passed = torch.tensor(-0.3), torch.full((6,), 0.5)
    terms = objective(kind, clip, passed, target=0.4, weight=0.5)
    assert sum(terms.values()).item() == pytest.approx(expected)  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("kind", ["gated", "clipped", "additive"])
def test_emptier_is_better_below_tau_whatever_the_misprint(kind: Sparsity) -> None:
    passed = torch.full((6,), 0.5, requires_grad=True)
    sum(objective(kind, torch.tensor(-0.3), passed, target=0.8, weight=0.5).values()).backward()  # pyright: ignore[reportAttributeAccessIssue]
    assert passed.grad is not None
    assert (passed.grad < 0).all()


def test_only_one_row_perturbs_the_density() -> None:
    draws = torch.Generator().manual_seed(0)
    assert perturbed("additive", (3, 2), 1.0, draws) is None
    noise = perturbed("noise", (100, 50), 2.0, draws)
    assert noise is not None
    assert noise.std().item() == pytest.approx(2.0, rel=0.05)
