"""The bundle of a trained pixelNeRF network: the encoder of pictures, the field, and what bundle.json says."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from export.network import ExportedNetwork
from export.pixelnerf.networks import make_networks
from export.write.bundle import read_present, write_bundle
from export.write.network import network_files
from runtime.engines.bundle.pixelnerf_manifest import PixelNeRFManifest
from runtime.engines.precision import Storage
from runtime.field.fields.lookup import DISTANCE, FOCAL
from train.pixelnerf.network import PixelNeRF

VERSION = "1"
"""Version of the bundle's content."""

PROVENANCE = (
    "Trained from scratch by train.pixelnerf of this package on {data}: pictures rendered from models by Kenney, "
    "Kay Lousberg (KayKit) and Quaternius, all of them CC0 1.0."
)

README = """# A pixelNeRF of low-poly objects

One to three pictures of an object, 64 x 64 pixels with alpha, to a radiance field (pixelNeRF, arXiv:2012.02190).
`python -m runtime.pixelnerf picture.png` uses it.

Trained from scratch by `python -m train.pixelnerf` on pictures of 2,069 low-poly objects, 16 views each, rendered
from public-domain models (CC0 1.0) by Kenney (kenney.nl), Kay Lousberg (KayKit, kaylousberg.com) and Quaternius
(quaternius.com). It has seen nothing else, so photographs are foreign to it. The weights are this package's own,
under its licence.
"""
"""README.md of the bundle."""


def make_manifest(
    network: PixelNeRF, data: str, name: str, licence: str, kinds: Sequence[str] = ()
) -> PixelNeRFManifest:
    """Return what bundle.json says, but for the networks and hashes."""
    return PixelNeRFManifest(
        name=name,
        version=VERSION,
        licence=licence,
        provenance=PROVENANCE.format(data=data),
        data=data,
        side=network.architecture.side,
        focal=FOCAL,
        distance=DISTANCE,
        architecture=asdict(network.architecture),
        kinds=tuple(kinds),
    )


def write_pixelnerf(
    network: PixelNeRF,
    folder: Path,
    report: Callable[[str], None],
    *,
    data: str = "objects",
    storage: Storage = Storage.INT8,
    licence: str = "Apache-2.0",
    kinds: Sequence[str] = (),
) -> dict[str, ExportedNetwork]:
    """Write the bundle and return the networks that it was made of.

    Args:
        network: trained.
        folder: where; a bundle that is there is replaced, and its name is the bundle's.
        report: called with a line before each network.
        data: name of the set that it was trained on.
        storage: of the encoder's weights.
        licence: SPDX expression of the weights' licence.
        kinds: nouns of what it was trained on.

    Raises:
        UserError: the folder holds something else.
    """
    read_present(folder)  # refuse before anything is computed
    networks = make_networks(network, storage)
    files = {}
    for role, exported in networks.items():
        report(f"exporting {role}")
        files[role] = network_files(exported)
    manifest = make_manifest(network, data, folder.resolve().name, licence, kinds)
    write_bundle(folder, manifest, files, texts={"README.md": README.encode()})
    return networks
