"""What does a field of eight photos look like? A sheet: the photos, the field from around, its normals, and the mesh.

python -m benchmarks.field.sheet [--out benchmarks/field.png]
"""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.field.mesh_picture import mesh_picture
from runtime.command.method import draw
from runtime.command.options import parse_options
from runtime.command.ranges import Count
from runtime.errors import run_main
from runtime.field.meshes import bake
from runtime.field.pictures import look
from runtime.field.results import TEXTURE_SIDE, Field, Orbit
from runtime.field.sheets import contact_sheet, normal_picture
from runtime.nerf import METHOD, Config
from runtime.nerf.output import surface_of
from runtime.nerf.scenes import Split
from runtime.pictures import write_png

FOLDER = Path(__file__).parents[1]
VIEWS = 8


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where the sheet goes."""

    out: Path = FOLDER / "field.png"
    """PNG file to write."""
    steps: Count = Config().steps
    """Steps of the fit."""


def main() -> None:
    """Fit the example capture and draw the sheet."""
    options = parse_options(Options, "benchmarks.field.sheet", description=__doc__)
    config = Config(capture=FOLDER / "capture", views=VIEWS, steps=options.steps)
    scene: Field = draw(METHOD, config)  # pyright: ignore[reportAssignmentType]
    split = Split.of(config)
    photos = split.capture.rgba(split.train)
    pictures = [(rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]).permute(2, 0, 1) for rgba in photos]
    cameras = Orbit.of(split.capture.cameras, frames=VIEWS, side=photos.shape[1]).cameras()
    seen = [look(lambda rays: scene.render(rays, normals=True), cameras, index) for index in range(VIEWS)]
    pictures += [view.on(1.0).permute(2, 0, 1) for view in seen]
    pictures += [normal_picture(view.normal, view.alpha) for view in seen if view.normal is not None]
    textured = bake(surface_of(scene, split).simplified(), scene.colour_at, side=TEXTURE_SIDE)
    pictures += [mesh_picture(textured, cameras, index) for index in range(VIEWS)]
    write_png(options.out, contact_sheet(pictures, VIEWS))


if __name__ == "__main__":
    run_main(main)
