"""What `runtime.nerf` writes: figures, a film, a mesh, and pictures on the way."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from runtime.field.cameras import Cameras
from runtime.field.pictures import look
from runtime.field.quality import psnr, ssim
from runtime.field.results import Field, Orbit, Surface, write_model, write_turntable
from runtime.files import replace_file
from runtime.nerf.scenes import Split, box
from runtime.pictures import write_png
from runtime.version import __version__

if TYPE_CHECKING:
    from runtime.nerf.config import Config

SNAPSHOT_VIEWS = 4
"""Cameras of a picture on the way."""
SNAPSHOT_SIDE = 128

MEASURED = 25
"""Most pictures that networks are measured on, as in the thesis (3.5), and grids where none is held out: what was
trained on says little, and a capture may have thousands."""

HELD_OUT = 200
"""Most held-out pictures that grids are measured on, as many as NeRF's scenes have test pictures."""


def write(config: "Config", bundle: None, scene: Field, out: Path) -> list[Path]:
    """Write a mesh, a film of it, and figures of held-out pictures; return the paths."""
    film, figures = out.with_suffix(".mp4"), out.with_suffix(".json")
    split = Split.of(config)
    report = figures_of(config, scene, split)
    around = Orbit.of(split.capture.cameras)
    write_turntable(scene, film, around, background=0.0 if config.background == "black" else 1.0)
    report["mesh"] = write_model(scene, surface_of(scene, split), out)
    replace_file(figures, json.dumps(report, indent=1) + "\n")
    return [out, film, figures]


def surface_of(scene: Field, split: Split) -> Surface:
    """Return the surface that the cameras of a capture's training pictures see."""
    return Surface.seen(scene, box(), split.capture.cameras.select(split.train))


def figures_of(config: "Config", scene: Field, split: Split) -> dict[str, object]:
    """Return PSNR and SSIM of each held-out picture and their means; without held-out pictures, of those trained on."""
    measured = split.held_out or split.train
    # Networks take minutes a picture: as many as the thesis measures, one ray a pixel.
    samples = 2 if config.preset == "fast" else 1
    most = HELD_OUT if config.preset == "fast" and split.held_out else MEASURED
    # Evenly spread over the capture.
    measured = measured[:: max(1, -(-len(measured) // most))]
    cameras = split.capture.cameras
    rows = []
    for index in measured:
        height, width = cameras.sizes[index].tolist()
        truth = split.capture.rgba([index], (height, width))[0]
        grey = 0.0 if config.background == "black" else 1.0
        truth = truth[..., :3] * truth[..., 3:] + (1 - truth[..., 3:]) * grey
        shown = look(scene.render, cameras, index, samples=samples).on(grey)
        rows.append({"picture": split.capture.names[index], "psnr": psnr(shown, truth), "ssim": ssim(shown, truth)})
    return {
        "version": f"tgm {__version__}",
        "measured_on": "held-out pictures" if split.held_out else "pictures that were trained on",
        "psnr": sum(row["psnr"] for row in rows) / len(rows),
        "ssim": sum(row["ssim"] for row in rows) / len(rows),
        "pictures": rows,
    }


def snapshot(config: "Config", bundle: None, scene: Field, stem: Path) -> Path:
    """Write a scene on the way from some of its cameras, as a row of pictures; return its path."""
    split = Split.of(config)
    file = stem.with_name(f"{stem.name}.png")
    cameras = small(split.capture.cameras)
    chosen = (split.held_out or split.train)[:: max(1, len(split.held_out or split.train) // SNAPSHOT_VIEWS)]
    row = [look(scene.render, cameras, index, samples=1).on(1.0) for index in chosen[:SNAPSHOT_VIEWS]]
    write_png(file, torch.cat(row, 1).permute(2, 0, 1))
    return file


def small(cameras: Cameras) -> Cameras:
    """Return cameras of pictures that are small enough for a look on the way."""
    longest = int(cameras.sizes.max())
    return cameras if longest <= SNAPSHOT_SIDE else cameras.scaled(SNAPSHOT_SIDE / longest)
