"""Rejection of samples by an image-text encoder."""

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.engines.protocols import ImageTextScorer


@torch.no_grad()
def rank(images: Float[Tensor, "K 3 H W"], text: str, score: ImageTextScorer) -> list[int]:
    """Return the pictures' indices, the one most consistent with the text first; Thesis 6.4.1, where K = 4.

    Args:
        images: RGB in [0, 1].
        text: the caption.
        score: the image-text encoder. A score that is no number counts as the worst.
    """
    scores = torch.nan_to_num(score(images, [text])[:, 0], nan=-torch.inf)
    return torch.argsort(scores, descending=True, stable=True).tolist()
