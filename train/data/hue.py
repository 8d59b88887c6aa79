"""Colours of a picture turned around grey: an object in another paint, seen from the same side."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_GREY = 1.0 / math.sqrt(3.0)


def turn_hue(pictures: Float[Tensor, "B 3 H W"], angles: Float[Tensor, " B"]) -> Float[Tensor, "B 3 H W"]:
    """Return pictures whose colours are turned about the axis of greys, clipped to [0, 1].

    Greys, white paper among them, stay as they are, and so does the sum of the three channels where nothing is
    clipped. A third of a turn exchanges the channels.

    Args:
        pictures: RGB in [0, 1].
        angles: radians, one for each picture.
    """
    cosine, sine = angles.cos(), angles.sin()
    # Rodrigues' formula about (1, 1, 1) / sqrt(3): cos I + (1 - cos) u u^T + sin [u]_x.
    cross = angles.new_tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) * _GREY
    turn = (
        cosine[:, None, None] * torch.eye(3, dtype=angles.dtype)
        + (1.0 - cosine)[:, None, None] / 3.0
        + sine[:, None, None] * cross
    )
    return torch.einsum("bij,bjhw->bihw", turn, pictures).clamp(0.0, 1.0)
