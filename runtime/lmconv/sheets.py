"""What `runtime.lmconv` reads and shows: pictures as levels, hidden regions, sheets, and pictures of their making."""

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from runtime.engines.bundle.lmconv_manifest import LMConvManifest
from runtime.pixels.heads import quantize
from runtime.pixels.orders import Order, Size, ranks
from runtime.pixels.regions import Region
from runtime.pixels.sheets import COLUMNS, FRAMES, read_scaled, sheet, tinted, write_gif


def read_levels(
    path: Path, manifest: LMConvManifest, *, invert: bool = False
) -> tuple[Int64[Tensor, "1 C H W"], Size | None]:
    """Return the picture in a file as levels, and its height and width where it was scaled.

    Args:
        path: the file; what is transparent is black.
        manifest: size, channels and levels of the bundle's pictures; colours become grey where it has one channel.
        invert: whether dark becomes light.

    Raises:
        UserError: where the file is no picture, or one of other proportions.
    """
    picture, scaled_from = read_scaled(path, manifest.size, manifest.channels, invert=invert)
    return quantize(picture[None], manifest), scaled_from


def to_rgb(levels: Int64[Tensor, "B C H W"], manifest: LMConvManifest) -> Float[Tensor, "B 3 H W"]:
    """Return levels as RGB in [0, 1]."""
    return (levels.float() / (manifest.levels - 1)).expand(-1, 3, -1, -1)


def complete_sheet(
    levels: Int64[Tensor, "B C H W"],
    drawn: Int64[Tensor, "K C H W"],
    truth: Int64[Tensor, "B C H W"] | None,
    hidden: Region,
    manifest: LMConvManifest,
) -> Float[Tensor, "3 _ _"]:
    """Return the sheet of a completion: what is observed, what was drawn, the truth where there is one."""
    cells = [tinted(to_rgb(levels, manifest), hidden), to_rgb(drawn, manifest)]
    return sheet(torch.cat(cells if truth is None else [*cells, to_rgb(truth, manifest)]), COLUMNS)


def sample_sheet(drawn: Int64[Tensor, "B C H W"], manifest: LMConvManifest) -> Float[Tensor, "3 _ _"]:
    """Return the sheet of drawn pictures, with about as many rows as columns."""
    return sheet(to_rgb(drawn, manifest), min(COLUMNS, math.ceil(len(drawn) ** 0.5)))


def write_video(path: Path, drawn: Int64[Tensor, "B C H W"], order: Order, manifest: LMConvManifest) -> None:
    """Write the making of pictures, pixel after pixel in an order, as a GIF: whole, or not at all.

    Raises:
        UserError: where the file cannot be written.
    """
    when, count = ranks(order).reshape(manifest.size), len(order)
    steps = np.unique(np.linspace(0, count, min(FRAMES, count) + 1).round().astype(np.int64))
    cells = min(COLUMNS, math.ceil(len(drawn) ** 0.5))
    write_gif(path, [sheet(tinted(to_rgb(drawn, manifest), when >= done), cells) for done in steps])
