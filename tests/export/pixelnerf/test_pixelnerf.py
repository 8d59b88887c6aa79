"""One export of a small network, by the command: what is in the bundle, and that it computes what PyTorch does."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from export.commands.pixelnerf import Pixelnerf, run_pixelnerf
from export.pixelnerf import write_pixelnerf
from export.pixelnerf.networks import make_networks, sample_pictures
from export.verify.gates import verify_exported
from export.verify.references import reference_networks
from runtime.engines.bundle import Bundle, PixelNeRFBundle
from runtime.engines.precision import Storage
from runtime.errors import UserError
from runtime.field.fields.lookup import DISTANCE, FOCAL
from tests.pixelnerf.small import make_run, small_network


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run and its bundle, whose limit is too low."""
    folder = tmp_path_factory.mktemp("pixelnerf")
    make_run(folder / "run")
    # Verified with success, and larger than it may be: an exit code of 1.
    assert run_pixelnerf(Pixelnerf(run=folder / "run", out=folder / "things", limit=0.001)) == 1
    return folder


def test_a_bundle_computes_what_pytorch_does(folder: Path) -> None:
    bundle = PixelNeRFBundle.load(folder / "things")
    assert all(row.passed for row in verify_exported(bundle, make_networks(small_network())))
    manifest = bundle.manifest
    assert (manifest.side, manifest.focal, manifest.distance) == (32, FOCAL, DISTANCE)
    assert "CC0" in manifest.provenance
    assert "CC0 1.0" in (folder / "things/README.md").read_text()


@pytest.mark.parametrize(("points", "views"), [(1, 1), (5, 3), (100, 2)])
def test_points_and_views_are_free(folder: Path, points: int, views: int) -> None:
    network = small_network()
    engine = Bundle.load(folder / "things").engine("field")
    features, at = torch.rand(points, views, 16 + 4), torch.rand(points, views, 3) - 0.5
    with torch.no_grad():
        expected = network.field(features.transpose(0, 1), at.transpose(0, 1))
    assert torch.allclose(engine(features, at)[0], expected, rtol=1e-2, atol=1e-2)


def test_kinds_are_listed_where_the_set_is_given(tmp_path: Path, folder: Path) -> None:
    assert PixelNeRFBundle.load(folder / "things").manifest.kinds == ()
    assert "kinds" not in json.loads((folder / "things/bundle.json").read_text())
    write_pixelnerf(small_network(), tmp_path / "some", lambda line: None, kinds=("apple", "tree"))
    assert PixelNeRFBundle.load(tmp_path / "some").manifest.kinds == ("apple", "tree")
    path = tmp_path / "some/bundle.json"
    for wrong in ([7], [""], ["x" * 61]):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"kinds": wrong}))
        with pytest.raises(UserError, match="field 'kinds': expected words"):
            PixelNeRFBundle.load(tmp_path / "some")


def test_verification_finds_the_run(folder: Path) -> None:
    networks = reference_networks(folder / "things", str(folder / "run"))
    assert set(networks) == {"picture_encoder", "field"}
    assert networks["picture_encoder"].storage is Storage.FLOAT32
    with pytest.raises(UserError, match="name the run folder"):
        reference_networks(folder / "things")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no config"):
        run_pixelnerf(Pixelnerf(run=tmp_path, out=tmp_path / "other"))


def test_a_camera_inside_the_ball_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "things", tmp_path / "things")
    file = tmp_path / "things/bundle.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "distance": 0.5}))
    with pytest.raises(UserError, match="outside the unit ball"):
        Bundle.load(tmp_path / "things")


def test_samples_are_premultiplied_pictures() -> None:
    pictures = sample_pictures(3, 32)
    assert (pictures[:, :3] <= pictures[:, 3:]).all()
    assert 0.1 < float(pictures[:, 3].mean()) < 0.5
    assert make_networks(small_network())["field"].storage is Storage.FLOAT16
