"""Weights of open_clip's and timm's models: random, a file, a folder, or a name of the hub."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from export.clip.configurations import CLIP_MODELS, HALF, TIMM_MODELS, Model
from export.pretrained.hub import is_name
from export.pretrained.names import text_from_transformers, vision_from_timm, vision_from_transformers, without_prefix
from export.pretrained.packages import check_space, require
from export.pretrained.tokenizer import (
    VOCABULARY_FILES,
    clip_tokenizer,
    has_vocabulary,
    installed_vocabulary,
    random_vocabulary,
    read_vocabulary,
)
from export.pretrained.weights import (
    PICKLES,
    RANDOM,
    REFUSAL,
    RandomWeights,
    SafetensorsFiles,
    StoredWeights,
    Weights,
    hash_files,
)
from runtime.errors import UserError

_STEMS = ("open_clip_model.safetensors", "model.safetensors")


@dataclass(frozen=True, kw_only=True)
class EncoderSource:
    """An image encoder with or without its text encoder, nothing of it loaded yet."""

    exporter: str
    """`clip` or `timm`: the field of bundle.json's source."""
    model: Model
    """Its sizes."""
    weights: Mapping[str, Weights]
    """`image_embedder`, and `text_embedder` of CLIP."""
    tokenizer: bytes = b""
    """Content of CLIP's tokenizer.json."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What bundle.json says of it."""


def load_encoder(exporter: str, name: str, pretrained: str, *, tokenizer: Path | bytes | None = None) -> EncoderSource:
    """Return the encoders that `--model` and `--pretrained` name.

    Args:
        exporter: `clip` for open_clip's models, `timm` for timm's.
        name: of the model.
        pretrained: `random:` and a seed, a .safetensors file, a folder with one, a name of weights, or owner/name on
            the hub.
        tokenizer: folder with CLIP's vocab.json and merges.txt, where the weights come without; or a tokenizer.json.

    Raises:
        UserError: an unknown model, or weights that are not there, unsafe to read, or of another model.
    """
    models = CLIP_MODELS if exporter == "clip" else TIMM_MODELS
    if name not in models:
        raise UserError(f"--model: expected one of {', '.join(models)}, got {name!r:.60}")
    model = models[name]
    # Pictures normalized otherwise give embeddings that look right and rank wrongly.
    if pretrained in model.half_tags:
        model = replace(model, vision=replace(model.vision, mean=HALF, std=HALF))
    record = {"weights": pretrained, "model": name}
    if pretrained.startswith(RANDOM):
        if isinstance(tokenizer, Path):
            raise UserError(f"--tokenizer: expected no folder for random weights, got '{tokenizer}'; leave it out")
        return _random(exporter, model, pretrained.removeprefix(RANDOM), record)
    folder, file = _find(exporter, name, model, pretrained)
    tensors = SafetensorsFiles((file,))
    weights: dict[str, Weights] = {
        role: StoredWeights(state, f"'{file}'") for role, state in _roles(exporter, tensors, file).items()
    }
    document = b""
    if model.text is not None:
        if isinstance(tokenizer, bytes):
            document = tokenizer
        else:
            vocabulary, merges = _vocabulary(folder, tokenizer)
            document = clip_tokenizer(vocabulary, merges, "!", model.text.length)
    # A local file by its name only: its path would tell about the machine.
    record |= {"weights": pretrained if is_name(pretrained) or pretrained in model.tags else file.name}
    record |= {"files": hash_files(file.parent, {"": (file,)})}
    return EncoderSource(exporter=exporter, model=model, weights=weights, tokenizer=document, record=record)


def _random(exporter: str, model: Model, seed: str, record: dict[str, Any]) -> EncoderSource:
    if not seed.isdecimal() or int(seed) >= 1 << 31:
        raise UserError(f"--pretrained {RANDOM}{seed:.20}: expected a seed of 0 to {(1 << 31) - 1} after '{RANDOM}'")
    weights: dict[str, Weights] = {"image_embedder": RandomWeights(8 * int(seed) + 4)}
    document = b""
    if model.text is not None:
        weights["text_embedder"] = RandomWeights(8 * int(seed) + 5)
        document = clip_tokenizer(*random_vocabulary(), "!", model.text.length)
    return EncoderSource(exporter=exporter, model=model, weights=weights, tokenizer=document, record=record)


