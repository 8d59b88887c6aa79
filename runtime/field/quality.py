"""How near a picture is to the truth: PSNR and SSIM."""

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

WINDOW = 7
"""Side of SSIM's window in pixels, as in scikit-image up to 0.17, which the published tables were made with."""


def psnr(picture: Float[Tensor, "*S"], truth: Float[Tensor, "*S"]) -> float:
    """Return the peak signal-to-noise ratio in dB of values in [0, 1]; infinite for equal ones."""
    error = (picture.double() - truth.double()).square().mean().item()
    return -10 * math.log10(error) if error > 0 else math.inf


def ssim(picture: Float[Tensor, "H W 3"], truth: Float[Tensor, "H W 3"]) -> float:
    """Return the structural similarity of pictures in [0, 1], at least 7 x 7 pixels (Wang et al. 2004).

    Uniform windows, sample covariances, mean over channels: `skimage.metrics.structural_similarity` with
    `channel_axis=-1, data_range=1`.
    """
    x = picture.double().permute(2, 0, 1)[None]
    y = truth.double().permute(2, 0, 1)[None]

    def mean(values: Tensor) -> Tensor:
        return functional.avg_pool2d(values, WINDOW, stride=1)

    count = WINDOW * WINDOW
    sample = count / (count - 1)
    mean_x, mean_y = mean(x), mean(y)
    var_x = sample * (mean(x * x) - mean_x * mean_x)
    var_y = sample * (mean(y * y) - mean_y * mean_y)
    covariance = sample * (mean(x * y) - mean_x * mean_y)
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x.square() + mean_y.square() + c1) * (var_x + var_y + c2))
    return similarity.mean().item()
