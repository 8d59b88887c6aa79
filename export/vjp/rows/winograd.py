"""Winograd's short convolutions: a 3x3 kernel over 4x4 outputs in 36 products a channel pair instead of 144.

A correlation of 3 weights with 6 values, of which 4 outputs come (or with 4, of which 2 come), is
y = A^T [(G g) * (B^T d)] elementwise, where row k of G evaluates the kernel's polynomial at a point a_k (Toom and Cook;
arXiv:1509.09308 for networks). In two dimensions each matrix is applied along both axes, which is one product with a
Kronecker square.

The backward pass needs the kernel flipped. g'(p) = p^2 g(1 / p), so at the reciprocal points the flipped kernel has the
values of the kernel itself but for factors, which go into the other matrix: both passes share one transformed kernel.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

TAPS = 3
"""Weights of a kernel along an axis."""

Points = tuple[Fraction | None, ...]
"""Where polynomials are evaluated; None is infinity, the leading coefficient."""

POINTS: dict[int, Points] = {
    2: (Fraction(0), Fraction(1), Fraction(-1), None),
    4: (Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(-2), None),
}
"""The points for tiles of so many outputs along an axis, two fewer than the inputs."""


@dataclass(frozen=True)
class Transforms:
    """The matrices of one axis, float64, for tiles of m outputs."""

    kernel: np.ndarray
    """G, (m + 2, 3): of the kernel."""
    window: np.ndarray
    """B^T, (m + 2, m + 2): of the inputs."""
    tile: np.ndarray
    """A^T, (m, m + 2): of the products."""


def forward_transforms(tile: int = 4) -> Transforms:
    """Return the matrices of a convolution (correlation, as networks have it) for tiles of 2 or 4 outputs."""
    points = POINTS[tile]
    kernel = np.stack([_powers(point, TAPS) * _balance(point) for point in points])
    return Transforms(kernel, _window(points, [1.0 / _balance(p) for p in points]), _tile(points))


def backward_transforms(tile: int = 4) -> Transforms:
    """Return the matrices of the correlation with the flipped kernel; `kernel` is that of the forward ones."""
    points = tuple(_reciprocal(point) for point in POINTS[tile])
    # g'(1 / a) = g(a) / a^2; the transformed kernel holds g(a) times its balance
    factors = [1.0 / (_balance(a) * float(a) ** 2) if a else 1.0 / _balance(a) for a in POINTS[tile]]
    return Transforms(forward_transforms(tile).kernel, _window(points, factors), _tile(points))


def _reciprocal(point: Fraction | None) -> Fraction | None:
    if point is None:
        return Fraction(0)
    return 1 / point if point else None


def _balance(point: Fraction | None) -> float:
    """Return the factor that keeps a transformed kernel of the size of the kernel."""
    return 1.0 if point is None else 1.0 / float(sum(abs(point) ** i for i in range(TAPS)))


def _powers(point: Fraction | None, count: int) -> np.ndarray:
    if point is None:
        return np.eye(count)[-1]
    return np.array([float(point**i) for i in range(count)])


def _tile(points: Points) -> np.ndarray:
    return np.stack([_powers(point, len(points) - TAPS + 1) for point in points], axis=1)


def _window(points: Points, factors: list[float]) -> np.ndarray:
    """Return B^T for kernels that are evaluated at points: interpolation, transposed."""
    finite = [point for point in points if point is not None]
    rows = []
    for point, factor in zip(points, factors, strict=True):
        others = [other for other in finite if other != point]
        polynomial = [Fraction(1)]
        for other in others:  # times (x - other)
            polynomial = [
                a - other * b for a, b in zip([Fraction(0), *polynomial], [*polynomial, Fraction(0)], strict=True)
            ]
        scale = Fraction(1)
        if point is not None:
            for other in others:
                scale *= point - other
        rows.append([float(c / scale) * factor for c in polynomial] + [0.0] * (len(points) - len(polynomial)))
    return np.array(rows)