def _find(exporter: str, name: str, model: Model, pretrained: str) -> tuple[Path, Path]:
    """Return the folder and the file of the weights, which are downloaded where the user named a model of the hub."""
    path = Path(pretrained)
    if path.is_file():
        if path.suffix in PICKLES:
            raise UserError(f"'{path}' is refused: {REFUSAL}")
        return path.parent, path
    if path.is_dir():
        return path, _in_folder(path)
    hub = model.tags.get(pretrained, pretrained if is_name(pretrained) else "")
    if not hub and exporter == "timm" and pretrained.isidentifier():
        hub = f"timm/{name}.{pretrained}"
    if not hub:
        names = ", ".join(model.tags) or "none is known"
        raise UserError(
            f"--pretrained '{pretrained}': expected {RANDOM} and a seed, a .safetensors file, a folder with one, a "
            f"name on the hub (owner/name), or weights of {name} by name ({names})"
        )
    folder = download(hub)
    return folder, _in_folder(folder)


def _in_folder(folder: Path) -> Path:
    for stem in _STEMS:
        if (folder / stem).is_file():
            return folder / stem
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLES)
    if pickles:
        raise UserError(f"'{folder / pickles[0]}' is refused: {REFUSAL}")
    raise UserError(f"'{folder}': expected {' or '.join(_STEMS)} in it, got neither; name the file of weights")


def download(name: str) -> Path:
    """Return the folder of a model of the hub with weights and vocabulary; errors as of `pretrained.hub.download`."""
    require("huggingface_hub")
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE

    patterns = [*_STEMS, *VOCABULARY_FILES]
    try:
        try:
            cached = Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
            # The cache may hold the vocabulary alone, of an interrupted download.
            if any((cached / stem).is_file() for stem in _STEMS):
                return cached
        except Exception:  # not in the cache
            pass
        info = HfApi().model_info(name, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
        chosen = [*[stem for stem in _STEMS if stem in sizes][:1], *(n for n in VOCABULARY_FILES if n in sizes)]
        check_space(Path(HF_HUB_CACHE), sum(sizes[n] for n in chosen))
        return Path(snapshot_download(name, revision=info.sha, allow_patterns=chosen))
    except UserError:
        raise
    except Exception as error:  # several libraries' errors: connection, authorization, missing repository
        raise UserError(
            f"--pretrained '{name}': there is no file or folder of this name, and the hub gave no such model: "
            f"{' '.join(str(error).split())[:200]}; check the name and the network, and run it again to resume"
        ) from None


def _roles(exporter: str, tensors: SafetensorsFiles, file: Path) -> dict[str, Mapping[str, Tensor]]:
    """Return the weights of each encoder under this package's names, from whatever names the file has."""
    if exporter == "timm":
        if "pos_embed" in tensors:
            return {"image_embedder": vision_from_timm(tensors)}
        raise UserError(f"'{file}': expected an image transformer of timm, got a file without the weight 'pos_embed'")
    # open_clip keeps the text model at the top, so that all tensors are handed on; `fill` reads the ones it needs.
    if any(name.startswith("visual.") for name in tensors):
        return {"image_embedder": without_prefix(tensors, "visual."), "text_embedder": tensors}
    if any(name.startswith("vision_model.") for name in tensors):
        return {"image_embedder": vision_from_transformers(tensors), "text_embedder": text_from_transformers(tensors)}
    raise UserError(
        f"'{file}': expected CLIP's weights as open_clip or transformers store them, got names such as "
        f"{next(iter(tensors), 'none')!r:.80}"
    )


def _vocabulary(folder: Path, tokenizer: Path | None) -> Any:
    if tokenizer is not None:
        return read_vocabulary(tokenizer)
    if has_vocabulary(folder):
        return read_vocabulary(folder)
    installed = installed_vocabulary()
    if installed is None:
        raise UserError(
            f"'{folder}' holds no tokenizer: name a folder with CLIP's vocab.json and merges.txt with --tokenizer, or "
            "install open_clip_torch, which has them"
        )
    return installed
