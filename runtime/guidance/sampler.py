"""Samplers: from noise to clean latents by a denoiser's predictions.

Notation: eps_hat the guided prediction, x_hat = (z_t - sigma_t eps_hat) / alpha_t. The steps themselves are in
`runtime.guidance.solvers`.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.engines.protocols import Denoiser
from runtime.guidance.prompt import Prompt
from runtime.guidance.schedule import Schedule
from runtime.guidance.sds import guided_noise
from runtime.guidance.solvers import Ddim, DpmSolver, Predict, solve

SamplerReport = Callable[[int, Float[Tensor, "B C h w"]], None]
"""Called with the number of calls of the network so far, and x_hat."""
SamplerChoice = Callable[[int, Float[Tensor, "B C h w"]], Sequence[int] | None]
"""Called with the same; returns which latents are drawn on, or None for all."""

TARGET_CALLS = 10
"""Calls of the denoiser for each target. One gives the mean of all pictures that the noised one may have come from, and
with it the dirt of score distillation."""


def times(schedule: Schedule, steps: int, rho: float = 7.0) -> list[int]:
    """Return the distinct times that a sampler visits, falling from T - 1 to 0.

    They are those nearest to a sigma_t / alpha_t whose rho-th root falls linearly (arXiv:2206.00364 Eq. 5), which is
    close to linear in lambda: steps linear in t leave most of the error to the first and the last of them.

    Args:
        schedule: alpha_t and sigma_t.
        steps: how many, in [1, T].
        rho: above 0; larger puts more of them at little noise.

    Raises:
        ValueError: where `steps` is out of range.
    """
    if not 1 <= steps <= len(schedule):
        raise ValueError(f"sampler: expected 1 to {len(schedule)} steps, got {steps}")
    levels = (schedule.sigmas.double() / schedule.alphas.double()) ** (1.0 / rho)
    # In float64: neighbouring levels at little noise differ in the eighth digit.
    targets = torch.linspace(float(levels[-1]), float(levels[0]), steps, dtype=torch.float64)
    visited: list[int] = []
    for i, t in enumerate((levels[:, None] - targets).abs().argmin(0).tolist()):
        above = visited[-1] if visited else len(schedule)
        # Distinct times: each is below the one before and leaves room for those to come.
        visited.append(min(max(t, steps - 1 - i), above - 1))
    return visited


def ddim(
    predict: Predict,
    z: Float[Tensor, "B C h w"],
    schedule: Schedule,
    steps: int | Sequence[int],
    report: SamplerReport = lambda step, x_hat: None,
    choose: SamplerChoice = lambda step, x_hat: None,
) -> Float[Tensor, "_ C h w"]:
    """Return clean latents by DDIM, first order, Thesis Eq. 6.2.

    Args:
        predict: the guided network.
        z: standard normal.
        schedule: alpha_t and sigma_t.
        steps: calls of the network, in [1, T], or the falling times that it is called at.
        report: called with the number of calls so far and the predicted clean latents.
        choose: called with the same, after it; returns which are drawn on, or None for all.
    """
    visited = times(schedule, steps) if isinstance(steps, int) else list(steps)
    return solve(Ddim(schedule, visited), predict, z, report=report, choose=choose)


def dpm_solver(
    predict: Predict,
    z: Float[Tensor, "B C h w"],
    schedule: Schedule,
    steps: int,
    report: SamplerReport = lambda step, x_hat: None,
    choose: SamplerChoice = lambda step, x_hat: None,
) -> Float[Tensor, "_ C h w"]:
    """Return clean latents by DPM-Solver++(2M), second order, arXiv:2211.01095 Algorithm 2.

    Arguments as of `ddim`.
    """
    return solve(DpmSolver(schedule, times(schedule, steps)), predict, z, report=report, choose=choose)


def sample_latents(
    denoise: Denoiser,
    schedule: Schedule,
    prompt: Prompt,
    shape: tuple[int, int, int, int],
    generator: torch.Generator,
    *,
    omega: float,
    steps: int = 25,
    times: Sequence[int] = (),
    report: SamplerReport = lambda step, x_hat: None,
    choose: SamplerChoice = lambda step, x_hat: None,
) -> Float[Tensor, "_ C h w"]:
    """Return clean latents of a prompt by DPM-Solver++(2M), or by DDIM for a model of few steps.

    Args:
        denoise: the network.
        schedule: alpha_t and sigma_t.
        prompt: what to draw.
        shape: of the latents.
        generator: of the first noise, which is all that is drawn.
        omega: weight of guidance; the thesis samples with 6.5 (`guidance_scale` 7.5).
        steps: calls of the network on a batch of 2 B.
        times: the falling times that a few-step model was distilled at, in place of `steps`; DDIM is then the Euler
            steps that it was made for.
        report: called with the number of calls so far and the predicted clean latents.
        choose: called with the same, after it; returns which are drawn on, or None for all.
    """

    def predict(z: Float[Tensor, "B C h w"], t: int) -> Float[Tensor, "B C h w"]:
        return guided_noise(denoise, z, torch.full((len(z),), t), prompt, omega, schedule)

    # On the CPU, like all draws, so that a seed means one picture on every device.
    start = torch.randn(shape, generator=generator)
    if times:
        return ddim(predict, start, schedule, times, report, choose)
    return dpm_solver(predict, start, schedule, steps, report, choose)


def times_below(schedule: Schedule, t: int, calls: int) -> list[int]:
    """Return the falling times of a sampler that begins at t: `times` of the schedule up to t.

    Args:
        schedule: alpha_t and sigma_t.
        t: in [0, T).
        calls: how many, at least 1; at most t + 1 are returned.
    """
    return times(Schedule(schedule.alphas[: t + 1], schedule.sigmas[: t + 1]), min(calls, t + 1))


@torch.no_grad()
def falling_time(step: int, steps: int, every: int, first: int, last: int) -> int:
    """Return the time of the target that a step belongs to: linear from the first target to the last.

    Args:
        step: in [0, steps).
        steps: of the stage.
        every: steps that each target is followed, at least 1; the last one may have fewer.
        first: time of the first target.
        last: time of the last target; unused where there is one alone.
    """
    count = -(-steps // every)
    return round(first + (last - first) * (step // every) / max(1, count - 1))


def target_latents(
    z: Float[Tensor, "B C h w"],
    t: int,
    noise: Float[Tensor, "B C h w"],
    *,
    denoise: Denoiser,
    schedule: Schedule,
    prompt: Prompt,
    omega: float,
    calls: int,
) -> Float[Tensor, "B C h w"]:
    """Return the clean latents that the guided denoiser makes of z, noised to t, by DPM-Solver++(2M).

    One call gives x_hat of z_t, which a step of score distillation goes towards: the mean of all clean latents that z_t
    may have come from, blurred where t is large. Several calls end in one of them (SDEdit, arXiv:2108.01073).

    Args:
        z: clean latents.
        t: time in [0, T) to which they are noised.
        noise: standard normal.
        denoise: the network.
        schedule: alpha_t and sigma_t.
        prompt: what to draw.
        omega: weight of guidance, at least -1.
        calls: of the network on a batch of 2 B, at least 1.
    """

    def predict(z: Float[Tensor, "B C h w"], t: int) -> Float[Tensor, "B C h w"]:
        return guided_noise(denoise, z, torch.full((len(z),), t), prompt, omega, schedule)

    noisy = schedule.diffuse(z, noise, torch.full((len(z),), t))
    return solve(DpmSolver(schedule, times_below(schedule, t, calls)), predict, noisy)
