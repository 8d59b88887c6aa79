"""Complete pictures, or draw them, in any order of their pixels: a locally masked PixelCNN and a cached sampler.

    python -m runtime.lmconv complete digit.png --hide top --samples 4
    python -m runtime.lmconv sample --count 16 --order hilbert --video

Thesis chapters 2 and 8 (LMConv; arXiv:2006.12486). Every hidden pixel is drawn from all that is observed and from the
hidden pixels before it. Both write a sheet, a PNG file.
"""

from runtime.command.method import Method, later
from runtime.command.run import main_of
from runtime.lmconv.config import Complete, Sample, completed_from, sampled_from

__all__ = ["COMPLETE", "SAMPLE", "Complete", "Sample", "main"]

COMPLETE: Method[Complete] = Method(
    name="lmconv complete",
    config=Complete,
    kind="lmconv",
    build=later("runtime.lmconv.stages", "build_complete"),
    write=later("runtime.lmconv.output", "write_completions"),
    validate=later("runtime.lmconv.stages", "validate_complete"),
    stem=lambda config: f"{config.picture.stem}-completed",
    inputs=completed_from,
)
"""Completion, for `runtime.draw`."""

SAMPLE: Method[Sample] = Method(
    name="lmconv sample",
    config=Sample,
    kind="lmconv",
    build=later("runtime.lmconv.stages", "build_sample"),
    write=later("runtime.lmconv.output", "write_samples"),
    validate=later("runtime.lmconv.stages", "validate_sample"),
    suffixes=lambda config: (".png", ".gif") if config.video else (".png",),
    stem=lambda config: "sample",
    inputs=sampled_from,
)
"""Sampling of whole pictures, for `runtime.draw`."""

main = main_of(COMPLETE, SAMPLE)
