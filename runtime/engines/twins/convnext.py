"""CLIP's convolutional image encoder, a ConvNeXt, in plain PyTorch, for the runs that need its gradient.

Arithmetic and parameter names are those of timm's `ConvNeXt` as open_clip wraps it: `trunk.stages.0.blocks.0.conv_dw`,
`head.proj` and so on.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional as F

from runtime.engines.twins.vit import CLIP_MEAN, CLIP_STD, Normalize, unit


@dataclass(frozen=True, kw_only=True)
class ConvNextConfig:
    """Sizes of a `ConvNext`; the defaults are those of open_clip's convnext_base_w."""

    input_size: int
    """Height and width of the pictures, pixels."""
    image_size: int = 256
    """Height and width to which they are resized, a multiple of 4 * 2^(stages - 1)."""
    depths: tuple[int, ...] = (3, 3, 27, 3)
    """Blocks of each stage."""
    widths: tuple[int, ...] = (128, 256, 512, 1024)
    """Channels of each stage."""
    embedding: int = 640
    """Numbers of the embedding."""
    epsilon: float = 1e-6
    """Added to the variance in every normalization."""
    mean: tuple[float, float, float] = CLIP_MEAN
    """Subtracted from RGB in [0, 1]."""
    std: tuple[float, float, float] = CLIP_STD
    """The deviation that the difference is divided by."""

    def __post_init__(self) -> None:
        """Check the sizes; a `ValueError` names the field."""
        for name in ("input_size", "image_size", "embedding"):
            if not 1 <= getattr(self, name) <= 16384:
                raise ValueError(f"{name}: expected 1 to 16384, got {getattr(self, name)}")
        if len(self.depths) != len(self.widths) or not 1 <= len(self.depths) <= 8:
            raise ValueError(f"depths, widths: expected as many of each, up to 8, got {self.depths}, {self.widths}")
        if not all(1 <= n <= 1024 for n in self.depths) or not all(1 <= n <= 16384 for n in self.widths):
            raise ValueError(f"depths, widths: expected 1 to 1024 and to 16384, got {self.depths}, {self.widths}")
        # the stem divides by 4, each later stage by 2; a remainder of pixels would be dropped unseen
        step = 4 * 2 ** (len(self.depths) - 1)
        if self.image_size % step:
            raise ValueError(f"image_size: expected a multiple of {step}, got {self.image_size}")


class ConvNext(nn.Module):
    """RGB in [0, 1] to embeddings of unit norm."""

    def __init__(self, config: ConvNextConfig) -> None:
        """Make the network; its parameters are to be loaded."""
        super().__init__()
        self.config = config
        self.normalize = Normalize(config.input_size, config.image_size, config.mean, config.std)
        self.trunk = _Trunk(config)
        self.head = nn.ModuleDict({"proj": nn.Linear(config.widths[-1], config.embedding, bias=False)})

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float32[Tensor, "B E"]:
        """Return embeddings of unit norm of RGB in [0, 1]."""
        x = self.normalize(images).to(self.head["proj"].weight.dtype)  # pyright: ignore
        return unit(self.head["proj"](self.trunk(x)))


class ChannelNorm(nn.LayerNorm):
    """A layer normalization over the channels of maps."""

    def forward(self, input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Return the normalized features, in the input's type."""
        # in float32, since half precision loses digits in the mean and may overflow in the squares
        last = input.permute(0, 2, 3, 1).float()
        wide = F.layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps)
        return wide.to(input.dtype).permute(0, 3, 1, 2)


class _Trunk(nn.Module):
    def __init__(self, config: ConvNextConfig) -> None:
        super().__init__()
        widths, epsilon = config.widths, config.epsilon
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), ChannelNorm(widths[0], epsilon))
        befores = (0, *widths[:-1])
        stages = zip(befores, widths, config.depths, strict=True)
        self.stages = nn.ModuleList(_Stage(before, width, depth, epsilon) for before, width, depth in stages)
        self.head = nn.ModuleDict({"norm": ChannelNorm(widths[-1], epsilon)})

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C"]:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        pooled = x.float().mean((2, 3), keepdim=True).to(x.dtype)
        return self.head["norm"](pooled).flatten(1)


class _Stage(nn.Module):
    def __init__(self, before: int, width: int, depth: int, epsilon: float) -> None:
        super().__init__()
        # the first stage follows the stem, which has reduced the resolution already
        halve = (ChannelNorm(before, epsilon), nn.Conv2d(before, width, 2, 2)) if before else ()
        self.downsample = nn.Sequential(*halve)
        self.blocks = nn.ModuleList(_Block(width, epsilon) for _ in range(depth))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        x = self.downsample(x)
        for block in self.blocks:
            x = block(x)
        return x


class _Block(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(width))
        self.conv_dw = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, epsilon)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        hidden = self.norm(self.conv_dw(x).permute(0, 2, 3, 1))
        hidden = self.mlp["fc2"](F.gelu(self.mlp["fc1"](hidden)))
        return x + (hidden * self.gamma).permute(0, 3, 1, 2)
