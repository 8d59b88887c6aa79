"""Likelihood by the probability flow: the ordinary differential equation whose ends are pictures and noise.

In y = z / alpha and u = sigma / alpha the flow of a diffusion model is dy/du = eps_hat (arXiv:2206.00364 Eq. 1), and
the logarithm of the density changes along it by minus the trace of d eps_hat / dy.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.guidance.schedule import Schedule
from runtime.guidance.solvers import Predict


def flow_log_likelihood(
    predict: Predict,
    y: Float[Tensor, "B C H W"],
    schedule: Schedule,
    visited: Sequence[int],
    generator: torch.Generator,
) -> Float[Tensor, " B"]:
    """Return the logarithm of the density, in nats, of pictures that carry the noise of the first time.

    The steps are Heun's, of second order. Each trace is estimated by one random vector of signs, so the result is a
    draw whose mean is the likelihood.

    Args:
        predict: the network's noise, differentiable.
        y: pictures x + u eps, where u = sigma / alpha of the first time and eps is standard normal.
        schedule: alpha_t and sigma_t.
        visited: times of the steps, rising, up to T - 1.
        generator: of the signs.
    """
    # Signs have the smallest variance of Hutchinson's estimators, and the same ones along the path keep it smooth.
    signs = (torch.randint(0, 2, y.shape, generator=generator) * 2 - 1).to(y.dtype)
    slope, trace = _slope(predict, y, schedule, visited[0], signs)
    total = torch.zeros(len(y), dtype=torch.float64)
    for s, t in itertools.pairwise(visited):
        h = float(schedule.sigmas[t] / schedule.alphas[t] - schedule.sigmas[s] / schedule.alphas[s])
        ahead, _ = _slope(predict, y + h * slope, schedule, t, signs)
        y = y + 0.5 * h * (slope + ahead)
        # The corrected slope is evaluated once and serves this step's end and the next one's beginning.
        before, (slope, trace) = trace, _slope(predict, y, schedule, t, signs)
        total += 0.5 * h * (before + trace)
    alpha = float(schedule.alphas[visited[-1]])
    dimensions = y[0].numel()
    noise = (alpha * y).double().square().flatten(1).sum(1)
    return total - 0.5 * noise - dimensions * (0.5 * math.log(2.0 * math.pi) - math.log(alpha))


def _slope(
    predict: Predict, y: Float[Tensor, "B C H W"], schedule: Schedule, t: int, signs: Float[Tensor, "B C H W"]
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, " B"]]:
    """Return dy/du at a time, and the estimate of its trace."""
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        # The network takes z; the chain rule's alpha is in the product, since it is differentiated by y.
        eps_hat = predict(schedule.alphas[t] * y, t)
        (product,) = torch.autograd.grad((eps_hat * signs).sum(), y)
    return eps_hat.detach(), (product * signs).flatten(1).sum(1).double()


def bits_per_dimension(nats: Float[Tensor, " B"], dimensions: int) -> Float[Tensor, " B"]:
    """Return a density of pictures in [-1, 1] as bits a dimension of 256 levels, whose bins are 1 / 127.5 wide."""
    return -nats / (dimensions * math.log(2.0)) + math.log2(127.5)
