"""What VectorFusion writes: the SVG, its PNG, and snapshots on the way."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from runtime.pictures import write_png
from runtime.vector.paths import Drawing
from runtime.vector.raster import rasterize
from runtime.vector.reinit import unused_paths
from runtime.vector.scene import VectorScene
from runtime.vector.svg import write_svg
from runtime.version import __version__

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle
    from runtime.vectorfusion.config import Config

PNG_SIDE = 512
"""Smallest side of the PNG in pixels; it is a whole multiple of the canvas."""

FAINT = 0.05
"""Opacity below which a path counts as unused; Thesis Table 11.1."""


def write(config: "Config", bundle: "DiffusionBundle", scene: VectorScene, out: Path) -> list[Path]:
    """Write a scene as an SVG and as a PNG beside it; return both paths."""
    drawing = without_unused(scene.drawing().detach())
    factor = math.ceil(PNG_SIDE / min(drawing.size))
    with torch.no_grad():
        picture = rasterize(drawing, (drawing.size[0] * factor, drawing.size[1] * factor), backend=config.rasterizer)
    png = out.with_suffix(".png")
    write_svg(out, drawing, metadata=metadata_of(config, bundle))
    write_png(png, picture[0])
    return [out, png]


def snapshot(config: "Config", bundle: "DiffusionBundle", scene: VectorScene, stem: Path) -> Path:
    """Write a scene on the way as an SVG; return its path."""
    file = stem.with_name(f"{stem.name}.svg")
    write_svg(file, scene.drawing(), metadata=metadata_of(config, bundle))
    return file


def metadata_of(config: "Config", bundle: "DiffusionBundle") -> dict[str, str]:
    """Return what an SVG says of how it was made; equal runs say the same."""
    names = ("prompt", "preset", "route", "seed", "steps", "omega")
    origin = {"generator": f"tgm {__version__}", "bundle": f"{bundle.name} {bundle.digest[:12]}"}
    return {name: str(getattr(config, name)) for name in names} | origin


def without_unused(drawing: Drawing) -> Drawing:
    """Return a drawing without the paths that are too faint to see, which an editor would only stumble on."""
    unused = unused_paths(drawing, opacity=FAINT, area=0.0)[0].tolist()
    return drawing.select([path for path, gone in enumerate(unused) if not gone])
