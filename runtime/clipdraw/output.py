"""What CLIPDraw writes: the SVG, its PNG, and snapshots on the way."""

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.vector.results import write_drawing
from runtime.vector.scene import VectorScene
from runtime.vector.svg import write_svg
from runtime.version import __version__

if TYPE_CHECKING:
    from runtime.clipdraw.config import Config
    from runtime.engines.bundle import DiffusionBundle


def write(config: "Config", bundle: "DiffusionBundle", scene: VectorScene, out: Path) -> list[Path]:
    """Write a scene as an SVG and as a PNG beside it; return both paths."""
    return write_drawing(scene.drawing(), out, metadata=metadata_of(config, bundle), backend=config.rasterizer)


def snapshot(config: "Config", bundle: "DiffusionBundle", scene: VectorScene, stem: Path) -> Path:
    """Write a scene on the way as an SVG; return its path."""
    file = stem.with_name(f"{stem.name}.svg")
    write_svg(file, scene.drawing(), metadata=metadata_of(config, bundle))
    return file


def metadata_of(config: "Config", bundle: "DiffusionBundle") -> dict[str, str]:
    """Return what an SVG says of how it was made; equal runs say the same."""
    names = ("prompt", "preset", "seed", "steps")
    origin = {"method": "clipdraw", "generator": f"tgm {__version__}", "bundle": f"{bundle.name} {bundle.digest[:12]}"}
    return {name: str(getattr(config, name)) for name in names} | origin
