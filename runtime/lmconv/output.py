"""What `runtime.lmconv` writes: a sheet, and a moving picture of how pixels were drawn."""

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.lmconv.sheets import complete_sheet, sample_sheet, write_video
from runtime.lmconv.stages import Observed, PixelScene, order_of
from runtime.pictures import write_png

if TYPE_CHECKING:
    from runtime.engines.bundle import LMConvBundle
    from runtime.lmconv.config import Complete, Sample


def write_completions(config: "Complete", bundle: "LMConvBundle", scene: PixelScene, out: Path) -> list[Path]:
    """Write the sheet of a completion; return its path."""
    observed = Observed.of(config, bundle.manifest)
    write_png(out, complete_sheet(observed.levels, scene.levels, observed.truth, observed.hidden, bundle.manifest))
    return [out]


def write_samples(config: "Sample", bundle: "LMConvBundle", scene: PixelScene, out: Path) -> list[Path]:
    """Write the sheet of whole pictures and, if asked for, the moving picture; return their paths."""
    write_png(out, sample_sheet(scene.levels, bundle.manifest))
    if not config.video:
        return [out]
    video = out.with_suffix(".gif")
    write_video(video, scene.levels, order_of(config, bundle.manifest), bundle.manifest)
    return [out, video]
