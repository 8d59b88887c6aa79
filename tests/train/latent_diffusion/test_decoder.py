"""A decoder that is trained on: whose gradients are whose, and the latents stay as they are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from tests.tolerance import FLOAT32_ROUNDING
from train.latent_diffusion import decoder
from train.latent_diffusion.autoencoder import IconAutoencoder, load, reconstruction_loss
from train.latent_diffusion.decoder import MATCHING, Discriminator, Training, crisp_loss


class Painted(IconAutoencoder):
    """An autoencoder whose decoder paints the same picture whatever the latents."""

    def __init__(self, picture: Tensor) -> None:
        nn.Module.__init__(self)  # without the networks
        self.picture = nn.Parameter(picture)
        self.vae = nn.Module()
        self.vae.encoder, self.vae.quant_conv = nn.Identity(), nn.Identity()

    def decode(self, latents: Tensor) -> Tensor:
        return self.picture + 0.0 * latents.sum()


def painted() -> tuple[Training, Tensor]:
    torch.manual_seed(0)
    picture, icon = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    return Training(Painted(picture)), icon  # pyright: ignore


def gradients(training: Training, icon: Tensor, crisp: float) -> tuple[float, Tensor]:
    training.zero_grad()
    loss = crisp_loss(training, torch.zeros(2, 4, 4, 4), icon, edges=1.0, crisp=crisp)
    loss.backward()
    return loss.item(), training.autoencoder.picture.grad.clone()  # pyright: ignore


def test_without_a_discriminator_it_is_the_reconstruction_loss() -> None:
    training, icon = painted()
    loss, _ = gradients(training, icon, 0.0)
    assert loss == pytest.approx(reconstruction_loss(icon, training.autoencoder.picture, 1.0).item())  # pyright: ignore
    assert all(p.grad is None for p in training.discriminator.parameters())


def test_the_discriminator_pulls_the_picture_by_its_share_of_the_norm() -> None:
    training, icon = painted()
    _, own = gradients(training, icon, 0.0)
    _, both = gradients(training, icon, 0.7)
    picture = training.autoencoder.picture.detach().requires_grad_()  # pyright: ignore
    real, drawn = training.discriminator(icon), training.discriminator(picture)
    apart = sum((a - b.detach()).abs().mean() for a, b in zip(drawn[:-1], real[:-1], strict=True))
    wanted = torch.autograd.grad(MATCHING * apart - drawn[-1].mean(), picture)[0]
    assert float((both - own).norm() / own.norm()) == pytest.approx(0.7, rel=1e-3)
    assert float(F.cosine_similarity((both - own).flatten(), wanted.flatten(), dim=0)) > 1.0 - FLOAT32_ROUNDING


def test_the_discriminator_learns_by_the_hinge_alone() -> None:
    training, icon = painted()
    gradients(training, icon, 0.7)
    found = [p.grad.clone() for p in training.discriminator.parameters()]  # pyright: ignore
    training.zero_grad()
    real, drawn = training.discriminator(icon), training.discriminator(training.autoencoder.picture.detach())  # pyright: ignore
    (F.relu(1.0 - real[-1]).mean() + F.relu(1.0 + drawn[-1]).mean()).backward()
    for ours, parameter in zip(found, training.discriminator.parameters(), strict=True):
        assert torch.allclose(ours, parameter.grad, atol=FLOAT32_ROUNDING)  # pyright: ignore


def test_verdicts_are_of_patches() -> None:
    torch.manual_seed(0)
    found = Discriminator()(torch.rand(2, 3, 128, 128))
    assert [tuple(f.shape) for f in found] == [(2, 64, 32, 32), (2, 128, 16, 16), (2, 128, 16, 16), (2, 1, 16, 16)]


def test_a_decoder_is_trained_on_and_the_latents_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = np.random.default_rng(0)
    np.savez(tmp_path / "icons.npz", pictures=draws.integers(0, 256, (4, 128, 128, 3), dtype=np.uint8))
    torch.manual_seed(0)
    for name in ("whole", "denoiser"):
        (tmp_path / name).mkdir()
    save_file(
        {k: v.contiguous() for k, v in IconAutoencoder().state_dict().items()}, tmp_path / "whole/ema.safetensors"
    )
    prepared = {"latents": torch.randn(4, 4, 16, 16), "latent_scale": torch.tensor(0.5), "weights": torch.ones(4)}
    save_file(prepared, tmp_path / "denoiser" / "prepared.safetensors")
    folders = {"data": "icons.npz", "prepared": "denoiser", "autoencoder": "whole", "out": "on"}
    arguments = [part for name, path in folders.items() for part in (f"--{name}", str(tmp_path / path))]
    monkeypatch.setattr("sys.argv", ["decoder", *arguments, "--steps", "2", "--batch", "2"])
    decoder.main()
    before, after = load(tmp_path / "whole").state_dict(), load(tmp_path / "on").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[1] for name in changed} == {"decoder", "post_quant_conv"}
    assert "vae.decoder.conv_out.weight" in changed
