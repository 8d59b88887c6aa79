import math

import pytest
import torch

from runtime.guidance.schedule import Schedule
from tests.guidance.gaussians import SCHEDULE
from tests.tolerance import FLOAT32_ROUNDING

STABLE_DIFFUSION = {
    "num_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}


def test_times_of_1000_are_the_nearest_of_any_schedule() -> None:
    assert SCHEDULE.times(50, 950, 999) == (50, 950, 999)
    short = Schedule(SCHEDULE.alphas[:10], SCHEDULE.sigmas[:10])
    assert short.times(50, 260, 940, 999) == (0, 3, 9, 9)


def test_first_steps_are_the_closed_form() -> None:
    beta_1 = (math.sqrt(0.00085) + (math.sqrt(0.012) - math.sqrt(0.00085)) / 999) ** 2
    expected = [math.sqrt(1 - 0.00085), math.sqrt((1 - 0.00085) * (1 - beta_1))]
    assert SCHEDULE.alphas[:2].tolist() == pytest.approx(expected, abs=1e-7)
    assert SCHEDULE.sigmas[0].item() == pytest.approx(math.sqrt(0.00085), abs=1e-7)


def test_last_alpha_is_that_of_stable_diffusion() -> None:
    # alphas_cumprod[999] = 0.00466 is the well known terminal value of the schedule (sigma / alpha = 14.6).
    assert SCHEDULE.alphas[-1].item() ** 2 == pytest.approx(0.00466, abs=1e-5)
    assert (SCHEDULE.sigmas[-1] / SCHEDULE.alphas[-1]).item() == pytest.approx(14.6146, abs=1e-3)


def test_constant_betas_make_powers() -> None:
    schedule = Schedule.scaled_linear(beta_start=0.19, beta_end=0.19, num_timesteps=7)
    assert schedule.alphas.tolist() == pytest.approx([0.9 ** (t + 1) for t in range(7)], rel=1e-6)


def test_variance_is_preserved() -> None:
    assert torch.allclose(SCHEDULE.alphas**2 + SCHEDULE.sigmas**2, torch.ones(1000), atol=FLOAT32_ROUNDING)
    assert (SCHEDULE.alphas.diff() < 0).all() and (SCHEDULE.sigmas.diff() > 0).all()


def test_agrees_with_diffusers() -> None:
    scheduler = pytest.importorskip("diffusers.schedulers").DDPMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )
    assert torch.allclose(SCHEDULE.alphas**2, scheduler.alphas_cumprod, atol=FLOAT32_ROUNDING)


def test_clean_undoes_diffuse() -> None:
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 3, 4, 2, 2, generator=generator)
    t = torch.tensor([0, 500, 999])
    z = SCHEDULE.diffuse(x, noise, t)
    assert z[1, 0, 0, 0] == SCHEDULE.alphas[500] * x[1, 0, 0, 0] + SCHEDULE.sigmas[500] * noise[1, 0, 0, 0]
    assert torch.allclose(SCHEDULE.clean(z, noise, t), x, atol=1e-4)  # divided by alpha_999 = 0.07


def test_reads_a_bundles_description() -> None:
    assert torch.equal(Schedule.of(STABLE_DIFFUSION).alphas, SCHEDULE.alphas)
    assert len(Schedule.of(STABLE_DIFFUSION)) == 1000


@pytest.mark.parametrize("change", [{"beta_schedule": "cosine"}, {"prediction_type": "score"}])
def test_refuses_what_is_not_implemented(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(change.values()))):
        Schedule.of(STABLE_DIFFUSION | change)


@pytest.mark.parametrize("change", [{"beta_start": 0.0}, {"beta_end": 1.0}, {"beta_start": 0.02}, {"num_timesteps": 1}])
def test_refuses_numbers_out_of_range(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected 0 < beta_start"):
        Schedule.of(STABLE_DIFFUSION | change)
