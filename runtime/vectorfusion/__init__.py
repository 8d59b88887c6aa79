"""Text to SVG: a drawing is optimized until a frozen latent diffusion model sees in it what the prompt says.

    python -m runtime.vectorfusion "a red apple"

Thesis chapter 6 (VectorFusion; arXiv:2211.11319). From scratch, or, by default, from the best of K raster samples:
traced, cleaned by the model and traced anew, or refined by score distillation. It writes an SVG, its PNG, and a run
folder.
"""

from runtime.command.method import Method, later
from runtime.command.prompts import stem_of
from runtime.command.run import main_of
from runtime.vectorfusion.config import (
    PRESETS,
    SDS_FROM_SCRATCH,
    Config,
    check,
    networks,
    preset_config,
    suffixes,
)

__all__ = ["METHOD", "PRESETS", "SDS_FROM_SCRATCH", "Config", "main"]

METHOD: Method[Config] = Method(
    name="vectorfusion",
    config=Config,
    kind="latent-diffusion",
    build=later("runtime.vectorfusion.stages", "build"),
    write=later("runtime.vectorfusion.output", "write"),
    snapshot=later("runtime.vectorfusion.output", "snapshot"),
    validate=later("runtime.vectorfusion.stages", "validate"),
    suffixes=suffixes,
    stem=lambda config: stem_of(config.prompt, "drawing"),
    default=lambda chosen: preset_config(chosen["preset"], chosen["route"]),
    selectors=("preset", "route"),
    check=check,
    networks=networks,
    inputs=lambda config: {} if config.init is None else {"init": config.init},
)
"""VectorFusion, for `runtime.draw`."""

main = main_of(METHOD)
