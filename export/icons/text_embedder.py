"""The text tower of the dual encoder: contexts of the text encoder to unit vectors."""

from export.cut import Cut, batched
from export.icons.weights import Weights
from train.clip.dual import WIDTH
from train.latent_diffusion import text


def cut(weights: Weights) -> Cut:
    """Return the text tower."""
    return Cut(
        spec=batched("text_embedder", {"context": (1 + text.LENGTH, text.WIDTH)}, {"embedding": (WIDTH,)}),
        module=weights.dual.text,
        samples=(weights.context(),),
    )
