"""Winograd's short convolutions: a 3x3 kernel over 4x4 outputs in 36 products a channel pair instead of 144.

A correlation of 3 weights with 6 values, of which 4 outputs come, is y = A^T [(G g) * (B^T d)] elementwise, where row k
of G evaluates the kernel's polynomial at a point a_k (Toom and Cook; arXiv:1509.09308 for networks). In two dimensions
each matrix is applied along both axes, which is one product with a Kronecker square.

The backward pass needs the kernel flipped. g'(p) = p^2 g(1 / p), so at the reciprocal points the flipped kernel has the
values of the kernel itself but for factors, which go into the other matrix: both passes share one transformed kernel.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

TILE = 4
"""Outputs of a tile along an axis."""

TAPS = 3
"""Weights of a kernel along an axis."""

WINDOW = TILE + TAPS - 1
"""Inputs of a tile along an axis."""

POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(-2), None)
"""Where polynomials are evaluated; None is infinity, the leading coefficient."""


@dataclass(frozen=True)
class Transforms:
    """The matrices of one axis, float64."""

    kernel: np.ndarray
    """G, (6, 3): of the kernel."""
    window: np.ndarray
    """B^T, (6, 6): of the inputs."""
    tile: np.ndarray
    """A^T, (4, 6): of the products."""


def forward_transforms() -> Transforms:
    """Return the matrices of a convolution (correlation, as networks have it)."""
    kernel = np.stack([_powers(point, TAPS) * _balance(point) for point in POINTS])
    return Transforms(kernel, _window(POINTS, [1.0 / _balance(p) for p in POINTS]), _tile(POINTS))


def backward_transforms() -> Transforms:
    """Return the matrices of the correlation with the flipped kernel; `kernel` is that of the forward ones."""
    kernel = forward_transforms().kernel
    points = tuple(_reciprocal(point) for point in POINTS)
    # g'(1 / a) = g(a) / a^2; the transformed kernel holds g(a) times its balance
    factors = [1.0 / (_balance(a) * float(a) ** 2) if a else 1.0 / _balance(a) for a in POINTS]
    return Transforms(kernel, _window(points, factors), _tile(points))


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


def _tile(points: tuple[Fraction | None, ...]) -> np.ndarray:
    return np.stack([_powers(point, TILE) for point in points], axis=1)


def _window(points: tuple[Fraction | None, ...], factors: list[float]) -> np.ndarray:
    """Return B^T for kernels that are evaluated at points: interpolation of degree 5, transposed."""
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
        rows.append([float(c / scale) * factor for c in polynomial] + [0.0] * (WINDOW - len(polynomial)))
    return np.array(rows)
