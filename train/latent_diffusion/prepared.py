"""Examples for a camera-aware denoiser, drawn from the prepared arrays of objects and icons."""

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Int64
from torch import Tensor

from runtime.errors import UserError
from train.latent_diffusion.objects import SeenObject, draw_weights, hold_out

FRONT_ICONS = 0.5
"""Share of the icons seen from the front that get a camera: a third of all, as two in three are seen from there."""

FRONT_ELEVATION = math.radians(10.0)
"""Greatest elevation of the camera of an icon."""


@dataclass(frozen=True)
class Examples:
    """A batch of clean latents and what is known of them."""

    latents: Float[Tensor, "B 4 h w"]
    """Scaled latents."""
    contexts: Float[Tensor, "B N D"]
    """Texts."""
    cameras: Float[Tensor, "B 2"]
    """Azimuth and elevation in radians; zeros where there is none."""
    present: Bool[Tensor, " B"]
    """Which have a camera."""

    def __add__(self, other: "Examples") -> "Examples":
        """Return these examples and then the other ones."""
        names = [f.name for f in fields(self)]
        return Examples(*(torch.cat([getattr(self, name), getattr(other, name)]) for name in names))


@dataclass(frozen=True)
class ObjectViews:
    """The views of a set of objects, as `train.latent_diffusion.objects` prepares them."""

    objects: list[SeenObject]
    """What is known of each object."""
    latents: Float16[Tensor, "V 4 h w"]
    """Scaled latents of all views."""
    cameras: Float[Tensor, "V 2"]
    """Azimuth and elevation of all views in radians."""
    contexts: Float16[Tensor, "C M D"]
    """Captions, the empty one first."""
    first: Int64[Tensor, " N"]
    """First view of each object."""
    views: Int64[Tensor, " N"]
    """Number of views of each object."""
    rows: list[list[int]]
    """Captions of each object."""
    weights: Float[Tensor, " N"]
    """How often the training draws each object; 0 for the held-out ones."""

    @classmethod
    def load(cls, folder: Path) -> "ObjectViews":
        """Return the prepared views of a folder, memory-mapped.

        Raises:
            UserError: the folder lacks a file, or the files do not belong together.
        """
        remedy = "prepare it with: python -m train.latent_diffusion.objects"
        latents, contexts = load_array(folder / "latents.npy", remedy), load_array(folder / "contexts.npy", remedy)
        cameras = load_array(folder / "cameras.npy", remedy)
        try:
            entries = json.loads((folder / "objects.json").read_text("utf-8"))["objects"]
        except (OSError, ValueError, KeyError) as error:
            path = folder / "objects.json"
            raise UserError(f"{path}: expected the prepared objects, got {error!s:.100}; {remedy}") from None
        names = {f.name for f in fields(SeenObject)} - {"captions"}
        objects = [SeenObject(**{n: e[n] for n in names}, captions=tuple(e["captions"])) for e in entries]
        first, views = (torch.tensor([e[name] for e in entries]) for name in ("first", "views"))
        rows = [e["rows"] for e in entries]
        ends, last = int((first + views).max()), max(max(row) for row in rows)
        if not len(latents) == len(cameras) == ends or last >= len(contexts):
            raise UserError(f"{folder}: expected arrays of {ends} views, got {len(latents)}, or few captions; {remedy}")
        weights = draw_weights(objects, ~hold_out(objects))
        return cls(objects, latents, cameras, contexts, first, views, rows, weights)

    def held_out_fronts(self) -> list[int]:
        """Return the held-out objects that have a front."""
        return [i for i, o in enumerate(self.objects) if o.has_front and self.weights[i] == 0.0]

    def pick(self, objects: Int64[Tensor, " B"], generator: torch.Generator) -> Examples:
        """Return one drawn view of each of some objects, with one of its captions."""
        draws = torch.rand((2, len(objects)), generator=generator)
        view = self.first[objects] + (draws[0] * self.views[objects]).long()
        captions = [self.rows[i] for i in objects.tolist()]
        rows = [row[int(draw * len(row))] for row, draw in zip(captions, draws[1].tolist(), strict=True)]
        present = torch.ones(len(objects), dtype=torch.bool)
        return Examples(self.latents[view].float(), self.contexts[rows].float(), self.cameras[view].clone(), present)

    def draw(self, count: int, generator: torch.Generator) -> Examples:
        """Return drawn views of drawn training objects."""
        return self.pick(torch.multinomial(self.weights, count, replacement=True, generator=generator), generator)


