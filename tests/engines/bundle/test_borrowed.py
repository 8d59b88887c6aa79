"""Bundles that have files of another bundle: found beside it, vouched for by their hashes, never written or removed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from export.write.bundle import files_of, write_bundle
from export.write.network import NetworkFiles
from runtime.engines.bundle import DiffusionBundle
from runtime.engines.bundle import folder as module
from runtime.engines.spec import FileSpec
from runtime.errors import UserError
from runtime.guidance.prompt import Prompt
from runtime.guidance.views import with_cameras
from tests.bundles import CAMERA_DENOISER, make_camera_bundle, make_camera_denoiser


@pytest.fixture
def pair(tmp_path: Path, tiny_folder: Path) -> Path:
    shutil.copytree(tiny_folder, tmp_path / "tiny")
    return make_camera_bundle(tmp_path / "seen", tmp_path / "tiny")


def test_networks_of_the_other_bundle_are_this_ones(pair: Path, tiny: DiffusionBundle) -> None:
    bundle = DiffusionBundle.load(pair)
    pictures = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    assert torch.equal(bundle.latent_encoder("none")(pictures), tiny.latent_encoder("none")(pictures))
    assert torch.equal(bundle.latent_encoder("torch")(pictures), tiny.latent_encoder("torch")(pictures))
    own = {path.relative_to(pair).as_posix() for path in pair.rglob("*") if path.is_file()}
    assert own == {"bundle.json", "denoiser/model.onnx", *(f"{role}/spec.json" for role in bundle.specs)}
    assert set(files_of(pair, bundle.manifest)) == own - {"bundle.json"}


def test_pictures_are_scored_as_by_the_other_bundle(pair: Path, tiny: DiffusionBundle) -> None:
    pictures = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    ours, theirs = (bundle.scorer()(pictures, ["a red apple"]) for bundle in (DiffusionBundle.load(pair), tiny))
    assert torch.equal(ours, theirs)


def test_the_denoiser_is_told_the_camera_or_that_there_is_none(pair: Path) -> None:
    bundle = DiffusionBundle.load(pair)
    assert bundle.knows_cameras
    prompt = Prompt.encode("a red apple", bundle.text_encoder())
    assert prompt.context.shape == (1, 18, 384)
    z, t = torch.zeros(2, 4, 16, 16), torch.tensor([3, 4])
    seen = with_cameras(prompt, torch.tensor([0.5, -2.0]), torch.tensor([0.25, 1.0]))
    assert bundle.denoiser()(z, t, seen.conditional(2))[:, 0, 0, 0].tolist() == pytest.approx([103.0, 108.0])
    assert bundle.denoiser()(torch.cat([z, z]), torch.cat([t, t]), seen.pair(2))[2:, 0, 0, 0].tolist() == pytest.approx(
        [103.0, 108.0]
    )
    assert bundle.denoiser()(z, t, prompt.conditional(2)).abs().max() == 0.0


def test_a_bundle_without_cameras_says_so(tiny: DiffusionBundle) -> None:
    assert not tiny.knows_cameras


def test_a_damaged_file_of_the_other_bundle_is_refused(pair: Path) -> None:
    path = pair.parent / "tiny" / "text_encoder" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"bundle 'seen': text_encoder/model\.onnx was edited"):
        DiffusionBundle.load(pair)


def test_a_missing_other_bundle_is_named(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.move(pair.parent / "tiny", pair.parent / "elsewhere")
    with pytest.raises(UserError, match="expected the bundle 'tiny', which has this file, beside it or among the inst"):
        DiffusionBundle.load(pair)
    installed = pair.parent / "installed"
    installed.mkdir()
    shutil.move(pair.parent / "elsewhere", installed / "tiny")
    monkeypatch.setattr(module, "INSTALLED", installed)
    assert DiffusionBundle.load(pair).knows_cameras


def test_writing_a_bundle_anew_leaves_the_other_bundle_alone(pair: Path) -> None:
    before = {path: path.read_bytes() for path in (pair.parent / "tiny").rglob("*") if path.is_file()}
    bundle = DiffusionBundle.load(pair)
    networks = {"denoiser": NetworkFiles(replace(CAMERA_DENOISER), {"model.onnx": make_camera_denoiser()})}
    write_bundle(pair, replace(bundle.manifest, networks={}, files={}), networks)
    assert {path: path.read_bytes() for path in (pair.parent / "tiny").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bundle": "icons"}, "the field 'path' is missing"),
        ({"path": "a/b"}, "the field 'bundle' is missing"),
        ({"bundle": "icons", "path": "../../etc/passwd"}, "field 'path': .* is no file name inside a bundle"),
        ({"bundle": "icons", "path": "/etc/passwd"}, "field 'path': .* is no file name inside a bundle"),
        ({"bundle": "..", "path": "a"}, "field 'bundle': .* is no file name inside a bundle"),
        ({"bundle": "a/b", "path": "a"}, "field 'bundle': expected the name of a bundle, got 'a/b'"),
        ({"bundle": "", "path": "a"}, "field 'bundle'"),
    ],
)
def test_a_place_outside_of_bundles_is_refused(fields: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        FileSpec.from_json({"size": 1, "sha256": "0" * 64, **fields}, "spec.json")


def test_a_file_elsewhere_comes_back_from_its_text() -> None:
    file = FileSpec(3, "a" * 64, "icons", "denoiser/model.onnx")
    assert FileSpec.from_json(json.loads(json.dumps(file.to_json())), "spec.json") == file
    assert FileSpec(3, "a" * 64).to_json() == {"size": 3, "sha256": "a" * 64}
