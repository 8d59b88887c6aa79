"""The latent encoder: pictures to scaled mean latents, in float32 whatever the rest is in (Thesis 6.4.2)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from export.network import ExportedNetwork, TorchModule
from export.pretrained.specs import batched
from export.sd.configurations import Pipeline
from runtime.engines.precision import Storage
from runtime.engines.twins.kl_encoder import KLEncoder, KLEncoderConfig

_COPIED = ("in_channels", "block_out_channels", "layers_per_block", "latent_channels", "norm_num_groups")


def torch_arguments(pipeline: Pipeline) -> dict[str, Any]:
    """Return the arguments of the PyTorch module."""
    return {
        **{name: pipeline.vae[name] for name in _COPIED},
        "mid_block_add_attention": pipeline.vae.get("mid_block_add_attention", True),
        "latent_scale": pipeline.vae["scaling_factor"],
    }


def make_encoder(pipeline: Pipeline) -> KLEncoder:
    """Return the encoder on the meta device."""
    arguments = torch_arguments(pipeline)
    arguments["block_out_channels"] = tuple(arguments["block_out_channels"])
    with torch.device("meta"):
        return KLEncoder(KLEncoderConfig(**arguments))


def make_network(pipeline: Pipeline, encoder: KLEncoder, images: Float[Tensor, "V 3 H W"]) -> ExportedNetwork:
    """Return the encoder, which PyTorch runs too: one file of weights serves both.

    Args:
        pipeline: what the encoder belongs to.
        encoder: with its weights.
        images: RGB in [0, 1], to verify it with.
    """
    side = pipeline.image_size // pipeline.latent_factor
    latents = (int(pipeline.vae["latent_channels"]), side, side)
    return ExportedNetwork(
        spec=batched("latent_encoder", {"images": images.shape[1:]}, {"latents": latents}),
        module=encoder,
        samples=(images,),
        storage=Storage.FLOAT32,
        torch_module=TorchModule(name="KLEncoder", arguments=torch_arguments(pipeline), state=encoder.state_dict()),
    )
