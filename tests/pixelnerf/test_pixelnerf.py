"""The command: what it writes, that it is the same each time and after an interruption, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from runtime.engines.bundle import PixelNeRFBundle
from runtime.errors import UserError
from runtime.loop.events import Stepped
from runtime.loop.signals import StoppedRun
from runtime.pixelnerf import METHOD, Config, main
from tests.pixelnerf.small import make_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "things")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, with the picture of a blue disc."""
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[:40, :40] - 19.5
    levels = np.zeros((40, 40, 4), np.uint8)
    levels[np.hypot(y, x) < 12] = (40, 60, 220, 255)
    Image.fromarray(levels).save("disc.png")
    return tmp_path


SMALL = ["--nodes", "33", "--frames", "2", "--size", "32"]


def test_a_picture_becomes_a_mesh_a_film_and_a_sheet(folder: Path, work: Path, capsys) -> None:
    assert main(["disc.png", "--bundle", str(folder), *SMALL]) == 0
    assert "drew disc-3d.glb, disc-3d.mp4 and disc-3d.png" in capsys.readouterr().out
    mesh = trimesh.load("disc-3d.glb", force="mesh")
    assert np.abs(np.asarray(mesh.vertices)).max() < 1.1
    with Image.open("disc-3d.png") as sheet:
        assert sheet.size == (8 * 130 - 2, 128)


def test_two_pictures_are_shown_both(folder: Path, work: Path) -> None:
    words = ["disc.png", "--second", "disc.png", "--second-at", "90", "--bundle", str(folder), *SMALL]
    assert main(words) == 0
    with Image.open("disc-3d.png") as sheet:
        assert sheet.size == (9 * 130 - 2, 128)


def test_a_run_that_is_cut_ends_alike(folder: Path, work: Path) -> None:
    from threading import Event

    from runtime import draw

    config = Config(picture=Path("disc.png"), nodes=33, bundle=str(folder))
    bundle = PixelNeRFBundle.load(folder)
    whole = draw(METHOD, config, bundle)
    stop = Event()

    def report(event: object) -> None:
        if isinstance(event, Stepped) and event.step == 2:
            stop.set()

    with pytest.raises(StoppedRun):
        draw(METHOD, config, bundle, run=Path("run"), report=report, stop=stop)
    resumed = draw(METHOD, config, bundle, run=Path("run"))
    assert all((a == b).all() for a, b in zip(whole.state().values(), resumed.state().values(), strict=True))


def test_what_cannot_be_used_is_refused(folder: Path, work: Path) -> None:
    for words, message in (
        (["none.png"], "none.png"),
        (["disc.png", "--nodes", "34"], "multiple of 8"),
        (["disc.png", "--elevation", "90"], "--elevation"),
        (["disc.png", "--third", "disc.png"], "--second"),
        (["disc.png", "--second", "none.png"], "none.png"),
    ):
        with pytest.raises(UserError, match=message):
            main([*words, "--bundle", str(folder)])
    with pytest.raises(UserError, match="expected a bundle for pixelnerf"):
        main(["disc.png", "--bundle", "mnist"])
    assert not Path("runs").exists()
