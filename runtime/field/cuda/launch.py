"""The kernels: each finds out which thread it is and calls a function of `rays`."""

from pathlib import Path
from typing import Any

from numba import config

from runtime.field.cuda.rays import (
    Gradients,
    Grid,
    Intervals,
    Samples,
    composite_ray,
    differentiate_ray,
    gather_node,
    march_ray,
)
from runtime.field.kernels.march import Rays, Shown
from runtime.kernels.card import Launcher, kernel_of, load
from runtime.kernels.jit import stamp_of

THREADS = 64
"""Threads of a block."""

# Its own types describe what kernels are compiled from, not what they say.
cuda: Any = load()

# Few rays have few blocks. That is no mistake, so it is not to be warned of at every launch.
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # pyright: ignore[reportAttributeAccessIssue]

_kernel = kernel_of(stamp_of(Path(__file__).parent, Path(__file__).parents[1] / "kernels"))


@_kernel
def _count_all(grid, rays, normals, samples, counts):
    ray = cuda.grid(1)
    if ray < counts.shape[0]:
        count, _ = march_ray(grid, rays, ray, normals, samples)
        counts[ray] = count


@_kernel
def _draw_all(grid, rays, normals, samples, shown):
    ray = cuda.grid(1)
    if ray < shown.depth.shape[0]:
        _, passing = march_ray(grid, rays, ray, normals, samples)
        shown.transmittance[ray] = passing
        composite_ray(grid, samples, ray, shown)


@_kernel
def _differentiate_all(grid, samples, upstream, gradients):
    ray = cuda.grid(1)
    if ray < upstream.depth.shape[0]:
        differentiate_ray(grid, samples, ray, upstream, gradients)


@_kernel
def _gather_all(grid, rays, samples, gradients, intervals, total):
    node = cuda.grid(1)
    if node < grid.size * grid.size * grid.size:
        gather_node(grid, rays, samples, gradients, intervals, node, total)


class Card(Launcher):
    """Runs the kernels on the device of the tensors that it is given, on PyTorch's current stream."""

    def count(self, grid: Grid, rays: Rays, samples: Samples, counts: Any) -> None:
        """Write the number of samples of each ray."""
        _count_all[self._blocks(len(counts)), THREADS, self.stream](grid, rays, False, samples, counts)

    def draw(self, grid: Grid, rays: Rays, samples: Samples, shown: Shown) -> None:
        """Write the samples of rays, and what they show."""
        normals = len(shown.normal) > 0
        _draw_all[self._blocks(len(shown.depth)), THREADS, self.stream](grid, rays, normals, samples, shown)

    def differentiate(self, grid: Grid, samples: Samples, upstream: Shown, gradients: Gradients) -> None:
        """Write the gradients of samples."""
        _differentiate_all[self._blocks(len(upstream.depth)), THREADS, self.stream](grid, samples, upstream, gradients)

    def gather(
        self, grid: Grid, rays: Rays, samples: Samples, gradients: Gradients, intervals: Intervals, total: Any
    ) -> None:
        """Add the gradients of samples to those of the nodes around them."""
        blocks = self._blocks(grid.size**3)
        _gather_all[blocks, THREADS, self.stream](grid, rays, samples, gradients, intervals, total)

    @staticmethod
    def _blocks(count: int) -> int:
        return max(1, -(-count // THREADS))
