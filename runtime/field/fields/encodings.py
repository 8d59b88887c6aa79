"""Encodings of positions: sines and cosines, of points or, integrated, of Gaussians."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def positional(points: Float[Tensor, "*S D"], frequencies: int, *, identity: bool = True) -> Float[Tensor, "*S F"]:
    """Return points, and the sine and cosine of 2^l times them for l in [0, frequencies).

    As in NeRF's code: no factor of pi, and the points themselves first (arXiv:2003.08934, Eq. 4; thesis Eq. 4.5 has
    neither).
    """
    parts = [points] if identity else []
    for level in range(frequencies):
        parts += [torch.sin(2.0**level * points), torch.cos(2.0**level * points)]
    return torch.cat(parts, -1)


def masked(
    encoded: Float[Tensor, "*S F"], dimensions: int, frequencies: int, share: float, *, identity: bool = True
) -> Float[Tensor, "*S F"]:
    """Return an encoding whose high frequencies are faded out (FreeNeRF, arXiv:2303.07418, Eq. 4).

    Args:
        encoded: of `positional`.
        dimensions: of a point.
        frequencies: of the encoding.
        share: of the frequencies that are in view, in [0, 1]; the next one fades in.
        identity: whether the points come first; they stay.
    """
    levels = torch.arange(frequencies, dtype=encoded.dtype, device=encoded.device)
    # Sine and cosine of a frequency, in all dimensions, fade together.
    visible = (share * frequencies - levels).clamp(0, 1).repeat_interleave(2 * dimensions)
    if identity:
        visible = torch.cat([visible.new_ones(dimensions), visible])
    return encoded * visible


def fourier_basis(
    directions: int, octaves: float, generator: torch.Generator, *, identity: bool = True
) -> Float[Tensor, "F 3"]:
    """Return random frequencies 2^u d with u uniform in [0, octaves) and d uniform on the sphere (thesis Eq. 4.6).

    As in Dream Fields' code they are rounded to integers, and the three axes come first: 131 for 128 directions.
    """
    drawn = torch.randn(directions, 3, generator=generator)
    # Normal draws have no preferred direction; draws from a cube would have eight.
    unit = drawn / drawn.norm(dim=1, keepdim=True)
    lengths = 2 ** (octaves * torch.rand(directions, 1, generator=generator))
    basis = (lengths * unit).round()
    return torch.cat([torch.eye(3), basis]) if identity else basis


def axis_basis(frequencies: int) -> Float[Tensor, "F 3"]:
    """Return the frequencies 2^l along each axis for l in [0, frequencies): those of NeRF (thesis Eq. 4.5)."""
    return torch.cat([2.0**level * torch.eye(3) for level in range(frequencies)])


def waves(phase: Float[Tensor, "*S F"], variance: Float[Tensor, "*S F"] | None = None) -> Float[Tensor, "*S G"]:
    """Return cosine and sine of phases, or their expectations where phases are Gaussian (arXiv:2103.13415, Eq. 14).

    The expectation of cos(p) for p of mean m and variance v is cos(m) exp(-v / 2): what varies much fades.
    """
    if variance is None:
        return torch.cat([torch.cos(phase), torch.sin(phase)], -1)
    # A frequency that turns within the Gaussian says nothing of its middle, and fades to zero.
    fading = torch.exp(-0.5 * variance)
    return torch.cat([torch.cos(phase) * fading, torch.sin(phase) * fading], -1)


def integrated(
    mean: Float[Tensor, "*S 3"], covariance: Float[Tensor, "*S 3 3"], basis: Float[Tensor, "F 3"]
) -> Float[Tensor, "*S G"]:
    """Return the expected cosine and sine of each frequency of a Gaussian: `waves` of variances b.S.b."""
    variance = torch.einsum("fi,...ij,fj->...f", basis, covariance, basis)
    return waves(mean @ basis.T, variance)


def cone_moments(
    distances: Float[Tensor, "R E"], radius: float
) -> tuple[Float[Tensor, "R S"], Float[Tensor, "R S"], Float[Tensor, "R S"]]:
    """Return the mean distance of each interval of a cone, and its variances along and across (2103.13415, Eq. 7).

    Args:
        distances: borders of the intervals, rising.
        radius: of the cone at distance 1: a pixel's width there times 2 / sqrt(12).
    """
    near, far = distances[:, :-1], distances[:, 1:]
    middle, half = (near + far) / 2, (far - near) / 2
    scale = 3 * middle.square() + half.square()
    mean = middle + 2 * middle * half.square() / scale
    # The stable form of the paper.
    along = half.square() / 3 - (4 / 15) * half**4 * (12 * middle.square() - half.square()) / scale.square()
    across = radius**2 * (middle.square() / 4 + (5 / 12) * half.square() - (4 / 15) * half**4 / scale)
    return mean, along, across


def cone_variances(
    directions: Float[Tensor, "R 3"],
    along: Float[Tensor, "R S"],
    across: Float[Tensor, "R S"],
    basis: Float[Tensor, "F 3"],
) -> Float[Tensor, "R S F"]:
    """Return the variance b.S.b of each frequency b in each interval of a cone, without its covariance S.

    S has the variance `along` in the ray's direction d and `across` in all others, so that
    b.S.b = across |b|^2 + (along - across) (b.d)^2: a product per ray in place of a matrix per sample.
    """
    squared = (directions @ basis.T).square()
    return across[..., None] * basis.square().sum(1) + (along - across)[..., None] * squared[:, None]


def frustum_gaussians(
    directions: Float[Tensor, "R 3"], distances: Float[Tensor, "R E"], radius: float
) -> tuple[Float[Tensor, "R S 3"], Float[Tensor, "R S 3 3"]]:
    """Return mean, from the ray's origin, and covariance of each interval of a cone (arXiv:2103.13415, Eq. 7, 8).

    Args:
        directions: unit vectors.
        distances: borders of the intervals, rising.
        radius: as of `cone_moments`.
    """
    mean, along, across = cone_moments(distances, radius)
    outer = directions[:, None, :, None] * directions[:, None, None, :]
    plane = torch.eye(3, dtype=directions.dtype) - outer
    covariance = along[..., None, None] * outer + across[..., None, None] * plane
    return mean[..., None] * directions[:, None], covariance


CONE_RADIUS = 2 / math.sqrt(12)
"""A pixel's width times this is the radius of a cone with the pixel's variance (arXiv:2103.13415, section 3.1)."""


def spherical_harmonics(directions: Float[Tensor, "S 3"], degree: int) -> Float[Tensor, "S F"]:
    """Return the real spherical harmonics of unit vectors, those below a degree: degree^2 numbers, orthonormal.

    In the order of tiny-cuda-nn, by l and then by m, with its signs (Condon and Shortley's phase).

    Args:
        directions: unit vectors.
        degree: 1 to 4.

    Raises:
        ValueError: the degree is another one.
    """
    if not 1 <= degree <= 4:
        raise ValueError(f"spherical harmonics: expected a degree of 1 to 4, got {degree}")
    x, y, z = directions.unbind(1)
    xx, yy, zz = x * x, y * y, z * z
    root = math.sqrt
    pi = math.pi
    bands = [
        [torch.full_like(x, root(1 / pi) / 2)],
        [-root(3 / pi) / 2 * y, root(3 / pi) / 2 * z, -root(3 / pi) / 2 * x],
        [
            root(15 / pi) / 2 * x * y,
            -root(15 / pi) / 2 * y * z,
            root(5 / pi) / 4 * (3 * zz - 1),
            -root(15 / pi) / 2 * x * z,
            root(15 / pi) / 4 * (xx - yy),
        ],
        [
            root(35 / (2 * pi)) / 4 * y * (yy - 3 * xx),
            root(105 / pi) / 2 * x * y * z,
            root(21 / (2 * pi)) / 4 * y * (1 - 5 * zz),
            root(7 / pi) / 4 * z * (5 * zz - 3),
            root(21 / (2 * pi)) / 4 * x * (1 - 5 * zz),
            root(105 / pi) / 4 * z * (xx - yy),
            root(35 / (2 * pi)) / 4 * x * (3 * yy - xx),
        ],
    ]
    return torch.stack([value for band in bands[:degree] for value in band], 1)
