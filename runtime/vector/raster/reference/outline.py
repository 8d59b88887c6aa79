"""Twins of `kernels.outline`: from control points to straight edges, one segment, contour or path at a time."""

import math

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from runtime.vector.raster.kernels.limits import MAX_EDGES, STRAIGHT


def count_edges(controls: Float[Tensor, "4 2"], tolerance: float) -> int:
    """Number of edges of a cubic segment whose chords stay within the tolerance, by its second differences."""
    # A cubic's second derivative is largest at an end, where it is six times a second difference.
    bend = (controls[:-2] - 2 * controls[1:-1] + controls[2:]).norm(dim=-1).max().item()
    off = 0.75 * bend / tolerance
    return 1 if off < STRAIGHT else min(max(math.ceil(math.sqrt(off)), 2), MAX_EDGES)


def vertex_weights(count: int) -> Float64[Tensor, "{count} 4"]:
    """Weights of a segment's control points in its vertices 0 to count - 1.

    Vertex 0 is the segment's start. The others lie off the curve by h^2 / 12 of its second derivative, h being the
    step: then the area between curve and chord, a parabola's to first order, vanishes. The first and last step are
    h / sqrt(2), which makes it vanish there too.
    """
    if count == 1:
        return torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)
    # count - 2 whole steps and two of 1 / sqrt(2) make 1 together.
    step = 1 / (count - 2 + math.sqrt(2))
    t = (torch.arange(1, count, dtype=torch.float64) - 1 + math.sqrt(0.5)) * step
    bernstein = torch.stack(((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3), -1)
    # The second derivative of the Bernstein polynomials.
    second = torch.stack((6 * (1 - t), 6 * (3 * t - 2), 6 * (1 - 3 * t), 6 * t), -1)
    first = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)
    return torch.cat((first, bernstein - step**2 / 12 * second))


def flatten(points: Float[Tensor, "N 2"], segments: int, tolerance: float, *, closed: bool) -> Float[Tensor, "V 2"]:
    """Vertices of one contour; an open one ends with its last point."""
    vertices = []
    for segment in range(segments):
        rows = [(3 * segment + k) % (3 * segments) if closed else 3 * segment + k for k in range(4)]
        controls = points[rows]
        vertices.append(vertex_weights(count_edges(controls.detach(), tolerance)) @ controls)
    return torch.cat(vertices if closed else [*vertices, points[-1:]])


def flatten_backward(grad_vertices: Float64[Tensor, "V 2"]) -> Float64[Tensor, "4 2"]:
    """Gradient of one segment's control points, given that of its V vertices: the weights transposed."""
    return vertex_weights(len(grad_vertices)).T @ grad_vertices


def close_loops(loops: list[Tensor]) -> tuple[Float[Tensor, "E 2"], Float[Tensor, "E 2"]]:
    """Starts and ends of the edges of a path's contours: from vertex to vertex and back to the first."""
    return torch.cat(loops), torch.cat([loop.roll(-1, 0) for loop in loops])


def edges_backward(
    edges: np.ndarray, pens: Float64[np.ndarray, "U 2"], moments: Float64[np.ndarray, "E 2"], vertices: int, paths: int
) -> tuple[Float64[np.ndarray, "V 2"], Float64[np.ndarray, " BP"]]:
    """Gradients of `vertices` vertices and of the radii of `paths` paths, given each edge's moments.

    A place p on a whole edge is (1 - p) start + p end, and an edge is the interval s0 to s1 of it: moments over the
    edge's own parameter become two weights, one of each end. An end moves with its vertex, and with its pen corner
    times the radius; moving by d gains the area d x (edge's direction).

    Args:
        edges: (E,) of dtype `kernels.outline.EDGE`.
        pens: corners of all strokes' pens.
        moments: integrals over each edge's parameter, 0 to 1, of the gradient, and of gradient times parameter.
        vertices: V.
        paths: of all scenes.
    """
    grad_vertices = np.zeros((vertices, 2))
    grad_radii = np.zeros(paths)
    direction = np.stack((edges["x1"] - edges["x0"], edges["y1"] - edges["y0"]), -1)
    by_place = np.stack((-direction[:, 1], direction[:, 0]), -1)
    # A cut itself moves along the edge, which changes no area: so s0 and s1 are constants here.
    of_end = edges["s0"] * moments[:, 0] + (edges["s1"] - edges["s0"]) * moments[:, 1]
    for vertex, corner, weight in (("v0", "k0", moments[:, 0] - of_end), ("v1", "k1", of_end)):
        grad = weight[:, None] * by_place
        np.add.at(grad_vertices, edges[vertex], grad)
        stroke = edges[corner] >= 0
        np.add.at(grad_radii, edges["path"][stroke], (pens[edges[corner][stroke]] * grad[stroke]).sum(-1))
    return grad_vertices, grad_radii
