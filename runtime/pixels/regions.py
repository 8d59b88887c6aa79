"""Hidden regions: the pixels of a picture that are to be drawn from the others."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from runtime.errors import UserError

Region = NDArray[np.bool_]

_NAMED: dict[str, Callable[[int, int], tuple[slice, slice]]] = {
    "top": lambda h, w: (slice(0, h // 2), slice(None)),
    "left": lambda h, w: (slice(None), slice(0, w // 2)),
    "bottom": lambda h, w: (slice(h // 2, None), slice(None)),
    "right": lambda h, w: (slice(None), slice(w // 2, None)),
    "centre": lambda h, w: (slice(h // 4, h - h // 4), slice(w // 4, w - w // 4)),
}
REGIONS = tuple(_NAMED)
"""Names of regions: half of the picture, or its middle half in both directions."""


def hidden_region(region: str | NDArray, size: tuple[int, int]) -> Region:
    """Return booleans, true where a pixel is hidden; at least one pixel is hidden, and at least one is not.

    Args:
        region: `top`, `left`, `bottom`, `right`, `centre`, or a boolean array of the picture's size.
        size: height and width of the picture.

    Raises:
        UserError: where there is no such name, or the array has another size or type, or hides everything or nothing.
    """
    if isinstance(region, str):
        if region not in _NAMED:
            raise UserError(f"hidden region: expected one of {', '.join(REGIONS)}, got '{region}'")
        hidden = np.zeros(size, np.bool_)
        hidden[_NAMED[region](*size)] = True
    else:
        hidden = np.array(region)
        if hidden.shape != tuple(size) or hidden.dtype != np.bool_:
            raise UserError(
                f"hidden region: expected booleans of shape {tuple(size)}, got {hidden.dtype} of {hidden.shape}; "
                "true hides a pixel"
            )
    if hidden.all() or not hidden.any():
        what = "everything" if hidden.all() else "nothing"
        raise UserError(
            f"hidden region: expected some pixels hidden and some observed, got a region of {size[0]} x {size[1]} that "
            f"hides {what}; use `sample` to draw a whole picture"
        )
    return hidden
