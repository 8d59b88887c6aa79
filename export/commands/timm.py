"""`python -m export timm`: an image encoder of timm into a bundle."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from export.commands.clip import add


@dataclass(frozen=True, kw_only=True)
class Timm:
    """Put an image encoder of timm into a bundle; it has no text encoder."""

    model: str = "vit_base_patch16_224"
    """timm's name of a ViT, or tiny-vit, a small twin."""
    pretrained: str
    """timm's name of weights such as augreg_in21k_ft_in1k (downloaded), owner/name on the hub, a .safetensors file, a
    folder with one, or random: and a seed."""
    into: Path
    """Folder of the bundle."""
    precision: Literal["float16", "bfloat16", "float32"] = "float16"
    """What products are computed in and weights stored in; normalizations and softmax stay in float32."""


def run_timm(options: Timm) -> int:
    """Write the encoder into the bundle and print its sizes."""
    add("timm", options.model, options.pretrained, options.into, options.precision)
    return 0
