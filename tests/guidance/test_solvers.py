"""Samplers on data whose exact denoiser is known: ends, moments, orders of convergence, and diffusers' schedulers."""

import pytest
import torch
from torch import Tensor

from runtime.guidance.diffusion import VARIANCES, Transition
from runtime.guidance.sampler import times
from runtime.guidance.solvers import Ancestral, Ddim, DpmSolver, Heun, State, encode, solve
from tests.guidance.linear import BETAS, MEAN, SCHEDULE, SPREAD, end_of_flow, exact_noise, mixture_noise

PREDICT = exact_noise()


def start(count: int = 8, seed: int = 0) -> Tensor:
    return torch.randn((count, 1, 2, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def error(kind, steps: int) -> float:
    found = solve(kind(SCHEDULE, times(SCHEDULE, steps)), PREDICT, start())
    return (found - end_of_flow(start())).abs().max().item()


@pytest.mark.parametrize(("kind", "order"), [(Ddim, 1), (DpmSolver, 2), (Heun, 2)])
def test_the_order_of_convergence(kind, order: int) -> None:
    ratios = [error(kind, steps) / error(kind, 2 * steps) for steps in (16, 20)]
    assert all(0.9 * 2**order < ratio < 1.2 * 2**order for ratio in ratios), ratios


def test_errors_at_80_steps() -> None:
    assert error(Ddim, 80) < 0.04
    assert error(DpmSolver, 80) < 0.003
    assert error(Heun, 80) < 0.003


@pytest.mark.parametrize("kind", VARIANCES)
def test_ancestral_steps_have_the_closed_forms_moments(kind: str) -> None:
    # With the exact denoiser x_hat is linear in z, so mean and variance of each z_s follow from those of z_t.
    visited = times(SCHEDULE, 40)
    solver, generator = Ancestral(SCHEDULE, visited, kind=kind), torch.Generator().manual_seed(3)
    state, mean, variance = State(start(20_000), start(20_000)), 0.0, 1.0
    for step, t in enumerate(visited[:-1]):
        state = solver.advance(PREDICT, state, step, generator)
        transition = Transition.of(SCHEDULE, t, visited[step + 1])
        alpha, sigma = SCHEDULE.alphas[t].item(), SCHEDULE.sigmas[t].item()
        gain = alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)
        of_x, of_z = (weight.item() for weight in transition.weights)
        slope, offset = of_x * gain + of_z, of_x * (1 - gain * alpha) * MEAN
        mean, variance = slope * mean + offset, slope**2 * variance + transition.variance(kind).item()
        if step % 8 == 0 or step == 38:
            assert state.z.mean().item() == pytest.approx(mean, abs=0.012)
            assert state.z.var().item() == pytest.approx(variance, rel=0.02)


def test_all_steps_of_ancestral_sampling_draw_the_data() -> None:
    solver = Ancestral(SCHEDULE, list(range(999, -1, -1)), kind="fixedsmall")
    found = solve(solver, PREDICT, start(4000), torch.Generator().manual_seed(1))
    assert found.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert found.std().item() == pytest.approx(SPREAD, rel=0.02)


@pytest.mark.parametrize(
    "make",
    [
        lambda visited: Ancestral(SCHEDULE, visited, kind="fixedsmall"),
        lambda visited: Ancestral(SCHEDULE, visited, kind="fixedlarge"),
        lambda visited: Ddim(SCHEDULE, visited),
        lambda visited: Ddim(SCHEDULE, visited, eta=0.5),
        lambda visited: DpmSolver(SCHEDULE, visited),
        lambda visited: Heun(SCHEDULE, visited),
    ],
)
def test_samples_of_a_mixture_in_the_plane(make) -> None:
    centres = torch.tensor([[0.7, 0.0], [-0.5, 0.6], [-0.4, -0.7]], dtype=torch.float64)[..., None, None]
    spread, count = 0.08, 3000
    z = torch.randn((count, 2, 1, 1), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = solve(make(times(SCHEDULE, 80)), mixture_noise(centres, spread), z, torch.Generator().manual_seed(2))
    away = found[:, None] - centres
    nearest = away.square().sum((2, 3, 4)).argmin(1)
    shares = torch.bincount(nearest, minlength=3) / count
    assert (shares - 1 / 3).abs().max() < 0.035
    for number in range(3):
        part = away[nearest == number, number, :, 0, 0]
        assert part.mean(0).abs().max() < 0.016
        assert (part.std(0) / spread - 1).abs().max() < 0.16


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_is_diffusers(eta: float, clip: bool) -> None:
    scheduler = pytest.importorskip("diffusers.schedulers").DDIMScheduler(
        num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, clip_sample=clip, set_alpha_to_one=True
    )
    scheduler.alphas_cumprod = torch.cumprod(1 - BETAS, 0)
    scheduler.set_timesteps(20)
    visited = scheduler.timesteps.tolist()
    solver, state = Ddim(SCHEDULE, visited, clip=clip, eta=eta), State(start(), start())
    for step, t in enumerate(visited):
        # A wrong network, so that clipping has something to do.
        eps = 1.3 * PREDICT(state.z, t)
        drawn = torch.Generator().manual_seed(step)
        expected = scheduler.step(
            eps, t, state.z, eta=eta, use_clipped_model_output=True, generator=torch.Generator().manual_seed(step)
        )
        state = solver.advance(lambda z, t: 1.3 * PREDICT(z, t), state, step, drawn)
        assert (state.x_hat - expected.pred_original_sample).abs().max() < 1e-6
        if step + 1 < len(visited):
            assert (state.z - expected.prev_sample).abs().max() < 1e-6


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
def test_dpm_solver_is_diffusers() -> None:
    scheduler = pytest.importorskip("diffusers.schedulers").DPMSolverMultistepScheduler(
        num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", final_sigmas_type="zero"
    )
    visited = times(SCHEDULE, 12)
    scheduler.set_timesteps(timesteps=visited)
    scheduler.sigmas = torch.cat([(SCHEDULE.sigmas / SCHEDULE.alphas)[visited], torch.zeros(1, dtype=torch.float64)])
    solver, state = DpmSolver(SCHEDULE, visited), State(start(), start())
    for step, t in enumerate(visited):
        expected = scheduler.step(PREDICT(state.z, t), t, state.z).prev_sample
        state = solver.advance(PREDICT, state, step, torch.Generator())
        assert (state.z - expected).abs().max() < 1e-6


def test_ddim_with_eta_1_is_ancestral_sampling_with_the_posteriors_variance() -> None:
    visited = times(SCHEDULE, 30)
    pair = (Ddim(SCHEDULE, visited, eta=1.0), Ancestral(SCHEDULE, visited, kind="fixedsmall"))
    first, second = (solve(solver, PREDICT, start(), torch.Generator().manual_seed(4)) for solver in pair)
    assert (first - second).abs().max() < 1e-10


def test_ancestral_sampling_has_the_papers_variance_by_default() -> None:
    visited = times(SCHEDULE, 10)
    solvers = (Ancestral(SCHEDULE, visited), *(Ancestral(SCHEDULE, visited, kind=kind) for kind in VARIANCES))
    plain, large, small = (solve(solver, PREDICT, start(), torch.Generator().manual_seed(4)) for solver in solvers)
    assert VARIANCES == ("fixedlarge", "fixedsmall")
    assert torch.equal(plain, large) and not torch.equal(plain, small)


def test_encoding_comes_back() -> None:
    visited = times(SCHEDULE, 200)
    x = MEAN + SPREAD * start()
    noise = encode(PREDICT, x, SCHEDULE, visited)
    assert (noise - start()).abs().max() < 0.05  # the same number of deviations from the mean
    assert (solve(Ddim(SCHEDULE, visited), PREDICT, noise) - x).abs().max() < 0.03


def test_clipping_holds_in_every_solver() -> None:
    for kind in (Ancestral, Ddim, DpmSolver, Heun):
        found = solve(kind(SCHEDULE, times(SCHEDULE, 8), clip=True), lambda z, t: -z, start(), torch.Generator())
        assert found.abs().max() <= 1.0


@pytest.mark.parametrize("kind", [Ddim, DpmSolver])
def test_pictures_that_are_drawn_on_are_as_they_are_alone(kind) -> None:
    visited, seen = times(SCHEDULE, 12), []
    whole = solve(kind(SCHEDULE, visited), PREDICT, start())
    some = solve(
        kind(SCHEDULE, visited),
        PREDICT,
        start(),
        report=lambda step, x_hat: seen.append(len(x_hat)),
        choose=lambda step, x_hat: {4: [3, 1], 6: [1]}.get(step),
    )
    assert torch.equal(some, whole[[1]])
    assert seen == [len(whole)] * 4 + [2] * 2 + [1] * 6
