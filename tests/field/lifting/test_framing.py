from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runtime.errors import UserError
from runtime.field.lifting.framing import FILLED, read_framed
from runtime.field.lifting.matte import foreground
from runtime.pictures import write_png
from tests.field.lifting.pictures import RED, disc, painted


def test_the_object_is_put_in_the_middle(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", painted((disc(15, row=30, column=70), RED), background=0.4))
    framed = read_framed(tmp_path / "a.png", 64)
    assert framed.shape == (3, 64, 64)
    rows, columns = np.nonzero(foreground(framed))
    assert abs(rows.mean() - 31.5) < 1 and abs(columns.mean() - 31.5) < 1
    assert abs(np.ptp(rows) + 1 - FILLED * 64) <= 3
    assert framed[:, 0, 0].tolist() == [1, 1, 1]
    assert (framed[:, 32, 32] - torch.tensor(RED)).abs().max() < 0.02


def test_transparency_is_the_mask(tmp_path: Path) -> None:
    # A white disc on a transparent background: by its colour there would be nothing.
    pixels = np.full((96, 96, 4), 255, np.uint8)
    pixels[..., 3] = 255 * disc(20)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="expected a picture of one object"):
        write_png(tmp_path / "white.png", torch.ones(3, 32, 32))
        read_framed(tmp_path / "white.png", 64)
    assert read_framed(tmp_path / "a.png", 64).min() > 0.99


def test_a_picture_without_a_border_is_refused(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(UserError, match="cut the object out"):
        read_framed(tmp_path / "a.png", 64)
    with pytest.raises(UserError):
        read_framed(tmp_path / "none.png", 64)
