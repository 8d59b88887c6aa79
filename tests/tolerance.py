"""Named tolerances, each with its reason."""

FLOAT32_ROUNDING = 1e-5
"""Sums of a few hundred float32 terms of order one."""

ENGINE_FLOAT32 = 1e-5
"""Two float32 backends on a network of order-one activations, some tens of layers: their sums run in other orders."""

DIFFERENCE_FLOAT32 = 4e-3
"""Central differences of a float32 network, relative: at a step of 2e-3 the value's roundings, 1e-7 for each of
hundreds of numbers, are up to a thousandth of a slope, and third derivatives less."""

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

RASTER_PIXEL = 8e-3
"""Coverage of one pixel: flattened curves stray up to 0.014 pixels to one side and 0.007 to the other within a few
pixels; the brute force has 128 scan lines a pixel, so that a nearly level edge is off by up to 1/256."""

RASTER_AREA = 2e-4
"""Area of a flattened circle, per pixel of its circumference: pieces enclose the curve's own area but for terms of
fourth order, a hundredth of the 0.02 pixels that chords may stray."""

RASTER_STROKE_PIXEL = 2.5e-2
"""Coverage of one pixel by a stroke: the pen's polygon strays up to 0.01 pixels, the flattened curve up to 0.014, and
the brute force has 24 x 24 places a pixel, of which an edge that is nearly level or upright decides a whole row at
once."""

RASTER_DIFFERENCE = 1e-4
"""Central differences of the rasterizer, relative to the sum of absolute terms: its second derivative jumps where an
edge crosses a pixel's corner, so they are right to a few steps, of 1e-5 each."""

RASTER_STAGE = 1e-9
"""One stage of the rasterizer by two float64 implementations of one formula, on numbers of at most some hundred: sums
of some dozens of terms in another order, 1e-13 each, divided by determinants down to 1e-4."""

RASTER_TWIN = 1e-6
"""Two float64 implementations of one formula: the twin replaces short quotients by midpoints below 1e-6 pixels."""

RASTER_TWIN_VJP = 1e-5
"""Gradients of the same two, relative to the largest: the twin's quotients lose about six digits."""

ENGINE_HALF = 5e-3
"""Greatest difference of a network of a few layers in float16 from float32, relative to its largest value: each product
rounds to 11 bits, 5e-4, some ten times in a row."""

CAMERA_PIXELS = 2e-3
"""Pixels: a point some units away goes through a rotation and a division in float32, 1e-6 relative, times 100 pixels of
focal length, some ten roundings."""

FIELD_TWIN = 1e-4
"""What a ray shows of noise, by float32 kernels and by a float64 twin: positions some 100 nodes from the origin of the
ray are rounded to 4e-6 of a node, across which raw values and colours change by 10, at some dozens of samples."""

FIELD_TWIN_VJP = 1e-4
"""Gradients of the same two, relative to the largest."""

FIELD_CLOSED_FORM = 2e-4
"""Transmittance through a slab or a ball: the ends of a ray's part are found to a step's jitter times the density."""

MESH_RELATIVE = 6e-3
"""Volume and area of a mesh of a sphere or torus on some 60 nodes: chords of a cell, 0.034, across a radius of 0.25
lose (0.034 / 0.25)^2 / 8 of it, 0.2 %, and as much again by linear interpolation."""

FLOAT64_ROUNDING = 1e-12
"""Quotients and products of some thousand float64 factors of order one."""

LIFT_PIXELS = 0.6
"""Pixels: a disc of pixels has an outline that strays half a pixel from the circle."""

LIFT_SHARE = 2e-2
"""Inflated shapes, relative: the ends of a strip, and a staircase of pixels for an outline, some 30 from the middle."""

LIFT_COLOUR = 0.06
"""Mean difference of the front view from the picture: two interpolations blur edges over some two pixels."""
