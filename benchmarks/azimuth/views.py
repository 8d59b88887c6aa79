"""Rendered views of objects with a front, small, with their azimuths; and what may change in them without turning them.

An azimuth in radians is 0 for the front and pi / 2 for the side at +x, as everywhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from runtime.errors import UserError
from train.data.hue import turn_hue
from train.latent_diffusion.objects import FRONT_CATEGORIES, hold_out, read_cameras, read_objects, read_views

SIDE = 32
"""Pixels of a view as the probe sees it."""

KINDS = tuple(sorted(FRONT_CATEGORIES))
"""Kinds of objects that have a front, in the order of their numbers."""

SCALES = (0.85, 1.15)
"""Sizes of an object in its augmented view, times its own."""

SHIFT = 0.08
"""Greatest shift of an augmented view along each axis, of its half side."""


@dataclass(frozen=True)
class Views:
    """Views with their azimuths."""

    pictures: UInt8[Tensor, "V 3 S S"]
    """RGB on white."""
    azimuths: Float[Tensor, " V"]
    """Radians."""
    kinds: Int64[Tensor, " V"]
    """Rows of `KINDS`."""
    held_out: Bool[Tensor, " V"]
    """Which are of objects that no training sees."""

    def pick(self, rows: Int64[Tensor, " B"] | Bool[Tensor, " V"]) -> "Views":
        """Return some of them."""
        return Views(self.pictures[rows], self.azimuths[rows], self.kinds[rows], self.held_out[rows])


def load_views(folder: Path) -> Views:
    """Return all views of a set's objects with a front.

    Args:
        folder: of a set, as of `train.latent_diffusion.objects`.

    Raises:
        UserError: something in the set is missing or bad, or it has no object with a front, held out or not.
    """
    every = read_objects(folder)
    held = hold_out(every)
    chosen = [i for i, entry in enumerate(every) if entry.has_front]
    if not chosen or bool(held[chosen].all()) or not bool(held[chosen].any()):
        raise UserError(
            f"'{folder}': expected objects of the kinds {', '.join(KINDS)}, some held out, got {len(chosen)}, "
            f"{int(held[chosen].sum())} of them held out"
        )
    objects = [every[i] for i in chosen]
    cameras = read_cameras(folder, objects)
    pictures = torch.cat([shrink(read_views(folder / "views" / entry.file)) for entry in objects])
    count = cameras.shape[1]
    kinds = torch.tensor([KINDS.index(entry.category) for entry in objects])
    return Views(
        pictures, cameras[..., 0].flatten(), kinds.repeat_interleave(count), held[chosen].repeat_interleave(count)
    )


def shrink(pictures: UInt8[Tensor, "V 3 H W"]) -> UInt8[Tensor, "V 3 S S"]:
    """Return pictures of `SIDE` pixels, whose pixels are means."""
    return functional.interpolate(pictures.float(), size=(SIDE, SIDE), mode="area").round().byte()


def augment(
    pictures: Float[Tensor, "B 3 S S"], azimuths: Float[Tensor, " B"], generator: torch.Generator
) -> tuple[Float[Tensor, "B 3 S S"], Float[Tensor, " B"]]:
    """Return pictures mirrored half of the time, moved, scaled and in other hues, and their azimuths.

    A mirrored view is one of the mirrored object from the negated azimuth; the other changes turn nothing.

    Args:
        pictures: on white, in [0, 1].
        azimuths: radians.
        generator: of the draws.
    """
    count = len(pictures)
    mirrored = torch.rand(count, generator=generator) < 0.5
    scale = SCALES[0] + (SCALES[1] - SCALES[0]) * torch.rand(count, generator=generator)
    shift = SHIFT * (2.0 * torch.rand(count, 2, generator=generator) - 1.0)
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0] = torch.where(mirrored, -1.0, 1.0) / scale
    matrix[:, 1, 1] = 1.0 / scale
    matrix[:, :, 2] = shift
    grid = functional.affine_grid(matrix, [*pictures.shape], align_corners=False)
    # What comes in from outside is paper: zeros of the picture's complement.
    moved = 1.0 - functional.grid_sample(1.0 - pictures, grid, align_corners=False)
    turned = turn_hue(moved, 2.0 * math.pi * torch.rand(count, generator=generator))
    return turned, torch.where(mirrored, -azimuths, azimuths)


def sheets_of(rows: Sequence[Float[Tensor, "V 3 H W"]]) -> Float[Tensor, "3 _ _"]:
    """Return one picture with a row for each list of views."""
    return torch.cat([torch.cat([*views], dim=2) for views in rows], dim=1)
