"""One to three pictures to 3D: a field that is conditioned on them, as a mesh, a film and a sheet of views.

    python -m runtime.pixelnerf chair.png
    python -m runtime.pixelnerf front.png --second right.png --second-at 90

Thesis 3.5.2 (pixelNeRF; arXiv:2012.02190). A network that has seen many objects from all sides guesses the sides that
the picture does not show; it takes seconds on a CPU.
"""

from runtime.command.method import Method, later
from runtime.command.run import main_of
from runtime.pixelnerf.config import Config, check, inputs

__all__ = ["METHOD", "Config", "main"]

METHOD: Method[Config] = Method(
    name="pixelnerf",
    config=Config,
    kind="pixelnerf",
    build=later("runtime.pixelnerf.stages", "build"),
    write=later("runtime.pixelnerf.output", "write"),
    validate=later("runtime.pixelnerf.stages", "validate"),
    suffixes=lambda config: (".glb", ".mp4", ".png"),
    stem=lambda config: f"{config.picture.stem}-3d",
    check=check,
    inputs=inputs,
)
"""One picture to 3D, for `runtime.draw`."""

main = main_of(METHOD)
"""`python -m runtime.pixelnerf`."""
