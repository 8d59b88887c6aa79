"""Compiled kernels of a field on a grid, in the order in which a ray is drawn and differentiated.

`march` finds the samples of each ray, `composite` turns them into colours and, on the way back, into gradients of the
samples, `scatter` adds those to the grid, and `nodes` updates it. Each has a readable twin in `runtime.field.reference`.
"""
