"""What VectorFusion writes: the SVG, its PNG, and snapshots on the way."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command.outputs import VIDEO_SUFFIXES
from runtime.command.seeds import parse_seeds
from runtime.vector.history import write_history
from runtime.vector.results import Finish, write_drawing
from runtime.vector.scene import VectorScene
from runtime.vector.svg import write_svg
from runtime.vectorfusion.config import SHEET, is_retraced, steps_of
from runtime.vectorfusion.seeds import best_first, write_sheet
from runtime.version import __version__

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle
    from runtime.vectorfusion.config import Config


def write(config: "Config", bundle: "DiffusionBundle", scene: VectorScene, out: Path) -> list[Path]:
    """Write a scene as an SVG, as a PNG beside it and, where it is asked for, as two films; return the paths."""
    finish = Finish(tidy=config.tidy, layers=config.layers, transparent=config.transparent)
    if config.seeds:
        return _write_several(config, bundle, scene, out, finish)
    metadata = metadata_of(config, bundle)
    files = write_drawing(scene.drawing(), out, metadata=metadata, backend=config.rasterizer, finish=finish)
    if config.video:
        film, animation = (out.with_suffix(suffix) for suffix in VIDEO_SUFFIXES)
        files += write_history(scene, film, animation)
    return files


def _write_several(
    config: "Config", bundle: "DiffusionBundle", scene: VectorScene, out: Path, finish: Finish
) -> list[Path]:
    """Write the best of several drawings, a contact sheet with the best first, and each under its seed."""
    ranked = [
        (seed, finish.apply(drawing, config.rasterizer))
        for seed, drawing in best_first(config, bundle, parse_seeds(config.seeds), scene)
    ]
    files = []
    for seed, drawing in ranked:
        metadata = metadata_of(replace(config, seed=seed), bundle)
        file = out.with_suffix(f".seed-{seed}.svg")
        finish.write(drawing, file, metadata)
        if not files:
            files = write_drawing(
                drawing, out, metadata=metadata, backend=config.rasterizer, finish=replace(finish, tidy=False)
            )
        files.append(file)
    sheet = out.with_suffix(SHEET)
    write_sheet(sheet, [drawing for _, drawing in ranked], config.rasterizer)
    return [*files, sheet]


def snapshot(config: "Config", bundle: "DiffusionBundle", scene: VectorScene, stem: Path) -> Path:
    """Write a scene on the way as an SVG; return its path."""
    file = stem.with_name(f"{stem.name}.svg")
    write_svg(file, scene.drawing(), metadata=metadata_of(config, bundle))
    return file


def metadata_of(config: "Config", bundle: "DiffusionBundle") -> dict[str, str]:
    """Return what an SVG says of how it was made; equal runs say the same."""
    names = ("prompt", "preset", "route", "seed")
    refined = {"refined": "retraced"} if is_retraced(config) else {"steps": steps_of(config), "omega": config.omega}
    origin = {"generator": f"tgm {__version__}", "bundle": f"{bundle.name} {bundle.digest[:12]}"}
    own = {name: getattr(config, name) for name in names} | refined
    return {name: str(value) for name, value in own.items()} | origin
