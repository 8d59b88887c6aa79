"""Compiled kernels of the rasterizer; `runtime.vector.raster.reference` is their readable twin."""
