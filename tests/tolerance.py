"""Named tolerances, each with its reason."""

FLOAT32_ROUNDING = 1e-5
"""Sums of a few hundred float32 terms of order one."""

ENGINE_FLOAT32 = 1e-5
"""Two float32 backends on a network of order-one activations, some tens of layers: their sums run in other orders."""

VJP_FLOAT32 = 1e-4
"""Relative difference of two float32 backward passes of a small convolutional network."""
