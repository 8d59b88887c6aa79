"""Normalization by kernels of Triton on a card, beside PyTorch's own in float64."""

import os
import subprocess
import sys
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runtime.engines.twins.fused.norm import (
    PROGRAMS,
    FusedNorm,
    _shape,
    _split,
    attend,
    fuse_norms,
    group_norm,
    has_triton,
)

SIZES = [(2, 32, 9, 7, 8), (1, 128, 150, 133, 32), (1, 24, 5, 5, 6), (1, 512, 16, 16, 32)]
"""Pictures, channels, rows, columns, groups; some fill no tile."""


def normalization(channels: int, groups: int) -> nn.GroupNorm:
    norm = nn.GroupNorm(groups, channels, 1e-6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm.requires_grad_(False)


def value_and_gradient(function, x: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    value = function(leaf)
    return value.detach(), torch.autograd.grad(value, leaf, upstream.to(value))[0]


@pytest.mark.gpu
@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_kernels_normalize_as_pytorch_does(size: tuple[int, ...], silu: bool) -> None:
    *shape, groups = size
    norm, x, upstream = normalization(shape[1], groups), 2 * torch.randn(shape) + 1, torch.randn(shape)
    wide = nn.GroupNorm(groups, shape[1], 1e-6).double()
    wide.load_state_dict(norm.state_dict())
    expected = value_and_gradient(lambda z: F.silu(wide(z)) if silu else wide(z), x.double(), upstream.double())
    norm = norm.cuda()
    for dtype, bound in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        given = x.to("cuda", dtype)
        run = lambda z: group_norm(z, norm, silu=silu)  # noqa: E731
        first = value_and_gradient(run, given, upstream.cuda())
        second = value_and_gradient(run, given, upstream.cuda())
        for a, b, c in zip(first, second, expected, strict=True):
            assert a.dtype == dtype and torch.equal(a, b)
            assert (a.cpu().double() - c).norm() <= bound * c.norm()


@pytest.mark.gpu
def test_a_wide_head_attends_by_products_as_by_the_fused_kernel() -> None:
    query, key, value = (torch.randn(1, 1, 70, 512, dtype=torch.float64) for _ in range(3))
    expected = F.scaled_dot_product_attention(query, key, value)
    got = attend(*(tensor.cuda() for tensor in (query, key, value)))
    assert (got.cpu() - expected).abs().max() < 1e-12


def test_a_processor_keeps_to_pytorch() -> None:
    norm, x = normalization(16, 4), torch.randn(2, 16, 3, 5)
    assert torch.equal(group_norm(x, norm), F.silu(norm(x)))
    assert torch.equal(group_norm(x, norm, silu=False), norm(x))


@pytest.mark.parametrize("pixels", [1, 31, 32, 4096, 512 * 512, 1024 * 1024])
@pytest.mark.parametrize("channels", [3, 128, 512])
def test_programs_share_all_pixels(pixels: int, channels: int) -> None:
    lanes, tile = _shape(channels)
    programs, rows = _split(pixels, tile)
    assert lanes >= channels and rows % tile == 0
    assert programs <= PROGRAMS and (programs - 1) * rows < pixels <= programs * rows


def test_normalizations_of_a_network_are_replaced_in_place() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), normalization(8, 4), nn.SiLU(), nn.GroupNorm(2, 8)).double()
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    expected, weights = network(x), dict(network.state_dict())
    fused = fuse_norms(network)
    assert [type(module) for module in fused] == [nn.Conv2d, FusedNorm, nn.SiLU, FusedNorm]  # pyright: ignore
    assert torch.equal(fused(x), expected)
    assert all(torch.equal(weights[name], tensor) for name, tensor in fused.state_dict().items())


@pytest.mark.gpu
@pytest.mark.usefixtures("whole_factors")
def test_normalizations_of_a_network_agree_on_a_card() -> None:
    network = nn.Sequential(nn.Conv2d(3, 64, 3), normalization(64, 32), nn.SiLU()).requires_grad_(False)
    x = torch.randn(2, 3, 16, 17).to(memory_format=torch.channels_last)
    expected = network(x)
    for dtype, bound in ((torch.float32, 1e-5), (torch.float16, 5e-3)):
        got = fuse_norms(network).to("cuda", dtype)(x.to("cuda", dtype))
        assert (got.cpu().float() - expected).norm() <= bound * expected.norm()


INTERPRETED = """
import torch
from tests.engines.twins.test_fused import interpreted
interpreted()
"""


def interpreted() -> None:
    """Hold the kernels beside PyTorch; Triton's interpreter runs them on the CPU, block by block."""
    from runtime.engines.twins.fused import norm as module

    module.ELEMENTS, module.PROGRAMS = 256, 4  # several tiles a program, several programs a picture
    for silu, (*shape, groups) in product((False, True), [(2, 32, 9, 7, 8), (1, 24, 5, 5, 6)]):
        norm, upstream = normalization(shape[1], groups), torch.randn(shape)
        x = (2 * torch.randn(shape) + 1).contiguous(memory_format=torch.channels_last)
        plain = lambda z: F.silu(norm(z)) if silu else norm(z)  # noqa: B023, E731
        kernels = lambda z: module._Fused.apply(z, norm.weight, norm.bias, groups, norm.eps, silu)  # noqa: B023, E731
        pairs = zip(*(value_and_gradient(run, x, upstream) for run in (kernels, plain)), strict=True)
        assert all((a - b).norm() <= 1e-5 * b.norm() for a, b in pairs)


@pytest.mark.skipif(not has_triton(), reason="needs Triton")
def test_interpreted_kernels_normalize_as_pytorch_does() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
