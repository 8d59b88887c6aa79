"""The diffusion process of DDPM: its posterior, the reverse step's variance, and the losses (arXiv:2006.11239).

Notation: t is an integer in [0, T), and s an earlier time, t - 1 or the next one that a sampler visits; before all
times is the clean picture, where alpha = 1 and sigma = 0. With a = alpha_t / alpha_s the process adds, from s to t,

    z_t = a z_s + sqrt(v) eps,   v = sigma_t^2 - a^2 sigma_s^2

so v is beta_t where s = t - 1. Given the clean x, Bayes' rule has (Eq. 6 and 7)

    q(z_s | z_t, x) = N(alpha_s v / sigma_t^2 x + a sigma_s^2 / sigma_t^2 z_t,  v sigma_s^2 / sigma_t^2)

A sampler puts its estimate x_hat in place of x, and takes v ("fixedlarge") or this variance ("fixedsmall") for its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from runtime.guidance.likelihood import discretized_log_likelihood, normal_kl
from runtime.guidance.schedule import Schedule

VARIANCES = ("fixedlarge", "fixedsmall")
"""Variances of a reverse step, as the authors' code names them: all that the step adds, or the posterior's."""

PredictNoise = Callable[[Float[Tensor, "B C H W"], Int64[Tensor, " B"]], Float[Tensor, "B C H W"]]
"""A network: prediction(z_t, t)."""


@dataclass(frozen=True)
class Transition:
    """From a time t to an earlier time s, or to the clean picture.

    Attributes:
        alpha_t: of t; all four are numbers of one shape, which goes with the pictures'.
        sigma_t: of t.
        alpha_s: of s; 1 for the clean picture.
        sigma_s: of s; 0 for the clean picture.
    """

    alpha_t: Float[Tensor, "*n"]
    sigma_t: Float[Tensor, "*n"]
    alpha_s: Float[Tensor, "*n"]
    sigma_s: Float[Tensor, "*n"]

    @classmethod
    def of(cls, schedule: Schedule, t: int, s: int | None) -> "Transition":
        """Return that between two times; None for s is the clean picture."""
        one = torch.ones((), dtype=schedule.alphas.dtype)
        alpha_s, sigma_s = (one, 0.0 * one) if s is None else (schedule.alphas[s], schedule.sigmas[s])
        return cls(schedule.alphas[t], schedule.sigmas[t], alpha_s, sigma_s)

    @classmethod
    def before(cls, schedule: Schedule, t: Int64[Tensor, "*n"]) -> "Transition":
        """Return those from times to the ones just before."""
        first = t == 0
        s = (t - 1).clamp(min=0)
        # Index -1 would silently be the last time: time 0 reads itself, and is then overwritten by the clean picture.
        alphas, sigmas = schedule.alphas.to(t.device), schedule.sigmas.to(t.device)
        return cls(alphas[t], sigmas[t], alphas[s].masked_fill(first, 1.0), sigmas[s].masked_fill(first, 0.0))

    @property
    def ratio(self) -> Float[Tensor, "*n"]:
        """What of z_s is left in z_t: alpha_t / alpha_s."""
        return self.alpha_t / self.alpha_s

    @property
    def added(self) -> Float[Tensor, "*n"]:
        """The variance v that the process adds between the two times; beta_t from the time just before."""
        # Of 1e-4 between numbers near 1 at first: in float32 three digits would be left, so schedules keep float64.
        return self.sigma_t.square() - self.ratio.square() * self.sigma_s.square()

    @property
    def posterior_variance(self) -> Float[Tensor, "*n"]:
        """The variance of q(z_s | z_t, x); 0 for the clean picture."""
        return self.added * (self.sigma_s / self.sigma_t).square()

    @property
    def weights(self) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """The factors of x and of z_t in the mean of q(z_s | z_t, x)."""
        squared = self.sigma_t.square()
        return self.alpha_s * self.added / squared, self.ratio * self.sigma_s.square() / squared

    def variance(self, kind: str) -> Float[Tensor, "*n"]:
        """Return the variance of a reverse step, of one of `VARIANCES`."""
        return self.added if kind == "fixedlarge" else self.posterior_variance

    def posterior_mean(self, x: Float[Tensor, "B C H W"], z: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Return the mean of q(z_s | z_t, x)."""
        of_x, of_z = (_shaped(weight, z) for weight in self.weights)
        return of_x * x + of_z * z


