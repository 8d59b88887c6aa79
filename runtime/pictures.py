"""Raster pictures in and out: files to (3, H, W) float32 RGB in [0, 1] and back."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from runtime.errors import UserError
from runtime.files import check_ordinary, replace_file
from runtime.memory import machine_memory

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
ROWS = 64
"""Rows that are converted at once: in floats with transparency a picture takes four times the memory of the result."""

MAX_PIXELS = 64_000_000
"""Most pixels in a picture that is read, on a machine with enough memory."""


def read_picture(
    path: Path | str, *, background: float = 1.0, formats: tuple[str, ...] = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
) -> Float32[Tensor, "3 H W"]:
    """Return the picture in a file as RGB in [0, 1], upright.

    Args:
        path: the file.
        background: grey in [0, 1] that shows through where the picture is transparent.
        formats: Pillow's names of the formats that are taken; of a moving picture, the first frame.

    Raises:
        UserError: where the file is missing, is no picture, is truncated, or has more than `MAX_PIXELS` pixels.
    """
    with open_picture(path, formats) as image:
        return _on_background(image, background)


def read_rgba(
    path: Path | str, *, formats: tuple[str, ...] = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
) -> Float32[Tensor, "4 H W"]:
    """Return the picture in a file with straight alpha, in [0, 1], upright; arguments, errors as of `read_picture`."""
    with open_picture(path, formats) as image:
        levels, transparent = _levels(image)
        picture = torch.empty(4, *levels.shape[:2])
        for top in range(0, len(levels), ROWS):
            pixels = torch.from_numpy(_rgba(levels[top : top + ROWS], transparent))
            picture[:, top : top + ROWS] = pixels.permute(2, 0, 1)
        return picture


def most_pixels() -> int:
    """Return the most pixels of a picture that is read: as many as a quarter of the memory holds, or `MAX_PIXELS`."""
    memory = machine_memory()
    # On the way to RGB in floats a pixel takes 24 bytes: its channels as Pillow, NumPy and PyTorch have them.
    return MAX_PIXELS if memory is None else min(MAX_PIXELS, memory // 100)


@contextmanager
def open_picture(path: Path | str, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """Yield a file opened as a picture, nothing decoded yet; errors of its decoding in the block are refused in words.

    Args:
        path: the file.
        formats: Pillow's names of the formats that are taken.

    Raises:
        UserError: as `read_picture`.
    """
    try:
        check_ordinary(Path(path))
        # No other decoder is tried: each one more is something for a hostile file to attack.
        with Image.open(path, formats=formats) as image:
            # Before anything is decoded: a header of a few bytes can promise any size.
            if image.width * image.height > most_pixels():
                raise UserError(
                    f"'{path}' has {image.width} x {image.height} pixels: expected at most {most_pixels()}; scale it "
                    "down"
                )
            yield image
    except UnidentifiedImageError:
        raise UserError(f"'{path}' is not a picture: expected {', '.join(formats)}") from None
    except UserError:
        raise
    except _BOMBS:  # Pillow's own limit, which is higher
        raise UserError(f"'{path}': expected at most {most_pixels()} pixels, got many more; scale it down") from None
    except (OSError, SyntaxError, ValueError, MemoryError) as error:
        # Pillow raises SyntaxError for broken chunks of a PNG, and ValueError for texts that unpack to too much
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise UserError(f"cannot read the picture {str(path)!r:.200}: {reason:.200}") from None


def read_png(path: Path | str, *, background: float = 1.0) -> Float32[Tensor, "3 H W"]:
    """Return a PNG file's picture; as `read_picture` otherwise."""
    return read_picture(path, background=background, formats=("PNG",))


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


def to_rgba(image: Image.Image) -> Float32[np.ndarray, "H W 4"]:
    """Return a picture upright and with straight alpha, in [0, 1]."""
    return _rgba(*_levels(image))


def _on_background(image: Image.Image, background: float) -> Float32[Tensor, "3 H W"]:
    """Return a picture upright and on a grey, in [0, 1]."""
    levels, transparent = _levels(image)
    picture = torch.empty(3, *levels.shape[:2])
    for top in range(0, len(levels), ROWS):
        pixels = torch.from_numpy(_rgba(levels[top : top + ROWS], transparent)).permute(2, 0, 1)
        picture[:, top : top + ROWS] = pixels[:3] * pixels[3:] + background * (1 - pixels[3:])
    return picture


def _levels(image: Image.Image) -> tuple[np.ndarray, int]:
    """Return a picture upright, as 8-bit RGBA or as 16-bit grey (H, W), and the level of grey that is transparent."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    # Pillow's conversion of 16 bits would clip to 255 and forget the level that a PNG marks as transparent.
    is_deep = image.mode.startswith("I")
    return np.asarray(image if is_deep else image.convert("RGBA")), image.info.get(
        "transparency", -1
    ) if is_deep else -1


def _rgba(levels: np.ndarray, transparent: int) -> Float32[np.ndarray, "H W 4"]:
    """Return what `_levels` returns, or rows of it, as RGBA in [0, 1]."""
    if levels.ndim == 3:
        rgba = levels.astype(np.float32)
        rgba /= 255  # in place: of a large picture another copy is a gigabyte
        return rgba
    grey = levels.astype(np.float32) / 65535
    alpha = (levels != transparent).astype(np.float32)
    return np.stack([grey, grey, grey, alpha], axis=-1).clip(0, 1)
