"""What `runtime.lmconv` reads and shows: pictures as levels, hidden regions, sheets, and pictures of their making."""

import io
import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor
from torch.nn import functional

from runtime.engines.bundle.lmconv_manifest import LMConvManifest
from runtime.errors import UserError
from runtime.files import replace_file
from runtime.pictures import read_picture
from runtime.pixels.heads import quantize
from runtime.pixels.orders import Order, Size, ranks
from runtime.pixels.regions import REGIONS, Region, hidden_region

TINT = (0.36, 0.53, 0.78)
"""Colour of what is hidden, or not drawn yet."""

GROUND = 0.93
"""Grey between the pictures of a sheet."""

SIDE = 140
"""Least side of a picture on a sheet in pixels; it is a whole multiple of the picture's."""

COLUMNS = 8
"""Most pictures in a row of a sheet."""

FRAMES = 60
"""Most frames of a moving picture; each lasts FRAME_MS milliseconds, the last one LAST_MS."""

FRAME_MS, LAST_MS = 50, 1500


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
    picture = read_picture(path, background=0.0)
    size: Size = (picture.shape[1], picture.shape[2])
    # As products of whole numbers: quotients would be compared in floating point.
    if size[0] * manifest.size[1] != size[1] * manifest.size[0]:
        raise UserError(
            f"'{path}' has {size[1]} x {size[0]} pixels: expected {manifest.size[1]} x {manifest.size[0]}, or a "
            "multiple of these; crop it"
        )
    if size != manifest.size:
        picture = functional.interpolate(picture[None], size=manifest.size, mode="bilinear", antialias=True)[0].clamp(
            0, 1
        )
    if manifest.channels == 1:
        # ITU-R BT.601's weights, as Pillow has for grey. Their rounded sum may leave [0, 1], which `quantize` refuses.
        picture = (picture * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True).clamp(0, 1)
    return quantize((1.0 - picture if invert else picture)[None], manifest), None if size == manifest.size else size


def read_hidden(hide: str, size: Size, scaled_from: Size | None) -> Region:
    """Return the hidden region that a name or a picture gives.

    Args:
        hide: a name of `runtime.pixels.regions`, or a picture that is lighter than mid-grey where it hides.
        size: height and width of the bundle's pictures.
        scaled_from: those of the picture that is completed where it was scaled; the mask may have them too, and a
            pixel is then hidden where more than half of it is.

    Raises:
        UserError: where there is neither, the mask has another size, or it hides everything or nothing.
    """
    if hide in REGIONS:
        return hidden_region(hide, size)
    if not Path(hide).is_file():
        raise UserError(f"--hide '{hide}': expected {', '.join(REGIONS)}, or a picture that is white where it hides")
    # Black and white before it is scaled, so that scaling gives the part of each pixel that is hidden.
    mask = (read_picture(hide, background=0.0).mean(0) > 0.5).float()
    actual = (mask.shape[0], mask.shape[1])
    if actual not in (size, scaled_from):
        sizes = " or ".join(f"{w} x {h}" for h, w in (size, scaled_from or size)[: 2 if scaled_from else 1])
        raise UserError(f"mask '{hide}': expected {sizes} pixels, got {actual[1]} x {actual[0]}; scale the mask")
    if actual != size:
        mask = functional.interpolate(mask[None, None], size=size, mode="bilinear", antialias=True)[0, 0]
    return hidden_region((mask > 0.5).numpy(), size)


def to_rgb(levels: Int64[Tensor, "B C H W"], manifest: LMConvManifest) -> Float[Tensor, "B 3 H W"]:
    """Return levels as RGB in [0, 1]."""
    return (levels.float() / (manifest.levels - 1)).expand(-1, 3, -1, -1)


def tinted(pictures: Float[Tensor, "B 3 H W"], hidden: Region) -> Float[Tensor, "B 3 H W"]:
    """Return pictures with the tint in place of what is hidden."""
    return torch.where(torch.from_numpy(hidden), torch.tensor(TINT)[:, None, None], pictures)


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


def sheet(pictures: Float[Tensor, "B 3 h w"], columns: int) -> Float[Tensor, "3 H W"]:
    """Return pictures side by side in one, enlarged, with grey ground between them."""
    factor = max(1, math.ceil(SIDE / max(pictures.shape[2:])))
    large = pictures.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    columns = min(columns, len(large))
    rows = math.ceil(len(large) / columns)
    gap, (height, width) = 8, large.shape[2:]
    result = torch.full((3, gap + rows * (height + gap), gap + columns * (width + gap)), GROUND)
    for number, picture in enumerate(large):
        top, left = gap + number // columns * (height + gap), gap + number % columns * (width + gap)
        result[:, top : top + height, left : left + width] = picture
    return result


def write_video(path: Path, drawn: Int64[Tensor, "B C H W"], order: Order, manifest: LMConvManifest) -> None:
    """Write the making of pictures, pixel after pixel in an order, as a GIF: whole, or not at all.

    Raises:
        UserError: where the file cannot be written.
    """
    when, count = ranks(order).reshape(manifest.size), len(order)
    steps = np.unique(np.linspace(0, count, min(FRAMES, count) + 1).round().astype(np.int64))
    frames = []
    for done in steps:
        picture = sheet(tinted(to_rgb(drawn, manifest), when >= done), min(COLUMNS, math.ceil(len(drawn) ** 0.5)))
        frames.append(Image.fromarray(picture.mul(255).round().byte().permute(1, 2, 0).numpy()))
    file = io.BytesIO()
    times = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    try:
        replace_file(path, file.getvalue())
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror}; choose another --out") from None
