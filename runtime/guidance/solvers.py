"""The steps of samplers, from noise to clean pictures: ancestral, DDIM, DPM-Solver++(2M), Heun.

Notation as in `runtime.guidance.sampler` and `runtime.guidance.diffusion`: eps_hat the network's noise, x_hat =
(z_t - sigma_t eps_hat) / alpha_t, t the time of a step and s the next one; the last step ends at x_hat itself. A step
is a function of the state and its number, so that a sampling that was cut resumes to the same bytes.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.guidance.diffusion import PredictNoise, Transition
from runtime.guidance.schedule import Schedule

Predict = Callable[[Float[Tensor, "B C H W"], int], Float[Tensor, "B C H W"]]
"""eps_hat(z, t)."""


def noise_predictor(network: PredictNoise, schedule: Schedule) -> Predict:
    """Return eps_hat of a network, whatever it predicts, at one time for all pictures."""

    def predict(z: Float[Tensor, "B C H W"], t: int) -> Float[Tensor, "B C H W"]:
        time = torch.full((len(z),), t, device=z.device)
        return schedule.noise_of(network(z, time), z, time)

    return predict


@dataclass(frozen=True)
class State:
    """What a sampler continues from.

    Attributes:
        z: the noisy pictures at the time of the next step.
        x_hat: the clean pictures predicted in the step before.
    """

    z: Float[Tensor, "B C H W"]
    x_hat: Float[Tensor, "B C H W"]


class Solver(Protocol):
    """The steps of a sampler along falling times."""

    @property
    def visited(self) -> Sequence[int]:
        """The time of each step."""
        ...

    def advance(self, predict: Predict, state: State, step: int, generator: torch.Generator) -> State:
        """Return the state after a step."""
        ...


@dataclass(frozen=True)
class _Along:
    """What all solvers know.

    Attributes:
        schedule: alpha_t and sigma_t; in float64 where variances of single steps count.
        visited: the falling times of the steps.
        clip: whether x_hat is clipped to [-1, 1], and eps_hat made to fit it.
    """

    schedule: Schedule
    visited: Sequence[int]
    clip: bool = False

    def next(self, step: int) -> int | None:
        """Return the time after that of a step; None after the last."""
        return self.visited[step + 1] if step + 1 < len(self.visited) else None

    def estimate(self, predict: Predict, z: Float[Tensor, "B C H W"], t: int) -> tuple[Tensor, Tensor]:
        """Return x_hat and eps_hat at a time."""
        alpha, sigma = self.schedule.alphas[t], self.schedule.sigmas[t]
        eps_hat = predict(z, t)
        x_hat = (z - sigma * eps_hat) / alpha
        if self.clip:
            x_hat = x_hat.clamp(-1.0, 1.0)
            # Or z would be put together of a clipped picture and the noise of another one.
            eps_hat = (z - alpha * x_hat) / sigma
        return x_hat, eps_hat


@dataclass(frozen=True)
class Ancestral(_Along):
    """DDPM's own sampler: a draw from p(z_s | z_t) at each step (arXiv:2006.11239 Algorithm 2).

    Attributes:
        kind: its variance, one of `runtime.guidance.diffusion.VARIANCES`.
    """

    kind: str = "fixedlarge"

    def advance(self, predict: Predict, state: State, step: int, generator: torch.Generator) -> State:
        """Return the state after a step."""
        x_hat, _ = self.estimate(predict, state.z, self.visited[step])
        s = self.next(step)
        if s is None:
            return State(x_hat, x_hat)
        transition = Transition.of(self.schedule, self.visited[step], s)
        noise = torch.randn(x_hat.shape, generator=generator, dtype=x_hat.dtype)
        z = transition.posterior_mean(x_hat, state.z) + transition.variance(self.kind).sqrt() * noise
        return State(z, x_hat)


@dataclass(frozen=True)
class Ddim(_Along):
    """DDIM (arXiv:2010.02502 Eq. 12; Thesis Eq. 6.2).

    Attributes:
        eta: share of the posterior's deviation that is drawn anew: 0 is deterministic, 1 is ancestral sampling with
            the variance "fixedsmall".
    """

    eta: float = 0.0

    def advance(self, predict: Predict, state: State, step: int, generator: torch.Generator) -> State:
        """Return the state after a step."""
        x_hat, eps_hat = self.estimate(predict, state.z, self.visited[step])
        s = self.next(step)
        if s is None:
            return State(x_hat, x_hat)
        alpha, sigma = self.schedule.alphas[s], self.schedule.sigmas[s]
        if self.eta == 0.0:
            return State(alpha * x_hat + sigma * eps_hat, x_hat)
        # What is drawn anew is taken from the deterministic part, so that the variance at s stays sigma_s^2.
        drawn = self.eta**2 * Transition.of(self.schedule, self.visited[step], s).posterior_variance
        noise = torch.randn(x_hat.shape, generator=generator, dtype=x_hat.dtype)
        z = alpha * x_hat + (sigma.square() - drawn).sqrt() * eps_hat + drawn.sqrt() * noise
        return State(z, x_hat)


@dataclass(frozen=True)
class DpmSolver(_Along):
    """DPM-Solver++(2M), second order (arXiv:2211.01095 Algorithm 2).

    The first step and the last are of first order: there is nothing before the one, and lambda is infinite after the
    other.
    """

    def advance(self, predict: Predict, state: State, step: int, generator: torch.Generator) -> State:
        """Return the state after a step."""
        t, s = self.visited[step], self.next(step)
        x_hat, _ = self.estimate(predict, state.z, t)
        if s is None:
            return State(x_hat, x_hat)
        # In float64, with `expm1`: the steps in lambda are small differences, and 1 - exp(-h) would cancel.
        alphas, sigmas = self.schedule.alphas.double(), self.schedule.sigmas.double()
        lambdas = (alphas / sigmas).log()
        h = lambdas[s] - lambdas[t]
        d = x_hat  # D_i of the paper, with r = h_before / h
        if step > 0:
            h_before = lambdas[t] - lambdas[self.visited[step - 1]]
            d = x_hat + (h / (2.0 * h_before)).to(x_hat.dtype) * (x_hat - state.x_hat)
        scale, weight = (sigmas[s] / sigmas[t]), -alphas[s] * torch.expm1(-h)
        return State(scale.to(x_hat.dtype) * state.z + weight.to(x_hat.dtype) * d, x_hat)


@dataclass(frozen=True)
class Heun(_Along):
    """EDM's sampler of second order (arXiv:2206.00364 Algorithm 1, without noise); two calls a step, in the last one.

    In y = z / alpha and u = sigma / alpha the probability flow is dy/du = eps_hat; a step goes by the mean of eps_hat
    at its two ends.
    """

    def advance(self, predict: Predict, state: State, step: int, generator: torch.Generator) -> State:
        """Return the state after a step."""
        t, s = self.visited[step], self.next(step)
        x_hat, eps_hat = self.estimate(predict, state.z, t)
        if s is None:
            return State(x_hat, x_hat)
        alphas, sigmas = self.schedule.alphas, self.schedule.sigmas
        y = state.z / alphas[t]
        h = sigmas[s] / alphas[s] - sigmas[t] / alphas[t]
        # A trial step of Euler's; only its slope is used.
        _, ahead = self.estimate(predict, alphas[s] * (y + h * eps_hat), s)
        return State(alphas[s] * (y + 0.5 * h * (eps_hat + ahead)), x_hat)


@torch.no_grad()
def solve(
    solver: Solver,
    predict: Predict,
    z: Float[Tensor, "B C H W"],
    generator: torch.Generator | None = None,
    report: Callable[[int, Float[Tensor, "B C H W"]], None] = lambda step, x_hat: None,
    choose: Callable[[int, Float[Tensor, "B C H W"]], Sequence[int] | None] = lambda step, x_hat: None,
) -> Float[Tensor, "_ C H W"]:
    """Return the clean pictures that all steps of a solver end in.

    Args:
        solver: the steps.
        predict: the network's noise.
        z: standard normal.
        generator: of the draws on the way; may be left out where the solver has none.
        report: called with the number of steps so far and the predicted clean pictures.
        choose: called with the same; returns which of the pictures are drawn on, or None for all.
    """
    state = State(z, z)
    for step in range(len(solver.visited)):
        state = solver.advance(predict, state, step, generator or torch.Generator())
        report(step + 1, state.x_hat)
        chosen = choose(step + 1, state.x_hat)
        if chosen is not None:
            state = State(state.z[list(chosen)], state.x_hat[list(chosen)])
    return state.x_hat


@torch.no_grad()
def encode(
    predict: Predict, x: Float[Tensor, "B C H W"], schedule: Schedule, visited: Sequence[int]
) -> Float[Tensor, "B C H W"]:
    """Return the noise from which DDIM draws a picture: its steps backwards, in the sequence of rising times.

    Args:
        predict: the network's noise.
        x: clean pictures.
        schedule: alpha_t and sigma_t.
        visited: the falling times of the sampler.
    """
    # Backwards, each step uses the noise predicted at the cleaner end: as exact as the steps are small.
    rising = list(reversed(visited))
    z = schedule.alphas[rising[0]] * x + schedule.sigmas[rising[0]] * predict(x, rising[0])
    for s, t in itertools.pairwise(rising):
        eps_hat = predict(z, s)
        x_hat = (z - schedule.sigmas[s] * eps_hat) / schedule.alphas[s]
        z = schedule.alphas[t] * x_hat + schedule.sigmas[t] * eps_hat
    return z
