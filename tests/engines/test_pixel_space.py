from pathlib import Path

import torch

from runtime.engines.bundle import DiffusionBundle
from runtime.engines.pixel_space import NO_CONTEXT, Unconditional, decode_pixels, encode_grey, encode_pixels
from runtime.engines.protocols import Denoiser, LatentDecoder, LatentEncoder
from tests.bundles import make_pixel_bundle


def test_pictures_are_brought_to_the_range_of_the_models_and_back() -> None:
    images = torch.rand(2, 3, 4, 4)
    z = encode_pixels(images)
    assert torch.equal(z, 2 * images - 1)
    assert torch.allclose(decode_pixels(z), images, atol=1e-7)
    assert torch.equal(decode_pixels(torch.full((1, 3, 1, 1), 1.5)), torch.ones(1, 3, 1, 1))
    assert torch.allclose(encode_grey(images), 2 * images.mean(1, keepdim=True) - 1, atol=1e-6)


def test_the_gradient_passes_as_it_is() -> None:
    images = torch.rand(1, 3, 2, 2, requires_grad=True)
    cotangent = torch.randn(1, 3, 2, 2)
    (gradient,) = torch.autograd.grad(encode_pixels(images), images, cotangent)
    assert torch.equal(gradient, 2 * cotangent)


def test_what_reads_no_context_is_given_one() -> None:
    denoise = Unconditional(lambda z, t: z * t.view(-1, 1, 1, 1))
    z, t = torch.rand(2, 3, 4, 4), torch.tensor([1, 2])
    assert isinstance(denoise, Denoiser)
    assert torch.equal(denoise(z, t, NO_CONTEXT.expand(2, -1, -1)), z * torch.tensor([1.0, 2.0]).view(-1, 1, 1, 1))


def test_a_bundle_without_an_autoencoder_works_in_pixels(tiny_folder: Path, tmp_path: Path) -> None:
    assert not DiffusionBundle.load(tiny_folder).in_pixels
    bundle = DiffusionBundle.load(make_pixel_bundle(tmp_path / "pixels"))
    assert bundle.in_pixels
    assert not bundle.capturable
    for gradients in ("auto", "torch", "engine", "none"):
        encode = bundle.latent_encoder(gradients=gradients)
        assert isinstance(encode, LatentEncoder)
        assert torch.equal(encode(torch.ones(1, 3, 16, 16)), torch.ones(1, 3, 16, 16))
    decode = bundle.latent_decoder()
    assert isinstance(decode, LatentDecoder)
    assert torch.equal(decode(torch.zeros(1, 3, 16, 16)), torch.full((1, 3, 16, 16), 0.5))
    predicted = bundle.denoiser()(torch.zeros(1, 3, 16, 16), torch.tensor([5]), bundle.text_encoder()(["a cat"]))
    assert predicted.shape == (1, 3, 16, 16)
