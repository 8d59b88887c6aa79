"""`python -m export sd`: a Stable Diffusion to a bundle."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Sd:
    """Write the bundle of a Stable Diffusion 1.x, 2.x, XL or turbo model and print its sizes.

    The prompt "!" is a word here, as in open_clip; in transformers it is padding for SD 2.x and XL's second encoder.
    """

    weights: str
    """Folder of diffusers, a .safetensors file, owner/name on the hub (which is then downloaded), or random: and one of
    sd15, sd21, sd21-base, sd-turbo, sdxl, sdxl-turbo, or of these with tiny- in front, for random weights."""
    out: Path
    """Folder of the bundle, whose name the bundle takes; a bundle that is there is replaced at the end."""
    precision: Literal["float16", "bfloat16", "float32"] = "float16"
    """What text encoders and U-Net compute in and are stored in, but for normalizations and softmax, which are in
    float32 as the autoencoder is. ONNX Runtime runs bfloat16 on CUDA only."""
    size: int | None = None
    """Height and width of the pictures, pixels, a multiple of 64; by default what the model was trained on."""
    seed: int = 0
    """Of random weights, 0 to 2^31 - 1."""
    family: str | None = None
    """Configuration of a single file that fits several: sd21, sd21-base, sd-turbo, sdxl-turbo."""
    tokenizer: Path | None = None
    """Folder with CLIP's vocab.json and merges.txt, for a single file."""
    licence: str = ""
    """SPDX expression of the weights' licence."""


def run_sd(options: Sd) -> int:
    """Write the bundle and print its sizes."""
    # A folder has both of its own, and to pass over an option would let it seem to count.
    for name, value in (("--tokenizer", options.tokenizer), ("--family", options.family)):
        if value is not None and not Path(options.weights).is_file():
            raise UserError(
                f"{name}: expected where --weights is a .safetensors file only, got {options.weights!r:.200}; "
                "leave it out"
            )
    from export.pretrained.packages import require

    require("onnx", "onnxscript", "diffusers")
    from export.sd import write_sd
    from export.sd.load import load_source
    from export.write.sizes import format_sizes
    from runtime.engines.precision import Storage

    source = load_source(
        options.weights, seed=options.seed, tokenizer=options.tokenizer, family=options.family, size=options.size
    )
    precision = Storage(options.precision)
    write_sd(source, options.out, partial(print, flush=True), precision=precision, licence=options.licence)
    print(format_sizes(options.out))
    return 0
