"""The networks of pixelNeRF: an encoder of pictures, and a field whose points look up features in them.

A point is given to the field in the axes of each input picture's camera, with the object's centre as the origin, and
with the features of the pixel that it falls on. The first blocks run for each picture alone, their results are
averaged, and the last blocks give a density and a colour. The colour begins as the mean of those of the pixels, so that
training learns what differs from it. The field does not see the viewing direction, so that it can be baked into a grid,
a mesh and a texture.

Pictures are square, with premultiplied alpha: (r a, g a, b a, a), so that what is transparent is all zeros.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

PIXEL = 4
"""Channels of the pixels themselves, premultiplied RGBA, behind those of the features."""

DENSITY_SCALE = 30.0
"""Densities per unit length are this times a softplus: a few of them make a sample opaque."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a checkpoint's shapes and meaning depend on."""

    encoder: str = "small"
    """`small`, a U-Net of 1.7 million values, or `resnet34`, the ResNet-34 of the paper."""
    side: int = 64
    """Height and width of the pictures, pixels, a multiple of 32."""
    width: int = 64
    """Channels of features and of the field's blocks."""
    blocks: int = 3
    """Blocks of the field for each picture alone."""
    joint: int = 2
    """Blocks behind the mean over pictures."""
    frequencies: int = 6
    """Octaves of the points' positional encoding, from 1.5 on (arXiv:2012.02190)."""


class PixelNeRF(nn.Module):
    """An encoder and a field."""

    def __init__(self, architecture: Architecture) -> None:
        """Make the networks with random weights."""
        super().__init__()
        self.architecture = architecture
        if architecture.encoder == "resnet34":
            from train.pixelnerf.resnet import ResNetEncoder

            self.encoder: nn.Module = ResNetEncoder(architecture.width)
        else:
            self.encoder = Encoder(architecture.width)
        self.field = Field(architecture)


class Encoder(nn.Module):
    """A U-Net: pictures (N, 4, H, W) to features (N, H, W, D), and the pixels behind them."""

    CHANNELS = (16, 32, 64, 96, 128)

    def __init__(self, width: int) -> None:
        """Make the network for features of `width` channels."""
        super().__init__()
        c = self.CHANNELS
        self.stem = nn.Conv2d(4, c[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(c[i], c[i + 1], 4, stride=2, padding=1) for i in range(4))
        counts = (0, 1, 2, 2, 2)
        self.deep = nn.ModuleList(nn.Sequential(*(Residual(c[i]) for _ in range(counts[i]))) for i in range(5))
        self.up = nn.ModuleList(nn.Conv2d(c[i + 1] + c[i], c[i], 3, padding=1) for i in range(1, 4))
        self.last = nn.Conv2d(c[0] + c[1], width, 1)

    def forward(self, pictures: Float[Tensor, "N 4 H W"]) -> Float[Tensor, "N H W E"]:
        """Return the features of every pixel, and the pixels."""
        x = F.relu(self.stem(pictures))
        levels = [x]
        for down, deep in zip(self.down, self.deep[1:], strict=True):
            x = deep(F.relu(down(x)))
            levels.append(x)
        for i in (3, 2, 1):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = F.relu(self.up[i - 1](torch.cat([x, levels[i]], dim=1)))
        x = torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), levels[0]], dim=1)
        return torch.cat([self.last(x), pictures], dim=1).permute(0, 2, 3, 1)


class Residual(nn.Module):
    """Two convolutions beside a skip; the second starts at zero, so that deep networks start shallow."""

    def __init__(self, channels: int) -> None:
        """Make a block that keeps the number of channels."""
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        self.second.bias.data.zero_()  # pyright: ignore[reportOptionalMemberAccess]

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Return the features with what the block adds."""
        return F.relu(x + self.second(F.relu(self.first(x))))


class Field(nn.Module):
    """Features and positions of points in V pictures to raw density and colour."""

    def __init__(self, architecture: Architecture) -> None:
        """Make the network."""
        super().__init__()
        width, self.frequencies = architecture.width, architecture.frequencies
        self.position = nn.Linear(3 + 6 * self.frequencies, width)
        self.alone = nn.ModuleList(Block(width) for _ in range(architecture.blocks))
        self.joint = nn.ModuleList(Block(width) for _ in range(architecture.joint))
        self.out = nn.Linear(width, 4)

    def forward(self, features: Float[Tensor, "V P E"], points: Float[Tensor, "V P 3"]) -> Float[Tensor, "P 4"]:
        """Return the density per unit length and the colour of each point.

        Args:
            features: of the pixel of each picture that a point falls on, and the pixel itself.
            points: positions in the axes of each picture's camera, around the object's centre.
        """
        width = features.shape[2] - PIXEL
        x = features[..., :width] + self.position(encode_position(points, self.frequencies))
        for block in self.alone:
            x = block(x)
        x = x.mean(0)
        for block in self.joint:
            x = block(x)
        raw = self.out(x).float()
        density = DENSITY_SCALE * F.softplus(raw[:, :1] - 1.0)
        pixel = features[..., width:].float().sum(0)
        # Premultiplied colours add up over pictures; their sum over that of alphas is the mean of what is opaque.
        colour = (pixel[:, :3] / pixel[:, 3:].clamp(min=1e-3)).clamp(0.02, 0.98)
        return torch.cat([density, (raw[:, 1:] + torch.log(colour / (1 - colour))).sigmoid()], dim=1)


class Block(nn.Module):
    """A residual block of the field, with the activation in front (arXiv:2012.02190)."""

    def __init__(self, width: int) -> None:
        """Make a block."""
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Return the features with what the block adds."""
        return x + self.second(F.relu(self.first(F.relu(x))))


def encode_position(points: Float[Tensor, "*B 3"], frequencies: int) -> Float[Tensor, "*B E"]:
    """Return positions with their sines and cosines at 1.5 times powers of two."""
    scales = 1.5 * 2.0 ** torch.arange(frequencies, dtype=points.dtype, device=points.device)
    angles = (points[..., None, :] * scales[:, None]).flatten(-2)
    return torch.cat([points, angles.sin(), angles.cos()], dim=-1)
