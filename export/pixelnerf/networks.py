"""The two networks of a pixelNeRF bundle: their specs, and inputs to trace and verify them with."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from export.network import ExportedNetwork, batched
from runtime.engines.precision import Storage
from runtime.engines.spec import EngineSpec, TensorSpec
from train.pixelnerf.network import PIXEL, Field, PixelNeRF

VIEWS = (1, 1, 3)
"""Least, typical and greatest number of input pictures of an object."""

POINTS = (1, 1 << 14, 1 << 20)
"""Least, typical and greatest number of points in one call."""

SAMPLES = 64
"""Points of a verification."""


class PointsFirst(nn.Module):
    """The field with points as the first dimension, as engines have their batch."""

    def __init__(self, field: Field) -> None:
        """Wrap a field."""
        super().__init__()
        self.field = field

    def forward(self, features: Float[Tensor, "B V D"], points: Float[Tensor, "B V 3"]) -> Float[Tensor, "B 4"]:
        """Return the density and the colour of each point."""
        return self.field(features.transpose(0, 1), points.transpose(0, 1))


def field_spec(width: int) -> EngineSpec:
    """Return the spec of the field for features of a width; its numbers of points and of pictures are free."""
    return EngineSpec(
        "field",
        (TensorSpec("features", ("B", "V", width), "float32"), TensorSpec("points", ("B", "V", 3), "float32")),
        (TensorSpec("values", ("B", 4), "float32"),),
        {"B": POINTS, "V": VIEWS},
    )


def make_networks(network: PixelNeRF, storage: Storage = Storage.INT8) -> dict[str, ExportedNetwork]:
    """Return the exported networks of a trained one by role, with samples: discs of noise, and points in the ball.

    Args:
        network: trained.
        storage: of the encoder's weights. The field, of 180 KB, stays in float16: its sines amplify what rounding does.
    """
    encoder, field = (part.eval().requires_grad_(False) for part in (network.encoder, PointsFirst(network.field)))
    side, width = network.architecture.side, network.architecture.width + PIXEL
    pictures = sample_pictures(4, side)
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        features = encoder(pictures[:2]).flatten(1, 2)
    rows = torch.randint(side * side, (SAMPLES, 2), generator=draws)
    seen = torch.stack([features[view, rows[:, view]] for view in range(2)], dim=1).contiguous()
    points = 1.2 * torch.rand(SAMPLES, 2, 3, generator=draws) - 0.6
    fine = Storage.FLOAT16 if storage is Storage.INT8 else storage
    shapes = {"pictures": (4, side, side)}, {"features": (side, side, width)}
    return {
        "picture_encoder": ExportedNetwork(
            spec=batched("picture_encoder", *shapes, batch=(1, 1, 16)),
            module=encoder,
            samples=(pictures,),
            storage=storage,
        ),
        "field": ExportedNetwork(spec=field_spec(width), module=field, samples=(seen, points), storage=fine),
    }


def sample_pictures(count: int, side: int) -> Float[Tensor, "B 4 S S"]:
    """Return coloured discs with a little noise, premultiplied: as like to pictures of objects as noise can be."""
    draws = torch.Generator().manual_seed(0)
    axis = (torch.arange(side) + 0.5) / side - 0.5
    radius = (axis[:, None].square() + axis.square()).sqrt()
    alpha = (radius < torch.linspace(0.2, 0.45, count)[:, None, None]).float()[:, None]
    colour = torch.rand(count, 3, 1, 1, generator=draws) + 0.1 * torch.randn(count, 3, side, side, generator=draws)
    return torch.cat([colour.clamp(0, 1) * alpha, alpha], dim=1)
