"""How far samples are from pictures: distances of the features that a network has of both.

The Fréchet distance of two normal distributions with the features' moments, and the kernel distance, the squared
maximum mean discrepancy under a polynomial kernel. By Inception's features they are called FID and KID, which
`train.ddpm.fidelity` prints; by those of another network they are figures of that network alone.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

Encode = Callable[[Float[Tensor, "B 3 H W"]], Float[Tensor, "B E"]]
"""Features of RGB in [0, 1]."""

BATCH = 64
"""Pictures that are encoded together."""


@torch.no_grad()
def features_of(encode: Encode, levels: UInt8[Tensor, "N C H W"], size: int) -> Float64[Tensor, "N E"]:
    """Return the features of pictures, enlarged bilinearly to the side that a network takes."""
    rows = []
    for part in levels.split(BATCH):
        rgb = part.expand(-1, 3, -1, -1).float() / 255.0
        rgb = torch.nn.functional.interpolate(rgb, (size, size), mode="bilinear", align_corners=False)
        rows.append(encode(rgb).double())
    return torch.cat(rows)


def frechet_distance(a: Float64[Tensor, "N E"], b: Float64[Tensor, "M E"]) -> float:
    """Return the Fréchet distance of two sets of features (arXiv:1706.08500 Eq. 6).

    Of fewer pictures than features have dimensions it is far too large: compare sets of one size only.
    """
    mean = (a.mean(0) - b.mean(0)).square().sum()
    first, second = torch.cov(a.T), torch.cov(b.T)
    # tr (S1 S2)^(1/2), by a symmetric matrix of the same eigenvalues: rounding makes the product's own complex.
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0.0).sqrt() @ vectors.T
    joint = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0.0).sqrt().sum()
    return float(mean + first.trace() + second.trace() - 2.0 * joint)


def kernel_distance(a: Float64[Tensor, "N E"], b: Float64[Tensor, "M E"]) -> float:
    """Return the unbiased squared maximum mean discrepancy under (x y / E + 1)^3 (arXiv:1801.01401 section 4)."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1.0) ** 3

    def within(x: Tensor) -> Tensor:
        # Without the diagonal: a picture's likeness to itself would make every small set look apart.
        table = kernel(x, x)
        return (table.sum() - table.trace()) / (len(x) * (len(x) - 1))

    return float(within(a) + within(b) - 2.0 * kernel(a, b).mean())


def nearest(
    x: Float[Tensor, "N E"], others: Float[Tensor, "M E"], count: int
) -> tuple[Float[Tensor, "N {count}"], Tensor]:
    """Return the distances of each row of `x` to its nearest rows of `others`, and which ones they are."""
    return torch.cdist(x, others).topk(count, dim=1, largest=False)
