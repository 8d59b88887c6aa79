"""The encoder half of an AutoencoderKL in plain PyTorch, for the runs that need its gradient.

The arithmetic and the parameter names are those of `diffusers.AutoencoderKL` (`Encoder`, `DownEncoderBlock2D`,
`UNetMidBlock2D`), so its weights load as they are and a test holds the two equal, value and gradient. It is written out
because importing diffusers takes four seconds and 200 MB, a fifth of what a whole run may take.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from runtime.engines.twins.fused.norm import attend, group_norm

# of diffusers; PyTorch's default, 1e-5, would change every normalization
_EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True)
class KLEncoderConfig:
    """Sizes of a `KLEncoder`; names as in diffusers' configuration where it has them."""

    in_channels: int
    """Channels after the pixel-unshuffle: 3 times `unshuffle` squared."""
    block_out_channels: tuple[int, ...]
    """Width of each level; each but the last halves the resolution."""
    layers_per_block: int = 2
    """Residual blocks a level."""
    latent_channels: int = 4
    """Channels of the latents."""
    norm_num_groups: int = 32
    """Groups of every group normalization."""
    mid_block_add_attention: bool = True
    """Whether the middle has a self-attention block."""
    unshuffle: int = 1
    """Factor of the pixel-unshuffle in front."""
    latent_scale: float = 1.0
    """Factor on the mean latents (Stable Diffusion's 0.18215)."""

    def __post_init__(self) -> None:
        """Check the sizes; a `ValueError` names the field."""
        widths = self.block_out_channels
        for name in ("in_channels", "layers_per_block", "latent_channels", "norm_num_groups", "unshuffle"):
            if not 1 <= getattr(self, name) <= 4096:
                raise ValueError(f"{name}: expected 1 to 4096, got {getattr(self, name)}")
        if not 1 <= len(widths) <= 8 or any(not 1 <= w <= 4096 or w % self.norm_num_groups for w in widths):
            raise ValueError(f"block_out_channels: expected up to 8 multiples of {self.norm_num_groups}, got {widths}")
        if self.in_channels != 3 * self.unshuffle**2:
            raise ValueError(f"in_channels: expected {3 * self.unshuffle**2} = 3 unshuffle^2, got {self.in_channels}")


class KLEncoder(nn.Module):
    """RGB in [0, 1] to scaled mean latents."""

    def __init__(self, config: KLEncoderConfig) -> None:
        """Make the network with the default initialization."""
        super().__init__()
        self.config = config
        self.encoder = _Encoder(config)
        self.quant_conv = nn.Conv2d(2 * config.latent_channels, 2 * config.latent_channels, 1)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Return the scaled mean latents of RGB in [0, 1]."""
        hidden = self.encoder(F.pixel_unshuffle(2.0 * images - 1.0, self.config.unshuffle))
        count = self.config.latent_channels  # the log-variance, the second half, is not computed
        mean = F.conv2d(hidden, self.quant_conv.weight[:count], self.quant_conv.bias[:count])  # pyright: ignore
        return self.config.latent_scale * mean


class _Encoder(nn.Module):
    def __init__(self, config: KLEncoderConfig) -> None:
        super().__init__()
        widths, groups = config.block_out_channels, config.norm_num_groups
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for level, width in enumerate(widths):
            before, last = widths[max(level - 1, 0)], level == len(widths) - 1
            self.down_blocks.append(_Level(before, width, config.layers_per_block, groups, halve=not last))
        self.mid_block = _Middle(widths[-1], groups, config.mid_block_add_attention)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], _EPSILON)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = level(x)
        return self.conv_out(group_norm(self.mid_block(x), self.conv_norm_out))


class _Level(nn.Module):
    def __init__(self, before: int, width: int, layers: int, groups: int, *, halve: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(_Residual(before if i == 0 else width, width, groups) for i in range(layers))
        self.downsamplers = nn.ModuleList([_Halve(width)] if halve else [])

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        for block in (*self.resnets, *self.downsamplers):
            x = block(x)
        return x


class _Residual(nn.Module):
    def __init__(self, before: int, width: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, before, _EPSILON)
        self.conv1 = nn.Conv2d(before, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, width, _EPSILON)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(before, width, 1) if before != width else None

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        y = self.conv1(group_norm(x, self.norm1))
        y = self.conv2(group_norm(y, self.norm2))
        return y + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class _Halve(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # on the right and below only, as diffusers does


class _Middle(nn.Module):
    def __init__(self, width: int, groups: int, attention: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(_Residual(width, width, groups) for _ in range(2))
        self.attentions = nn.ModuleList([_Attention(width, groups)] if attention else [])

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        for block in (self.resnets[0], *self.attentions, self.resnets[1]):
            x = block(x)
        return x


class _Attention(nn.Module):
    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, width, _EPSILON)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        tokens = group_norm(x, self.group_norm, silu=False).flatten(2).transpose(1, 2)  # one head over all pixels
        query, key, value = (part(tokens)[:, None] for part in (self.to_q, self.to_k, self.to_v))
        mixed = attend(query, key, value)[:, 0]
        return x + self.to_out[0](mixed).transpose(1, 2).reshape(x.shape)


def freeze(module: nn.Module) -> nn.Module:
    """Return the module in evaluation mode, its parameters without gradients."""
    return module.eval().requires_grad_(False)
