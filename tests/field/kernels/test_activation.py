"""Opacity by polynomials against the library's functions."""

import numpy as np
import torch
from torch.nn import functional

from runtime.field.kernels.activation import exp2, log2_of_one_and, opacity
from runtime.field.volume import opacity as twin
from runtime.kernels.jit import entry


@entry
def powers(x, out):
    for i in range(len(x)):
        out[i] = exp2(x[i])


@entry
def logarithms(z, out):
    for i in range(len(z)):
        out[i] = log2_of_one_and(z[i])


@entry
def opacities(raw, length, out):
    for i in range(len(raw)):
        alpha, slope = opacity(raw[i], length)
        out[i, 0] = alpha
        out[i, 1] = slope


def test_powers_are_right_to_two_units_in_the_last_place() -> None:
    x = np.concatenate([np.linspace(-126, 0, 200_001), [-0.5, -1.5, -1e-7]]).astype(np.float32)
    out = np.empty_like(x)
    powers(x, out)
    assert np.abs(out / np.exp2(x.astype(np.float64)) - 1).max() < 2.4e-7
    powers(np.float32([-200, -1e9]), out)
    assert out[:2].max() < 2e-38


def test_logarithms_are_right_to_two_units_in_the_last_place() -> None:
    z = np.linspace(0, 1, 100_001).astype(np.float32)[1:]
    out = np.empty_like(z)
    logarithms(z, out)
    assert np.abs(out / (np.log1p(z.astype(np.float64)) / np.log(2)) - 1).max() < 3e-7


def test_opacity_and_slope_over_the_whole_range() -> None:
    raw = np.linspace(-12, 60, 40_001).astype(np.float32)
    for length in (1e-3, 0.25, 8.0):
        out = np.empty((len(raw), 2), np.float32)
        opacities(raw, np.float32(length), out)
        exact = torch.from_numpy(raw).double().requires_grad_()
        density = functional.softplus(exact)
        alpha = twin(density, length).detach().numpy()
        (slope,) = torch.autograd.grad(density.sum(), exact)
        # Relative to its own size: a thin sample keeps its digits.
        assert np.abs(out[:, 0] / alpha - 1).max() < 1e-6
        assert np.abs(out[:, 1] / slope.numpy() - 1).max() < 1e-6