@dataclass(frozen=True)
class Icons:
    """Icons as `train.latent_diffusion.replay` prepares them."""

    latents: Float16[Tensor, "N 4 h w"]
    """Scaled latents."""
    contexts: Float16[Tensor, "C M D"]
    """Captions, the empty one first."""
    rows: Int64[Tensor, "N k"]
    """Captions of each icon."""
    weights: Float[Tensor, " N"]
    """How often the training draws each icon; 0 for the held-out ones."""
    front: Bool[Tensor, " N"]
    """Which show a thing from the front."""
    held_out: Int64[Tensor, " H"]
    """The held-out icons."""

    @classmethod
    def load(cls, folder: Path) -> "Icons":
        """Return the prepared icons of a folder, memory-mapped.

        Raises:
            UserError: the folder lacks a file, or the files do not belong together.
        """
        remedy = "prepare it with: python -m train.latent_diffusion.replay"
        latents, contexts = load_array(folder / "latents.npy", remedy), load_array(folder / "contexts.npy", remedy)
        try:
            with np.load(folder / "icons.npz") as file:
                rows, weights, front, held = (
                    torch.from_numpy(file[n]) for n in ("rows", "weights", "front", "held_out")
                )
        except (OSError, ValueError, KeyError) as error:
            path = folder / "icons.npz"
            raise UserError(f"{path}: expected the prepared icons, got {error!s:.100}; {remedy}") from None
        if not len(latents) == len(rows) == len(weights) == len(front) == len(held) or rows.max() >= len(contexts):
            raise UserError(f"{folder}: expected arrays of {len(rows)} icons, got {len(latents)}; {remedy}")
        return cls(latents, contexts, rows, weights.masked_fill(held, 0.0), front, held.nonzero()[:, 0])

    def pick(self, icons: Int64[Tensor, " B"], generator: torch.Generator) -> Examples:
        """Return some icons, each with one of its captions and no camera."""
        column = torch.randint(self.rows.shape[1], (len(icons),), generator=generator)
        contexts = self.contexts[self.rows[icons, column]].float()
        absent = torch.zeros(len(icons), dtype=torch.bool)
        return Examples(self.latents[icons].float(), contexts, torch.zeros(len(icons), 2), absent)

    def draw(self, count: int, generator: torch.Generator) -> Examples:
        """Return drawn training icons, of those seen from the front `FRONT_ICONS` with a front camera."""
        icons = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        examples = self.pick(icons, generator)
        draws = torch.rand((2, count), generator=generator)
        present = self.front[icons] & (draws[0] < FRONT_ICONS)
        cameras = torch.stack([torch.zeros(count), FRONT_ELEVATION * draws[1] * present], dim=1)
        return Examples(examples.latents, examples.contexts, cameras, present)


def load_array(path: Path, remedy: str) -> Tensor:
    """Return a float array of a .npy file, memory-mapped: several processes share it.

    Raises:
        UserError: there is no such array; the message ends on the remedy.
    """
    try:
        array = np.load(path, mmap_mode="c")  # copied where written, which it never is
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected an array, got {error!s:.100}; {remedy}") from None
    if array.dtype.kind != "f":
        raise UserError(f"{path}: expected floats, got {array.dtype}; {remedy}")
    return torch.from_numpy(array)
