"""Draw pictures with a denoising diffusion model of pixels, blend and complete them, and code them in few bits.

    python -m runtime.ddpm sample --count 16 --sampler dpm++ --steps 25 --video
    python -m runtime.ddpm interpolate a.png b.png
    python -m runtime.ddpm complete picture.png --hide top
    python -m runtime.ddpm codec picture.png --bits 0.5

Thesis 5.0.1 (DDPM; arXiv:2006.11239). Each writes a sheet, a PNG file.
"""

from collections.abc import Mapping
from pathlib import Path

from runtime.command.method import Method, later
from runtime.command.run import main_of
from runtime.ddpm.config import Codec, Complete, Interpolate, Sample, coded_from, interpolated_from

__all__ = ["CODEC", "COMPLETE", "INTERPOLATE", "SAMPLE", "Codec", "Complete", "Interpolate", "Sample", "main"]


def completed_from(config: Complete) -> Mapping[str, Path]:
    """Return the files that a completion reads, by option."""
    from runtime.pixels.regions import REGIONS

    files = {"picture": config.picture}
    if config.hide not in REGIONS:
        files["hide"] = Path(config.hide)
    return files if config.truth is None else {**files, "truth": config.truth}


SAMPLE: Method[Sample] = Method(
    name="ddpm sample",
    config=Sample,
    kind="ddpm",
    build=later("runtime.ddpm.stages", "build_sample"),
    write=later("runtime.ddpm.output", "write_samples"),
    validate=later("runtime.ddpm.stages", "validate_steps"),
    suffixes=lambda config: (".png", ".gif") if config.video else (".png",),
    stem=lambda config: "sample",
)
"""Sampling, for `runtime.draw`."""

INTERPOLATE: Method[Interpolate] = Method(
    name="ddpm interpolate",
    config=Interpolate,
    kind="ddpm",
    build=later("runtime.ddpm.stages", "build_interpolation"),
    write=later("runtime.ddpm.output", "write_interpolation"),
    validate=later("runtime.ddpm.stages", "validate_interpolation"),
    stem=lambda config: f"{config.first.stem}-interpolated",
    inputs=interpolated_from,
)
"""Blends of two pictures, for `runtime.draw`."""

COMPLETE: Method[Complete] = Method(
    name="ddpm complete",
    config=Complete,
    kind="ddpm",
    build=later("runtime.ddpm.stages", "build_completion"),
    write=later("runtime.ddpm.output", "write_completions"),
    validate=later("runtime.ddpm.stages", "validate_completion"),
    stem=lambda config: f"{config.picture.stem}-completed",
    inputs=completed_from,
)
"""Completion, for `runtime.draw`."""

CODEC: Method[Codec] = Method(
    name="ddpm codec",
    config=Codec,
    kind="ddpm",
    build=later("runtime.ddpm.codec", "build_codec"),
    write=later("runtime.ddpm.codec", "write_code"),
    validate=later("runtime.ddpm.codec", "validate_codec"),
    suffixes=lambda config: (".png",) if config.decodes else (".png", ".ddpm"),
    stem=lambda config: f"{config.picture.stem}-{'decoded' if config.decodes else 'coded'}",
    inputs=coded_from,
)
"""Coding and decoding, for `runtime.draw`."""

main = main_of(SAMPLE, INTERPOLATE, COMPLETE, CODEC)
