"""The kernels: each finds out which thread it is and calls functions of `coverage` and `pixels`."""

from pathlib import Path
from typing import Any

import numba
from numba import config
from torch import Tensor

from runtime.kernels.card import Launcher, kernel_of, load
from runtime.kernels.jit import stamp_of
from runtime.vector.raster.cuda.coverage import BREAKS, PIECES, Shapes, Vertices, place_edge
from runtime.vector.raster.cuda.pixels import (
    DEPTH,
    STARTS,
    TILE,
    Lists,
    Picture,
    Spot,
    below_stretch,
    bound,
    composite,
    cover_stretch,
    edge_moments,
    keep_starts,
    list_paths,
    stretch_change,
    sum_parts,
)
from runtime.vector.raster.kernels.pixel import PIXEL_EDGE

_PIECE: Any = numba.from_dtype(PIXEL_EDGE)
THREADS = TILE * TILE
LANES = 32
"""Threads of an edge or a path: a warp."""

BLOCKS = 8192
"""Warps that share the edges of a scene: more than any card of today runs at once."""

Tensors = dict[str, Tensor]

# Its own types describe what kernels are compiled from, not what they say.
cuda: Any = load()

# A small drawing has few blocks. That is no mistake, so it is not to be warned of at every launch.
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # pyright: ignore[reportAttributeAccessIssue]

STAMP = stamp_of(Path(__file__).parent, Path(__file__).parents[1] / "kernels")
"""Changes with the source of any kernel, and of any function that one calls."""


_kernel = kernel_of(STAMP)


@_kernel
def _place_all(outline, shapes):
    n = cuda.grid(1)
    segments = outline.counts.shape[1]
    most = outline.vertices.shape[2]
    if n < outline.counts.shape[0] * segments * most:
        b = n // (segments * most)
        segment = n // most % segments
        if n % most < outline.counts[b, segment]:
            place_edge(outline, b, segment, n % most, shapes)


