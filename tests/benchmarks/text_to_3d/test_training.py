"""The judge's training on a made set: what it sees, that it resumes, and what it is told of itself."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.consistency.evaluator import HELD_OUT, Committee
from benchmarks.text_to_3d import judge as judges
from benchmarks.text_to_3d import training
from benchmarks.text_to_3d.definitions import Prompt
from benchmarks.text_to_3d.judge import Judge, load_judge
from benchmarks.text_to_3d.reference import icon_row, real_row
from benchmarks.text_to_3d.training import SideCommittee, grey_of, held_out_figures, train_side_head
from runtime.errors import UserError
from tests.train.latent_diffusion.made import write_set


class Backbone(nn.Module):
    """Mean colours of parts of a picture, in place of ImageNet's features."""

    def forward(self, pictures: Tensor) -> Tensor:
        small = nn.functional.adaptive_avg_pool2d(pictures, 20).flatten(1)
        return torch.cat([small, small.new_zeros(len(small), 1280 - small.shape[1])], dim=1)


def encode(texts: list[str]) -> Tensor:
    """Return unit vectors that differ from text to text."""
    rows = [torch.randn(384, generator=torch.Generator().manual_seed(sum(text.encode()))) for text in texts]
    return nn.functional.normalize(torch.stack(rows), dim=-1)


def test_grey_pictures_have_no_colour_and_paper_stays_white() -> None:
    picture = torch.full((3, 32, 32), 255, dtype=torch.uint8)
    picture[:, 8:24, 8:16] = torch.tensor([230, 40, 30], dtype=torch.uint8)[:, None, None]
    picture[:, 8:24, 16:24] = torch.tensor([30, 200, 60], dtype=torch.uint8)[:, None, None]
    rng = np.random.default_rng(0)
    greys = torch.stack([grey_of(picture, rng) for _ in range(40)]).float()
    assert bool((greys[:, 0] == greys[:, 2]).all()) and bool((greys[:, :, :8] == 255).all())
    left, right = greys[:, 0, 16, 10], greys[:, 0, 16, 20]
    assert bool((left < right).all())  # a red is darker than that green
    assert left.std() > 5 and 100 < float(right.mean()) < 220
    white = torch.full((3, 8, 8), 255, dtype=torch.uint8)
    assert torch.equal(grey_of(white, rng), white)


def test_a_side_head_learns_and_its_committee_votes() -> None:
    generator = torch.Generator().manual_seed(0)
    sides = torch.arange(3).repeat(20)
    kinds = torch.randn(3, 1280, generator=generator)
    pairs = {"features": kinds[sides], "sentences": torch.zeros(60, 384), "sides": sides}
    committee = SideCommittee([train_side_head(pairs, seed=seed, steps=20) for seed in range(2)]).eval()
    shares = committee(kinds, torch.zeros(3, 384))
    assert shares.argmax(1).tolist() == [0, 1, 2]
    torch.testing.assert_close(shares.sum(1), torch.ones(3))


