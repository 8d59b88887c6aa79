"""The measures, the ways to trace, and the table."""

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

import benchmarks.drawing_quality
from benchmarks.drawing_quality.slits import slits_of
from benchmarks.environment import describe_environment
from runtime.command.options import parse_options
from runtime.command.ranges import Count
from runtime.errors import UserError
from runtime.vector.paths import Drawing, Kind
from runtime.vector.tidy import mean_widths, outlines, tidy

SLIVER = 5 / 600
"""Mean width, in parts of the canvas' smaller side, below which a path is a sliver."""

HIDDEN = 1e-6
"""Mean squared error that the absence of a hidden path makes at most."""

SIDE = 256
"""Smallest side in pixels at which pictures are compared."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is traced and measured."""

    samples: Path | None = None
    """Folder of PNG files to trace."""
    drawings: Path | None = None
    """Folder of SVG files to measure as they are."""
    limit: Count = 24
    """Files of a folder that are taken, from the first by name."""
    sheet: Path | None = None
    """PNG file to write: each sample, ours, ours tidied, vtracer's."""


@dataclass(frozen=True)
class Quality:
    """Measures of one drawing, or means of several."""

    paths: float
    nodes: float
    slivers: float
    """Share of the paths."""
    turning: float
    """Full turns a path."""
    hidden: float
    """Share of the paths."""
    colours: float
    slits: float
    """Square pixels of a canvas of 128; see `slits_of`."""
    error: float
    """Mean squared error from the sample; NaN where there is none."""


def turning_of(outline: Float[Tensor, "N 2"]) -> float:
    """Return the sum of a closed polygon's changes of direction, in full turns."""
    edges = outline.roll(-1, 0) - outline
    edges = edges[edges.norm(dim=1) > 1e-9]
    following = edges.roll(-1, 0)
    cross = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    return float(torch.atan2(cross, (edges * following).sum(1)).abs().sum()) / (2 * math.pi)


def quality_of(drawing: Drawing, sample: Float[Tensor, "3 H W"] | None = None) -> Quality:
    """Return the measures of a drawing of one scene; strokes have no turning."""
    from runtime.vector.raster import rasterize

    layout, count = drawing.layout, max(1, drawing.layout.num_paths)
    factor = math.ceil(SIDE / min(drawing.size))
    size = (drawing.size[0] * factor, drawing.size[1] * factor)
    with torch.no_grad():
        whole = rasterize(drawing, size)
        hidden = 0
        for path in range(layout.num_paths):
            rest = drawing.select([other for other in range(layout.num_paths) if other != path])
            hidden += bool((rasterize(rest, size) - whole).square().mean() < HIDDEN)
    fills = [path for path, kind in enumerate(layout.kinds) if kind != Kind.STROKE]
    turns = [sum(map(turning_of, outlines(drawing, path))) for path in fills]
    colours = {tuple(colour) for colour in (drawing.colours[0, :, :3] * 255).round().int().tolist()}
    error = math.nan
    if sample is not None:
        target = torch.nn.functional.interpolate(sample[None], size, mode="bilinear", antialias=True)
        error = float((whole - target).square().mean())
    return Quality(
        paths=layout.num_paths,
        nodes=sum(max(n, 4) if n == 0 else n for contours in layout.contours for n in contours),
        slivers=float((mean_widths(drawing) < SLIVER * min(drawing.size)).sum()) / count,
        turning=sum(turns) / max(1, len(turns)),
        hidden=hidden / count,
        colours=len(colours),
        slits=slits_of(drawing),
        error=error,
    )


def mean_of(measured: list[Quality]) -> Quality:
    """Return the means of measures."""
    return Quality(
        *(sum(values) / len(values) for values in zip(*(vars(one).values() for one in measured), strict=True))
    )


