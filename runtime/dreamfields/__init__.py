"""Text to 3D by an image-text encoder alone: a field is optimized until it fits the prompt from all around.

    python -m runtime.dreamfields "a red apple"
    python -m runtime.dreamfields "a red apple" --preset thesis --bundle BUNDLE_WITH_CLIP

Thesis chapters 4 and 10 (Dream Fields; arXiv:2112.01455). Each of its priors is an option. It writes a GLB, an MP4, a
JSON, and a run folder; for the baseline `--field pixels`, which is flat, a PNG and a JSON.
"""

from runtime.command.method import Method, later
from runtime.command.prompts import stem_of
from runtime.command.run import main_of
from runtime.dreamfields.config import Config, check, preset_config

__all__ = ["METHOD", "Config", "main", "preset_config"]

METHOD: Method[Config] = Method(
    name="dreamfields",
    config=Config,
    kind="latent-diffusion",
    build=later("runtime.dreamfields.stages", "build"),
    write=later("runtime.dreamfields.output", "write"),
    snapshot=later("runtime.dreamfields.output", "snapshot"),
    validate=later("runtime.dreamfields.stages", "validate"),
    suffixes=lambda config: (".png", ".json") if config.field == "pixels" else (".glb", ".mp4", ".json"),
    stem=lambda config: stem_of(config.prompt, "object", article=False),
    default=lambda chosen: preset_config(chosen["preset"], chosen["field"]),
    selectors=("preset", "field"),
    check=check,
)
"""Dream Fields, for `runtime.draw`."""

main = main_of(METHOD)
"""`python -m runtime.dreamfields`."""
