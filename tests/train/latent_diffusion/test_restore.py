"""The bundle's denoiser, float again: the graph's own outputs, and codes that come back as they were."""

import pytest
import torch

from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.errors import UserError
from tests.tolerance import ENGINE_FLOAT32
from train.latent_diffusion import restore
from train.quantize import quantize_channels


@pytest.fixture(scope="module")
def bundle() -> DiffusionBundle:
    return DiffusionBundle.load("icons", threads=1)


def test_the_restored_network_computes_what_the_graph_does(bundle: DiffusionBundle) -> None:
    network = restore.restore_denoiser(bundle)
    generator = torch.Generator().manual_seed(3)
    sample, context = torch.randn(2, 4, 16, 16, generator=generator), torch.randn(2, 17, 384, generator=generator)
    t = torch.tensor([17, 801])
    with torch.no_grad():
        ours = network(sample, t, context)
    torch.testing.assert_close(ours, bundle.denoiser()(sample, t, context), atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)


def test_restored_weights_are_codes_times_steps(bundle: DiffusionBundle) -> None:
    network = restore.restore_denoiser(bundle)
    weight = network.get_parameter("unet.mid_block.resnets.0.conv1.weight")
    codes, step = quantize_channels(weight)
    torch.testing.assert_close(codes * step, weight.detach(), atol=1e-7, rtol=1e-5)


def test_a_graph_of_another_network_is_refused(bundle: DiffusionBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bundle.read_file("text_embedder", "model.onnx")
    monkeypatch.setattr(bundle, "read_file", lambda role, file: content)
    with pytest.raises(UserError, match="its denoiser: expected that of icons, got another"):
        restore.restore_denoiser(bundle)


def test_a_network_that_computes_something_else_is_refused(
    bundle: DiffusionBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "denoiser", lambda: lambda sample, t, context: torch.zeros_like(sample))
    with pytest.raises(UserError, match="expected one that computes as that of icons, got a difference"):
        restore.restore_denoiser(bundle)
