"""`python -m export clip`: image and text encoders of open_clip into a bundle."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Put image and text encoders of open_clip into a bundle, for choosing among samples."""

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


def run_clip(options: Clip) -> int:
    """Write the encoders into the bundle and print its sizes."""
    add("clip", options.model, options.pretrained, options.into, options.precision, options.tokenizer)
    return 0


def add(exporter: str, model: str, pretrained: str, into: Path, precision: str, tokenizer: Path | None = None) -> None:
    """Write encoders of open_clip or timm into a bundle and print its sizes; arguments as the options of both."""
    from export.pretrained.packages import require

    require("onnx", "onnxscript")
    from export.clip.into import add_encoders
    from export.clip.sources import load_encoder
    from export.write.sizes import format_sizes
    from runtime.engines.precision import Storage

    source = load_encoder(exporter, model, pretrained, tokenizer=tokenizer)
    add_encoders(source, into, partial(print, flush=True), precision=Storage(precision))
    print(format_sizes(into))
