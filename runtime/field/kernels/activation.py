"""Compiled: density and opacity of a raw value, by polynomials: three library calls a sample took half of the time.

With u = raw / ln 2, softplus(raw) = ln 2 (max(u, 0) + log2(1 + 2^-|u|)), and the opacity of a sample of length dt is
1 - exp(-softplus(raw) dt) = 1 - 2^-(dt (max(u, 0) + log2(1 + 2^-|u|))): no natural logarithm is needed.
"""

import numpy as np

from runtime.field.kernels.vectors import from_bits
from runtime.kernels.jit import inlined

LOG2_E = np.float32(1.4426950408889634)
ONE = np.float32(1)
ZERO = np.float32(0)
HALF = np.float32(0.5)

_LOWEST = np.float32(-126)
"""Least exponent of a normal float32: below it a power is 0."""
_BIAS = np.int32(127)
_MANTISSA = np.int32(23)

# Coefficients by Chebyshev interpolation, weighted by the function: relative errors of 1.1e-8 and 3.5e-8, less than
# half a unit in the last place of float32.
_E0, _E1, _E2, _E3, _E4, _E5 = (
    np.float32(c)
    for c in (
        0.6931471878993261,
        0.24022649635289514,
        0.05550357521688894,
        0.009618263217868272,
        0.0013390700191900254,
        0.00015395252845201563,
    )
)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = (
    np.float32(c)
    for c in (
        1.4426949906253457,
        -0.7213393791785733,
        0.48067618618859637,
        -0.35827809955316176,
        0.2751408375564366,
        -0.19607091555270112,
        0.11163680744016478,
        -0.041826551662873065,
        0.007366149549666221,
    )
)


@inlined
def _power_less_one(f):
    """2^f - 1 for f in [-1/2, 1/2], exact in relation to its size even near 0."""
    # By halves (Estrin): the pairs do not wait for one another, as the steps of Horner's rule would.
    f2 = f * f
    return f * ((_E0 + f * _E1) + f2 * ((_E2 + f * _E3) + f2 * (_E4 + f * _E5)))


@inlined
def exp2(x):
    """2^x of a float32 that is at most 0; 0 below 2^-126."""
    x = max(x, _LOWEST)
    whole = np.floor(x + HALF)
    scale = from_bits(np.int32((np.int32(whole) + _BIAS) << _MANTISSA))
    return scale + scale * _power_less_one(x - whole)


@inlined
def log2_of_one_and(z):
    """log2(1 + z) for z in [0, 1]."""
    z2 = z * z
    z4 = z2 * z2
    low = (_L0 + z * _L1) + z2 * (_L2 + z * _L3)
    high = (_L4 + z * _L5) + z2 * (_L6 + z * _L7)
    return z * (low + z4 * (high + z4 * _L8))


@inlined
def opacity(raw, length):
    """Opacity of a sample and the derivative of its density by the raw value.

    Twin: `runtime.field.volume.opacity` of softplus.

    Args:
        raw: float32; the density is its softplus.
        length: of the sample, float32, in the unit whose inverse the density has.
    """
    u = raw * LOG2_E
    z = exp2(-abs(u))
    sigmoid = ONE / (ONE + z)
    slope = sigmoid if raw > ZERO else z * sigmoid
    y = -length * (max(u, ZERO) + log2_of_one_and(z))
    y = max(y, _LOWEST)
    whole = np.floor(y + HALF)
    scale = from_bits(np.int32((np.int32(whole) + _BIAS) << _MANTISSA))
    # 1 - 2^y as (1 - scale) - scale (2^f - 1): for a thin sample scale is 1, and no digit is lost.
    return (ONE - scale) - scale * _power_less_one(y - whole), slope
