"""The image side of the bundle `icons`' dual encoder, in plain PyTorch: one definition for training, export and runs.

A run needs it for the gradient of a picture's embedding. Parameter names are those of the trained weights.

Letters: B batch, C channels, H W pixels, h w cells of a map, E embedding.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from runtime.engines.twins.vit import unit


@dataclass(frozen=True, kw_only=True)
class ImageTowerConfig:
    """Sizes of an `ImageTower`; the defaults are those of the bundle `icons`."""

    channels: tuple[int, ...] = (48, 96, 128)
    """C of each level; each but the first halves the resolution."""
    blocks: tuple[int, ...] = (1, 2, 2)
    """Residual blocks of each level."""
    unshuffle: int = 4
    """Factor of the pixel-unshuffle in front."""
    groups: int = 16
    """Groups of every group normalization."""
    embedding: int = 256
    """E, numbers of the embedding."""

    def __post_init__(self) -> None:
        """Check the sizes; a `ValueError` names the field."""
        for name in ("unshuffle", "groups", "embedding"):
            if not 1 <= getattr(self, name) <= 4096:
                raise ValueError(f"{name}: expected 1 to 4096, got {getattr(self, name)}")
        if not 1 <= len(self.channels) <= 8 or len(self.channels) != len(self.blocks):
            raise ValueError(f"channels, blocks: expected as many of each, up to 8, got {self.channels}, {self.blocks}")
        if any(type(width) is not int or not 1 <= width <= 4096 or width % self.groups for width in self.channels):
            raise ValueError(f"channels: expected multiples of groups {self.groups} up to 4096, got {self.channels}")
        if any(type(count) is not int or not 0 <= count <= 1024 for count in self.blocks):
            raise ValueError(f"blocks: expected 0 to 1024 of each level, got {self.blocks}")


class ImageTower(nn.Module):
    """RGB in [0, 1] to embeddings of unit norm."""

    def __init__(self, config: ImageTowerConfig) -> None:
        """Make the network with the default initialization."""
        super().__init__()
        self.config = config
        widths, groups = config.channels, config.groups
        layers: list[nn.Module] = [
            nn.PixelUnshuffle(config.unshuffle),
            nn.Conv2d(3 * config.unshuffle**2, widths[0], 3, padding=1),
        ]
        for level, (width, count) in enumerate(zip(widths, config.blocks, strict=True)):
            if level:
                layers.append(nn.Conv2d(widths[level - 1], width, 3, stride=2, padding=1))
            layers += [_Block(width, groups) for _ in range(count)]
        layers += [nn.GroupNorm(groups, widths[-1]), nn.SiLU()]
        self.tower = nn.Sequential(*layers)
        self.head = nn.Linear(5 * widths[-1], config.embedding)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float32[Tensor, "B E"]:
        """Return embeddings of unit norm of RGB in [0, 1]."""
        features = self.tower(2.0 * images - 1.0)
        # the mean of the whole and of each quarter: where a thing stands is part of what a caption tells
        quarters = features.unflatten(2, (2, -1)).unflatten(4, (2, -1)).mean((3, 5)).flatten(1)
        return unit(self.head(torch.cat([features.mean((2, 3)), quarters], dim=1)))


class _Block(nn.Module):
    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(groups, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(groups, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        return features + self.body(features)
