"""Draw a pixel from its distribution: two logits, or a mixture of discretized logistics (see `runtime.pixels.heads`).

All randomness is drawn before the loop, as noise. What is left in the loop is a dozen or two of small operations with
fixed shapes: fast where steps are short, and fit for a captured graph.
"""

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from runtime.pixels.heads import MIN_LOG_SCALE, Pixels, is_binary


def make_noise(
    shape: tuple[int, ...], pixels: Pixels, generator: torch.Generator | None, temperature: float = 1.0
) -> Float32[Tensor, "... n"]:
    """Return the noise of as many draws as `shape` has places.

    Args:
        shape: of the draws, such as positions and pictures.
        pixels: channels, levels and mixtures.
        generator: on the CPU; None makes zeros, which draw the likeliest component's mean.
        temperature: factor on the noise: 1 draws from the model, less nearer to what it finds likeliest.

    n is 1 for two logits: logistic noise on their difference. For a mixture it is Gumbel noise on the logit of each
    component, of which the greatest is then chosen, and logistic noise for each channel.
    """
    count = 1 if is_binary(pixels) else pixels.mixtures + pixels.channels
    if generator is None:
        return torch.zeros(*shape, count)
    # In float64, and away from 0 and 1, for the logarithms to be finite and the tails to be fine.
    uniform = torch.rand(*shape, count, generator=generator, dtype=torch.float64).clamp_(1e-12, 1.0 - 1e-12)
    noise = torch.logit(uniform)
    if not is_binary(pixels):
        components = uniform[..., : pixels.mixtures]
        noise[..., : pixels.mixtures] = -torch.log(-torch.log(components))
    return (noise * temperature).float()


def draw_pixel(parameters: Float[Tensor, "B K"], noise: Float[Tensor, "B n"], pixels: Pixels) -> Int64[Tensor, "B C"]:
    """Return levels drawn from the distributions of B pixels.

    Args:
        parameters: of the network's head.
        noise: of `make_noise`.
        pixels: channels, levels and mixtures.

    A logistic's draw, rounded to the nearest level and clamped to the ends, has the mass that the discretized logistic
    gives to that level. Channels are drawn one after the other, each from a mean shifted by the levels before.
    """
    if is_binary(pixels):
        # Logistic noise is below a difference of logits with the probability of its sigmoid: that of the second value.
        return (parameters[:, 1:] - parameters[:, :1] > noise).long()
    m, c, half = pixels.mixtures, pixels.channels, 0.5 * (pixels.levels - 1)
    # The Gumbel-max trick: a categorical draw without a loop or a search, in fixed shapes.
    component = (parameters[:, :m] + noise[:, :m]).argmax(-1)
    values = parameters[:, m:].unflatten(1, (-1, m))  # means, log-scales and couplings of each component
    chosen = values.gather(2, component[:, None, None].expand(-1, values.shape[1], 1))[..., 0]
    scales = chosen[:, c : 2 * c].clamp(min=MIN_LOG_SCALE).exp()
    places = (torch.addcmul(chosen[:, :c], scales, noise[:, m:]) + 1.0) * half  # x in [-1, 1] is at (x + 1) half
    top = pixels.levels - 1
    if c == 1:
        return places.round().clamp(0, top).long()
    couplings = torch.tanh(chosen[:, 2 * c :])
    red = places[:, 0].round().clamp(0, top)
    shifted = torch.addcmul(places[:, 1:], couplings[:, :2], (red - half)[:, None])  # x half is v - half
    green = shifted[:, 0].round().clamp(0, top)
    blue = torch.addcmul(shifted[:, 1], couplings[:, 2], green - half).round().clamp(0, top)
    return torch.stack((red, green, blue), 1).long()
