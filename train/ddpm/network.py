"""The U-Net of DDPM: residual blocks that know the time, self-attention at some resolutions, skip connections.

It is the function that `diffusers.UNet2DModel` computes with the configuration of the official checkpoints, under the
same names of weights, so that weights of either load into either. Two things are ours: the last layer of each residual
block, of each attention and of the network begins at zero, as the authors' code has it, and a network may work on
patches of pixels, which is what makes one fast on a CPU.

Notation: B pictures, C channels, H W pixels, D width of a time's embedding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a network is made from."""

    channels: int = 3
    """Colour channels of a picture."""
    size: int = 32
    """Height and width of a picture in pixels."""
    widths: tuple[int, ...] = (128, 256, 256, 256)
    """Channels of the levels; each has half the resolution of the one before."""
    blocks: int = 2
    """Residual blocks of a level on the way down; one more on the way up."""
    attention: tuple[int, ...] = (16,)
    """Resolutions with self-attention, in pixels of the picture divided by `patch` and by 2 a level."""
    dropout: float = 0.1
    """Share of features that training drops in each residual block, in [0, 1)."""
    groups: int = 32
    """Groups of each group normalization; divides every width."""
    patch: int = 1
    """Side of the squares of pixels that are one position of the first level; 1 is the paper's network."""

    def __post_init__(self) -> None:
        """Refuse what makes no network.

        Raises:
            UserError: where the levels do not fit the picture, or the groups the widths.
        """
        whole = self.patch * 2 ** (len(self.widths) - 1)
        if self.size % whole:
            raise UserError(f"network: expected pictures whose side is a multiple of {whole}, got {self.size}")
        if any(width % self.groups for width in self.widths):
            raise UserError(f"network: expected widths that {self.groups} divides, got {self.widths}")

    @property
    def resolutions(self) -> list[int]:
        """Positions along a side, of each level."""
        return [self.size // self.patch >> level for level in range(len(self.widths))]


PRESETS: dict[str, Architecture] = {
    "tiny": Architecture(widths=(32, 64, 96), blocks=1, attention=(4,), dropout=0.0, groups=16, patch=2),
    "mnist": Architecture(
        channels=1, size=28, widths=(32, 64), blocks=2, attention=(7,), dropout=0.0, groups=16, patch=2
    ),
    "cifar10": Architecture(),
    "lsun-256": Architecture(size=256, widths=(128, 128, 256, 256, 512, 512), dropout=0.0),
    "lsun-256-large": Architecture(size=256, widths=(192, 192, 384, 384, 768, 768), dropout=0.0),
}
"""The networks of the paper, 35.7, 114 and 256 million parameters, and two for CPUs: 28 is no multiple of 8."""


def sinusoids(t: Int64[Tensor, " B"], width: int) -> Float[Tensor, "B {width}"]:
    """Return the sinusoidal embedding of times: sines, then cosines, of frequencies from 1 down to 1 / 10000.

    The last frequency is 1 / 10000 itself, as in the authors' code, and not the one before it.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10000.0) / (half - 1) * torch.arange(half, device=t.device))
    angles = t[:, None].float() * frequencies
    return torch.cat((angles.sin(), angles.cos()), 1)


class TimeEmbedding(nn.Module):
    """Two layers on the sinusoids of a time."""

    def __init__(self, width: int) -> None:
        """Make layers to four times `width`."""
        super().__init__()
        self.linear_1 = nn.Linear(width, 4 * width)
        self.linear_2 = nn.Linear(4 * width, 4 * width)

    def forward(self, values: Float[Tensor, "B C"]) -> Float[Tensor, "B D"]:
        """Return the embedding."""
        return self.linear_2(functional.silu(self.linear_1(values)))


class ResidualBlock(nn.Module):
    """Two convolutions around which the input passes; the time is added between them."""

    def __init__(self, inputs: int, outputs: int, architecture: Architecture) -> None:
        """Make the block of so many channels."""
        super().__init__()
        groups = architecture.groups
        # The epsilon of the official checkpoints, not PyTorch's: weights are compared to the last digit.
        self.norm1 = nn.GroupNorm(groups, inputs, eps=1e-6)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time_emb_proj = nn.Linear(4 * architecture.widths[0], outputs)
        self.norm2 = nn.GroupNorm(groups, outputs, eps=1e-6)
        self.dropout = nn.Dropout(architecture.dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Float[Tensor, "B C h w"], time: Float[Tensor, "B D"]) -> Float[Tensor, "B _ h w"]:
        """Return the features, those of the input added."""
        y = self.conv1(functional.silu(self.norm1(x)))
        y = y + self.time_emb_proj(functional.silu(time))[:, :, None, None]
        y = self.conv2(self.dropout(functional.silu(self.norm2(y))))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + y


class Attention(nn.Module):
    """Self-attention of one head over all positions, added to its input."""

    def __init__(self, channels: int, groups: int) -> None:
        """Make the projections."""
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        # A list, for the names that diffusers gives the weights: "to_out.0".
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Return the features, those of the input added."""
        rows = self.group_norm(x).flatten(2).transpose(1, 2)
        q, k, v = self.to_q(rows), self.to_k(rows), self.to_v(rows)
        # Written out: at these sizes it is as fast as the fused one, and it exports to plain products.
        weights = torch.softmax(q @ k.transpose(1, 2) * x.shape[1] ** -0.5, dim=-1)
        return x + self.to_out[0](weights @ v).transpose(1, 2).reshape(x.shape)


class Downsample(nn.Module):
    """A convolution of stride 2, padded below and to the right only, as TensorFlow's SAME does."""

    def __init__(self, channels: int) -> None:
        """Make the convolution."""
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C _ _"]:
        """Return features at half the resolution."""
        # PyTorch's own padding would be on both sides, and shift the maps by half a position.
        return self.conv(functional.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Each position four times, then a convolution."""

    def __init__(self, channels: int) -> None:
        """Make the convolution."""
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C _ _"]:
        """Return features at twice the resolution."""
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The blocks at one resolution, on the way down or up, each followed by attention where there is some."""

    def __init__(
        self,
        inputs: Sequence[int],
        outputs: int,
        architecture: Architecture,
        *,
        attends: bool,
        sampler: nn.Module | None,
    ) -> None:
        """Make the blocks; `inputs` are the channels that each of them takes."""
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(count, outputs, architecture) for count in inputs)
        if attends:
            self.attentions = nn.ModuleList(Attention(outputs, architecture.groups) for _ in inputs)
        if isinstance(sampler, Downsample):
            self.downsamplers = nn.ModuleList([sampler])
        elif sampler is not None:
            self.upsamplers = nn.ModuleList([sampler])

    def run(self, number: int, x: Float[Tensor, "B C h w"], time: Float[Tensor, "B D"]) -> Float[Tensor, "B _ h w"]:
        """Return the features behind one of the blocks and its attention."""
        x = self.resnets[number](x, time)
        return self.attentions[number](x) if hasattr(self, "attentions") else x


class Middle(nn.Module):
    """Two blocks with attention between them, at the lowest resolution."""

    def __init__(self, channels: int, architecture: Architecture) -> None:
        """Make them."""
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(channels, channels, architecture) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(channels, architecture.groups)])

    def forward(self, x: Float[Tensor, "B C h w"], time: Float[Tensor, "B D"]) -> Float[Tensor, "B C h w"]:
        """Return the features."""
        return self.resnets[1](self.attentions[0](self.resnets[0](x, time)), time)


