"""Examples for a camera-aware denoiser, drawn from the prepared arrays of objects and icons."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Int64
from torch import Tensor

from runtime.arrays import read_arrays
from runtime.errors import UserError
from runtime.files import check_ordinary, read_ordinary
from train.latent_diffusion.objects import SeenObject, draw_weights, hold_out

FRONT_ICONS = 0.5
"""Share of the icons seen from the front that get a camera: a third of all, as two in three are seen from there."""

FRONT_ELEVATION = math.radians(10.0)
"""Greatest elevation of the camera of an icon."""


MovedT = TypeVar("MovedT", "ObjectViews", "Icons")


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
    rows: Int64[Tensor, "N k"]
    """Captions of each object; beyond its number of them its first one."""
    captions: Int64[Tensor, " N"]
    """Number of captions of each object."""
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
            entries = json.loads(read_ordinary(folder / "objects.json", 1 << 30))["objects"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            path = folder / "objects.json"
            raise UserError(f"{path}: expected the prepared objects, got {error!s:.100}; {remedy}") from None
        try:
            return cls.of(entries, latents, cameras, contexts)
        # What an edited file may hold.
        except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
            raise UserError(f"{folder}: {error}; {remedy}") from None

    @classmethod
    def of(
        cls, entries: Sequence[Mapping[str, Any]], latents: Tensor, cameras: Tensor, contexts: Tensor
    ) -> "ObjectViews":
        """Return the views of objects.

        Args:
            entries: fields of each object, its first view, its number of views, and the rows of its captions.
            latents: scaled latents of all views.
            cameras: azimuth and elevation of all views in radians.
            contexts: captions, the empty one first.

        Raises:
            ValueError: entries and arrays do not belong together.
        """
        names = {f.name for f in fields(SeenObject)} - {"captions"}
        objects = [SeenObject(**{n: e[n] for n in names}, captions=tuple(e["captions"])) for e in entries]
        first, views = (torch.tensor([e[name] for e in entries]) for name in ("first", "views"))
        rows, captions = pad_rows([e["rows"] for e in entries])
        ends = int((first + views).max())
        if not len(latents) == len(cameras) == ends or int(rows.max()) >= len(contexts):
            raise ValueError(f"expected arrays of {ends} views, got {len(latents)}, or few captions")
        weights = draw_weights(objects, ~hold_out(objects))
        return cls(objects, latents, cameras, contexts, first, views, rows, captions, weights)

    def to(self, device: str) -> "ObjectViews":
        """Return the same views on a device; generators of draws must be there, too."""
        return move(self, device)

    def held_out_fronts(self) -> list[int]:
        """Return the held-out objects that have a front."""
        return [i for i, w in enumerate(self.weights.tolist()) if w == 0.0 and self.objects[i].has_front]

    def pick(self, objects: Int64[Tensor, " B"], generator: torch.Generator) -> Examples:
        """Return one drawn view of each of some objects, with one of its captions."""
        draws = torch.rand((2, len(objects)), generator=generator, device=generator.device)
        view = self.first[objects] + (draws[0] * self.views[objects]).long()
        rows = self.rows[objects, (draws[1] * self.captions[objects]).long()]
        present = torch.ones(len(objects), dtype=torch.bool, device=generator.device)
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
            names = ("rows", "weights", "front", "held_out")
            file = read_arrays(folder / "icons.npz", names)
            rows, weights, front, held = (torch.from_numpy(file[name]) for name in names)
        except (ValueError, KeyError, TypeError) as error:
            path = folder / "icons.npz"
            raise UserError(f"{path}: expected the prepared icons, got {error!s:.100}; {remedy}") from None
        if not len(latents) == len(rows) == len(weights) == len(front) == len(held) or rows.max() >= len(contexts):
            raise UserError(f"{folder}: expected arrays of {len(rows)} icons, got {len(latents)}; {remedy}")
        return cls(latents, contexts, rows, weights.masked_fill(held, 0.0), front, held.nonzero()[:, 0])

    def to(self, device: str) -> "Icons":
        """Return the same icons on a device; generators of draws must be there, too."""
        return move(self, device)

    def pick(self, icons: Int64[Tensor, " B"], generator: torch.Generator) -> Examples:
        """Return some icons, each with one of its captions and no camera."""
        column = torch.randint(self.rows.shape[1], (len(icons),), generator=generator, device=generator.device)
        contexts = self.contexts[self.rows[icons, column]].float()
        absent = torch.zeros(len(icons), dtype=torch.bool, device=generator.device)
        return Examples(self.latents[icons].float(), contexts, contexts.new_zeros(len(icons), 2), absent)

    def draw(self, count: int, generator: torch.Generator) -> Examples:
        """Return drawn training icons, of those seen from the front `FRONT_ICONS` with a front camera."""
        icons = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        examples = self.pick(icons, generator)
        draws = torch.rand((2, count), generator=generator, device=generator.device)
        present = self.front[icons] & (draws[0] < FRONT_ICONS)
        cameras = torch.stack([torch.zeros_like(draws[0]), FRONT_ELEVATION * draws[1] * present], dim=1)
        return Examples(examples.latents, examples.contexts, cameras, present)


def pad_rows(rows: Sequence[Sequence[int]]) -> tuple[Int64[Tensor, "N k"], Int64[Tensor, " N"]]:
    """Return rows of different lengths as one array, padded by their first entries, and their lengths."""
    width = max(len(row) for row in rows)
    padded = [[*row, *[row[0]] * (width - len(row))] for row in rows]
    return torch.tensor(padded), torch.tensor([len(row) for row in rows])


def move(examples: MovedT, device: str) -> MovedT:
    """Return a record of arrays with all its tensors on a device."""
    values = {f.name: getattr(examples, f.name) for f in fields(examples)}
    return replace(examples, **{n: v.to(device) for n, v in values.items() if isinstance(v, Tensor)})


def load_array(path: Path, remedy: str) -> Tensor:
    """Return a float array of a .npy file, memory-mapped: several processes share it.

    Raises:
        UserError: there is no such array; the message ends on the remedy.
    """
    try:
        check_ordinary(path)
        array = np.load(path, mmap_mode="c")  # copied where written, which it never is
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: expected an array, got {error!s:.100}; {remedy}") from None
    if array.dtype.kind != "f":
        raise UserError(f"{path}: expected floats, got {array.dtype}; {remedy}")
    return torch.from_numpy(array)
