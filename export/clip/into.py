"""Put image and text encoders into an existing bundle."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from export.clip.image import make_encoder
from export.clip.networks import network_makers
from export.clip.sources import EncoderSource
from export.pretrained.mixed import dtype_of
from export.pretrained.packages import check_space
from export.write.bundle import BundleWriter
from export.write.streamed import network_writer
from runtime.engines.bundle import DiffusionBundle
from runtime.engines.precision import Storage

EXPORTERS = ("clip", "timm")
"""Fields of bundle.json's source that say where such encoders come from."""

ROLES = ("image_embedder", "text_embedder")


def add_encoders(
    source: EncoderSource,
    folder: Path,
    report: Callable[[str], None],
    *,
    precision: Storage = Storage.FLOAT16,
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
    before = bundle.manifest
    makers = network_makers(source, before.image_size, precision)
    keys = {role: _key(source, role, before.image_size, precision) for role in makers}
    parameters = sum(parameter.numel() for parameter in make_encoder(source.model.vision).parameters())
    check_space(bundle.folder, 2 * dtype_of(precision).itemsize * parameters)
    networks = {role: path for role, path in before.networks.items() if role not in ROLES}
    sources = {name: record for name, record in before.source.items() if name not in EXPORTERS}
    record = {**source.record, "precision": precision, "keys": keys}
    with BundleWriter(bundle.folder, report) as writer:
        for role, make in makers.items():
            writer.add(role, keys[role], network_writer(make))
        writer.commit(replace(before, networks=networks, source={**sources, source.exporter: record}))
    report(f"added {', '.join(makers)} to {bundle.folder}")


def _key(source: EncoderSource, role: str, size: int, precision: Storage) -> str:
    """Return a hash of all that a network is made of."""
    tokenizer = hashlib.sha256(source.tokenizer).hexdigest()
    # The size, too: resizing is part of the network.
    parts = [source.exporter, role, size, precision, dict(source.record), tokenizer, str(source.model)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