class PixelDenoiser(nn.Module):
    """Predicts the noise of a picture.

    Args:
        architecture: what it is made from.
    """

    def __init__(self, architecture: Architecture) -> None:
        """Make the network with the authors' initialization."""
        super().__init__()
        self.architecture = architecture
        a, widths = architecture, architecture.widths
        pixels = a.channels * a.patch**2
        attends = [side in a.attention for side in a.resolutions]
        last = len(widths) - 1
        self.conv_in = nn.Conv2d(pixels, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0])
        self.down_blocks, skips = nn.ModuleList(), [widths[0]]
        for i, width in enumerate(widths):
            inputs = [widths[max(0, i - 1)], *[width] * (a.blocks - 1)]
            sampler = Downsample(width) if i < last else None
            self.down_blocks.append(Level(inputs, width, a, attends=attends[i], sampler=sampler))
            skips += [width] * (a.blocks + (i < last))
        self.mid_block = Middle(widths[-1], a)
        self.up_blocks, above = nn.ModuleList(), widths[-1]
        for i, width in reversed(list(enumerate(widths))):
            inputs = [(above if block == 0 else width) + skips.pop() for block in range(a.blocks + 1)]
            sampler = Upsample(width) if i > 0 else None
            self.up_blocks.append(Level(inputs, width, a, attends=attends[i], sampler=sampler))
            above = width
        self.conv_norm_out = nn.GroupNorm(a.groups, widths[0], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[0], pixels, 3, padding=1)
        self.apply(_initialize)
        for layer in self._last_layers():
            nn.init.zeros_(layer.weight)  # pyright: ignore[reportArgumentType]

    def _last_layers(self) -> list[nn.Module]:
        """Return the layers that begin at zero: each block and attention is the identity then, and the output 0."""
        blocks = [module.conv2 for module in self.modules() if isinstance(module, ResidualBlock)]
        return [*blocks, *(m.to_out[0] for m in self.modules() if isinstance(m, Attention)), self.conv_out]

    def forward(self, sample: Float[Tensor, "B C H W"], timestep: Int64[Tensor, " B"]) -> Float[Tensor, "B C H W"]:
        """Return the predicted noise.

        Args:
            sample: noised pictures alpha_t x + sigma_t eps with x in [-1, 1].
            timestep: times in [0, T).
        """
        patch = self.architecture.patch
        x = self.conv_in(functional.pixel_unshuffle(sample, patch) if patch > 1 else sample)
        # in the weights' type, so that a network in half precision runs without autocast
        time = self.time_embedding(sinusoids(timestep, self.architecture.widths[0]).to(x.dtype))
        skips = [x]
        for level in self.down_blocks:
            assert isinstance(level, Level)
            for block in range(len(level.resnets)):
                x = level.run(block, x, time)
                skips.append(x)
            if hasattr(level, "downsamplers"):
                x = level.downsamplers[0](x)
                skips.append(x)
        x = self.mid_block(x, time)
        for level in self.up_blocks:
            assert isinstance(level, Level)
            for block in range(len(level.resnets)):
                x = level.run(block, torch.cat((x, skips.pop()), 1), time)
            if hasattr(level, "upsamplers"):
                x = level.upsamplers[0](x)
        x = self.conv_out(functional.silu(self.conv_norm_out(x)))
        return functional.pixel_shuffle(x, patch) if patch > 1 else x


def _initialize(module: nn.Module) -> None:
    """Draw a layer's weights as the authors do, uniform with the variance 2 / (inputs + outputs); biases are 0."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
