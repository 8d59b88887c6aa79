"""Raster pictures in and out: files to (3, H, W) float32 RGB in [0, 1] and back."""

import io
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image, UnidentifiedImageError
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from runtime.errors import UserError
from runtime.files import replace_file

MAX_PIXELS = 64_000_000
"""Most pixels in a picture that is read."""

ALMOST_WHITE = 0.93
"""Least value of all channels from which flattening takes a pixel for white paper."""


def read_picture(
    path: Path | str, *, background: float = 1.0, formats: tuple[str, ...] = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
) -> Float32[Tensor, "3 H W"]:
    """Return the picture in a file as (3, H, W) float32 RGB in [0, 1], upright.

    Args:
        path: the file.
        background: grey in [0, 1] that shows through where the picture is transparent.
        formats: Pillow's names of the formats that are taken; of a moving picture, the first frame.

    Raises:
        UserError: where the file is missing, is no picture, is truncated, or has more than `MAX_PIXELS` pixels.
    """
    try:
        with Image.open(path, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(
                    f"'{path}' has {image.width} x {image.height} pixels: expected at most {MAX_PIXELS}; scale it down"
                )
            rgba = _rgba(image)
    except UnidentifiedImageError:
        raise UserError(f"'{path}' is not a picture: expected {', '.join(formats)}") from None
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow raises SyntaxError for broken chunks of a PNG
        raise UserError(f"cannot read the picture '{path}': {getattr(error, 'strerror', None) or error}") from None
    pixels = torch.from_numpy(rgba).permute(2, 0, 1)
    return (pixels[:3] * pixels[3:] + background * (1 - pixels[3:])).contiguous()


def read_png(path: Path | str, *, background: float = 1.0) -> Float32[Tensor, "3 H W"]:
    """Return a PNG file's picture; as `read_picture` otherwise."""
    return read_picture(path, background=background, formats=("PNG",))


def flatten(images: Float32[Tensor, "... 3 H W"]) -> Float32[Tensor, "... 3 H W"]:
    """Return pictures as flat as the drawings that they are to become: no grain, no soft edges.

    Specks go first; then `kuwahara` of the picture at twice its size, so that the edges that it sharpens are smooth
    ones again when they are scaled back; almost white pixels turn white.

    Args:
        images: (..., 3, H, W) RGB, nominally in [0, 1].
    """
    parts = []
    for calm in despeckle(images).reshape(-1, *images.shape[-3:]).split(1):  # one by one: each takes much memory
        larger = functional.interpolate(calm, scale_factor=2, mode="bicubic").clamp(0.0, 1.0)
        parts.append(functional.avg_pool2d(kuwahara(larger, radius=4, passes=3), 2))
    flat = torch.cat(parts).reshape(images.shape)
    return torch.where((flat >= ALMOST_WHITE).all(-3, keepdim=True), 1.0, flat)


def despeckle(images: Float32[Tensor, "... 3 H W"]) -> Float32[Tensor, "... 3 H W"]:
    """Return pictures without specks and the rings along edges: each channel's median of 3x3 pixels, taken twice.

    Args:
        images: (..., 3, H, W); straight edges stay where they are.
    """
    found = images.detach().cpu().numpy()
    size = (1,) * (found.ndim - 2) + (3, 3)
    for _ in range(2):
        found = ndimage.median_filter(found, size=size, mode="nearest")
    return torch.from_numpy(found).to(images.device)


def kuwahara(images: Float32[Tensor, "B 3 H W"], *, radius: int, passes: int = 1) -> Float32[Tensor, "B 3 H W"]:
    """Return pictures in which soft edges are hard and areas are flat: Kuwahara's filter (Kuwahara et al., 1976).

    Of the four squares of `radius` + 1 pixels a side that have a pixel at a corner, the one whose colours vary least,
    by the sum of the variances of the channels, gives the pixel its mean colour. The border is continued with its own
    pixels.

    Args:
        images: (B, 3, H, W).
        radius: pixels, at least 1.
        passes: how often, at least 0.
    """
    height, width = images.shape[-2:]
    found = images.double()  # the variance is a difference of two means
    for _ in range(passes):
        padded = functional.pad(found, (radius,) * 4, mode="replicate")
        means = functional.avg_pool2d(padded, radius + 1, 1)
        spread = (functional.avg_pool2d(padded.square(), radius + 1, 1) - means.square()).sum(1, keepdim=True)
        corners = [(top, left) for top in (0, radius) for left in (0, radius)]
        spreads = torch.stack([spread[..., y : y + height, x : x + width] for y, x in corners])
        colours = torch.stack([means[..., y : y + height, x : x + width] for y, x in corners])
        calmest = spreads.argmin(0, keepdim=True).expand(1, *found.shape)
        found = colours.gather(0, calmest)[0]
    return found.float()


def format_png(image: Tensor) -> bytes:
    """Return (3, H, W) RGB as a PNG file's bytes; values outside [0, 1] are clamped, others rounded to 8 bits.

    Raises:
        ValueError: where the tensor is not (3, H, W).
    """
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"a picture is (3, H, W), got {tuple(image.shape)}")
    levels = image.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy())).save(file, format="PNG")
    return file.getvalue()


def write_png(path: Path | str, image: Tensor) -> None:
    """Write (3, H, W) RGB as a PNG file: whole, or not at all.

    Raises:
        UserError: where the file cannot be written.
        ValueError: as `format_png`.
    """
    data = format_png(image)
    try:
        replace_file(Path(path), data)
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror}; choose another folder or name") from None


def _rgba(image: Image.Image) -> Float32[np.ndarray, "H W 4"]:
    """Return (H, W, 4) float32 in [0, 1]; 16-bit grey keeps its range."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        grey = np.asarray(image, dtype=np.float32) / 65535
        return np.stack([grey, grey, grey, np.ones_like(grey)], axis=-1).clip(0, 1)
    return np.asarray(image.convert("RGBA"), dtype=np.float32) / 255
