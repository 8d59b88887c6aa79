"""Draws of prepared views and icons: what belongs together stays together, and what is held out is never drawn."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from runtime.errors import UserError
from tests.train.latent_diffusion.made import write_prepared
from train.latent_diffusion import prepared
from train.latent_diffusion.prepared import Icons, ObjectViews


def test_a_drawn_view_has_its_own_camera_and_a_caption_of_its_object(tmp_path: Path) -> None:
    objects = ObjectViews.load(write_prepared(tmp_path)[0])
    examples = objects.draw(64, torch.Generator().manual_seed(0))
    assert bool(examples.present.all())
    for latent, camera, context in zip(examples.latents, examples.cameras, examples.contexts, strict=True):
        (view,) = (objects.latents.float() == latent).all(-1).all(-1).all(-1).nonzero()[:, 0].tolist()
        assert torch.equal(objects.cameras[view], camera)
        owner = int(((objects.first <= view) & (view < objects.first + objects.views)).nonzero()[0])
        (row,) = (objects.contexts.float() == context).all(-1).all(-1).nonzero()[:, 0].tolist()
        assert row in objects.rows[owner]
        assert objects.weights[owner] > 0.0


def test_all_views_of_an_object_are_drawn(tmp_path: Path) -> None:
    objects = ObjectViews.load(write_prepared(tmp_path)[0])
    examples = objects.pick(torch.full((600,), 1), torch.Generator().manual_seed(0))
    assert len(torch.unique(examples.cameras, dim=0)) == 32


def test_held_out_things_are_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = write_prepared(tmp_path)
    monkeypatch.setattr(prepared, "hold_out", lambda objects: torch.arange(len(objects)) == 0)
    objects, icons = ObjectViews.load(folders[0]), Icons.load(folders[1])
    assert objects.held_out_fronts() == [0]
    assert objects.weights[0] == 0.0
    assert icons.held_out.tolist() == [6, 7]
    drawn = icons.draw(300, torch.Generator().manual_seed(0)).latents
    assert len(torch.unique(drawn.flatten(1), dim=0)) == 6


def test_every_second_icon_from_the_front_has_a_front_camera(tmp_path: Path) -> None:
    icons = Icons.load(write_prepared(tmp_path)[1])
    examples = icons.draw(6000, torch.Generator().manual_seed(0))
    assert float(examples.present.float().mean()) == pytest.approx(1 / 4, abs=0.02)
    assert torch.equal(examples.cameras[:, 0], torch.zeros(6000))
    elevations = examples.cameras[:, 1]
    assert torch.equal(elevations[~examples.present], torch.zeros(int((~examples.present).sum())))
    assert float(elevations.min()) >= 0.0
    assert float(elevations.max()) == pytest.approx(math.radians(10.0), rel=0.01)
    from_front = {tuple(row.flatten().tolist()) for row in icons.latents[icons.front].float()}
    assert all(tuple(row.flatten().tolist()) in from_front for row in examples.latents[examples.present][:50])


def test_batches_are_joined_in_order(tmp_path: Path) -> None:
    folders = write_prepared(tmp_path)
    generator = torch.Generator().manual_seed(0)
    first, second = ObjectViews.load(folders[0]).draw(2, generator), Icons.load(folders[1]).draw(3, generator)
    joined = first + second
    assert torch.equal(joined.latents, torch.cat([first.latents, second.latents]))
    assert joined.present[:2].all()


@pytest.mark.parametrize("name", ["latents.npy", "contexts.npy", "cameras.npy", "objects.json"])
def test_a_missing_file_of_objects_is_named_with_the_remedy(tmp_path: Path, name: str) -> None:
    folder = write_prepared(tmp_path)[0]
    (folder / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: expected .*train\.latent_diffusion\.objects"):
        ObjectViews.load(folder)


@pytest.mark.parametrize("name", ["latents.npy", "contexts.npy", "icons.npz"])
def test_a_missing_file_of_icons_is_named_with_the_remedy(tmp_path: Path, name: str) -> None:
    folder = write_prepared(tmp_path)[1]
    (folder / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: expected .*train\.latent_diffusion\.replay"):
        Icons.load(folder)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    objects, icons = write_prepared(tmp_path)
    np.save(objects / "cameras.npy", np.zeros((3, 2), np.float32))
    np.save(icons / "latents.npy", np.zeros((3, 4, 16, 16), np.float16))
    with pytest.raises(UserError, match="expected arrays of 160 views"):
        ObjectViews.load(objects)
    with pytest.raises(UserError, match="expected arrays of 8 icons, got 3"):
        Icons.load(icons)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": None},
        {"rows": []},
        {"rows": ["a"]},
        {"first": "x"},
        {"views": 2**70},
        {"captions": 3},
        {"category": []},
    ],
)
def test_edited_objects_are_refused_in_words(tmp_path: Path, change: dict[str, object]) -> None:
    file = write_prepared(tmp_path)[0] / "objects.json"
    document = json.loads(file.read_text())
    document["objects"][2] |= change
    file.write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"prepare it with: python -m train\.latent_diffusion\.objects"):
        ObjectViews.load(file.parent)


def test_captions_beyond_the_contexts_are_refused(tmp_path: Path) -> None:
    folder = write_prepared(tmp_path)[0]
    document = json.loads((folder / "objects.json").read_text())
    document["objects"][0]["rows"] = [99]
    (folder / "objects.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match="or few captions"):
        ObjectViews.load(folder)


def test_an_array_of_whole_numbers_is_refused(tmp_path: Path) -> None:
    folder = write_prepared(tmp_path)[0]
    np.save(folder / "latents.npy", np.zeros((160, 4, 16, 16), np.int64))
    with pytest.raises(UserError, match=r"latents\.npy: expected floats, got int64"):
        ObjectViews.load(folder)
