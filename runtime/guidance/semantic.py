"""DietNeRF's semantic consistency: pictures of one object from any side mean the same (thesis 3.4; arXiv:2104.00677).

The thesis' Eq. 3.5 prints the loss as lambda phi(I).phi(I'); minimized, that drives features apart. With unit features
its Eq. 3.4 is lambda (1 - cos), which is what is computed here and, but for the constant, in the published code.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def cosines(features: Float[Tensor, "B E"], targets: Float[Tensor, "B E"]) -> Float[Tensor, " B"]:
    """Return the cosine of each pair of features."""
    return functional.cosine_similarity(features, targets, dim=1)


def semantic_consistency(
    features: Float[Tensor, "B E"], targets: Float[Tensor, "B E"], gate: float = 1.0
) -> Float[Tensor, ""]:
    """Return half the squared distance of unit features, 1 - cos (thesis Eq. 3.4 with lambda 1), as a mean.

    Args:
        features: of rendered pictures.
        targets: of observed ones.
        gate: cosine from which on a picture is left alone: two true views are no more alike than that, and beyond it
            the loss only fits the encoder. 1 leaves out nothing, as in the thesis.
    """
    return functional.relu(gate - cosines(features, targets)).mean()


def typical_cosine(features: Float[Tensor, "V E"]) -> float:
    """Return the mean cosine of pairs of different observed pictures; 1 for a single one."""
    if len(features) < 2:
        return 1.0
    unit = functional.normalize(features, dim=1)
    table = unit @ unit.T
    off = ~torch.eye(len(unit), dtype=torch.bool)
    return table[off].mean().item()
