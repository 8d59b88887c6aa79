"""Raw densities of grids, for fields that are none: so that one surface extraction serves all."""

from jaxtyping import Float
from torch import Tensor

from runtime.field.march import EXTENT


def raw_of(density: Float[Tensor, "*S"], side: float) -> Float[Tensor, "*S"]:
    """Return the raw density of a grid that is as dense: the inverse of its softplus, in its unit of length.

    Args:
        density: in 1 / world units, at least 0.
        side: of the field's box, world units; a grid's unit is a 64th of it, see `runtime.field.march.EXTENT`.
    """
    scaled = (density * (side / EXTENT)).clamp(1e-6, 80)
    return scaled.expm1().log()
