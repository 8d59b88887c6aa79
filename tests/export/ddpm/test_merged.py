"""What is multiplied out of a network's weights leaves its function as it was, and its operations fewer."""

from typing import TypeVar

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from export.ddpm import make_networks
from export.ddpm.merged import MergedAttention, PhasedUpsample, merge
from export.ddpm.source import Source
from export.write.network import network_files
from runtime.engines.backends.ort import OrtEngine
from runtime.engines.precision import Storage
from tests.tolerance import ENGINE_FLOAT32, FLOAT32_ROUNDING
from tests.train.ddpm.test_network import drawn, inputs
from train.ddpm.network import Architecture, Attention, Upsample

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def disturb(module: ModuleT) -> ModuleT:
    """Give all weights values of order one or less, those of norms and all biases too: zeros would hide mistakes."""
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape) + (0.5 if weight.ndim == 1 else 0.0))
    return module.double().eval().requires_grad_(False)


def test_two_projections_do_what_four_did() -> None:
    attention = disturb(Attention(16, 4))
    merged = MergedAttention(attention).double()
    x = torch.randn(3, 16, 5, 7, dtype=torch.float64)
    expected = attention(x)
    assert (expected - x).abs().max() > 1.0
    # the products are rounded to float32
    assert (merged(x) - expected).abs().max() < FLOAT32_ROUNDING * expected.abs().max()
    layers = [layer for layer in merged.modules() if isinstance(layer, nn.Conv2d)]
    assert sum(layer.weight.numel() for layer in layers) == 2 * 16**2


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4), (5, 3)])
def test_four_phases_are_the_convolution_of_the_repeated_map(height: int, width: int) -> None:
    upsample = disturb(Upsample(6))
    x = torch.randn(2, 6, height, width, dtype=torch.float64)
    expected = upsample(x)
    merged = PhasedUpsample(upsample).double()(x)
    assert merged.shape == expected.shape
    assert (merged - expected).abs().max() < FLOAT32_ROUNDING * expected.abs().max()


def test_a_network_is_the_same_function_and_is_left_as_it_was() -> None:
    network = drawn()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    merged = merge(network)
    kinds = [type(module).__name__ for module in merged.modules()]
    assert "Attention" not in kinds and "Upsample" not in kinds
    assert kinds.count("MergedAttention") == 6 and kinds.count("PhasedUpsample") == 2
    sample, t = inputs()
    with torch.no_grad():
        expected = network(sample, t)
        assert (merged(sample, t) - expected).abs().max() < FLOAT32_ROUNDING * expected.abs().max()
    assert set(network.state_dict()) == set(before)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(weight.requires_grad for weight in merged.parameters())


def test_what_is_exported_is_the_merged_network() -> None:
    network = drawn().requires_grad_(False)
    exported = make_networks(Source(network=network, data="none", provenance=""), Storage.FLOAT32)["denoiser"]
    files = network_files(exported)
    engine = OrtEngine(files.spec, files.files["model.onnx"], threads=1)
    sample, t = inputs()
    expected = network(sample, t)
    assert (engine(sample, t)[0] - expected).abs().max() < ENGINE_FLOAT32 * expected.abs().max()
    one = engine(sample[:1], t[:1])[0]
    assert (one - expected[:1]).abs().max() < ENGINE_FLOAT32 * expected.abs().max()


def test_operations_are_fewer() -> None:
    architecture = Architecture(size=16, widths=(16, 32), blocks=1, attention=(8,), dropout=0.0, groups=8)
    network = drawn(architecture)
    counts = []
    for module in (network, merge(network)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(*inputs())
        counts.append(counter.get_total_flops())
    # One upsampling at 3 pictures: 20 of 36 products a position of the small map; four attentions: half of 4 layers.
    upsampling = 3 * 2 * 20 * 8 * 8 * 32 * 32
    attention = 4 * 3 * 2 * 2 * 8 * 8 * 32 * 32
    assert counts[0] - counts[1] == upsampling + attention
