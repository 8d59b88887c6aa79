"""Named tolerances, each with its reason."""

FLOAT32_ROUNDING = 1e-5
"""Sums of a few hundred float32 terms of order one."""