def _shaped(weight: Float[Tensor, "*n"], z: Float[Tensor, "B C H W"]) -> Tensor:
    """Return weights in the type of pictures, and one for each picture where there are several."""
    weight = weight.to(z.dtype)
    return weight.view(-1, 1, 1, 1) if weight.ndim else weight


def log_variances(schedule: Schedule, kind: str) -> Float64[Tensor, " T"]:
    """Return the logarithm of the variance of each reverse step.

    The first step's, which the posterior has as 0, is the posterior's of the second, as in the authors' code: it is the
    variance of the decoder.
    """
    table = Transition.before(schedule, torch.arange(len(schedule)))
    variances = table.variance(kind).double()
    # Its logarithm would be minus infinity.
    variances[0] = table.posterior_variance[1]
    return variances.log()


def clean_of(
    schedule: Schedule,
    prediction: Float[Tensor, "B C H W"],
    z: Float[Tensor, "B C H W"],
    t: Int64[Tensor, " B"],
    *,
    clip: bool = True,
) -> Float[Tensor, "B C H W"]:
    """Return x_hat, the clean picture that a network's prediction stands for, clipped to [-1, 1] if asked for."""
    x_hat = schedule.clean(z, schedule.noise_of(prediction, z, t), t)
    return x_hat.clamp(-1.0, 1.0) if clip else x_hat


def simple_loss(
    predict: PredictNoise,
    x: Float[Tensor, "B C H W"],
    t: Int64[Tensor, " B"],
    noise: Float[Tensor, "B C H W"],
    schedule: Schedule,
) -> Float[Tensor, ""]:
    """Return L_simple, the mean squared error of a network's prediction (arXiv:2006.11239 Eq. 14).

    Args:
        predict: the network.
        x: clean pictures.
        t: times in [0, T).
        noise: standard normal.
        schedule: alpha_t and sigma_t, and what the network predicts.
    """
    # Under autocast the network answers in half precision, too coarse for a mean of thousands of squares.
    predicted = predict(schedule.diffuse(x, noise, t), t).float()
    return (predicted - schedule.target_of(x, noise, t)).square().mean()


def variational_terms(
    predict: PredictNoise,
    x: Float[Tensor, "B C H W"],
    t: Int64[Tensor, " B"],
    noise: Float[Tensor, "B C H W"],
    schedule: Schedule,
    *,
    kind: str = "fixedlarge",
    clip: bool = True,
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Return the terms L_t of the variational bound in nats a dimension, and the squared error of x_hat.

    For t > 0 a term is KL(q(z_{t-1} | z_t, x) || p(z_{t-1} | z_t)), for t = 0 the negative logarithm of the decoder's
    probability of x's levels (arXiv:2006.11239 Eq. 5 and 13). The mean over t times T is the bound but for L_T, so the
    mean of the terms is L_vlb as a loss.

    Args:
        predict: the network.
        x: pictures of 256 levels in [-1, 1].
        t: times in [0, T).
        noise: standard normal.
        schedule: alpha_t and sigma_t, in float64.
        kind: variance of the reverse step, one of `VARIANCES`.
        clip: whether x_hat is clipped to [-1, 1], as the authors do.
    """
    z = schedule.diffuse(x, noise, t)
    x_hat = clean_of(schedule, predict(z, t), z, t, clip=clip)
    transition = Transition.before(schedule, t)
    truth, mean = transition.posterior_mean(x, z), transition.posterior_mean(x_hat, z)
    log_variance = log_variances(schedule, kind).to(t.device)[t].view(-1, 1, 1, 1)
    posterior = log_variances(schedule, "fixedsmall").to(t.device)[t].view(-1, 1, 1, 1)
    kl = normal_kl(truth, posterior, mean, log_variance)
    # For all rows, of which t = 0 alone is used: a batch of mixed times then needs no loop.
    decoder = -discretized_log_likelihood(x, mean, 0.5 * log_variance)
    first = (t == 0).view(-1, 1, 1, 1)
    terms = torch.where(first, decoder, kl).flatten(1).mean(1)
    return terms, (x_hat - x).square().flatten(1).mean(1)


def prior_term(x: Float[Tensor, "B C H W"], schedule: Schedule) -> Float[Tensor, " B"]:
    """Return L_T in nats a dimension, KL(q(z_{T-1} | x) || N(0, 1)): what the last time still tells of x."""
    alpha, sigma = schedule.alphas[-1].double(), schedule.sigmas[-1].double()
    zero = torch.zeros_like(x, dtype=torch.float64)
    return normal_kl(alpha * x.double(), 2.0 * sigma.log() + zero, zero, zero).flatten(1).mean(1)
