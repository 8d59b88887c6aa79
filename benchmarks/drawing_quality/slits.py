"""Thin gaps through which a drawing's paper shows."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float64
from scipy import ndimage

from runtime.vector.paths import Drawing

SIDE = 512
"""Smallest side in pixels at which a drawing is looked at."""

UNIT = 128
"""Side of the canvas in whose square pixels gaps are measured, as large as the pictures of `icons`."""

WIDE = 3.0
"""Pixels of such a canvas from which on a gap is paper that is meant."""

FRINGE = 0.5
"""Pixels of it along wide paper in which an edge's antialiasing is."""

SEEN = 0.2
"""Share of a pixel that has to be paper: two edges that halve a pixel between them leave a quarter."""


def paper_of(drawing: Drawing, size: tuple[int, int]) -> Float64[np.ndarray, "H W"]:
    """Return how much of the paper is seen in each pixel, in [0, 1]: a white one's picture less a black one's."""
    from runtime.vector.raster import rasterize

    with torch.no_grad():
        white, black = (
            rasterize(replace(drawing, background=torch.full_like(drawing.background, shade)), size)[0].double()
            for shade in (1.0, 0.0)
        )
    return (white - black).mean(0).numpy()


def slits_of(drawing: Drawing) -> float:
    """Return the paper that shows in gaps narrower than `WIDE`, in square pixels of a canvas of `UNIT`.

    Wide paper is where a disc of that diameter finds room. Narrow parts of it count as well, such as notches.

    Args:
        drawing: one scene.
    """
    factor = max(1, round(SIDE / min(drawing.size)))
    size = (drawing.size[0] * factor, drawing.size[1] * factor)
    scale = min(size) / UNIT
    margin = int(2 * WIDE * scale)
    paper = np.pad(paper_of(drawing, size), margin, constant_values=1.0)
    room = np.asarray(ndimage.distance_transform_edt(paper > 0.5)) > WIDE * scale / 2
    near = np.asarray(ndimage.distance_transform_edt(~room)) <= (WIDE / 2 + FRINGE) * scale
    shows = np.where(near | (paper <= SEEN), 0.0, paper)
    return float(shows.sum()) / scale**2
