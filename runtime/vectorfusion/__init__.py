"""Text to SVG: a drawing is optimized until a frozen latent diffusion model takes it for what the prompt says.

    python -m runtime.vectorfusion "a red apple"

Thesis chapter 6 (VectorFusion; arXiv:2211.11319). From scratch, or, by default, from the best of K raster samples that
LIVE traces. What comes of it is an SVG, its PNG, and a run folder.

`Config` says what to draw, `build` makes the stages for `runtime.loop.optimize.optimize` of it, `main` is the command.
"""

from typing import Any

from runtime.vectorfusion.command import main
from runtime.vectorfusion.config import PRESETS, RANGES, Config, check

__all__ = ["PRESETS", "RANGES", "Config", "check", "main"]


def __getattr__(name: str) -> Any:
    """Return `build`, which needs PyTorch, on its first use: the command's --help is spared the import."""
    if name == "build":
        from runtime.vectorfusion.stages import build

        return build
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
