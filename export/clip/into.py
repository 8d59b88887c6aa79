"""Put image and text encoders into a bundle that is there: new folders first, then bundle.json in one step."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from export.clip.cuts import cut_makers
from export.clip.image import make_encoder
from export.clip.sources import EncoderSource
from export.pretrained.mixed import dtype_of
from export.pretrained.packages import check_space
from export.write.streamed import write_if_new
from runtime.engines.bundle import DiffusionBundle
from runtime.engines.bundle.diffusion_manifest import DiffusionManifest
from runtime.engines.verified_files import describe_file
from runtime.files import replace_file

ROLES = ("image_embedder", "text_embedder")


def add_encoders(
    source: EncoderSource, folder: Path, report: Callable[[str], None], *, precision: str = "float16"
) -> None:
    """Write encoders into a bundle in the place of those that it has; what is there under the same key is kept.

    Args:
        source: the encoders; timm's have no text encoder, and take out the one that there is.
        folder: the bundle's.
        report: called with a line before and after each network.
        precision: of the encoders' products, one of `export.pretrained.mixed.PRECISIONS`.

    Raises:
        UserError: no bundle, a damaged one, or no room.
    """
    bundle = DiffusionBundle.load(folder.resolve())
    said, folder = bundle.manifest, bundle.folder
    makers = cut_makers(source, said.image_size, precision)
    keys = {role: _key(source, role, said.image_size, precision) for role in makers}
    parameters = sum(parameter.numel() for parameter in make_encoder(source.model.vision).parameters())
    check_space(folder, 2 * dtype_of(precision).itemsize * parameters)
    networks = {role: path for role, path in said.networks.items() if role not in ROLES}
    before = {said.networks[role] for role in ROLES if role in said.networks}
    files = {name: file for name, file in said.files.items() if name.split("/")[0] not in before}
    for role, make in makers.items():
        path = f"{role}-{keys[role][:12]}"
        work = folder.parent / f".{folder.name}.{path}"
        if path not in before:
            write_if_new(role, keys[role], make, work, report)
            shutil.rmtree(folder / path, ignore_errors=True)
            (work / role).rename(folder / path)
            shutil.rmtree(work)
        else:
            report(f"{role}: written before, kept")
        networks[role] = path
        files[f"{path}/spec.json"] = describe_file(folder / path / "spec.json")
    record = {**source.record, "precision": precision, "keys": keys}
    sources = {name: value for name, value in said.source.items() if name not in ("clip", "timm")}
    manifest: DiffusionManifest = replace(
        said, networks=networks, files=files, source={**sources, source.exporter: record}
    )
    replace_file(folder / "bundle.json", manifest.to_json())
    for path in before - set(networks.values()):
        shutil.rmtree(folder / path)
    report(f"added {', '.join(makers)} to {folder}")


def _key(source: EncoderSource, role: str, size: int, precision: str) -> str:
    """Return a hash of all that a network is made of."""
    tokenizer = hashlib.sha256(source.tokenizer).hexdigest()
    parts = [source.exporter, role, size, precision, dict(source.record), tokenizer, str(source.model)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
