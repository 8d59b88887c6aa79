"""The image-text dual encoder: a small convolutional tower, and a projection of the text encoder's context.

It ranks samples by how well they show a prompt (thesis 6.4.1, rejection sampling). It has seen nothing but icons.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 256
"""Width of the shared embedding."""


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(16, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(16, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        return features + self.body(features)


class ImageEmbedder(nn.Module):
    """Pictures to unit vectors."""

    def __init__(self, channels: tuple[int, ...] = (48, 96, 128)) -> None:
        """Make the tower; level i runs at 32 / 2**i cells a side with `channels[i]` channels."""
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(4), nn.Conv2d(48, channels[0], 3, padding=1)]
        for level, width in enumerate(channels):
            if level:
                layers.append(nn.Conv2d(channels[level - 1], width, 3, stride=2, padding=1))
            layers += [_Block(width) for _ in range(1 if level == 0 else 2)]
        layers += [nn.GroupNorm(16, channels[-1]), nn.SiLU()]
        self.tower = nn.Sequential(*layers)
        self.head = nn.Linear(channels[-1] * 5, WIDTH)

    def forward(self, images: Float[Tensor, "B 3 128 128"]) -> Float[Tensor, "B 256"]:
        """Return the unit embeddings of RGB in [0, 1]."""
        features = self.tower(2.0 * images - 1.0)
        quarters = features.unflatten(2, (2, -1)).unflatten(4, (2, -1)).mean((3, 5)).flatten(1)
        pooled = torch.cat([features.mean((2, 3)), quarters], dim=1)
        return F.normalize(self.head(pooled), dim=-1)


class TextEmbedder(nn.Module):
    """Contexts of the text encoder to unit vectors."""

    def __init__(self, context_width: int = 384) -> None:
        """Make the projection."""
        super().__init__()
        self.head = nn.Sequential(nn.Linear(2 * context_width, WIDTH * 2), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, context: Float[Tensor, "B N D"]) -> Float[Tensor, "B 256"]:
        """Return the unit embeddings of contexts, from the sentence vector and the mean token."""
        tokens = context[:, 1:]
        seen = (tokens.abs().sum(-1, keepdim=True) > 0).to(tokens.dtype)
        mean = (tokens * seen).sum(1) / seen.sum(1).clamp_min(1.0)
        return F.normalize(self.head(torch.cat([context[:, 0], mean], dim=1)), dim=-1)


class DualEncoder(nn.Module):
    """Both towers and the temperature they were trained with."""

    def __init__(self) -> None:
        """Make both towers; the logit scale starts at 14."""
        super().__init__()
        self.image, self.text = ImageEmbedder(), TextEmbedder()
        self.log_scale = nn.Parameter(torch.tensor(14.0).log())

    def forward(self, images: Float[Tensor, "B 3 128 128"], context: Float[Tensor, "K N D"]) -> Float[Tensor, "B K"]:
        """Return the logits: cosine similarities of images (rows) and captions (columns) times the scale."""
        return self.log_scale.exp().clamp(max=100.0) * self.image(images).float() @ self.text(context).float().T


def contrastive_loss(logits: Float[Tensor, "B B"], same: Bool[Tensor, "B B"]) -> Float[Tensor, ""]:
    """Return the symmetric cross-entropy in which every pair marked as the same concept counts as a match.

    Args:
        logits: of images (rows) and captions (columns).
        same: whether image and caption show the same concept; true on the diagonal.
    """
    target = same.float() / same.sum(1, keepdim=True)
    rows = -(target * logits.log_softmax(1)).sum(1).mean()
    columns = -(target * logits.log_softmax(0)).sum(0).mean()
    return 0.5 * (rows + columns)
