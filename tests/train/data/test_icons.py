"""Drawing icons from a made package."""

import json
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import UserError
from train.data.icons import SETS, Config, draw_all, draw_icon, on_white, refuse_foreign

PACKAGE = {
    "width": 32,
    "height": 32,
    "icons": {
        "red-apple": {"body": '<rect width="32" height="32" fill="#e01010"/>'},
        "pizza": {"body": '<circle cx="16" cy="16" r="16" fill="#f0a020"/>'},
        "rocket": {"body": '<path d="M0 0H32V16H0z" fill="#2050e0"/>'},
    },
}


def packages(folder: Path) -> Path:
    for name in SETS:
        (folder / name).mkdir(parents=True)
        (folder / name / "icons.json").write_text(json.dumps(PACKAGE))
    return folder


def test_an_icon_is_drawn_where_it_is_asked_for() -> None:
    rgba = draw_icon(PACKAGE, "red-apple", side=64, left=16, top=24)
    assert rgba.shape == (128, 128, 4)
    y, x = np.nonzero(rgba[..., 3] > 0.5)
    assert (x.min(), x.max(), y.min(), y.max()) == (16, 79, 24, 87)
    assert np.allclose(rgba[50, 50], [224 / 255, 16 / 255, 16 / 255, 1.0], atol=1e-3)


def test_white_shows_where_nothing_is_drawn() -> None:
    picture = on_white(draw_icon(PACKAGE, "rocket", side=128, left=0, top=0))
    assert picture[100, 60].tolist() == [255, 255, 255]
    assert picture[20, 60].tolist() == [32, 80, 224]


def test_the_data_set_has_every_kind_of_drawing_and_repeats(tmp_path: Path) -> None:
    config = Config(packages=packages(tmp_path), out=tmp_path / "icons.npz", pairs=3)
    drawings = list(draw_all(config))
    per_set = {"plain": 2 * 3, "mirrored": 3, "repainted": 2 * 3}
    sets = {"fluent-emoji-flat", "noto", "twemoji", "emojione"}  # the three concepts are in these
    for kind, count in per_set.items():
        assert sum(d.kind == kind and d.set in sets for d in drawings) == count * len(sets), kind
    assert sum(d.kind == "pair" for d in drawings) == 3
    assert {d.colour for d in drawings if d.concept == "red-apple" and d.kind == "plain"} == {"red"}
    assert {d.caption for d in drawings if d.concept == "red-apple" and d.kind == "repainted"} == {"apple"}
    again = list(draw_all(config))
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(drawings, again, strict=True))


def test_a_missing_package_is_named_with_its_remedy(tmp_path: Path) -> None:
    config = Config(packages=tmp_path, out=tmp_path / "icons.npz")
    with pytest.raises(UserError, match=r"npm install @iconify-json/fluent-emoji-flat"):
        next(draw_all(config))


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"icons": []}'])
def test_a_damaged_package_is_refused(tmp_path: Path, content: str) -> None:
    (packages(tmp_path) / SETS[0] / "icons.json").write_text(content)
    with pytest.raises(UserError, match=r"icon package .*icons\.json: expected"):
        next(draw_all(Config(packages=tmp_path, out=tmp_path / "icons.npz")))


def test_only_an_archive_of_icons_is_replaced(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ending in \.npz, got '.*photo\.png'"):
        refuse_foreign(tmp_path / "photo.png")
    refuse_foreign(tmp_path / "new.npz")
    np.savez(tmp_path / "theirs.npz", years=np.zeros(3))
    (tmp_path / "text.npz").write_text("mine")
    for name in ("theirs.npz", "text.npz"):
        with pytest.raises(UserError, match="this command has not written it"):
            refuse_foreign(tmp_path / name)
    np.savez(
        tmp_path / "ours.npz", **dict.fromkeys(("pictures", "captions", "colours", "concepts", "sets", "kinds"), 0)
    )
    refuse_foreign(tmp_path / "ours.npz")