def test_held_out_figures_count_each_kind_of_picture() -> None:
    class Names(Committee):
        def forward(self, features: Tensor, sentences: Tensor) -> Tensor:
            return features[:, :2]

    class Sides(SideCommittee):
        def forward(self, features: Tensor, sentences: Tensor) -> Tensor:
            return features[:, :3]

    features = torch.zeros(6, 1280)
    features[[0, 2, 4], 0], features[[1, 3], 1], features[5, 0] = (
        1,
        1,
        1,
    )  # the second thing in grey: taken for the first
    views = {"features": features, "sentences": torch.zeros(6, 4, 384), "labels": torch.tensor([0, 1] * 3)}
    fronts = {"features": torch.eye(3, 1280)[[0, 0, 2]], "sentences": torch.zeros(3, 384), "sides": torch.arange(3)}
    assert held_out_figures(Names(), Sides(), views, ["a cat", "a key"], fronts) == {
        "captions": 2,
        "colour": 1.0,
        "degraded": 1.0,
        "grey": 0.5,
        "views": 2,
        "confusion": [[1, 0, 0], [1, 0, 0], [0, 0, 1]],
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # a set this small would be held out as a whole
    for module in (training, judges):
        if hasattr(module, "hold_out"):
            monkeypatch.setattr(module, "hold_out", lambda every: torch.arange(len(every)) == 0)
    monkeypatch.setattr("benchmarks.text_to_3d.reference.hold_out", lambda every: torch.arange(len(every)) == 0)
    monkeypatch.setattr(training, "CAPTION_STEPS", 2)
    monkeypatch.setattr(training, "SIDE_STEPS", 2)
    monkeypatch.setattr(judges, "sentence_encoder", lambda name: encode)
    monkeypatch.setattr(judges, "find_lite0", Path)
    monkeypatch.setattr(judges, "load_backbone", lambda path: Backbone())
    return write_set(tmp_path / "set", side=128)


def test_a_judge_is_trained_once_resumes_and_judges(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "judge.safetensors"
    with pytest.raises(UserError, match="give --data to train one"):
        load_judge(path)
    # A kill after the features leaves them.
    with monkeypatch.context() as patch:
        patch.setattr(training, "train_head", lambda *arguments, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            load_judge(path, folder)
    parts = tmp_path / "judge.safetensors.parts"
    assert {file.name for file in parts.iterdir()} == {"objects.safetensors", "sides.safetensors"}
    before = (parts / "sides.safetensors").stat().st_mtime_ns
    judge = load_judge(path, folder)
    assert not parts.exists() and before
    assert judge.held_out["captions"] == 1 and sum(map(sum, judge.held_out["confusion"])) == 16
    again = load_judge(path)
    assert isinstance(again, Judge) and again.name == judge.name == load_judge(path).name
    pictures = torch.rand(2, 3, 32, 32)
    cosines = again.similarities(pictures, ["a cat", "a key", "a pie"])
    assert (
        len(cosines) == 2
        and len(cosines[0]) == 3
        and cosines == judge.similarities(pictures, ["a cat", "a key", "a pie"])
    )
    assert all(side in (0, 1, 2) for side in again.sides(pictures, "a cat"))
    path.write_bytes(b"no judge")
    with pytest.raises(UserError, match="expected a judge of this command"):
        load_judge(path)


def test_real_objects_are_held_out_ones_whose_caption_is_a_prompt(folder: Path, tmp_path: Path) -> None:
    from train.latent_diffusion.objects import read_objects

    judge = load_judge(tmp_path / "judge.safetensors", folder)
    every = read_objects(folder)
    prompts = [Prompt(every[0].captions[0], True, True), Prompt(every[-1].captions[0], True, False)]
    seen = real_row(folder, judge, prompts)
    assert [one.prompt for one in seen] == [every[0].captions[0]]
    assert len(seen[0].colour) == len(seen[0].sides) == 12 and len(seen[0].colour[0]) == 2


def test_real_icons_are_one_view_each(folder: Path, tmp_path: Path) -> None:
    judge = load_judge(tmp_path / "judge.safetensors", folder)
    pictures = np.full((3, 128, 128, 3), 200, np.uint8)
    sets, kinds = np.array([HELD_OUT, HELD_OUT, "noto"]), np.array(["plain", "mirrored", "plain"])
    np.savez(
        tmp_path / "icons.npz", pictures=pictures, captions=np.array(["owl", "frog", "pie"]), sets=sets, kinds=kinds
    )
    prompts = [Prompt(f"a {name}", False, True) for name in ("pie", "frog", "owl")]
    (seen,) = icon_row(tmp_path / "icons.npz", judge, prompts)
    assert seen.prompt == "a owl" and len(seen.colour) == len(seen.textureless) == 1 and len(seen.colour[0]) == 3
