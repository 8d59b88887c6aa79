"""Sheets of pictures, hidden regions that a user gives, and moving pictures of how something was drawn."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from runtime.errors import UserError
from runtime.files import replace_file
from runtime.pictures import read_picture
from runtime.pixels.orders import Size
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


def read_scaled(
    path: Path, size: Size, channels: int, *, invert: bool = False, background: float = 0.0
) -> tuple[Float[Tensor, "C H W"], Size | None]:
    """Return the picture in a file in [0, 1] at another size, and its own height and width where it was scaled.

    Args:
        path: the file.
        size: height and width to scale it to.
        channels: 1 or 3; colours become grey where it is 1.
        invert: whether dark becomes light.
        background: grey in [0, 1] that shows through where the picture is transparent.

    Raises:
        UserError: where the file is no picture, or one of other proportions.
    """
    picture = read_picture(path, background=background)
    given: Size = (picture.shape[1], picture.shape[2])
    # As products of whole numbers: quotients would be compared in floating point.
    if given[0] * size[1] != given[1] * size[0]:
        raise UserError(
            f"'{path}' has {given[1]} x {given[0]} pixels: expected {size[1]} x {size[0]}, or a multiple of these; "
            "crop it"
        )
    if given != size:
        picture = functional.interpolate(picture[None], size=size, mode="bilinear", antialias=True)[0].clamp(0, 1)
    if channels == 1:
        # ITU-R BT.601's weights, as Pillow has for grey. Their rounded sum may leave [0, 1], which `quantize` refuses.
        picture = (picture * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True).clamp(0, 1)
    return 1.0 - picture if invert else picture, None if size == given else given


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


def tinted(pictures: Float[Tensor, "B 3 H W"], hidden: Region) -> Float[Tensor, "B 3 H W"]:
    """Return pictures with the tint in place of what is hidden."""
    return torch.where(torch.from_numpy(hidden), torch.tensor(TINT)[:, None, None], pictures)


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


def write_gif(path: Path, pictures: Sequence[Float[Tensor, "3 H W"]]) -> None:
    """Write pictures, RGB in [0, 1], as a GIF that repeats and stays longest on the last one: whole, or not at all.

    Raises:
        UserError: where the file cannot be written.
    """
    frames = [Image.fromarray(p.mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()) for p in pictures]
    file = io.BytesIO()
    times = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    try:
        replace_file(path, file.getvalue())
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror}; choose another --out") from None
