"""Compiled kernels of a field on a grid, in the order in which a ray is drawn and differentiated.

`march` finds the samples of each ray and composites them, `differentiate` turns gradients of rays into gradients of
samples, `scatter` adds those to the grid, and `nodes` updates it. Readable twins are in `runtime.field.reference` and
`runtime.field.volume`.
"""
