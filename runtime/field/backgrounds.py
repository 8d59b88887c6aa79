"""Random backgrounds, so that an object has to be one: noise, checkerboards, Fourier textures, blurred (thesis 4.4.5).

With a plain background an image-text encoder is content with haze; with random ones only what is opaque counts.
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

SQUARES = 8
"""Squares along a checkerboard's side."""

TEXTURE_DEVIATION = 0.2
TEXTURE_DECAY = 1.5
"""Of a texture's spectrum: amplitudes fall as the frequency to that power."""

BLUR = (0.0, 10.0)
"""Deviations of the blur, pixels; uniform (published code)."""

KERNEL = 15
"""Pixels across the blur's kernel."""

COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""Root of the covariance of ImageNet's colours, from Lucid (Apache-2.0), which the thesis takes its textures from."""

Background = Literal["random", "noise", "gaussian", "checkerboard", "texture", "white"]
"""random: one of noise, checkerboard and texture, each with a probability of a third."""


def noise(size: int, generator: torch.Generator) -> Float[Tensor, "3 H W"]:
    """Return uniform noise in [0, 1): that of the published code; the thesis says Gaussian."""
    return torch.rand(3, size, size, generator=generator)


def gaussian(size: int, generator: torch.Generator) -> Float[Tensor, "3 H W"]:
    """Return Gaussian noise of uniform noise's mean and deviation, clamped to [0, 1]."""
    return (0.5 + 12**-0.5 * torch.randn(3, size, size, generator=generator)).clamp(0, 1)


def checkerboard(size: int, generator: torch.Generator) -> Float[Tensor, "3 H W"]:
    """Return a board of two random colours, `SQUARES` a side."""
    first, second = torch.rand(2, 3, generator=generator)
    row = torch.arange(size) * SQUARES // size
    odd = (row[:, None] + row) % 2 == 1
    return torch.where(odd, second[:, None, None], first[:, None, None])


def texture(size: int, generator: torch.Generator) -> Float[Tensor, "3 H W"]:
    """Return a random texture whose spectrum falls with the frequency, in colours that occur together (Lucid)."""
    frequency = (torch.fft.fftfreq(size)[:, None].square() + torch.fft.rfftfreq(size).square()).sqrt()
    scale = size / frequency.clamp(min=1 / size) ** TEXTURE_DECAY
    real, imaginary = TEXTURE_DEVIATION * torch.randn(2, 3, *frequency.shape, generator=generator)
    plain = torch.fft.irfft2(torch.complex(real, imaginary) * scale, s=(size, size)) / 4
    mixed = torch.tensor(COLOURS)
    mixed = mixed / mixed.norm(dim=0).max()
    return torch.einsum("ij,jhw->ihw", mixed, plain).sigmoid()


def blurred(pictures: Float[Tensor, "B 3 H W"], deviations: Float[Tensor, " B"]) -> Float[Tensor, "B 3 H W"]:
    """Return pictures after a Gaussian blur, each with its own deviation in pixels; 0 leaves one as it is."""
    place = torch.arange(KERNEL) - KERNEL // 2
    weights = torch.exp(-place.square() / (2 * deviations[:, None].clamp(min=1e-3).square()))
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(3, 0)
    count, _, height, width = pictures.shape
    # One channel a group: each has a kernel of its own.
    flat = functional.pad(pictures, (KERNEL // 2,) * 4, mode="replicate").flatten(0, 1)[None]
    across = functional.conv2d(flat, weights[:, None, None, :], groups=3 * count)
    return functional.conv2d(across, weights[:, None, :, None], groups=3 * count).view(count, 3, height, width)


KINDS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "noise": noise,
    "gaussian": gaussian,
    "checkerboard": checkerboard,
    "texture": texture,
}
"""What draws a picture of a size, by name."""

RANDOM = ("noise", "checkerboard", "texture")


def draw_backgrounds(
    kind: Background, count: int, size: int, generator: torch.Generator
) -> Float[Tensor, "{count} 3 {size} {size}"]:
    """Return backgrounds in [0, 1], each of its own draws and blur; white ones are not blurred.

    Args:
        kind: of all of them.
        count: how many.
        size: pixels a side.
        generator: of all draws.
    """
    if kind == "white":
        return torch.ones(count, 3, size, size)
    drawn = torch.randint(len(RANDOM), (count,), generator=generator).tolist()
    names = [RANDOM[index] if kind == "random" else kind for index in drawn]
    pictures = torch.stack([KINDS[name](size, generator) for name in names])
    low, high = BLUR
    return blurred(pictures, low + (high - low) * torch.rand(count, generator=generator))
