"""The bundle's denoiser and autoencoder, float again: the graphs' outputs, codes as they were."""

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


def test_the_restored_autoencoder_computes_what_the_graphs_do(bundle: DiffusionBundle) -> None:
    network = restore.restore_autoencoder(bundle)
    latents = 0.5 * torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        pictures = network.decode(latents / bundle.latent_scale).clamp(0.0, 1.0)
        encoded = bundle.latent_scale * network.moments(pictures)[0]
    expected = bundle.latent_decoder()(latents)
    torch.testing.assert_close(pictures, expected, atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)
    expected = bundle.latent_encoder("none")(pictures)
    torch.testing.assert_close(encoded, expected, atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)


def test_an_autoencoder_of_another_kind_is_refused(bundle: DiffusionBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    read_file = bundle.read_file
    content = bundle.read_file("text_embedder", "model.onnx")
    monkeypatch.setattr(
        bundle, "read_file", lambda role, file: content if file == "model.onnx" else read_file(role, file)
    )
    with pytest.raises(UserError, match="its latent encoder and decoder: expected those of icons, got others"):
        restore.restore_autoencoder(bundle)
    monkeypatch.undo()
    monkeypatch.setattr(bundle, "latent_decoder", lambda: lambda latents: torch.zeros(len(latents), 3, 128, 128))
    with pytest.raises(UserError, match="expected ones that compute as those of icons, got a difference"):
        restore.restore_autoencoder(bundle)
