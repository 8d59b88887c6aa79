"""Trace a raster picture as an SVG of closed paths, layer by layer (LIVE; thesis 6.4.1).

    python -m runtime.vectorize picture.png --paths 64 --out picture.svg

Deterministic: the same picture and options give the same file.
"""

from runtime.command.method import Method, later
from runtime.command.run import main_of
from runtime.vectorize.config import Config

__all__ = ["METHOD", "Config", "main"]

METHOD: Method[Config] = Method(
    name="vectorize",
    config=Config,
    build=later("runtime.vectorize.stages", "build"),
    write=later("runtime.vectorize.output", "write"),
    snapshot=later("runtime.vectorize.output", "snapshot"),
    validate=later("runtime.vectorize.stages", "validate"),
    suffixes=lambda config: (".svg",),
    stem=lambda config: config.picture.stem,
    inputs=lambda config: {"picture": config.picture},
)
"""Tracing, for `runtime.draw`."""

main = main_of(METHOD)
