"""Where a picture shows the object: rays that should end there, and rays that should pass, whatever colour they show.

Before white a white part of an object and a hole in it look the same, and so do white matter around it and nothing. A
teacher that knows white backgrounds alone pulls at none of them. What lies inside an object's outline is taken for the
object, and what is white outside for nothing.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from runtime.field.lifting.masks import eroded
from runtime.field.lifting.matte import NEAR, foreground, joined_to_border


@dataclass(frozen=True)
class Hull:
    """Pixels of a picture, row by row."""

    inside: Bool[Tensor, " R"]
    """Inside the object's outline. The outline itself is not, as some light may pass there."""
    outside: Bool[Tensor, " R"]
    """White, and joined to the border by white."""


def hull_of(picture: Float[Tensor, "3 S S"]) -> Hull:
    """Return what is inside and outside of the object in a picture.

    White that no white joins to the border is inside, but for large holes in thin frames; see `foreground`.

    Args:
        picture: RGB in [0, 1] before white.
    """
    white = (picture > 1 - NEAR).all(0).numpy()
    return Hull(_row_by_row(eroded(foreground(picture))), _row_by_row(joined_to_border(white)))


def _row_by_row(mask: Bool[np.ndarray, "S S"]) -> Bool[Tensor, " R"]:
    return torch.from_numpy(np.ascontiguousarray(mask).reshape(-1))
