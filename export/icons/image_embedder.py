"""The image tower of the dual encoder: pictures to unit vectors."""

from export.cut import Cut, batched
from export.icons.weights import Weights
from train.clip.dual import WIDTH


def cut(weights: Weights) -> Cut:
    """Return the image tower."""
    return Cut(
        spec=batched("image_embedder", {"images": (3, 128, 128)}, {"embedding": (WIDTH,)}),
        module=weights.dual.image,
        samples=(weights.images(),),
    )
