"""CLIP's image transformers, value and gradient by the pictures, as losses of text to picture take them."""

from collections.abc import Iterator

from benchmarks.gpu.cases.denoisers import gradient_ways
from benchmarks.gpu.clock import Row, in_ways
from benchmarks.gpu.networks import make_tower, random
from benchmarks.gpu.run import Setting

CASES = (("ViT-B-32", 4), ("ViT-B-32", 32), ("ViT-L-14", 4))
"""Models by open_clip's names, and pictures of a call; CLIPDraw augments four at a time."""


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield rows of each model."""
    for name, count in CASES[:1] if setting.tiny else CASES:
        tower, side = make_tower(name, setting)
        images = random(setting, 5, count, 3, side, side, uniform=True)
        title = f"{name}, value and gradient, {count} pictures of {side} px"
        yield from in_ways(title, gradient_ways(tower, images, setting), setting)
