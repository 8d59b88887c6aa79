"""A model in the folder format of diffusers: model_index.json, and a folder with config.json and weights a part."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from export.pretrained.names import text_from_transformers
from export.pretrained.tokenizer import clip_tokenizer, padding_token, read_vocabulary
from export.pretrained.weights import PICKLES, REFUSAL, Renamed, SafetensorsFiles, StoredWeights, hash_files
from export.sd.configurations import SCHEDULE, TURBO_TIMES, Pipeline
from export.sd.source import Source
from runtime.engines.strict_json import GREATEST_JSON, parse_object
from runtime.engines.verified_files import read_limited
from runtime.errors import UserError

PIPELINE_CLASSES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
"""Values of _class_name in model_index.json that can be exported; what they add for other tasks is left out."""

_STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}


def folder_source(folder: Path, *, name: str | None = None) -> Source:
    """Return the model in a folder.

    Args:
        folder: of diffusers.
        name: what bundle.json is to say; by default the folder's own name.

    Raises:
        UserError: no model, another family, pickles only, or a file is missing or broken.
    """
    index = _index(folder)
    kind = index.get("_class_name")
    if kind not in PIPELINE_CLASSES:
        raise UserError(
            f"'{folder}': expected a model of {' or '.join(PIPELINE_CLASSES)}, got {kind!r:.60}; Stable Diffusion 1, "
            "2, XL and their turbo versions can be exported"
        )
    texts = ("text_encoder", "text_encoder_2")[: 2 if kind == "StableDiffusionXLPipeline" else 1]
    # Safety checker and feature extractor are not read: no role of a bundle is theirs.
    configurations = {part: read_config(folder / part) for part in ("unet", "vae", *texts)}
    files = {part: weight_files(folder / part, _STEMS.get(part, "model")) for part in configurations}
    # XL's second encoder was trained with another padding, so each has a tokenizer folder.
    tokenizers = [folder / part.replace("text_encoder", "tokenizer") for part in texts]
    pipeline = _pipeline(folder, index, configurations, texts, tokenizers)
    weights: dict[str, StoredWeights] = {}
    for part, paths in files.items():
        tensors: Mapping[str, Tensor] = SafetensorsFiles(paths)
        # Older repositories, Stable Diffusion 1 among them, keep the autoencoder's attention under old names.
        if part == "vae":
            tensors = new_attention_names(tensors)
        elif part != "unet":
            tensors = text_from_transformers(tensors)
        weights[part] = StoredWeights(tensors, f"'{folder / part}'")
    vocabularies = [read_vocabulary(path) for path in tokenizers]
    pairs = zip(vocabularies, pipeline.padding, strict=True)
    # The folder's name, not its path, which would tell about the machine.
    record = {"weights": name or folder.resolve().name, "files": hash_files(folder, files)}
    return Source(
        pipeline=pipeline,
        weights=weights,
        tokenizers=tuple(clip_tokenizer(*vocabulary, padding) for vocabulary, padding in pairs),
        record=record,
    )


def _index(folder: Path) -> dict[str, Any]:
    path = folder / "model_index.json"
    if path.is_file():
        return _read_json(path)
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLES)
    if pickles:
        raise UserError(f"'{folder / pickles[0]}' is refused: {REFUSAL}")
    single = sorted(p.name for p in folder.iterdir() if p.suffix == ".safetensors")
    hint = f"; for a model in one file name that file: --weights {folder / single[0]}" if single else ""
    raise UserError(f"'{folder}' is no model: expected model_index.json in it (the folder format of diffusers){hint}")


def _read_json(path: Path) -> dict[str, Any]:
    where = f"'{path}'"
    return parse_object(read_limited(path, GREATEST_JSON, where), where)


def read_config(folder: Path) -> dict[str, Any]:
    """Return a part's configuration, without what diffusers notes about itself."""
    if not (folder / "config.json").is_file():
        raise UserError(f"'{folder}': expected config.json in it, got none; download the model again")
    return {name: value for name, value in _read_json(folder / "config.json").items() if not name.startswith("_")}


