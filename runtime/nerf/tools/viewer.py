"""A live page of a field, by viser: while it is fitted (`--viewer`), or of a run (`python -m runtime.nerf view RUN`).

The page draws nothing itself. It sends the camera that a visitor moves, and is sent the field's picture from there, so
whatever the kernels draw can be looked at. Nothing of the fit depends on it: no draw is taken, and runs with and
without a viewer end in the same bytes.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from annotated_types import Interval

from runtime.errors import UserError
from runtime.nerf.tools.runs import RunOptions, load_run, parse_run

if TYPE_CHECKING:
    import torch

    from runtime.field.cameras import Cameras
    from runtime.field.results import Field
    from runtime.loop.optimize import Stage

PORT = 8080
"""Where the page is, if the port is free; else at the next one that is."""

SIDE = 256
"""Longest side, in pixels, of the pictures that are sent."""

PAUSE_S = 0.5
"""Seconds between two pictures of a field that is being fitted, as long as nobody moves the camera."""

CAMERAS = 100
"""Most cameras that are shown, evenly among those of the capture."""

FRUSTUM = 0.15
"""Length of the shown cameras, world units."""


class View(Protocol):
    """A visitor's camera, as viser gives it: OpenCV's axes, the angle of view of its height in radians."""

    position: Any
    wxyz: Any
    fov: float
    aspect: float


def open_server(port: int) -> Any:
    """Return a server of viser's page.

    Raises:
        UserError: viser is not installed, or no port can be had.
    """
    try:
        import viser  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("--viewer needs viser: pip install viser (or this package's extra `viewer`)") from None
    try:
        # For this machine alone: whoever wants to show it to others has a tunnel or a proxy of their own.
        return viser.ViserServer(host="127.0.0.1", port=port, verbose=False)
    except OSError as error:
        raise UserError(f"--viewer: no page can be served at port {port}: {error.strerror}") from None


def camera_of(view: View, side: int = SIDE) -> "Cameras":
    """Return a visitor's camera, of a picture whose longest side is `side` pixels."""
    import torch
    from scipy.spatial.transform import Rotation

    from runtime.field.cameras import Cameras
    from runtime.field.conventions import to_opengl

    aspect = min(max(float(view.aspect), 0.1), 10.0)
    width = side if aspect >= 1 else max(1, round(side * aspect))
    height = side if aspect < 1 else max(1, round(side / aspect))
    pose = torch.eye(4)
    w, x, y, z = (float(number) for number in view.wxyz)
    pose[:3, :3] = torch.from_numpy(Rotation.from_quat([x, y, z, w]).as_matrix())
    pose[:3, 3] = torch.tensor([float(number) for number in view.position])
    focal = height / 2 / math.tan(float(view.fov) / 2)
    return Cameras(
        poses=to_opengl(pose[None], "opencv"),
        intrinsics=torch.tensor([[focal, focal, width / 2, height / 2]]),
        sizes=torch.tensor([[height, width]]),
    )


class Page:
    """The page: the capture's cameras, and the field from where each visitor stands.

    Args:
        server: viser's, or what stands in for it.
        cameras: of the capture.
    """

    def __init__(self, server: Any, cameras: "Cameras") -> None:
        self.server = server
        self.seen: dict[int, tuple[float, ...]] = {}
        self.shown_at = -math.inf
        server.scene.set_up_direction("+z")
        for index in range(0, len(cameras), -(-len(cameras) // CAMERAS)):
            size = cameras.sizes[index].tolist()
            angle = 2 * math.atan(size[0] / 2 / float(cameras.intrinsics[index, 1]))
            self._add_frustum(index, cameras.poses[index], angle, size)

    def _add_frustum(self, index: int, pose: "torch.Tensor", fov: float, size: list[int]) -> None:
        from scipy.spatial.transform import Rotation

        from runtime.field.conventions import from_opengl

        turned = from_opengl(pose[None], "opencv")[0]
        x, y, z, w = Rotation.from_matrix(turned[:3, :3].double().numpy()).as_quat()
        self.server.scene.add_camera_frustum(
            f"/cameras/{index}",
            fov=fov,
            aspect=size[1] / size[0],
            scale=FRUSTUM,
            wxyz=(w, x, y, z),
            position=tuple(turned[:3, 3].tolist()),
        )

    def due(self) -> list[tuple[Any, View]]:
        """Return the visitors who are to get a picture: all after a pause, before it those who have moved."""
        now = time.monotonic()
        late = now - self.shown_at >= PAUSE_S
        chosen = []
        for number, client in self.server.get_clients().items():
            view = client.camera
            place = (*map(float, view.position), *map(float, view.wxyz), float(view.fov), float(view.aspect))
            if late or self.seen.get(number) != place:
                self.seen[number] = place
                chosen.append((client, view))
        if late:
            self.shown_at = now
        return chosen

    def show(self, field: "Field") -> int:
        """Send the field to the visitors who are to get a picture; return how many those are."""
        import torch

        from runtime.field.pictures import look

        chosen = self.due()
        for client, view in chosen:
            with torch.no_grad():
                picture = look(field.render, camera_of(view), samples=1).on(1.0)
            levels = (picture.clamp(0, 1) * 255).round().byte().numpy()
            with warnings.catch_warnings():
                # One who has left meanwhile gets none, and viser warns of that.
                warnings.simplefilter("ignore", UserWarning)
                client.scene.set_background_image(levels, format="jpeg")
        return len(chosen)


def watched(
    build: Callable[..., "list[Stage]"], serve: Callable[[int], Any] = open_server
) -> Callable[..., "list[Stage]"]:
    """Return the `build` of a method whose stages show their field on a page after each step."""

    def with_page(config: Any, bundle: Any, generator: Any, **options: Any) -> "list[Stage]":
        from runtime.loop.events import Note
        from runtime.nerf.scenes import Split

        stages = build(config, bundle, generator, **options)
        page = Page(serve(PORT), Split.of(config).capture.cameras)
        options["report"](Note(f"the field can be looked at on http://localhost:{page.server.get_port()}"))
        return [_shown(stage, page) for stage in stages]

    return with_page


def _shown(stage: "Stage", page: Page) -> "Stage":
    """Return a stage that shows its field after each step."""
    before = stage.after

    def after(scene: Any, optimizer: Any, step: int, generator: Any) -> None:
        if before is not None:
            before(scene, optimizer, step, generator)
        page.show(scene)

    return replace(stage, after=after)


@dataclass(frozen=True, kw_only=True)
class Config(RunOptions):
    """Look at a run on a page; Ctrl-C ends it."""

    port: Annotated[int, Interval(ge=1, le=65535)] = PORT
    """Port of the page, or the next one that is free."""


def main(arguments: list[str], moments: Iterable[None] | None = None) -> int:
    """Serve a run's page from a command line, and return the exit code.

    Args:
        arguments: of the command line.
        moments: one for each look at the visitors; by default one every 50 ms, for ever.
    """
    config = parse_run(Config, "view", arguments)
    field, split = load_run(config.run)
    page = Page(open_server(config.port), split.capture.cameras)
    print(f"http://localhost:{page.server.get_port()} shows {config.run}; Ctrl-C ends", flush=True)
    try:
        for _ in _ticks() if moments is None else moments:
            page.show(field)
    except KeyboardInterrupt:
        pass
    return 0


def _ticks() -> Iterable[None]:
    while True:
        time.sleep(0.05)
        yield None
