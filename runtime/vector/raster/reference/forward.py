"""Twins of `kernels.forward`: from a drawing's spans to its picture."""

import numpy as np
from jaxtyping import Float64

from runtime.vector.raster.kernels.cells import Band
from runtime.vector.raster.kernels.forward import Paths, Saved
from runtime.vector.raster.reference.cells import locate_band
from runtime.vector.raster.reference.composite import composite_row


def background_row(paths: Paths, scene: int, width: int) -> Float64[np.ndarray, "3 {width}"]:
    """A row of the scene's background."""
    return np.repeat(paths.background[scene][:, None], width, 1)


def forward_band(paths: Paths, saved: Saved, band: Band) -> Float64[np.ndarray, "3 rows W"]:
    """The pixels of one band: each row's paths over the background."""
    rows = []
    for row in range(band.row, band.row + band.bottom - band.top):
        spans = saved.spans[slice(*saved.rows[row])]
        rows.append(composite_row(background_row(paths, band.scene, band.width), spans, paths.colours[band.scene])[0])
    return np.stack(rows, 1)


def forward(paths: Paths, saved: Saved, size: tuple[int, int]) -> Float64[np.ndarray, "B 3 H W"]:
    """The picture, band by band."""
    image = np.empty((len(paths.background), 3, *size))
    for job in range(len(saved.cell_ends)):
        band = locate_band(job, len(paths.evenodd), size, 0)
        image[band.scene, :, band.top : band.bottom] = forward_band(paths, saved, band)
    return image
