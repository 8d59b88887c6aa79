"""Tracing as a method."""

from runtime.command.method import Method, later
from runtime.command.outputs import VIDEO_SUFFIXES
from runtime.vectorize.config import Config

METHOD: Method[Config] = Method(
    name="vectorize",
    config=Config,
    build=later("runtime.vectorize.stages", "build"),
    write=later("runtime.vectorize.output", "write"),
    snapshot=later("runtime.vectorize.output", "snapshot"),
    validate=later("runtime.vectorize.stages", "validate"),
    suffixes=lambda config: (".svg", *(VIDEO_SUFFIXES if config.video else ())),
    stem=lambda config: config.picture.stem,
    inputs=lambda config: {"picture": config.picture},
)
"""Tracing, for `runtime.draw`."""
