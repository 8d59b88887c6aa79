"""The image tower of the dual encoder: pictures to unit vectors."""

from export.icons.weights import Weights
from export.network import ExportedNetwork, batched
from train.clip.dual import WIDTH


def make_network(weights: Weights) -> ExportedNetwork:
    """Return the image tower."""
    return ExportedNetwork(
        spec=batched("image_embedder", {"images": (3, 128, 128)}, {"embedding": (WIDTH,)}),
        module=weights.dual.image,
        samples=(weights.images(),),
    )
