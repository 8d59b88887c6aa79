"""Make the networks of a pixelNeRF bundle one that can be trained: its stored weights, float again."""

from functools import partial

import torch
from torch import Tensor

from runtime.engines.bundle.pixelnerf import PixelNeRFBundle
from runtime.errors import UserError
from train.graph_weights import fill_from_graph
from train.pixelnerf.network import PIXEL, Architecture, PixelNeRF

_TOLERANCE = 1e-3
"""Greatest difference between a graph and its network, relative to the largest output."""


@torch.no_grad()
def restore_pixelnerf(bundle: PixelNeRFBundle, architecture: Architecture) -> PixelNeRF:
    """Return the networks of a bundle with float weights, checked against its engines.

    Args:
        bundle: whose encoder is the small one; the graph of a ResNet holds no batch normalization any more.
        architecture: what is to be trained.

    Raises:
        UserError: the bundle's networks are others.
    """
    where = f"bundle {bundle.name!r}"
    if architecture.encoder != "small":
        raise UserError(f"{where}: expected to start --encoder small from it, got {architecture.encoder}; train anew")
    if architecture.side != bundle.manifest.side:
        raise UserError(
            f"{where}: --side: expected {bundle.manifest.side} px, as the bundle has, got {architecture.side}"
        )
    network = PixelNeRF(architecture).eval()
    side, width = architecture.side, architecture.width + PIXEL
    generator = torch.Generator().manual_seed(0)
    inputs = {
        "picture_encoder": (torch.rand(1, 4, side, side, generator=generator),),
        "field": (torch.rand(5, 2, width, generator=generator), torch.rand(5, 2, 3, generator=generator)),
    }

    def field(features: Tensor, points: Tensor) -> Tensor:
        return network.field(features.transpose(0, 1), points.transpose(0, 1))  # engines have points first

    for role, part, call in (("picture_encoder", network.encoder, network.encoder), ("field", network.field, field)):
        given = inputs[role]
        try:
            fill_from_graph(part, bundle.read_file(role, "model.onnx"), partial(call, *given))
        except ValueError as error:
            raise UserError(
                f"{where}: its {role}: expected that of {architecture}, got another ({error!s:.100})"
            ) from None
        expected = bundle.engine(role)(*given)[0]
        difference = float((call(*given) - expected).abs().max() / expected.abs().max())
        if not difference <= _TOLERANCE:
            raise UserError(f"{where}: its {role}: expected the same values as its graph's, got {difference:.2g} off")
    return network
