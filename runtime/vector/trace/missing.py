"""What a traced drawing leaves out of its picture."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

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
    wrong = ((drawn - target).abs().amax(0) > WRONG).cpu().numpy()
    labels, count = ndimage.label(wrong, structure=np.ones((3, 3)))  # pyright: ignore[reportGeneralTypeIssues]
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    named = np.flatnonzero(sizes >= SMALLEST)
    if not len(named):
        return None
    rows, columns = ndimage.find_objects(labels)[int(sizes.argmax()) - 1]
    box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    return Missing(len(named), int(sizes[named].sum()), box)


def missing_of(scene: VectorScene, target: Float[Tensor, "3 H W"]) -> Missing | None:
    """Return what a scene of the target's size leaves out."""
    with torch.no_grad():
        return missing_parts(scene.render()[0], target)
