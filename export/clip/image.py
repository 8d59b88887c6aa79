"""Image encoders: pictures of a bundle's size to embeddings of unit norm, resized and normalized in the network."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from export.network import ExportedNetwork, TorchModule
from export.pretrained.specs import batched
from export.pretrained.weights import Weights, fill
from runtime.engines.twins.convnext import ConvNext, ConvNextConfig
from runtime.engines.twins.vit import VisionConfig, VisionTransformer

Encoder = VisionTransformer | ConvNext


def make_encoder(config: VisionConfig | ConvNextConfig) -> Encoder:
    """Return an image encoder whose parameters are on the meta device."""
    with torch.device("meta"):
        return VisionTransformer(config) if isinstance(config, VisionConfig) else ConvNext(config)


def make_network(
    config: VisionConfig | ConvNextConfig, weights: Weights, dtype: torch.dtype, images: Float[Tensor, "V 3 S S"]
) -> ExportedNetwork:
    """Return an image encoder, which PyTorch runs too: one file of weights serves both.

    Args:
        config: its sizes; the pictures' size is taken from `images`.
        weights: where its parameters come from.
        dtype: of its products.
        images: RGB in [0, 1], to verify it with.
    """
    config = replace(config, input_size=images.shape[-1])
    module = fill(make_encoder(config), weights, dtype)
    width = config.embedding or config.width  # pyright: ignore
    return ExportedNetwork(
        spec=batched("image_embedder", {"images": images.shape[1:]}, {"embedding": (width,)}),
        module=module,
        samples=(images,),
        torch_module=TorchModule(name=type(module).__name__, arguments=_arguments(config), state=module.state_dict()),
    )


def _arguments(config: VisionConfig | ConvNextConfig) -> Mapping[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}
