"""The model that `--weights` names: a folder, a file, a name on the hub, or `random:` and a family."""

from dataclasses import replace
from pathlib import Path

from export.pretrained.hub import download, is_name
from export.pretrained.tokenizer import clip_tokenizer, random_vocabulary
from export.pretrained.weights import RANDOM, RandomWeights
from export.sd.configurations import PIPELINES
from export.sd.folder import folder_source
from export.sd.single_file import file_source
from export.sd.source import Source
from runtime.errors import UserError


def load_source(
    text: str,
    *,
    seed: int = 0,
    tokenizer: Path | tuple[bytes, ...] | None = None,
    family: str | None = None,
    size: int | None = None,
) -> Source:
    """Return the model that `--weights` names.

    Args:
        text: a folder of diffusers, one .safetensors file, owner/name on the hub, or `random:` and a family.
        seed: of random weights.
        tokenizer: folder with vocab.json and merges.txt, for a file that holds none; or each encoder's tokenizer.json.
        family: name of the configuration of a file that fits several.
        size: height and width of the pictures; None is what the model was trained on.

    Raises:
        UserError: it is none of these, of an unknown family, unsafe to read, or incomplete.
    """
    source = _find(text, seed, tokenizer, family)
    return source if size is None else _resized(source, size)


def _find(text: str, seed: int, tokenizer: Path | tuple[bytes, ...] | None, family: str | None) -> Source:
    if text.startswith(RANDOM):
        return _random(text.removeprefix(RANDOM), seed)
    path = Path(text)
    if path.is_dir():
        return folder_source(path)
    if path.is_file():
        return file_source(path, tokenizer, family)
    if is_name(text):
        return folder_source(download(text), name=text)
    raise UserError(
        f"--weights '{text}': expected a folder of diffusers, a .safetensors file, owner/name on the hub, or "
        f"{RANDOM} and one of {', '.join(PIPELINES)}; there is no such file or folder"
    )


def _resized(source: Source, size: int) -> Source:
    """Return a source whose pictures have another size; a `UserError` says which they may have."""
    pipeline = source.pipeline
    # Each stage but the last halves the latents; another size would not meet its skip connection on the way up.
    step = pipeline.latent_factor * 2 ** (len(pipeline.unet["block_out_channels"]) - 1)
    if not step <= size <= 4096 or size % step:
        raise UserError(f"--size: expected a multiple of {step} up to 4096, got {size}")
    unet = {**pipeline.unet, "sample_size": size // pipeline.latent_factor}
    return replace(source, pipeline=replace(pipeline, unet=unet), record={**source.record, "size": size})


def _random(family: str, seed: int) -> Source:
    if family not in PIPELINES:
        raise UserError(f"--weights {RANDOM}{family}: expected one of {', '.join(PIPELINES)} after '{RANDOM}'")
    if not 0 <= seed < 1 << 31:
        raise UserError(f"--seed: expected 0 to {(1 << 31) - 1}, got {seed}")
    pipeline = PIPELINES[family]
    vocabulary, merges = random_vocabulary()
    parts = ("unet", "vae", *("text_encoder", "text_encoder_2")[: len(pipeline.text_encoders)])
    return Source(
        pipeline=pipeline,
        # Eight numbers to a seed: no part of one seed shares its draws with a part of another.
        weights={part: RandomWeights(8 * seed + i) for i, part in enumerate(parts)},
        tokenizers=tuple(clip_tokenizer(vocabulary, merges, padding) for padding in pipeline.padding),
        record={"weights": RANDOM + family, "seed": seed},
    )
