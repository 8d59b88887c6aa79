"""The sheet of a denoiser that knows cameras."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.cameras import Config, main, pictures_of
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from tests.bundles import make_camera_bundle


@pytest.fixture
def folder(tmp_path: Path, tiny_folder: Path) -> Path:
    shutil.copytree(tiny_folder, tmp_path / "tiny")
    return make_camera_bundle(tmp_path / "seen", tmp_path / "tiny")


def test_only_the_camera_differs_in_a_row(folder: Path, tmp_path: Path) -> None:
    bundle, config = DiffusionBundle.load(folder), Config(out=tmp_path / "a.png", views=4, steps=3)
    pictures = pictures_of(bundle, "a car", config)
    assert pictures.shape == (4, 3, 128, 128)
    # the tiny denoiser's noise grows with the azimuth
    assert len({round(float(picture.mean()), 6) for picture in pictures}) > 1
    again = pictures_of(bundle, "a car", replace(config, views=2))
    torch.testing.assert_close(again, pictures[::2])


def test_a_bundle_without_cameras_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--bundle tiny: expected one that knows cameras, such as objects"):
        pictures_of(DiffusionBundle.load(tiny_folder), "a car", Config(out=tmp_path / "a.png"))


def test_a_sheet_has_a_row_a_prompt(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "sheet.png"
    options = [
        "--bundle",
        str(folder),
        "--out",
        str(out),
        "--views",
        "3",
        "--steps",
        "2",
        "--count",
        "2",
        "--side",
        "16",
    ]
    monkeypatch.setattr(sys, "argv", ["benchmarks.cameras", *options])
    main()
    with Image.open(out) as sheet:
        assert sheet.size == (48, 32)
