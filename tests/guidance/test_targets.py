import pytest
import torch

from runtime.guidance.sampler import target_latents, times, times_below
from runtime.guidance.schedule import Schedule
from runtime.guidance.sds import distillation_loss, guided_noise
from tests.guidance.gaussians import SCHEDULE, GaussianDenoiser, prompt
from tests.tolerance import FLOAT32_ROUNDING

MEAN, SPREAD = 0.8, 0.5


def latents(seed: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 4, 3, 3, generator=torch.Generator().manual_seed(seed))


def target(z: torch.Tensor, t: int, noise: torch.Tensor, calls: int, omega: float = 0.0, **other) -> torch.Tensor:
    settings = {"denoise": GaussianDenoiser(SPREAD), "prompt": prompt(MEAN), **other}
    return target_latents(z, t, noise, schedule=SCHEDULE, omega=omega, calls=calls, **settings)


def flow(z: torch.Tensor, t: int, mean: float = MEAN) -> torch.Tensor:
    """Return where the probability flow of normal data takes z_t: the same number of deviations from the mean."""
    alpha, sigma = SCHEDULE.alphas[t], SCHEDULE.sigmas[t]
    return mean + SPREAD * (z - alpha * mean) / (alpha**2 * SPREAD**2 + sigma**2).sqrt()


@pytest.mark.parametrize("t", [999, 600, 200])
def test_a_target_ends_where_the_flow_of_normal_data_does(t: int) -> None:
    z, noise = latents(0), latents(1)
    exact = flow(SCHEDULE.alphas[t] * z + SCHEDULE.sigmas[t] * noise, t)
    # Of 4 deviations, 2 in all; 0.004 of it is the noise of time 0, which the last step takes off at once.
    assert (target(z, t, noise, 10) - exact).abs().max() < 0.06
    assert (target(z, t, noise, 40) - exact).abs().max() < 0.005


def test_guidance_moves_the_mean_of_the_data() -> None:
    # The guided score of two normals of one spread is that of a third, whose mean is (1 + omega) mu - omega mu_empty.
    z, noise, t = latents(0), latents(1), 700
    exact = flow(SCHEDULE.alphas[t] * z + SCHEDULE.sigmas[t] * noise, t, 4.0 * MEAN + 3.0 * 0.2)
    found = target(z, t, noise, 40, omega=3.0, prompt=prompt(MEAN, empty=-0.2))
    assert (found - exact).abs().max() < 0.01


def test_targets_of_much_noise_are_samples_and_of_little_noise_the_scene_itself() -> None:
    z = torch.full((500, 4, 2, 2), 3.0)
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(2))
    sample = target(z, 999, noise, 25)
    left = float(SCHEDULE.alphas[999]) * (3.0 - MEAN) * SPREAD  # what z_999 still tells of z
    assert sample.mean().item() == pytest.approx(MEAN + left, abs=0.03)
    assert sample.std().item() == pytest.approx(SPREAD, abs=0.03)
    assert (target(z, 0, noise, 10) - z).abs().max() < 0.2  # sigma_0 is 0.03, of which 4 deviations


def test_one_call_is_what_score_distillation_goes_towards() -> None:
    # x_hat - z is minus sigma / alpha (eps_hat - eps): the step of the loss at w = 1, up to a factor.
    z, noise, t = latents(3), latents(4), 800
    found = target(z, t, noise, 1, omega=2.0)
    clean, batch = z.clone().requires_grad_(), torch.full((2,), t)
    options = {"denoise": GaussianDenoiser(SPREAD), "prompt": prompt(MEAN), "schedule": SCHEDULE, "omega": 2.0}
    distillation_loss(clean, batch, noise, weight=lambda alpha, sigma: torch.ones_like(sigma), **options).backward()
    assert clean.grad is not None
    factor = SCHEDULE.sigmas[t] / SCHEDULE.alphas[t]
    # Rounding of the noise is enlarged by the same factor, about 5.
    assert torch.allclose(found, z - factor * clean.grad * z.numel(), atol=10 * FLOAT32_ROUNDING)
    noisy = SCHEDULE.diffuse(z, noise, batch)
    guided = guided_noise(GaussianDenoiser(SPREAD), noisy, batch, prompt(MEAN), 2.0, SCHEDULE)
    assert torch.allclose(found, SCHEDULE.clean(noisy, guided, batch), atol=10 * FLOAT32_ROUNDING)


def test_one_call_is_the_mean_of_all_pictures_and_several_end_in_one() -> None:
    # Why score distillation blurs: over many noises x_hat varies by less than the data do.
    z = torch.zeros(2000, 4, 1, 1)
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(5))
    alpha, sigma = SCHEDULE.alphas[900].item(), SCHEDULE.sigmas[900].item()
    variance = alpha**2 * SPREAD**2 + sigma**2
    spreads = [target(z, 900, noise, calls).std().item() for calls in (1, 20)]
    assert spreads[0] == pytest.approx(alpha * SPREAD**2 * sigma / variance, rel=0.03)
    assert spreads[1] == pytest.approx(SPREAD * sigma / variance**0.5, rel=0.03)
    assert spreads[1] > 5 * spreads[0]


def test_calls_are_as_many_as_asked_for_but_no_more_than_there_are_times() -> None:
    for t, calls, made in ((950, 10, 10), (200, 10, 10), (3, 10, 4), (0, 10, 1)):
        denoiser = GaussianDenoiser(SPREAD)
        target(latents(0), t, latents(1), calls, denoise=denoiser)
        assert denoiser.calls == made
        found = times_below(SCHEDULE, t, calls)
        assert len(found) == made and found[0] == t and sorted(set(found), reverse=True) == found
    assert times_below(SCHEDULE, 999, 10) == times(SCHEDULE, 10)


def test_a_network_of_velocities_has_the_same_targets() -> None:
    velocities = Schedule(SCHEDULE.alphas, SCHEDULE.sigmas, "v_prediction")

    def denoise(z: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        alpha, sigma = SCHEDULE.at(t)
        return (GaussianDenoiser(SPREAD)(z, t, context) - sigma * z) / alpha

    z, noise = latents(6), latents(7)
    found = target_latents(z, 600, noise, denoise=denoise, schedule=velocities, prompt=prompt(MEAN), omega=1.0, calls=5)
    assert torch.allclose(found, target(z, 600, noise, 5, omega=1.0), atol=1e-4)  # divided by alpha, 0.3 at t = 600
