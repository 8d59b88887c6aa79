import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from runtime.errors import UserError
from runtime.field.captures.pictures import PictureArray, open_pictures, read_depth, read_mask


def save(path: Path, levels: np.ndarray, **keys) -> Path:
    Image.fromarray(levels).save(path, **keys)
    return path


def test_reducing_takes_means_of_premultiplied_colour(tmp_path: Path) -> None:
    levels = np.zeros((2, 2, 4), np.uint8)
    levels[0, 0] = (255, 0, 0, 255)
    levels[0, 1] = (0, 255, 0, 0)  # a colour that nobody sees
    levels[1, 0] = (0, 0, 255, 255)
    pictures, sizes = open_pictures([save(tmp_path / "a.png", levels)])
    assert sizes == [(2, 2)]
    one = pictures.read(0, (1, 1))[0, 0]
    assert torch.allclose(one, torch.tensor([0.5, 0, 0.5, 0.5]))


def test_nothing_is_changed_at_full_size(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    pictures, _ = open_pictures([save(tmp_path / "a.png", levels)])
    assert torch.equal(pictures.read(0, (5, 7)), torch.from_numpy(levels.astype(np.float32) / 255))


def test_pictures_without_alpha_are_opaque(tmp_path: Path) -> None:
    files = [
        save(tmp_path / "a.png", np.full((4, 4, 3), 51, np.uint8)),
        save(tmp_path / "b.png", np.full((4, 4), 51, np.uint8)),
    ]
    pictures, _ = open_pictures(files)
    assert not pictures.has_alpha
    for row in range(2):
        assert torch.allclose(pictures.read(row, (2, 2)), torch.tensor([0.2, 0.2, 0.2, 1]).expand(2, 2, 4))


def test_an_exif_turn_is_made(tmp_path: Path) -> None:
    levels = np.zeros((4, 6, 3), np.uint8)
    levels[0, 0] = 255
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise
    pictures, sizes = open_pictures([save(tmp_path / "a.png", levels, exif=exif)])
    assert sizes == [(6, 4)]
    assert pictures.read(0, (6, 4))[0, 3, 0] == 1


def test_large_jpegs_are_decoded_small(tmp_path: Path) -> None:
    file = save(tmp_path / "a.jpg", np.full((2000, 3000, 3), 128, np.uint8))
    pictures, _ = open_pictures([file])
    tracemalloc.start()
    small = pictures.read(0, (100, 150))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert small.shape == (100, 150, 4)
    assert peak < 8 * 2**20  # at full size, four float32 a pixel would take 96 MB


def test_an_array_of_straight_and_of_premultiplied_pictures() -> None:
    straight = np.zeros((1, 2, 2, 4), np.uint8)
    straight[0, :, :] = (200, 100, 0, 128)
    premultiplied = straight.copy()
    premultiplied[..., :3] = (100, 50, 0)
    expected = torch.tensor([200, 100, 0, 128]) / 255
    assert torch.allclose(PictureArray(straight, False).read(0, (1, 1))[0, 0], expected, atol=1e-5)
    assert torch.allclose(PictureArray(premultiplied, True).read(0, (1, 1))[0, 0], expected, atol=4e-3)


def test_depths_take_the_nearest_pixel(tmp_path: Path) -> None:
    levels = np.array([[1000, 9000], [2000, 0]], np.uint16)
    depth = read_depth(save(tmp_path / "d.png", levels), (4, 4), 1e-3)
    assert torch.allclose(depth[::2, ::2], torch.tensor([[1.0, 9], [2, 0]]))
    for bad in (np.zeros(3), np.zeros((0, 3))):
        np.save(tmp_path / "bad.npy", bad)
        with pytest.raises(UserError, match="one number a pixel"):
            read_depth(tmp_path / "bad.npy", (4, 4), 1e-3)
    np.save(tmp_path / "bad.npy", np.array([["a"]]))
    with pytest.raises(UserError, match="an array of numbers"):
        read_depth(tmp_path / "bad.npy", (4, 4), 1e-3)


def test_a_picture_that_breaks_off_is_refused(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8))
    pictures, _ = open_pictures([file])
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(UserError, match="cannot read"):
        pictures.read(0, (50, 50))


def test_masks_and_depths_that_break_off_are_refused(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (50, 50), dtype=np.uint8))
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(UserError, match="cannot read the picture"):
        read_mask(file, (50, 50))
    with pytest.raises(UserError, match="cannot read the picture"):
        read_depth(file, (50, 50), 1e-3)


def test_a_header_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("a", "x" * (3 << 20), zip=True)
    with pytest.raises(UserError, match="cannot read the picture"):
        open_pictures([save(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8), pnginfo=text)])


def test_grey_of_16_bits_keeps_its_range(tmp_path: Path) -> None:
    pictures, _ = open_pictures([save(tmp_path / "a.png", np.full((4, 4), 13107, np.uint16))])
    assert torch.allclose(pictures.read(0, (2, 2)), torch.tensor([0.2, 0.2, 0.2, 1]).expand(2, 2, 4))
