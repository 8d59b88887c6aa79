"""The two towers of the small image-text dual encoder of `train.clip`, as networks of a bundle."""

from dataclasses import asdict

from jaxtyping import Float
from torch import Tensor

from export.network import ExportedNetwork, TorchModule, batched
from train.clip.dual import WIDTH, DualEncoder
from train.latent_diffusion import text


def image_network(dual: DualEncoder, images: Float[Tensor, "V 3 128 128"]) -> ExportedNetwork:
    """Return the image tower, pictures to unit vectors, with its PyTorch module, both from the same stored weights.

    Args:
        dual: trained.
        images: pictures in [0, 1] that it is verified on.
    """
    tower = dual.image
    return ExportedNetwork(
        spec=batched("image_embedder", {"images": (3, 128, 128)}, {"embedding": (WIDTH,)}),
        module=tower,
        samples=(images,),
        torch_module=TorchModule(name="ImageTower", arguments=asdict(tower.config), state=tower.state_dict()),
    )


def text_network(dual: DualEncoder, context: Float[Tensor, "V 17 384"]) -> ExportedNetwork:
    """Return the text tower, contexts of the text encoder to unit vectors.

    Args:
        dual: trained.
        context: contexts that it is verified on.
    """
    return ExportedNetwork(
        spec=batched("text_embedder", {"context": (1 + text.LENGTH, text.WIDTH)}, {"embedding": (WIDTH,)}),
        module=dual.text,
        samples=(context,),
    )
