import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runtime.errors import UserError
from tests.train.pixelnerf.set_of_objects import write_set
from train.pixelnerf.objects import load_objects, reduce_sheet


def test_a_set_is_read_reduced_and_cached(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    objects = load_objects(tmp_path / "set", tmp_path / "cache", 16)
    assert objects.views.shape == (6, 16, 16, 16, 4)
    assert objects.train.tolist() == [0, 1, 2, 3, 4]
    assert objects.validation.tolist() == [5]
    assert objects.ids[2] == "ball-2"
    pictures = objects.pictures(torch.tensor([1, 4]), torch.tensor([[0, 3], [5, 5]]))
    assert pictures.shape == (2, 2, 4, 16, 16)
    assert torch.allclose(pictures[1, 0, :, 8, 8], torch.tensor([160, 200, 95, 255]) / 255)
    assert pictures[0, 0, :, 0, 0].sum() == 0
    # The second time the sheets are not read.
    for file in (tmp_path / "set/views").iterdir():
        file.unlink()
    again = load_objects(tmp_path / "set", tmp_path / "cache", 16)
    assert np.array_equal(again.views, objects.views)


def test_views_are_cells_row_by_row_and_means_are_premultiplied(tmp_path: Path) -> None:
    sheet = np.zeros((8, 8, 4), np.uint8)
    sheet[0, 2] = (200, 100, 0, 255)  # in the second cell, a quarter of it
    sheet[2:4, 0:2] = (9, 9, 9, 255)  # the fifth cell, all of it
    Image.fromarray(sheet).save(tmp_path / "sheet.png")
    views = reduce_sheet(tmp_path / "sheet.png", 1)
    assert views.shape == (16, 1, 1, 4)
    assert views[1, 0, 0].tolist() == [50, 25, 0, 64]
    assert views[4, 0, 0].tolist() == [9, 9, 9, 255]


@pytest.mark.parametrize("change", [{"id": "none"}, {"id": []}, {"split": {}}, {"file": 3}, {"file": None}])
def test_an_edited_set_is_refused_in_words(tmp_path: Path, change: dict[str, object]) -> None:
    write_set(tmp_path / "set")
    file = tmp_path / "set" / "objects.json"
    document = json.loads(file.read_text())
    document["objects"][1] |= change
    if change == {"split": {}}:
        del document["objects"][1]["split"]
    file.write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"expected objects\.json, cameras\.npz and views/, got"):
        load_objects(tmp_path / "set", tmp_path / "cache", 16)
    assert not (tmp_path / "cache").exists()


def test_bad_sets_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"objects\.json"):
        load_objects(tmp_path, tmp_path, 16)
    write_set(tmp_path / "set")
    with pytest.raises(UserError, match="multiple of 24"):
        load_objects(tmp_path / "set", tmp_path / "cache", 24)
    (tmp_path / "set/views/0.png").write_text("text")
    with pytest.raises(UserError, match="sheet of 16 views"):
        load_objects(tmp_path / "set", tmp_path / "cache", 16)
