"""Twins of `kernels.backward`: from the gradient of a picture to those of colours and, as moments, of edges."""

import numpy as np
from jaxtyping import Float, Float64

from runtime.vector.raster.kernels.backward import Grads
from runtime.vector.raster.kernels.cells import Band, Bands
from runtime.vector.raster.kernels.forward import Paths, Saved
from runtime.vector.raster.kernels.spans import EXACT
from runtime.vector.raster.reference.cells import cell_of, locate_band
from runtime.vector.raster.reference.composite import blend_backward, composite_row
from runtime.vector.raster.reference.forward import background_row
from runtime.vector.raster.reference.pixel import pixel_moments
from runtime.vector.raster.reference.spans import gather_edges


def spans_backward(
    bands: Bands, first: int, spans: np.ndarray, opacity: float, grad_alpha: Float[np.ndarray, " W"]
) -> dict[int, float]:
    """The gradient by the signed area of each cell of one path in a row; cells in EXACT spans have none here.

    Coverage changes by the span's slope with the signed area, and alpha by the opacity with the coverage.
    """
    grads = {}
    for span in spans[(spans["cells"] > 0) & (spans["slope"] != EXACT)]:
        grad = opacity * float(span["slope"]) * float(grad_alpha[span["start"]])
        if span["cells"] == 1:
            grads[int(span["first"])] = grad
        else:
            keys = bands.keys[span["first"] : span["first"] + span["cells"]]
            grads |= {cell_of(first, key): grad for key in keys.tolist()}
    return grads


def cells_backward(bands: Bands, grads: dict[int, float], moments: Float64[np.ndarray, "N 2"]) -> None:
    """Add the gradients by cells' signed areas to the moments of their parts' entries.

    A part is the interval s to t of its edge: the integral of 1 over it, and that of the parameter.
    """
    for index, grad in grads.items():
        cell = bands.cells[index]
        for part in bands.parts[cell["part"] : cell["part"] + cell["count"]]:
            moments[part["entry"]] += grad * np.array((part["t"] - part["s"], (part["t"] ** 2 - part["s"] ** 2) / 2))


def exact_spans_backward(
    paths: Paths,
    bands: Bands,
    band: Band,
    y: int,
    spans: np.ndarray,
    grad_alpha: Float[np.ndarray, " W"],
    moments: Float64[np.ndarray, "N 2"],
) -> None:
    """Add the gradients by coverage of one path's EXACT spans in row y to the moments of their edges' entries."""
    for span in spans[spans["slope"] == EXACT]:
        path = int(span["path"])
        gathered = gather_edges(paths.edges, bands, band.first, span, y)
        grad = paths.colours[band.scene, path, 3] * float(grad_alpha[span["start"]])
        weights = pixel_moments(gathered, int(span["corner"]), bool(paths.evenodd[path]))
        np.add.at(moments, gathered["entry"], grad * weights)


def row_backward(
    paths: Paths, bands: Bands, saved: Saved, band: Band, y: int, grad: Float[np.ndarray, "3 W"], grads: Grads
) -> Float[np.ndarray, "3 W"]:
    """Take the gradient of row y back through its paths, highest first; returns the gradient of the background."""
    spans = saved.spans[slice(*saved.rows[band.row + y - band.top])]
    colours = paths.colours[band.scene]
    tape = composite_row(background_row(paths, band.scene, band.width), spans, colours)[1]
    for path, coverage, below in reversed(tape):
        grad, sums, grad_alpha = blend_backward(grad, coverage, colours[path], below)
        grads.colours[band.job, path] += sums * np.append(np.full(3, colours[path, 3]), 1)
        own = spans[spans["path"] == path]
        cells_backward(bands, spans_backward(bands, band.first, own, colours[path, 3], grad_alpha), grads.moments)
        exact_spans_backward(paths, bands, band, y, own, grad_alpha, grads.moments)
    return grad


def backward_band(
    paths: Paths, bands: Bands, saved: Saved, band: Band, upstream: Float[np.ndarray, "B 3 H W"], grads: Grads
) -> None:
    """Add one band's part to the gradients."""
    for y in range(band.top, band.bottom):
        # Float64, so that the twin's error is far below the kernel's in float32.
        grad = row_backward(paths, bands, saved, band, y, upstream[band.scene, :, y].astype(np.float64), grads)
        grads.background[band.job] += grad.sum(1)


def backward(paths: Paths, bands: Bands, saved: Saved, upstream: Float[np.ndarray, "B 3 H W"]) -> Grads:
    """Gradients by job: of colours, of the background, and the moments of all entries."""
    jobs, count = len(saved.cell_ends), len(paths.evenodd)
    grads = Grads(np.zeros((jobs, count, 4)), np.zeros((jobs, 3)), np.zeros((len(bands.entries), 2)))
    for job in range(jobs):
        band = locate_band(job, count, upstream.shape[2:], int(bands.firsts[job]))
        backward_band(paths, bands, saved, band, upstream, grads)
    return grads