def traced(sample: Float[Tensor, "3 H W"], tracer: str = "contours") -> Drawing:
    """Return a sample as text to SVG traces it before it refines it by distillation."""
    from runtime.loop.optimize import optimize
    from runtime.vector.scene import VectorScene
    from runtime.vectorfusion import PRESETS
    from runtime.vectorfusion.stages import trace

    scene = optimize(trace(replace(PRESETS["icon"]["trace"], tracer=tracer), sample)[0], seed=0)
    assert isinstance(scene, VectorScene)
    return scene.drawing().detach().clone()


def traced_by_vtracer(sample: Float[Tensor, "3 H W"]) -> Drawing:
    """Return a sample as vtracer traces it.

    Raises:
        UserError: it is not installed.
    """
    from runtime.pictures import write_png
    from runtime.vector.svg import read_svg

    try:
        import vtracer  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("vtracer: expected the package, got none; install it with 'pip install vtracer'") from None
    with tempfile.TemporaryDirectory() as folder:
        write_png(Path(folder) / "a.png", sample)
        vtracer.convert_image_to_svg_py(str(Path(folder) / "a.png"), str(Path(folder) / "a.svg"))
        drawing = read_svg(Path(folder) / "a.svg")
    # Its first path is the paper itself.
    return replace(drawing, background=torch.ones_like(drawing.background))


WAYS: dict[str, Callable[[Tensor], Drawing]] = {
    "ours": traced,
    "ours, tidied": lambda sample: tidy(traced(sample)),
    "LIVE": lambda sample: traced(sample, "live"),
    "vtracer": traced_by_vtracer,
}
"""Ways to trace a picture."""


def files_of(folder: Path, suffix: str, limit: int) -> list[Path]:
    """Return files of a folder, by name.

    Raises:
        UserError: there is none.
    """
    files = sorted(folder.glob(f"*{suffix}"))[:limit] if folder.is_dir() else []
    if not files:
        raise UserError(f"'{folder}': expected a folder of {suffix} files, got none")
    return files


def rows_of(config: Config) -> Iterator[tuple[str, Quality]]:
    """Yield the means of each way, and of the drawings as they are."""
    from runtime.pictures import read_png, write_png
    from runtime.vector.raster import rasterize
    from runtime.vector.svg import read_svg

    if config.samples is not None:
        pictures = [read_png(file) for file in files_of(config.samples, ".png", config.limit)]
        columns = [torch.nn.functional.interpolate(picture[None], (SIDE, SIDE)) for picture in pictures]
        for name, way in WAYS.items():
            drawings = [way(picture) for picture in pictures]
            columns += [rasterize(drawing, (SIDE, SIDE)) for drawing in drawings]
            pairs = zip(drawings, pictures, strict=True)
            yield name, mean_of([quality_of(drawing, picture) for drawing, picture in pairs])
        if config.sheet is not None:
            rows = [torch.cat(columns[i :: len(pictures)], -1)[0] for i in range(len(pictures))]
            write_png(config.sheet, torch.cat(rows, -2).detach())
    if config.drawings is not None:
        drawings = [read_svg(file) for file in files_of(config.drawings, ".svg", config.limit)]
        yield str(config.drawings), mean_of([quality_of(drawing) for drawing in drawings])


def main() -> None:
    """Trace, measure, print."""
    config = parse_options(Config, "benchmarks.drawing_quality", description=benchmarks.drawing_quality.__doc__)
    if config.samples is None and config.drawings is None:
        raise UserError("expected --samples FOLDER or --drawings FOLDER, got neither")
    print(describe_environment())
    print("| drawings | paths | nodes | slivers | turns a path | hidden | colours | slits | error x 1000 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, q in rows_of(config):
        shares = f"{q.slivers:.1%} | {q.turning:.2f} | {q.hidden:.1%} | {q.colours:.1f} | {q.slits:.2f}"
        print(f"| {name} | {q.paths:.1f} | {q.nodes:.0f} | {shares} | {1000 * q.error:.2f} |")
