"""Score distillation sampling in a latent space, with classifier-free guidance.

Notation: z (B, C, h, w) the latents of a picture, t (B,) a time, eps the noise, y the prompt, omega the weight of
guidance.

    z_t     = alpha_t z + sigma_t eps
    eps_hat = (1 + omega) eps(z_t; y) - omega eps(z_t)                            Thesis Eq. 6.3
    grad    = w(t) (eps_hat - eps) dz/dtheta                                      Thesis Eq. 6.7; arXiv:2211.11319

Equation 6.7 is printed with alpha_t z_t in place of alpha_t z; the text above it defines z_t as here.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from runtime.engines.protocols import Denoiser
from runtime.guidance.prompt import Prompt
from runtime.guidance.schedule import Schedule

Weighting = Callable[[Tensor, Tensor], Tensor]
"""w(t) from alpha_t and sigma_t."""

WEIGHTINGS: Mapping[str, Weighting] = MappingProxyType(
    {
        "sigma2": lambda alpha, sigma: sigma**2,
        "uniform": lambda alpha, sigma: torch.ones_like(sigma),
        "alpha-sigma2": lambda alpha, sigma: alpha * sigma**2,
    }
)
"""w(t) by name: DreamFusion's (arXiv:2209.14988, A.2), none, and Fantasia3D's, which leaves out both ends of time
(arXiv:2303.13873, section 3.3)."""


@torch.no_grad()
def guided_noise(
    denoise: Denoiser,
    z: Float[Tensor, "B C h w"],
    t: Int64[Tensor, " B"],
    prompt: Prompt,
    omega: float,
    schedule: Schedule | None = None,
) -> Float[Tensor, "B C h w"]:
    """Return eps_hat of Thesis Eq. 6.3, from one call of the network on a batch of 2 B.

    Args:
        denoise: the network; never asked for a gradient.
        z: noisy latents.
        t: times in [0, T).
        prompt: one text for the whole batch, or one for each picture.
        omega: weight of guidance, at least -1; 0 is the conditional model alone, elsewhere `guidance_scale` 1 + omega.
        schedule: the network's; may be left out where it predicts the noise.
    """
    # The unconditional half would count with weight 0, and is half of the work.
    if prompt.negatives is not None:
        predicted = perpendicular_noise(denoise, z, t, prompt, omega)
    elif omega == 0.0:
        predicted = denoise(z, t, prompt.conditional(len(z)))
    else:
        conditional, unconditional = denoise(torch.cat([z, z]), torch.cat([t, t]), prompt.pair(len(z))).chunk(2)
        predicted = (1.0 + omega) * conditional - omega * unconditional
    # Guidance may come first: the noise is affine in what is predicted, and the two weights sum to 1.
    return predicted if schedule is None else schedule.noise_of(predicted, z, t)


@torch.no_grad()
def perpendicular_noise(
    denoise: Denoiser, z: Float[Tensor, "B C h w"], t: Int64[Tensor, " B"], prompt: Prompt, omega: float
) -> Float[Tensor, "B C h w"]:
    """Return what Perp-Neg predicts of a prompt with M negatives, from one call on a batch of (2 + M) B.

        eps() + (1 + omega) (d - sum over i of weight_i (d_i across d)),  d = eps(y) - eps(),  d_i = eps(y_i) - eps()

    where "across" takes away what is along d, so that a negative that overlaps with the prompt does not undo it
    (arXiv:2304.04968, Eq. 4). Without negatives it is the guided prediction of Thesis Eq. 6.3.

    Args:
        denoise: the network; never asked for a gradient.
        z: noisy latents.
        t: times in [0, T).
        prompt: with one text and its negatives for each picture.
        omega: weight of guidance; elsewhere `guidance_scale` 1 + omega.
    """
    negatives = prompt.negatives
    assert negatives is not None, "a prompt with negatives"
    count, extra = len(z), negatives.context.shape[1]
    # By text first, so that `chunk` gives one batch for each of them.
    contexts = torch.cat([prompt.pair(count), *negatives.context.expand(count, -1, -1, -1).unbind(1)])
    parts = denoise(torch.cat([z] * (2 + extra)), torch.cat([t] * (2 + extra)), contexts).chunk(2 + extra)
    direction = parts[0] - parts[1]
    total = direction
    for index, part in enumerate(parts[2:]):
        weight = negatives.weights[:, index].view(-1, 1, 1, 1)
        total = total - weight * across(part - parts[1], direction)
    return parts[1] + (1.0 + omega) * total


def across(vectors: Float[Tensor, "B C h w"], directions: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
    """Return what of each vector is perpendicular to a direction; all of it where the direction is zero."""
    along = (vectors * directions).sum((1, 2, 3), keepdim=True)
    square = directions.square().sum((1, 2, 3), keepdim=True)
    return vectors - along / square.clamp(min=1e-6) * directions


def distillation_loss(
    z: Float[Tensor, "B C h w"],
    t: Int64[Tensor, " B"],
    noise: Float[Tensor, "B C h w"],
    *,
    denoise: Denoiser,
    schedule: Schedule,
    prompt: Prompt,
    omega: float,
    weight: Weighting = WEIGHTINGS["sigma2"],
) -> Float[Tensor, ""]:
    """Return a scalar whose gradient by z is that of Thesis Eq. 6.7 over the number of elements of z.

    The division makes it a mean over elements, as denoising losses are taken, so that the weights of other terms do not
    depend on the size of the latents. The value is the mean of half the squared gradient: it falls as the network finds
    less to change. The network's own derivative is left out by the formula, so z is detached once, here.

    Args:
        z: clean latents, differentiable.
        t: times in [0, T).
        noise: standard normal.
        denoise: the network.
        schedule: alpha_t and sigma_t.
        prompt: what to draw.
        omega: weight of guidance, at least -1.
        weight: w(t), see `WEIGHTINGS`.
    """
    guided = guided_noise(denoise, schedule.diffuse(z.detach(), noise, t), t, prompt, omega, schedule)
    gradient = weight(*schedule.at(t)) * (guided - noise)
    surrogate = (z * gradient).mean()
    # The surrogate has the gradient and cancels in the value; the square, which has no graph, is the value.
    return surrogate - surrogate.detach() + 0.5 * gradient.square().mean()


def draw_time(
    count: int, progress: float, generator: torch.Generator, *, lowest: int = 50, highest: tuple[int, int] = (950, 950)
) -> Int64[Tensor, " {count}"]:
    """Return times, uniform on the integers from `lowest` to an upper bound, both included.

    Args:
        count: how many.
        progress: the part of the run that is over, in [0, 1].
        generator: of the draw.
        lowest: smallest t; the thesis has 50 of 1000.
        highest: largest t at progress 0 and 1, linear between; the thesis has 950 throughout.
    """
    upper = round(highest[0] + (highest[1] - highest[0]) * progress)
    # A bound that has fallen below the lowest time leaves that one time, and not an empty range.
    return torch.randint(lowest, max(lowest, upper) + 1, (count,), generator=generator)


def saturation_penalty(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, ""]:
    """Return 1/3 mean(I_r^2 + I_g^2 + I_b^2) with I = 2 images - 1; Thesis 11.9.3.

    Args:
        images: RGB in [0, 1].
    """
    return (2.0 * images - 1.0).square().mean()
