"""Pictures of known shapes before white."""

import numpy as np
import torch
from torch import Tensor

SIDE = 96


def disc(radius: float, *, side: int = SIDE, row: float | None = None, column: float | None = None) -> np.ndarray:
    """Return the mask of a disc, by default in the middle."""
    middle = (side - 1) / 2
    y, x = np.mgrid[:side, :side]
    return np.hypot(y - (middle if row is None else row), x - (middle if column is None else column)) < radius


def painted(*layers: tuple[np.ndarray, tuple[float, float, float]], background: float = 1.0) -> Tensor:
    """Return a picture of masks in their colours, one over the other."""
    picture = torch.full((3, *layers[0][0].shape), background)
    for mask, colour in layers:
        picture[:, torch.from_numpy(mask)] = torch.tensor(colour)[:, None]
    return picture


RED, GREEN, BLACK, WHITE = (0.9, 0.1, 0.1), (0.1, 0.6, 0.1), (0.05, 0.05, 0.05), (1.0, 1.0, 1.0)