@_kernel
def _bound_all(shapes, boxes):
    n = cuda.grid(1)
    paths = boxes.shape[1]
    if n < boxes.shape[0] * paths:
        left, top, right, bottom = bound(shapes, n // paths, n % paths)
        boxes[n // paths, n % paths, 0] = left
        boxes[n // paths, n % paths, 1] = top
        boxes[n // paths, n % paths, 2] = right
        boxes[n // paths, n % paths, 3] = bottom


@_kernel
def _list_all(boxes, lists, across):
    n = cuda.grid(1)
    tiles = lists.lengths.shape[1]
    if n < lists.lengths.shape[0] * tiles:
        tile = n % tiles
        list_paths(boxes, n // tiles, tile % across, tile // across, lists, tile)


@_kernel
def _draw(shapes, boxes, lists, image):
    # A block is a tile: its threads go through the same list.
    pieces = cuda.local.array(PIECES, _PIECE)
    breaks = cuda.local.array(BREAKS, numba.float64)
    x = cuda.blockIdx.x * TILE + cuda.threadIdx.x
    y = cuda.blockIdx.y * TILE + cuda.threadIdx.y
    b = cuda.blockIdx.z
    if x < image.shape[3] and y < image.shape[2]:
        tile = cuda.blockIdx.y * cuda.gridDim.x + cuda.blockIdx.x
        spot = Spot(b, tile, x, y)
        colour = composite(Picture(shapes, boxes, lists), spot, (pieces, breaks), lists.lengths[b, tile])
        for c in range(3):
            image[b, c, y, x] = colour[c]


@_kernel
def _colours_backward(shapes, boxes, lists, upstream, parts):
    """Sums over each tile's pixels, in the order of a tree, of the gradients by its paths' colours."""
    pieces = cuda.local.array(PIECES, _PIECE)
    breaks = cuda.local.array(BREAKS, numba.float64)
    starts = cuda.local.array((STARTS, 3), numba.float64)
    shares = cuda.local.array(DEPTH, numba.float64)
    sums = cuda.shared.array((4, THREADS), numba.float64)
    x = cuda.blockIdx.x * TILE + cuda.threadIdx.x
    y = cuda.blockIdx.y * TILE + cuda.threadIdx.y
    b = cuda.blockIdx.z
    lane = cuda.threadIdx.y * TILE + cuda.threadIdx.x
    tile = cuda.blockIdx.y * cuda.gridDim.x + cuda.blockIdx.x
    seen = x < upstream.shape[3] and y < upstream.shape[2]
    picture = Picture(shapes, boxes, lists)
    spot = Spot(b, tile, x, y)
    spaces = (pieces, breaks)
    if seen:
        keep_starts(picture, spot, spaces, starts)
    # From the highest path down, because each dims what reaches those below it. All threads take the same turns.
    passes = 1.0
    last = lists.lengths[b, tile]
    while last > 0:
        n = (last - 1) // DEPTH
        start = (0.0, 0.0, 0.0)
        if seen:
            cover_stretch(picture, spot, spaces, n, shares)
            start = below_stretch(picture, spot, spaces, n, starts)
        for k in range(last - 1, n * DEPTH - 1, -1):
            opacity = shapes.colours[b, lists.paths[b, tile, k], 3]
            for c in range(4):
                sums[c, lane] = 0.0
            share = shares[k - n * DEPTH] if seen else 0.0
            if share != 0.0:
                for c in range(3):
                    sums[c, lane] = passes * opacity * share * upstream[b, c, y, x]
                sums[3, lane] = share * passes * stretch_change(picture, spot, k, shares, start, upstream)
                passes *= 1.0 - opacity * share
            cuda.syncthreads()
            # Halving, each time with a barrier: who adds what to what is fixed, so each run sums to the same bits.
            width = THREADS // 2
            while width > 0:
                if lane < width:
                    for c in range(4):
                        sums[c, lane] += sums[c, lane + width]
                cuda.syncthreads()
                width //= 2
            # One thread a channel. No other tile has this place, so no addition is atomic.
            if lane < 4:
                parts[b, tile, k, lane] = sums[lane, 0]
            cuda.syncthreads()
        last = n * DEPTH


@_kernel
def _sum_all(boxes, lists, parts, across, colours):
    """The gradient by each path's colour: a warp shares its tiles, and a thread a channel adds up what they have."""
    sums = cuda.shared.array((4, LANES), numba.float64)
    lane = cuda.threadIdx.x
    path = cuda.blockIdx.x
    b = cuda.blockIdx.y
    red, green, blue, alpha = sum_parts(boxes, lists, parts, (b, path), (lane, LANES), across)
    sums[0, lane] = red
    sums[1, lane] = green
    sums[2, lane] = blue
    sums[3, lane] = alpha
    cuda.syncthreads()
    if lane < 4:
        total = 0.0
        for k in range(LANES):
            total += sums[lane, k]
        colours[b, path, lane] = total


@_kernel
def _edges_backward(shapes, boxes, lists, size, upstream, moments):
    """The moments of each edge: a warp shares its pixels, and its first thread adds up what they have, in order."""
    pieces = cuda.local.array(PIECES, _PIECE)
    breaks = cuda.local.array(BREAKS, numba.float64)
    sums = cuda.shared.array((2, LANES), numba.float64)
    lane = cuda.threadIdx.x
    b = cuda.blockIdx.y
    picture = Picture(shapes, boxes, lists)
    # Only the card knows how many edges there are, so blocks take them in turns: all threads of one the same.
    for e in range(cuda.blockIdx.x, shapes.ranges[b, shapes.ranges.shape[1] - 1], cuda.gridDim.x):
        zeroth, first = edge_moments(picture, (b, e), (lane, LANES), size, upstream, (pieces, breaks))
        sums[0, lane] = zeroth
        sums[1, lane] = first
        cuda.syncthreads()
        if lane == 0:
            # One after the other: 32 additions cost little beside a warp's pixels, and their order never changes.
            for k in range(1, LANES):
                zeroth += sums[0, k]
                first += sums[1, k]
            moments[b, shapes.places[b, e, 1], shapes.places[b, e, 2], 0] = zeroth
            moments[b, shapes.places[b, e, 1], shapes.places[b, e, 2], 1] = first
        cuda.syncthreads()


class Card(Launcher):
    """Runs the passes on the device of the tensors that it is given, on PyTorch's current stream."""

    def forward(self, outline: Tensors, shapes: Tensors, saved: Tensors, image: Tensor) -> None:
        """Write the edges of `shapes`, the boxes and lists of `saved`, and the picture."""
        edges, boxes, lists = self._shapes(shapes), self.array(saved["boxes"]), self._lists(saved)
        across, down = self._tiles(image)
        vertices = Vertices(**{name: self.array(tensor) for name, tensor in outline.items()})
        _place_all[-(-outline["vertices"][..., 0].numel() // 128), 128, self.stream](vertices, edges)
        _bound_all[-(-saved["boxes"][..., 0].numel() // 64), 64, self.stream](edges, boxes)
        _list_all[-(-saved["lengths"].numel() // 64), 64, self.stream](boxes, lists, across)
        _draw[(across, down, len(image)), (TILE, TILE), self.stream](edges, boxes, lists, self.array(image))

    def backward(
        self, shapes: Tensors, saved: Tensors, upstream: Tensor, parts: Tensor, colours: Tensor, moments: Tensor
    ) -> None:
        """Write gradients by colours, each tile's into `parts` and their sums, and the moments of each edge."""
        edges, boxes, lists = self._shapes(shapes), self.array(saved["boxes"]), self._lists(saved)
        across, down = self._tiles(upstream)
        batch, paths = colours.shape[:2]
        seen, shares = self.array(upstream), self.array(parts)
        _colours_backward[(across, down, batch), (TILE, TILE), self.stream](edges, boxes, lists, seen, shares)
        _sum_all[(paths, batch), LANES, self.stream](boxes, lists, shares, across, self.array(colours))
        size = (upstream.shape[2], upstream.shape[3])
        blocks = (min(moments.shape[1] * moments.shape[2], BLOCKS), batch)
        _edges_backward[blocks, LANES, self.stream](edges, boxes, lists, size, seen, self.array(moments))

    def _shapes(self, tensors: Tensors) -> Shapes:
        return Shapes(**{name: self.array(tensor) for name, tensor in tensors.items()})

    def _lists(self, saved: dict[str, Tensor]) -> Lists:
        return Lists(self.array(saved["paths"]), self.array(saved["lengths"]))

    @staticmethod
    def _tiles(image: Tensor) -> tuple[int, int]:
        return -(-image.shape[3] // TILE), -(-image.shape[2] // TILE)
