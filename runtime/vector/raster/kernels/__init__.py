"""Compiled kernels of the rasterizer, in the order in which a picture is made, compiled as `runtime.kernels.jit` says.

A kernel is a function whose name has no underscore before it; the others are parts of one. Each has a readable twin of
its own name in `runtime.vector.raster.reference`, in the module of the same name, and a test that compares the two at
that stage.
"""
