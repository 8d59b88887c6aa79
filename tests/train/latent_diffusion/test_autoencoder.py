"""The autoencoder: what its loss is."""

import pytest
import torch

from train.latent_diffusion.autoencoder import reconstruction_loss


def test_the_loss_counts_values_and_edges() -> None:
    target, output = torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 2, 3)
    output[..., 2] = 3.0
    # |error| is 3 in a third of the pixels; of 2x2 differences along a row half are 3; along columns none.
    assert float(reconstruction_loss(target, output, edges=2.0)) == pytest.approx(1.0 + 1.5)
