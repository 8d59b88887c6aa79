"""Draw a pixel from its distribution: two logits, or a mixture of discretized logistics (see `runtime.pixels.heads`).

All randomness comes in as uniform numbers, so that draws can be made before a loop and a loop can be a captured graph.
"""

import torch
from torch import Tensor

from runtime.pixels.heads import Pixels, couple, is_binary, split_mixture


def uniforms_needed(pixels: Pixels) -> int:
    """Return how many uniform numbers a pixel takes: one for two logits, else one and one for each channel."""
    return 1 if is_binary(pixels) else 1 + pixels.channels


def draw_pixel(parameters: Tensor, uniforms: Tensor, pixels: Pixels, temperature: float = 1.0) -> Tensor:
    """Return levels (B, channels), int64, drawn from the distributions of B pixels.

    Args:
        parameters: (B, K) of the network's head.
        uniforms: (B, `uniforms_needed`) in (0, 1).
        pixels: channels, levels and mixtures.
        temperature: logits are divided by it and scales multiplied; 1 draws from the model, less nearer to its mode.

    A logistic's draw, rounded to the nearest level and clamped to the ends, has the mass that the discretized logistic
    gives to that level. Channels are drawn one after the other, each from means shifted by the levels before.
    """
    if is_binary(pixels):
        return (uniforms < torch.sigmoid((parameters[:, 1:] - parameters[:, :1]) / temperature)).long()
    logits, means, log_scales, couplings = split_mixture(parameters, pixels)
    cumulated = torch.softmax(logits / temperature, -1).cumsum(-1)
    component = (uniforms[:, :1] * cumulated[:, -1:] > cumulated[:, :-1]).sum(-1)
    noise = torch.logit(uniforms[:, 1:], eps=1e-7) * temperature
    chosen = component[:, None, None]
    scale = log_scales.gather(-1, chosen.expand(-1, pixels.channels, 1))[..., 0].exp()
    half = 0.5 * (pixels.levels - 1)
    levels = torch.zeros_like(noise)
    for channel in range(pixels.channels):
        mean = couple(means, couplings, levels / half - 1.0)[:, channel].gather(-1, component[:, None])[:, 0]
        x = mean + scale[:, channel] * noise[:, channel]
        levels[:, channel] = ((x + 1.0) * half).round().clamp(0, pixels.levels - 1)
    return levels.long()
