"""Pictures of a bundle: as its network takes them, and as sheets."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.loop.events import Note, Report
from runtime.pixels.orders import Size
from runtime.pixels.sheets import COLUMNS, read_scaled, sheet

if TYPE_CHECKING:
    from runtime.engines.bundle import DdpmBundle


def read_input(
    path: Path, bundle: "DdpmBundle", *, invert: bool = False
) -> tuple[Float[Tensor, "1 C H W"], Size | None]:
    """Return the picture in a file in [-1, 1], and its height and width where it was scaled to the bundle's size.

    What is transparent is white where the bundle has colours, as icons are drawn, and black where it has none.

    Raises:
        UserError: where the file is no picture, or one of other proportions.
    """
    channels, *size = bundle.shape
    ground = 1.0 if channels == 3 else 0.0
    picture, scaled_from = read_scaled(path, (size[0], size[1]), channels, invert=invert, background=ground)
    # As levels: what the network models has 256 of them.
    return (picture[None] * 255.0).round() / 127.5 - 1.0, scaled_from


def tell_scaled(path: Path, scaled_from: Size | None, bundle: "DdpmBundle", report: Report) -> None:
    """Report that a picture was scaled, where it was."""
    if scaled_from is not None:
        (height, width), side = scaled_from, bundle.manifest.image_size
        report(Note(f"'{path.name}' has {width} x {height} pixels: scaled to {side} x {side}"))


def to_rgb(pictures: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 3 H W"]:
    """Return pictures in [-1, 1] as RGB in [0, 1]."""
    return ((pictures.float() + 1.0) / 2.0).clamp(0.0, 1.0).expand(-1, 3, -1, -1)


def square_sheet(pictures: Float[Tensor, "B C H W"]) -> Float[Tensor, "3 _ _"]:
    """Return the sheet of pictures, with about as many rows as columns."""
    return sheet(to_rgb(pictures), min(COLUMNS, math.ceil(len(pictures) ** 0.5)))


def to_levels(pictures: Float[Tensor, "B C H W"]) -> Tensor:
    """Return pictures in [-1, 1] as levels 0 to 255."""
    return (to_rgb(pictures)[:, : pictures.shape[1]] * 255.0).round().to(torch.uint8)
