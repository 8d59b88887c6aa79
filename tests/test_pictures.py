import numpy as np
import pytest
import torch
from PIL import Image

from runtime import pictures
from runtime.errors import UserError
from runtime.pictures import (
    ALMOST_WHITE,
    despeckle,
    flatten,
    format_png,
    kuwahara,
    read_picture,
    read_png,
    write_png,
)


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


def test_despeckling_is_the_median_of_nine_taken_twice() -> None:
    picture = torch.rand(2, 3, 6, 7, generator=torch.Generator().manual_seed(1)) * 0.9  # nothing is almost white
    expected = picture
    for _ in range(2):
        padded = torch.nn.functional.pad(expected, (1, 1, 1, 1), mode="replicate")
        windows = padded.unfold(2, 3, 1).unfold(3, 3, 1).flatten(-2)
        expected = windows.sort(-1).values[..., 4]
    assert torch.equal(despeckle(picture), expected)
    assert torch.equal(despeckle(picture[1]), expected[1])


def test_despeckling_keeps_straight_edges_and_takes_specks_and_rings() -> None:
    flat = torch.full((3, 16, 16), 0.2)
    flat[:, :, 8:] = 0.8
    rough = flat.clone()
    rough[:, 4, 3], rough[1, 12, 12] = 0.9, 0.0  # specks
    assert torch.equal(despeckle(rough), flat)
    ringed = flat.clone()
    ringed[:, :, 7], ringed[:, :, 8] = 0.15, 0.85  # one pixel wide, along the edge
    assert torch.equal(despeckle(ringed)[:, :, :7], flat[:, :, :7])


def test_what_is_almost_white_turns_white_in_all_channels_or_none() -> None:
    picture = torch.full((3, 8, 8), ALMOST_WHITE + 0.01)
    assert torch.equal(flatten(picture), torch.ones(3, 8, 8))
    picture[2] = ALMOST_WHITE - 0.01
    torch.testing.assert_close(flatten(picture), picture)


def test_kuwahara_takes_the_mean_of_the_calmest_corner() -> None:
    picture = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(2))
    found, radius = kuwahara(picture, radius=2), 2
    padded = np.pad(picture[0].numpy().astype(np.float64), ((0, 0), (radius, radius), (radius, radius)), "edge")
    for y in range(5):
        for x in range(6):
            squares = [padded[:, y + a : y + a + 3, x + b : x + b + 3] for a in (0, radius) for b in (0, radius)]
            calmest = min(squares, key=lambda square: square.var((1, 2)).sum())
            assert found[0, :, y, x].numpy() == pytest.approx(calmest.mean((1, 2)), abs=1e-6)
    torch.testing.assert_close(kuwahara(picture, radius=2, passes=2), kuwahara(found, radius=2))
    assert torch.equal(kuwahara(picture, radius=2, passes=0), picture)


def test_a_soft_edge_becomes_a_hard_one_where_it_was() -> None:
    """A ramp six pixels wide about column 16; afterwards no pixel but those at the edge lies between the levels."""
    ramp = ((torch.arange(32) + 0.5 - 13) / 6).clamp(0, 1) * 0.6 + 0.2
    flat = flatten(ramp.expand(3, 32, 32).contiguous())
    torch.testing.assert_close(flat[..., :15], torch.full((3, 32, 15), 0.2), atol=0.02, rtol=0)
    torch.testing.assert_close(flat[..., 17:], torch.full((3, 32, 15), 0.8), atol=0.02, rtol=0)
    assert float(flat.mean()) == pytest.approx(0.5, abs=0.01)


def test_flattening_a_blurred_disc_gives_most_of_the_disc_back() -> None:
    y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    distance = ((x - 30) ** 2 + (y - 34) ** 2).sqrt()
    crisp, soft = ((18 - distance) / width + 0.5 for width in (1.0, 5.0))
    colours = torch.tensor([0.9, 0.2, 0.1])[:, None, None]
    crisp, soft = (1 - part.clamp(0, 1) * (1 - colours) for part in (crisp, soft))
    before, after = ((picture - crisp).abs().mean() for picture in (soft, flatten(soft)))
    assert after < 0.35 * before
