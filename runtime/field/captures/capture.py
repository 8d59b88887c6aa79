"""A capture: posed pictures of one scene, read lazily."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from runtime.errors import UserError
from runtime.field.cameras import Cameras
from runtime.field.captures.pictures import Pictures, read_depth, read_mask

BUDGET = 2**31
"""Most bytes of pictures that one call returns: 2 GiB, some 1,300 pictures of 320 x 320 pixels."""

PIXEL_BYTES = 16
"""Bytes of a pixel in memory: four float32."""


@dataclass(frozen=True, kw_only=True)
class Capture:
    """Posed pictures of a scene. After `normalize` its scene lies in the box [-1, 1]^3, with +z up."""

    format: str
    """What it was read as, such as "transforms.json"."""
    cameras: Cameras
    """One for each picture, at the size that pictures are read at."""
    names: tuple[str, ...]
    """Name of each picture."""
    pictures: Pictures
    """Where they are read from."""
    masks: tuple[Path | None, ...] = ()
    """Files that are black where a picture is to be ignored; empty: there are none."""
    depths: tuple[Path | None, ...] = ()
    """Files of depths along the cameras' axes; empty: there are none."""
    depth_unit: float = 1e-3
    """Units of the scene in one step of a depth file of integers."""
    splits: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Indices of named parts: train, val, test; empty where the capture names none."""
    bounds: Float[Tensor, "V 2"] | None = None
    """Nearest and farthest distance of the scene along each camera's axis; None: not known."""
    points: Float[Tensor, "N 3"] | None = None
    """Points of the scene, where the capture has some; they decide the box."""
    upright: bool = False
    """Whether +z is up as it was read."""
    centred: bool = False
    """Whether the scene lies around the origin as it was read."""
    half: float | None = None
    """Half the side of the scene's box around the origin, where the capture says so, in its units."""
    to_world: Float32[Tensor, "4 4"] = field(default_factory=lambda: torch.eye(4))
    """Similarity from these coordinates to those that the capture was read in."""
    notes: tuple[str, ...] = ()
    """Warnings for the user, a sentence each."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def has_alpha(self) -> bool:
        """Whether the pictures are transparent where the scene is not."""
        return self.pictures.has_alpha

    def select(self, indices: Sequence[int]) -> "Capture":
        """Return a capture of some of the pictures, in this order and without splits."""
        rows = list(indices)
        return replace(
            self,
            cameras=self.cameras.select(rows),
            names=tuple(self.names[i] for i in rows),
            pictures=self.pictures.select(rows),
            masks=tuple(self.masks[i] for i in rows) if self.masks else (),
            depths=tuple(self.depths[i] for i in rows) if self.depths else (),
            bounds=None if self.bounds is None else self.bounds[rows],
            # Indices of the whole capture mean nothing in a part of it.
            splits={},
        )

    def scaled(self, longest: int) -> "Capture":
        """Return the capture with pictures of which the longest side is at most so many pixels."""
        # By the largest picture of all, so that pictures keep their sizes beside each other.
        side = int(self.cameras.sizes.max())
        if side <= longest:
            return self
        return replace(self, cameras=self.cameras.scaled(longest / side))

    def fitted(self, budget: int = BUDGET) -> "Capture":
        """Return the capture with pictures so small that all of them together fit into so many bytes."""
        total = PIXEL_BYTES * int(self.cameras.sizes.prod(1).sum())
        if total <= budget:
            return self
        # A little less than the root, since sides are rounded to whole pixels.
        return replace(self, cameras=self.cameras.scaled(0.995 * (budget / total) ** 0.5))

    def rgba(
        self, indices: Sequence[int], size: tuple[int, int] | None = None, budget: int = BUDGET
    ) -> Float32[Tensor, "V H W 4"]:
        """Return pictures with straight alpha, in [0, 1]; alpha is 1 where the files have none.

        They are read one by one and reduced as they are read, so that no more than one is in memory at its full size.

        Args:
            indices: which pictures.
            size: height and width to reduce them to; by default that of their cameras, which must then agree.
            budget: most bytes to return.

        Raises:
            UserError: a file cannot be read, sizes differ, or the pictures need more than the budget.
        """
        height, width = size or self._common_size(indices)
        # Before the first is read: running out of memory would end the process without a word.
        need = PIXEL_BYTES * height * width * len(indices)
        if need > budget:
            raise UserError(
                f"{len(indices)} pictures of {width} x {height} pixels need {need / 2**20:.0f} MiB: expected at most "
                f"{budget / 2**20:.0f} MiB; read them smaller, or fewer of them"
            )
        pictures = torch.empty(len(indices), height, width, 4)
        for row, index in enumerate(indices):
            pictures[row] = self.pictures.read(index, (height, width))
        return pictures

    def valid(self, indices: Sequence[int], size: tuple[int, int] | None = None) -> Bool[Tensor, "V H W"]:
        """Return which pixels count: those that no mask tells to ignore."""
        height, width = size or self._common_size(indices)
        valid = torch.ones(len(indices), height, width, dtype=torch.bool)
        for row, index in enumerate(indices if self.masks else ()):
            path = self.masks[index]
            if path is not None:
                valid[row] = read_mask(path, (height, width))
        return valid

    def depth(self, indices: Sequence[int], size: tuple[int, int] | None = None) -> Float32[Tensor, "V H W"]:
        """Return depths along the cameras' axes in the units of the cameras' positions; 0 where nothing is known."""
        height, width = size or self._common_size(indices)
        depths = torch.zeros(len(indices), height, width)
        # `to_world` enlarges by its scale, so that depths of files shrink by it.
        unit = 1 / float(self.to_world[:3, 0].norm())
        for row, index in enumerate(indices if self.depths else ()):
            path = self.depths[index]
            if path is not None:
                depths[row] = read_depth(path, (height, width), self.depth_unit) * unit
        return depths

    def _common_size(self, indices: Sequence[int]) -> tuple[int, int]:
        """Return the height and width that some cameras have in common."""
        sizes = {tuple(size) for size in self.cameras.sizes[list(indices)].tolist()}
        if len(sizes) != 1:
            shown = ", ".join(f"{width} x {height}" for height, width in sorted(sizes)[:3])
            raise UserError(
                f"pictures of one size were expected, got {len(sizes)} sizes ({shown}); read them one by one, or "
                "scaled to one size"
            )
        height, width = sizes.pop()
        return height, width
