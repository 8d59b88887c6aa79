"""What keeps an object small before nothing: Dream Fields' terms of transmittance (thesis 4.4.5; arXiv:2112.01455).

L_CLIP is negative: the lower, the better a picture fits its text. T is a ray's transmittance, tau the mean that is
enough. Misprints: Table 4.2 has -mean(T) L_CLIP for the gate, which would reward opacity; Eq. 4.11 and the table's row
on the clipped gate have the right sign. Neither lambda nor the deviation of the perturbed density are printed.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Sparsity = Literal["none", "noise", "beta", "gated", "clipped", "additive"]
"""Rows of Table 4.2, in its order; `noise` perturbs the raw density and adds no term."""

WEIGHTS: dict[str, float] = {"beta": 1e-3, "additive": 0.5}
"""lambda as in the published code."""

SMALLEST = 1e-6
"""Transmittance and opacity within the beta prior's logarithms, which are unbounded; the published code's clamp."""

FOCAL, DISTANCE = 1.2, 4.0
"""Factor on the focal length and distance of the camera for which tau is given (thesis 4.4.4, 10.3)."""


def target_transmittance(
    step: int,
    *,
    first: float,
    last: float,
    steps: int,
    focal: float = FOCAL,
    distance: float = DISTANCE,
) -> float:
    """Return tau at a step: its opacity 1 - tau falls exponentially, and grows with an object's size in the picture.

    With 0.4, 0.88 and 500 steps it is the thesis'. The published code writes the same as opacities from 0.5 to 0.1 for
    a focal factor of sqrt(1.2).

    Args:
        step: at least 0.
        first: tau at step 0, for a camera of `FOCAL` at `DISTANCE`.
        last: from `steps` on.
        steps: after which it stays.
        focal: factor on the focal length.
        distance: of the camera.
    """
    along = min(step / steps, 1.0) if steps else 1.0
    opacity = (1 - first) ** (1 - along) * (1 - last) ** along
    area = (focal / FOCAL) ** 2 * (DISTANCE / distance) ** 2  # 1 - tau ~ f^2 / d^2 (thesis 4.4.5)
    return max(0.0, 1 - area * opacity)


def transmittance_loss(transmittance: Float[Tensor, " R"], target: float) -> Float[Tensor, ""]:
    """Return -min(tau, mean T) (thesis Eq. 4.8)."""
    return -transmittance.mean().clamp(max=target)


def beta_prior(transmittance: Float[Tensor, " R"]) -> Float[Tensor, ""]:
    """Return the mean of log T + log(1 - T), low where rays pass or do not (Neural Volumes; thesis Eq. 4.10)."""
    passed, stopped = transmittance.clamp(min=SMALLEST), (1 - transmittance).clamp(min=SMALLEST)
    return (passed.log() + stopped.log()).mean()


def objective(
    kind: Sparsity, clip: Float[Tensor, ""], transmittance: Float[Tensor, " R"], *, target: float, weight: float
) -> dict[str, Tensor]:
    """Return the terms whose sum a row of Table 4.2 minimizes.

    Args:
        kind: the row.
        clip: L_CLIP, minus the mean cosine (thesis Eq. 4.7).
        transmittance: of all rays of the pictures.
        target: tau, see `target_transmittance`.
        weight: lambda of a sum; products have none.
    """
    if kind == "gated":
        return {"clip": transmittance.mean() * clip}
    if kind == "clipped":
        return {"clip": -transmittance_loss(transmittance, target) * clip}  # Eq. 4.11
    if kind == "beta":
        return {"clip": clip, "beta": weight * beta_prior(transmittance)}  # Eq. 4.10
    if kind == "additive":
        return {"clip": clip, "transmittance": weight * transmittance_loss(transmittance, target)}  # Eq. 4.9
    return {"clip": clip}


def perturbed(kind: Sparsity, shape: tuple[int, ...], deviation: float, generator: torch.Generator) -> Tensor | None:
    """Return the noise that is added to raw densities, softplus(f + eps) (row two of Table 4.2); None for other rows.

    Args:
        kind: the row.
        shape: of the raw densities.
        deviation: of eps; NeRF's code has 1.
        generator: of the draws.
    """
    return deviation * torch.randn(shape, generator=generator) if kind == "noise" else None
