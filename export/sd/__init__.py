"""Stable Diffusion to a bundle: text encoders, U-Net and autoencoder of the 1.x, 2.x, XL and turbo families."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.pretrained.mixed import dtype_of
from export.pretrained.packages import check_space
from export.sd.configurations import Pipeline
from export.sd.denoiser import time_ids
from export.sd.networks import cut_makers, empty_module
from export.write.streamed import write_if_new
from runtime.engines.bundle.diffusion_manifest import DiffusionManifest
from runtime.engines.bundle.manifest import check_bundle_name
from runtime.engines.strict_json import GREATEST_JSON
from runtime.engines.verified_files import describe_file, read_limited
from runtime.errors import UserError

if TYPE_CHECKING:
    from export.sd.source import Source

VERSION = "1"
"""Version of the bundle's content; another one exports everything anew."""

DEFAULTS: Mapping[str, object] = {
    "omega": 100.0,
    "sample_omega": 6.5,
    "steps": 1000,
    "lr": 0.2,
    "colour_lr": 0.01,
    "upper_t": [950, 950],
}
"""Options of VectorFusion as the thesis has them for Stable Diffusion: 6.4.1, 11.9.2, 11.9.3."""


def write_sd(
    source: "Source", folder: Path, report: Callable[[str], None], *, precision: str = "float16", licence: str = ""
) -> None:
    """Write the bundle; networks that an earlier or interrupted export left whole are kept.

    Args:
        source: the model.
        folder: where; what is there is replaced once everything is written, and its name is the bundle's.
        report: called with a line before and after each network.
        precision: of the text encoders' and the U-Net's products, one of `export.pretrained.mixed.PRECISIONS`.
        licence: SPDX expression of the weights' licence.

    Raises:
        UserError: the folder holds something else, or there is no room.
    """
    name = check_bundle_name(folder.resolve().name, "--out")
    if folder.exists() and not ((folder.is_dir() and (folder / "bundle.json").is_file()) or _is_empty(folder)):
        raise UserError(f"--out '{folder}' holds other files than a bundle; choose another folder")
    work = folder.parent / f".{folder.name}.partial"
    keys = {role: _key(source, role, precision) for role in source.roles}
    _reuse(folder, work, keys)
    missing = [role for role in keys if not (work / role / "spec.json").is_file()]
    check_space(folder.parent, sum(_bytes(source.pipeline, role, precision) for role in missing))
    work.mkdir(parents=True, exist_ok=True)
    for role, make in cut_makers(source, precision).items():
        write_if_new(role, keys[role], make, work, report)
    files = {f"{role}/spec.json": describe_file(work / role / "spec.json") for role in keys}
    manifest = make_manifest(source, name, precision, licence, keys)
    manifest = replace(manifest, networks={role: role for role in keys}, files=files)
    (work / "bundle.json").write_text(manifest.to_json(), encoding="utf-8")
    _put(work, folder, keys)
    report(f"wrote {folder}")


def make_manifest(
    source: "Source", name: str, precision: str, licence: str, keys: Mapping[str, str] | None = None
) -> DiffusionManifest:
    """Return what bundle.json says, but for the networks and hashes; arguments as of `write_sd`."""
    pipeline, drawn = source.pipeline, str(source.record["weights"]).startswith("random:")
    side = pipeline.image_size // pipeline.latent_factor
    turbo = {"sample_omega": 0.0} if pipeline.sample_times else {}
    said = "Random weights, to check everything but the pictures." if drawn else f"Exported from {name_of(source)}."
    return DiffusionManifest(
        name=name,
        version=VERSION,
        licence=licence or ("Apache-2.0" if drawn else "LicenseRef-of-the-weights"),
        provenance=said,
        schedule={**pipeline.schedule, "prediction_type": pipeline.prediction},
        latent_scale=float(pipeline.vae["scaling_factor"]),
        latent_shape=(int(pipeline.vae["latent_channels"]), side, side),
        image_size=pipeline.image_size,
        text_length=int(pipeline.text_encoders[0]["max_position_embeddings"]),
        defaults={"vectorfusion": {**DEFAULTS, **turbo}},
        time_ids=tuple(time_ids(pipeline)),
        zero_empty=pipeline.zero_empty,
        sample_times=pipeline.sample_times,
        source={"sd": {**source.record, "precision": precision, "keys": dict(keys or {})}},
    )


def name_of(source: "Source") -> str:
    """Return what a source's weights are called."""
    return str(source.record["weights"])


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _key(source: "Source", role: str, precision: str) -> str:
    """Return a hash of all that a network is made of."""
    pipeline = source.pipeline
    tokenizers = [hashlib.sha256(document).hexdigest() for document in source.tokenizers]
    parts: list[Any] = [VERSION, role, precision, dict(source.record), tokenizers, pipeline.__dict__]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _bytes(pipeline: Pipeline, role: str, precision: str) -> int:
    """Return the bytes of a network's weights."""
    size = 4 if role.startswith("latent") else dtype_of(precision).itemsize
    return size * sum(parameter.numel() for parameter in empty_module(pipeline, role).parameters())


def _reuse(folder: Path, work: Path, keys: Mapping[str, str]) -> None:
    """Link the networks of a bundle that was exported before under the same keys, each unless it is there already."""
    if not (folder / "bundle.json").is_file():
        return
    where = f"bundle {folder.name!r}: bundle.json"
    try:
        said = DiffusionManifest.from_json(read_limited(folder / "bundle.json", GREATEST_JSON, where), where)
    except UserError:  # it is replaced, whatever it says
        return
    before = said.source.get("sd", {}).get("keys", {})
    for role, key in keys.items():
        if before.get(role) != key or (work / role).exists() or not (folder / role / "spec.json").is_file():
            continue
        (work / role).mkdir(parents=True)
        for path in (folder / role).iterdir():
            if path.is_file():
                _link(path, work / role / path.name)
        (work / f"{role}.key").write_text(key)


def _link(path: Path, copy: Path) -> None:
    try:
        os.link(path, copy)
    except OSError:  # a file system without links
        shutil.copy2(path, copy)


def _put(work: Path, folder: Path, keys: Mapping[str, str]) -> None:
    """Move a finished bundle to its place: a reader sees the old one or the new one, whole."""
    for role in keys:
        (work / f"{role}.key").unlink(missing_ok=True)
    old = folder.parent / f".{folder.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    work.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
