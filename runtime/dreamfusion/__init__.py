"""Text to 3D by DreamFusion: a field whose pictures from all sides a frozen diffusion model takes for the prompt.

    python -m runtime.dreamfusion "a mushroom"
    python -m runtime.dreamfusion "a mushroom" --preset thesis --bundle bundles/sd15

Score distillation from random cameras (arXiv:2209.14988; thesis chapter 5), on a grid whose rays are marched by
compiled kernels, or on the paper's network. The diffusion model works on latents, or on pixels as the paper's does. It
writes a GLB, an MP4, a JSON, and a run folder.
"""

from runtime.command.method import Method, later
from runtime.command.run import main_of
from runtime.dreamfusion.config import Config, check, preset_config, stem

__all__ = ["METHOD", "Config", "main"]

METHOD: Method[Config] = Method(
    name="dreamfusion",
    config=Config,
    kind="latent-diffusion",
    also=("ddpm",),
    build=later("runtime.dreamfusion.stages", "build"),
    write=later("runtime.dreamfusion.output", "write"),
    snapshot=later("runtime.dreamfusion.output", "snapshot"),
    validate=later("runtime.dreamfusion.stages", "validate"),
    suffixes=lambda config: (".glb", ".mp4", ".json"),
    stem=stem,
    default=lambda chosen: preset_config(chosen["preset"]),
    selectors=("preset",),
    check=check,
)
"""Text to 3D, for `runtime.draw`."""

main = main_of(METHOD)
"""`python -m runtime.dreamfusion`."""
