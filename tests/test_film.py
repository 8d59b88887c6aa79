import subprocess
from pathlib import Path

import pytest
import torch

from runtime.errors import UserError
from runtime.film import write_film


def frames(count: int = 6, height: int = 32, width: int = 48) -> list[torch.Tensor]:
    return [torch.full((3, height, width), index / count) for index in range(count)]


def read_film(path: Path, height: int, width: int) -> torch.Tensor:
    """Return a film's frames (T, H, W, 3) in [0, 1]."""
    from imageio_ffmpeg import get_ffmpeg_exe

    command = [get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(-1, height, width, 3) / 255


def test_a_film_shows_its_frames(tmp_path: Path) -> None:
    assert write_film(tmp_path / "film.mp4", iter(frames()), rate=10) == 6
    read = read_film(tmp_path / "film.mp4", 32, 48)
    assert read.shape == (6, 32, 48, 3)
    assert (read.mean((1, 2, 3)) - torch.arange(6) / 6).abs().max() < 0.02


def test_the_same_frames_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_film(tmp_path / name, frames())
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_odd_sides_get_one_more(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4", frames(3, 31, 47))
    assert read_film(tmp_path / "film.mp4", 32, 48).shape[0] == 3


def test_no_frames_other_sizes_and_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="got none"):
        write_film(tmp_path / "film.mp4", [])
    with pytest.raises(UserError, match="as the first has"):
        write_film(tmp_path / "film.mp4", [*frames(1), *frames(1, 16, 16)])
    with pytest.raises(UserError, match="another folder"):
        write_film(tmp_path / "no" / "film.mp4", frames())
    assert list(tmp_path.iterdir()) == []
