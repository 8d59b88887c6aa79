"""The live page: cameras of visitors, who gets a picture, and that the fit does not depend on it."""

import math
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from runtime.command.method import draw
from runtime.errors import UserError
from runtime.field.conventions import from_opengl
from runtime.field.poses import look_at
from runtime.loop.events import Note
from runtime.nerf import METHOD, Config, main
from runtime.nerf.scenes import Split
from runtime.nerf.tools import viewer

CAPTURE = Path(__file__).parents[2] / "benchmarks" / "capture"

CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)

SMALL = Config(capture=CAPTURE, views=3, size=12, steps=6, rays=100, nodes=9)


@dataclass
class Scene:
    """Stands in for viser's."""

    frusta: dict[str, dict[str, Any]] = field(default_factory=dict)
    pictures: list[Any] = field(default_factory=list)

    def set_up_direction(self, way: str) -> None:
        assert way == "+z"

    def add_camera_frustum(self, name: str, **options: Any) -> None:
        self.frusta[name] = options

    def set_background_image(self, picture: Any, format: str) -> None:
        self.pictures.append(picture)


@dataclass
class Server:
    """Stands in for viser's."""

    scene: Scene = field(default_factory=Scene)
    clients: dict[int, Any] = field(default_factory=dict)

    def get_clients(self) -> dict[int, Any]:
        return self.clients

    def get_port(self) -> int:
        return 1234


def visitor(aspect: float = 2.0) -> Any:
    from scipy.spatial.transform import Rotation

    pose = from_opengl(look_at(torch.tensor([[0.0, -4, 0]]), torch.zeros(3)), "opencv")[0]
    x, y, z, w = Rotation.from_matrix(pose[:3, :3].numpy()).as_quat()
    camera = SimpleNamespace(position=(0.0, -4.0, 0.0), wxyz=(w, x, y, z), fov=0.5, aspect=aspect)
    return SimpleNamespace(camera=camera, scene=Scene())


def test_a_visitors_camera() -> None:
    camera = viewer.camera_of(visitor().camera, 100)
    assert camera.sizes.tolist() == [[50, 100]]
    assert torch.allclose(camera.forwards, torch.tensor([[0.0, 1, 0]]), atol=1e-6)
    assert torch.allclose(camera.poses[0, :3, 1], torch.tensor([0.0, 0, 1]), atol=1e-6)
    # The top of the picture is half the angle above the middle.
    top = camera.rays(0, torch.tensor([[50.0, 0.0]])).directions[0]
    assert math.isclose(math.asin(top[2].item()), 0.25, rel_tol=1e-5)
    assert viewer.camera_of(visitor(0.5).camera, 100).sizes.tolist() == [[100, 50]]


def test_a_fit_is_watched_and_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(clients={0: visitor()})
    monkeypatch.setattr(viewer, "PAUSE_S", 0.0)
    notes: list[str] = []
    watching = replace(METHOD, build=viewer.watched(METHOD.build, lambda port: server))
    scene = draw(watching, SMALL, report=lambda e: notes.append(e.text) if isinstance(e, Note) else None)
    assert "the field can be looked at on http://localhost:1234" in notes
    assert len(server.scene.frusta) == 24
    pictures = server.clients[0].scene.pictures
    assert len(pictures) == SMALL.steps
    assert pictures[0].shape == (128, 256, 3)
    alone = draw(METHOD, SMALL)
    assert all(torch.equal(value, alone.state()[name]) for name, value in scene.state().items())


def test_of_many_cameras_some_are_shown() -> None:
    server = Server()
    cameras = Split.of(SMALL).capture.cameras
    viewer.Page(server, cameras.select([*range(len(cameras))] * 20))
    assert len(server.scene.frusta) == 96  # every fifth of 480


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_a_browser_is_shown_a_field(tmp_path: Path) -> None:
    pytest.importorskip("viser")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    scene: Any = draw(METHOD, SMALL)
    server = viewer.open_server(8080)
    page = viewer.Page(server, Split.of(SMALL).capture.cameras)
    try:
        with api.sync_playwright() as playwright:
            # Without a GPU.
            arguments = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
            tab = browser.new_page(viewport={"width": 400, "height": 300})
            problems: list[str] = []
            tab.on("pageerror", lambda error: problems.append(str(error)))
            tab.goto(f"http://localhost:{server.get_port()}")
            sent = 0
            for _ in range(100):
                tab.wait_for_timeout(200)
                sent += page.show(scene)
                if sent >= 2:
                    break
            browser.close()
        page.show(scene)  # to nobody: no warning
        assert sent >= 2
        assert problems == []
    finally:
        server.stop()


def test_who_has_not_moved_waits() -> None:
    server = Server(clients={0: visitor()})
    page = viewer.Page(server, Split.of(SMALL).capture.cameras)
    assert len(page.due()) == 1
    page.shown_at = math.inf
    assert page.due() == []
    server.clients[0].camera.position = (0.0, -5.0, 0.0)
    assert len(page.due()) == 1
    assert page.due() == []


def test_a_run_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    server = Server(clients={0: visitor()})
    monkeypatch.setattr(viewer, "open_server", lambda port: server)
    draw(METHOD, SMALL, run=tmp_path / "run")
    assert viewer.main([str(tmp_path / "run")], moments=[None]) == 0
    assert len(server.clients[0].scene.pictures) == 1
    assert "http://localhost:1234" in capsys.readouterr().out
    with pytest.raises(UserError, match="expected a run folder"):
        main(["view"])


def test_without_viser_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(UserError, match="pip install viser"):
        viewer.open_server(1)
