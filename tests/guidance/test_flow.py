import math

import pytest
import torch

from runtime.guidance.diffusion import prior_term
from runtime.guidance.flow import bits_per_dimension, flow_log_likelihood
from tests.guidance.linear import MEAN, SCHEDULE, SPREAD, exact_noise


def test_the_flows_likelihood_of_normal_data_is_theirs() -> None:
    generator = torch.Generator().manual_seed(0)
    level = (SCHEDULE.sigmas[0] / SCHEDULE.alphas[0]).item()
    deviation = (SPREAD**2 + level**2) ** 0.5
    y = MEAN + deviation * torch.randn((6, 2, 2, 2), generator=generator, dtype=torch.float64)
    rising = list(range(1000))
    found = flow_log_likelihood(exact_noise(), y, SCHEDULE, rising, generator)
    expected = torch.distributions.Normal(MEAN, deviation).log_prob(y).flatten(1).sum(1)
    # The last time is not quite pure noise: what is left is L_T, 2e-5 a dimension, and Heun's error.
    assert (found - expected).abs().max() < 8 * 2e-3
    assert prior_term(y, SCHEDULE).max() < 1e-4


def test_bits_count_the_width_of_a_level() -> None:
    # A uniform density on [-1, 1] is 8 bits but for the 255 steps between 256 levels.
    nats = torch.tensor([-12 * math.log(2.0)])
    assert bits_per_dimension(nats, 12).item() == pytest.approx(1.0 + math.log2(127.5))
