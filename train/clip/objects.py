"""Views of captioned objects as pairs for the dual encoder, which has seen icons alone: fronts, mostly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Float16, Int64
from torch import Tensor

from runtime.errors import UserError
from train.latent_diffusion.objects import (
    VIEWS,
    SeenObject,
    draw_weights,
    encode_captions,
    hold_out,
    index_captions,
    read_objects,
    read_views,
)

SIDE = 128
"""Pixels of a view, those of the icons."""


@dataclass(frozen=True)
class Pairs:
    """Pictures and what says what they show."""

    images: Float[Tensor, "B 3 128 128"]
    """RGB in [0, 1], on white."""
    contexts: Float[Tensor, "B N D"]
    """Of a caption of each."""
    labels: Int64[Tensor, " B"]
    """Equal where two pictures show the same thing."""

    def __add__(self, other: "Pairs") -> "Pairs":
        """Return these pairs and then others, of which none shows the same thing as one of these."""
        labels = other.labels + (int(self.labels.max()) + 1 if len(self.labels) else 0)
        parts = ((self.images, other.images), (self.contexts, other.contexts), (self.labels, labels))
        return Pairs(*(torch.cat(both) for both in parts))


@dataclass(frozen=True)
class ObjectPairs:
    """A set of objects, each seen from 16 sides, whose sheets are read where they are drawn."""

    folder: Path
    """Of the set."""
    objects: Sequence[SeenObject]
    weights: Float[Tensor, " N"]
    """How often each object is drawn; 0 for the held-out ones, which those of the denoiser are."""
    contexts: Float16[Tensor, "C M D"]
    """Distinct captions."""
    rows: Sequence[Sequence[int]]
    """Captions of each object."""

    @classmethod
    def load(cls, folder: Path, encode: Callable[[list[str]], Tensor]) -> "ObjectPairs":
        """Return the objects of a set's folder.

        Args:
            folder: with `objects.json` and `views/`.
            encode: gives the contexts of texts.

        Raises:
            UserError: the set's list of objects is none.
        """
        objects = read_objects(folder)
        texts, rows = index_captions(objects)
        weights = draw_weights(objects, ~hold_out(objects))
        return cls(folder, objects, weights, encode_captions(texts, encode), rows)

    def draw(self, count: int, generator: torch.Generator) -> Pairs:
        """Return drawn views of drawn objects, each with one of the object's captions.

        Raises:
            UserError: a sheet cannot be read, or has views of another size.
        """
        picked = torch.multinomial(self.weights, count, replacement=True, generator=generator).tolist()
        draws = torch.rand((2, count), generator=generator).tolist()
        images, rows = [], []
        for number, view, caption in zip(picked, *draws, strict=True):
            path = self.folder / "views" / self.objects[number].file
            views = read_views(path)
            if views.shape[-1] != SIDE:
                raise UserError(f"{path}: expected views of {SIDE} pixels, as icons have, got {views.shape[-1]}")
            images.append(views[int(view * VIEWS)].float() / 255.0)
            captions = self.rows[number]
            rows.append(captions[int(caption * len(captions))])
        # Objects with the same first caption are the same thing, in other colours or by another author.
        labels = torch.tensor([self.rows[number][0] for number in picked])
        return Pairs(torch.stack(images), self.contexts[rows].float(), labels)
