"""Densities to begin with: a ball of fog in the middle, so that there is something to see and to shape."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def gaussian_blob(squared: Float[Tensor, "*S"], *, height: float = 5.0, width: float = 0.2) -> Float[Tensor, "*S"]:
    """Return height exp(-r^2 / (2 width^2)), to be added to a raw density whose exponential is the density.

    DreamFusion's (arXiv:2209.14988, A.2).

    Args:
        squared: squares of distances from the middle, whose roots have no slope there.
        height: in the middle.
        width: standard deviation.
    """
    return height * torch.exp(squared / (-2 * width**2))


def cone_blob(radius: Float[Tensor, "*S"], *, height: float = 10.0, width: float = 0.5) -> Float[Tensor, "*S"]:
    """Return height (1 - r / width), to be added to a raw density whose softplus is the density.

    Magic3D's (arXiv:2211.10440, section 4.1), which threestudio has for grids.

    Args:
        radius: distances from the middle.
        height: in the middle.
        width: where it is 0; negative beyond.
    """
    return height * (1 - radius / width)


def blob_density(kind: str, radius: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Return the density of a field that is nothing but a blob.

    Args:
        kind: gaussian (DreamFusion's) or cone (Magic3D's).
        radius: distances from the middle.
    """
    return gaussian_blob(radius.square()).exp() if kind == "gaussian" else functional.softplus(cone_blob(radius))
