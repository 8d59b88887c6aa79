"""The text tower of the dual encoder: contexts of the text encoder to unit vectors."""

from export.icons.weights import Weights
from export.network import ExportedNetwork, batched
from train.clip.dual import WIDTH
from train.latent_diffusion import text


def make_network(weights: Weights) -> ExportedNetwork:
    """Return the text tower."""
    return ExportedNetwork(
        spec=batched("text_embedder", {"context": (1 + text.LENGTH, text.WIDTH)}, {"embedding": (WIDTH,)}),
        module=weights.dual.text,
        samples=(weights.context(),),
    )
