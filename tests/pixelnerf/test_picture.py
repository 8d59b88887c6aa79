from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runtime.errors import UserError
from runtime.pixelnerf import picture as module
from runtime.pixelnerf.picture import framed, object_of, read_objects, square_of


def save(path: Path, levels: np.ndarray) -> Path:
    Image.fromarray(levels).save(path)
    return path


def read_one(path: Path, side: int, **options: bool) -> torch.Tensor:
    return read_objects([path], side, **options)[0]


def disc(height: int = 60, width: int = 80, middle: tuple = (30, 20), radius: float = 10) -> np.ndarray:
    y, x = np.mgrid[:height, :width] + 0.5
    return np.hypot(y - middle[0], x - middle[1]) < radius


def test_an_object_before_a_plain_background_is_cut_out() -> None:
    picture = np.full((60, 80, 3), 0.8, np.float32)
    picture[disc()] = (0.9, 0.1, 0.1)
    picture[28:32, 18:22] = 0.8  # a hole of the background's colour, which the border does not reach
    assert np.array_equal(object_of(picture), disc().astype(np.float32))


def test_the_object_fills_nine_tenths_of_the_square(tmp_path: Path) -> None:
    levels = np.zeros((60, 80, 4), np.uint8)
    levels[disc()] = (255, 0, 0, 255)
    x, y, side = framed(disc().astype(np.float32))
    assert (x, y) == (20, 30)
    assert side == pytest.approx(20 / 0.9, abs=1.0)
    picture = read_one(save(tmp_path / "a.png", levels), 32)
    assert picture.shape == (4, 32, 32)
    assert float(picture[3].mean()) == pytest.approx(np.pi / 4 * 0.9**2, abs=0.06)
    assert torch.allclose(picture[0], picture[3])  # premultiplied red
    centre = (picture[3].sum(1) * (torch.arange(32) + 0.5)).sum() / picture[3].sum()
    assert abs(float(centre) - 16) < 1  # to the nearest pixel of the file, which is larger than one of 32


def test_with_and_without_alpha_it_is_the_same_object(tmp_path: Path) -> None:
    clear = np.zeros((60, 80, 4), np.uint8)
    clear[disc()] = (200, 30, 30, 255)
    plain = np.full((60, 80, 3), 255, np.uint8)
    plain[disc()] = (200, 30, 30)
    first = read_one(save(tmp_path / "a.png", clear), 32)
    assert torch.allclose(first, read_one(save(tmp_path / "b.png", plain), 32), atol=1e-6)


def test_a_large_picture_is_looked_at_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = np.full((600, 800, 3), 255, np.uint8)
    levels[disc(600, 800, (300, 200), 100)] = (200, 30, 30)
    file = save(tmp_path / "a.png", levels)
    whole = read_one(file, 16)
    monkeypatch.setattr(module, "LONGEST", 400)
    # Mixed pixels along the outline count as the object's: a hundredth of its radius here.
    assert (read_one(file, 16) - whole).abs().mean() < 0.02


def test_as_it_is_only_makes_it_square(tmp_path: Path) -> None:
    levels = np.zeros((60, 80, 4), np.uint8)
    levels[disc()] = (255, 0, 0, 255)
    picture = read_one(save(tmp_path / "a.png", levels), 80, as_it_is=True)
    assert torch.equal(picture[3, 10:70], torch.from_numpy(disc()).float())
    assert square_of(60, 80) == (40, 30, 80)


def test_several_pictures_are_scaled_alike_and_moved_each(tmp_path: Path) -> None:
    paths = []
    for index, (scale, radius, middle) in enumerate(((1, 10, (30, 20)), (1, 5, (40, 60)), (2, 10, (40, 60)))):
        levels = np.zeros((60 * scale, 80 * scale, 4), np.uint8)
        levels[disc(60 * scale, 80 * scale, middle, radius)] = (255, 0, 0, 255)
        paths.append(save(tmp_path / f"{index}.png", levels))
    large, small, fine = read_objects(paths, 64)[:, 3]
    # Half the radius, a quarter of the area; a file of twice the pixels is the same picture.
    assert float(small.mean() / large.mean()) == pytest.approx(0.25, abs=0.04)
    assert float(fine.mean()) == pytest.approx(float(small.mean()), abs=0.01)
    assert float((small * torch.arange(64)).sum() / small.sum()) == pytest.approx(31.5, abs=2)
    alone = read_one(paths[1], 64)[3]
    assert float(alone.mean()) == pytest.approx(float(large.mean()), abs=0.05)


@pytest.mark.parametrize("value", [0, 255])
def test_a_picture_without_an_object_is_refused(tmp_path: Path, value: int) -> None:
    with pytest.raises(UserError, match="cut it out"):
        read_one(save(tmp_path / "a.png", np.full((20, 20, 3), value, np.uint8)), 32)
    levels = np.full((20, 20, 4), 255, np.uint8)
    levels[..., 3] = 0
    with pytest.raises(UserError, match="0 % would be object"):
        read_one(save(tmp_path / "b.png", levels), 32)
    with pytest.raises(UserError, match="is missing"):
        read_one(tmp_path / "none.png", 32)
