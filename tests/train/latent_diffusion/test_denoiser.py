"""Which pictures the denoiser is trained on, and how often."""

import numpy as np
import pytest
import torch

from train.latent_diffusion.denoiser import noise_loss, weigh_rows

ARCHIVE = {
    "concepts": np.array(["red-apple", "red-apple", "red-apple", "red-apple", "man"]),
    "sets": np.array(["noto", "twemoji", "noto", "noto", "noto"]),
    "kinds": np.array(["plain", "plain", "mirrored", "pair", "plain"]),
}


def test_people_pairs_and_changed_pictures_are_drawn_less_often() -> None:
    torch.testing.assert_close(weigh_rows(ARCHIVE), torch.tensor([1.0, 1.0, 0.7, 0.35, 0.3]))


def test_pictures_of_the_favoured_set_are_drawn_four_times_as_often() -> None:
    torch.testing.assert_close(weigh_rows(ARCHIVE, "noto"), torch.tensor([4.0, 1.0, 2.8, 1.4, 1.2]))


def test_an_unknown_set_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"expected one of noto, twemoji, got 'crayon'"):
        weigh_rows(ARCHIVE, "crayon")


def test_the_loss_of_noise_weighs_times_by_their_snr() -> None:
    """A network that predicts nothing has the mean square of the noise, times min(SNR, 5) / SNR of each time."""
    generator = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, 3, 4, 8, 8, generator=generator)
    t = torch.tensor([0, 500, 999])
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = np.cumprod(1.0 - betas)[t.numpy()]
    weights = np.minimum(kept / (1.0 - kept), 5.0) / (kept / (1.0 - kept))
    expected = (weights * noise.square().mean((1, 2, 3)).numpy()).mean()
    seen = {}

    def predict(noised: torch.Tensor, times: torch.Tensor, contexts: torch.Tensor) -> torch.Tensor:
        seen["noised"] = noised
        return torch.zeros_like(noised)

    loss = noise_loss(predict, latents, torch.zeros(3, 17, 384), t, noise)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert weights[0] < 0.01 and weights[1] == weights[2] == 1.0
    a = torch.from_numpy(kept).float()[:, None, None, None]
    torch.testing.assert_close(seen["noised"], a.sqrt() * latents + (1.0 - a).sqrt() * noise)
