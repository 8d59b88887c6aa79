import pytest
import torch

from runtime.guidance.prompt import Negatives, Prompt
from runtime.guidance.sds import (
    WEIGHTINGS,
    across,
    distillation_loss,
    draw_time,
    guided_noise,
    saturation_penalty,
)
from tests.guidance.gaussians import SCHEDULE, GaussianDenoiser, prompt
from tests.tolerance import FLOAT32_ROUNDING


def latents(seed: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 4, 3, 3, generator=torch.Generator().manual_seed(seed))


def gradient_of(z: torch.Tensor, t: torch.Tensor, noise: torch.Tensor, **options) -> torch.Tensor:
    z = z.clone().requires_grad_()
    options = {"schedule": SCHEDULE, "omega": 0.0, **options}
    distillation_loss(z, t, noise, **options).backward()
    assert z.grad is not None
    return z.grad * z.numel()


def test_gradient_where_the_data_are_one_picture() -> None:
    # With no spread the noise is known from z_t: eps_hat - eps = alpha / sigma (z - mu), whatever eps was.
    z, noise, t = latents(0), latents(1), torch.tensor([100, 700])
    alpha, sigma = SCHEDULE.at(t)
    found = gradient_of(z, t, noise, denoise=GaussianDenoiser(0.0), prompt=prompt(0.7))
    assert torch.allclose(found, sigma**2 * alpha / sigma * (z - 0.7), atol=FLOAT32_ROUNDING)


def test_gradient_with_guidance_and_weight() -> None:
    z, noise, t, omega = latents(0), latents(1), torch.tensor([50, 950]), 3.0
    alpha, sigma = SCHEDULE.at(t)
    variance = alpha**2 * 0.25 + sigma**2
    mean = 4.0 * 0.7 - 3.0 * -0.2  # the guided score is that of a normal with this mean
    expected = alpha * (sigma * (alpha * z + sigma * noise - alpha * mean) / variance - noise)
    options = {"denoise": GaussianDenoiser(0.5), "prompt": prompt(0.7, empty=-0.2), "omega": omega}
    found = gradient_of(z, t, noise, weight=lambda alpha, sigma: alpha, **options)
    assert torch.allclose(found, expected, atol=1e-4)  # (1 + omega) and omega multiply float32 rounding


def test_expected_gradient_is_the_pull_of_the_score() -> None:
    # E_eps of Eq. 6.7 with w = sigma^2 is sigma^3 alpha (z - mu) / (alpha^2 s^2 + sigma^2).
    z, t = torch.full((20_000, 1, 1, 1), 1.5), torch.full((20_000,), 400)
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(2))
    found = gradient_of(z, t, noise, denoise=GaussianDenoiser(1.0), prompt=prompt(0.5))
    alpha, sigma = SCHEDULE.alphas[400].item(), SCHEDULE.sigmas[400].item()
    standard_error = found.std().item() / 20_000**0.5
    assert found.mean().item() == pytest.approx(sigma**3 * alpha * 1.0, abs=4 * standard_error)


def test_value_is_half_the_mean_square_of_the_gradient() -> None:
    z, noise, t = latents(0), latents(1), torch.tensor([300, 300])
    options = {"denoise": GaussianDenoiser(0.5), "prompt": prompt(0.7), "schedule": SCHEDULE, "omega": 1.0}
    loss = distillation_loss(z.requires_grad_(), t, noise, **options)
    gradient = gradient_of(z.detach(), t, noise, **options)
    assert loss.item() == pytest.approx(0.5 * gradient.square().mean().item(), rel=1e-5)


def test_pulls_latents_to_the_mean_of_the_data() -> None:
    z = latents(3, count=1).requires_grad_()
    generator = torch.Generator().manual_seed(4)
    optimizer = torch.optim.Adam([z], lr=0.05, betas=(0.9, 0.9), eps=1e-6)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 400)
        t = draw_time(1, step / 400, generator)
        noise = torch.randn(z.shape, generator=generator)
        optimizer.zero_grad()
        distillation_loss(
            z, t, noise, denoise=GaussianDenoiser(0.1), schedule=SCHEDULE, prompt=prompt(2.0), omega=0.0
        ).backward()
        optimizer.step()
    assert (z.detach() - 2.0).abs().max() < 0.1  # a spread of the data