def weight_files(folder: Path, stem: str) -> tuple[Path, ...]:
    """Return the files with a part's weights: the full precision first, half where there is nothing else.

    Raises:
        UserError: there are none, or pickles only.
    """
    # Half weights are rounded already; from full ones the autoencoder keeps its float32.
    for variant in ("", ".fp16"):
        whole = folder / f"{stem}{variant}.safetensors"
        if whole.is_file():
            return (whole,)
        listed = folder / f"{stem}.safetensors.index{variant}.json"
        if listed.is_file():
            names = _read_json(listed).get("weight_map")
            # A name with a slash would lead out of the folder.
            texts = isinstance(names, dict) and all(isinstance(n, str) and "/" not in n for n in names.values())
            if not texts or not names:
                raise UserError(f"'{listed}': expected a weight_map of file names in this folder; download it again")
            return tuple(folder / name for name in sorted(set(names.values())))
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLES) if folder.is_dir() else []
    if pickles:
        raise UserError(f"'{folder / pickles[0]}' is refused: {REFUSAL}")
    raise UserError(f"'{folder}': expected {stem}.safetensors in it, got none; download the model again")


def _pipeline(
    folder: Path, index: Mapping[str, Any], configurations: Mapping[str, Any], texts: tuple[str, ...], tokenizers: list
) -> Pipeline:
    unet, vae = configurations["unet"], configurations["vae"]
    check_unet(unet, f"'{folder / 'unet'}'")
    scheduler = _read_json(_present(folder / "scheduler" / "scheduler_config.json"))
    schedule = _schedule(scheduler, f"'{folder / 'scheduler'}'")
    # No field says that a model is distilled; its scheduler is what the turbo models have in common.
    turbo = scheduler.get("timestep_spacing") == "trailing" and "Euler" in str(scheduler.get("_class_name"))
    return Pipeline(
        family=folder.name,
        unet=unet,
        # Configurations older than this field rely on the value of Stable Diffusion 1.
        vae={"scaling_factor": 0.18215, **vae},
        text_encoders=tuple(configurations[part] for part in texts),
        padding=tuple(padding_token(path) for path in tokenizers),
        prediction=schedule.pop("prediction_type"),
        schedule=schedule,
        zero_empty=bool(index.get("force_zeros_for_empty_prompt", False)),
        sample_times=TURBO_TIMES if turbo else (),
    )


def check_unet(unet: Mapping[str, Any], where: str) -> None:
    """Refuse a U-Net that takes more than latents, such as one for inpainting, with a `UserError`."""
    for name in ("sample_size", "block_out_channels", "cross_attention_dim"):
        if name not in unet:
            raise UserError(f"{where}: config.json: the field {name!r} is missing; the folder is no U-Net's")
    channels = unet.get("in_channels", 4)
    # No role of a bundle gives the mask or the picture that such a U-Net takes beside the latents.
    if channels != 4 or unet.get("addition_embed_type") not in (None, "text_time"):
        raise UserError(
            f"{where}: expected a U-Net for text to image, with 4 input channels, got one with {channels} "
            f"(and addition_embed_type {unet.get('addition_embed_type')!r}), for another task; "
            "use the text-to-image model"
        )


def _present(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"'{path}': expected this file, got none; download the model again")
    return path


def _schedule(scheduler: Mapping[str, Any], where: str) -> dict[str, Any]:
    # With it the last alpha is zero: a prediction of noise says nothing there.
    if scheduler.get("rescale_betas_zero_snr"):
        raise UserError(
            f"{where}: expected a schedule without rescale_betas_zero_snr, which is not implemented, got one"
        )
    if scheduler.get("beta_schedule", "linear") != SCHEDULE["beta_schedule"]:
        raise UserError(f"{where}: expected beta_schedule 'scaled_linear', got {scheduler.get('beta_schedule')!r:.60}")
    return {
        "num_timesteps": int(scheduler.get("num_train_timesteps", 1000)),
        # Defaults are those of diffusers' schedulers, which a configuration may leave out.
        "beta_start": float(scheduler.get("beta_start", 0.0001)),
        "beta_end": float(scheduler.get("beta_end", 0.02)),
        "beta_schedule": "scaled_linear",
        "prediction_type": str(scheduler.get("prediction_type", "epsilon")),
    }


_OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def new_attention_names(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return an autoencoder's weights under the names that its attention has had since diffusers 0.17."""

    def renamed(name: str) -> str:
        stem, _, kind = name.rpartition(".")
        before, _, last = stem.rpartition(".")
        # Only inside an attention: `key` or `value` may end other names.
        return f"{before}.{_OLD[last]}.{kind}" if last in _OLD and ".attentions." in name else name

    def reader(name: str):
        # A function of its own binds the name; a lambda in the comprehension would read the last one.
        return lambda: tensors[name]

    return Renamed({renamed(name): reader(name) for name in tensors})
