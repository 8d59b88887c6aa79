"""Stable Diffusion to a bundle: text encoders, U-Net and autoencoder of the 1.x, 2.x, XL and turbo families."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from export.pretrained.mixed import dtype_of
from export.pretrained.packages import check_space
from export.pretrained.weights import RANDOM
from export.sd.configurations import Pipeline
from export.sd.denoiser import time_ids
from export.sd.networks import empty_module, network_makers
from export.sd.source import Source
from export.write.bundle import BundleWriter
from export.write.streamed import network_writer
from runtime.engines.bundle.diffusion_manifest import DiffusionManifest
from runtime.engines.bundle.manifest import check_bundle_name
from runtime.engines.precision import Storage

VERSION = "1"
"""Version of the bundle's content; another one exports everything anew."""

DEFAULTS: Mapping[str, object] = {
    "omega": 100.0,
    "sample_omega": 6.5,
    "steps": 1000,
    "lr": 0.2,
    "colour_lr": 0.01,
    "upper_t": [950, 950],
    "target_every": 0,
}
"""Options of VectorFusion as the thesis has them for Stable Diffusion: 6.4.1, 11.9.2, 11.9.3."""


def write_sd(
    source: Source,
    folder: Path,
    report: Callable[[str], None],
    *,
    precision: Storage = Storage.FLOAT16,
    licence: str = "",
) -> None:
    """Write the bundle; networks that an earlier or interrupted export left whole are kept.

    Args:
        source: the model.
        folder: where; a bundle that is there is replaced once everything is written, and its name is the bundle's.
        report: called with a line before and after each network.
        precision: of the text encoders' and the U-Net's products, one of `export.pretrained.mixed.PRECISIONS`.
        licence: SPDX expression of the weights' licence.

    Raises:
        UserError: the folder holds something else, or there is no room.
    """
    name = check_bundle_name(folder.resolve().name, "--out")
    with BundleWriter(folder, report) as writer:
        keys = {role: _key(source, role, precision) for role in source.roles}
        missing = [role for role, key in keys.items() if not writer.has(role, key)]
        check_space(folder.parent, sum(_bytes(source.pipeline, role, precision) for role in missing))
        for role, make in network_makers(source, precision).items():
            writer.add(role, keys[role], network_writer(make))
        writer.commit(make_manifest(source, name, precision, licence, keys))
    report(f"wrote {folder}")


def make_manifest(
    source: Source, name: str, precision: Storage, licence: str, keys: Mapping[str, str] | None = None
) -> DiffusionManifest:
    """Return what bundle.json says, but for the networks and hashes; arguments as of `write_sd`."""
    pipeline = source.pipeline
    weights = str(source.record["weights"])
    drawn = weights.startswith(RANDOM)
    side = pipeline.image_size // pipeline.latent_factor
    turbo = {"sample_omega": 0.0} if pipeline.sample_times else {}
    provenance = "Random weights, to check everything but the pictures." if drawn else f"Exported from {weights}."
    return DiffusionManifest(
        name=name,
        version=VERSION,
        licence=licence or ("Apache-2.0" if drawn else "LicenseRef-of-the-weights"),
        provenance=provenance,
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


def _key(source: Source, role: str, precision: Storage) -> str:
    """Return a hash of all that a network is made of."""
    pipeline = source.pipeline
    tokenizers = [hashlib.sha256(document).hexdigest() for document in source.tokenizers]
    parts: list[Any] = [VERSION, role, precision, dict(source.record), tokenizers, pipeline.__dict__]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _bytes(pipeline: Pipeline, role: str, precision: Storage) -> int:
    """Return the bytes of a network's weights."""
    size = 4 if role.startswith("latent") else dtype_of(precision).itemsize
    return size * sum(parameter.numel() for parameter in empty_module(pipeline, role).parameters())
