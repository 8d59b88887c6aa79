"""A model of the Hugging Face hub, downloaded because the user named it: safetensors, configurations, vocabularies."""

import re
from collections.abc import Iterable
from pathlib import Path

from export.pretrained.packages import check_space, require
from export.pretrained.weights import PICKLES, REFUSAL
from runtime.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")
_SMALL = re.compile(
    r"model_index\.json|(unet|vae|text_encoder|text_encoder_2)/config\.json|scheduler/scheduler_config\.json"
    r"|tokenizer(_2)?/(vocab\.json|merges\.txt|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json)"
)


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a model on the hub: owner/name."""
    return _NAME.fullmatch(text) is not None


def needed_files(names: Iterable[str]) -> list[str]:
    """Return the files of a repository that an export reads: of each part's weights one precision, full before half.

    Raises:
        UserError: a part has pickles only.
    """
    names = sorted(names)
    chosen = [name for name in names if _SMALL.fullmatch(name)]
    for part in sorted({name.split("/")[0] for name in chosen if name.endswith("/config.json")}):
        stem = f"{part}/{'diffusion_pytorch_model' if part in ('unet', 'vae') else 'model'}"
        # An index and its shards belong together: one without the other is of no use.
        shards = rf"{stem}-\d+-of-\d+"
        options = [
            [n for n in names if n == f"{stem}.safetensors"],
            [n for n in names if n == f"{stem}.safetensors.index.json" or re.fullmatch(rf"{shards}\.safetensors", n)],
            [n for n in names if n == f"{stem}.fp16.safetensors"],
        ]
        files = next((option for option in options if option), [])
        pickles = [n for n in names if n.startswith(f"{part}/") and Path(n).suffix in PICKLES]
        if not files and pickles:
            raise UserError(f"'{pickles[0]}' is refused: {REFUSAL}")
        chosen += files
    return chosen


def download(name: str) -> Path:
    """Return the folder of a model of the hub, downloaded or from the hub's cache; an interrupted download is resumed.

    Raises:
        UserError: there is no such model, no access to it, no network, no room, or nothing in it that can be read.
    """
    require("huggingface_hub")
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE

    try:
        info = HfApi().model_info(name, files_metadata=True)
    except Exception as error:  # several libraries' errors: connection, authorization, missing repository
        cached = _cached(name)
        # Without a network, what was downloaded before still works.
        if cached is not None:
            return cached
        raise UserError(
            f"--weights '{name}': there is no folder of this name, and the hub gave no such model: "
            f"{' '.join(str(error).split())[:200]}; check the name, the network, and that you may read the model"
        ) from None
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    files = needed_files(sizes)
    if "model_index.json" not in files:
        raise UserError(
            f"--weights '{name}': expected a model in the format of diffusers, got one without model_index.json"
        )
    # Room is asked for only where most of the download is still to come.
    if _cached(name) is None:
        check_space(Path(HF_HUB_CACHE), sum(sizes[file] for file in files))
    try:
        # By commit: the files listed above might be others by the time they are downloaded.
        return Path(snapshot_download(name, revision=info.sha, allow_patterns=files))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"--weights '{name}': the download was interrupted: {reason}; run the command again to resume it"
        ) from None


def _cached(name: str) -> Path | None:
    """Return the folder of a model that is in the cache, None where it is not."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except Exception:
        return None
    return folder if (folder / "model_index.json").is_file() else None
