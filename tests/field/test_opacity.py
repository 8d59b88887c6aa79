import math

import pytest
import torch

from runtime.field.lifting.hull import Hull
from runtime.field.opacity import alpha_entropy, entropy_and_misplaced, misplaced, opacity_penalty
from tests.tolerance import FIELD_TWIN_VJP


def test_opacity_is_a_rounded_mean() -> None:
    alpha = torch.tensor([0.0, 0.3, 1.0])
    assert opacity_penalty(alpha).item() == pytest.approx((0.1 + math.sqrt(0.1) + math.sqrt(1.01)) / 3)
    # Of nothing the slope is nothing: an empty ray is not pushed.
    zero = torch.zeros(4, requires_grad=True)
    opacity_penalty(zero).backward()
    assert zero.grad is not None and zero.grad.abs().max() == 0


def test_entropy_is_one_bit_at_most_and_nothing_at_the_ends() -> None:
    assert alpha_entropy(torch.tensor([0.5])).item() == pytest.approx(1.0)
    assert alpha_entropy(torch.tensor([0.25])).item() == pytest.approx(2 - 0.75 * math.log2(3), rel=1e-5)
    ends = torch.tensor([0.0, 1.0], requires_grad=True)
    value = alpha_entropy(ends)
    value.backward()
    assert 0 <= value.item() < 1e-3
    assert ends.grad is not None and ends.grad.abs().max() == 0


def test_light_is_misplaced_inside_and_missed_outside() -> None:
    transmittance = torch.tensor([0.2, 0.5, 0.9, 0.3], requires_grad=True)
    inside, outside = torch.tensor([True, True, False, False]), torch.tensor([False, False, True, False])
    value = misplaced(transmittance, inside, outside)
    value.backward()
    assert value.item() == pytest.approx((0.2 + 0.5 + 0.1) / 4)
    assert transmittance.grad is not None and transmittance.grad.tolist() == [0.25, 0.25, -0.25, 0.0]


def test_both_terms_at_once_are_those_one_by_one() -> None:
    draws = torch.Generator().manual_seed(3)
    transmittance = torch.rand(500, generator=draws)
    # Rays that pass whole, and that end: beyond the clamp nothing moves.
    transmittance[:100], transmittance[100:150] = 1.0, 0.0
    transmittance.requires_grad_()
    inside = torch.rand(500, generator=draws) < 0.4
    outside = ~inside & (torch.rand(500, generator=draws) < 0.5)
    single = (alpha_entropy(1 - transmittance), misplaced(transmittance, inside, outside))
    both = entropy_and_misplaced(transmittance, Hull(inside, outside))
    for one, other in zip(both, single, strict=True):
        assert math.isclose(one.item(), other.item(), rel_tol=1e-5)
    exact, ours = (
        torch.autograd.grad(0.3 * entropy + 2 * place, transmittance)[0] for entropy, place in (single, both)
    )
    assert torch.allclose(ours, exact, atol=FIELD_TWIN_VJP * float(exact.abs().max()), rtol=0)
    entropy, place = entropy_and_misplaced(transmittance, None)
    assert entropy.item() == both[0].item()
    assert place.item() == 0
