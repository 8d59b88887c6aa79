"""What `runtime.vectorize` writes: the SVG at the picture's own size."""

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command.outputs import VIDEO_SUFFIXES
from runtime.pictures import read_rgba
from runtime.vector.history import write_history
from runtime.vector.results import Finish
from runtime.vector.scene import VectorScene
from runtime.vector.svg import write_svg
from runtime.vector.tidy import tidy
from runtime.vectorize.stages import is_transparent
from runtime.version import __version__

if TYPE_CHECKING:
    from runtime.vectorize.config import Config


def write(config: "Config", bundle: None, scene: VectorScene, out: Path) -> list[Path]:
    """Write a scene as an SVG of the picture's size and, where it is asked for, as two films; return the paths."""
    picture = read_rgba(config.picture)
    height, width = picture.shape[1:]
    metadata = {"source": config.picture.name, "seed": str(config.seed), "version": f"tgm {__version__}"}
    finish = Finish(tidy=config.tidy, layers=config.layers, transparent=config.transparent or is_transparent(picture))
    drawing = scene.drawing().detach()
    # What is tidied is measured at the size that was traced; a large picture's own would take long.
    drawing = tidy(drawing) if config.tidy else drawing
    finish.write(drawing.resized((height, width)), out, metadata)
    if not config.video:
        return [out]
    film, animation = (out.with_suffix(suffix) for suffix in VIDEO_SUFFIXES)
    return [out, *write_history(scene, film, animation)]


def snapshot(config: "Config", bundle: None, scene: VectorScene, stem: Path) -> Path:
    """Write a scene on the way as an SVG; return its path."""
    file = stem.with_name(f"{stem.name}.svg")
    write_svg(file, scene.drawing())
    return file
