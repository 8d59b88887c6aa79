"""`python -m export clip` and `python -m export timm`: image encoders, with or without text, into a bundle."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Put the image and text encoders of an open_clip model into a bundle, for choosing among samples."""

    model: str = "ViT-B-16"
    """open_clip's name: ViT-B-32, ViT-B-16, ViT-L-14, ViT-H-14, convnext_base_w; with -quickgelu for OpenAI's weights;
    or tiny-clip, a small twin."""
    pretrained: str
    """open_clip's name of weights such as laion2b_s34b_b88k (downloaded), owner/name on the hub, a .safetensors file, a
    folder with one, or random: and a seed."""
    into: Path
    """Folder of the bundle."""
    precision: Literal["float16", "bfloat16", "float32"] = "float16"
    """What products are computed in and weights stored in; normalizations and softmax stay in float32."""
    tokenizer: Path | None = None
    """Folder with CLIP's vocab.json and merges.txt, where the weights come without."""


@dataclass(frozen=True, kw_only=True)
class Timm:
    """Put an image encoder of timm into a bundle, such as one trained on ImageNet; it has no text encoder."""

    model: str = "vit_base_patch16_224"
    """timm's name of a ViT, or tiny-vit, a small twin."""
    pretrained: str
    """timm's name of weights such as augreg_in21k_ft_in1k (downloaded), owner/name on the hub, a .safetensors file, a
    folder with one, or random: and a seed."""
    into: Path
    """Folder of the bundle."""
    precision: Literal["float16", "bfloat16", "float32"] = "float16"
    """What products are computed in and weights stored in; normalizations and softmax stay in float32."""


def run_encoders(options: Clip | Timm) -> int:
    """Write the encoders into the bundle and print its sizes."""
    from export.pretrained.packages import require

    require("onnx", "onnxscript")
    from export.clip.into import add_encoders
    from export.clip.sources import load_encoder
    from export.write.bundle import format_sizes

    exporter = "clip" if isinstance(options, Clip) else "timm"
    tokenizer = options.tokenizer if isinstance(options, Clip) else None
    source = load_encoder(exporter, options.model, options.pretrained, tokenizer=tokenizer)
    add_encoders(source, options.into, partial(print, flush=True), precision=options.precision)
    print(format_sizes(options.into))
    return 0
