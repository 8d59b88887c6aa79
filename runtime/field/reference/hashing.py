"""Twin of the kernels of a hashed grid, and its layout: tiny-cuda-nn's encoding, number for number.

Instant neural graphics primitives, arXiv:2201.05989. Level l is a grid of `scale_l = 2^(l log2 growth) base - 1`
intervals, staggered by half of one so that the levels' nodes do not coincide; `ceil(scale_l) + 1` nodes count along an
axis. A level whose nodes fit into its table is dense, a larger one hashed: node (x, y, z) is at
(x xor 2654435761 y xor 805459861 z) mod the table's size, in 32 bits. Tables and features lie as there, so weights can
be carried over.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

PRIMES = (1, 2654435761, 805459861)
"""Factors of the hash along the axes; with 1, neighbours along x are neighbours in memory."""

MOST_NODES = 0x659
"""Most nodes along an axis whose third power fits into 32 bits: a finer level is hashed whatever its table."""

ALIGNMENT = 8
"""Entries that the size of a dense table is rounded up to."""

WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class HashLayout:
    """Levels of a hashed grid: instant-ngp's for scenes of NeRF by default."""

    levels: int = 8
    """Grids."""
    features: int = 4
    """Numbers at a node of each."""
    log2_size: int = 19
    """Binary logarithm of the largest table's entries."""
    base: int = 16
    """Nodes along an axis of the coarsest grid."""
    growth: float = 2.0
    """Ratio of one grid's intervals to the next coarser one's."""

    @property
    def scales(self) -> list[float]:
        """Intervals along an axis of each level, rounded as float32 does."""
        steps = torch.arange(self.levels, dtype=torch.float32) * torch.tensor(math.log2(self.growth))
        return (torch.exp2(steps) * self.base - 1.0).tolist()

    @property
    def resolutions(self) -> list[int]:
        """Nodes along an axis of each level."""
        return [math.ceil(scale) + 1 for scale in self.scales]

    @property
    def sizes(self) -> list[int]:
        """Entries of each level's table."""
        dense = [-(-(nodes**3) // ALIGNMENT) * ALIGNMENT for nodes in self.resolutions]
        return [min(count, 1 << self.log2_size) for count in dense]

    @property
    def hashed(self) -> list[bool]:
        """Whether each level's nodes share entries."""
        pairs = zip(self.resolutions, self.sizes, strict=True)
        return [nodes > MOST_NODES or nodes**3 > size for nodes, size in pairs]

    @property
    def offsets(self) -> list[int]:
        """First entry of each level, and the number of all."""
        ends = [0]
        for size in self.sizes:
            ends.append(ends[-1] + size)
        return ends

    @property
    def width(self) -> int:
        """Numbers of an encoded place."""
        return self.levels * self.features

    def empty(self, generator: torch.Generator) -> Float[Tensor, "E F"]:
        """Return a new table: uniform in +-1e-4, as tiny-cuda-nn's."""
        table = torch.rand(self.offsets[-1], self.features, generator=generator)
        return (2 * table - 1) * 1e-4


def entries_of(layout: HashLayout, level: int, nodes: Int64[Tensor, "*S 3"]) -> Int64[Tensor, "*S"]:
    """Return the entries, within a level's table, of nodes that are given by their coordinates."""
    size, along = layout.sizes[level], layout.resolutions[level]
    x, y, z = nodes.unbind(-1)
    if layout.hashed[level]:
        # In int64, cut to 32 bits, as PyTorch has no arithmetic of unsigned words.
        index = ((x * PRIMES[0]) & WORD) ^ ((y * PRIMES[1]) & WORD) ^ ((z * PRIMES[2]) & WORD)
    else:
        index = (x + along * (y + along * z)) & WORD
    return index % size


def encode(table: Float[Tensor, "E F"], layout: HashLayout, points: Float[Tensor, "S 3"]) -> Float[Tensor, "S W"]:
    """Return the features of places, level by level: the twin of `kernels.hashing.encode`.

    Args:
        table: of all levels.
        layout: how it is made.
        points: in [0, 1]^3.
    """
    parts = []
    for level in range(layout.levels):
        at = points * layout.scales[level] + 0.5
        low = at.floor()
        inside = at - low
        total = points.new_zeros(len(points), layout.features)
        for corner in range(8):
            offset = torch.tensor([corner >> axis & 1 for axis in range(3)])
            weight = torch.where(offset > 0, inside, 1 - inside).prod(1, keepdim=True)
            rows = layout.offsets[level] + entries_of(layout, level, low.long() + offset)
            total = total + weight * table[rows]
        parts.append(total)
    return torch.cat(parts, 1)
