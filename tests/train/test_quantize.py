"""Quantizers against their closed-form error bounds."""

import pytest
import torch

from train.quantize import dequantize_groups, quantize_channels, quantize_groups


@pytest.mark.parametrize(("bits", "group"), [(4, 64), (6, 64), (8, 32)])
def test_a_group_that_is_a_grid_comes_back(bits: int, group: int) -> None:
    levels = 2**bits - 1
    codes = torch.arange(group).float() % (levels + 1)
    codes[0], codes[1] = 0, levels
    weight = (codes * 0.25 - 2.0).repeat(3, 1)
    packed = quantize_groups(weight, bits=bits, group=group)
    assert packed.codes.max() <= levels
    assert torch.equal(dequantize_groups(packed), weight)


@pytest.mark.parametrize("bits", [4, 6])
def test_error_is_no_worse_than_rounding_between_the_extremes(bits: int) -> None:
    weight = torch.randn(8, 640, generator=torch.Generator().manual_seed(0))
    values = weight.reshape(-1, 64)
    step = (values.amax(1) - values.amin(1)) / (2**bits - 1)
    error = (dequantize_groups(quantize_groups(weight, bits=bits, group=64)) - weight).reshape(-1, 64)
    plain = (values - values.amin(1, keepdim=True)) / step[:, None]
    plain = (plain - plain.round()) * step[:, None]
    half_precision_of_the_step = 1.02
    assert float(error.square().sum()) <= half_precision_of_the_step * float(plain.square().sum())


def test_a_size_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a multiple of 64 values, got \(5, 7\)"):
        quantize_groups(torch.zeros(5, 7), bits=4, group=64)


def test_channels_round_to_half_a_step() -> None:
    weight = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(1)) * torch.arange(1, 7).view(-1, 1, 1, 1)
    codes, step = quantize_channels(weight)
    assert codes.dtype == torch.int8
    assert step.shape == (6, 1, 1, 1)
    assert torch.allclose(step.flatten(), weight.flatten(1).abs().amax(1) / 127)
    assert ((codes * step - weight).abs() <= 0.5 * step * (1 + 1e-5)).all()
