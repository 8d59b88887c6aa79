"""Films: MP4 files of frames that are drawn one by one, with the ffmpeg that imageio-ffmpeg brings."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.errors import UserError
from runtime.files import make_temporary, sync_file, sync_folder

CRF = 18
"""Constant rate factor of H.264: 0 is lossless, 18 looks so, 51 is worst."""


def write_film(path: Path, frames: Iterable[Float[Tensor, "3 H W"]], *, rate: int = 30) -> int:
    """Write frames as an H.264 film that every player and browser shows; return their number.

    Only one frame is in memory at once. The file appears under its name when it is whole. One thread encodes, without
    dates or names of versions in the file, so that the same frames make the same bytes.

    Args:
        path: the .mp4 file.
        frames: RGB in [0, 1], all of one size; odd sides get one more row or column, as H.264 needs.
        rate: frames a second.

    Raises:
        UserError: there is no frame, the frames differ in size, or the file cannot be written.
    """
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise UserError(f"the film '{path}': expected frames, got none")
    try:
        handle, name = make_temporary(path, ".mp4")  # ffmpeg knows the format by the suffix
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror}; choose another folder or name") from None
    os.close(handle)
    try:
        count = _encode(Path(name), first, iterator, rate)
        os.chmod(name, 0o644)
        sync_file(Path(name))
        os.replace(name, path)
        sync_folder(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return count


def _encode(file: Path, first: Float[Tensor, "3 H W"], rest: Iterable[Float[Tensor, "3 H W"]], rate: int) -> int:
    """Feed frames to ffmpeg; return their number."""
    from imageio_ffmpeg import get_ffmpeg_exe

    height, width = (side + side % 2 for side in first.shape[1:])
    command = [get_ffmpeg_exe(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    command += ["-r", str(rate), "-i", "pipe:0", "-an", "-c:v", "libx264", "-preset", "medium", "-crf", str(CRF)]
    command += ["-pix_fmt", "yuv420p", "-threads", "1", "-x264-params", "threads=1:lookahead-threads=1"]
    command += ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1", "-movflags", "+faststart"]
    count = 0
    with subprocess.Popen([*command, str(file)], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            for frame in _chain(first, rest):
                process.stdin.write(_bytes(frame, first.shape[1:], (height, width)))
                count += 1
            process.stdin.close()
        except BrokenPipeError:
            pass  # ffmpeg has ended: its own words follow
        except BaseException:
            process.kill()
            raise
        message = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise UserError(f"the film cannot be encoded: {message.splitlines()[-1] if message else 'ffmpeg failed'}")
    return count


def _chain(first: Tensor, rest: Iterable[Tensor]) -> Iterable[Tensor]:
    yield first
    yield from rest


def _bytes(frame: Float[Tensor, "3 H W"], shape: torch.Size, size: tuple[int, int]) -> bytes:
    """Return a frame's rows as bytes, its last row and column repeated where the sides are odd."""
    if frame.shape[1:] != shape:
        raise UserError(
            f"a film's frames: expected {tuple(shape)} pixels as the first has, got {tuple(frame.shape[1:])}"
        )
    levels = frame.detach().float().cpu().clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0)
    height, width = levels.shape[:2]
    padded = levels[torch.arange(size[0]).clamp(max=height - 1)][:, torch.arange(size[1]).clamp(max=width - 1)]
    return padded.contiguous().numpy().tobytes()
