"""Text to 3D, or one picture to 3D: a picture is inflated to a solid and refined by a frozen diffusion model.

    python -m runtime.lift "a red apple"
    python -m runtime.lift photo-of-a-mug.png

A raster sample gives the front; parts by colour and a Poisson equation give the depth; score distillation from all
around (arXiv:2209.14988; thesis chapter 5) improves what no picture shows. It writes a GLB, an MP4, a JSON, and a run
folder.
"""

from runtime.command.method import Method, later
from runtime.command.run import main_of
from runtime.lift.config import Config, check, inputs, stem

__all__ = ["METHOD", "Config", "main"]

METHOD: Method[Config] = Method(
    name="lift",
    config=Config,
    kind="latent-diffusion",
    build=later("runtime.lift.stages", "build"),
    write=later("runtime.lift.output", "write"),
    snapshot=later("runtime.lift.output", "snapshot"),
    validate=later("runtime.lift.stages", "validate"),
    suffixes=lambda config: (".glb", ".mp4", ".json"),
    stem=stem,
    check=check,
    inputs=inputs,
)
"""Text and pictures to 3D, for `runtime.draw`."""

main = main_of(METHOD)
