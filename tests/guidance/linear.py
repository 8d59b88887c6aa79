"""The paper's schedule, and the exact denoisers of normal data and of a mixture, in float64.

Data N(m, s^2) make z_t normal with mean alpha m and variance alpha^2 s^2 + sigma^2, and the noise expected in z_t is
sigma (z_t - alpha m) / (alpha^2 s^2 + sigma^2). That of a mixture is the mean of its parts', weighted by how probable
each is given z_t.
"""

import torch
from torch import Tensor

from runtime.guidance.schedule import Schedule, make_betas

BETAS = make_betas("linear", 1e-4, 0.02, 1000)
SCHEDULE = Schedule.of_betas(BETAS, dtype=torch.float64)
MEAN, SPREAD = 0.3, 0.4


def exact_noise(schedule: Schedule = SCHEDULE, mean: float = MEAN, spread: float = SPREAD):
    """Return eps_hat(z, t) of normal data."""

    def predict(z: Tensor, t: int) -> Tensor:
        alpha, sigma = schedule.alphas[t], schedule.sigmas[t]
        return sigma * (z - alpha * mean) / (alpha**2 * spread**2 + sigma**2)

    return predict


def mixture_noise(centres: Tensor, spread: float, schedule: Schedule = SCHEDULE):
    """Return eps_hat(z, t) of a mixture with equal weights whose centres are (K, C, 1, 1)."""

    def predict(z: Tensor, t: int) -> Tensor:
        alpha, sigma = schedule.alphas[t], schedule.sigmas[t]
        variance = alpha**2 * spread**2 + sigma**2
        away = z[:, None] - alpha * centres
        weights = torch.softmax(-0.5 * away.square().sum((2, 3, 4)) / variance, 1)
        return sigma * (weights[:, :, None, None, None] * away).sum(1) / variance

    return predict


def end_of_flow(z: Tensor, schedule: Schedule = SCHEDULE, mean: float = MEAN, spread: float = SPREAD) -> Tensor:
    """Return where the probability flow of normal data ends: the same number of deviations from the mean."""
    alpha, sigma = schedule.alphas[-1], schedule.sigmas[-1]
    return mean + spread * (z - alpha * mean) / (alpha**2 * spread**2 + sigma**2).sqrt()
