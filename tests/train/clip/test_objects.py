"""Views of objects as pairs for the dual encoder, and the training of a bundle's encoder on them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from train.clip.__main__ import main
from train.clip.objects import ObjectPairs, Pairs
from train.clip.restore import restore_dual
from train.latent_diffusion.objects import GRID

SHADES = {"boat": 40, "boat-2": 90, "lamp": 160}
"""Red of each object's first view; each further one is a level brighter."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a set of three objects, two of which have the same first caption."""
    folder = tmp_path_factory.mktemp("objects")
    (folder / "views").mkdir()
    entries = []
    for name, red in SHADES.items():
        cells = np.zeros((GRID, GRID, 128, 128, 4), np.uint8)
        cells[..., 0] = red + np.arange(GRID * GRID).reshape(GRID, GRID)[:, :, None, None]
        cells[..., 3] = 255
        sheet = cells.swapaxes(1, 2).reshape(GRID * 128, GRID * 128, 4)
        Image.fromarray(sheet).save(folder / "views" / f"{name}.png")
        thing = name.split("-")[0]
        captions = [f"a {thing}", f"a red {thing}"]
        entry = {"id": name, "split": "train", "category": "item", "group": name, "file": f"{name}.png"}
        entries.append({**entry, "captions": captions})
    (folder / "objects.json").write_text(json.dumps({"objects": entries}))
    return folder


def encode(texts: list[str]) -> torch.Tensor:
    """Return contexts that tell which text they are of."""
    return torch.stack([torch.full((17, 384), float(sum(map(ord, text)) % 1000)) for text in texts])


def test_pairs_are_views_with_captions_of_their_own_object(folder: Path) -> None:
    pairs = ObjectPairs.load(folder, encode).draw(60, torch.Generator().manual_seed(0))
    reds = (255 * pairs.images[:, 0, 5, 5]).round().long()
    captions = {f"{article} {thing}": thing for thing in ("boat", "lamp") for article in ("a", "a red")}
    by_number = {float(encode([text])[0, 0, 0].half()): thing for text, thing in captions.items()}
    names = [next(name for name, red in SHADES.items() if red <= value < red + 16) for value in reds.tolist()]
    assert set(names) == set(SHADES)
    for name, context in zip(names, pairs.contexts, strict=True):
        assert by_number[float(context[0, 0])] == name.split("-")[0]
    same = pairs.labels[:, None] == pairs.labels[None]
    things = [name.split("-")[0] for name in names]
    assert torch.equal(same, torch.tensor([[one == other for other in things] for one in things]))
    # All sides are drawn.
    assert len(set(reds.tolist())) > 25


def test_draws_repeat_themselves(folder: Path) -> None:
    pairs = ObjectPairs.load(folder, encode)
    one, two = (pairs.draw(5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.labels, two.labels)


def test_things_of_two_sets_are_never_the_same() -> None:
    def some(labels: list[int]) -> Pairs:
        return Pairs(torch.zeros(2, 3, 128, 128), torch.zeros(2, 17, 384), torch.tensor(labels))

    both = (some([4, 0]) + some([0, 4])).labels
    assert both[:2].tolist() == [4, 0]
    assert not set(both[:2].tolist()) & set(both[2:].tolist())


def test_views_of_another_size_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "views").mkdir()
    (tmp_path / "objects.json").write_bytes((folder / "objects.json").read_bytes())
    for name in SHADES:
        Image.new("RGBA", (4 * 64, 4 * 64)).save(tmp_path / "views" / f"{name}.png")
    with pytest.raises(UserError, match="expected views of 128 pixels, as icons have, got 64"):
        ObjectPairs.load(tmp_path, encode).draw(1, torch.Generator())


def test_the_bundles_encoder_is_restored() -> None:
    bundle = DiffusionBundle.load("icons")
    network = restore_dual(bundle).eval()
    images, context = torch.rand(2, 3, 128, 128), bundle.text_encoder()(["a red apple", "a cat"])
    with torch.no_grad():
        image, text = network.image(images), network.text(context)
    assert torch.allclose(image, bundle.image_encoder("none")(images), atol=1e-4)
    assert torch.allclose(text, bundle.engine("text_embedder")(context)[0], atol=1e-4)


def test_another_bundle_has_none_to_restore(tiny_folder: Path) -> None:
    with pytest.raises(UserError, match="--start: bundle 'tiny': expected the dual encoder"):
        restore_dual(DiffusionBundle.load(tiny_folder))


def test_icons_and_views_are_trained_on_together(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = np.random.default_rng(0)
    names = np.array(["cat", "dog", "cat", "sun"])
    icons = {"pictures": draws.integers(0, 256, (4, 128, 128, 3), dtype=np.uint8), "concepts": names}
    np.savez(tmp_path / "icons.npz", colours=np.array(["", "", "", ""]), **icons)
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    tensors = {"weights": torch.ones(4), "rows": torch.zeros(4, 2, dtype=torch.int64)}
    save_file({**tensors, "contexts": torch.randn(1, 17, 384).half()}, prepared / "prepared.safetensors")
    drawn: list[int] = []
    draw = ObjectPairs.draw
    monkeypatch.setattr(ObjectPairs, "draw", lambda pairs, count, of: drawn.append(count) or draw(pairs, count, of))
    words = ["--data", str(tmp_path / "icons.npz"), "--prepared", str(prepared), "--objects", str(folder)]
    words += ["--start", "icons", "--steps", "2", "--batch", "5", "--out", str(tmp_path / "run")]
    monkeypatch.setattr("sys.argv", ["train.clip", *words])
    main()
    assert drawn == [2, 2]
    before = restore_dual(DiffusionBundle.load("icons")).state_dict()
    after = load_file(next((tmp_path / "run").glob("*ema.safetensors")))
    moved = {name: (after[name] - before[name]).abs().max().item() for name in before}
    assert 0 < max(moved.values()) < 0.1
