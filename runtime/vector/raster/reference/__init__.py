"""The readable rasterizer: exact area coverage in plain PyTorch and NumPy, slow, float64 inside.

The compiled one is tested against it, stage by stage: each kernel has a twin of its own name here, in the module of the
same name. A twin takes what the stage before has left, one path, row or band at a time where that reads better, and
returns what the kernel writes. The method, for one path:

1. Flatten each cubic segment to edges whose vertices straddle the curve so that they enclose the curve's own area
   (`outline`). A stroke is the union of its edges, each widened by a regular polygon: a non-zero fill as well
   (`stroke`).
2. Accumulate in each pixel that an edge crosses its height, `cover`, and the area to its right, `area` (`cells`).
3. Sweep over each row: the cover so far is the winding number, which with the fill rule makes runs of full pixels; a
   pixel that the path crosses once has a coverage linear in its area; one that it crosses more often is cut into slabs
   (`spans`, `pixel`).
4. Blend the path's colour over the pixels by opacity times coverage (`composite`, `forward`).

Backward, the gradient by a pixel's coverage reaches each edge in it as two moments, the integrals of the gradient and
of gradient times parameter along the edge (`backward`), which make gradients of vertices and those of points (`build`).

`rasterize_torch` takes steps 2 and 3 by another road, `coverage`, and its gradient from autograd, so that what a kernel
and its twin have both wrong is found.
"""

from runtime.vector.raster.reference.coverage import rasterize_torch

__all__ = ["rasterize_torch"]
