"""Named tolerances, each with its reason."""

FLOAT32_ROUNDING = 1e-5
"""Sums of a few hundred float32 terms of order one."""

ENGINE_FLOAT32 = 1e-5
"""Two float32 backends on a network of order-one activations, some tens of layers: their sums run in other orders."""

VJP_FLOAT32 = 1e-4
"""Relative difference of two float32 backward passes of a small convolutional network."""

SVG_POINTS = 1e-3
"""Pixels: an SVG's coordinates are rounded to 3 decimals, half a unit of the last, and float32 rounds as much again."""

SVG_COLOUR = 2.1e-3
"""An SVG's colours are rounded to 8 bits, half a step of 1/255 and a rounding."""

SVG_PICTURE_MEAN = 1 / 255
"""Mean difference of our picture and resvg's: resvg samples edges with 16 levels a line where we take exact areas."""

BOUNDARY_CELLS = 0.5
"""Cells: a boundary's distance is that to the nearest of points half a cell apart."""

BOUNDARY_CELLS_BETWEEN = 2**0.5
"""Cells: between two curves, the cell that is nearest by its middle may hold the farther one: half a diagonal each."""
