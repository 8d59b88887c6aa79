"""`python -m runtime.nerf render`: films of a finished run along a path of cameras, with depth and normals."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from annotated_types import Interval

from runtime.command.outputs import check_outputs
from runtime.errors import UserError
from runtime.nerf.tools.runs import RunOptions, load_run, parse_run

if TYPE_CHECKING:
    import torch

    from runtime.field.cameras import Cameras
    from runtime.field.results import Field
    from runtime.nerf.scenes import Split


@dataclass(frozen=True, kw_only=True)
class Config(RunOptions):
    """Film a run along a path of cameras."""

    path: Literal["orbit", "test", "spiral", "interpolate"] = "orbit"
    """orbit: once around; spiral: twice around, from below upwards; interpolate: from one picture's camera to the next;
    test: the held-out cameras."""
    frames: Annotated[int, Interval(ge=1, le=100_000)] = 96
    """Frames, but of the path test."""
    size: Annotated[int, Interval(ge=8, le=4096)] = 256
    """Longest side in pixels."""
    depth: tyro.conf.FlagCreatePairsOff[bool] = False
    """Show the depth beside the colours."""
    normals: tyro.conf.FlagCreatePairsOff[bool] = False
    """Show the normals beside the colours."""
    out: Path | None = None
    """MP4 file to write; by default the run's name and the path's, in the working directory."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace a file that no run has written."""


def main(arguments: list[str]) -> int:
    """Film a run from a command line, and return the exit code."""
    config = parse_run(Config, "render", arguments)
    out = config.out or Path(f"{config.run.name}-{config.path}.mp4")
    check_outputs(out, (".mp4",), [], force=config.force)
    from runtime.film import write_film
    from runtime.threads import one_torch_thread

    scene, split = load_run(config.run)
    with one_torch_thread():  # for the same bytes on any number of cores
        count = write_film(out, frames(config, scene, cameras_of(config, split)))
    print(f"{out}: {count} frames")
    return 0


def cameras_of(config: Config, split: "Split") -> "Cameras":
    """Return the cameras of a path."""
    import torch

    from runtime.field.poses import path_through, spiral
    from runtime.field.results import Orbit

    cameras = split.capture.cameras
    if config.path == "test":
        chosen = cameras.select(split.held_out or split.train)
        longest = int(chosen.sizes.max())
        return chosen.scaled(config.size / longest)
    around = Orbit.of(cameras, frames=config.frames, side=config.size)
    if config.path == "orbit":
        return around.cameras()
    one = around.cameras()[0]
    if config.path == "spiral":
        poses = spiral(config.frames, radius=around.radius)
    else:
        # Neighbours by azimuth, so that the path does not jump from side to side.
        centres = cameras.centres
        order = torch.atan2(centres[:, 1], centres[:, 0]).argsort()
        poses = path_through(cameras.poses[order], config.frames, closed=True)
    return one.select([0] * len(poses)).moved(poses)


def frames(config: Config, scene: "Field", cameras: "Cameras") -> "Iterator[torch.Tensor]":
    """Yield the frames: colours, and beside them depth and normals where they are asked for."""
    import torch

    from runtime.field.pictures import look
    from runtime.field.sheets import depth_picture, normal_picture

    # One span for all frames: a depth keeps its grey while the camera moves.
    middle = float(cameras.centres.norm(dim=1).mean())
    span = (max(middle - math.sqrt(3), 0.0), middle + math.sqrt(3))
    for index in range(len(cameras)):
        view = look(lambda rays: scene.render(rays, normals=config.normals), cameras, index, samples=2)
        parts = [view.on(1.0).permute(2, 0, 1)]
        if config.depth:
            parts.append(depth_picture(view.depth, view.alpha, span))
        if config.normals:
            if view.normal is None:
                raise UserError("--normals: expected a run of a dense grid; hashed grids and networks have none here")
            parts.append(normal_picture(view.normal, view.alpha))
        yield torch.cat(parts, 2)
