"""The image-text dual encoder: an `ImageTower`, and a projection of the text encoder's context.

It ranks samples by how well they show a prompt (thesis 6.4.1, rejection sampling). It has seen nothing but icons.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from runtime.engines.twins.image_tower import ImageTower, ImageTowerConfig

WIDTH = 256
"""Width of the shared embedding."""


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
        self.image, self.text = ImageTower(ImageTowerConfig(embedding=WIDTH)), TextEmbedder()
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
