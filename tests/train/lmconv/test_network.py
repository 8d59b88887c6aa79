"""The network is autoregressive in every order, and its parts are those of the thesis."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from runtime.errors import UserError
from runtime.pixels.orders import curve_order, maximum_context_order, ranks
from runtime.pixels.regions import hidden_region
from tests.tolerance import FLOAT32_ROUNDING
from train.lmconv.layer import use_method
from train.lmconv.network import PRESETS, Architecture, LocallyMaskedPixelCNN
from train.lmconv.pointwise import concat_elu, gate, positional_norm

TINY = Architecture(filters=6, blocks=1, mask_conditioning=True)
COLOUR = replace(TINY, channels=3, levels=8, mixtures=2)


def network_of(architecture: Architecture) -> LocallyMaskedPixelCNN:
    torch.manual_seed(0)
    network = LocallyMaskedPixelCNN(architecture)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.double()


def orders(size: tuple[int, int]) -> dict[str, np.ndarray]:
    pixels = size[0] * size[1]
    found = {f"s-curve:{v}": curve_order("s-curve", size, v) for v in range(8)}
    found |= {name: curve_order(name, size) for name in ("raster", "hilbert")}
    found["user"] = np.random.default_rng(5).permutation(pixels)
    for region in ("top", "centre"):
        found[f"context {region}"] = maximum_context_order(found["s-curve:0"], hidden_region(region, size))
    return found


@pytest.mark.parametrize("architecture", [TINY, COLOUR])
@pytest.mark.parametrize("name", orders((4, 4)))
def test_no_output_depends_on_its_own_pixel_or_a_later_one(name: str, architecture: Architecture) -> None:
    size = (4, 5)
    network, order = network_of(architecture), orders(size)[name]
    masks, when = network.masks(order, size), torch.from_numpy(ranks(order))
    picture = torch.randn(1, architecture.channels, *size, dtype=torch.float64, requires_grad=True)
    parameters = network(picture, masks).flatten(1, 2)[0]
    reached = 0
    for pixel in range(20):
        (slope,) = torch.autograd.grad(parameters[pixel].sin().sum(), picture, retain_graph=True)
        slope = slope.flatten(2)[0]
        assert (slope[:, when >= when[pixel]] == 0).all()
        reached += int((slope[:, when < when[pixel]] != 0).any(0).sum())
    if "s-curve" in name:
        assert reached == 190  # no blind spot: every output reads every earlier pixel


@pytest.mark.parametrize("name", ["s-curve:3", "hilbert", "user"])
def test_a_changed_pixel_changes_no_earlier_output_by_a_bit(name: str) -> None:
    size = (6, 7)
    network, order = network_of(TINY).float(), orders(size)[name]
    masks = network.masks(order, size)
    picture = torch.randn(1, 1, *size)
    other = picture.clone()
    other.view(-1)[order[20]] += 1.0
    a, b = (network(p, masks).flatten(1, 2)[0] for p in (picture, other))
    assert torch.equal(a[order[:21]], b[order[:21]])
    assert not torch.equal(a[order[21:]], b[order[21:]])


@pytest.mark.parametrize("name", ["s-curve:5", "hilbert"])
def test_all_methods_of_the_layer_make_the_same_network(name: str) -> None:
    size = (6, 5)
    network, picture = network_of(COLOUR).float(), torch.rand(2, 3, 6, 5)
    masks = network.masks(orders(size)[name], size)
    expected = use_method(network, "plain")(picture, masks)
    for method in ("saved", "grouped"):
        got = use_method(network, method)(picture, masks)
        assert torch.allclose(got, expected, atol=10 * FLOAT32_ROUNDING * float(expected.detach().abs().max()))


def test_the_stages_can_be_walked_one_position_at_a_time() -> None:
    """What a cached sampler does: features of each position once, in the order, from those kept of earlier ones."""
    size, network = (3, 4), network_of(COLOUR)
    order = curve_order("hilbert", size, 2)
    masks = network.masks(order, size)
    picture = torch.rand(2, 3, 3, 4, dtype=torch.float64)
    expected = network(picture, masks).flatten(1, 2)
    kept = [torch.zeros(2, 12, stage.conv.weight.shape[1], dtype=torch.float64) for stage in network.stages]
    for position in order.tolist():
        state = network.begin(picture.flatten(2)[:, :, position])
        for stage, cache in zip(network.stages, kept, strict=True):
            cache[:, position] = stage.before(state)
            mask = masks[stage.conv.mask_key]
            whole = stage.conv(cache.transpose(1, 2).unflatten(2, size), mask)
            stage.after(state, whole.flatten(2)[:, :, position])
        assert torch.allclose(network.finish(state), expected[:, position], atol=1e-10)


def test_presets_have_the_sizes_of_the_thesis() -> None:
    with torch.device("meta"):
        sizes = {name: sum(p.numel() for p in LocallyMaskedPixelCNN(Architecture(**kw)).parameters())
                 for name, kw in PRESETS.items()}  # fmt: skip
    assert 45.5e6 < sizes["thesis-46m"] < 46.5e6
    assert 183e6 < sizes["celeba-184m"] < 185e6
    assert sizes["small"] * 2 <= 6 * 2**20


def test_functions_of_positions_are_those_of_their_formulas() -> None:
    x = torch.randn(3, 4, 8, dtype=torch.float64, requires_grad=True)
    elu = torch.nn.functional.elu
    assert torch.allclose(concat_elu(x), torch.cat((elu(x), elu(-x)), -1), atol=1e-12)
    assert torch.autograd.gradcheck(concat_elu, x)
    normed = positional_norm(x)
    assert torch.allclose(normed.mean(-1), torch.zeros(3, 4, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(normed.var(-1, correction=0), torch.ones(3, 4, dtype=torch.float64), atol=1e-3)
    both = torch.randn(3, 4, 16, dtype=torch.float64, requires_grad=True)
    expected = x + positional_norm(both[..., :8]) * torch.sigmoid(both[..., 8:])
    assert torch.allclose(gate(x, both), expected, atol=1e-12)
    assert torch.autograd.gradcheck(gate, (x, both))


def test_pictures_with_other_channels_are_refused() -> None:
    network = network_of(TINY)
    masks = network.masks(curve_order("raster", (4, 4)), (4, 4))
    with pytest.raises(UserError, match=r"expected \(B, 1, H, W\), got \(2, 3, 4, 4\)"):
        network(torch.zeros(2, 3, 4, 4, dtype=torch.float64), masks)
    with pytest.raises(UserError, match="over 4 x 5 pixels"):
        network(torch.zeros(2, 1, 4, 5, dtype=torch.float64), masks)
    with pytest.raises(UserError, match="permutation"):
        network.masks(np.zeros(16, np.int64), (4, 4))
