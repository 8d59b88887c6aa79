"""Networks that predict the velocity or the picture: what they lead to is what the noise would."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from runtime.guidance.sampler import ddim, sample_latents
from runtime.guidance.schedule import PREDICTIONS, Schedule
from runtime.guidance.sds import distillation_loss, guided_noise
from tests.guidance.gaussians import SCHEDULE, prompt
from tests.tolerance import FLOAT32_ROUNDING


@dataclass
class GaussianNetwork:
    """The best predictor of any kind where the data of each prompt are N(mu, spread^2), each by its own formula."""

    prediction: str
    spread: float

    def __call__(self, z: Tensor, t: Tensor, context: Tensor) -> Tensor:
        alpha, sigma = SCHEDULE.at(t)
        mean, variance = context[:, :1, :1, None], alpha**2 * self.spread**2 + sigma**2
        offset = (z - alpha * mean) / variance
        if self.prediction == "epsilon":
            return sigma * offset
        if self.prediction == "sample":
            return mean + alpha * self.spread**2 * offset
        return alpha * sigma * (1.0 - self.spread**2) * offset - sigma * mean


def scheduled(prediction: str) -> Schedule:
    return replace(SCHEDULE, prediction=prediction)


def test_the_noise_of_known_predictions() -> None:
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(3, 4, 2, 2, generator=generator) for _ in range(2))
    t = torch.tensor([0, 500, 999])
    alpha, sigma = SCHEDULE.at(t)
    z = SCHEDULE.diffuse(x, noise, t)
    known = {"epsilon": noise, "v_prediction": alpha * noise - sigma * x, "sample": x}
    assert set(known) == set(PREDICTIONS)
    for prediction, output in known.items():
        found = scheduled(prediction).noise_of(output, z, t)
        torch.testing.assert_close(found, noise, atol=1e-5 / float(sigma.min()), rtol=0)  # "sample" divides by sigma


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_distillation_pulls_alike_whatever_is_predicted(prediction: str) -> None:
    generator = torch.Generator().manual_seed(1)
    z, noise = (torch.randn(2, 4, 3, 3, generator=generator) for _ in range(2))
    t, omega = torch.tensor([50, 950]), 3.0
    alpha, sigma = SCHEDULE.at(t)
    mean, variance = 4.0 * 0.7 - 3.0 * -0.2, alpha**2 * 0.25 + sigma**2
    expected = sigma**2 * (sigma * (alpha * z + sigma * noise - alpha * mean) / variance - noise)
    z = z.requires_grad_()
    options = {"schedule": scheduled(prediction), "prompt": prompt(0.7, empty=-0.2), "omega": omega}
    distillation_loss(z, t, noise, denoise=GaussianNetwork(prediction, 0.5), **options).backward()
    torch.testing.assert_close(z.grad * z.numel(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_guidance_commutes_with_the_conversion(prediction: str) -> None:
    z, t = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(2)), torch.tensor([100, 800])
    network, schedule = GaussianNetwork(prediction, 0.3), scheduled(prediction)
    found = guided_noise(network, z, t, prompt(1.0, empty=-1.0), 2.0, schedule)
    parts = [schedule.noise_of(network(z, t, torch.full((2, 1, 1), mean)), z, t) for mean in (1.0, -1.0)]
    torch.testing.assert_close(found, 3.0 * parts[0] - 2.0 * parts[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_samples_have_the_datas_moments(prediction: str) -> None:
    generator = torch.Generator().manual_seed(3)
    network = GaussianNetwork(prediction, 0.5)
    found = sample_latents(network, scheduled(prediction), prompt(0.8), (500, 4, 2, 2), generator, omega=0.0)
    assert found.mean().item() == pytest.approx(0.8, abs=0.04)
    assert found.std().item() == pytest.approx(0.5, abs=0.03)


def test_a_few_step_model_is_asked_at_its_own_times_only() -> None:
    asked: list[int] = []
    steps: list[int] = []

    def report(step: int, x_hat: Tensor) -> None:
        steps.append(step)
        torch.testing.assert_close(x_hat, torch.full_like(x_hat, 0.8), atol=1e-4, rtol=0)  # all data is 0.8

    def network(z: Tensor, t: Tensor, context: Tensor) -> Tensor:
        asked.append(int(t[0]))
        return GaussianNetwork("epsilon", 0.0)(z, t, context)

    only = (999, 749, 499, 249)
    generator = torch.Generator().manual_seed(4)
    found = sample_latents(
        network, SCHEDULE, prompt(0.8), (1, 4, 2, 2), generator, omega=0.0, times=only, report=report
    )
    assert asked == list(only)
    assert steps == [1, 2, 3, 4]
    torch.testing.assert_close(found, torch.full_like(found, 0.8), atol=1e-4, rtol=0)


def test_one_euler_step_is_ddim() -> None:
    # With z' = z / alpha and s = sigma / alpha, Euler's step of dz' = eps ds from t to u is z' + (s_u - s_t) eps.
    z, noise = (torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(i)) for i in (5, 6))
    ratio = SCHEDULE.sigmas / SCHEDULE.alphas
    moved = z / SCHEDULE.alphas[749] + (ratio[249] - ratio[749]) * noise
    found = ddim(lambda z, t: noise, z, SCHEDULE, [749, 249])
    torch.testing.assert_close(found, moved - ratio[249] * noise, atol=FLOAT32_ROUNDING, rtol=1e-5)
