"""What every rasterizer asks of a drawing's numbers, in the same words."""

import numpy as np
import torch

from runtime.errors import UserError
from runtime.vector.paths import Drawing, Kind

NOT_FINITE = "drawing: points or widths are not finite numbers; check the loss and the learning rates"


def check_widths(widths: np.ndarray, strokes: np.ndarray) -> None:
    """Raise `UserError` for a stroke of a negative width.

    Args:
        widths: (B, P) finite.
        strokes: (P,) bool, which paths are strokes.
    """
    negative = (widths < 0) & strokes
    if negative.any():
        scene, path = np.argwhere(negative)[0]
        raise UserError(
            f"drawing widths: expected 0 or more for a stroke, got {widths[scene, path]:g} for path {path} of scene "
            f"{scene}; clamp widths after each step"
        )


def check_drawing(drawing: Drawing) -> None:
    """Raise `UserError` for points or widths that are not finite, and for strokes of a negative width."""
    if not (torch.isfinite(drawing.points).all() and torch.isfinite(drawing.widths).all()):
        raise UserError(NOT_FINITE)
    strokes = np.array([kind is Kind.STROKE for kind in drawing.layout.kinds], bool)
    check_widths(drawing.widths.detach().numpy(), strokes)
