"""What an image-text encoder says: which sample fits best, how well a drawing or an object from all sides does."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.engines.protocols import ImageTextScorer, TextGuide
from runtime.errors import UserError


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


def caption_loss(views: Float[Tensor, "V 3 H W"], guide: TextGuide) -> Float[Tensor, ""]:
    """Return minus the sum of the views' cosines with a text, CLIPDraw's loss (arXiv:2106.14843).

    Args:
        views: of one drawing, differentiable.
        guide: the cosine with the text.
    """
    return -guide(views).sum()


@torch.no_grad()
def cosines_around(
    pictures: Float[Tensor, "F 3 H W"], text: str, scorer: Callable[[], ImageTextScorer]
) -> list[dict[str, float]] | None:
    """Return how well each view of an object fits a text, with its azimuth in degrees.

    Args:
        pictures: evenly around the object, the first from in front.
        text: the caption; for an empty one there is no answer, None.
        scorer: gives the image-text encoder, or raises `UserError` where a bundle has none: None, too.
    """
    try:
        score = scorer()
    except UserError:
        return None
    if not text:
        return None
    cosines = score(pictures, [text])[:, 0].tolist()
    return [{"azimuth": 360.0 * view / len(cosines), "cosine": cosine} for view, cosine in enumerate(cosines)]
