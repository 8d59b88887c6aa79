"""What `runtime.vectorize` writes: the SVG at the picture's own size."""

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.pictures import read_picture
from runtime.vector.scene import VectorScene
from runtime.vector.svg import write_svg
from runtime.version import __version__

if TYPE_CHECKING:
    from runtime.vectorize.config import Config


def write(config: "Config", bundle: None, scene: VectorScene, out: Path) -> list[Path]:
    """Write a scene as an SVG of the picture's size; return its path."""
    height, width = read_picture(config.picture).shape[1:]
    metadata = {"source": config.picture.name, "seed": str(config.seed), "version": f"tgm {__version__}"}
    write_svg(out, scene.drawing().detach().resized((height, width)), metadata=metadata)
    return [out]


def snapshot(config: "Config", bundle: None, scene: VectorScene, stem: Path) -> Path:
    """Write a scene on the way as an SVG; return its path."""
    file = stem.with_name(f"{stem.name}.svg")
    write_svg(file, scene.drawing())
    return file
