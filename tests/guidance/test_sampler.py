import itertools

import pytest
import torch

from runtime.guidance.sampler import ddim, dpm_solver, sample_latents, times
from runtime.guidance.sds import guided_noise
from tests.guidance.gaussians import SCHEDULE, GaussianDenoiser, prompt

MEAN, SPREAD = 0.8, 0.5


def start() -> torch.Tensor:
    return torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))


def exact(z: torch.Tensor) -> torch.Tensor:
    """Return where the probability flow of normal data ends: the same number of deviations from the mean."""
    alpha, sigma = SCHEDULE.alphas[-1], SCHEDULE.sigmas[-1]
    return MEAN + SPREAD * (z - alpha * MEAN) / (alpha**2 * SPREAD**2 + sigma**2).sqrt()


def error(solver, steps: int) -> float:
    denoiser = GaussianDenoiser(SPREAD)
    found = solver(
        lambda z, t: guided_noise(denoiser, z, torch.full((2,), t), prompt(MEAN), 0.0), start(), SCHEDULE, steps
    )
    assert denoiser.calls == steps
    return (found - exact(start())).abs().max().item()


def test_times_fall_from_the_last_to_the_first() -> None:
    assert times(SCHEDULE, 1) == [999]
    assert times(SCHEDULE, 2) == [999, 0]
    assert times(SCHEDULE, 1000) == list(range(999, -1, -1))


@pytest.mark.parametrize("steps", [3, 25, 200, 999])
def test_times_are_distinct(steps: int) -> None:
    found = times(SCHEDULE, steps)
    assert len(found) == steps and found[0] == 999 and found[-1] == 0
    assert all(later < earlier for earlier, later in itertools.pairwise(found))


def test_times_are_even_in_the_root_of_the_noise() -> None:
    levels = (SCHEDULE.sigmas / SCHEDULE.alphas) ** (1 / 7)
    gaps = -levels[torch.tensor(times(SCHEDULE, 10))].diff()
    assert (gaps / gaps.mean() - 1).abs().max() < 0.02


@pytest.mark.parametrize("steps", [0, 1001])
def test_times_out_of_range(steps: int) -> None:
    with pytest.raises(ValueError, match=f"got {steps}"):
        times(SCHEDULE, steps)


def test_ddim_is_first_order() -> None:
    assert 1.5 < error(ddim, 25) / error(ddim, 50) < 2.5
    assert error(ddim, 100) < 0.03


def test_dpm_solver_is_second_order() -> None:
    assert error(dpm_solver, 12) / error(dpm_solver, 24) > 3.0
    assert error(dpm_solver, 25) < 0.01


@pytest.mark.parametrize("solver", [ddim, dpm_solver])
def test_data_of_one_picture_are_found_in_one_step(solver) -> None:
    denoiser = GaussianDenoiser(0.0)
    for steps in (1, 2, 5):
        found = solver(
            lambda z, t: guided_noise(denoiser, z, torch.full((2,), t), prompt(MEAN), 0.0), start(), SCHEDULE, steps
        )
        assert torch.allclose(found, torch.full_like(found, MEAN), atol=1e-4)


def test_samples_depend_on_the_generator_alone() -> None:
    def draw(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        steps.clear()
        return sample_latents(
            GaussianDenoiser(SPREAD), SCHEDULE, prompt(MEAN), (3, 4, 2, 2), generator, omega=1.0, steps=5,
            report=lambda step, x_hat: steps.append((step, x_hat)),
        )  # fmt: skip

    steps: list[tuple[int, torch.Tensor]] = []
    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))
    end = draw(1)
    assert [step for step, _ in steps] == [1, 2, 3, 4, 5]
    assert torch.equal(steps[-1][1], end)  # the last predicted clean latents are the sample


def test_samples_have_the_datas_moments() -> None:
    generator = torch.Generator().manual_seed(1)
    found = sample_latents(
        GaussianDenoiser(SPREAD), SCHEDULE, prompt(MEAN), (500, 4, 2, 2), generator, omega=0.0, steps=25
    )
    assert found.mean().item() == pytest.approx(MEAN, abs=0.04)
    assert found.std().item() == pytest.approx(SPREAD, abs=0.03)
