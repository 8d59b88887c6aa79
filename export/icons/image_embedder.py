"""The image tower of the dual encoder: pictures to unit vectors; PyTorch gives gradients."""

from dataclasses import asdict

from export.icons.weights import Weights
from export.network import ExportedNetwork, TorchModule, batched
from train.clip.dual import WIDTH


def make_network(weights: Weights) -> ExportedNetwork:
    """Return the image tower with its PyTorch module, both from the same stored weights."""
    tower = weights.dual.image
    return ExportedNetwork(
        spec=batched("image_embedder", {"images": (3, 128, 128)}, {"embedding": (WIDTH,)}),
        module=tower,
        samples=(weights.images(),),
        torch_module=TorchModule(name="ImageTower", arguments=asdict(tower.config), state=tower.state_dict()),
    )
