"""The channels-last group normalization against PyTorch's own: value, gradients, layout."""

import pytest
import torch

from tests.tolerance import FLOAT32_ROUNDING
from train.norm import ChannelsLastGroupNorm, to_channels_last


def pair(groups: int, channels: int) -> tuple[torch.nn.GroupNorm, torch.nn.Module]:
    torch.manual_seed(0)
    reference = torch.nn.GroupNorm(groups, channels)
    torch.nn.init.normal_(reference.weight)
    torch.nn.init.normal_(reference.bias)
    ours = torch.nn.GroupNorm(groups, channels)
    ours.load_state_dict(reference.state_dict())
    return reference, to_channels_last(torch.nn.Sequential(ours))[0]


@pytest.mark.parametrize("shape", [(3, 12, 5, 4), (2, 12, 7), (1, 12, 1, 1)])
def test_value_and_gradients_are_those_of_pytorch(shape: tuple[int, ...]) -> None:
    reference, ours = pair(4, 12)
    assert isinstance(ours, ChannelsLastGroupNorm)
    values = torch.randn(shape) * 2 + 0.5
    slope = torch.randn(shape)
    results = []
    for norm in (reference, ours):
        leaf = values.clone().requires_grad_()
        output = norm(leaf)
        results.append((output, *torch.autograd.grad(output, [leaf, norm.weight, norm.bias], slope)))
    for expected, got in zip(*results, strict=True):
        assert got.shape == expected.shape
        assert torch.allclose(got, expected, atol=10 * FLOAT32_ROUNDING)


def test_gradients_match_finite_differences() -> None:
    _, ours = pair(2, 4)
    ours.double()
    values = torch.randn(2, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    # The sums are taken in float32, whose rounding over a step of 1e-2 is 1e-5 of the difference.
    assert torch.autograd.gradcheck(ours, (values,), eps=1e-2, atol=2e-3, rtol=2e-3)


def test_bfloat16_is_as_near_to_the_truth_as_pytorchs() -> None:
    reference, ours = pair(16, 96)
    values = torch.randn(4, 96, 16, 16).contiguous(memory_format=torch.channels_last)
    truth = reference(values)
    with torch.autocast("cpu", torch.bfloat16):
        theirs, got = reference(values.bfloat16()), ours(values.bfloat16())
    assert got.dtype == torch.bfloat16
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert (got.float() - truth).square().mean() < 2 * (theirs.float() - truth).square().mean() + 1e-6
