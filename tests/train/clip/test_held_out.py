"""Which share of held-out views a dual encoder matches with their caption."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from train.clip.dual import DualEncoder
from train.clip.held_out import matched, measure_objects

CAPTIONS = {"a red car": (255, 0, 0), "a blue boat": (0, 0, 255)}


def test_a_view_is_matched_where_no_other_text_is_as_similar() -> None:
    pictures = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.7071, 0.7071]])
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert matched(pictures, texts, [0, 0, 1, 0]) == [True, False, True, False]


def write_set(folder: Path, *, split: str, category: str = "vehicle") -> None:
    """Write two objects of one colour each, whose first four views are from the front, the last eight from behind."""
    (folder / "views").mkdir(parents=True)
    entries = []
    for number, (caption, colour) in enumerate(CAPTIONS.items()):
        Image.new("RGBA", (4 * 128, 4 * 128), (*colour, 255)).save(folder / "views" / f"{number}.png")
        about = {"id": str(number), "split": split, "category": category, "group": str(number)}
        entries.append({**about, "file": f"{number}.png", "captions": [caption]})
    (folder / "objects.json").write_text(json.dumps({"objects": entries}))
    azimuths = np.array([0.0] * 4 + [90.0] * 4 + [180.0] * 8)
    angles = np.stack([azimuths, np.zeros(16)], axis=1)
    np.savez(folder / "cameras.npz", ids=np.array(["0", "1"]), azimuth_elevation=np.stack([angles, angles]))


class ByColour(DualEncoder):
    """Takes all pictures for the first caption, but for some blue ones."""

    def __init__(self, blue_seen: int) -> None:
        torch.nn.Module.__init__(self)
        self.blue_seen = blue_seen

    def image(self, views: torch.Tensor) -> torch.Tensor:
        is_blue = views[:, 2, 0, 0] > views[:, 0, 0, 0]
        is_blue &= torch.arange(len(views)) < self.blue_seen
        return torch.stack([~is_blue, is_blue], dim=1).float()

    def text(self, contexts: torch.Tensor) -> torch.Tensor:
        assert len(contexts) == 2
        return torch.eye(2)


def test_held_out_views_are_counted_by_their_sides(tmp_path: Path) -> None:
    write_set(tmp_path, split="val")
    bundle = DiffusionBundle.load("icons", threads=1)
    outcomes = measure_objects(ByColour(6), tmp_path, bundle)
    counts = {name: (sum(right), len(right)) for name, right in outcomes.items()}
    assert counts == {"all": (22, 32), "front": (8, 8), "side": (6, 8), "back": (8, 16)}


def test_a_set_that_holds_nothing_out_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path, split="train", category="item")
    with pytest.raises(UserError, match="expected objects of another split than 'train', got none"):
        measure_objects(DualEncoder(), tmp_path, DiffusionBundle.load("icons", threads=1))
