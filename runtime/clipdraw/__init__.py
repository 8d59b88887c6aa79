"""Text to SVG by an image-text encoder alone: strokes are moved until the encoder sees the prompt in them.

    python -m runtime.clipdraw "a red apple"

CLIPDraw (arXiv:2106.14843), the baseline of the thesis' tables 6.1 and 11.3, with its program's settings; and its forms
with filled paths (thesis 11.2) and with a grid of squares (Table 11.7). It writes an SVG, its PNG, and a run folder.
"""

from runtime.clipdraw.config import PRESETS, Config, check, preset_config
from runtime.command.method import Method, later
from runtime.command.prompts import stem_of
from runtime.command.run import main_of

__all__ = ["METHOD", "PRESETS", "Config", "main"]

METHOD: Method[Config] = Method(
    name="clipdraw",
    config=Config,
    kind="latent-diffusion",
    build=later("runtime.clipdraw.stages", "build"),
    write=later("runtime.clipdraw.output", "write"),
    snapshot=later("runtime.clipdraw.output", "snapshot"),
    validate=later("runtime.clipdraw.stages", "validate"),
    suffixes=lambda config: (".svg", ".png"),
    stem=lambda config: stem_of(config.prompt, "drawing"),
    default=lambda chosen: preset_config(chosen["preset"]),
    selectors=("preset",),
    check=check,
    inputs=lambda config: {} if config.init is None else {"init": config.init},
)
"""CLIPDraw, for `runtime.draw`."""

main = main_of(METHOD)
"""`python -m runtime.clipdraw`."""
