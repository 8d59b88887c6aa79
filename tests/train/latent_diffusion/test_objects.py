"""The set of objects: what is read, what is refused, what is held out and how often the rest is drawn."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.errors import UserError
from tests.train.latent_diffusion.made import CATEGORIES, write_set
from train.data.hue import turn_hue
from train.latent_diffusion.camera import mirror_cameras
from train.latent_diffusion.objects import (
    Config,
    SeenObject,
    draw_weights,
    encode_views,
    hold_out,
    in_other_hues,
    index_captions,
    prepare,
    read_cameras,
    read_objects,
    read_views,
    side_of,
)
from train.latent_diffusion.prepared import ObjectViews


def thing(category: str = "vehicle", *, group: str = "", split: str = "train", caption: str = "a car") -> SeenObject:
    return SeenObject(id="x", split=split, category=category, group=group, captions=(caption,), file="x.png")


def test_objects_and_their_cameras_are_matched_by_id(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    objects = read_objects(folder)
    assert [o.category for o in objects] == list(CATEGORIES)
    with np.load(folder / "cameras.npz") as file:
        last = np.deg2rad(file["azimuth_elevation"][0])
    np.testing.assert_allclose(read_cameras(folder, objects)[-1].numpy(), last, rtol=1e-6)


def test_views_are_the_cells_of_a_sheet_on_white(tmp_path: Path) -> None:
    sheet = np.zeros((32, 32, 4), np.uint8)
    sheet[8:16, 16:24] = (10, 20, 30, 255)  # the second row's third cell: view 6
    sheet[0:8, 0:8] = (0, 100, 200, 51)  # a fifth of it over white
    Image.fromarray(sheet).save(tmp_path / "sheet.png")
    views = read_views(tmp_path / "sheet.png")
    assert views.shape == (16, 3, 8, 8)
    assert views[6, :, 3, 4].tolist() == [10, 20, 30]
    assert views[0, :, 0, 0].tolist() == [204, 224, 244]
    assert (views[15] == 255).all()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "objects.json").unlink(), r"objects\.json: expected the objects of a multi-view set"),
        (lambda f: (f / "objects.json").write_text("{"), r"objects\.json: expected the objects"),
        (lambda f: (f / "objects.json").write_text('{"objects": [{"id": "a"}]}'), r"KeyError"),
        (lambda f: (f / "cameras.npz").unlink(), r"cameras\.npz: expected the arrays"),
        (
            lambda f: np.savez(f / "cameras.npz", ids=["a"], azimuth_elevation=np.zeros((1, 16, 2))),
            r"none of 'thing-0'",
        ),
        (lambda f: np.savez(f / "cameras.npz", ids=["a"], azimuth_elevation=np.zeros((1, 8, 2))), r"got shape \(1, 8"),
    ],
)
def test_a_bad_set_is_refused_by_name(tmp_path: Path, break_it, message: str) -> None:
    folder = write_set(tmp_path / "set")
    break_it(folder)
    with pytest.raises(UserError, match=message):
        read_cameras(folder, read_objects(folder))


def test_an_object_without_a_caption_is_refused(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    document = json.loads((folder / "objects.json").read_text())
    document["objects"][2]["captions"] = []
    (folder / "objects.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match="expected a caption for each object, got none for 'thing-2'"):
        read_objects(folder)


def test_a_sheet_that_is_no_picture_or_no_grid_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    path.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"sheet\.png: expected a picture of 16 views"):
        read_views(path)
    Image.fromarray(np.zeros((32, 40, 4), np.uint8)).save(path)
    with pytest.raises(UserError, match="expected 4x4 square views"):
        read_views(path)


def test_kinds_and_captions_tell_whether_there_is_a_front() -> None:
    assert thing().has_front
    assert not thing("rock").has_front
    assert not thing("seat", caption="a bar stool").has_front


def test_whole_groups_are_held_out_until_there_are_enough_fronts() -> None:
    objects = [thing(group=f"g{i // 3}", split="validation" if i < 3 else "train") for i in range(60)]
    held = hold_out(objects, 10)
    by_group = Counter(o.group for o, is_held in zip(objects, held.tolist(), strict=True) if is_held)
    assert set(by_group.values()) == {3}
    assert int(held.sum()) == 12
    assert held[:3].all()
    assert torch.equal(held, hold_out(objects, 10))


def test_half_of_the_draws_have_a_front_and_kinds_weigh_the_roots_of_their_sizes() -> None:
    objects = [thing("rock")] * 9 + [thing("tree")] * 4 + [thing()] * 2
    weights = draw_weights([*objects, replace(thing(), id="held")], torch.arange(16) < 15)
    torch.testing.assert_close(weights[13:15].sum(), torch.tensor(0.5))
    assert float(weights[:9].sum() / weights[9:13].sum()) == pytest.approx(3 / 2)
    assert float(weights[15]) == 0.0
    assert float(weights.sum()) == pytest.approx(1.0)


def test_a_set_is_prepared_with_mirrored_views_of_what_has_a_front(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", side=128)
    config = Config(data=folder, out=tmp_path / "prepared", frontless_views=4)
    prepare(config, lambda _: None)
    views = ObjectViews.load(config.out)
    assert views.views.tolist() == [32, 32, 32, 4, 4, 4, 4]
    assert views.contexts.shape == (1 + 3 + 7, 17, 384)
    cameras = read_cameras(folder, views.objects)
    torch.testing.assert_close(views.cameras[:16], cameras[0])
    torch.testing.assert_close(views.cameras[16:32], mirror_cameras(cameras[0]))
    torch.testing.assert_close(views.cameras[96:100], cameras[3, ::4])
    encoder = DiffusionBundle.load("icons", threads=1).latent_encoder("none")
    mirrored = read_views(folder / "views" / "thing-1.png")[2:3].flip(-1)
    expected = encode_views(mirrored, encoder, 1)[0]
    torch.testing.assert_close(views.latents[32 + 16 + 2], expected, atol=5e-3, rtol=0)


def test_copies_in_other_hues_are_of_trained_fronts_and_of_captions_without_a_colour() -> None:
    car = replace(thing(), id="car", captions=("a car", "a red car", "a Red-hot car"))
    bus, rock, held = thing(caption="a yellow bus"), thing("rock", caption="a rock"), thing(caption="a van")
    objects = [car, bus, rock, held]
    is_held = torch.tensor([False, False, False, True])
    copies = in_other_hues(objects, is_held, 3)
    assert [(copy.id, copy.captions, copy.group) for copy, _ in copies] == [
        (f"car+hue{number}", ("a car",), car.group) for number in (1, 2, 3)
    ]
    assert [angle for _, angle in copies] == pytest.approx([math.pi / 2, math.pi, 3 * math.pi / 2])
    assert in_other_hues(objects, is_held, 0) == []
    # A copy is no further object to hold out.
    more = [thing(group=f"g{i}") for i in range(60)]
    before = hold_out(more, 10)
    after = hold_out([*more, *(copy for copy, _ in in_other_hues(more, before, 2))], 10)
    assert torch.equal(after[:60], before) and not after[60:].any()


def test_a_set_is_prepared_with_copies_in_other_hues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_set(tmp_path / "set", side=128)
    monkeypatch.setattr("train.latent_diffusion.objects.hold_out", lambda every: torch.arange(len(every)) == 0)
    config = Config(data=folder, out=tmp_path / "prepared", frontless_views=1, hues=1)
    prepare(config, lambda _: None)
    views = ObjectViews.load(config.out)
    assert [entry.id for entry in views.objects[7:]] == ["thing-1+hue1", "thing-2+hue1"]
    assert views.views.tolist() == [32, 32, 32, 1, 1, 1, 1, 32, 32]
    first = int(views.first[7])
    torch.testing.assert_close(views.cameras[first : first + 32], views.cameras[32:64])
    assert views.rows[7].tolist() == views.rows[1].tolist()
    encoder = DiffusionBundle.load("icons", threads=1).latent_encoder("none")
    own = read_views(folder / "views" / "thing-1.png")[5:6].float() / 255.0
    turned = turn_hue(own, torch.tensor([math.pi])).mul(255.0).round().byte()
    torch.testing.assert_close(views.latents[first + 5], encode_views(turned, encoder, 1)[0], atol=5e-3, rtol=0)
    assert (views.latents[first + 5] - views.latents[32 + 5]).abs().max() > 0.1


def test_a_number_of_hues_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--hues: expected 0 to 11, got 12"):
        prepare(Config(data=tmp_path, out=tmp_path, hues=12), lambda _: None)


def test_a_number_of_views_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--frontless-views: expected 1 to 16, got 17"):
        prepare(Config(data=tmp_path, out=tmp_path, frontless_views=17), lambda _: None)


def test_captions_are_stored_once_behind_the_empty_one() -> None:
    texts, rows = index_captions([thing(caption="a car"), thing(caption="a rock"), thing(caption="a car")])
    assert texts == ["", "a car", "a rock"]
    assert rows == [[1], [2], [1]]


def test_pictures_are_encoded_in_batches_from_zero_to_one() -> None:
    sizes = []

    def mean_of_cells(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return torch.nn.functional.avg_pool2d(images, 8).mean(1, keepdim=True).expand(-1, 4, -1, -1)

    views = torch.full((5, 3, 16, 16), 51, dtype=torch.uint8)
    latents = encode_views(views, mean_of_cells, 2)
    assert sizes == [2, 2, 1]
    assert latents.dtype == torch.float16
    torch.testing.assert_close(latents.float(), torch.full((5, 4, 2, 2), 0.2), atol=1e-3, rtol=0)


def test_sides_are_quarters() -> None:
    degrees = torch.tensor([0.0, 40.0, -40.0, 50.0, 90.0, -130.0, 140.0, 180.0, -170.0, 330.0])
    assert side_of(degrees * math.pi / 180).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 0]
