"""PSNR and SSIM against closed forms and scikit-image."""

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from runtime.field.quality import psnr, ssim


def pictures(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    truth = torch.rand(21, 17, 3, generator=draws)
    return (truth + 0.1 * torch.randn(21, 17, 3, generator=draws)).clamp(0, 1), truth


def test_a_constant_error_has_a_closed_form() -> None:
    truth = torch.full((8, 8, 3), 0.5)
    assert math.isclose(psnr(truth + 0.1, truth), 20.0, rel_tol=1e-5)
    assert psnr(truth, truth) == math.inf
    assert math.isclose(ssim(truth, truth), 1.0)


@pytest.mark.parametrize("seed", [0, 1])
def test_both_equal_scikit_image(seed: int) -> None:
    picture, truth = pictures(seed)
    x, y = picture.double().numpy(), truth.double().numpy()
    assert math.isclose(psnr(picture, truth), peak_signal_noise_ratio(y, x, data_range=1.0), rel_tol=1e-9)
    expected = structural_similarity(x, y, channel_axis=-1, data_range=1.0)
    assert math.isclose(ssim(picture, truth), float(expected), rel_tol=1e-9)
