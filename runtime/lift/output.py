"""What `runtime.lift` writes: a mesh, a film, figures, and pictures on the way."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.errors import UserError
from runtime.field.fields.grid import DenseGrid
from runtime.field.meshes import describe, extract_surface, keep_pieces
from runtime.field.pictures import look
from runtime.field.results import Orbit, level_of, write_model, write_turntable
from runtime.field.sheets import contact_sheet
from runtime.files import replace_file
from runtime.lift.config import text_of
from runtime.pictures import write_png
from runtime.version import __version__

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle
    from runtime.lift.config import Config

AROUND = Orbit(frames=8, elevation=0.3, side=128)
"""The views that are measured and shown on the way, evenly around."""

SNAPSHOT_SIDE = 96


def write(config: "Config", bundle: "DiffusionBundle", scene: DenseGrid, out: Path) -> list[Path]:
    """Write a mesh, a film of it, and figures; return the paths."""
    film, figures = out.with_suffix(".mp4"), out.with_suffix(".json")
    report = {"version": f"tgm {__version__}", "prompt": config.prompt, **shape_of(scene)}
    report["cosines"] = cosines(config, bundle, scene)
    write_turntable(scene, film, Orbit())
    report["mesh"] = write_model(scene, scene.box, out).to_json()
    replace_file(figures, json.dumps(report, indent=1) + "\n")
    return [out, film, figures]


def shape_of(scene: DenseGrid) -> dict[str, object]:
    """Return what tells a solid from a billboard or a cloud of pieces.

    `largest_piece`: share of the largest piece in the volume of all; `volume_over_box`: share of the bounding box that
    is filled; `depth_over_width`: of the bounding box, seen from in front; `watertight`: whether the surface is closed.
    All are of the surface before floaters are taken away and faces are fewer.
    """
    raw = scene.raw_density()
    surface = extract_surface(raw, level=level_of(raw), low=scene.box[:3], side=scene.side)
    whole, largest = describe(surface), describe(keep_pieces(surface, 1.0))
    size = (surface.vertices.max(0) - surface.vertices.min(0)).tolist()
    return {
        "largest_piece": largest.volume / whole.volume,
        "volume_over_box": whole.volume / (size[0] * size[1] * size[2]),
        "depth_over_width": size[0] / size[1],
        "watertight": whole.watertight,
    }


def views(scene: DenseGrid, around: Orbit) -> Float[Tensor, "F 3 S S"]:
    """Return pictures of a scene from around it, the first from in front."""
    cameras = around.cameras()
    pictures = [look(scene.render, cameras, view, samples=1).on(1.0) for view in range(len(cameras))]
    return torch.stack(pictures).permute(0, 3, 1, 2)


def cosines(config: "Config", bundle: "DiffusionBundle", scene: DenseGrid) -> list[dict[str, float]] | None:
    """Return how well each view fits the text, by the bundle's dual encoder; None without a text or such an encoder."""
    text = text_of(config)
    try:
        scorer = bundle.scorer()
    except UserError:
        return None
    if not text:
        return None
    with torch.no_grad():
        scores = scorer(views(scene, AROUND), [text])[:, 0]
    return [{"azimuth": 360.0 * view / len(scores), "cosine": float(score)} for view, score in enumerate(scores)]


def snapshot(config: "Config", bundle: "DiffusionBundle", scene: DenseGrid, stem: Path) -> Path:
    """Write a scene on the way, seen from eight sides, as a PNG; return its path."""
    file = stem.with_name(f"{stem.name}.png")
    around = Orbit(frames=AROUND.frames, elevation=AROUND.elevation, side=SNAPSHOT_SIDE)
    write_png(file, contact_sheet(list(views(scene, around)), 4))
    return file