def test_guided_noise_is_one_call_on_a_doubled_batch() -> None:
    denoiser = GaussianDenoiser(0.3)
    z, t = latents(5), torch.tensor([10, 900])
    both = guided_noise(denoiser, z, t, prompt(1.0, empty=-1.0), 2.5)
    assert denoiser.calls == 1
    conditional = guided_noise(denoiser, z, t, prompt(1.0), 0.0)
    unconditional = guided_noise(denoiser, z, t, prompt(-1.0), 0.0)
    assert torch.allclose(both, 3.5 * conditional - 2.5 * unconditional, atol=FLOAT32_ROUNDING)
    assert torch.allclose(guided_noise(denoiser, z, t, prompt(1.0, empty=-1.0), -1.0), unconditional, atol=1e-6)


def test_times_are_uniform_and_both_ends_included() -> None:
    t = draw_time(50_000, 0.5, torch.Generator().manual_seed(0))
    assert (t.min().item(), t.max().item()) == (50, 950)
    counts = torch.histc(t.float(), bins=17, min=50, max=951)  # 901 integers in 17 bins of 53
    assert (counts - 50_000 / 17).abs().max() < 5 * (50_000 / 17) ** 0.5


@pytest.mark.parametrize(("progress", "upper"), [(0.0, 950), (0.5, 625), (1.0, 300)])
def test_upper_time_falls(progress: float, upper: int) -> None:
    t = draw_time(20_000, progress, torch.Generator().manual_seed(0), highest=(950, 300))
    assert t.max().item() == upper and t.min().item() == 50


def test_saturation_penalty_by_hand() -> None:
    images = torch.tensor([1.0, 0.5, 0.25]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert saturation_penalty(images).item() == pytest.approx((1.0 + 0.0 + 0.25) / 3)


def test_weightings_by_name() -> None:
    alpha, sigma = torch.tensor([0.8]), torch.tensor([0.6])
    found = {name: weigh(alpha, sigma).item() for name, weigh in WEIGHTINGS.items()}
    assert found == pytest.approx({"sigma2": 0.36, "uniform": 1.0, "alpha-sigma2": 0.288})


def directions(*rows: tuple[float, ...]) -> torch.Tensor:
    """Return contexts of one token, which `Reader` predicts as they are."""
    return torch.tensor(rows)[:, None]


class Reader:
    """Predicts what it reads, for latents of three channels and one cell."""

    def __call__(self, z: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        self.count = len(z)
        return context[:, 0, :, None, None]


def test_perp_neg_takes_away_what_is_across_alone() -> None:
    empty = directions((1.0, 1, 1))
    towards = torch.tensor([0.0, 2, 0])
    negatives = Negatives(directions((0.5, 0, 0), (0.0, 7, 3))[None] + empty, torch.tensor([[0.5, 2.0]]))
    prompt = Prompt(("a",), empty + towards, empty, negatives)
    denoise, z = Reader(), torch.zeros(1, 3, 1, 1)
    found = guided_noise(denoise, z, torch.tensor([5]), prompt, 3.0).flatten()
    # Of the second negative, (0, 7, 3), what lies along the prompt's direction is left out.
    expected = torch.tensor([1.0, 1, 1]) + 4 * (
        towards - 0.5 * torch.tensor([0.5, 0, 0]) - 2 * torch.tensor([0, 0, 3.0])
    )
    assert torch.allclose(found, expected, atol=FLOAT32_ROUNDING)
    assert denoise.count == 4


def test_perp_neg_without_weight_is_guidance() -> None:
    z, t = latents(5), torch.tensor([100, 800])
    plain = prompt(0.7, empty=-0.2)
    negatives = Negatives(torch.randn(1, 2, *plain.context.shape[1:]), torch.zeros(1, 2))
    with_negatives = Prompt(plain.texts, plain.context, plain.empty, negatives)
    options = {"denoise": GaussianDenoiser(0.5), "z": z, "t": t, "omega": 3.0, "schedule": SCHEDULE}
    found = guided_noise(prompt=with_negatives, **options)
    assert torch.allclose(found, guided_noise(prompt=plain, **options), atol=1e-4)


def test_across_is_perpendicular_and_the_rest_is_along() -> None:
    vectors, along = latents(6), latents(7)
    rest = across(vectors, along)
    assert (rest * along).sum((1, 2, 3)).abs().max() < 1e-4
    removed = (vectors - rest) / along
    assert torch.allclose(removed, removed[:, :1, :1, :1].expand_as(removed), rtol=1e-3)
    assert torch.equal(across(vectors, torch.zeros_like(along)), vectors)
