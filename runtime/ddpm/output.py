"""What `runtime.ddpm` writes: sheets, and a moving picture of how pictures appear."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from runtime.ddpm.pictures import square_sheet, to_rgb
from runtime.ddpm.stages import Observed, PictureScene
from runtime.pictures import write_png
from runtime.pixels.sheets import COLUMNS, sheet, tinted, write_gif

if TYPE_CHECKING:
    from runtime.ddpm.config import Complete, Interpolate, Sample
    from runtime.engines.bundle import DdpmBundle


def write_samples(config: "Sample", bundle: "DdpmBundle", scene: PictureScene, out: Path) -> list[Path]:
    """Write the sheet of pictures and, if asked for, the moving picture; return their paths."""
    write_png(out, square_sheet(scene.pictures))
    if not config.video:
        return [out]
    video = out.with_suffix(".gif")
    write_gif(video, [square_sheet(frame.float() / 127.5 - 1.0) for frame in scene.frames])
    return [out, video]


def write_interpolation(config: "Interpolate", bundle: "DdpmBundle", scene: PictureScene, out: Path) -> list[Path]:
    """Write the sheet of a blend, in one row; return its path."""
    write_png(out, sheet(to_rgb(scene.pictures), len(scene.pictures)))
    return [out]


def write_completions(config: "Complete", bundle: "DdpmBundle", scene: PictureScene, out: Path) -> list[Path]:
    """Write the sheet of a completion: what is observed, what was drawn, the truth where there is one."""
    observed = Observed.of(config, bundle)
    cells = [tinted(to_rgb(observed.x), observed.hidden.numpy()), to_rgb(scene.pictures)]
    if observed.truth is not None:
        cells.append(to_rgb(observed.truth))
    write_png(out, sheet(torch.cat(cells), COLUMNS))
    return [out]
