import json
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
from runtime.pixelnerf.lookup import DISTANCE, FOCAL
from tests.pixelnerf.small import make_run, small_network


def test_a_bundle_computes_what_pytorch_does(tmp_path: Path) -> None:
    network = small_network()
    networks = write_pixelnerf(network, tmp_path / "things", lambda line: None)
    bundle = PixelNeRFBundle.load(tmp_path / "things")
    assert all(row.passed for row in verify_exported(bundle, networks))
    manifest = bundle.manifest
    assert (manifest.side, manifest.focal, manifest.distance) == (32, FOCAL, DISTANCE)
    assert "CC0" in manifest.provenance
    assert "CC0 1.0" in (tmp_path / "things/README.md").read_text()


@pytest.mark.parametrize(("points", "views"), [(1, 1), (5, 3), (100, 2)])
def test_points_and_views_are_free(tmp_path: Path, points: int, views: int) -> None:
    network = small_network()
    write_pixelnerf(network, tmp_path / "things", lambda line: None, storage=Storage.FLOAT32)
    engine = Bundle.load(tmp_path / "things").engine("field")
    features, at = torch.randn(points, views, 16), torch.rand(points, views, 3) - 0.5
    with torch.no_grad():
        expected = network.field(features.transpose(0, 1), at.transpose(0, 1))
    assert torch.allclose(engine(features, at)[0], expected, atol=1e-4, rtol=1e-4)


def test_the_command_writes_verifies_and_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "run")
    assert run_pixelnerf(Pixelnerf(run=tmp_path / "run", out=tmp_path / "things")) == 0
    assert "passed" in capsys.readouterr().out
    assert run_pixelnerf(Pixelnerf(run=tmp_path / "run", out=tmp_path / "things", limit=0.001)) == 1
    with pytest.raises(UserError, match="no config"):
        run_pixelnerf(Pixelnerf(run=tmp_path, out=tmp_path / "other"))
    networks = reference_networks(tmp_path / "things", str(tmp_path / "run"))
    assert set(networks) == {"picture_encoder", "field"}


def test_a_camera_inside_the_ball_is_refused(tmp_path: Path) -> None:
    write_pixelnerf(small_network(), tmp_path / "things", lambda line: None)
    file = tmp_path / "things/bundle.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "distance": 0.5}))
    with pytest.raises(UserError, match="outside the unit ball"):
        Bundle.load(tmp_path / "things")


def test_samples_are_premultiplied_pictures() -> None:
    pictures = sample_pictures(3, 32)
    assert (pictures[:, :3] <= pictures[:, 3:]).all()
    assert 0.1 < float(pictures[:, 3].mean()) < 0.5
    networks = make_networks(small_network())
    assert networks["field"].storage is Storage.FLOAT16
