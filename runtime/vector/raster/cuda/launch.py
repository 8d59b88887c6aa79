"""The kernels: each finds out which thread it is and calls a function of `pixels`."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
import torch
from numba import config
from torch import Tensor

from runtime.kernels.jit import stamp_of
from runtime.vector.raster.cuda.load import load
from runtime.vector.raster.cuda.pixels import (
    BREAKS,
    DEPTH,
    PIECES,
    TILE,
    Lists,
    Shapes,
    bound,
    composite,
    edge_moments,
    list_paths,
    share_and_change,
    shares_of,
)
from runtime.vector.raster.kernels.pixel import PIXEL_EDGE

_PIECE: Any = numba.from_dtype(PIXEL_EDGE)
THREADS = TILE * TILE
LANES = 32
"""Threads of an edge: a warp."""

# Its own types describe what kernels are compiled from, not what they say.
cuda: Any = load()

# A small drawing has few blocks. That is no mistake, so it is not to be warned of at every launch.
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # pyright: ignore[reportAttributeAccessIssue]

STAMP = stamp_of(Path(__file__).parent, Path(__file__).parents[1] / "kernels")
"""Changes with the source of any kernel, and of any function that one calls."""


def _kernel(function: Callable) -> Any:
    """Return a kernel for the card, cached on disk where it can be; a decorator.

    Numba looks for changes in this file alone, so the key of its cache gets the sources of all. A cache that fails
    costs compilation, never a drawing.
    """
    try:
        kernel = cuda.jit(cache=True)(function)
        store = kernel._cache
        key, load, save = store._index_key, store.load_overload, store.save_overload
    except (RuntimeError, NotImplementedError, AttributeError):  # no place for it, or the simulator
        return cuda.jit(function)

    def load_or_none(*arguments: Any) -> Any:
        with suppress(Exception):
            return load(*arguments)
        return None

    def try_to_save(*arguments: Any) -> None:
        with suppress(Exception):
            save(*arguments)

    store._index_key = lambda *arguments: (*key(*arguments), STAMP)
    store.load_overload, store.save_overload = load_or_none, try_to_save
    return kernel


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
        ends = (0, lists.lengths[b, tile])
        red, green, blue = composite(shapes, boxes, lists, b, tile, (x, y), (pieces, breaks), ends)
        image[b, 0, y, x] = red
        image[b, 1, y, x] = green
        image[b, 2, y, x] = blue


@_kernel
def _colours_backward(shapes, boxes, lists, upstream, parts):
    """Sums over each tile's pixels, in the order of a tree, of the gradients by its paths' colours."""
    pieces = cuda.local.array(PIECES, _PIECE)
    breaks = cuda.local.array(BREAKS, numba.float64)
    shares = cuda.local.array(DEPTH, numba.float64)
    sums = cuda.shared.array((4, THREADS), numba.float64)
    x = cuda.blockIdx.x * TILE + cuda.threadIdx.x
    y = cuda.blockIdx.y * TILE + cuda.threadIdx.y
    b = cuda.blockIdx.z
    lane = cuda.threadIdx.y * TILE + cuda.threadIdx.x
    tile = cuda.blockIdx.y * cuda.gridDim.x + cuda.blockIdx.x
    seen = x < upstream.shape[3] and y < upstream.shape[2]
    # Each coverage goes through all edges of a path: once for the list, and not once more for each path above.
    stored = seen and shares_of(shapes, boxes, lists, b, tile, (x, y), (pieces, breaks), shares)
    for k in range(lists.lengths[b, tile]):
        path = lists.paths[b, tile, k]
        for c in range(4):
            sums[c, lane] = 0.0
        if seen:
            share, change, passes = share_and_change(
                shapes, boxes, lists, b, (tile, k), (x, y), (pieces, breaks, shares, stored), upstream
            )
            if share != 0.0:
                alpha = passes * shapes.colours[b, path, 3] * share
                for c in range(3):
                    sums[c, lane] = alpha * upstream[b, c, y, x]
                sums[3, lane] = share * change
        cuda.syncthreads()
        # Halving, each time with a barrier: who adds what to what is fixed, so the sum has the same bits in each run.
        width = THREADS // 2
        while width > 0:
            if lane < width:
                for c in range(4):
                    sums[c, lane] += sums[c, lane + width]
            cuda.syncthreads()
            width //= 2
        # One thread a channel. No other tile has this place, so no addition is atomic.
        if lane < 4:
            parts[b, tile, path, lane] = sums[lane, 0]
        cuda.syncthreads()


@_kernel
def _edges_backward(shapes, boxes, lists, owners, size, upstream, moments):
    """The moments of each edge: a warp shares its pixels, and its first thread adds up what they have, in order."""
    pieces = cuda.local.array(PIECES, _PIECE)
    breaks = cuda.local.array(BREAKS, numba.float64)
    sums = cuda.shared.array((2, LANES), numba.float64)
    lane = cuda.threadIdx.x
    most = moments.shape[2]
    segment = cuda.blockIdx.x // most
    i = cuda.blockIdx.x % most
    b = cuda.blockIdx.y
    # The same for all threads of a block, so that none waits for one that has left.
    if i >= shapes.counts[b, segment]:
        return
    where = (b, owners[segment], segment, i)
    zeroth, first = edge_moments(shapes, boxes, lists, where, (lane, LANES), size, upstream, (pieces, breaks))
    sums[0, lane] = zeroth
    sums[1, lane] = first
    cuda.syncthreads()
    if lane == 0:
        # One after the other: 32 additions cost little beside a warp's pixels, and their order never changes.
        for k in range(1, LANES):
            zeroth += sums[0, k]
            first += sums[1, k]
        moments[b, segment, i, 0] = zeroth
        moments[b, segment, i, 1] = first


class Card:
    """Runs the passes on the device of the tensors that it is given, on PyTorch's current stream."""

    def __init__(self, device: torch.device) -> None:
        """Take the current stream of a device."""
        # PyTorch's own, so that its kernels before and behind ours need no wait between them.
        self.stream = cuda.external_stream(torch.cuda.current_stream(device).cuda_stream)

    def array(self, tensor: Tensor) -> Any:
        """Return a tensor's memory as an array of numba's; the stream's order is all that is needed."""
        return cuda.as_cuda_array(tensor.detach(), sync=False)

    def shapes(self, tensors: dict[str, Tensor]) -> Shapes:
        """Return what is drawn as arrays."""
        return Shapes(**{name: self.array(tensor) for name, tensor in tensors.items()})

    def forward(self, tensors: dict[str, Tensor], saved: dict[str, Tensor], image: Tensor) -> None:
        """Write the boxes and lists of `saved`, and the picture."""
        shapes, boxes, lists = self.shapes(tensors), self.array(saved["boxes"]), self._lists(saved)
        across, down = self._tiles(image)
        _bound_all[-(-saved["boxes"][..., 0].numel() // 64), 64, self.stream](shapes, boxes)
        _list_all[-(-saved["lengths"].numel() // 64), 64, self.stream](boxes, lists, across)
        _draw[(across, down, len(image)), (TILE, TILE), self.stream](shapes, boxes, lists, self.array(image))

    def backward(
        self,
        tensors: dict[str, Tensor],
        saved: dict[str, Tensor],
        owners: Tensor,
        upstream: Tensor,
        parts: Tensor,
        moments: Tensor,
    ) -> None:
        """Write the gradients by colours of each tile into `parts`, and the moments of each edge."""
        shapes, boxes, lists = self.shapes(tensors), self.array(saved["boxes"]), self._lists(saved)
        across, down = self._tiles(upstream)
        size = (upstream.shape[2], upstream.shape[3])
        seen = self.array(upstream)
        grid = (across, down, len(upstream))
        _colours_backward[grid, (TILE, TILE), self.stream](shapes, boxes, lists, seen, self.array(parts))
        blocks = (moments.shape[1] * moments.shape[2], len(moments))
        _edges_backward[blocks, LANES, self.stream](
            shapes, boxes, lists, self.array(owners), size, seen, self.array(moments)
        )

    def _lists(self, saved: dict[str, Tensor]) -> Lists:
        return Lists(self.array(saved["paths"]), self.array(saved["lengths"]))

    @staticmethod
    def _tiles(image: Tensor) -> tuple[int, int]:
        return -(-image.shape[3] // TILE), -(-image.shape[2] // TILE)
