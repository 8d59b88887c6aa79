"""The autoencoder: what its loss is, and a decoder that is trained on while the latents stay as they are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from train.latent_diffusion import autoencoder
from train.latent_diffusion.autoencoder import load, reconstruction_loss


def test_the_loss_counts_values_and_edges() -> None:
    target, output = torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 2, 3)
    output[..., 2] = 3.0
    # |error| is 3 in a third of the pixels; of 2x2 differences along a row half are 3; along columns none.
    assert float(reconstruction_loss(target, output, edges=2.0)) == pytest.approx(1.0 + 1.5)


def test_a_decoder_is_trained_on_and_the_latents_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), dtype=np.uint8)
    np.savez(tmp_path / "icons.npz", pictures=pictures)

    def train(*options: str) -> None:
        arguments = ["autoencoder", "--data", str(tmp_path / "icons.npz"), "--batch", "2", *options]
        monkeypatch.setattr("sys.argv", arguments)
        autoencoder.main()

    train("--out", str(tmp_path / "whole"), "--steps", "1")
    train("--out", str(tmp_path / "on"), "--steps", "2", "--decoder-of", str(tmp_path / "whole"))
    before, after = load(tmp_path / "whole").state_dict(), load(tmp_path / "on").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[1] for name in changed} == {"decoder", "post_quant_conv"}
    assert "vae.decoder.conv_out.weight" in changed
