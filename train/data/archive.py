"""How the archive that `train.data.icons` writes is read."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def read_pictures(archive: Path) -> UInt8[Tensor, "N 128 128 3"]:
    """Return all pictures of an archive, on white."""
    with np.load(archive) as file:
        return torch.from_numpy(file["pictures"])


def to_images(pictures: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
    """Return pictures as the networks take them: RGB in [0, 1]."""
    return pictures.permute(0, 3, 1, 2).float() / 255.0
