import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runtime import pictures
from runtime.errors import UserError
from runtime.pictures import format_png, read_picture, read_png, read_rgba, write_png


def test_eight_bit_pictures_survive_the_round_trip(tmp_path):
    levels = torch.randint(0, 256, (3, 5, 7), generator=torch.Generator().manual_seed(0))
    write_png(tmp_path / "a.png", levels / 255)
    back = read_png(tmp_path / "a.png")
    assert back.dtype == torch.float32 and back.shape == (3, 5, 7)
    torch.testing.assert_close(back, levels / 255, rtol=0, atol=1e-7)


def test_values_are_clamped_and_rounded_to_the_nearest_level(tmp_path):
    image = torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 2.0]).expand(3, 1, 4)
    write_png(tmp_path / "a.png", image)
    assert read_png(tmp_path / "a.png")[0, 0].mul(255).tolist() == [0, 0, 1, 255]


def test_rows_run_down_and_columns_right(tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 2] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_png(tmp_path / "a.png")[:, 0, 2].tolist() == [1, 0, 0]


def test_transparent_pixels_show_the_background(tmp_path):
    pixels = np.full((1, 2, 4), 255, np.uint8)
    pixels[0, 0, 3] = 51
    pixels[..., 1:3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_png(tmp_path / "a.png")[:, 0, 0].tolist() == pytest.approx([1, 0.8, 0.8])
    assert read_png(tmp_path / "a.png", background=0)[:, 0, 0].tolist() == pytest.approx([0.2, 0, 0])


@pytest.mark.parametrize(("mode", "value", "expected"), [("L", 51, 0.2), ("I;16", 13107, 0.2), ("1", 1, 1.0)])
def test_grey_pictures_become_rgb(tmp_path, mode, value, expected):
    Image.new(mode, (3, 2), value).save(tmp_path / "a.png")
    assert read_png(tmp_path / "a.png").flatten().tolist() == pytest.approx([expected] * 18)


@pytest.mark.parametrize(("mode", "dtype", "key"), [("L", np.uint8, 40), ("I;16", np.uint16, 4000)])
def test_the_transparent_level_of_grey_pictures_shows_the_background(tmp_path, mode, dtype, key):
    levels = np.array([[key, key + 1, 0]], dtype)
    Image.fromarray(levels).save(tmp_path / "a.png", transparency=key)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == mode
    most = np.iinfo(dtype).max
    assert read_png(tmp_path / "a.png")[0, 0].tolist() == pytest.approx([1, (key + 1) / most, 0])
    assert read_png(tmp_path / "a.png", background=0.5)[2, 0, 0] == 0.5


def test_cameras_pictures_are_turned_upright(tmp_path):
    image = Image.new("RGB", (8, 4))
    exif = image.getexif()
    exif[0x0112] = 6  # a quarter turn
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").shape == (3, 8, 4)


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / "a.png").write_text("not a picture")
    Image.new("RGB", (4, 4)).save(tmp_path / "b.jpg")
    whole = format_png(torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)))
    (tmp_path / "c.png").write_bytes(whole[: len(whole) // 2])
    for read, name in ((read_png, "a.png"), (read_png, "b.jpg"), (read_png, "c.png"), (read_picture, "d.png")):
        with pytest.raises(UserError, match=name.replace(".", r"\.")):
            read(tmp_path / name)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    write_png(tmp_path / "a.png", torch.zeros(3, 4, 5))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 19)
    with pytest.raises(UserError, match="5 x 4 pixels"):
        read_png(tmp_path / "a.png")


def test_only_pictures_are_written_and_only_where_one_can(tmp_path):
    with pytest.raises(ValueError, match="3, H, W"):
        write_png(tmp_path / "a.png", torch.zeros(1, 3, 4, 4))
    with pytest.raises(UserError, match="cannot write"):
        write_png(tmp_path / "missing" / "a.png", torch.zeros(3, 4, 4))
    assert list(tmp_path.iterdir()) == []


def chunk(tag: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def grey_png(width: int, height: int, extra: bytes = b"") -> bytes:
    """Return a black picture of 8 bits with more chunks before its pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(height * (1 + width)), 9)
    parts = chunk(b"IHDR", header) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


BOMB = b"a\0\0" + zlib.compress(bytes(100_000_000), 9)


@pytest.mark.parametrize("tag", [b"zTXt", b"iCCP"])
def test_texts_that_unpack_to_much_are_refused_or_left_out(tmp_path: Path, tag: bytes) -> None:
    file = tmp_path / "bomb.png"
    file.write_bytes(grey_png(20, 20, chunk(tag, BOMB)))
    try:
        assert not read_picture(file).any()
    except UserError as error:
        assert str(error).startswith(f"cannot read the picture '{file}'")


@pytest.mark.parametrize(
    ("name", "reason"), [("a\0b.png", "null byte"), ("/dev/zero", "no ordinary file"), (".", "it is a folder")]
)
def test_what_is_no_ordinary_file_is_refused(name: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        read_picture(name)


def test_a_postscript_file_starts_no_other_program(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(UserError, match="is not a picture"):
        read_picture(tmp_path / "a.png")


def test_pillow_is_told_everywhere_which_formats_it_may_read() -> None:
    root = Path(__file__).parents[1]
    calls = [
        (path, call)
        for room in ("runtime", "train", "export", "serving", "benchmarks")
        for path in (root / room).rglob("*.py")
        for call in re.findall(r"Image\.open\((.*)\)", path.read_text("utf-8"))
    ]
    assert len(calls) > 4
    assert [(path, call) for path, call in calls if "formats=" not in call] == []


def test_rows_are_converted_in_parts_to_the_same_values(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (150, 7, 4), dtype=np.uint8)
    Image.fromarray(levels, "RGBA").save(tmp_path / "a.png")
    rgba = torch.from_numpy(levels.astype(np.float32) / 255).permute(2, 0, 1)
    expected = rgba[:3] * rgba[3:] + 0.25 * (1 - rgba[3:])
    assert torch.equal(read_picture(tmp_path / "a.png", background=0.25), expected)


def test_a_picture_with_straight_alpha(tmp_path) -> None:
    levels = np.random.RandomState(0).randint(0, 256, (150, 7, 4), np.uint8)
    Image.fromarray(levels, "RGBA").save(tmp_path / "a.png")
    assert torch.equal(read_rgba(tmp_path / "a.png"), torch.from_numpy(levels).permute(2, 0, 1).float() / 255)
    Image.fromarray(levels[..., :3], "RGB").save(tmp_path / "b.png")
    assert torch.equal(read_rgba(tmp_path / "b.png")[3], torch.ones(150, 7))
