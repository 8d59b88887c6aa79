"""A model in one .safetensors file, as the original code of Stable Diffusion stores it; converted without network."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from export.pretrained.names import text_from_transformers, without_prefix
from export.pretrained.tokenizer import clip_tokenizer, installed_vocabulary, read_vocabulary
from export.pretrained.weights import PICKLES, REFUSAL, SafetensorsFiles, StoredWeights, hash_files
from export.sd.configurations import PIPELINES, Pipeline
from export.sd.source import Source
from runtime.errors import UserError

UNET = "model.diffusion_model."
VAE = "first_stage_model."

# Where the first attention lies: XL has none in its first stage, so the place differs between families.
_CONTEXT = ("input_blocks.1.1", "input_blocks.2.1", "input_blocks.4.1")
# A weight that only such a file has, so that the message can say what it is.
_OTHERS = {
    "Stable Diffusion 3": "joint_blocks.0.",
    "Flux": "double_blocks.0.",
    "a LoRA": "lora_",
    "a ControlNet": "control_model.",
}
_WIDTHS = {768: ("sd15",), 1024: ("sd21", "sd21-base", "sd-turbo"), 2048: ("sdxl", "sdxl-turbo")}


def file_source(path: Path, tokenizer: Path | tuple[bytes, ...] | None, family: str | None = None) -> Source:
    """Return the model in a file.

    Args:
        path: the file.
        tokenizer: folder with CLIP's vocab.json and merges.txt, which no such file holds; or each encoder's tokenizer.
        family: name of its configuration, where the file fits several.

    Raises:
        UserError: a pickle, a truncated file, another kind of model, or what is needed besides is missing.
    """
    if path.suffix in PICKLES:
        raise UserError(f"'{path}' is refused: {REFUSAL}")
    tensors = SafetensorsFiles((path,))
    pipeline = _choose(path, tensors, family)
    tokenizers = tokenizer if isinstance(tokenizer, tuple) else _tokenizers(path, tokenizer, pipeline)
    digest = hash_files(path.parent, {"": (path,)})
    where = f"'{path}'"
    return Source(
        pipeline=pipeline,
        weights={part: StoredWeights(state, where) for part, state in _parts(tensors, pipeline).items()},
        tokenizers=tokenizers,
        record={"weights": path.name, "files": digest, "model": pipeline.family},
    )


def _tokenizers(path: Path, folder: Path | None, pipeline: Pipeline) -> tuple[bytes, ...]:
    vocabulary = read_vocabulary(folder) if folder is not None else installed_vocabulary()
    if vocabulary is None:
        raise UserError(
            f"'{path}' holds no tokenizer: name a folder with CLIP's vocab.json and merges.txt with --tokenizer, or "
            "install open_clip_torch, which has them"
        )
    return tuple(clip_tokenizer(*vocabulary, padding) for padding in pipeline.padding)


def _choose(path: Path, tensors: Mapping[str, Tensor], family: str | None) -> Pipeline:
    first = f"{UNET}input_blocks.0.0.weight"
    if first not in tensors:
        other = next((kind for kind, mark in _OTHERS.items() if any(mark in name for name in tensors)), "another model")
        raise UserError(
            f"'{path}': expected a file of Stable Diffusion 1, 2 or XL, got {other}: there is no weight {first!r}"
        )
    # Nine channels are inpainting, eight edits of pictures; their U-Nets need inputs that no role here has.
    if tensors[first].shape[1] != 4:
        raise UserError(
            f"'{path}': expected a U-Net for text to image, with 4 input channels, got one with "
            f"{tensors[first].shape[1]}, for another task; use the text-to-image model"
        )
    if family is not None:
        if family not in PIPELINES:
            raise UserError(f"--family: expected one of {', '.join(PIPELINES)}, got {family!r:.60}")
        return PIPELINES[family]
    names = [f"{UNET}{block}.transformer_blocks.0.attn2.to_k.weight" for block in _CONTEXT]
    # The width of the context is that of the text encoders, which tells the families apart.
    width = next((tensors[name].shape[1] for name in names if name in tensors), 0)
    families = _WIDTHS.get(width, ())
    if not families:
        raise UserError(
            f"'{path}': expected contexts of {', '.join(map(str, _WIDTHS))} numbers, got {width}; name the "
            "configuration that it has with --family"
        )
    # A wrong guess between noise and velocity would export and verify well, and draw nothing but noise.
    if width == 1024:
        raise UserError(
            f"'{path}': a file of Stable Diffusion 2 does not say what it predicts, nor of what size; name its "
            f"configuration with --family: {', '.join(families)}"
        )
    return PIPELINES[families[0]]


def _parts(tensors: Mapping[str, Tensor], pipeline: Pipeline) -> dict[str, Mapping[str, Tensor]]:
    """Return the weights of each part under the names that its module has."""
    # The converters without the loader around them: that one asks the hub for configurations.
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    logging.getLogger("diffusers").setLevel(logging.ERROR)
    # The converters want the tensors themselves; each is given its own part, so that it reads no other.
    unet = {name: tensors[name] for name in tensors if name.startswith(UNET)}
    vae = {name: tensors[name] for name in tensors if name.startswith(VAE)}
    parts: dict[str, Mapping[str, Tensor]] = {
        "unet": convert_ldm_unet_checkpoint(unet, _whole(UNet2DConditionModel, pipeline.unet)),
        "vae": convert_ldm_vae_checkpoint(vae, _whole(AutoencoderKL, pipeline.vae)),
    }
    if pipeline.is_xl:
        parts["text_encoder"] = text_from_transformers(without_prefix(tensors, "conditioner.embedders.0.transformer."))
        parts["text_encoder_2"] = without_prefix(tensors, "conditioner.embedders.1.model.")
    # Stable Diffusion 2 and XL's second encoder come from open_clip, whose names are this package's own.
    elif any(name.startswith("cond_stage_model.model.") for name in tensors):
        parts["text_encoder"] = without_prefix(tensors, "cond_stage_model.model.")
    else:
        parts["text_encoder"] = text_from_transformers(without_prefix(tensors, "cond_stage_model.transformer."))
    return parts


def _whole(kind: Any, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the defaults of its class."""
    import torch

    # The class is made only to learn its defaults; its weights would take gigabytes.
    with torch.device("meta"):
        return dict(kind.from_config(dict(configuration)).config)
