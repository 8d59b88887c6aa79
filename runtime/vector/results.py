"""What methods that draw paths read and write alike: a drawing to start from, the SVG, and its PNG."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from runtime.pictures import write_png
from runtime.vector.layers import is_white, layers_of
from runtime.vector.paths import Drawing
from runtime.vector.raster import rasterize
from runtime.vector.reinit import FAINT, unused_paths
from runtime.vector.svg.write import write_svg
from runtime.vector.tidy import tidy

PNG_SIDE = 512
"""Smallest side of the PNG in pixels; it is a whole multiple of the canvas."""


@dataclass(frozen=True, kw_only=True)
class Finish:
    """What is done to a drawing before it is written."""

    tidy: bool = False
    """Whether hidden paths, slivers and nearly equal colours go, and what is nearly round becomes round."""
    layers: bool = False
    """Whether the SVG has groups with names."""
    transparent: bool = False
    """Whether white paper is left out of the SVG."""

    def apply(self, drawing: Drawing, backend: str) -> Drawing:
        """Return the drawing as it is written, without the paths that are too faint to see."""
        drawing = without_unused(drawing.detach())
        return tidy(drawing, backend=backend) if self.tidy else drawing

    def write(self, drawing: Drawing, out: Path, metadata: Mapping[str, str]) -> None:
        """Write what `apply` has returned as an SVG."""
        layers = layers_of(drawing) if self.layers else ()
        write_svg(out, drawing, metadata=metadata, layers=layers, transparent=self.transparent and is_white(drawing))


def write_drawing(
    drawing: Drawing, out: Path, *, metadata: Mapping[str, str], backend: str, finish: Finish | None = None
) -> list[Path]:
    """Write a drawing, without the paths that nobody sees, as an SVG and as a PNG beside it; return both paths.

    Args:
        drawing: one scene.
        out: the SVG file.
        metadata: what the SVG says of how it was made.
        backend: the rasterizer's, see `runtime.vector.raster.rasterize`.
        finish: what is done to it first.
    """
    finish = finish or Finish()
    drawing = finish.apply(drawing, backend)
    factor = math.ceil(PNG_SIDE / min(drawing.size))
    with torch.no_grad():
        picture = rasterize(drawing, (drawing.size[0] * factor, drawing.size[1] * factor), backend=backend)
    png = out.with_suffix(".png")
    finish.write(drawing, out, metadata)
    write_png(png, picture[0])
    return [out, png]


def without_unused(drawing: Drawing) -> Drawing:
    """Return a drawing without the paths that are too faint to see, which an editor would only stumble on."""
    unused = unused_paths(drawing, opacity=FAINT, area=0.0)[0].tolist()
    return drawing.select([path for path, gone in enumerate(unused) if not gone])


def read_start(init: Path, size: tuple[int, int], note: Callable[[str], None] = lambda text: None) -> Drawing:
    """Return the drawing in an SVG file that a run starts from.

    Args:
        init: the file, often the run's own copy.
        size: canvas height and width.
        note: receives what of it could not be read as it is, under the file's name.

    Raises:
        UserError: the file cannot be read.
    """
    from runtime.vector.svg.read import read_svg

    return read_svg(init, size=size, report=lambda text: note(text.replace(str(init), init.name)))
