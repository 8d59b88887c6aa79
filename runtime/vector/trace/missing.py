"""What a traced drawing leaves out of its picture."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from runtime.vector.scene import VectorScene

WRONG = 0.5
"""Difference of a channel from which on a pixel is wrong: an edge that lies half a pixel beside its place has less."""

SMALLEST = 3
"""Fewest pixels of a part that is named."""


@dataclass(frozen=True)
class Missing:
    """Parts of a picture that a drawing does not show."""

    parts: int
    pixels: int
    """Of all of them."""
    box: tuple[int, int, int, int]
    """Left, top, width and height of the largest one, pixels of the picture that was traced."""

    def __str__(self) -> str:
        left, top, width, height = self.box
        several = "1 part" if self.parts == 1 else f"{self.parts} parts"
        return f"{several} of the picture ({self.pixels} pixels; the largest {width} x {height} at {left}, {top})"


def missing_parts(drawn: Float[Tensor, "3 H W"], target: Float[Tensor, "3 H W"]) -> Missing | None:
    """Return the connected parts of a picture that look quite different in a drawing; None where there are none."""
    wrong = wrong_pixels(drawn, target)
    labels, count = ndimage.label(wrong, structure=np.ones((3, 3)))  # pyright: ignore[reportGeneralTypeIssues]
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    named = np.flatnonzero(sizes >= SMALLEST)
    if not len(named):
        return None
    rows, columns = ndimage.find_objects(labels)[int(sizes.argmax()) - 1]
    box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    return Missing(len(named), int(sizes[named].sum()), box)


def wrong_pixels(drawn: Float[Tensor, "3 H W"], target: Float[Tensor, "3 H W"]) -> Bool[np.ndarray, "H W"]:
    """Return the pixels that look quite different in a drawing, but for those that are one pixel beside their place.

    A pixel is beside its place where the drawing has its colour right next to it, and the picture that of the drawing:
    a line across pixels does so all along, an edge of stairs at every other one.
    """
    wrong = (drawn - target).abs().amax(0) > WRONG
    rows, columns = wrong.nonzero(as_tuple=True)
    if not len(rows):
        return wrong.cpu().numpy()
    nearest = []
    for other, own in ((drawn, target), (target, drawn)):
        padded = functional.pad(other[None], (1, 1, 1, 1), mode="replicate")[0]
        around = torch.stack([padded[:, rows + y, columns + x] for y in range(3) for x in range(3)])
        nearest.append((around - own[:, rows, columns]).abs().amax(1).amin(0))
    wrong[rows, columns] = torch.maximum(nearest[0], nearest[1]) >= WRONG
    return wrong.cpu().numpy()


def missing_of(scene: VectorScene, target: Float[Tensor, "3 H W"]) -> Missing | None:
    """Return what a scene of the target's size leaves out."""
    with torch.no_grad():
        return missing_parts(scene.render()[0], target)
