"""Posterior, variances and losses: closed forms, Bayes' rule by brute force, and diffusers' own scheduler."""

import math

import pytest
import torch

from runtime.guidance.diffusion import (
    VARIANCES,
    Transition,
    clean_of,
    log_variances,
    prior_term,
    simple_loss,
    variational_terms,
)
from runtime.guidance.likelihood import discretized_log_likelihood
from runtime.guidance.schedule import PREDICTIONS, Schedule, betas_of
from tests.guidance.linear import BETAS, MEAN, SCHEDULE, SPREAD, exact_noise
from tests.tolerance import FLOAT64_ROUNDING
from train.ddpm.runs import SCHEDULE as DESCRIPTION


def pictures(count: int = 4, seed: int = 0) -> torch.Tensor:
    levels = torch.randint(0, 256, (count, 3, 4, 4), generator=torch.Generator().manual_seed(seed))
    return levels.double() / 127.5 - 1.0


def noise(shape: tuple[int, ...], seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_schedule_is_the_papers() -> None:
    betas = betas_of(DESCRIPTION)
    assert len(betas) == 1000 and betas.dtype == torch.float64
    assert betas[0].item() == 1e-4 and betas[-1].item() == pytest.approx(0.02, abs=1e-17)
    assert betas.diff().diff().abs().max() < 1e-16
    # The paper: KL(q(x_T | x_0) || N(0, I)) of about 1e-5 bits a dimension.
    assert SCHEDULE.alphas[-1].item() ** 2 == pytest.approx(4.0358e-5, rel=1e-4)


def test_a_transition_to_the_time_before_adds_beta() -> None:
    table = Transition.before(SCHEDULE, torch.arange(1000))
    assert (table.added / BETAS - 1).abs().max() < 1e-10
    assert (table.ratio / (1 - BETAS).sqrt() - 1).abs().max() < FLOAT64_ROUNDING


@pytest.mark.parametrize("kind", VARIANCES)
def test_variances_are_the_authors_tables(kind: str) -> None:
    products = torch.cumprod(1 - BETAS, 0)
    posterior = BETAS[1:] * (1 - products[:-1]) / (1 - products[1:])
    expected = {"fixedlarge": BETAS[1:], "fixedsmall": posterior}[kind]
    found = log_variances(SCHEDULE, kind).exp()
    assert (found[1:] / expected - 1).abs().max() < 1e-9
    assert found[0].item() == pytest.approx(posterior[0].item(), rel=1e-9)


@pytest.mark.parametrize(("t", "s"), [(1, 0), (500, 499), (999, 700), (20, 3)])
def test_the_posterior_is_bayes_rule(t: int, s: int) -> None:
    # q(z_s | z_t, x) is proportional to q(z_t | z_s) q(z_s | x), on a grid of z_s.
    x, z, step = 0.4, -0.7, Transition.of(SCHEDULE, t, s)
    grid = torch.linspace(-8, 8, 400_001, dtype=torch.float64)
    forward = -0.5 * (z - step.ratio * grid) ** 2 / step.added
    log_density = forward - 0.5 * (grid - step.alpha_s * x) ** 2 / step.sigma_s**2
    weights = torch.softmax(log_density, 0)
    mean = (weights * grid).sum()
    shaped = (torch.full((1, 1, 1, 1), v, dtype=torch.float64) for v in (x, z))
    assert step.posterior_mean(*shaped).item() == pytest.approx(mean.item(), abs=1e-6)
    variance = (weights * (grid - mean) ** 2).sum()
    assert step.posterior_variance.item() == pytest.approx(variance.item(), rel=1e-4)


def test_the_process_joins_up() -> None:
    # From s on to t by one step and by two: the variance that is added is the same.
    whole, late, early = (Transition.of(SCHEDULE, *pair) for pair in ((600, 100), (600, 300), (300, 100)))
    assert (late.added + late.ratio**2 * early.added).item() == pytest.approx(whole.added.item(), rel=1e-12)


def test_posterior_and_x_hat_are_diffusers(monkeypatch) -> None:
    scheduler = pytest.importorskip("diffusers.schedulers").DDPMScheduler(
        num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", variance_type="fixed_small"
    )
    scheduler.betas = BETAS
    scheduler.alphas, scheduler.alphas_cumprod = 1 - BETAS, torch.cumprod(1 - BETAS, 0)
    z, eps = noise((2, 3, 4, 4)), noise((2, 3, 4, 4), 2)
    for t in (1, 10, 500, 999):
        result = scheduler.step(eps, t, z, generator=torch.Generator().manual_seed(5))
        x_hat = clean_of(SCHEDULE, eps, z, torch.tensor([t, t]))
        drawn = torch.randn(z.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        transition = Transition.of(SCHEDULE, t, t - 1)
        found = transition.posterior_mean(x_hat, z) + transition.posterior_variance.sqrt() * drawn
        assert (x_hat - result.pred_original_sample).abs().max() < 1e-10
        assert (found - result.prev_sample).abs().max() < 1e-10


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_every_prediction_stands_for_the_same_picture(prediction: str) -> None:
    schedule = Schedule.of_betas(BETAS, prediction, torch.float64)
    x, eps, t = pictures(), noise((4, 3, 4, 4)), torch.tensor([0, 300, 700, 999])
    z, target = schedule.diffuse(x, eps, t), schedule.target_of(x, eps, t)
    assert (schedule.noise_of(target, z, t) - eps).abs().max() < 1e-9
    assert (clean_of(schedule, target, z, t) - x).abs().max() < 1e-9
    assert simple_loss(lambda z, t: target.float(), x, t, eps, schedule).item() < 1e-12


def test_the_simple_loss_of_normal_data_is_its_closed_form() -> None:
    generator = torch.Generator().manual_seed(0)
    x = MEAN + SPREAD * torch.randn((20_000, 1, 2, 2), generator=generator, dtype=torch.float64)
    eps = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    predict = exact_noise()
    for t in (50, 300, 800):
        alpha, sigma = SCHEDULE.alphas[t].item(), SCHEDULE.sigmas[t].item()
        expected = alpha**2 * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)
        times = torch.full((len(x),), t)
        found = simple_loss(lambda z, _, t=t: predict(z, t), x, times, eps, SCHEDULE).item()
        assert found == pytest.approx(expected, rel=0.03)


def test_clipping_is_to_the_range_of_pictures() -> None:
    z, t = torch.full((1, 1, 1, 1), 3.0, dtype=torch.float64), torch.tensor([10])
    assert clean_of(SCHEDULE, 0 * z, z, t).item() == 1.0
    assert clean_of(SCHEDULE, 0 * z, z, t, clip=False).item() > 2.9


@pytest.mark.parametrize("kind", VARIANCES)
def test_terms_of_a_perfect_network_are_the_variances_alone(kind: str) -> None:
    # x_hat = x: what is left is the relative entropy of two centred normal distributions.
    x, eps, t = pictures(), noise((4, 3, 4, 4)), torch.tensor([1, 2, 500, 999])
    terms, error = variational_terms(lambda z, t: eps, x, t, eps, SCHEDULE, kind=kind)
    ours, theirs = log_variances(SCHEDULE, kind)[t], log_variances(SCHEDULE, "fixedsmall")[t]
    expected = 0.5 * (ours - theirs + (theirs - ours).exp() - 1)
    assert (terms - expected).abs().max() < 1e-10 and error.max() < 1e-10


def test_a_term_is_the_error_of_x_hat_weighted() -> None:
    # Of equal variances: half the squared distance of the means over the variance, by the signal-to-noise ratios of
    # both times (arXiv:2107.00630 Eq. 13).
    x, eps, t = 0.5 * pictures(), noise((4, 3, 4, 4)), torch.tensor([1, 100, 500, 998])
    wrong = eps + 0.01
    terms, error = variational_terms(lambda z, t: wrong, x, t, eps, SCHEDULE, kind="fixedsmall", clip=False)
    snr = (SCHEDULE.alphas / SCHEDULE.sigmas) ** 2
    assert (terms / (0.5 * (snr[t - 1] - snr[t]) * error) - 1).abs().max() < 1e-8


def terms_of_normal_data(t: torch.Tensor, spread: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    """Return levels drawn from normal data, and their terms by the exact denoiser, one at each time."""
    generator = torch.Generator().manual_seed(0)
    values = spread * torch.randn((len(t), 1, 1, 1), generator=generator, dtype=torch.float64)
    x = ((values + 1.0) * 127.5).round().clamp(0, 255) / 127.5 - 1.0
    eps = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    alpha, sigma = SCHEDULE.at(t)

    def predict(z: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return sigma * z / (alpha**2 * spread**2 + sigma**2)

    return x, variational_terms(predict, x, t, eps, SCHEDULE, kind="fixedsmall", clip=False)[0]


@pytest.mark.parametrize("t", [1, 3, 50, 500])
def test_each_term_of_normal_data_is_its_closed_form(t: int) -> None:
    _, terms = terms_of_normal_data(torch.full((40_000,), t))
    snr = (SCHEDULE.alphas / SCHEDULE.sigmas) ** 2
    spread = 0.2
    left = 1.0 / (1.0 / spread**2 + snr[t].item())  # variance of x given z_t
    expected = 0.5 * (snr[t - 1] - snr[t]).item() * left
    assert terms.mean().item() == pytest.approx(expected, rel=0.04)


def test_the_terms_sum_to_no_less_than_the_negative_log_likelihood() -> None:
    # The exact denoiser leaves the gap of a thousand steps and of the decoder's variance, half a nat together.
    x, terms = terms_of_normal_data(torch.arange(1000).repeat(60))
    bound = terms.view(60, 1000).sum(1).mean().item() + prior_term(x, SCHEDULE).mean().item()
    log_scale = torch.tensor(math.log(0.2), dtype=torch.float64)
    nats = -discretized_log_likelihood(x, torch.zeros_like(x), log_scale).mean().item()
    assert nats < bound < nats + 0.9


def test_the_last_time_tells_nothing() -> None:
    assert 0 < prior_term(pictures(), SCHEDULE).max().item() < 3e-5
    white = torch.ones((1, 1, 1, 1), dtype=torch.float64)
    alpha, sigma = SCHEDULE.alphas[-1].item(), SCHEDULE.sigmas[-1].item()
    expected = 0.5 * (sigma**2 + alpha**2 - 1 - 2 * math.log(sigma))
    assert prior_term(white, SCHEDULE).item() == pytest.approx(expected, rel=1e-9)
