import math

import pytest
import torch

from runtime.guidance.likelihood import discretized_log_likelihood, normal_kl


def levels() -> torch.Tensor:
    return (torch.arange(256, dtype=torch.float64) / 127.5 - 1.0).view(256, 1, 1, 1)


def test_relative_entropy_is_the_integral() -> None:
    grid = torch.linspace(-30, 30, 600_001, dtype=torch.float64)
    mean, deviation, other_mean, other_deviation = 0.7, 0.5, -0.2, 1.3
    log_p = -0.5 * ((grid - mean) / deviation) ** 2 - math.log(deviation)
    log_q = -0.5 * ((grid - other_mean) / other_deviation) ** 2 - math.log(other_deviation)
    expected = (torch.softmax(log_p, 0) * (log_p - log_q)).sum()
    args = (torch.tensor(v, dtype=torch.float64) for v in (0.7, 2 * math.log(0.5), -0.2, 2 * math.log(1.3)))
    assert normal_kl(*args).item() == pytest.approx(expected.item(), rel=1e-6)
    assert normal_kl(*torch.tensor([[0.3], [1.0], [0.3], [1.0]])).item() == 0.0


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 0.1), (0.99, 0.01), (-1.5, 0.3), (0.2, 1e-3), (0.1, 3.0)])
def test_the_levels_probabilities_sum_to_one(mean: float, scale: float) -> None:
    log_scale = torch.full((1, 1, 1, 1), math.log(scale), dtype=torch.float64)
    found = discretized_log_likelihood(levels(), torch.full_like(levels(), mean), log_scale)
    assert found.exp().sum().item() == pytest.approx(1.0, abs=1e-9)


def test_a_levels_probability_is_that_of_its_bin() -> None:
    mean, scale = 0.13, 0.05
    found = discretized_log_likelihood(levels(), torch.full_like(levels(), mean), torch.tensor(math.log(scale)))
    for level in (110, 144, 150):
        low, high = ((level + side - 127.5) / 127.5 for side in (-0.5, 0.5))
        expected = 0.5 * (math.erf((high - mean) / scale / 2**0.5) - math.erf((low - mean) / scale / 2**0.5))
        assert found[level].exp().item() == pytest.approx(expected, rel=1e-6)


def test_the_ends_take_all_that_is_beyond() -> None:
    far = discretized_log_likelihood(levels(), torch.full_like(levels(), 5.0), torch.tensor(math.log(0.1)))
    assert far[255].item() == pytest.approx(0.0, abs=1e-9)
    assert far[0].item() < -1000 and torch.isfinite(far).all()
