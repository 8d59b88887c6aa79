"""The dual encoder of a bundle as the network that it was exported from."""

import torch

from runtime.engines.backends.eager import expand_weights
from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.errors import UserError
from train.clip.dual import DualEncoder
from train.graph_weights import fill_from_graph


def restore_dual(bundle: DiffusionBundle) -> DualEncoder:
    """Return the dual encoder of a bundle, its quantized weights float again; the temperature is a new one.

    Raises:
        UserError: the bundle has none, or another one.
    """
    network = DualEncoder()
    try:
        weights = bundle.read_file("image_embedder", "weights.safetensors")
        network.image.load_state_dict(expand_weights(weights, bundle.name))
        context = torch.zeros(1, *(int(size) for size in bundle.specs["text_embedder"].inputs[0].shape[1:]))
        fill_from_graph(network.text, bundle.read_file("text_embedder", "model.onnx"), lambda: network.text(context))
    except (KeyError, ValueError, RuntimeError, UserError) as error:
        raise UserError(
            f"--start: bundle {bundle.name!r}: expected the dual encoder of python -m train.clip, got {error!s:.100}"
        ) from None
    return network
